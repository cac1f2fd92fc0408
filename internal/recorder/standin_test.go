package recorder

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/correlate"
	"github.com/pastcone/pastcone/internal/pipeline"
	"github.com/pastcone/pastcone/internal/store"
	"github.com/pastcone/pastcone/internal/wire"
)

func TestT5_ARestartedCorrelatorKnowsWhatIsPublishedAndNotDurable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{Lateness: time.Millisecond, Store: store.Options{CommitInterval: 300 * time.Millisecond}})
	in := input(t, r, "one", false)
	log := func(seq uint64) event.Event {
		return event.Event{Stream: "g1", Seq: seq, Time: int64(seq), Kind: event.KindLog} // #nosec G115 -- small
	}
	push(t, in, log(1))
	eventually(t, "the first is durable", func() bool { return r.Books().All.Stored == 1 })
	push(t, in, log(2), log(3))
	eventually(t, "the next are published", func() bool { return r.store.NextID() == 4 })
	if err := r.sequence(within(t), func(*correlate.Correlator) {
		r.seq.add = func(c *correlate.Correlator, b *wire.Batch) {
			r.seq.add = (*correlate.Correlator).Add
			panic("planted")
		}
	}); err != nil {
		t.Fatal(err)
	}
	push(t, in, event.Event{Stream: "g2", Seq: 1, Time: 4, Kind: event.KindLog})
	push(t, in, log(3), log(4)) // a client that is unsure sends again
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	closeWell(t, r)
	if got := strings.Join(kindsOf(readAll(t, dir), "g1"), " "); got != "log1 log2 log3 log4" && got != "log1 log2 log3 gap4 log4" {
		t.Errorf("nothing of g1 is lost, but the recording has %s", got)
	}
}

// kindsOf gives the events of a stream, in order, as kind and seq.
func kindsOf(all []event.Event, stream string) (kinds []string) {
	for _, e := range all {
		if e.Stream == stream {
			kinds = append(kinds, fmt.Sprintf("%s%d", e.Kind, e.Seq))
		}
	}
	return kinds
}

func TestT5_ABlockThatCanNotBeWrittenIsStoodInForAndTheRestGoesOn(t *testing.T) {
	poison := func(b *wire.Block) bool { return strings.Contains(string(b.Arena), "poison") }
	keyed := func(b *wire.Block) bool {
		return slices.ContainsFunc(b.Rows, func(r wire.Row) bool { return r.Key != 0 })
	}
	for name, c := range map[string]struct {
		bad   func(*wire.Block) bool
		says  string
		fails bool
	}{
		"its data":               {poison, "its data could not be written", false},
		"something else of it":   {keyed, "all but its place and its kind could not be written", false},
		"whatever stands for it": {func(*wire.Block) bool { return true }, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "rec")
			settings := pipeline.DefaultSettings()
			settings.BackoffMin, settings.BackoffMax = time.Millisecond, time.Millisecond
			r := open(t, dir, Options{Write: settings})
			write := r.write
			r.write = func(b *wire.Block) error {
				if c.bad(b) {
					panic("planted")
				}
				return write(b)
			}
			in := input(t, r, "one", false)
			push(t, in,
				event.Event{Stream: "g1", Seq: 1, Time: 1, Kind: event.KindStart},
				event.Event{Stream: "g1", Seq: 2, Time: 2, Kind: event.KindCall, Func: "f"})
			if !c.fails {
				eventually(t, "what is well is durable", func() bool { return r.Books().All.Stored == 2 })
			}
			push(t, in, event.Event{Stream: "g1", Seq: 3, Time: 3, Kind: event.KindSend, Key: "jobs", Ordinal: 1, Data: []byte(`{"a":"poison"}`)})
			if c.fails {
				eventually(t, "the recorder says that it has failed", func() bool { return r.Err() != nil })
				if err := r.Err(); !strings.Contains(err.Error(), "events 1 to") || !strings.Contains(err.Error(), "stands in for it") {
					t.Errorf("it says %v", err)
				}
				if _, err := r.Source(Spec{Name: "two"}); err == nil {
					t.Error("it takes another source")
				}
				if err := in.Close(within(t), true); err == nil {
					t.Error("the input has ended well")
				}
				if s := r.Status(); s.Failed == "" || s.Stripped != 0 {
					t.Errorf("%+v", s)
				}
				if err := r.Close(within(t)); err == nil {
					t.Error("it closes as if all was well")
				}
				return
			}
			eventually(t, "what stands in for it is durable", func() bool { return r.Books().All.Stored == 3 })
			push(t, in, event.Event{Stream: "g1", Seq: 4, Time: 4, Kind: event.KindReturn, Func: "f"})
			if err := in.Close(within(t), true); err != nil {
				t.Fatal(err)
			}
			stripped := r.Status().Stripped
			closeWell(t, r)
			all := readAll(t, dir)
			if got := strings.Join(kindsOf(all, "g1"), " "); got != "start1 call2 send3 return4" {
				t.Fatalf("the recording has %s", got)
			}
			if got := string(all[2].Data); stripped == 0 || got != `{"pastcone.lost":"`+c.says+`"}` {
				t.Errorf("%d stripped, the event has %s", stripped, got)
			}
			if all[3].Parent != all[1].ID {
				t.Errorf("the return's parent is %d", all[3].Parent)
			}
			report, err := Verify(within(t), dir, func(int64, int64, uint64) {})
			if err != nil || !report.OK() {
				t.Errorf("verify: %v, %+v", err, report.Problems)
			}
			letters, err := os.ReadFile(filepath.Join(dir, "dead-letters.ndjson"))
			if err != nil || !strings.Contains(string(letters), "poison") || !strings.Contains(string(letters), `"stage":"write"`) {
				t.Errorf("the dead letters have what it was: %v %s", err, letters)
			}
		})
	}
}
