package correlate

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// rig is a correlator with its collector, for tests that talk to it step by step.
type rig struct {
	*testing.T
	*Correlator
	k *collector
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	if o.Table == nil {
		o.Table = wire.NewTable(1 << 24)
	}
	if o.Lateness == 0 {
		o.Lateness = storyLateness
	}
	k := collect(t, o.Table)
	if o.FirstID != 0 {
		k.next = o.FirstID
	}
	return &rig{t, New(o, k), k}
}

// add adds a batch of story lines, "stream#seq" in front of each, that arrives at that time.
func (r *rig) add(source wire.SourceID, arrived int64, lines ...string) {
	r.Helper()
	var all []storyLine
	for _, line := range lines {
		name, rest, _ := strings.Cut(line, " ")
		stream, number, _ := strings.Cut(name, "#")
		l := readLines(r.T, line, stream+" "+rest)[0]
		if _, err := fmt.Sscan(number, &l.event.Seq); err != nil {
			r.Fatal(line, err)
		}
		all = append(all, l)
	}
	b := batch(r.T, r.table, source, all...)
	b.Arrived = arrived
	r.Add(b)
}

// emitted gives the events that have come out so far.
func (r *rig) emitted() string {
	r.Flush()
	var names []string
	for _, e := range r.k.results {
		names = append(names, r.k.name(e.ID))
	}
	return strings.Join(names, " ")
}

func (r *rig) expect(want string) {
	r.Helper()
	if got := r.emitted(); got != want {
		r.Errorf("emitted %q, should be %q", got, want)
	}
}

func TestAStreamWaitsForWhatIsMissingUntilTheLatenessIsOver(t *testing.T) {
	r := newRig(t, Options{})
	r.Open(1, false)
	r.add(1, 0, "m#1 start - at=0")
	r.add(1, 0, "m#3 log x at=100")
	r.add(1, 0, "x#1 start - at=1000") // m#1 waits for its spawn up to, and with, 1000
	r.expect("")
	r.add(1, 0, "x#2 log - at=1001")
	r.expect("m#1")
	r.add(1, 0, "x#3 log - at=1100")
	r.expect("m#1")
	r.add(1, 0, "x#4 log - at=1101")
	r.expect("m#1 m#2-gap m#3")
	r.add(1, 0, "x#5 log - at=2001")
	r.expect("m#1 m#2-gap m#3 x#1 x#2 x#3 x#4 x#5")
}

func TestWhatComesInTimeIsNotMissing(t *testing.T) {
	r := newRig(t, Options{})
	r.add(1, 0, "m#1 call main at=0", "x#1 call f at=1001")
	r.add(1, 0, "m#3 log x at=100", "x#2 log x at=1050")
	r.add(1, 0, "m#2 log x at=90")
	r.Finish()
	if len(r.k.rejected) > 0 || r.Correlator.Stats().Gaps > 0 {
		t.Error(r.k.rejected, r.emitted())
	}
}

func TestASourceThatMarksStartsNeedNotWaitForOthers(t *testing.T) {
	r := newRig(t, Options{})
	r.Open(1, true)
	r.MarksStarts(1)
	r.add(1, 0, "m#1 call main", "m#2 spawn go child=w")
	r.expect("m#1 m#2")
	r.add(1, 0, "v#1 start -", "w#1 start -")
	r.expect("m#1 m#2 w#1")
	r.add(1, 0, "m#3 spawn go child=u", "u#1 call work") // it does not keep its word; what is there is used all the same
	r.expect("m#1 m#2 w#1 m#3 u#1")
	if got := r.k.tell(r.k.results[4]); !strings.HasPrefix(got, "m#3 ") {
		t.Errorf("the parent of u#1: %s", got)
	}
	r.Finish()
	r.expect("m#1 m#2 w#1 m#3 u#1 v#1")
}

func TestASourceWhoseSpawnsAreKnownWaitsForThoseOnly(t *testing.T) {
	r := newRig(t, Options{})
	r.Open(1, true)
	name, err := r.table.Name("w")
	if err != nil {
		t.Fatal(err)
	}
	r.Spawns(1, map[wire.Name]struct{}{name: {}})
	r.add(1, 0, "m#1 call main", "w#1 call work")
	r.expect("m#1")
	r.add(1, 0, "m#2 spawn go child=w")
	r.expect("m#1 m#2 w#1")
	if got := r.k.tell(r.k.results[2]); !strings.HasPrefix(got, "m#2 ") {
		t.Errorf("a spawn names the stream all the same: that is its parent, but it has %s", got)
	}
	r.Finish()
}

