package pipeline

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pastcone/pastcone/internal/ring"
	"github.com/pastcone/pastcone/internal/wire"
)

func TestPool_ProcessesEveryBatchOnceAndInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var processed atomic.Int64
		r := newRig(t, func(context.Context, *batch) error { processed.Add(1); return nil }, nil).start(t)
		r.push(t, upTo(500)...)
		r.drain(t)
		expect(t, "delivered", r.got(), upTo(500))
		expect(t, "processed", processed.Load(), 500)
	})
}

// The fast ones wait for the slow one: what is delivered is in the order of the queue.
func TestPool_KeepsTheOrderThoughBatchesTakeDifferentTimes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(ctx context.Context, b *batch) error {
			return sleep(ctx, time.Duration((b.id*7)%13)*time.Millisecond)
		}, func(o *Options[*batch]) { o.Settings.WorkersMin = 4 }).start(t)
		r.push(t, upTo(200)...)
		r.drain(t)
		expect(t, "delivered", r.got(), upTo(200))
	})
}

func TestPool_WithoutDeliveryNoBatchWaitsForAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var done []int
		r := newRig(t, nil, func(o *Options[*batch]) {
			o.Deliver = nil
			o.Settings.WorkersMin, o.Settings.WorkersMax = 2, 2
		})
		r.o.New = func() (Stage[*batch], error) {
			return StageFunc[*batch](func(ctx context.Context, b *batch) error {
				if b.id == 0 {
					if err := sleep(ctx, time.Hour); err != nil {
						return err
					}
				}
				done = append(done, b.id)
				r.ledger.Store(b.src, b.events)
				return nil
			}), nil
		}
		r.start(t)
		r.push(t, 0, 1, 2, 3)
		synctest.Wait()
		expect(t, "done while the first one is at work", done, []int{1, 2, 3})
		r.drain(t)
		expect(t, "done", done, []int{1, 2, 3, 0})
	})
}

// A slow batch lets the others run ahead only so far: memory is bounded.
func TestPool_TheWindowBoundsHowFarOthersRunAhead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ahead atomic.Int64
		r := newRig(t, func(ctx context.Context, b *batch) error {
			if b.id == 0 {
				return sleep(ctx, time.Hour)
			}
			ahead.Add(1)
			return nil
		}, func(o *Options[*batch]) { o.Settings.WorkersMin, o.Window = 4, 10 }).start(t)
		r.push(t, upTo(100)...)
		time.Sleep(time.Minute)
		expect(t, "processed behind the slow one", ahead.Load(), 9)
		expect(t, "in hand", r.Status().Batches.InHand, 10)
		r.drain(t)
		expect(t, "delivered", r.got(), upTo(100))
	})
}

func TestPool_ASlowNextStageHoldsTheFlowUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		free := make(chan struct{})
		r := newRig(t, nothing, func(o *Options[*batch]) { o.Window, o.Settings.WorkersMin = 5, 2 })
		r.o.Deliver = func(_ context.Context, b *batch) error { <-free; r.note(b); return nil }
		r.start(t)
		r.push(t, upTo(50)...)
		time.Sleep(time.Second)
		s := r.Status()
		expect(t, "taken", s.Batches.Taken, 5)
		expect(t, "in the queue", s.Backlog.Batches, 45)
		expect(t, "workers", s.Workers.Now, 2) // more of them would not help
		close(free)
		r.drain(t)
	})
}

func TestPool_ScalesToMaximumWithinASecondAndBackWithinFive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, takes(10*time.Millisecond), func(o *Options[*batch]) { o.Settings.WorkersMax = 16 }).start(t)
		stop := make(chan struct{})
		go func() { // more than 16 workers can do: 100 a second each
			for id := 0; ; id++ {
				select {
				case <-stop:
					return
				default:
					r.push(t, id)
				}
			}
		}()
		time.Sleep(time.Second)
		expect(t, "workers a second after the step up", r.Status().Workers.Now, 16)
		for range 100 { // ten seconds of steady overload
			time.Sleep(100 * time.Millisecond)
			if n := r.Status().Workers.Now; n != 16 {
				t.Fatalf("%d workers under steady load", n)
			}
			if err := r.ledger.Check(); err != nil {
				t.Fatal(err)
			}
		}
		close(stop)
		for r.ring.Len() > 0 {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		s := r.Status()
		expect(t, "workers five seconds after the end", s.Workers.Now, 1)
		expect(t, "retired", s.Workers.Retired, 15)
		r.drain(t)
		if got := r.got(); !slices.IsSorted(got) {
			t.Error("the order was lost while the pool scaled")
		}
	})
}

