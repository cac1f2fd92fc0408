package ring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var background = context.Background()

// over is a context that has ended: with it a Push or Pop that would wait gives up at once.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func push(t *testing.T, r *Ring[int], values ...int) {
	t.Helper()
	for _, v := range values {
		if err := r.Push(over, v); err != nil {
			t.Fatalf("push %d: %v", v, err)
		}
	}
}

// drain takes everything out without waiting.
func drain(r *Ring[int]) (values []int) {
	for {
		v, ok := r.TryPop()
		if !ok {
			return values
		}
		values = append(values, v)
	}
}

func same(t *testing.T, what string, got, want []int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestRing_GivesBackWhatCameInTheSameOrder(t *testing.T) {
	for _, capacity := range []int{1, 2, 3, 7, 8, 100} {
		t.Run(fmt.Sprintf("capacity %d", capacity), func(t *testing.T) {
			r := New[int](capacity, Block, nil)
			next := 0
			for round := range 5 { // each round begins at another slot
				for range capacity - round%capacity {
					push(t, r, next)
					next++
				}
				got := drain(r)
				if len(got) != capacity-round%capacity || got[len(got)-1] != next-1 || !slices.IsSorted(got) {
					t.Fatalf("round %d gave %v", round, got)
				}
			}
		})
	}
}

func TestRing_ReadersAdvanceSoThatAFullRingHasRoomAgain(t *testing.T) {
	for _, policy := range []Policy{Block, DropNewest} {
		t.Run(policy.String(), func(t *testing.T) {
			r := New[int](2, policy, nil)
			for v := range 1000 {
				push(t, r, 2*v, 2*v+1)
				same(t, "taken", drain(r), []int{2 * v, 2*v + 1})
			}
			if s := r.Stats(); s.DroppedNewest != 0 || s.Popped != 2000 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestRing_DropNewestKeepsWhatItHas(t *testing.T) {
	var dropped []int
	r := New(3, DropNewest, func(v int) { dropped = append(dropped, v) })
	push(t, r, 1, 2, 3, 4, 5)
	same(t, "dropped", dropped, []int{4, 5})
	same(t, "kept", drain(r), []int{1, 2, 3})
	if s := r.Stats(); s.DroppedNewest != 2 || s.Pushed != 3 || s.Popped != 3 {
		t.Errorf("stats %+v", s)
	}
}

func TestRing_DropOldestKeepsTheLatest(t *testing.T) {
	var dropped []int
	r := New(3, DropOldest, func(v int) { dropped = append(dropped, v) })
	push(t, r, 1, 2, 3, 4, 5)
	same(t, "dropped", dropped, []int{1, 2})
	same(t, "kept", drain(r), []int{3, 4, 5})
	if s := r.Stats(); s.DroppedOldest != 2 || s.Pushed != 5 || s.Popped != 3 || s.Len != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestRing_DropsWithoutACallbackAreCountedAllTheSame(t *testing.T) {
	newest, oldest := New[int](1, DropNewest, nil), New[int](1, DropOldest, nil)
	push(t, newest, 1, 2, 3)
	push(t, oldest, 1, 2, 3)
	if n, o := newest.Stats().DroppedNewest, oldest.Stats().DroppedOldest; n != 2 || o != 2 {
		t.Errorf("dropped %d newest, %d oldest", n, o)
	}
}

func TestRing_BlockReallyBlocksUntilAConsumerMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(1, Block, func(v int) { t.Errorf("%d was dropped", v) })
		push(t, r, 1)
		pushed := false
		go func() {
			if err := r.Push(background, 2); err != nil {
				t.Error(err)
			}
			pushed = true
		}()
		time.Sleep(time.Hour)
		synctest.Wait() // the producer sleeps: it does not spin
		if pushed || r.Stats().Waiting.Producers != 1 {
			t.Fatalf("pushed %v, stats %+v", pushed, r.Stats())
		}
		if v, err := r.Pop(background); v != 1 || err != nil {
			t.Fatal(v, err)
		}
		synctest.Wait()
		if !pushed {
			t.Fatal("the producer was not woken")
		}
		same(t, "kept", drain(r), []int{2})
	})
}

func TestRing_AWaitingProducerGivesUpWithItsContextAndKeepsItsValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New[int](1, Block, nil)
		push(t, r, 1)
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		began := time.Now()
		if err := r.Push(ctx, 2); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("waited %v", waited)
		}
		same(t, "kept", drain(r), []int{1})
		if s := r.Stats(); s.Pushed != 1 || s.Waiting.Producers != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestRing_PushWithRoomDoesNotLookAtTheContext(t *testing.T) {
	r := New[int](1, Block, nil)
	if err := r.Push(over, 1); err != nil {
		t.Fatal(err)
	}
	if err := r.Push(over, 2); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
}

func TestRing_PopWaitsForAValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New[int](4, Block, nil)
		go func() {
			time.Sleep(time.Minute)
			push(t, r, 7)
		}()
		began := time.Now()
		if v, err := r.Pop(background); v != 7 || err != nil || time.Since(began) != time.Minute {
			t.Errorf("%d, %v after %v", v, err, time.Since(began))
		}
	})
}