// "counted in event time against the highest event time seen of all sources (an idle source does not hold it up)"
func TestAnotherSourceMovesTheTimeOn(t *testing.T) {
	r := newRig(t, Options{})
	r.Open(1, false)
	r.Open(2, false)
	r.add(1, 0, "m#2 log x at=100")
	r.expect("")
	r.add(2, 0, "n#1 start - at=1101")
	r.expect("m#1-gap m#2")
}

// Clocks may differ by what is waited for, not by more.
func TestASendFarBehindItsReceiveIsAnother(t *testing.T) {
	r := newRig(t, Options{})
	r.add(1, 0, "c#1 call f at=10", "c#2 receive x key=k at=20", "a#1 call f at=5000", "a#2 send x key=k at=5010",
		"d#1 call f at=10", "d#2 receive x key=l at=20", "b#1 call f at=30", "b#2 send x key=l at=1020")
	r.Finish()
	got := map[string]string{}
	for _, e := range r.k.results {
		got[r.k.name(e.ID)] = r.k.tell(e)
	}
	if !strings.HasPrefix(got["c#2"], "-! ") || !strings.HasPrefix(got["d#2"], "b#2 ") {
		t.Error(got)
	}
}

// The mark moves on only behind the whole batch: how it is regrouped by stream makes no event late.
func TestABatchIsNeverLateByItself(t *testing.T) {
	r := newRig(t, Options{})
	r.add(1, 0, "x#1 call f at=900000", "x#2 log f at=900001", "m#2 log x at=20", "m#1 call f at=10")
	r.Finish()
	if r.Correlator.Stats().Gaps > 0 {
		t.Error(r.emitted())
	}
}

// "and at most as long in arrival time"
func TestAWaitIsOverInArrivalTime(t *testing.T) {
	r := newRig(t, Options{})
	r.Open(1, false)
	r.add(1, 5000, "m#2 log x at=100", "w#1 start - at=50")
	r.Tick(5999)
	r.expect("")
	r.Tick(6000)
	r.expect("")
	r.Tick(6200)
	r.expect("w#1 m#1-gap m#2") // the earliest in event time first
	r.add(1, 6300, "m#4 log y at=120", "n#1 start - at=130")
	r.Tick(6400)
	r.expect("w#1 m#1-gap m#2")
	r.Tick(7500)
	r.expect("w#1 m#1-gap m#2 m#3-gap m#4 n#1")
}

// A finite source waits to its end, whatever the clocks say.
func TestAFiniteSourceWaitsToItsEnd(t *testing.T) {
	r := newRig(t, Options{})
	r.Open(1, true)
	r.Open(2, false)
	r.add(1, 1, "m#2 log x at=100")
	r.add(2, 1, "n#1 start - at=900000")
	r.Tick(1 << 40)
	r.expect("n#1")
	r.add(1, 2, "m#1 call f at=90")
	r.expect("n#1")
	r.End(1)
	r.expect("n#1 m#1 m#2")
	r.End(1)
	r.End(7)
	r.add(1, 3, "m#3 log x at=110")
	if r.k.reasons[Ended] != 1 {
		t.Error(r.k.rejected)
	}
}

// Causes that are here, and only wait in their own stream, are not missing: however far the time moves on in one
// batch, and whatever clocks say.
func TestWhatWaitsInItsOwnStreamIsNotMissing(t *testing.T) {
	for _, finite := range []bool{false, true} {
		r := newRig(t, Options{})
		r.Open(1, finite)
		r.add(1, 0,
			"c#1 start - at=100",                         // its spawn is lost
			"c#2 receive get key=q ordinal=1 empty at=1", // long before its send, by its clock
			"c#3 receive get key=f empty at=2",
			"c#4 acquire l key=l at=3",
			"b#1 start - at=900", // waits for its spawn
			"b#2 send put key=q ordinal=1 empty at=901",
			"b#3 send put key=f empty at=902",
			"d#1 start - at=5",
			"d#2 acquire l key=l at=2",
			"d#3 wake w cause=r at=7",
			"d#4 release l key=l at=902",
			"b#4 log x ref=r at=903",
			"z#1 start - at=900000")
		r.Finish()
		for _, e := range r.k.results {
			for _, c := range e.Causes {
				if c.Confidence == event.Gap && c.Kind != event.EdgeSpawn {
					t.Errorf("finite %v: %s: %s", finite, r.k.name(e.ID), r.k.tell(e))
				}
			}
		}
	}
}

