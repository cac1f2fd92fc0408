package probehttp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/answer"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/probe"
)

// What this test binary is when it is started anew: one of the two processes of the story below.
const (
	envRole      = "PROBEHTTP_TEST_ROLE"   // client or server
	envPastcone  = "PROBEHTTP_TEST_RECORD" // where the recording is
	envShop      = "PROBEHTTP_TEST_SHOP"   // of the client: where the server is
	orders       = 60
	buyers       = 6
	ordersFailed = orders / 10
)

func TestMain(m *testing.M) {
	run := map[string]func() error{"client": buy, "server": sell}[os.Getenv(envRole)]
	if run == nil {
		os.Exit(m.Run())
	}
	r, err := probe.Start(probe.Options{Address: os.Getenv(envPastcone), Source: os.Getenv(envRole), Policy: probe.Wait, CloseTimeout: 20 * time.Second})
	if err == nil {
		err = errors.Join(run(), r.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// sell is the server: a handler hands each order to a worker, and waits for its answer. Some items are sold out.
func sell() error {
	type order struct {
		item  string
		reply *probe.Chan[string]
	}
	main := probe.Attach(context.Background(), "main")
	log := slog.New(probe.NewHandler(nil, nil))
	jobs := probe.NewChan[order]("orders", 4)
	var workers sync.WaitGroup
	for range 3 {
		workers.Add(1)
		probe.Go(main, "worker", func(own context.Context) {
			defer workers.Done()
			for {
				ctx, o, err := jobs.Take(own)
				if err != nil {
					return
				}
				log.InfoContext(ctx, "packing", "item", o.item)
				answer := "sold"
				if strings.HasSuffix(o.item, "7") {
					answer = probe.Error(ctx, errors.New("sold out: "+o.item)).Error()
				}
				_ = o.reply.Send(ctx, answer)
			}
		})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/order/{item}", func(w http.ResponseWriter, r *http.Request) {
		o := order{r.PathValue("item"), probe.NewChan[string]("reply", 1)}
		_ = jobs.Send(r.Context(), o)
		answer, _ := o.reply.Receive(r.Context())
		if answer != "sold" {
			w.WriteHeader(http.StatusConflict)
		}
		_, _ = io.WriteString(w, answer)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &http.Server{Handler: Handler(mux), ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	fmt.Println(l.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until whoever started it lets it go
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err = s.Shutdown(ctx)
	jobs.Close(main)
	workers.Wait()
	if serving := <-served; !errors.Is(serving, http.ErrServerClosed) {
		err = errors.Join(err, serving)
	}
	return err
}

// buy is the client: buyers that order one thing after the other, each order a piece of work.
func buy() error {
	main := probe.Attach(context.Background(), "main")
	client := &http.Client{Transport: Transport(nil)}
	failed := make(chan error, buyers)
	for b := range buyers {
		probe.Go(main, "buyer", func(ctx context.Context) {
			var err error
			for i := range orders / buyers {
				err = errors.Join(err, buyOne(ctx, client, fmt.Sprint("lamp", b*orders/buyers+i)))
			}
			failed <- err
		})
	}
	var err error
	for range buyers {
		err = errors.Join(err, <-failed)
	}
	return err
}

func buyOne(ctx context.Context, client *http.Client, item string) error {
	defer probe.Root(ctx, slog.String("item", item)).End()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+os.Getenv(envShop)+"/order/"+item, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}

// process starts this binary as one of the two. What it writes to stderr is the test's.
func process(t *testing.T, role, pastcone, shop string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0]) // #nosec G204 -- this very binary
	cmd.Env = append(os.Environ(), envRole+"="+role, envPastcone+"="+pastcone, envShop+"="+shop)
	cmd.Stderr = os.Stderr
	return cmd
}

// ask gives the lines of an answer.
func ask(t *testing.T, rec *recorder.Recorder, q answer.Question) (lines []map[string]any) {
	t.Helper()
	var out bytes.Buffer
	q.JSON = true
	s := rec.Snapshot()
	if err := answer.Answer(context.Background(), s, rec.Sources(), &q, &out); err != nil {
		t.Fatal(q, err)
	}
	for line := range strings.Lines(out.String()) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	return lines
}

// found gives the events that a query finds.
func found(t *testing.T, rec *recorder.Recorder, query string) (events []event.Event) {
	t.Helper()
	for _, l := range ask(t, rec, answer.Question{Op: "find", Query: query}) {
		if l["type"] == "summary" {
			continue
		}
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		var e event.Event
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// A client and a server, each a process that records itself and sends to the same recording: why in the one leads into the other,
// for each of many requests that go on at once.
func TestProcesses_AClientAndAServerFormOneGraph(t *testing.T) {
	rec, err := recorder.Open(filepath.Join(t.TempDir(), "rec"), recorder.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(rec.ServerOptions())
	if err != nil {
		t.Fatal(err)
	}
	l, err := server.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = s.Shutdown(ctx)
		<-served
		if err := rec.Close(ctx); err != nil {
			t.Error(err)
		}
	}()

	selling := process(t, "server", l.Addr().String(), "")
	letGo, err := selling.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := selling.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := selling.Start(); err != nil {
		t.Fatal(err)
	}
	shop, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := process(t, "client", l.Addr().String(), strings.TrimSpace(shop)).Run(); err != nil {
		t.Fatal("the client: ", err)
	}
	_ = letGo.Close()
	if err := selling.Wait(); err != nil {
		t.Fatal("the server: ", err)
	}

	// Each request that was served belongs to the order of its item, and that is sure.
	founders := map[event.ID]string{}
	for _, e := range found(t, rec, `{ root = true && data.item != "" }`) {
		var data struct{ Item string }
		if err := json.Unmarshal(e.Data, &data); err != nil || e.Correlation != e.ID {
			t.Fatalf("%+v: %v", e, err)
		}
		founders[e.ID] = "/order/" + data.Item
	}
	roots := found(t, rec, `{ root = true && data.path != "" }`)
	for _, e := range roots {
		var data struct{ Path string }
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		if founders[e.Correlation] != data.Path || e.CorrelationConfidence != event.Exact || e.Position != 3 {
			t.Errorf("the request %s is work of %q, %v: %+v", data.Path, founders[e.Correlation], e.CorrelationConfidence, e)
		}
	}
	if len(roots) != orders || len(founders) != orders {
		t.Errorf("%d orders, %d requests served, of %d", len(founders), len(roots), orders)
	}
	failures := found(t, rec, `{ kind = error }`)
	if len(failures) != ordersFailed {
		t.Errorf("%d errors, should be %d", len(failures), ordersFailed)
	}
	for _, e := range failures {
		var steps []string
		for _, l := range ask(t, rec, answer.Question{Op: "why", Events: []string{fmt.Sprint(e.ID)}}) {
			if step, ok := l["event"].(map[string]any); ok && l["type"] == "step" {
				steps = append(steps, fmt.Sprint(l["source"], ":", strings.TrimRight(step["stream"].(string), "0123456789"), ":", step["kind"]))
			}
		}
		if got, want := strings.Join(steps, " "), "client:buyer:call client:buyer:call client:buyer:send server:http:call server:http:send server:worker:receive server:worker:error"; !strings.HasSuffix(got, want) {
			t.Errorf("why: %s\nshould end with %s", got, want)
		}
	}
}
