package pipeline

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pastcone/pastcone/internal/ring"
)

func TestPool_DrainFinishesWhatWasAccepted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, takes(20*time.Millisecond), nil).start(t)
		r.push(t, upTo(300)...)
		ctx, cancel := context.WithTimeout(background, time.Minute)
		defer cancel()
		if err := r.Drain(ctx); err != nil {
			t.Error(err)
		}
		r.settled(t)
		expect(t, "delivered", len(r.got()), 300)
		if err := r.ring.Push(background, &batch{}); !errors.Is(err, ring.ErrClosed) {
			t.Errorf("a drained pool takes more: %v", err)
		}
		expect(t, "state", r.Status().State, StateStopped)
		expect(t, "workers", r.Status().Workers.Now, 0)
	})
}

func TestPool_DrainStopsAtItsDeadlineAndSaysWhatIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, takes(100*time.Millisecond), func(o *Options[*batch]) { o.Settings.WorkersMax = 1 }).start(t)
		r.push(t, upTo(20)...)
		ctx, cancel := context.WithTimeout(background, 450*time.Millisecond)
		defer cancel()
		err := r.Drain(ctx)
		var u *Undrained
		if !errors.As(err, &u) || !errors.Is(err, ErrNotDrained) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		expect(t, "left", *u, "{test 15 1 32 context deadline exceeded}")
		expect(t, "message", u, "test: not drained before the deadline: 32 events in 16 batches (15 in the queue, 1 at work): context deadline exceeded")
		r.settled(t)
		expect(t, "delivered", r.got(), []int{0, 1, 2, 3})
		expect(t, "shed", r.ledger.Books().All.ShedBy, "map[not drained:32]")
		expect(t, "given up", len(r.gaveUp), 16)
		if again := r.Drain(background); again != err {
			t.Errorf("the second drain gives %v", again)
		}
	})
}

func TestPool_DrainLeavesAHungWorkerBehindAndCountsItsBatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, func(_ context.Context, b *batch) error {
			if b.id == 1 {
				<-release // it does not look at its context
			}
			return nil
		}, func(o *Options[*batch]) { o.Settings.WorkersMin = 2 }).start(t)
		r.push(t, 0, 1, 2)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		began := time.Now()
		err := r.Drain(ctx)
		var u *Undrained
		if !errors.As(err, &u) || u.InHand != 2 || u.Events != 4 {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took > 2*time.Second+10*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		r.settled(t)
		close(release)
		synctest.Wait()
		r.settled(t) // the late return changes nothing
		expect(t, "delivered", r.got(), []int{0})
	})
}

// A batch that was given up and waits for its turn in the window is rejected, and not counted as left over.
func TestPool_DrainDoesNotCountADeadBatchAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, b *batch) error {
			if b.id == 0 {
				return sleep(ctx, time.Hour)
			}
			return errors.New("never")
		}, func(o *Options[*batch]) { o.Settings.WorkersMin = 2 }).start(t)
		r.push(t, 0, 1)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		var u *Undrained
		if err := r.Drain(ctx); !errors.As(err, &u) || u.InHand != 1 || u.Events != 2 {
			t.Errorf("error %v", err)
		}
		r.settled(t)
		b := r.ledger.Books().All
		expect(t, "shed and rejected", []uint64{b.Shed, b.Rejected}, []uint64{2, 2})
	})
}

func TestPool_DrainCountsADeliveryThatDoesNotComeBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, nothing, nil)
		r.o.Deliver = func(_ context.Context, b *batch) error { <-release; r.note(b); return nil }
		r.start(t)
		r.push(t, 0)
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		err := r.Drain(ctx)
		var u *Undrained
		if !errors.As(err, &u) || u.InHand != 1 || u.Events != 2 {
			t.Errorf("error %v", err)
		}
		expect(t, "in flight", r.ledger.Books().All.InFlight, 2) // nobody knows yet what becomes of it
		close(release)
		synctest.Wait()
		r.settled(t)
	})
}

func TestPool_DrainShedsWhatTheNextStageDidNotTake(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nothing, nil)
		r.o.Deliver = func(ctx context.Context, b *batch) error { <-ctx.Done(); return ctx.Err() }
		r.start(t)
		r.push(t, upTo(5)...)
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		if err := r.Drain(ctx); !errors.Is(err, ErrNotDrained) {
			t.Errorf("error %v", err)
		}
		r.settled(t)
		expect(t, "shed", r.ledger.Books().All.Shed, 10)
	})
}

func TestPool_EndsAtOnceWithTheContextItWasStartedWith(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, takes(time.Hour), nil)
		ctx, cancel := context.WithCancel(background)
		if err := r.Start(ctx); err != nil {
			t.Fatal(err)
		}
		r.push(t, 0, 1)
		synctest.Wait()
		cancel()
		began := time.Now()
		err := r.Drain(background)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrNotDrained) {
			t.Errorf("error %v", err)
		}
		expect(t, "time", time.Since(began), time.Duration(0))
		r.settled(t)
	})
}

func TestPool_IsStartedOnceAndDrainedWhateverItsState(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nothing, nil)
		expect(t, "state", r.Status().State, StateNew)
		r.push(t, 0)
		if err := r.Drain(background); !errors.Is(err, ErrNotDrained) || !contains(err.Error(), "never started") {
			t.Errorf("drained without a start: %v", err)
		}
		r.settled(t)
		if err := r.Start(background); !errors.Is(err, ErrState) {
			t.Errorf("started after its end: %v", err)
		}
		r = newRig(t, nothing, nil).start(t)
		if err := r.Start(background); !errors.Is(err, ErrState) {
			t.Errorf("started twice: %v", err)
		}
		done := make(chan error)
		go func() { done <- r.Drain(background) }()
		r.drain(t)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
