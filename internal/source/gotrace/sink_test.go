package gotrace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"runtime/trace"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

// kept is a sink that keeps everything, in the order in which a correlator would see it.
type kept struct {
	table   *wire.Table
	events  []event.Event
	flags   []wire.Flags
	batches int
	rejects []source.Rejected
	pushErr error
}

func newKept() *kept { return &kept{table: wire.NewTable(64 << 20)} }

func (k *kept) Table() *wire.Table { return k.table }

func (k *kept) Push(_ context.Context, b *wire.Batch) error {
	if k.pushErr != nil {
		return k.pushErr
	}
	k.batches++
	i := 0
	for _, run := range b.Runs {
		for range run.Len {
			var e event.Event
			if err := b.Event(i, run.Stream, k.table, &e); err != nil {
				return err
			}
			k.events = append(k.events, e)
			k.flags = append(k.flags, b.Records[i].Flags)
			i++
		}
	}
	if i != len(b.Records) {
		return errors.New("the runs' lengths do not add up to the records")
	}
	return nil
}

func (k *kept) Reject(r source.Rejected) error {
	k.rejects = append(k.rejects, r)
	return nil
}

// only gives the events that satisfy all of the conditions.
func (k *kept) only(conditions ...func(*event.Event) bool) (found []*event.Event) {
	for i := range k.events {
		ok := true
		for _, c := range conditions {
			ok = ok && c(&k.events[i])
		}
		if ok {
			found = append(found, &k.events[i])
		}
	}
	return found
}

func kind(k event.Kind) func(*event.Event) bool {
	return func(e *event.Event) bool { return e.Kind == k }
}

func inFunc(suffix string) func(*event.Event) bool {
	return func(e *event.Event) bool { return strings.HasSuffix(e.Func, suffix) }
}

func inStream(name string) func(*event.Event) bool {
	return func(e *event.Event) bool { return e.Stream == name }
}

func dataOf(e *event.Event, name string) any {
	var m map[string]any
	_ = json.Unmarshal(e.Data, &m)
	return m[name]
}

func dataIs(name string, value any) func(*event.Event) bool {
	return func(e *event.Event) bool { return dataOf(e, name) == value }
}

// one gives the only event that satisfies the conditions.
func (k *kept) one(t *testing.T, conditions ...func(*event.Event) bool) *event.Event {
	t.Helper()
	found := k.only(conditions...)
	if len(found) != 1 {
		for _, e := range found {
			t.Logf("  %s", event.AppendLine(nil, e))
		}
		t.Fatalf("%d events satisfy the conditions, want one", len(found))
	}
	return found[0]
}

// record runs a program with the tracer on, and gives its trace.
func record(tb testing.TB, program func()) []byte {
	tb.Helper()
	var to bytes.Buffer
	if err := trace.Start(&to); err != nil {
		tb.Fatal(err)
	}
	program()
	trace.Stop()
	return to.Bytes()
}

// read reads a whole trace, and checks what holds of every one.
func read(t *testing.T, text []byte, o Options) (*kept, Stats) {
	t.Helper()
	k := newKept()
	stats, err := Read(context.Background(), bytes.NewReader(text), "t.trace", o, k)
	if err != nil {
		t.Fatal(err)
	}
	check(t, k, stats)
	return k, stats
}

// check holds the promises that every trace keeps, also a broken one.
func check(t *testing.T, k *kept, stats Stats) {
	t.Helper()
	if stats.TraceEvents != stats.Used+stats.Skipped {
		t.Errorf("%d trace events, but %d used and %d skipped", stats.TraceEvents, stats.Used, stats.Skipped)
	}
	if int(stats.Events) != len(k.events) || int(stats.Batches) != k.batches {
		t.Errorf("stats say %d events in %d batches, the sink got %d in %d", stats.Events, stats.Batches, len(k.events), k.batches)
	}
	seqs, times := map[string]uint64{}, map[string]int64{}
	there := map[string]bool{} // what a later event can have as its cause
	open := map[string]int{}
	for i := range k.events {
		e := &k.events[i]
		line := event.AppendLine(nil, e)
		if _, err := event.ParseLine(line); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if e.Seq != seqs[e.Stream]+1 {
			t.Fatalf("%s: its stream's last event has seq %d", line, seqs[e.Stream])
		}
		seqs[e.Stream] = e.Seq
		if last, has := times[e.Stream]; has && e.Time < last { // a broken clock can be before the epoch
			t.Fatalf("%s: its stream's last event is at %d", line, times[e.Stream])
		}
		times[e.Stream] = e.Time
		need := ""
		switch e.Kind {
		case event.KindSend:
			there["m"+e.Message] = true
		case event.KindReceive:
			need = "m" + e.Message
			if e.Closed {
				need = "c" + e.Key
			}
			if k.flags[i]&wire.FlagInferred == 0 {
				t.Errorf("%s: it is not flagged as inferred", line)
			}
		case event.KindClose:
			there["c"+e.Key] = true
		case event.KindSpawn:
			there["s"+e.Child] = true
		case event.KindStart:
			need = "s" + e.Stream
			if e.Seq != 1 {
				t.Errorf("%s: a start that is not the first event", line)
			}
		case event.KindWake:
			if len(e.Cause) > 0 {
				need = "r" + e.Cause[0]
			}
		case event.KindCall:
			open[e.Stream]++
		case event.KindReturn:
			if len(e.Cause) == 0 {
				if open[e.Stream]--; open[e.Stream] < 0 {
					t.Errorf("%s: a return without an open call", line)
				}
			}
		}
		if need != "" && !there[need] {
			t.Fatalf("%s: its cause has not come before it", line)
		}
		if e.Ref != "" {
			there["r"+e.Ref] = true
		}
	}
}
