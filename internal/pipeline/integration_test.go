package pipeline

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pastcone/pastcone/internal/ring"
	"github.com/pastcone/pastcone/internal/wire"
)

// flow is what a recorder wires: ring → pool of intake → ring → pool of writers, with one ledger.
type flow struct {
	*Pipeline
	ledger         Ledger
	front, back    *ring.Ring[*batch]
	intake, writer *Pool[*batch]

	intakeWork, writeWork work
	pause                 time.Duration // of a producer after each eight batches

	alive  atomic.Int64 // batches that were accepted and whose fate is open
	mu     sync.Mutex
	middle []*batch // in the order of delivery
	stored map[int]int
}

func newFlow(t *testing.T, policy ring.Policy, capacity int, change func(f *flow, intake, writer *Options[*batch])) *flow {
	t.Helper()
	f := &flow{stored: map[int]int{}, intakeWork: nothing, writeWork: nothing}
	weigh := ring.Weigh(func(b *batch) int { return b.events })
	f.front = ring.New(capacity, policy, func(b *batch) {
		f.ledger.Shed(b.src, b.events, "ring full")
		f.alive.Add(-1)
	}, weigh)
	f.back = ring.New(capacity, ring.Block, nil, weigh)
	gaveUp := func(*batch, error) { f.alive.Add(-1) }
	settings := Settings{WorkersMin: 1, WorkersMax: 4, BatchEventsMin: 1, BatchEventsMax: 1024, Tries: 2, BackoffMax: time.Millisecond}
	common := Options[*batch]{
		Count: func(b *batch) int { return b.events }, Ledger: &f.ledger, GaveUp: gaveUp, Settings: settings,
		Owners: func(b *batch, yield func(wire.SourceID, int)) { yield(b.src, b.events) },
		Since:  func(b *batch) int64 { return b.since },
	}
	in, out := common, common
	in.Name, in.Queue = "intake", f.front
	in.New = func() (Stage[*batch], error) {
		return StageFunc[*batch](func(ctx context.Context, b *batch) error { return f.intakeWork(ctx, b) }), nil
	}
	in.Deliver = func(ctx context.Context, b *batch) error {
		f.mu.Lock()
		f.middle = append(f.middle, b)
		f.mu.Unlock()
		return f.back.Push(ctx, b)
	}
	out.Name, out.Queue = "write", f.back
	out.New = func() (Stage[*batch], error) {
		return StageFunc[*batch](func(ctx context.Context, b *batch) error {
			if err := f.writeWork(ctx, b); err != nil {
				return err
			}
			f.mu.Lock()
			f.stored[b.id]++
			f.mu.Unlock()
			f.ledger.Store(b.src, b.events)
			f.alive.Add(-1)
			return nil
		}), nil
	}
	if change != nil {
		change(f, &in, &out)
	}
	var err error
	if f.intake, err = NewPool(in); err != nil {
		t.Fatal(err)
	}
	if f.writer, err = NewPool(out); err != nil {
		t.Fatal(err)
	}
	if f.Pipeline, err = NewPipeline(&f.ledger, f.intake, f.writer); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(background); err != nil {
		t.Fatal(err)
	}
	return f
}

// push accepts one batch as a recorder's input does.
func (f *flow) push(ctx context.Context, src wire.SourceID, id int) error {
	b := &batch{id: id, src: src, events: 1 + id%5, since: time.Now().UnixNano()}
	f.ledger.Accept(src, b.events)
	f.alive.Add(1)
	if err := f.front.Push(ctx, b); err != nil {
		f.ledger.Withdraw(src, b.events)
		f.alive.Add(-1)
		return err
	}
	return nil
}

// produce pushes batches of several sources at once; ids are the source's number times a million, and a count.
func (f *flow) produce(t *testing.T, sources, each int) {
	t.Helper()
	var wg sync.WaitGroup
	for src := range sources {
		wg.Go(func() {
			for n := range each {
				if err := f.push(background, wire.SourceID(src+1), (src+1)*1_000_000+n); err != nil {
					t.Error(err)
				}
				if f.pause > 0 && n%8 == 7 {
					time.Sleep(f.pause)
				}
			}
		})
	}
	wg.Wait()
}

func (f *flow) drain(t *testing.T) {
	t.Helper()
	if err := f.Drain(background); err != nil {
		t.Error(err)
	}
	f.settled(t)
}