func TestRing_PopGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New[int](4, Block, nil)
		ctx, cancel := context.WithTimeout(background, time.Second)
		defer cancel()
		if _, err := r.Pop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if _, err := r.Pop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v of a context that was over before", err)
		}
		if n := r.Stats().Waiting.Consumers; n != 0 {
			t.Errorf("%d consumers still wait", n)
		}
	})
}

func TestRing_EachOfSeveralWaitingConsumersIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New[int](8, Block, nil)
		got := make(chan int, 3)
		for range 3 {
			go func() {
				v, err := r.Pop(background)
				if err != nil {
					t.Error(err)
				}
				got <- v
			}()
		}
		synctest.Wait()
		if n := r.Stats().Waiting.Consumers; n != 3 {
			t.Fatalf("%d consumers wait", n)
		}
		push(t, r, 1, 2, 3)
		synctest.Wait()
		values := []int{<-got, <-got, <-got}
		slices.Sort(values)
		same(t, "taken", values, []int{1, 2, 3})
	})
}

func TestRing_PopManyTakesWhatThereIsAndWakesAsManyProducers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New[int](3, Block, nil)
		push(t, r, 0, 1, 2)
		for v := 3; v < 6; v++ {
			go func() {
				if err := r.Push(background, v); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		into := make([]int, 8)
		n, err := r.PopMany(background, into)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "first", into[:n], []int{0, 1, 2})
		synctest.Wait()
		if r.Len() != 3 || r.Stats().Waiting.Producers != 0 {
			t.Fatalf("stats %+v", r.Stats())
		}
		if n, err := r.PopMany(background, into[:2]); n != 2 || err != nil {
			t.Errorf("took %d, %v with room for 2", n, err)
		}
		if n, err := r.PopMany(background, nil); n != 0 || err != nil {
			t.Errorf("took %d, %v without room", n, err)
		}
		drain(r)
	})
}

func TestRing_CloseLetsConsumersDrainWhatIsLeft(t *testing.T) {
	r := New[int](4, Block, nil)
	push(t, r, 1, 2)
	r.Close()
	r.Close()
	if err := r.Push(background, 3); !errors.Is(err, ErrClosed) {
		t.Errorf("push: %v", err)
	}
	for want := 1; want <= 2; want++ {
		if v, err := r.Pop(background); v != want || err != nil {
			t.Errorf("pop: %d, %v", v, err)
		}
	}
	if _, err := r.Pop(background); !errors.Is(err, ErrClosed) {
		t.Errorf("pop of an empty closed ring: %v", err)
	}
	if _, ok := r.TryPop(); ok || !r.Closed() || r.Len() != 0 {
		t.Errorf("the closed ring holds something: %+v", r.Stats())
	}
}

func TestRing_CloseWakesProducersAndConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fullRing, emptyRing := New[int](1, Block, nil), New[int](1, Block, nil)
		push(t, fullRing, 1)
		errs := make(chan error, 6)
		for range 3 {
			go func() { errs <- fullRing.Push(background, 2) }()
			go func() { _, err := emptyRing.Pop(background); errs <- err }()
		}
		synctest.Wait()
		fullRing.Close()
		emptyRing.Close()
		for range 6 {
			if err := <-errs; !errors.Is(err, ErrClosed) {
				t.Errorf("woken with %v", err)
			}
		}
	})
}

func TestRing_ADroppingRingIsClosedTooAndDropsNothingMore(t *testing.T) {
	for _, policy := range []Policy{DropNewest, DropOldest} {
		r := New(1, policy, func(v int) { t.Errorf("%v: %d was dropped", policy, v) })
		push(t, r, 1)
		r.Close()
		if err := r.Push(background, 2); !errors.Is(err, ErrClosed) {
			t.Errorf("%v: %v", policy, err)
		}
		same(t, "kept", drain(r), []int{1})
	}
}

func TestRing_LenAndCap(t *testing.T) {
	r := New[int](5, DropOldest, nil)
	for n := range 8 {
		if want := min(n, 5); r.Len() != want || r.Cap() != 5 {
			t.Errorf("after %d: len %d, cap %d", n, r.Len(), r.Cap())
		}
		push(t, r, n)
	}
	r.Close()
	if r.Len() != 5 {
		t.Errorf("closed: len %d", r.Len())
	}
}

func TestRing_WeighsWhatItHoldsAndWhatItDropped(t *testing.T) {
	weight := Weigh(func(v int) int { return v })
	oldest := New(2, DropOldest, nil, weight)
	push(t, oldest, 10, 20, 30)
	if s := oldest.Stats(); s.Weight != 50 || s.WeightDropped != 10 {
		t.Errorf("drop-oldest: %+v", s)
	}
	newest := New(2, DropNewest, nil, weight)
	push(t, newest, 10, 20, 30)
	if s := newest.Stats(); s.Weight != 30 || s.WeightDropped != 30 {
		t.Errorf("drop-newest: %+v", s)
	}
	drain(newest)
	if newest.Weight() != 0 {
		t.Errorf("an empty ring weighs %d", newest.Weight())
	}
}

