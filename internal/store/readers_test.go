package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// everyState makes a recording with blocks in every state: in sealed segments, in one that is closed and has no index, in the one that is
// being written, in the head encoded, and in the head as they came.
func everyState(t *testing.T) (*recording, *memDir) {
	t.Helper()
	dir := newMemDir()
	r := recordIn(t, dir, Options{SegmentBytesMax: 40 << 10, CommitInterval: time.Nanosecond})
	late := func(b *wire.Block) {
		b.Late = []wire.LateEdge{
			{Effect: b.Base - 100, Edge: wire.Edge{Cause: b.Base + 1, P: 0.5, Kind: event.EdgeMessage, Conf: event.Inferred}},
			{Effect: b.Base - 200, Edge: wire.Edge{Cause: b.Base + 1, P: 1, Kind: event.EdgeLock}},
		}
	}
	for i := range 12 {
		b := r.gen.Block(600)
		if i > 0 {
			late(b)
		}
		if err := errors.Join(r.w.Publish(context.Background(), b), r.w.Write(b)); err != nil {
			t.Fatal(err)
		}
		r.blocks = append(r.blocks, b)
		r.wait(t)
		if i == 7 { // from here on, no segment can be sealed
			for len(r.w.sealing.snapshotJobs()) > 0 {
				time.Sleep(time.Millisecond)
			}
			dir.setFail(failing("truncate", segmentPrefix, 1<<40, errors.New("no")))
		}
	}
	// From here on, nothing becomes durable: the first block of the head is never written.
	for i := range 5 {
		b := r.gen.Block(600)
		late(b)
		if err := r.w.Publish(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		if i > 0 && i < 3 {
			if err := r.w.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		r.blocks = append(r.blocks, b)
	}
	return r, dir
}

func (s *sealer) snapshotJobs() []sealJob {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.jobs)
}

// matches is what a Prune means, asked of a row.
func matches(p *wire.Prune, b *wire.Block, i int, table *wire.Table) bool {
	r := &b.Rows[i]
	id := b.Base + event.ID(i)
	causes := []event.ID{r.Parent}
	for _, e := range b.Further(r) {
		causes = append(causes, e.Cause)
	}
	return id >= p.IDMin && (p.IDMax == 0 || id <= p.IDMax) &&
		r.Time >= p.TimeMin && (p.TimeMax == 0 || r.Time <= p.TimeMax) &&
		(p.Kinds == 0 || p.Kinds>>r.Kind&1 == 1) &&
		(p.Streams == nil || slices.Contains(p.Streams, r.Stream)) &&
		(p.Keys == nil || slices.Contains(p.Keys, r.Key)) &&
		(p.Funcs == nil || slices.Contains(p.Funcs, table.PlaceOf(r.Site).Func)) &&
		(p.Correlations == nil || slices.Contains(p.Correlations, r.Correlation)) &&
		(p.Causes == nil || slices.ContainsFunc(causes, func(c event.ID) bool { return slices.Contains(p.Causes, c) }))
}

func TestPruningLeavesNothingOutAndMostBlocks(t *testing.T) {
	r, _ := everyState(t)
	s := r.w.Snapshot()
	defer func() { _ = s.Close() }()
	rng := rand.New(rand.NewPCG(4, 4))
	kept, without, needed := 0, 0, 0
	for range 3000 {
		b := r.blocks[rng.IntN(len(r.blocks))]
		i := rng.IntN(len(b.Rows))
		row := &b.Rows[i]
		var p wire.Prune
		switch rng.IntN(9) {
		case 0:
			p.IDMin, p.IDMax = b.Base+event.ID(i), b.Base+event.ID(i+rng.IntN(1000))
		case 1:
			p.TimeMin, p.TimeMax = row.Time, row.Time+int64(rng.IntN(1e5))
		case 2:
			p.Kinds = 1 << rng.IntN(17)
		case 3:
			p.Streams = []wire.Name{row.Stream, wire.Name(rng.Uint64())}
		case 4:
			p.Funcs = []wire.Text{s.Table().PlaceOf(row.Site).Func}
		case 5:
			p.Keys = []wire.Name{row.Key}
		case 6:
			p.Correlations = []event.ID{row.Correlation}
		case 7:
			p.Causes = []event.ID{row.Parent, b.Base + event.ID(i)}
		case 8:
			p.Correlations, p.Kinds, p.IDMin = []event.ID{row.Correlation}, 1<<row.Kind, b.Base
		}
		blocks := s.Blocks(p)
		if !slices.IsSortedFunc(blocks, func(a, b wire.BlockInfo) int { return int(a.Base) - int(b.Base) }) {
			t.Fatalf("%+v: blocks out of order", p)
		}
		for _, b := range r.blocks {
			has := false
			for i := range b.Rows {
				has = has || matches(&p, b, i, s.Table())
			}
			listed := slices.ContainsFunc(blocks, func(x wire.BlockInfo) bool { return x.Base == b.Base })
			if has && !listed {
				t.Fatalf("%+v: block %d was left out", p, b.Base)
			}
			if listed {
				kept++
			} else {
				without++
			}
			if has {
				needed++
			}
		}
	}
	t.Logf("%d blocks needed, %d kept, %d left out", needed, kept, without)
	if without < kept || kept > needed*2 {
		t.Errorf("pruning is of no use: %d blocks needed, %d kept, %d left out", needed, kept, without)
	}
}

func TestRowsAndLateEdgesAreFoundInEveryState(t *testing.T) {
	r, dir := everyState(t)
	check := func(s *Snapshot) {
		t.Helper()
		defer func() { _ = s.Close() }()
		checkHolds(t, s, r.blocks)
		for _, b := range r.blocks[1:] {
			if got := s.LateCauses(b.Base - 100); len(got) != 1 || got[0] != b.Late[0].Edge {
				t.Errorf("late causes of %d: %v", b.Base-100, got)
			}
			if got := s.LateEffects(b.Base + 1); len(got) != 2 || !slices.Contains(got, b.Late[0]) || !slices.Contains(got, b.Late[1]) {
				t.Errorf("late effects of %d: %v", b.Base+1, got)
			}
		}
		all := map[wire.LateEdge]bool{}
		s.Late(func(l wire.LateEdge) bool { all[l] = true; return true })
		for _, b := range r.blocks {
			for _, l := range b.Late {
				if !all[l] {
					t.Errorf("late edge %v is not among all of them", l)
				}
				delete(all, l)
			}
		}
		if len(all) > 0 {
			t.Errorf("late edges that nobody wrote: %v", all)
		}
		n := 0
		s.Late(func(wire.LateEdge) bool { n++; return false })
		if n != 1 {
			t.Errorf("asked to stop after one late edge, it gave %d", n)
		}
		if s.Bytes() <= 0 {
			t.Errorf("it takes %d bytes", s.Bytes())
		}
		if got := s.LateCauses(2); got != nil {
			t.Errorf("late causes of 2: %v", got)
		}
		var c wire.Columns
		_, end := s.Range()
		for _, id := range []event.ID{0, end, end + 10} {
			if _, err := s.ReadRow(id, wire.ColAll, &c); !errors.Is(err, ErrOutOfRange) {
				t.Errorf("event %d: %v", id, err)
			}
			if err := s.Read(id, wire.ColAll, &c); !errors.Is(err, ErrOutOfRange) {
				t.Errorf("block %d: %v", id, err)
			}
		}
	}
	states := map[segmentState]int{}
	for _, m := range r.w.manifest.Segments {
		states[m.State]++
	}
	if states[segmentSealed] == 0 || states[segmentClosed] == 0 || states[segmentOpen] == 0 {
		t.Fatalf("not every state is there: %v", states)
	}
	check(r.w.Snapshot())
	dir.setFail(nil)
	for _, b := range r.blocks {
		_ = r.w.Write(b) // those that are written already are refused
	}
	if err := r.w.Close(); err == nil {
		t.Error("closing does not say that segments could not be sealed")
	}
	reader, err := openReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	check(reader.Snapshot())
	w, err := Open("", Options{fs: dir}) // seals what is not sealed
	if err != nil {
		t.Fatal(err)
	}
	check(w.Snapshot())
	check(reader.Snapshot())
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	checkOnDisk(t, dir, r.blocks)
}

func TestRetentionByAgeAndSize(t *testing.T) {
	for name, o := range map[string]Options{
		"size": {RetainBytesMax: 100 << 10},
		"age":  {RetainAgeMax: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1_700_000_000, 0)
			o.now = func() time.Time { return now.Add(time.Hour) }
			o.SegmentBytesMax = 30 << 10
			dir := newMemDir()
			r := recordIn(t, dir, o)
			held := r.w.Snapshot()
			for i := range 30 {
				b := r.gen.Block(600)
				b.Arrived = now.Add(time.Duration(i*2+3) * time.Minute).UnixNano()
				if err := errors.Join(r.w.Publish(context.Background(), b), r.w.Write(b)); err != nil {
					t.Fatal(err)
				}
				r.blocks = append(r.blocks, b)
				r.wait(t)
				if i == 3 {
					_ = held.Close()
					held = r.w.Snapshot()
				}
			}
			if err := r.w.Close(); err != nil {
				t.Fatal(err)
			}
			checkHolds(t, held, r.blocks[:4])
			_ = held.Close()

			o.fs = dir
			w, err := Open("", o)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = w.Close() }()
			s := w.Snapshot()
			defer func() { _ = s.Close() }()
			first, _ := s.Range()
			st := w.Stats()
			if st.Removed.Segments == 0 || event.ID(st.Removed.Events)+1 != first || st.Removed.Bytes == 0 {
				t.Errorf("first id %d, removed %+v", first, st.Removed)
			}
			if name == "size" && (st.StoredBytes > o.RetainBytesMax || st.StoredBytes < o.RetainBytesMax/3) {
				t.Errorf("%d bytes are left, at most %d", st.StoredBytes, o.RetainBytesMax)
			}
			left := slices.DeleteFunc(slices.Clone(r.blocks), func(b *wire.Block) bool { return b.Base < first })
			checkHolds(t, s, left)
			var c wire.Columns
			if _, err := s.ReadRow(1, wire.ColAll, &c); !errors.Is(err, ErrOutOfRange) {
				t.Errorf("an event that is gone: %v", err)
			}
			if w.NextID() != r.end() {
				t.Errorf("it goes on with id %d, want %d: ids are not used again", w.NextID(), r.end())
			}
		})
	}
}