func (f *flow) settled(t *testing.T) {
	t.Helper()
	if err := f.ledger.CheckSettled(); err != nil {
		t.Error(err)
	}
	if n := f.alive.Load(); n != 0 {
		t.Errorf("%d batches have no fate", n)
	}
	for id, times := range f.stored {
		if times != 1 {
			t.Errorf("batch %d was stored %d times", id, times)
		}
	}
}

// inOrder says whether each source's batches lie in the order of their numbers.
func inOrder(batches []*batch) bool {
	last := map[wire.SourceID]int{}
	for _, b := range batches {
		if b.id <= last[b.src] {
			return false
		}
		last[b.src] = b.id
	}
	return true
}

func TestT2_EventsFlowFromTheRingThroughBothPools(t *testing.T) {
	f := newFlow(t, ring.Block, 64, nil)
	f.produce(t, 1, 2000)
	f.drain(t)
	expect(t, "stored batches", len(f.stored), 2000)
	b := f.ledger.Books().All
	expect(t, "stored events", b.Stored, b.Accepted)
	for _, s := range f.Status().Parts {
		if s.Batches.Done != 2000 || s.Events.Done != b.Accepted || s.Latency.Total.Count != 2000 || s.Latency.Total.P99 < s.Latency.Total.P50 {
			t.Errorf("%s: %+v %+v", s.Name, s.Batches, s.Latency.Total)
		}
	}
}

func TestT2_DataIsIntactUnderConcurrentLoad(t *testing.T) {
	f := newFlow(t, ring.Block, 16, nil)
	f.produce(t, 8, 1000)
	f.drain(t)
	expect(t, "stored batches", len(f.stored), 8000)
	if len(f.middle) != 8000 || !inOrder(f.middle) {
		t.Errorf("%d batches behind the intake, in order %v", len(f.middle), inOrder(f.middle))
	}
	for _, a := range f.ledger.Books().Sources {
		if a.Stored != a.Accepted || a.Accepted != 3000 {
			t.Errorf("%+v", a)
		}
	}
}

func TestT2_BackPressureReachesTheProducerAndNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		f := newFlow(t, ring.Block, 4, func(f *flow, in, out *Options[*batch]) {
			in.Window = 4
			f.writeWork = func(ctx context.Context, _ *batch) error { <-free; return nil }
		})
		var pushed atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			for id := 1; id <= 100; id++ {
				if err := f.push(background, 1, id); err != nil {
					t.Error(err)
				}
				pushed.Add(1)
			}
		}()
		time.Sleep(time.Minute)
		// 4 in each ring, 4 with the writers, 4 in the window; one more waits outside.
		if n := pushed.Load(); n > 16 || n < 9 {
			t.Errorf("%d batches were taken while nothing was written", n)
		}
		if h := f.Status().Health; h.State != HealthFailing {
			t.Errorf("health %+v", h)
		}
		close(free)
		<-done
		f.drain(t)
		expect(t, "stored", len(f.stored), 100)
	})
}

func TestT2_WhatTheRingDropsIsShedOnTheBooks(t *testing.T) {
	for _, policy := range []ring.Policy{ring.DropNewest, ring.DropOldest} {
		t.Run(policy.String(), func(t *testing.T) {
			f := newFlow(t, policy, 8, func(f *flow, _, _ *Options[*batch]) {
				f.intakeWork = takes(100 * time.Microsecond)
			})
			f.produce(t, 4, 1000)
			f.drain(t)
			b := f.ledger.Books().All
			if b.Shed == 0 || b.Stored == 0 || b.Stored+b.Shed != b.Accepted || b.ShedBy["ring full"] != b.Shed {
				t.Errorf("%+v", b)
			}
			if s := f.front.Stats(); s.WeightDropped != int64(b.Shed) {
				t.Errorf("the ring dropped %d events, the ledger has %d", s.WeightDropped, b.Shed)
			}
			if !inOrder(f.middle) {
				t.Error("the order was lost")
			}
		})
	}
}

func TestT2_ACrashInOneStageLeavesTheOtherAlone(t *testing.T) {
	f := newFlow(t, ring.Block, 64, func(f *flow, _, _ *Options[*batch]) {
		f.intakeWork = func(_ context.Context, b *batch) error {
			if b.id%100 == 7 {
				panic("boom")
			}
			return nil
		}
	})
	f.produce(t, 1, 1000)
	f.drain(t)
	expect(t, "stored", len(f.stored), 990)
	expect(t, "crashes of the intake", f.intake.Status().Workers.Crashed, 20)
	expect(t, "crashes of the writers", f.writer.Status().Workers.Crashed, 0)
	expect(t, "rejected because of", len(f.ledger.Books().All.RejectedBy), 1)
}

