package recorder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

// program gives the events of clients that hand jobs to workers and wait for their answers, in an order in which many causes come
// behind their effects, with a hole that never comes and calls that are open all along.
func program(rng *rand.Rand, rounds int) (all []event.Event) {
	now := int64(1_700_000_000_000_000_000)
	seqs := map[string]uint64{}
	add := func(e event.Event) {
		now += 1000
		seqs[e.Stream]++
		e.Seq, e.Time = seqs[e.Stream], now
		all = append(all, e)
	}
	const pairs = 6
	for i := range pairs {
		add(event.Event{Stream: "main1", Kind: event.KindSpawn, Child: fmt.Sprintf("w%d", i)})
		add(event.Event{Stream: fmt.Sprintf("w%d", i), Kind: event.KindStart, Func: "work"})
		add(event.Event{Stream: fmt.Sprintf("c%d", i), Kind: event.KindCall, Func: "client", Root: i%2 == 0})
	}
	for i := range rounds {
		p := rng.IntN(pairs)
		c, w := fmt.Sprintf("c%d", p), fmt.Sprintf("w%d", p)
		add(event.Event{Stream: c, Kind: event.KindCall, Func: "ask"})
		add(event.Event{Stream: c, Kind: event.KindSend, Key: "jobs" + w, Ordinal: uint64(1 + i)})
		add(event.Event{Stream: w, Kind: event.KindReceive, Key: "jobs" + w, Ordinal: uint64(1 + i), Func: "work", File: "w.go", Line: 3})
		add(event.Event{Stream: w, Kind: event.KindLog, Func: "work", Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))})
		add(event.Event{Stream: w, Kind: event.KindSend, Key: "answers" + c, Ordinal: uint64(1 + i)})
		add(event.Event{Stream: c, Kind: event.KindReceive, Key: "answers" + c, Ordinal: uint64(1 + i)})
		add(event.Event{Stream: c, Kind: event.KindReturn, Func: "ask"})
	}
	// Some of one stream is lost, and everything comes up to 300 places late.
	all = slices.DeleteFunc(all, func(e event.Event) bool { return e.Stream == "c1" && e.Seq > 200 && e.Seq%97 == 0 })
	late := make([]int, len(all))
	order := make([]int, len(all))
	for i := range all {
		order[i], late[i] = i, i+rng.IntN(300)
	}
	slices.SortStableFunc(order, func(a, b int) int { return late[a] - late[b] })
	shuffled := make([]event.Event, len(all))
	for i, k := range order {
		shuffled[i] = all[k]
	}
	return shuffled
}

// relations tells what became of each event, by stream and seq alone: its parent, its edges, its correlation.
func relations(t *testing.T, all []event.Event, skip func(*event.Event) bool) map[string]string {
	t.Helper()
	names := map[event.ID]string{0: "none"}
	for i := range all {
		names[all[i].ID] = fmt.Sprintf("%s#%d/%v", all[i].Stream, all[i].Seq, all[i].Kind)
	}
	of := map[string]string{}
	for i := range all {
		e := &all[i]
		if skip != nil && skip(e) {
			continue
		}
		var says strings.Builder
		fmt.Fprintf(&says, "parent %s of %s at %d, %v %v, %v, %s:", names[e.Parent], names[e.Correlation], e.Position, e.Confidence, e.CorrelationConfidence, e.Duration, e.Data)
		for _, c := range e.Causes {
			name, is := names[c.ID]
			if !is {
				t.Fatalf("%s has a cause that is not there, %d", names[e.ID], c.ID)
			}
			fmt.Fprintf(&says, " %v %v %s", c.Kind, c.Confidence, name)
			if c.ID >= e.ID {
				t.Errorf("%s: its cause %s comes behind it", names[e.ID], name)
			}
		}
		if before, is := of[names[e.ID]]; is {
			t.Fatalf("%s is there twice: %s and %s", names[e.ID], before, says.String())
		}
		of[names[e.ID]] = says.String()
	}
	return of
}