func TestTailsAreTheLastEventsOfStreams(t *testing.T) {
	dir := newMemDir()
	r := recordIn(t, dir, Options{SegmentBytesMax: 40 << 10})
	for range 12 {
		b := r.gen.Block(500)
		b.Rows[499].Kind = event.KindExit
		b.Rows[250].Source = 2 // its stream is another one, of the same name
		if err := errors.Join(r.w.Publish(context.Background(), b), r.w.Write(b)); err != nil {
			t.Fatal(err)
		}
		r.blocks = append(r.blocks, b)
		r.wait(t)
	}
	want := map[tailKey]wire.Tail{}
	for _, b := range r.blocks {
		for i := range b.Rows {
			x := tailOf(b, i)
			want[tailKey{x.Stream, x.Source}] = x
		}
	}
	check := func(w *Writer, when string) {
		t.Helper()
		n := 0
		for x := range w.Tails {
			n++
			if y := want[tailKey{x.Stream, x.Source}]; x != y {
				t.Errorf("%s: %+v, want %+v", when, x, y)
			}
		}
		if n != len(want) {
			t.Errorf("%s: %d streams, want %d", when, n, len(want))
		}
	}
	check(r.w, "while it is written")
	r.w.abandon()
	crashed := dir.crash("lost", 1)
	w, err := Open("", Options{fs: crashed})
	if err != nil {
		t.Fatal(err)
	}
	check(w, "after a crash")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w, err = Open("", Options{fs: crashed}); err != nil {
		t.Fatal(err)
	}
	check(w, "from the index")
	_ = w.Close()
}