// Everything at once: four producers, a dropping ring, poisoned batches in both stages, settings that change. An
// observer reads the books all the time.
func TestT2_TheLedgerIsExactWhileEverythingHappensAtOnce(t *testing.T) {
	f := newFlow(t, ring.DropOldest, 32, func(f *flow, in, out *Options[*batch]) {
		in.Letter = openLetters(t, filepath.Join(t.TempDir(), "dead.ndjson"), 1<<20)
		out.Letter = in.Letter
		f.pause = 200 * time.Microsecond
		f.intakeWork = func(_ context.Context, b *batch) error {
			switch b.id % 97 {
			case 3:
				panic("boom")
			case 5:
				return errors.New("bad")
			}
			return nil
		}
		f.writeWork = func(_ context.Context, b *batch) error {
			if b.id%89 == 4 {
				return errors.New("worse")
			}
			return nil
		}
	})
	var stop atomic.Bool
	var observers sync.WaitGroup
	observers.Go(func() {
		var last Account
		for n := 0; !stop.Load(); n++ {
			b := f.ledger.Books()
			a := b.All
			if a.InFlight < 0 || a.Stored < last.Stored || a.Shed < last.Shed || a.Rejected < last.Rejected {
				t.Errorf("%+v after %+v", a, last)
				return
			}
			// Nothing but these holds batches, of at most 5 events: both rings, windows and workers, and the producers.
			if most := int64(5 * (2*32 + 16 + 2*8 + 4 + 4)); b.SameMoment && a.InFlight > most {
				t.Errorf("%d in flight, there is room for %d only", a.InFlight, most)
				return
			}
			last = a
			set := f.intake.Settings()
			set.WorkersMin = 1 + n%3
			if err := errors.Join(f.intake.Apply(set), f.writer.Apply(set)); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	f.produce(t, 4, 1500)
	for f.front.Len() > 0 {
		time.Sleep(time.Millisecond)
	}
	if err := f.push(background, 1, 97*10+3); err != nil { // one that is surely not dropped, and poisoned
		t.Error(err)
	}
	f.drain(t)
	stop.Store(true)
	observers.Wait()
	b := f.ledger.Books().All
	if b.Rejected == 0 || b.Stored == 0 || b.Accepted != 4*1500*3+4 || b.Accepted != b.Stored+b.Shed+b.Rejected {
		t.Errorf("%+v", b)
	}
	in, out := f.intake.Status(), f.writer.Status()
	if in.Events.Dead+out.Events.Dead != b.Rejected || out.Events.Done != b.Stored {
		t.Errorf("the pools say %+v and %+v, the ledger %+v", in.Events, out.Events, b)
	}
}

func TestT2_DrainTakesEverythingThroughBothStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlow(t, ring.Block, 512, func(f *flow, _, _ *Options[*batch]) {
			f.intakeWork, f.writeWork = takes(3*time.Millisecond), takes(5*time.Millisecond)
		})
		f.produce(t, 1, 500)
		if f.front.Len() == 0 {
			t.Error("nothing was left to drain")
		}
		f.drain(t)
		expect(t, "stored", len(f.stored), 500)
		expect(t, "state", f.Status().State, StateStopped)
	})
}

func TestT2_ADeadlineIsForAllPartsAndWhatIsLeftIsBooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlow(t, ring.Block, 512, func(f *flow, _, _ *Options[*batch]) {
			f.intakeWork, f.writeWork = takes(10*time.Millisecond), takes(30*time.Millisecond)
		})
		f.produce(t, 1, 500)
		ctx, cancel := context.WithTimeout(background, 500*time.Millisecond)
		defer cancel()
		began := time.Now()
		err := f.Drain(ctx)
		if took := time.Since(began); took > 510*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		f.settled(t)
		var u *Undrained
		if !errors.As(err, &u) || !contains(err.Error(), "intake: ") || !contains(err.Error(), "write: ") {
			t.Errorf("error %v", err)
		}
		b := f.ledger.Books().All
		if b.ShedBy[ReasonNotDrained] != b.Shed || b.Shed == 0 || b.Stored == 0 || b.Stored+b.Shed != b.Accepted {
			t.Errorf("%+v", b)
		}
	})
}

