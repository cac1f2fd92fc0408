package probehttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/probe"
)

// recorded runs f while recording and gives the events.
func recorded(t *testing.T, f func(ctx context.Context)) (events []event.Event) {
	t.Helper()
	var out bytes.Buffer
	r, err := probe.Start(probe.Options{Writer: &out})
	if err != nil {
		t.Fatal(err)
	}
	f(probe.Attach(context.Background(), "main"))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		e, err := event.ParseLine([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// story tells the events of the streams of a name, without the package in front of functions.
func story(events []event.Event, stream string) string {
	var b strings.Builder
	for _, e := range events {
		if strings.TrimRight(e.Stream, "0123456789") == stream {
			fmt.Fprintf(&b, "%s %s %s\n", e.Kind, e.Func[strings.LastIndexByte(e.Func, '/')+1:], e.Data)
		}
	}
	return b.String()
}

func get(t *testing.T, ctx context.Context, c *http.Client, url string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = nil // as a caller may leave it
	response, err := c.Do(r)
	if err == nil {
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	if len(r.Header) != 0 {
		t.Errorf("the caller's request was changed: %v", r.Header)
	}
	return response, err
}

func TestHTTP_ARequestIsASendAndTheRootThatItCauses(t *testing.T) {
	server := httptest.NewServer(Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		probe.Log(r.Context(), "served")
		w.WriteHeader(http.StatusTeapot)
	})))
	defer server.Close()
	events := recorded(t, func(ctx context.Context) {
		if _, err := get(t, ctx, &http.Client{Transport: Transport(server.Client().Transport)}, server.URL+"/pot?secret=1"); err != nil {
			t.Error(err)
		}
	})
	host := strings.TrimPrefix(server.URL, "http://")
	if got, want := story(events, "main"), `call probehttp.(*transport).RoundTrip {"method":"GET","host":"`+host+`","path":"/pot"}
send probehttp.(*transport).RoundTrip {"method":"GET","host":"`+host+`","path":"/pot"}
return probehttp.(*transport).RoundTrip {"status":418}
`; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got, want := story(events, "http"), `call probehttp.(*handler).ServeHTTP {"method":"GET","path":"/pot"}
log probehttp.TestHTTP_ARequestIsASendAndTheRootThatItCauses.func1 {"text":"served"}
return probehttp.(*handler).ServeHTTP 
exit  
`; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	ref := ""
	for _, e := range events {
		ref += e.Ref
	}
	for _, e := range events {
		if e.Root && (len(e.Cause) != 1 || e.Cause[0] != ref || ref == "") {
			t.Errorf("%q is caused by %q", ref, e.Cause)
		}
	}
}

func TestHTTP_ConcurrentRequestsEachHaveTheirOwn(t *testing.T) {
	server := httptest.NewUnstartedServer(Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	client := &http.Client{Transport: Transport(server.Client().Transport)}
	const requests = 50
	events := recorded(t, func(ctx context.Context) {
		var wait sync.WaitGroup
		for range requests {
			wait.Add(1)
			probe.Go(ctx, "client", func(ctx context.Context) {
				defer wait.Done()
				if r, err := get(t, ctx, client, server.URL); err != nil || r.ProtoMajor != 2 {
					t.Errorf("%v %v", r, err)
				}
			})
		}
		wait.Wait()
	})
	sends, roots, streams := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, e := range events {
		if e.Kind == event.KindSend {
			sends[e.Ref] = true
		}
		if e.Root {
			roots[e.Cause[0]], streams[e.Stream] = true, true
		}
	}
	for ref := range sends {
		if !roots[ref] {
			t.Errorf("%s has caused nothing", ref)
		}
	}
	if len(sends) != requests || len(roots) != requests || len(streams) != requests {
		t.Errorf("%d sends, %d roots in %d streams", len(sends), len(roots), len(streams))
	}
}

func TestHTTP_AFailedRequestAndAPanickingHandlerShow(t *testing.T) {
	broken := errors.New("no network today")
	aborting := Handler(Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })))
	events := recorded(t, func(ctx context.Context) {
		client := &http.Client{Transport: Transport(failing{broken})}
		if _, err := get(t, ctx, client, "http://127.0.0.1:1/x"); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		client.CloseIdleConnections()
		defer func() {
			if p := recover(); p != http.ErrAbortHandler {
				t.Errorf("the panic is %v", p)
			}
		}()
		aborting.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("", "/a", http.NoBody))
	})
	if got, want := story(events, "main"), `call probehttp.(*transport).RoundTrip {"method":"GET","host":"127.0.0.1:1","path":"/x"}
send probehttp.(*transport).RoundTrip {"method":"GET","host":"127.0.0.1:1","path":"/x"}
error probehttp.(*transport).RoundTrip {"error":"no network today"}
return probehttp.(*transport).RoundTrip 
`; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	// One root, though the handler is wrapped twice.
	if got, want := story(events, "http"), `call probehttp.(*handler).ServeHTTP {"method":"GET","path":"/a"}
error probehttp.(*handler).ServeHTTP.func1 {"error":"the handler ends by a panic or runtime.Goexit"}
return probehttp.(*handler).ServeHTTP 
exit  
`; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }
func (failing) CloseIdleConnections()                             { closed++ }

var closed int

func TestHTTP_OffNothingIsAdded(t *testing.T) {
	before := closed
	seen := http.Header{}
	next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header })
	server := httptest.NewServer(Handler(next))
	defer server.Close()
	client := &http.Client{Transport: Transport(nil)}
	if _, err := get(t, context.Background(), client, server.URL); err != nil {
		t.Fatal(err)
	}
	client.CloseIdleConnections()
	if seen.Get("traceparent") != "" || closed != before {
		t.Errorf("the server saw %v", seen)
	}
	if Handler(nil).(*handler).next != http.DefaultServeMux {
		t.Error("the default is another mux")
	}
	h, r, w := Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), httptest.NewRequest("", "/", http.NoBody), httptest.NewRecorder()
	if got := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }); got != 0 {
		t.Errorf("%v allocations a request", got)
	}
}
