package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/pastcone/pastcone/internal/ring"
	"github.com/thejerf/suture/v4"
)

// job is a batch in the hands of the pool, from its taking until it is settled: done, dead or not drained.
type job[In any] struct {
	in     In
	events int
	ticket uint64
	since  int64 // when it was accepted, ns since the Unix epoch; 0: unknown
	tries  int   // that failed
	err    error // of the last of them
	stack  string

	fate atomic.Int32
}

// A job's fate is decided by one goroutine: the one that moves it from open to deciding.
const (
	fateOpen int32 = iota
	fateDeciding
	fateDecided // and booked
)

// settle claims the right to decide the fate of the job.
func (j *job[In]) settle() bool { return j.fate.CompareAndSwap(fateOpen, fateDeciding) }

// worker takes batches and processes them. It is the supervisor's service: Serve is called again after a crash, with the
// batch that was in the worker's hand still there.
type worker[In any] struct {
	p  *Pool[In]
	id int

	job     atomic.Pointer[job[In]] // in its hand
	asked   time.Time               // when the pool wanted this worker; zero once it has started
	crashed time.Time               // when it crashed; zero once it is back

	began atomic.Int64 // when Process was called, ns since the pool was made; 0: it is not at work
}

// String names the worker to the supervisor.
func (w *worker[In]) String() string { return fmt.Sprintf("%s worker %d", w.p.o.Name, w.id) }

// ErrPanic says that a stage panicked.
var ErrPanic = errors.New("the stage panicked")

var errRetired = errors.New("the worker is not needed any more")

// Serve is one life of the worker: until the queue is closed and empty, it is not needed any more, ctx ends, or it
// crashes.
//
//  1. Make a stage.
//  2. Take a batch, unless one is left from the life before.
//  3. Process it, and again after a failure, until it is done or has been tried often enough. A panic ends this life; the
//     supervisor decides when the next one begins, and it goes on here.
//  4. Put it into the window; go to 2.
func (w *worker[In]) Serve(ctx context.Context) error {
	p := w.p
	stage, err := p.makeStage()
	if err != nil {
		w.crash()
		return fmt.Errorf("%v: make a stage: %w", w, err)
	}
	now := time.Now()
	if !w.asked.IsZero() {
		p.start.Record(now.Sub(w.asked))
		w.asked = time.Time{}
	}
	if !w.crashed.IsZero() {
		p.recovery.Record(now.Sub(w.crashed))
		w.crashed = time.Time{}
	}
	for {
		if w.job.Load() == nil {
			j, err := p.take(ctx)
			switch {
			case err == nil:
			case errors.Is(err, ring.ErrClosed), errors.Is(err, errRetired), ctx.Err() != nil:
				p.leave(w, err)
				return suture.ErrDoNotRestart
			default:
				w.crash()
				return fmt.Errorf("%v: take a batch: %w", w, err)
			}
			w.job.Store(j)
		}
		if err := w.finish(ctx, stage); err != nil {
			p.leave(w, err)
			return suture.ErrDoNotRestart
		}
	}
}

func (p *Pool[In]) makeStage() (stage Stage[In], err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", ErrPanic, v)
		}
	}()
	return p.o.New()
}

func (w *worker[In]) crash() {
	w.crashed = time.Now()
	w.p.crashes.Add(1)
	w.p.lastCrash.Store(w.crashed.UnixNano())
}

// finish brings the batch in hand to an end. It fails only when ctx is over.
func (w *worker[In]) finish(ctx context.Context, stage Stage[In]) error {
	p, j := w.p, w.job.Load()
	for {
		if j.tries > 0 {
			if err := sleep(ctx, p.settings.Load().backoff(j.tries)); err != nil {
				return err
			}
		}
		err := w.process(ctx, stage, j)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if w.failed(j, err, "") {
			break
		}
	}
	w.job.Store(nil)
	p.pass(j)
	return nil
}

// process calls the stage. If that panics, or ends the goroutine, the failure is written down, and the worker crashes.
func (w *worker[In]) process(ctx context.Context, stage Stage[In], j *job[In]) (err error) {
	p := w.p
	began := p.clock()
	w.began.Store(int64(began))
	returned := false
	defer func() {
		took := p.clock() - began
		w.began.Store(0)
		p.busy.Add(int64(took))
		p.process.Record(took)
		if returned {
			return
		}
		v := recover()
		w.crash()
		failure := fmt.Errorf("%w: %v", ErrPanic, v)
		if v == nil {
			failure = errors.New("the stage ended its goroutine")
		}
		if w.failed(j, failure, string(debug.Stack())) {
			w.job.Store(nil)
			p.pass(j)
		}
		if v != nil {
			panic(v) // the supervisor's turn
		}
	}()
	err = stage.Process(ctx, j.in)
	returned = true
	return err
}

// failed notes a failure, and gives the batch up when it was the last try.
func (w *worker[In]) failed(j *job[In], err error, stack string) (gaveUp bool) {
	p := w.p
	j.tries++
	j.err, j.stack = err, stack
	if j.tries < p.settings.Load().Tries {
		p.retries.Add(1)
		p.o.Log.Warn("a batch failed and is tried again", "pool", p.o.Name, "try", j.tries, "error", err)
		return false
	}
	p.bury(j, p.o.Name)
	return true
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take gets the next batch. The workers wait for one another here: one waits at the queue, the others for its place. So
// the order of the tickets is the order of the queue, and a worker that is not needed is found idle.
func (p *Pool[In]) take(ctx context.Context) (*job[In], error) {
	select {
	case <-p.retire:
		return nil, errRetired
	default:
	}
	select {
	case <-p.baton:
	case <-p.retire:
		return nil, errRetired
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { p.baton <- struct{}{} }()
	if p.window != nil {
		if err := p.window.await(ctx, p.ticket, p.ahead); err != nil {
			return nil, err
		}
	}
	in, err := p.o.Queue.Pop(ctx)
	if err != nil {
		if errors.Is(err, ring.ErrClosed) {
			p.ended.Store(true)
		}
		return nil, err
	}
	j := &job[In]{in: in, events: p.o.Count(in), ticket: p.ticket}
	p.ticket++
	p.takenBatches.Add(1)
	p.takenEvents.Add(count(j.events))
	if p.o.Since != nil {
		if j.since = p.o.Since(in); j.since != 0 {
			p.wait.Record(time.Duration(time.Now().UnixNano() - j.since))
		}
	}
	return j, nil
}

// pass moves a batch on that was processed or given up: in its turn, if there is a window.
func (p *Pool[In]) pass(j *job[In]) {
	if p.window != nil {
		p.window.put(j, p.deliver)
	} else {
		p.deliver(j)
	}
}

// deliver hands a batch on, unless its fate has been decided otherwise.
func (p *Pool[In]) deliver(j *job[In]) {
	if !j.settle() {
		return
	}
	if err := p.callDeliver(j); err != nil {
		j.err = err
		if p.ctx.Err() != nil {
			p.abandon(j)
			return
		}
		j.tries++
		p.entomb(j, p.o.Name+" delivery")
		return
	}
	j.fate.Store(fateDecided)
	p.doneEvents.Add(count(j.events))
	p.doneBatches.Add(1)
	if j.since != 0 {
		p.total.Record(time.Duration(time.Now().UnixNano() - j.since))
	}
}

// callDeliver turns a panic into an error: what was delivered in part can not be tried again.
func (p *Pool[In]) callDeliver(j *job[In]) (err error) {
	if p.o.Deliver == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", ErrPanic, v)
			j.stack = string(debug.Stack())
		}
	}()
	return p.o.Deliver(p.ctx, j.in)
}
