package shop

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/oracle"
	"github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/server/servertest"
)

type recording struct {
	events []event.Event
	data   []map[string]any
}

// read reads event lines; streams must be dense, and whatever belongs together must be there.
func read(t *testing.T, file string) (r recording) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read
	last := map[string]uint64{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		e, err := event.ParseLine(lines.Bytes())
		if err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		if e.Seq != last[e.Stream]+1 {
			t.Fatalf("stream %s goes on from %d with %d", e.Stream, last[e.Stream], e.Seq)
		}
		last[e.Stream] = e.Seq
		var data map[string]any
		if e.Data != nil {
			if err := json.Unmarshal(e.Data, &data); err != nil {
				t.Fatal(err)
			}
		}
		r.events, r.data = append(r.events, e), append(r.data, data)
	}
	return r
}

func TestRun_RecordsRequestsAndWhySomeFail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.ndjson")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := Run(ctx, Config{Requests: 400, Seed: 3, Events: file, WarehouseSlowEvery: 10, BankSlowEvery: 12})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(s)
	if s.Requests != 400 || s.Broken != 0 || s.Fine+s.SoldOut+s.TimedOut != s.Requests {
		t.Errorf("the answers do not add up: %v", s)
	}
	if s.Fine == 0 || s.SoldOut == 0 || s.TimedOut == 0 {
		t.Errorf("some requests are to succeed, some to be sold out, some to time out: %v", s)
	}
	r := read(t, file)
	if p := s.Probe; p.Dropped != 0 || p.Written != uint64(len(r.events)) || p.Err != nil {
		t.Errorf("%d lines, but %+v", len(r.events), p)
	}
	checkRequests(t, r, s)
	checkPairs(t, r)
	checkSoldOut(t, r)
}

// checkRequests: each request has one root, and everything that happens for it carries its id.
func checkRequests(t *testing.T, r recording, s Summary) {
	t.Helper()
	id := regexp.MustCompile(`^r-\d{6}$`)
	roots := map[string]bool{}
	background := regexp.MustCompile(`^(main|accept|workers|refresh)\d+$`)
	for i, e := range r.events {
		request, has := r.data[i]["request"].(string)
		if has && !id.MatchString(request) {
			t.Fatalf("request %q", request)
		}
		if has && background.MatchString(e.Stream) {
			t.Fatalf("%s %d is of request %q", e.Stream, e.Seq, request)
		}
		if !has && strings.HasPrefix(e.Stream, "conn") && e.Kind != event.KindStart {
			t.Fatalf("%s in a handler belongs to nobody", e.Kind)
		}
		if e.Root {
			if roots[request] {
				t.Errorf("request %s has two roots", request)
			}
			roots[request] = true
		}
	}
	if len(roots) != s.Requests {
		t.Errorf("%d roots for %d requests", len(roots), s.Requests)
	}
}

type end struct {
	key     string
	ordinal uint64
}

// checkPairs: each receive has its send, of the same request where it brings work; each acquire the
// release that let it in.
func checkPairs(t *testing.T, r recording) {
	t.Helper()
	sends, releases, receives := map[end]any{}, map[end]bool{}, 0
	for i, e := range r.events {
		switch e.Kind {
		case event.KindSend:
			sends[end{e.Key, e.Ordinal}] = r.data[i]["request"]
		case event.KindRelease:
			releases[end{e.Key, e.Ordinal}] = true
		}
	}
	for i, e := range r.events {
		at := end{e.Key, e.Ordinal}
		switch {
		case e.Kind == event.KindReceive && !e.Closed:
			request, ok := sends[at]
			if !ok {
				t.Fatalf("receive %v without its send", at)
			}
			if !strings.HasPrefix(e.Key, "bank.idle") && request != r.data[i]["request"] {
				t.Fatalf("receive %v of request %v, its send of %v", at, r.data[i]["request"], request)
			}
			receives++
		case e.Kind == event.KindAcquire && e.Ordinal > 0 && !releases[at]:
			t.Fatalf("acquire %v without its release", at)
		}
	}
	if receives == 0 {
		t.Error("nothing was received")
	}
}

