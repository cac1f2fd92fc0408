package gotrace

import (
	"context"
	"runtime/trace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/oracle"
)

//go:noinline
func unannotated(done chan bool) { done <- true }

// TestRead_TheRulesPutWorkOnItsTasksAccount: what the rules of causality make of a trace is what its author meant.
func TestRead_TheRulesPutWorkOnItsTasksAccount(t *testing.T) {
	type job struct {
		ctx  context.Context
		name string
	}
	text := record(t, func() {
		jobs := make(chan job)
		var workers sync.WaitGroup
		for range 2 {
			workers.Go(func() {
				for j := range jobs {
					trace.WithRegion(j.ctx, "work on "+j.name, func() {
						trace.Log(j.ctx, "for", j.name)
						done := make(chan bool, 1)
						go unannotated(done)
						<-done
					})
				}
			})
		}
		var clients sync.WaitGroup
		for _, name := range []string{"anna", "bert", "carl"} {
			clients.Go(func() {
				ctx, task := trace.NewTask(context.Background(), name)
				sub, subtask := trace.NewTask(ctx, "part of "+name)
				jobs <- job{sub, name}
				subtask.End()
				time.Sleep(settle)
				trace.Log(ctx, "for", name)
				task.End()
				trace.Log(context.Background(), "after", name)
			})
		}
		clients.Wait()
		close(jobs)
		workers.Wait()
	})
	k, _ := read(t, text, Options{})
	truth, err := oracle.Correlate(k.events)
	if err != nil {
		t.Fatal(err)
	}
	at := func(e *event.Event) *oracle.Verdict {
		return truth.Of(oracle.At{Source: 1, Stream: e.Stream, Seq: e.Seq})
	}
	founder := func(e *event.Event) *event.Event { return &truth.Of(at(e).Founder).Event }
	told := map[string]int{}
	for _, e := range k.only(kind(event.KindLog)) {
		name, _ := dataOf(e, "message").(string)
		switch f := founder(e); dataOf(e, "category") {
		case "for":
			told[name]++
			if f.Func != name || at(e).Background {
				t.Errorf("%s belongs to %s", event.AppendLine(nil, e), event.AppendLine(nil, f))
			}
		case "after":
			if f.Func == name {
				t.Errorf("%s comes after its task, and belongs to it all the same", event.AppendLine(nil, e))
			}
		}
	}
	if told["anna"] != 2 || told["bert"] != 2 || told["carl"] != 2 {
		t.Errorf("logs for tasks: %v", told)
	}
	spawned := k.only(kind(event.KindStart), inFunc(".unannotated"))
	if len(spawned) != 3 {
		t.Errorf("%d goroutines were spawned in regions", len(spawned))
	}
	for _, e := range spawned {
		parent := truth.Of(at(e).Parent)
		region := truth.Of(parent.Parent).Event
		if name, ok := strings.CutPrefix(region.Func, "work on "); !ok || founder(e).Func != name {
			t.Errorf("%s was spawned in %s, and belongs to %s", e.Stream, region.Func, founder(e).Func)
		}
	}
}