func TestT2_AStormOfPanicsIsSurvived(t *testing.T) {
	f := newFlow(t, ring.Block, 64, func(f *flow, in, _ *Options[*batch]) {
		in.Restarts = Restarts{Max: 5, Within: time.Second, Pause: 5 * time.Millisecond}
		in.Settings.WorkersMin = 3
		f.intakeWork = func(_ context.Context, b *batch) error {
			if n := b.id % 1_000_000; n >= 100 && n < 150 {
				panic("boom")
			}
			return nil
		}
	})
	f.produce(t, 2, 300)
	f.drain(t)
	expect(t, "stored", len(f.stored), 500)
	expect(t, "given up", f.intake.Status().Batches.Dead, 100)
	expect(t, "crashes", f.intake.Status().Workers.Crashed, 200)
	if !inOrder(f.middle) {
		t.Error("the order was lost")
	}
}

func TestT2_WorkersComeAndGoUnderLoadAndLoseNothing(t *testing.T) {
	f := newFlow(t, ring.Block, 64, func(f *flow, _, _ *Options[*batch]) { f.intakeWork = takes(50 * time.Microsecond) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.produce(t, 4, 1000)
	}()
	for n := 0; ; n++ {
		set := f.intake.Settings()
		set.WorkersMin = 1 + n*7%12
		set.WorkersMax = set.WorkersMin + n%3
		if err := errors.Join(f.intake.Apply(set), f.writer.Apply(set)); err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
			f.drain(t)
			expect(t, "stored", len(f.stored), 4000)
			if !inOrder(f.middle) {
				t.Error("the order was lost")
			}
			return
		case <-time.After(lookInterval / 2):
		}
	}
}

func TestT3_EachBatchOfTheRingIsProcessedOnceHoweverManyWorkersThereAre(t *testing.T) {
	for _, workers := range []int{1, 2, 7, 32} {
		var mu sync.Mutex
		seen := map[int]int{}
		r := newRig(t, func(_ context.Context, b *batch) error {
			mu.Lock()
			defer mu.Unlock()
			seen[b.id]++
			return nil
		}, func(o *Options[*batch]) { o.Settings.WorkersMin, o.Settings.WorkersMax = workers, workers }).start(t)
		r.push(t, upTo(2000)...)
		r.drain(t)
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%d workers: batch %d was processed %d times", workers, id, n)
			}
		}
		expect(t, "processed", len(seen), 2000)
		expect(t, "delivered", slices.Equal(r.got(), upTo(2000)), true)
	}
}

func TestT3_ARestartedWorkerGoesOnWhereItWas(t *testing.T) {
	var calls atomic.Int64
	r := newRig(t, func(_ context.Context, b *batch) error {
		if calls.Add(1)%50 == 0 {
			panic("boom")
		}
		return nil
	}, func(o *Options[*batch]) {
		o.Settings.WorkersMax = 1
		o.Restarts = Restarts{Max: 1000, Within: time.Second, Pause: time.Millisecond}
	}).start(t)
	r.push(t, upTo(1000)...)
	r.drain(t)
	expect(t, "delivered", slices.Equal(r.got(), upTo(1000)), true)
	expect(t, "crashes", r.Status().Workers.Crashed, calls.Load()-1000)
}

func TestT3_OneBadBatchAmongThousandsCostsOnlyItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead.ndjson")
	r := newRig(t, func(_ context.Context, b *batch) error {
		if b.id == 1234 {
			panic(b)
		}
		return nil
	}, func(o *Options[*batch]) { o.Letter = openLetters(t, path, 1<<20) }).start(t)
	r.push(t, upTo(5000)...)
	r.drain(t)
	want := slices.Delete(upTo(5000), 1234, 1235)
	expect(t, "delivered", slices.Equal(r.got(), want), true)
	expect(t, "letters", len(readLetters(t, path)), 1)
}

func TestT3_LettersOfManyWorkersAreWholeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead.ndjson")
	r := newRig(t, func(_ context.Context, b *batch) error { return errors.New("never") }, func(o *Options[*batch]) {
		o.Letter = openLetters(t, path, 1<<20)
		o.Encode = func(b *batch, yield func([]byte) bool) { _ = yield([]byte(`{"a":1}`)) && yield([]byte(`{"b":2}`)) }
		o.Settings.WorkersMin, o.Settings.WorkersMax, o.Settings.Tries = 8, 8, 1
	}).start(t)
	r.push(t, upTo(100)...)
	r.drain(t)
	letters := readLetters(t, path)
	expect(t, "letters", len(letters), 100)
	for _, l := range letters {
		if string(l.Batch) != `[{"a":1},{"b":2}]` || l.Written != 2 {
			t.Errorf("%+v", l)
		}
	}
}

