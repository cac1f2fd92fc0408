package correlate

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// load feeds a correlator with records, fast, and keeps nothing.
type load struct {
	*Correlator
	t     testing.TB
	sink  *drop
	b     *wire.Batch
	clock int64
	peak  int64
	names []wire.Name
}

func newLoad(t testing.TB, o Options) *load {
	sink := &drop{}
	if o.Table == nil {
		o.Table = wire.NewTable(1 << 26)
	}
	o.NewBlock = sink.block
	l := &load{t: t, sink: sink, b: &wire.Batch{Source: 1}, Correlator: New(o, sink)}
	l.Open(1, false)
	return l
}

func (l *load) put(stream wire.Name, r wire.Record) {
	l.clock++
	if r.Time == 0 {
		r.Time = l.clock
	}
	l.b.Add(stream, r, nil, nil)
	if len(l.b.Records) >= 1000 {
		l.pass()
	}
}

func (l *load) ref(stream wire.Name, r wire.Record, ref string) {
	l.clock++
	r.Time = l.clock
	l.b.Add(stream, r, nil, wire.AppendExtension(nil, &wire.Extension{Ref: []byte(ref)}))
	if len(l.b.Records) >= 1000 {
		l.pass()
	}
}

func (l *load) pass() {
	l.b.Source, l.b.Arrived = 1, l.clock
	l.Add(l.b)
	l.b = &wire.Batch{}
	l.peak = max(l.peak, l.Stats().MemoryBytes)
}

