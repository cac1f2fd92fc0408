package correlate

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// The performance tests of the plan's EventCorrelator. They count: allocations, steps of a search, blocks, bytes. How
// long an event takes is measured elsewhere (BenchmarkCorrelate, bench/engine), since a clock on a busy machine proves
// nothing.

// steady plays the same scene again and again, in batches that are used again.
type steady struct {
	*load
	free   []*wire.Batch
	batch  *wire.Batch // that is being filled
	events int         // in the last one
	seqs   map[wire.Name]uint64
	turn   uint64 // counts the scenes
	names  []wire.Name
	text   []byte
	bytes  []byte
	ext    wire.Extension
	one    [][]byte
}

func newSteady(t testing.TB) *steady {
	s := &steady{load: newLoad(t, Options{Lateness: 10}), seqs: map[wire.Name]uint64{}, one: make([][]byte, 1)}
	s.MarksStarts(1) // else first events wait for a spawn that may come
	for i := range 40_000 {
		s.names = append(s.names, s.name(fmt.Sprintf("g%d", i)))
	}
	return s
}

// did adds the next event of a stream. A reference or a cause is a number, 0 for none.
func (s *steady) did(stream wire.Name, r wire.Record, ref, cause uint64) {
	s.clock++
	s.seqs[stream]++
	r.Seq, r.Time = s.seqs[stream], s.clock
	s.ext = wire.Extension{}
	s.text = strconv.AppendUint(s.text[:0], ref|cause, 10)
	switch {
	case ref != 0:
		s.ext.Ref = s.text
	case cause != 0:
		s.one[0] = s.text
		s.ext.Causes = s.one
	default:
		s.batch.Add(stream, r, nil, nil)
		return
	}
	s.bytes = wire.AppendExtension(s.bytes[:0], &s.ext)
	s.batch.Add(stream, r, nil, s.bytes)
}

// message adds an event with a message id.
func (s *steady) message(stream wire.Name, kind event.Kind, id uint64) {
	s.clock++
	s.seqs[stream]++
	s.text = strconv.AppendUint(s.text[:0], id, 10)
	s.ext = wire.Extension{Message: s.text}
	s.bytes = wire.AppendExtension(s.bytes[:0], &s.ext)
	s.batch.Add(stream, wire.Record{Kind: kind, Seq: s.seqs[stream], Time: s.clock}, nil, s.bytes)
}

// play plays scenes, 50 a batch.
func (s *steady) play(scene func(*steady)) {
	if n := len(s.free); n > 0 {
		s.batch, s.free = s.free[n-1], s.free[:n-1]
	} else {
		b := &wire.Batch{}
		b.Done = func(event.ID) { s.free = append(s.free, b) }
		s.batch = b
	}
	done := s.batch.Done
	s.batch.Reset()
	s.batch.Source, s.batch.Arrived, s.batch.Done = 1, s.clock, done
	for range 50 {
		s.turn++
		scene(s)
	}
	s.events = len(s.batch.Records)
	s.Add(s.batch)
}