// Who waits for himself, or in a circle, waits in vain, not for ever.
func TestACircleEnds(t *testing.T) {
	for _, finite := range []bool{false, true} {
		r := newRig(t, Options{})
		r.Open(1, finite)
		r.add(1, 0,
			"a#1 call f", "a#2 log x cause=b", "a#3 log x ref=a",
			"b#1 call f", "b#2 log x cause=c", "b#3 log x ref=b",
			"c#1 call f", "c#2 log x cause=a", "c#3 log x ref=c",
			"d#1 log x ref=d cause=d",
			"e#1 receive x key=k", "e#2 send x key=k",
			"f#1 receive x key=m", "f#2 send x key=n", "g#1 receive x key=n", "g#2 send x key=m",
			"z#1 start - at=900000")
		r.Finish()
		if got := len(r.k.results); got != 17 {
			t.Errorf("finite %v: %d: %s", finite, got, r.emitted())
		}
	}
}

func TestDuplicates(t *testing.T) {
	r := newRig(t, Options{})
	r.Open(1, true)
	r.add(1, 0, "m#1 start -", "m#1 start -")
	r.add(1, 0, "m#2 log x", "m#2 log x", "m#1 start -")
	r.add(1, 0, "p#1 call f", "p#2 spawn go child=m")
	// A duplicate that came while its original waited promised nothing.
	r.add(1, 0, "s#3 send x key=k ordinal=1 ref=r empty", "s#3 send x key=k ordinal=1 ref=r empty", "t#1 call f", "t#2 receive x key=k ordinal=1 empty",
		"s#2 close x key=c", "s#2 close x key=c", "s#1 call f", "s#4 release l key=l", "s#4 release l key=l", "s#5 send x key=k", "s#5 send x key=k",
		"s#6 release l key=o ordinal=1", "s#6 release l key=o ordinal=1", "s#7 spawn s child=t9", "s#7 spawn s child=t9")
	r.Finish()
	if r.k.reasons[Duplicate] != 9 || len(r.k.results) != 13 {
		t.Error(r.k.rejected, r.emitted())
	}
	if s := r.Correlator.Stats(); s.Duplicates != 9 || s.Accepted != s.Emitted+s.Duplicates {
		t.Errorf("%+v", s)
	}
}

func TestWhatIsMalformedIsRejected(t *testing.T) {
	r := newRig(t, Options{})
	name, _ := r.table.Name("m")
	bad := []wire.Record{
		{Seq: 0, Kind: event.KindLog},
		{Seq: math.MaxUint64, Kind: event.KindLog},
		{Seq: 1, Kind: event.KindInvalid},
		{Seq: 1, Kind: 99},
		{Seq: 1, Kind: event.KindLog, Ordinal: math.MaxUint64},
		{Seq: 1, Kind: event.KindLog, DataOff: 1, DataLen: 100},
		{Seq: 1, Kind: event.KindLog, DataOff: math.MaxUint32, DataLen: math.MaxUint32},
		{Seq: 1, Kind: event.KindLog, ExtOff: 3, ExtLen: math.MaxUint32},
		{Seq: 1, Kind: event.KindLog, ExtOff: 0, ExtLen: 3},
		{Seq: 1, Kind: event.KindLog, DataOff: math.MaxUint32},
	}
	b := &wire.Batch{Source: 3, Arena: []byte{9, 9, 9}, Records: bad, Runs: []wire.Run{{Stream: name, Len: 10}}}
	done := false
	b.Done = func(last event.ID) { done = last == 0 }
	r.Add(b)
	if r.k.reasons[Malformed] != len(bad)-1 || done {
		t.Error(r.k.rejected, done)
	}
	// Runs that promise too much or too little, and a stream without a name.
	r.Add(&wire.Batch{Source: 3, Records: make([]wire.Record, 2), Runs: []wire.Run{{Stream: name, Len: math.MaxUint32}, {Stream: name, Len: 4}}})
	r.Add(&wire.Batch{Source: 3, Records: make([]wire.Record, 2), Runs: []wire.Run{{Stream: name, Len: 1}}})
	r.Add(&wire.Batch{Source: 3, Records: []wire.Record{{Seq: 1, Kind: event.KindLog}}, Runs: []wire.Run{{Stream: 0, Len: 1}}})
	r.Add(&wire.Batch{Source: 3})
	if r.k.reasons[Malformed] != len(bad)-1+5 {
		t.Error(r.k.rejected)
	}
	r.Finish()
	if s := r.Correlator.Stats(); s.Emitted != 1 || s.Malformed != 14 || s.Accepted != 15 {
		t.Errorf("%+v", s)
	}
}