func TestT3_TwoPoolsShareARing(t *testing.T) {
	a := newRig(t, nothing, nil)
	b := newRig(t, nothing, func(o *Options[*batch]) {
		o.Queue = a.ring
		o.Deliver = func(_ context.Context, x *batch) error { a.note(x); return nil }
	})
	a.start(t)
	b.start(t)
	a.push(t, upTo(3000)...)
	if err := errors.Join(a.Drain(background), b.Drain(background)); err != nil {
		t.Error(err)
	}
	a.settled(t)
	got := a.got()
	slices.Sort(got)
	expect(t, "each once", slices.Equal(got, upTo(3000)), true)
}

func TestT3_ClosingTheRingEndsIdleWorkers(t *testing.T) {
	r := newRig(t, nothing, func(o *Options[*batch]) { o.Settings.WorkersMin = 4 }).start(t)
	r.push(t, 0)
	r.ring.Close()
	for r.Status().Workers.Now > 0 {
		time.Sleep(time.Millisecond)
	}
	r.drain(t)
	expect(t, "delivered", r.got(), []int{0})
}

func TestT3_RecoveryFromACrashTakesWellUnderASecond(t *testing.T) {
	var crashes atomic.Int64
	r := newRig(t, func(_ context.Context, b *batch) error {
		if b.id%10 == 0 && crashes.Add(1)%2 == 1 {
			panic("boom")
		}
		return nil
	}, nil).start(t)
	for id := range 200 {
		r.push(t, id)
	}
	r.drain(t)
	l := r.Status().Latency.Recovery
	if l.Count != 20 || l.P50 <= 0 || l.Max > time.Second {
		t.Errorf("%+v", l)
	}
	expect(t, "delivered", len(r.got()), 200)
}

func TestT3_AWorkerDoesFarMoreThanAThousandEventsASecond(t *testing.T) {
	r := newRig(t, nothing, func(o *Options[*batch]) { o.Settings.WorkersMax = 1 }).start(t)
	began := time.Now()
	const batches, eventsEach = 5000, 200
	for id := range batches {
		r.ledger.Accept(1, eventsEach)
		if err := r.ring.Push(background, &batch{id: id, src: 1, events: eventsEach}); err != nil {
			t.Fatal(err)
		}
	}
	r.drain(t)
	if rate := batches * eventsEach / time.Since(began).Seconds(); rate < 100_000 {
		t.Errorf("%.0f events a second", rate)
	}
}

// Nobody holds more batches than ring, window and workers have room for, however fast the producers are.
func TestT3_MemoryIsBoundedWhateverTheLoad(t *testing.T) {
	var most, alive atomic.Int64
	r := newRig(t, nil, func(o *Options[*batch]) { o.Window = 8; o.Settings.WorkersMin = 4 })
	r.o.Queue = ring.New[*batch](16, ring.Block, nil)
	r.o.New = func() (Stage[*batch], error) {
		return StageFunc[*batch](func(_ context.Context, b *batch) error {
			for now := alive.Load(); ; {
				m := most.Load()
				if now <= m || most.CompareAndSwap(m, now) {
					return nil
				}
			}
		}), nil
	}
	r.o.Deliver = func(_ context.Context, b *batch) error { alive.Add(-1); r.note(b); return nil }
	r.start(t)
	var producers sync.WaitGroup
	for range 4 {
		producers.Go(func() {
			for id := range 2000 {
				alive.Add(1)
				r.ledger.Accept(1, 1)
				if err := r.o.Queue.(*ring.Ring[*batch]).Push(background, &batch{id: id, src: 1, events: 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	producers.Wait()
	r.drain(t)
	if m := most.Load(); m > 16+8+4 || m == 0 {
		t.Errorf("%d batches at once", m)
	}
}

func TestT3_OrderHoldsWithRealWorkersOfDifferentSpeed(t *testing.T) {
	var n atomic.Int64
	r := newRig(t, func(ctx context.Context, b *batch) error {
		switch n.Add(1) % 7 {
		case 0:
			return sleep(ctx, 200*time.Microsecond)
		case 3:
			for range 2000 {
				n.Load()
			}
		}
		return nil
	}, func(o *Options[*batch]) { o.Settings.WorkersMin, o.Settings.WorkersMax = 8, 8 }).start(t)
	r.push(t, upTo(3000)...)
	r.drain(t)
	expect(t, "delivered in order", slices.Equal(r.got(), upTo(3000)), true)
}