// scenes have events of all rules.
var scenes = []struct {
	tells string
	play  func(s *steady)
}{
	{"calls three deep, and their returns", func(s *steady) {
		for range 3 {
			s.did(s.names[1], wire.Record{Kind: event.KindCall}, 0, 0)
		}
		s.did(s.names[1], wire.Record{Kind: event.KindLog}, 0, 0)
		for range 3 {
			s.did(s.names[1], wire.Record{Kind: event.KindReturn}, 0, 0)
		}
	}},
	{"requests: root calls that found work", func(s *steady) {
		s.did(s.names[1], wire.Record{Kind: event.KindCall, Flags: wire.FlagRoot}, 0, 0)
		s.did(s.names[1], wire.Record{Kind: event.KindReturn}, 0, 0)
	}},
	{"messages that meet by key and ordinal", func(s *steady) {
		s.did(s.names[1], wire.Record{Kind: event.KindSend, Key: s.names[9], Ordinal: s.turn}, 0, 0)
		s.did(s.names[2], wire.Record{Kind: event.KindReceive, Key: s.names[9], Ordinal: s.turn}, 0, 0)
	}},
	{"messages that meet by message id", func(s *steady) {
		s.message(s.names[1], event.KindSend, s.turn)
		s.message(s.names[2], event.KindReceive, s.turn)
	}},
	{"messages that meet first in, first out", func(s *steady) {
		s.did(s.names[1], wire.Record{Kind: event.KindSend, Key: s.names[9]}, 0, 0)
		s.did(s.names[2], wire.Record{Kind: event.KindReceive, Key: s.names[9]}, 0, 0)
	}},
	{"locks handed over by ordinal", func(s *steady) {
		s.did(s.names[1], wire.Record{Kind: event.KindRelease, Key: s.names[8], Ordinal: s.turn}, 0, 0)
		s.did(s.names[2], wire.Record{Kind: event.KindAcquire, Key: s.names[8], Ordinal: s.turn}, 0, 0)
	}},
	{"locks handed over in the order of time", func(s *steady) {
		for _, m := range s.names[1:3] {
			s.did(m, wire.Record{Kind: event.KindAcquire, Key: s.names[8]}, 0, 0)
			s.did(m, wire.Record{Kind: event.KindRelease, Key: s.names[8]}, 0, 0)
		}
	}},
	{"events that refer to others", func(s *steady) {
		s.did(s.names[1], wire.Record{Kind: event.KindLog}, s.turn, 0)
		s.did(s.names[2], wire.Record{Kind: event.KindState, Key: s.names[7]}, 0, s.turn)
	}},
	{"streams that wake each other", func(s *steady) {
		s.did(s.names[1], wire.Record{Kind: event.KindLog}, s.turn, 0)
		s.did(s.names[2], wire.Record{Kind: event.KindWake}, 0, s.turn)
	}},
	{"streams that are spawned, start and exit", func(s *steady) {
		child := s.names[100+int(s.turn)%(len(s.names)-100)]
		s.did(s.names[1], wire.Record{Kind: event.KindSpawn, Child: child}, 0, 0)
		s.did(child, wire.Record{Kind: event.KindStart}, 0, 0)
		s.did(child, wire.Record{Kind: event.KindExit}, 0, 0)
	}},
	{"events that come before the one in front of them", func(s *steady) {
		for _, i := range []uint64{3, 2, 1} {
			s.clock++
			s.batch.Add(s.names[1], wire.Record{Kind: event.KindLog, Seq: s.seqs[s.names[1]] + i, Time: s.clock}, nil, nil)
		}
		s.seqs[s.names[1]] += 3
	}},
	{"receives that come before their sends", func(s *steady) {
		s.did(s.names[2], wire.Record{Kind: event.KindReceive, Key: s.names[9], Ordinal: s.turn}, 0, 0)
		s.did(s.names[1], wire.Record{Kind: event.KindSend, Key: s.names[9], Ordinal: s.turn}, 0, 0)
	}},
	{"ten thousand streams that take turns", func(s *steady) {
		m := s.names[100+int(s.turn)%10_000]
		s.did(m, wire.Record{Kind: event.KindCall}, 0, 0)
		s.did(m, wire.Record{Kind: event.KindReturn}, 0, 0)
	}},
}

// In a steady state no event of any rule costs an allocation.
func TestPerformance_NothingIsAllocatedFor(t *testing.T) {
	for _, scene := range scenes {
		t.Run(scene.tells, func(t *testing.T) {
			s := newSteady(t)
			for range 600 {
				s.play(scene.play)
			}
			if n := testing.AllocsPerRun(100, func() { s.play(scene.play) }); n > 0 {
				t.Errorf("%v allocations for a batch of %d events", n, s.events)
			}
			if got := s.Stats(); got.Gaps+got.Duplicates+got.TooLate+got.Ended+got.Malformed > 0 || got.Emitted < got.Accepted-1000 {
				t.Errorf("it is not the scene that was meant: %+v", got)
			}
		})
	}
}