func TestPool_DoesNotFlapUnderASteadyLoadBetweenTheBounds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, takes(10*time.Millisecond), func(o *Options[*batch]) { o.Settings.WorkersMax = 16 }).start(t)
		last, changed := -1, 0
		for tick := range 3000 { // 30 s at 330 batches a second: work for 3.3 workers
			for n := range 3 + tick%3/2 {
				r.push(t, 10*tick+n)
			}
			time.Sleep(10 * time.Millisecond)
			if tick < 500 {
				continue
			}
			if n := r.Status().Workers.Now; n != last {
				last = n
				changed++
			}
		}
		if changed > 1 || last < 4 {
			t.Errorf("%d workers after %d changes", last, changed)
		}
		r.drain(t)
	})
}

func TestPool_ReclaimsAWorkerThatIsOnItsWayOut(t *testing.T) {
	r := newRig(t, nothing, nil)
	r.p(func(p *Pool[*batch]) {
		p.target = 3
		p.retire <- struct{}{}
		set := p.Settings()
		set.WorkersMin = 4
		p.settings.Store(&set)
		p.look(&scaler{}, load{at: time.Now()})
	})
	if len(r.retire) != 0 || r.target != 4 || r.started.Load() != 0 {
		t.Errorf("%d tokens, target %d, %d started", len(r.retire), r.target, r.started.Load())
	}
}

// p runs with the lock, as the pool's own parts do.
func (r *rig) p(do func(*Pool[*batch])) {
	r.Pool.mu.Lock()
	defer r.Pool.mu.Unlock()
	do(r.Pool)
}

func TestPool_BatchSizeGrowsUnderLoadAndShrinksWhenIdle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, takes(time.Millisecond), nil).start(t)
		expect(t, "at the start", r.BatchEvents(), 1)
		for id := range 2000 { // a backlog grows: two batches a worker's time and worker
			r.push(t, id)
			if id%8 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		if n := r.BatchEvents(); n < 16 {
			t.Errorf("%d events a batch under load", n)
		}
		time.Sleep(5 * time.Second)
		expect(t, "idle", r.BatchEvents(), 1)
		r.drain(t)
	})
}

func TestPool_ABatchThatFailsOnceIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tries := map[int]int{}
		r := newRig(t, func(_ context.Context, b *batch) error {
			tries[b.id]++
			if b.id == 1 && tries[1] < 3 {
				return errors.New("not yet")
			}
			return nil
		}, func(o *Options[*batch]) { o.Settings.WorkersMax = 1 }).start(t)
		r.push(t, 0, 1, 2)
		r.drain(t)
		expect(t, "delivered", r.got(), []int{0, 1, 2})
		s := r.Status()
		expect(t, "tries", tries[1], 3)
		expect(t, "retries", s.Retries, 2)
		expect(t, "crashes", s.Workers.Crashed, 0)
	})
}

func TestPool_TriesAgainWithGrowingPauses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var at []time.Duration
		began := time.Now()
		r := newRig(t, func(context.Context, *batch) error {
			at = append(at, time.Since(began))
			return errors.New("never")
		}, func(o *Options[*batch]) {
			o.Settings.Tries, o.Settings.BackoffMin, o.Settings.BackoffMax = 5, 10*time.Millisecond, 30*time.Millisecond
		}).start(t)
		r.push(t, 0)
		r.drain(t)
		expect(t, "tries at", at, "[0s 10ms 30ms 60ms 90ms]")
	})
}