func TestTailsAreBounded(t *testing.T) {
	x := newTails()
	x.max, x.maxExited = 1000, 100
	for i := range 100_000 {
		x.add(wire.Tail{Source: 1, Stream: wire.Name(i + 1), Seq: 1, ID: event.ID(i + 1), Exited: i%2 == 0})
		if len(x.byStream) > 1000 || len(x.exited) > 100 {
			t.Fatalf("%d streams, %d of them ended", len(x.byStream), len(x.exited))
		}
	}
	if s, ok := x.byStream[tailKey{100_000, 1}]; !ok || s.seq != 1 {
		t.Error("the last stream is not known")
	}
	if x.evicted < 40_000 {
		t.Errorf("%d put out", x.evicted)
	}
	y := newTails()
	if err := y.load(x.append(nil), len(x.byStream)); err != nil || len(y.byStream) != len(x.byStream) {
		t.Errorf("%d of %d come back, %v", len(y.byStream), len(x.byStream), err)
	}
}

func TestAMillionStreamsThatAreNeverClosedAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	dir := newMemDir()
	r := recordIn(t, dir, Options{})
	n := event.ID(1)
	for range 80 {
		b := &wire.Block{Base: n, Rows: make([]wire.Row, wire.BlockRowsMax)}
		for i := range b.Rows {
			id := n + event.ID(i)
			b.Rows[i] = wire.Row{Record: wire.Record{Time: int64(id), Seq: 1, Kind: event.KindCall}, Source: 1, Stream: wire.Name(id) + 1<<nameTailBits, Correlation: id}
		}
		n += wire.BlockRowsMax
		if err := errors.Join(r.w.Publish(context.Background(), b), r.w.Write(b)); err != nil {
			t.Fatal(err)
		}
		r.blocks = append(r.blocks, b)
	}
	r.wait(t)
	st := r.w.Stats()
	count := 0
	for range r.w.Tails {
		count++
	}
	if count > tailsMax || int(st.TailsEvicted)+count != 80*wire.BlockRowsMax {
		t.Errorf("%d streams known, %d put out, of %d", count, st.TailsEvicted, 80*wire.BlockRowsMax)
	}
	if err := r.w.Close(); err != nil {
		t.Fatal(err)
	}
}