// Calls without end are bounded; what is beyond is counted, and visible as inferred.
func TestDepthIsBounded(t *testing.T) {
	r := newRig(t, Options{DepthMax: 3})
	r.add(1, 0, "m#1 log x", "m#2 call a", "m#3 call b", "m#4 call c", "m#5 call d", "m#6 call e", "m#7 log x",
		"m#8 return e", "m#9 return d", "m#10 log x", "m#11 return c", "m#12 log x", "m#13 return b", "m#14 call f", "m#15 call g", "m#16 return a")
	r.Finish()
	for seq, want := range map[int]string{
		5: "m#4 [m#1]", 6: "m#4? [m#1]?", 7: "m#4? [m#1]?", 8: "m#4? [m#1]?", 9: "m#4? [m#1]?", 10: "m#4 [m#1]", 11: "m#4 [m#1]", 12: "m#3 [m#1]",
	} {
		got := r.k.tell(r.k.results[seq-1])
		got, _, _ = strings.Cut(got, " +")
		if got != want {
			t.Errorf("m#%d: %s, should be %s", seq, got, want)
		}
	}
	if s := r.Correlator.Stats(); s.TooDeep != 2 {
		t.Errorf("%+v", s)
	}
}

func TestAfterReopeningStreamsGoOn(t *testing.T) {
	r := newRig(t, Options{FirstID: 100})
	name := func(s string) wire.Name { n, _ := r.table.Name(s); return n }
	r.Resume(wire.Tail{Source: 1, Stream: name("m"), Seq: 7, ID: 50})
	r.Resume(wire.Tail{Source: 1, Stream: name("w"), Seq: 3, ID: 51, Exited: true})
	r.Resume(wire.Tail{Source: 1, Stream: name("x"), Seq: 5, ID: 52})
	r.add(1, 0, "m#7 log x", "m#8 log x", "w#2 log x", "x#7 log x")
	r.add(1, 0, "w#4 log x", "m#9 call f")
	r.Resume(wire.Tail{Source: 1, Stream: name("m"), Seq: 2}) // it goes on already
	r.Finish()
	if got, want := r.emitted(), "m#8-gap m#8 w#4-gap w#4 m#9 x#6-gap x#7"; got != want {
		t.Errorf("%q, should be %q", got, want)
	}
	if r.k.results[0].ID != 100 || string(r.k.results[0].Data) != `{"lost":0}` || r.k.reasons[Duplicate] != 2 {
		t.Error(r.k.results[0], r.k.rejected)
	}
	if got := r.k.tell(r.k.results[1]); got != "m#8-gap? [m#8-gap]!" {
		t.Error(got)
	}
}

func TestAStreamThatExitedIsForgottenAndItsDuplicatesAreNot(t *testing.T) {
	r := newRig(t, Options{})
	r.add(1, 0, "m#1 call main at=0", "a#1 call f at=1", "a#2 exit - at=2", "z#1 call f at=10000")
	r.add(1, 0, "z#2 log x at=20000")
	if s := r.Correlator.Stats(); s.Streams != 2 {
		t.Errorf("%+v", s)
	}
	r.add(1, 0, "a#1 call f at=1", "a#2 exit - at=2", "a#3 log x at=3")
	r.Finish()
	if r.k.reasons[Duplicate] != 2 || !strings.Contains(r.emitted(), "a#2 z#1 z#2 a#3-gap a#3") {
		t.Error(r.k.rejected, r.emitted())
	}
}

// What comes for a gap of a stream that is over, or that was put away and goes on, is too late; what came before is a
// duplicate.
func TestTooLateForAStreamThatIsOver(t *testing.T) {
	for _, goesOn := range []bool{false, true} {
		r := newRig(t, Options{})
		r.Open(1, false)
		r.add(1, 0, "w#1 start - at=0", "w#2 log x at=1", "w#5 log x at=2", "w#6 exit - at=3")
		r.add(1, 0, "x#1 start - at=10000")
		r.add(1, 0, "x#2 log - at=20000")
		if n := r.Correlator.Stats().Streams; n != 1 {
			t.Fatalf("%d streams are known, w should be over", n)
		}
		if goesOn {
			r.add(1, 0, "w#7 log x at=20000")
			r.add(1, 0, "x#3 log - at=30000")
		}
		r.add(1, 0, "w#3 log x at=2", "w#2 log x at=1", "w#4 log x at=2", "w#5 log x at=2")
		if r.k.reasons[TooLate] != 2 || r.k.reasons[Duplicate] != 2 {
			t.Errorf("goes on %v: %v", goesOn, r.k.rejected)
		}
		r.Finish()
	}
}