// A stream is found in as many steps among a hundred thousand as among a hundred.
func TestPerformance_AStreamIsFoundInAFewStepsAmongAnyNumber(t *testing.T) {
	for _, n := range []int{100, 10_000, 100_000} {
		l := newLoad(t, Options{Lateness: 10, MemoryBytesMax: 1 << 30})
		for i := range n {
			l.put(l.name(fmt.Sprintf("g%d", i)), wire.Record{Seq: 1, Kind: event.KindCall})
		}
		l.pass()
		slots, steps, found := l.streamOf.slots, 0, 0
		for i := range slots {
			if s := &slots[i]; s.index != 0 {
				home := int(l.streamOf.hash(s.src, s.name)) & (len(slots) - 1) // #nosec G115 -- masked
				steps += 1 + (i-home)&(len(slots)-1)
				found++
			}
		}
		if found < n || float64(steps)/float64(found) > 2 {
			t.Errorf("%d streams: %.2f steps each for %d of them", n, float64(steps)/float64(found), found)
		}
	}
}

// So is the end at which an event meets its cause, among a hundred thousand that are open.
func TestPerformance_ACauseIsFoundInAFewStepsAmongAnyNumber(t *testing.T) {
	for _, n := range []int{100, 10_000, 100_000} {
		l := newLoad(t, Options{Lateness: 10, MemoryBytesMax: 1 << 30})
		m := l.name("m")
		for i := range n {
			l.put(m, wire.Record{Seq: uint64(i + 1), Kind: event.KindSend, Key: l.name(fmt.Sprintf("c%d", i%100)), Ordinal: uint64(i/100 + 1)})
		}
		l.pass()
		steps, found := 0, 0
		for _, g := range []*slots{&l.ends.young, &l.ends.old} {
			for i := range g.all {
				if e := &g.all[i]; e.tag != 0 {
					home := int(l.ends.hash(e.token())) & (len(g.all) - 1) // #nosec G115 -- masked
					steps += 1 + (i-home)&(len(g.all)-1)
					found++
				}
			}
		}
		if found < n || float64(steps)/float64(found) > 4 {
			t.Errorf("%d open messages: %.2f steps each for %d of them", n, float64(steps)/float64(found), found)
		}
	}
}

// A cause lets go on whoever waited for it, and touches nobody else of ten thousand that wait.
func TestPerformance_ACauseWakesOnlyWhoWaitedForIt(t *testing.T) {
	l := newLoad(t, Options{Lateness: 1 << 40, MemoryBytesMax: 1 << 30})
	l.MarksStarts(1) // else first events wait for a spawn that may come
	const n = 10_000
	sender := l.name("s")
	for i := range n {
		w := l.name(fmt.Sprintf("w%d", i))
		l.put(w, wire.Record{Seq: 1, Kind: event.KindReceive, Key: w, Ordinal: 1})
		l.put(w, wire.Record{Seq: 2, Kind: event.KindLog})
	}
	l.pass()
	if s := l.Stats(); s.Emitted != 0 || s.Waiting != 2*n {
		t.Fatalf("everybody waits: %+v", s)
	}
	for i := range n {
		l.put(sender, wire.Record{Seq: uint64(i + 1), Kind: event.KindSend, Key: l.name(fmt.Sprintf("w%d", n-1-i)), Ordinal: 1})
		l.pass()
		if s := l.Stats(); s.Emitted != uint64(3*(i+1)) || s.Waiting != 2*(n-1-i) {
			t.Fatalf("after %d sends: %+v", i+1, s)
		}
		if len(l.goOn) != 0 || cap(l.goOn) > 16 {
			t.Fatalf("%d streams were gone through for one", cap(l.goOn))
		}
	}
}