func TestPool_ABatchThatPanicsIsTriedByARestartedWorker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		panics, stages := 0, 0
		r := newRig(t, nil, func(o *Options[*batch]) {
			o.Settings.WorkersMax = 1
			o.New = func() (Stage[*batch], error) {
				stages++
				return StageFunc[*batch](func(_ context.Context, b *batch) error {
					if b.id == 1 && panics < 2 {
						panics++
						panic("boom")
					}
					return nil
				}), nil
			}
		}).start(t)
		r.push(t, 0, 1, 2)
		r.drain(t)
		expect(t, "delivered", r.got(), []int{0, 1, 2})
		s := r.Status()
		expect(t, "crashes", s.Workers.Crashed, 2)
		expect(t, "stages made", stages, 3)
		expect(t, "recoveries", s.Latency.Recovery.Count, 2)
		expect(t, "starts", s.Latency.Start.Count, 1)
	})
}

func TestPool_ABatchThatPanicsAgainAndAgainBecomesADeadLetter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		path := t.TempDir() + "/dead.ndjson"
		r := newRig(t, func(_ context.Context, b *batch) error {
			if b.id == 1 {
				panic("boom")
			}
			return nil
		}, func(o *Options[*batch]) {
			o.Letter = openLetters(t, path, 1<<20)
			o.Encode = func(b *batch, yield func([]byte) bool) { yield([]byte(`{"seq":1}`)) }
		}).start(t)
		r.push(t, 0, 1, 2, 3)
		r.drain(t)
		expect(t, "delivered", r.got(), []int{0, 2, 3})
		expect(t, "given up", r.gaveUp, "map[1:the stage panicked: boom]")
		expect(t, "rejected", r.ledger.Account(2).RejectedBy, "map[dead letter: test:2]")
		expect(t, "stored", r.ledger.Account(2).Stored, 2)
		l := readLetters(t, path)
		if len(l) != 1 || l[0].Tries != 3 || l[0].Events != 2 || l[0].Written != 1 || l[0].Error != "the stage panicked: boom" ||
			l[0].Sources[0] != 2 || !contains(l[0].Stack, "pool_test.go") || string(l[0].Batch) != `[{"seq":1}]` {
			t.Errorf("letters %+v", l)
		}
		s := r.Status()
		expect(t, "dead", s.Batches.Dead, 1)
		expect(t, "crashes", s.Workers.Crashed, 3)
	})
}

func TestPool_ABatchThatFailsAgainAndAgainIsGivenUpWithItsError(t *testing.T) {
	bubble(t, func(t *testing.T) {
		bad := errors.New("a bad batch")
		r := newRig(t, func(_ context.Context, b *batch) error {
			if b.id%10 == 3 {
				return bad
			}
			return nil
		}, nil).start(t)
		r.push(t, upTo(100)...)
		r.drain(t)
		expect(t, "delivered", len(r.got()), 90)
		for id, err := range r.gaveUp {
			if id%10 != 3 || !errors.Is(err, bad) {
				t.Errorf("batch %d: %v", id, err)
			}
		}
		expect(t, "given up", len(r.gaveUp), 10)
	})
}

func TestPool_AStageThatEndsItsGoroutineIsACrash(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(_ context.Context, b *batch) error {
			if b.id == 0 {
				runtime.Goexit()
			}
			return nil
		}, nil).start(t)
		r.push(t, 0, 1)
		r.drain(t)
		expect(t, "delivered", r.got(), []int{1})
		expect(t, "given up", r.gaveUp, "map[0:the stage ended its goroutine]")
		expect(t, "crashes", r.Status().Workers.Crashed, 3)
	})
}

func TestPool_AWorkerWhoseStageCanNotBeMadeIsRestarted(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("no memory") },
		"panic": func() error { panic("no memory") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				made := 0
				r := newRig(t, nil, func(o *Options[*batch]) {
					o.Settings.WorkersMax = 1
					o.New = func() (Stage[*batch], error) {
						if made++; made < 3 {
							return nil, fail()
						}
						return StageFunc[*batch](nothing), nil
					}
				}).start(t)
				r.push(t, 0)
				r.drain(t)
				expect(t, "delivered", r.got(), []int{0})
				expect(t, "crashes", r.Status().Workers.Crashed, 2)
			})
		})
	}
}