// Of streams that are over with very many gaps the places are not kept: nobody knows then what was there, and none is
// called a duplicate.
func TestGapsOfStreamsThatAreOverAreBounded(t *testing.T) {
	l := newLoad(t, Options{Lateness: 10, MemoryBytesMax: 1 << 20})
	for i := range 400 {
		s := l.name(fmt.Sprint("g", i))
		for k := range 40 {
			l.put(s, wire.Record{Seq: uint64(2*k + 2), Kind: event.KindLog})
		}
		l.put(s, wire.Record{Seq: 82, Kind: event.KindExit})
		l.clock += 100
	}
	main := l.name("main")
	l.put(main, wire.Record{Seq: 1, Kind: event.KindStart})
	l.pass()
	for i := range 400 {
		l.put(l.name(fmt.Sprint("g", i)), wire.Record{Seq: 3, Kind: event.KindLog, Time: l.clock})
	}
	l.pass()
	s := l.Stats()
	if s.TooLate == 0 || s.Ended == 0 || s.Duplicates != 0 || s.TooLate+s.Ended != 400 || s.MemoryBytes > 1<<20 {
		t.Errorf("%+v", s)
	}
}

func TestGapsOfManyPlacesAreRemembered(t *testing.T) {
	r := newRig(t, Options{})
	r.add(1, 0, "m#1 call f at=0")
	for i := range 100 {
		r.add(1, 0, fmt.Sprintf("m#%d log x at=%d", 3+2*i, i))
	}
	r.add(1, 0, "z#1 call f at=900000")
	r.add(1, 0, "m#2 log x", "m#200 log x", "m#199 log x")
	if r.k.reasons[TooLate] != 1 || r.k.reasons[Duplicate] != 2 { // of the oldest gaps it is not known any more
		t.Error(r.k.rejected)
	}
}

func TestDoneComesWithTheBlock(t *testing.T) {
	r := newRig(t, Options{BlockRows: 4})
	var last []event.ID
	for i := range 3 {
		b := batch(t, r.table, 1, storyLine{event: event.Event{Stream: "m", Seq: uint64(2*i + 1), Time: 1, Kind: event.KindStart}},
			storyLine{event: event.Event{Stream: "m", Seq: uint64(2*i + 2), Time: 1, Kind: event.KindLog}})
		b.Done = func(id event.ID) { last = append(last, id) }
		r.Add(b)
	}
	if len(last) != 0 {
		t.Error(last)
	}
	r.add(2, 0, "z#1 start - at=5000")
	if fmt.Sprint(last) != "[2 4]" { // the third is in a block that is not full
		t.Error(last)
	}
	r.Flush()
	r.Flush()
	if fmt.Sprint(last) != "[2 4 6]" {
		t.Error(last)
	}
}

func TestBlocksAreBoundedByTheirPayloadToo(t *testing.T) {
	r := newRig(t, Options{})
	for i := range 10 {
		e := event.Event{Stream: "m", Seq: uint64(i + 1), Time: int64(i), Kind: event.KindLog, Data: []byte(`{"a":"` + strings.Repeat("x", 1<<20) + `"}`)}
		r.Add(batch(t, r.table, 1, storyLine{event: e}))
	}
	r.add(2, 0, "z#1 start - at=5000")
	if n := len(r.k.results); n < 8 || n > 9 {
		t.Error(n)
	}
}

func TestStatsFromAnotherGoroutine(t *testing.T) {
	r := newRig(t, Options{})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = r.Correlator.Stats()
			}
		}
	})
	for i := range 100 {
		r.add(1, 0, fmt.Sprintf("m#%d log x", i+1))
		r.Tick(int64(i))
	}
	close(stop)
	wg.Wait()
	if s := r.Correlator.Stats(); s.Accepted != 100 || s.Waiting != 100 || s.HighTime != 1000 || s.NextID != 1 {
		t.Errorf("%+v", s)
	}
}

func TestReasonsHaveWords(t *testing.T) {
	seen := map[string]bool{}
	for r := Duplicate; r <= Malformed; r++ {
		seen[r.String()] = true
	}
	if len(seen) != 4 || seen["unknown"] || Reason(0).String() != "unknown" {
		t.Error(seen)
	}
}

func TestTimesAtTheEnds(t *testing.T) {
	for _, lateness := range []time.Duration{1, math.MaxInt64} {
		r := newRig(t, Options{Lateness: lateness})
		r.add(1, 0, "a#1 log x at=-9223372036854775808", "b#2 log x at=9223372036854775807", "c#1 receive x key=k at=9223372036854775807")
		r.Tick(math.MaxInt64)
		r.Tick(math.MinInt64)
		r.Finish()
		if len(r.k.results) != 4 {
			t.Error(r.emitted())
		}
	}
}