// checkSoldOut: who finds a shelf empty got its lock, over others who found the same perhaps, from
// the background refresh that had put a 0 there because the warehouse had not answered.
func checkSoldOut(t *testing.T, r recording) {
	t.Helper()
	changes := map[end]event.Event{} // of a shelf's stock, by the release behind it
	lastState := map[string]event.Event{}
	for _, e := range r.events {
		switch e.Kind {
		case event.KindState:
			lastState[e.Stream] = e
		case event.KindRelease:
			if strings.HasPrefix(e.Key, "shelf.") {
				changes[end{e.Key, e.Ordinal}] = lastState[e.Stream]
				delete(lastState, e.Stream)
			}
		}
	}
	acquired := map[string]event.Event{} // by stream
	explained := 0
	for i, e := range r.events {
		switch {
		case e.Kind == event.KindAcquire:
			acquired[e.Stream] = e
		case e.Kind == event.KindError && strings.HasSuffix(r.data[i]["error"].(string), "sold out: 0 left"):
			lock := acquired[e.Stream]
			change := changes[end{lock.Key, lock.Ordinal}]
			for n := lock.Ordinal; change.Kind == event.KindInvalid && n > 0; n-- {
				change = changes[end{lock.Key, n}]
			}
			if strings.HasPrefix(change.Stream, "refresh") && string(change.Data) == `{"stock":0}` {
				explained++
			}
		}
	}
	if explained == 0 {
		t.Error("no sold out shelf was emptied by the refresh")
	}
}

func TestRun_WithoutRecordingStopsInTime(t *testing.T) {
	began := time.Now()
	s, err := Run(context.Background(), Config{Requests: 1 << 30, Clients: 3, Duration: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if s.Requests == 0 || s.Probe.Events != 0 || time.Since(began) > 20*time.Second {
		t.Errorf("%v after %v", s, time.Since(began))
	}
	if !strings.Contains(s.String(), "fine") || strings.Contains(s.String(), "recorded") {
		t.Error(s)
	}
}

func TestRun_SaysWhereItCannotRecord(t *testing.T) {
	if _, err := Run(context.Background(), Config{Requests: 1, Events: "/nowhere/at/all"}); err == nil || !strings.Contains(err.Error(), "/nowhere/at/all") {
		t.Errorf("got %v", err)
	}
}

// The rules of causality do not look at request ids. All the same, each event that has one comes to be in
// the correlation whose founder has the same.
func TestRun_TheRulesFindEachEventsRequest(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.ndjson")
	if _, err := Run(context.Background(), Config{Requests: 120, Seed: 2, Events: file, WarehouseSlowEvery: 10, BankSlowEvery: 12}); err != nil {
		t.Fatal(err)
	}
	r := read(t, file)
	truth, err := oracle.Correlate(r.events)
	if err != nil {
		t.Fatal(err)
	}
	request := map[oracle.At]any{}
	for i, e := range r.events {
		request[oracle.At{Source: 1, Stream: e.Stream, Seq: e.Seq}] = r.data[i]["request"]
	}
	right, wrong := 0, map[string]int{}
	for _, v := range truth.Verdicts {
		switch want := request[v.At]; {
		case want == nil:
		case request[v.Founder] == want:
			right++
		default:
			wrong[v.Event.Kind.String()+" "+v.Event.Func]++
		}
	}
	if len(wrong) > 0 || right == 0 {
		t.Errorf("%d events are with their request; not so are %v", right, wrong)
	}
}

func TestRun_RecordsToAServer(t *testing.T) {
	flow := servertest.New(t)
	s, err := server.New(server.Options{Recorder: flow})
	if err != nil {
		t.Fatal(err)
	}
	l, err := server.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)                          //nolint:errcheck // ends by Shutdown
	defer s.Shutdown(context.Background()) //nolint:errcheck // nothing is under way
	summary, err := Run(context.Background(), Config{Requests: 60, To: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if p := summary.Probe; p.Dropped != 0 || p.Written == 0 || uint64(flow.Count()) != p.Written || flow.Duplicates != 0 {
		t.Errorf("%d events have arrived, %+v", flow.Count(), p)
	}
}