// Restart intensity: workers that crash too often are not restarted for a while, and nothing is lost by it.
func TestPool_TooManyCrashesPauseTheRestarts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var crashes []time.Duration
		began := time.Now()
		r := newRig(t, func(_ context.Context, b *batch) error {
			if b.id < 4 {
				crashes = append(crashes, time.Since(began))
				panic("boom")
			}
			return nil
		}, func(o *Options[*batch]) {
			o.Settings.WorkersMax, o.Settings.Tries, o.Settings.BackoffMin = 1, 1, 0
			o.Restarts = Restarts{Max: 2, Within: time.Second, Pause: 500 * time.Millisecond}
		}).start(t)
		r.push(t, upTo(8)...)
		synctest.Wait()
		expect(t, "crashes before the pause", len(crashes), 3)
		if h := r.Health(); h.State != HealthFailing || !contains(h.Reasons[0], "none is restarted for 500ms") {
			t.Errorf("health %+v", h)
		}
		time.Sleep(time.Minute)
		expect(t, "health when it is over", r.Health(), "{ok []}")
		r.drain(t)
		expect(t, "crashes at", crashes, "[0s 0s 0s 500ms]")
		expect(t, "delivered", r.got(), []int{4, 5, 6, 7})
		expect(t, "rejected and stored", r.ledger.Books().All.Rejected+r.ledger.Books().All.Stored, 16)
	})
}

func TestPool_ADeliveryThatFailsIsNotRepeated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		calls := map[int]int{}
		r := newRig(t, nothing, nil)
		r.o.Deliver = func(_ context.Context, b *batch) error {
			calls[b.id]++
			switch b.id {
			case 1:
				panic("boom")
			case 2:
				return ring.ErrClosed
			}
			r.note(b)
			return nil
		}
		r.start(t)
		r.push(t, upTo(5)...)
		r.drain(t)
		expect(t, "delivered", r.got(), []int{0, 3, 4})
		expect(t, "calls", calls, "map[0:1 1:1 2:1 3:1 4:1]")
		expect(t, "given up", r.gaveUp, "map[1:the stage panicked: boom 2:the ring is closed]")
		expect(t, "rejected", r.ledger.Books().All.RejectedBy, "map[dead letter: test delivery:4]")
	})
}

func TestPool_RefusesOptionsItCanNotWorkWith(t *testing.T) {
	for story, change := range map[string]func(*Options[*batch]){
		"no name":                     func(o *Options[*batch]) { o.Name = "" },
		"no queue":                    func(o *Options[*batch]) { o.Queue = nil },
		"no stage":                    func(o *Options[*batch]) { o.New = nil },
		"no count":                    func(o *Options[*batch]) { o.Count = nil },
		"a ledger and nobody to book": func(o *Options[*batch]) { o.Owners = nil },
		"a negative window":           func(o *Options[*batch]) { o.Window = -1 },
		"settings out of bounds":      func(o *Options[*batch]) { o.Settings.WorkersMax = 0 },
	} {
		t.Run(story, func(t *testing.T) {
			o := newRig(t, nothing, nil).o
			change(&o)
			if _, err := NewPool(o); err == nil {
				t.Error("it was made")
			}
		})
	}
}

func TestPool_SettingsSayAllThatIsWrongWithThem(t *testing.T) {
	err := Settings{WorkersMin: 5, WorkersMax: 3, Tries: 99, BackoffMin: -1}.Check()
	if !errors.Is(err, ErrSettings) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{
		"WorkersMax is 3: it must lie between 5 and 256", "BatchEventsMin is 0: it must lie between 1 and 65536",
		"Tries is 99: it must lie between 1 and 20", "BackoffMin is -1ns: it must lie between 0 and 10s",
	} {
		if !contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if err := DefaultSettings().Check(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestPool_SettingsChangeWhileItRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nothing, nil).start(t)
		set := r.Settings()
		set.WorkersMin, set.WorkersMax, set.BatchEventsMin = 6, 8, 100
		if err := r.Apply(set); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lookInterval)
		expect(t, "workers", r.Status().Workers.Now, 6)
		expect(t, "batch", r.BatchEvents(), 100)
		set.WorkersMin, set.WorkersMax = 2, 2
		if err := r.Apply(set); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lookInterval)
		expect(t, "workers", r.Status().Workers.Now, 2)
		set.WorkersMax = 1000
		if err := r.Apply(set); !errors.Is(err, ErrSettings) || r.Settings().WorkersMax != 2 {
			t.Errorf("error %v, settings %+v", err, r.Settings())
		}
		r.drain(t)
	})
}

func TestPool_RetriesFollowNewSettingsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tries := 0
		r := newRig(t, func(context.Context, *batch) error { tries++; return errors.New("never") }, func(o *Options[*batch]) {
			o.Settings.Tries, o.Settings.BackoffMin, o.Settings.BackoffMax = 20, time.Second, time.Second
		}).start(t)
		r.push(t, 0)
		time.Sleep(3500 * time.Millisecond)
		set := r.Settings()
		set.Tries = 5
		if err := r.Apply(set); err != nil {
			t.Fatal(err)
		}
		r.drain(t)
		expect(t, "tries", tries, 5)
	})
}

// A batch can hold events of several sources: each gets its own back on its account.
func TestPool_BooksADeadBatchOnEachOfItsSources(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *batch) error { return errors.New("never") }, func(o *Options[*batch]) {
			o.Owners = func(_ *batch, yield func(wire.SourceID, int)) { yield(1, 3); yield(2, 4) }
		}).start(t)
		r.ledger.Accept(1, 3)
		r.ledger.Accept(2, 4)
		if err := r.ring.Push(background, &batch{events: 7}); err != nil {
			t.Fatal(err)
		}
		r.drain(t)
		expect(t, "rejected", []uint64{r.ledger.Account(1).Rejected, r.ledger.Account(2).Rejected}, []uint64{3, 4})
	})
}

func TestPool_WithoutLedgerOrLettersABadBatchIsCountedAllTheSame(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *batch) error { return errors.New("never") }, func(o *Options[*batch]) {
			o.Ledger, o.Owners, o.GaveUp, o.Since = nil, nil, nil, nil
		}).start(t)
		if err := r.ring.Push(background, &batch{events: 7}); err != nil {
			t.Fatal(err)
		}
		r.drain(t)
		expect(t, "dead", r.Status().Events.Dead, 7)
	})
}

// failingQueue fails before it works.
type failingQueue struct {
	*ring.Ring[*batch]
	failures int
}

func (q *failingQueue) Pop(ctx context.Context) (*batch, error) {
	if q.failures--; q.failures >= 0 {
		return nil, errors.New("out of order")
	}
	return q.Ring.Pop(ctx)
}

func TestPool_AWorkerThatCanNotTakeABatchIsRestarted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nothing, nil)
		r.o.Queue = &failingQueue{r.ring, 2}
		r.start(t)
		r.push(t, 0)
		r.drain(t)
		expect(t, "delivered", r.got(), []int{0})
		expect(t, "crashes", r.Status().Workers.Crashed, 2)
	})
}

func TestPool_MeasuresHowLongThingsTake(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, takes(10*time.Millisecond), func(o *Options[*batch]) { o.Settings.WorkersMax = 1 }).start(t)
		r.push(t, 0, 1)
		r.drain(t)
		l := r.Status().Latency
		near := func(what string, got, want time.Duration) {
			if got < want-want/32 || got > want+want/32 {
				t.Errorf("%s %v, want %v", what, got, want)
			}
		}
		expect(t, "counts", []uint64{l.Wait.Count, l.Process.Count, l.Total.Count, l.Start.Count, l.Recovery.Count}, []uint64{2, 2, 2, 1, 0})
		near("wait mean", l.Wait.Mean, 5*time.Millisecond)
		near("wait max", l.Wait.Max, 10*time.Millisecond)
		near("process p50", l.Process.P50, 10*time.Millisecond)
		near("total p50", l.Total.P50, 10*time.Millisecond)
		near("total p99", l.Total.P99, 20*time.Millisecond)
		near("total mean", l.Total.Mean, 15*time.Millisecond)
	})
}