func TestRing_DoesNotKeepWhatWasTaken(t *testing.T) {
	r := New[*int](2, DropOldest, nil)
	for v := range 3 {
		if err := r.Push(background, &v); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Pop(background); err != nil {
		t.Fatal(err)
	}
	held := 0
	for i := range r.slots {
		if r.slots[i].value != nil {
			held++
		}
	}
	if held != 1 {
		t.Errorf("%d slots hold a value, one is in the ring", held)
	}
}

func TestRing_AWakeUpThatIsNotUsedIsPassedOn(t *testing.T) {
	g := &gate{}
	first, second := g.enter(), g.enter()
	g.wake(1)
	g.leave(first) // it was woken, and gives up all the same
	select {
	case <-second.woken:
		g.recycle(second)
	default:
		t.Fatal("the second waiter was not woken")
	}
	if g.count() != 0 || g.first != nil || g.last != nil {
		t.Errorf("the list is not empty: %+v", g)
	}
}

func TestRing_WaitersLeaveFromAnyPlaceInTheList(t *testing.T) {
	for leaves := range 3 {
		g := &gate{}
		waiters := []*waiter{g.enter(), g.enter(), g.enter()}
		g.leave(waiters[leaves])
		g.wakeAll()
		woken := 0
		for i, w := range waiters {
			select {
			case <-w.woken:
				woken++
				if i == leaves {
					t.Errorf("%d left and was woken", i)
				}
			default:
			}
		}
		if woken != 2 || g.count() != 0 {
			t.Errorf("%d left: %d woken, %d wait", leaves, woken, g.count())
		}
	}
}

func TestRing_PoliciesHaveNames(t *testing.T) {
	for _, p := range []Policy{Block, DropNewest, DropOldest} {
		if back, err := ParsePolicy(p.String()); back != p || err != nil {
			t.Errorf("%v: %v, %v", p, back, err)
		}
	}
	if _, err := ParsePolicy("drop-all"); err == nil || Policy(9).String() != "policy(9)" {
		t.Errorf("an unknown policy: %v, %v", err, Policy(9))
	}
}

func TestRing_RefusesWhatItCannotBe(t *testing.T) {
	for name, make := range map[string]func(){
		"no capacity":    func() { New[int](0, Block, nil) },
		"unknown policy": func() { New[int](1, Policy(9), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it was made")
				}
			}()
			make()
		})
	}
}

// A producer that was interrupted between its claim and its publication holds up those behind it, but nothing is lost,
// overtaken or taken for empty.
func TestRing_AnInterruptedProducerIsWaitedFor(t *testing.T) {
	r := New[int](4, Block, nil)
	r.tail.Store(1) // position 0 is claimed and not published
	push(t, r, 2)   // position 1
	if n, result := r.tryPop(make([]int, 4)); n != 0 || result != busy {
		t.Fatalf("took %d, outcome %d", n, result)
	}
	var wg sync.WaitGroup
	var got [2]int
	wg.Go(func() { got[0], _ = r.TryPop() })
	wg.Go(func() { got[1], _ = r.Pop(background) })
	time.Sleep(3 * time.Millisecond)
	r.slots[0].value = 1
	r.slots[0].state.Store(1)
	wg.Wait()
	slices.Sort(got[:])
	same(t, "taken", got[:], []int{1, 2})
}

// A consumer that was interrupted between its claim and freeing the slot: the ring is not full, so nothing is dropped.
func TestRing_AnInterruptedConsumerIsWaitedForAndNothingIsDropped(t *testing.T) {
	for _, policy := range []Policy{Block, DropNewest, DropOldest} {
		t.Run(policy.String(), func(t *testing.T) {
			r := New(2, policy, func(v int) { t.Errorf("%d was dropped", v) })
			push(t, r, 1, 2)
			r.head.Store(1) // position 0 is claimed and its slot not freed
			if result, _ := r.tryPush(3); result != busy {
				t.Fatalf("outcome %d", result)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := r.Push(background, 3); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(3 * time.Millisecond)
			r.takeOut(r.slot(0), 0)
			wg.Wait()
			same(t, "kept", drain(r), []int{2, 3})
		})
	}
}

// The oldest value is claimed by its producer but not there yet: it cannot be dropped, and no other one is.
func TestRing_DropOldestWaitsForAnUnpublishedOldest(t *testing.T) {
	var dropped []int
	r := New(2, DropOldest, func(v int) { dropped = append(dropped, v) })
	r.tail.Store(1)
	push(t, r, 2)
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Push(background, 3) })
	time.Sleep(3 * time.Millisecond)
	r.slots[0].value = 1
	r.slots[0].state.Store(1)
	wg.Wait()
	same(t, "dropped", dropped, []int{1})
	same(t, "kept", drain(r), []int{2, 3})
}