// importing pushes events as a file that is read, in batches, until so many are pushed, with a bad line now and then.
func importing(t *testing.T, in *Input, events []event.Event, upTo, batch int) {
	t.Helper()
	for i := 0; i < upTo; i += batch {
		for line := i; line < min(i+batch, upTo); line++ {
			if line%250 != 0 {
				continue
			}
			if err := in.Reject(source.Rejected{File: "file", Line: line + 1, Reason: "no event"}); err != nil {
				t.Fatal(err)
			}
		}
		push(t, in, events[i:min(i+batch, upTo)]...)
	}
}

func sameRelations(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	shown := 0
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			if shown++; shown <= 5 {
				t.Errorf("%s: %s\n is  %s\n not %s", what, name, got[name], want[name])
			}
		}
	}
	if len(got) != len(want) || shown > 0 {
		t.Errorf("%s: %d events, not %d; %d differ", what, len(got), len(want), shown)
	}
}

// TestT5_AnImportThatWasBrokenOffGoesOnAsIfItNeverWas breaks an import off again and again, goes on with it, and compares with one
// that went through: every parent, edge, correlation and gap, and the books.
func TestT5_AnImportThatWasBrokenOffGoesOnAsIfItNeverWas(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 9))
	events := program(rng, 3000)
	spec := Spec{Name: "file", Format: "event lines", Fingerprint: Fingerprint([]byte{1}), Finite: true}
	through := filepath.Join(t.TempDir(), "rec")
	r := open(t, through, Options{})
	in, err := r.Source(spec)
	if err != nil {
		t.Fatal(err)
	}
	importing(t, in, events, len(events), 250)
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	want := in.Account()
	closeWell(t, r)
	wantRelations := relations(t, readAll(t, through), nil)

	for _, other := range []struct {
		says    string
		batch   func(run int) int // with other settings, it is read in other batches
		between bool              // another source is recorded in between
	}{
		{"alone", func(int) int { return 250 }, false},
		{"with others in between", func(int) int { return 250 }, true},
		{"in other batches each time", func(run int) int { return 100 + 170*run }, false},
	} {
		t.Run(other.says, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "rec")
			var id wire.SourceID
			const runs = 5
			for run := range runs {
				r := open(t, dir, Options{BlockInterval: 1})
				known, brokenOff := r.Earlier(spec.Fingerprint)
				if known != nil || (brokenOff != nil) != (run > 0) {
					t.Fatalf("run %d: %+v %+v", run, known, brokenOff)
				}
				var in *Input
				var err error
				if brokenOff != nil {
					in, err = r.GoOn(within(t), *brokenOff)
				} else {
					in, err = r.Source(spec)
				}
				if err != nil {
					t.Fatal(err)
				}
				if run == 0 {
					id = in.ID()
				} else if in.ID() != id {
					t.Fatalf("it goes on as source %d, not %d", in.ID(), id)
				}
				last := run == runs-1
				upTo := len(events) * (1 + rng.IntN(3) + run) / (runs + 2)
				if last {
					upTo = len(events)
				}
				importing(t, in, events, upTo, other.batch(run))
				if err := in.Close(within(t), last); err != nil {
					t.Fatal(err)
				}
				if err := r.CheckSettled(); err != nil {
					t.Error(err)
				}
				if other.between {
					between := input(t, r, fmt.Sprint("other", run), true)
					push(t, between, handedOver(500, "q")...)
					if err := between.Close(within(t), true); err != nil {
						t.Fatal(err)
					}
				}
				closeWell(t, r)
			}
			rec, err := Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer rec.Close()
			for _, s := range sources(t, rec) {
				if s.ID == id && (!s.Complete || s.Accepted != want.Accepted || s.Stored != want.Stored || s.Rejected != want.Rejected || !maps.Equal(s.RejectedBy, want.RejectedBy)) {
					t.Errorf("its books are %+v, those of the import that went through %+v", s, want)
				}
			}
			counts, err := source.CountRejects(filepath.Join(dir, rejectsName))
			if err != nil || counts[id][ReasonUnreadable] != want.RejectedBy[ReasonUnreadable] {
				t.Errorf("the rejects file has %v: %v", counts, err)
			}
			var mine []event.Event
			ofOthers := map[event.ID]bool{}
			snapshot, err := rec.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			defer snapshot.Close()
			var c wire.Columns
			for _, b := range snapshot.Blocks(wire.Prune{}) {
				if err := snapshot.Read(b.Base, wire.ColSource, &c); err != nil {
					t.Fatal(err)
				}
				for i, src := range c.Source {
					ofOthers[b.Base+event.ID(i)] = src != id
				}
			}
			for _, e := range readAll(t, dir) {
				if !ofOthers[e.ID] {
					mine = append(mine, e)
				}
			}
			sameRelations(t, other.says, relations(t, mine, nil), wantRelations)
			if report, err := Verify(t.Context(), dir, func(int64, int64, uint64) {}); err != nil {
				t.Errorf("%+v: %v", report, err)
			}
		})
	}
}