func (l *load) name(text string) wire.Name {
	n, err := l.table.Name(text)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func scale(t *testing.T, n int) int {
	if testing.Short() {
		return n / 10
	}
	t.Helper()
	return n
}

// A million short streams, one after the other: what is known of them is bounded, and a duplicate of any of them
// is still found.
func TestAMillionShortStreams(t *testing.T) {
	l := newLoad(t, Options{Lateness: 100, MemoryBytesMax: 8 << 20})
	n := scale(t, 1_000_000)
	main := l.name("main")
	l.put(main, wire.Record{Seq: 1, Kind: event.KindStart})
	l.clock += 1000
	seq := uint64(1)
	var early int64
	for i := range n {
		s := l.name(fmt.Sprintf("g%d", i+1))
		seq++
		l.put(main, wire.Record{Seq: seq, Kind: event.KindSpawn, Child: s})
		l.put(s, wire.Record{Seq: 1, Kind: event.KindStart})
		l.put(s, wire.Record{Seq: 2, Kind: event.KindCall})
		l.put(s, wire.Record{Seq: 3, Kind: event.KindExit})
		if i == n/10 {
			early = l.peak
		}
	}
	l.pass()
	s := l.Stats()
	if s.Gaps > 0 || s.Emitted != uint64(4*n+1) || s.Streams > exitsMax+2000 {
		t.Fatalf("%+v", s)
	}
	if l.peak > early+1<<20 || l.peak > 8<<20 {
		t.Errorf("%d bytes at the beginning, %d at most", early, l.peak)
	}
	for _, i := range []int{1, n / 3, n - 5000, n} {
		l.put(l.name(fmt.Sprintf("g%d", i)), wire.Record{Seq: 2, Kind: event.KindLog})
	}
	l.pass()
	if s := l.Stats(); s.Duplicates+s.Ended != 4 || s.Duplicates == 0 {
		t.Errorf("%+v", s)
	}
	runtime.KeepAlive(l)
}

// One stream without an end, all of whose events have names, and whose messages nobody receives.
func TestAStreamWithoutEnd(t *testing.T) {
	const most = 4 << 20
	l := newLoad(t, Options{Lateness: 100, MemoryBytesMax: most})
	m, k := l.name("m"), l.name("q")
	before := heapBytes()
	n := scale(t, 2_000_000)
	seq := uint64(0)
	put := func(r wire.Record) {
		seq++
		r.Seq = seq
		l.put(m, r)
	}
	for i := range n / 8 {
		put(wire.Record{Kind: event.KindCall})
		put(wire.Record{Kind: event.KindSend, Key: k, Ordinal: uint64(i + 1)})
		put(wire.Record{Kind: event.KindSend, Key: k})
		put(wire.Record{Kind: event.KindReceive, Key: l.name(fmt.Sprintf("r%d", i)), Ordinal: 1, Flags: wire.FlagTakes})
		put(wire.Record{Kind: event.KindRelease, Key: k, Ordinal: uint64(i + 1)})
		seq++
		l.ref(m, wire.Record{Seq: seq, Kind: event.KindClose, Key: l.name(fmt.Sprintf("c%d", i))}, fmt.Sprint("r", i))
		put(wire.Record{Kind: event.KindReturn})
		put(wire.Record{Kind: event.KindLog, Time: l.clock - 50}) // now and then the time goes back
	}
	l.pass()
	if l.peak > most {
		t.Errorf("%d bytes, %d are allowed", l.peak, most)
	}
	if grown := heapBytes() - before; grown > 3*most {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if s := l.Stats(); s.Gaps > 0 || s.Forgotten == 0 || s.Waiting > 200 {
		t.Errorf("%+v", s)
	}
	runtime.KeepAlive(l)
}

// What is used again and again is not forgotten: a ticker's name.
func TestANameInUseIsNotForgotten(t *testing.T) {
	l := newLoad(t, Options{Lateness: 10, MemoryBytesMax: 1 << 20})
	m := l.name("m")
	l.ref(m, wire.Record{Seq: 1, Kind: event.KindLog}, "ticker")
	l.ref(m, wire.Record{Seq: 2, Kind: event.KindLog}, "once")
	l.clock += 1000
	fire := func(seq uint64, cause string) {
		l.b.Add(m, wire.Record{Seq: seq, Kind: event.KindSend, Time: l.clock, Key: m, Ordinal: seq}, nil,
			wire.AppendExtension(nil, &wire.Extension{Causes: [][]byte{[]byte(cause)}}))
	}
	seq := uint64(2)
	for range 200_000 {
		seq++
		if seq%1000 == 0 {
			fire(seq, "ticker")
			continue
		}
		l.ref(m, wire.Record{Seq: seq, Kind: event.KindLog}, fmt.Sprint(seq))
	}
	l.pass()
	missing := 0
	for _, b := range l.sink.blocks {
		missing += len(b.Late)
	}
	fire(seq+1, "once")
	l.pass()
	l.Finish()
	gaps := 0
	for _, b := range l.sink.blocks {
		for i := range b.Rows {
			r := &b.Rows[i]
			if r.Kind == event.KindSend && r.ParentKind != event.EdgeExplicit {
				gaps++
			}
		}
	}
	if gaps != 1 { // "once"
		t.Errorf("%d firings without their cause", gaps)
	}
}

// When too much waits, the earliest waits are ended: nothing that is labelled exact is wrong, and everything comes out.
func TestWhatWaitsIsBounded(t *testing.T) {
	const most = 4 << 20
	l := newLoad(t, Options{Lateness: time.Hour, MemoryBytesMax: most})
	l.Open(1, true)
	n := scale(t, 400_000)
	for i := range n {
		s := l.name(fmt.Sprintf("g%d", i%50))
		l.put(s, wire.Record{Seq: uint64(i/50 + 2), Kind: event.KindLog}) // the first ones never come
	}
	l.pass()
	s := l.Stats()
	if l.peak > most+1<<20 || s.Evicted == 0 || s.Gaps != 50 {
		t.Errorf("%d bytes at most, %+v", l.peak, s)
	}
	l.Finish()
	if s := l.Stats(); s.Emitted != uint64(n+50) || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

// What memory forced is not called exact: who is first in the order of time, and that nobody spawned a stream.
func TestWhatMemoryForcedIsNotExact(t *testing.T) {
	r := newRig(t, Options{MemoryBytesMax: 1 << 20, Lateness: time.Hour})
	r.Open(1, true)
	r.add(1, 0, "m#1 log x", "m#2 send x key=k empty", "w#1 log x", "w#2 receive x key=k empty", "w#3 acquire l key=l", "m#3 release l key=l", "w#4 acquire l key=l")
	for i := range 40_000 {
		n, _ := r.table.Name("x")
		b := &wire.Batch{Source: 1}
		b.Add(n, wire.Record{Seq: uint64(i + 2), Kind: event.KindLog, Time: 10_000}, nil, nil)
		r.Add(b)
	}
	if r.Correlator.Stats().Evicted == 0 {
		t.Fatal("nothing was forced")
	}
	r.Flush()
	for _, e := range r.k.results {
		if e.Seq == 1 && (e.Confidence == event.Exact || e.CorrelationConfidence == event.Exact) {
			t.Errorf("%s: %s", r.k.name(e.ID), r.k.tell(e))
		}
		for _, c := range e.Causes[min(1, len(e.Causes)):] {
			if c.Confidence == event.Exact {
				t.Errorf("%s: %s", r.k.name(e.ID), r.k.tell(e))
			}
		}
	}
}

// Streams that do nothing are put away when there are too many; should they go on, that is a gap that has lost
// nothing.
func TestIdleStreamsArePutAway(t *testing.T) {
	const most = 16 << 20
	l := newLoad(t, Options{Lateness: 1, MemoryBytesMax: most})
	n := scale(t, 400_000)
	busy := l.name("busy")
	for i := range n {
		s := l.name(fmt.Sprintf("g%d", i+1))
		l.put(s, wire.Record{Seq: 1, Kind: event.KindCall})
		l.put(busy, wire.Record{Seq: uint64(i + 1), Kind: event.KindLog})
		if i%1000 == 0 {
			l.Tick(l.clock)
		}
	}
	l.pass()
	s := l.Stats()
	if n >= 400_000 && (s.Evicted == 0 || l.peak > most+most/4) {
		t.Errorf("%d bytes at most, %+v", l.peak, s)
	}
	gaps := s.Gaps
	l.put(l.name("g1"), wire.Record{Seq: 2, Kind: event.KindLog})
	l.put(busy, wire.Record{Seq: uint64(n + 1), Kind: event.KindLog})
	l.clock += 100
	l.put(l.name("late"), wire.Record{Seq: 1, Kind: event.KindLog})
	l.pass()
	if s := l.Stats(); s.Duplicates > 0 || n >= 400_000 && s.Gaps != gaps+1 && s.Ended != 1 {
		t.Errorf("%+v", s)
	}
}

// A source that ends leaves nothing behind.
func TestSourcesThatEndLeaveNothing(t *testing.T) {
	r := newRig(t, Options{})
	for i := wire.SourceID(1); i <= 300; i++ {
		r.Open(i, i%2 == 0)
		r.add(i, 0, "m#1 log x ref=a", "m#2 spawn go child=w", "m#3 send x key=k ordinal=1", "m#4 send x key=k", "m#5 release l key=l",
			"m#6 wake x cause=b", "m#8 log x")
		r.End(i)
	}
	s := r.Correlator.Stats()
	if s.Streams != 0 || s.Waiting != 0 || r.heldBytes != 0 || r.ends.young.used+r.ends.old.used != 0 || len(r.queues.young)+len(r.queues.old) != 0 || r.queues.offers != 0 {
		t.Errorf("%+v, %d bytes held, %d ends, %d queues", s, r.heldBytes, r.ends.young.used, len(r.queues.young))
	}
	if s.MemoryBytes > 1<<20 {
		t.Errorf("%d bytes", s.MemoryBytes)
	}
}

func TestNamesThatAreOverAreKeptAsStretches(t *testing.T) {
	var s nameSet
	s.add([]wire.Name{3, 4, 5, 9})
	s.add([]wire.Name{1, 2, 6, 12})
	if fmt.Sprint(s.all) != "[{1 6} {9 9} {12 12}]" {
		t.Error(s.all)
	}
	for n := wire.Name(0); n < 14; n++ {
		if want := n >= 1 && n <= 6 || n == 9 || n == 12; s.has(n) != want {
			t.Error(n, s.has(n))
		}
	}
	var scattered []wire.Name
	for i := range nameRangesMax + 10 {
		scattered = append(scattered, wire.Name(2*i+100))
	}
	if forgotten := s.add(scattered); forgotten != 13 || s.has(3) || !s.has(scattered[len(scattered)-1]) {
		t.Error(forgotten)
	}
}

func TestNothingIsAllocatedForAnEvent(t *testing.T) {
	l := newLoad(t, Options{Lateness: 10})
	m := l.name("m")
	b := &wire.Batch{}
	seq := uint64(0)
	fill := func() {
		b.Reset()
		b.Source = 1
		for range 100 {
			for _, k := range []event.Kind{event.KindCall, event.KindSend, event.KindReceive, event.KindReturn} {
				seq++
				l.clock++
				b.Add(m, wire.Record{Seq: seq, Time: l.clock, Kind: k, Key: m, Ordinal: (seq + 3) / 4}, []byte(`{"a":1}`), nil)
			}
		}
	}
	for range 200 {
		fill()
		l.Add(b)
		l.clock += 100
	}
	if n := testing.AllocsPerRun(100, func() { fill(); l.Add(b) }); n > 0 {
		t.Errorf("%v allocations for 400 events", n)
	}
}

// Messages and locks that meet in order are bounded, too: what is forgotten leaves gaps and doubts.
func TestQueuesAreBounded(t *testing.T) {
	r := newRig(t, Options{MemoryBytesMax: 1 << 20, Lateness: 10})
	r.Open(1, false)
	seq := uint64(0)
	b := &wire.Batch{Source: 1}
	m, _ := r.table.Name("m")
	put := func(kind event.Kind, key string) {
		seq++
		n, _ := r.table.Name(key)
		b.Add(m, wire.Record{Kind: kind, Seq: seq, Time: int64(seq), Key: n, Flags: wire.FlagEmpty}, nil, nil)
		if len(b.Records) == 100 {
			r.Add(b)
			b = &wire.Batch{Source: 1}
		}
	}
	for range 5000 {
		put(event.KindSend, "hoard")
	}
	for i := range 20_000 {
		put(event.KindSend, fmt.Sprintf("k%d", i))
		put(event.KindRelease, fmt.Sprintf("l%d", i%300))
	}
	for range 80 {
		put(event.KindReceive, "hoard")
		put(event.KindReceive, "k5")
		put(event.KindReceive, "k19999")
		put(event.KindAcquire, "l7")
	}
	for len(b.Records) > 0 {
		put(event.KindLog, "k1")
	}
	if s := r.Correlator.Stats(); s.MemoryBytes > 1<<20 || s.Forgotten == 0 {
		t.Errorf("%+v", s)
	}
	r.Finish()
	for _, e := range r.k.results {
		for _, c := range e.Causes {
			// Of k19999 nothing was forgotten: its only message is met, and that is certain.
			if (c.Kind == event.EdgeMessage || c.Kind == event.EdgeLock) && c.Confidence == event.Exact && e.Key != "k19999" {
				t.Fatalf("%s: %s", r.k.name(e.ID), r.k.tell(e))
			}
		}
	}
}

// What has forgotten who spawned a stream, or what a call was called, does not say that it is certain.
func TestWhatIsForgottenIsNotExact(t *testing.T) {
	r := newRig(t, Options{MemoryBytesMax: 1 << 20, Lateness: 10})
	r.add(1, 0, "m#1 log x at=1", "m#2 call f ref=f at=2", "m#3 spawn go child=w at=3")
	m, _ := r.table.Name("m")
	const n = 20_000
	for i := range n {
		b := &wire.Batch{Source: 1}
		b.Add(m, wire.Record{Kind: event.KindLog, Seq: uint64(i + 4), Time: int64(i + 4)}, nil, wire.AppendExtension(nil, &wire.Extension{Ref: fmt.Append(nil, i)}))
		r.Add(b)
	}
	r.add(1, 0, fmt.Sprintf("m#%d return f cause=f at=30000", n+4), fmt.Sprintf("m#%d log x at=30001", n+5), "w#1 call g at=30002", "v#1 call g at=30003")
	r.Finish()
	got := map[string]event.Confidence{}
	for _, e := range r.k.results {
		got[r.k.name(e.ID)] = e.Confidence
	}
	for name, want := range map[string]event.Confidence{
		fmt.Sprintf("m#%d", n+4): event.Inferred, fmt.Sprintf("m#%d", n+5): event.Inferred, "w#1": event.Inferred, "v#1": event.Exact,
	} {
		if got[name] != want {
			t.Errorf("%s: %v", name, got[name])
		}
	}
}

// A stream waits for work at many places, takes on from many channels, and finds many closed: what it forgets makes it
// doubtful.
func TestWhatAStreamRemembersIsBounded(t *testing.T) {
	r := newRig(t, Options{})
	var lines []string
	add := func(format string, args ...any) int {
		n := len(lines) + 1
		lines = append(lines, fmt.Sprintf("w#%d ", n)+fmt.Sprintf(format, args...))
		return n
	}
	add("call work")
	add("call pop")
	for i := range placesMax + 10 {
		add("receive pop%d key=q%d ordinal=1 takes line=%d", i, i, i)
	}
	add("return pop")
	certain := add("log x")
	add("receive x key=q%d closed", placesMax+9) // behind it lie the others
	still := add("log x")
	for i := range placesMax + 9 {
		add("receive x key=q%d closed", i)
	}
	doubtful := add("log x")
	add("receive pop0 key=q0 ordinal=2")
	r.add(1, 0, append(lines, "m#1 call main", "m#2 send put key=q0 ordinal=2")...)
	r.Finish()
	for seq, want := range map[int]event.Confidence{
		certain: event.Exact, still: event.Exact, doubtful: event.Inferred,
	} {
		for _, e := range r.k.results {
			if r.k.name(e.ID) == fmt.Sprintf("w#%d", seq) && e.Confidence != want {
				t.Errorf("w#%d: %v, should be %v", seq, e.Confidence, want)
			}
		}
	}
	if n := len(r.k.results); n != len(lines)+2 {
		t.Error(n)
	}
}

// What many streams are doing is bounded, too: calls without end in all of them, places, gaps, closed channels.
func TestWhatStreamsAreDoingIsBounded(t *testing.T) {
	const most = 16 << 20
	l := newLoad(t, Options{Lateness: 1, MemoryBytesMax: most})
	n := scale(t, 2_000_000)
	const streams = 500
	for i := range n {
		s := l.name(fmt.Sprintf("g%d", i%streams))
		r := wire.Record{Seq: uint64(i/streams + 1), Kind: event.KindCall, Key: l.name(fmt.Sprintf("k%d", i%7919)), Site: wire.Site(i)}
		switch i / streams % 5 {
		case 3:
			r.Kind, r.Ordinal, r.Flags = event.KindReceive, uint64(i), wire.FlagTakes
		case 4:
			r.Kind, r.Flags = event.KindReceive, wire.FlagClosed
		}
		l.put(s, r)
	}
	l.pass()
	if s := l.Stats(); l.peak > most || !testing.Short() && s.TooDeep == 0 {
		t.Errorf("%d bytes at most, %+v", l.peak, s)
	}
	runtime.KeepAlive(l)
}

func TestStreamsWeighWhatTheyTake(t *testing.T) {
	r := newRig(t, Options{})
	r.add(1, 0, "m#1 call f", "m#2 receive x key=q takes", "m#4 call f", "w#1 call f")
	r.add(2, 0, "z#1 start - at=900000")
	r.End(1)
	r.End(2)
	kept := int64(0)
	for _, slab := range r.streams {
		for i := range slab {
			kept += int64(slab[i].bytes)
		}
	}
	if r.stateBytes != kept || kept == 0 || kept > 3*bytesKept {
		t.Errorf("%d bytes are counted, %d are there", r.stateBytes, kept)
	}
}