// What waits in a stream is a heap whose merges are as long as the logarithm of what waits, however it comes.
func TestPerformance_WhatWaitsInAStreamIsJoinedInFewSteps(t *testing.T) {
	const n = 1 << 14
	orders := map[string]func(i int) int{
		"backwards": func(i int) int { return n - i },
		"odd ones":  func(i int) int { return (i*7919)%n + 1 },
	}
	shuffled := rand.New(rand.NewPCG(1, 2)).Perm(n)
	orders["shuffled"] = func(i int) int { return shuffled[i] + 1 }
	for tells, order := range orders {
		l := newLoad(t, Options{Lateness: 1 << 40, MemoryBytesMax: 1 << 30})
		m := l.name("m")
		for i := range n {
			l.b.Add(m, wire.Record{Seq: uint64(order(i)) + 1, Kind: event.KindLog, Time: 1}, nil, nil) // #nosec G115 -- small
			l.pass()
		}
		if s := l.Stats(); s.Waiting != n || s.Emitted != 0 {
			t.Fatalf("%s: everything waits for the first: %+v", tells, s)
		}
		for i := range l.stretches {
			steps := 0
			for k := uint32(i); k != 0; k = l.stretches[k].right { // #nosec G115 -- bounded by memory
				steps++
			}
			if steps > 15 { // the binary logarithm of n+1
				t.Fatalf("%s: a merge can take %d steps", tells, steps)
			}
		}
		l.b.Add(m, wire.Record{Seq: 1, Kind: event.KindCall, Time: 1}, nil, nil)
		l.pass()
		l.Finish()
		if s := l.Stats(); s.Waiting != 0 || s.Emitted != n+1 || s.Gaps != 0 {
			t.Errorf("%s: %+v", tells, s)
		}
	}
}

// What is known of a stream takes as much memory among fifty thousand as among five thousand.
func TestPerformance_AStreamTakesTheSameMemoryAmongAnyNumber(t *testing.T) {
	each := func(n int) float64 {
		l := newLoad(t, Options{Lateness: 10, MemoryBytesMax: 1 << 30})
		before := l.memoryBytes()
		for i := range n {
			s := l.name(fmt.Sprintf("g%d", i))
			l.put(s, wire.Record{Seq: 1, Kind: event.KindCall})
			l.put(s, wire.Record{Seq: 2, Kind: event.KindCall})
		}
		l.pass()
		l.Finish()
		if s := l.Stats(); s.Evicted+s.Forgotten > 0 {
			t.Errorf("%d streams: %+v", n, s)
		}
		return float64(l.peak-before) / float64(n)
	}
	few, many := each(5_000), each(50_000)
	if many > 1.5*few { // tables grow in powers of two
		t.Errorf("%.0f bytes a stream of 5,000, %.0f of 50,000", few, many)
	}
}

// Blocks are full before they are given on, whatever the size of the batches; and those that come back are used again.
func TestPerformance_BlocksAreFullAndUsedAgain(t *testing.T) {
	for _, size := range []int{1, 7, 256, 5000} {
		made, given := 0, 0
		sink := &counting{given: &given}
		table := wire.NewTable(1 << 20)
		c := New(Options{Table: table, Lateness: 10, BlockRows: 1000, NewBlock: func() *wire.Block {
			if b := sink.back; b != nil {
				sink.back = nil
				return b
			}
			made++
			return &wire.Block{}
		}}, sink)
		c.Open(1, false)
		c.MarksStarts(1)
		m, err := table.Name("m")
		if err != nil {
			t.Fatal(err)
		}
		const events = 20_000
		for seq := 0; seq < events; {
			b := &wire.Batch{Source: 1}
			for range min(size, events-seq) {
				seq++
				b.Add(m, wire.Record{Seq: uint64(seq), Time: int64(seq), Kind: event.KindLog}, nil, nil) // #nosec G115 -- positive
			}
			c.Add(b)
		}
		if c.Finish(); given != events/1000 || sink.rows != events || made > 2 {
			t.Errorf("batches of %d: %d blocks given on with %d rows, %d made", size, given, sink.rows, made)
		}
	}
}

type counting struct {
	given *int
	rows  int
	back  *wire.Block
}

func (k *counting) Emit(b *wire.Block) {
	*k.given++
	k.rows += len(b.Rows)
	k.back = b
}

func (k *counting) Reject(wire.SourceID, wire.Name, *wire.Batch, *wire.Record, Reason) {}