// TestT5_GoingOnIsRefusedWhereItCanNotBeExact says why.
func TestT5_GoingOnIsRefusedWhereItCanNotBeExact(t *testing.T) {
	events := handedOver(400, "q")
	spec := Spec{Name: "file", Format: "probe", Fingerprint: Fingerprint([]byte{1}), Finite: true} // no first event waits for a spawn
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{})
	in, err := r.Source(spec)
	if err != nil {
		t.Fatal(err)
	}
	push(t, in, events[:300]...)
	if err := in.Close(within(t), false); err != nil {
		t.Fatal(err)
	}
	_, brokenOff := r.Earlier(spec.Fingerprint)
	if brokenOff == nil || brokenOff.Events == 0 {
		t.Fatalf("%+v", brokenOff)
	}
	live := input(t, r, "live", false)
	if _, err := r.GoOn(within(t), *brokenOff); err == nil || !strings.Contains(err.Error(), "while nothing else is recorded") {
		t.Error(err)
	}
	if err := live.Close(within(t), true); err != nil {
		t.Fatal(err)
	}

	// What comes now has nothing to do with what is stored, and there is more of that than may be remembered.
	in, err = r.GoOn(within(t), *brokenOff)
	if err != nil {
		t.Fatal(err)
	}
	in.replay.passedMax = 10
	push(t, in, handedOver(400, "other")[200:]...)
	push(t, in, event.Event{Stream: "stranger", Seq: 1, Time: 1, Kind: event.KindLog})
	if err := in.Close(within(t), true); !errors.Is(err, ErrGoesDifferently) {
		t.Error(err)
	}
	if err := r.CheckSettled(); err != nil {
		t.Error(err)
	}
	// It can still be gone on with as it was.
	_, again := r.Earlier(spec.Fingerprint)
	if again == nil || again.Events != brokenOff.Events {
		t.Fatalf("%+v, before %+v", again, brokenOff)
	}
	in, err = r.GoOn(within(t), *again)
	if err != nil {
		t.Fatal(err)
	}
	push(t, in, events...)
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	closeWell(t, r)
	checkHandedOver(t, readAll(t, dir), "q", 400)
	if _, err := r.GoOn(context.Background(), *again); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// TestT5_AFileThatIsBrokenIsKnownAsSuch ends a source where it can not be read further: it is not taken for one that was broken off.
func TestT5_AFileThatIsBrokenIsKnownAsSuch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{})
	spec := Spec{Name: "file", Fingerprint: Fingerprint([]byte{1}), Finite: true}
	in, err := r.Source(spec)
	if err != nil {
		t.Fatal(err)
	}
	push(t, in, event.Event{Stream: "g1", Seq: 3, Time: 1, Kind: event.KindLog})
	in.EndsAt(errors.New("torn near byte 7"))
	if err := in.Close(within(t), false); err != nil {
		t.Fatal(err)
	}
	closeWell(t, r)
	r = open(t, dir, Options{})
	known, brokenOff := r.Earlier(spec.Fingerprint)
	if known == nil || brokenOff != nil {
		t.Fatalf("%+v %+v", known, brokenOff)
	}
	if why, is := Broken(known); !is || why != "torn near byte 7" {
		t.Errorf("%v %q", is, why)
	}
	closeWell(t, r)
	if all := readAll(t, dir); len(all) != 2 || all[0].Kind != event.KindGap {
		t.Errorf("what waited is not there as it was at the end: %+v", all)
	}
}
