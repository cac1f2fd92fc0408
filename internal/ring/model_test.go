package ring

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

var policies = []Policy{Block, DropNewest, DropOldest}

// TestRing_AgreesWithASimpleModel runs any sequence of operations on a ring and on a slice that does the same.
func TestRing_AgreesWithASimpleModel(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				capacity := rapid.IntRange(1, 5).Draw(t, "capacity")
				var dropped, model, modelDropped []int
				r := New(capacity, policy, func(v int) { dropped = append(dropped, v) }, Weigh(func(v int) int { return v }))
				isClosed, next, pushed, popped := false, 1, 0, 0
				t.Repeat(map[string]func(*rapid.T){
					"push": func(t *rapid.T) {
						v := next
						next++
						err := r.Push(over, v)
						var want error
						switch {
						case isClosed:
							want = ErrClosed
						case len(model) < capacity:
							model, pushed = append(model, v), pushed+1
						case policy == Block:
							want = context.Canceled
						case policy == DropNewest:
							modelDropped = append(modelDropped, v)
						case policy == DropOldest:
							modelDropped = append(modelDropped, model[0])
							model, pushed = append(model[1:], v), pushed+1
						}
						if !errors.Is(err, want) {
							t.Fatalf("push %d: %v, want %v", v, err, want)
						}
					},
					"pop": func(t *rapid.T) {
						into := make([]int, rapid.IntRange(1, 7).Draw(t, "room"))
						n, err := r.PopMany(over, into)
						take := min(len(into), len(model))
						if !slices.Equal(into[:n], model[:take]) {
							t.Fatalf("took %v, want %v", into[:n], model[:take])
						}
						model, popped = model[take:], popped+take
						switch {
						case take > 0 && err != nil,
							take == 0 && isClosed && !errors.Is(err, ErrClosed),
							take == 0 && !isClosed && !errors.Is(err, context.Canceled):
							t.Fatalf("took %d of a ring that is closed %v: %v", n, isClosed, err)
						}
					},
					"close": func(t *rapid.T) {
						if rapid.IntRange(0, 9).Draw(t, "really") == 0 {
							r.Close()
							isClosed = true
						}
					},
					"": func(t *rapid.T) {
						s := r.Stats()
						var weight, weightDropped int64
						for _, v := range model {
							weight += int64(v)
						}
						for _, v := range modelDropped {
							weightDropped += int64(v)
						}
						got := fmt.Sprint(dropped, s.Len, s.Pushed, s.Popped, s.DroppedNewest+s.DroppedOldest, s.Weight, s.WeightDropped, s.Closed)
						want := fmt.Sprint(modelDropped, len(model), pushed, popped, len(modelDropped), weight, weightDropped, isClosed)
						if got != want {
							t.Fatalf("dropped, len, pushed, popped, drops, weight, dropped weight, closed\nring  %s\nmodel %s", got, want)
						}
					},
				})
			})
		})
	}
}

// TestT1_NothingIsLostDoubledOrOvertakenUnderConcurrency lets producers and consumers loose and looks at every value.
func TestT1_NothingIsLostDoubledOrOvertakenUnderConcurrency(t *testing.T) {
	for _, policy := range policies {
		for _, shape := range [][3]int{{4, 1, 1}, {4, 3, 2}, {1, 4, 3}, {8, 8, 64}, {1, 1, 1}} {
			producers, consumers, capacity := shape[0], shape[1], shape[2]
			t.Run(fmt.Sprintf("%v, %d producers, %d consumers, capacity %d", policy, producers, consumers, capacity), func(t *testing.T) {
				concurrent(t, policy, producers, consumers, capacity)
			})
		}
	}
}

func concurrent(t *testing.T, policy Policy, producers, consumers, capacity int) {
	const each = 3000
	type value struct{ producer, number int }
	var mu sync.Mutex
	var drops []value
	r := New(capacity, policy, func(v value) {
		mu.Lock()
		drops = append(drops, v)
		mu.Unlock()
	}, Weigh(func(value) int { return 3 }))

	taken := make([][]value, consumers)
	var readers, writers sync.WaitGroup
	for c := range consumers {
		readers.Go(func() {
			into := make([]value, 1+c) // some take one, some take several
			for {
				n, err := r.PopMany(background, into)
				if err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
				taken[c] = append(taken[c], into[:n]...)
			}
		})
	}
	for p := range producers {
		writers.Go(func() {
			for n := range each {
				if err := r.Push(background, value{p, n}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	r.Close()
	readers.Wait()

	count := map[value]int{}
	total := 0
	for c, list := range taken {
		last := slices.Repeat([]int{-1}, producers)
		for _, v := range list {
			if v.number <= last[v.producer] {
				t.Fatalf("consumer %d got %v after number %d", c, v, last[v.producer])
			}
			last[v.producer] = v.number
			count[v]++
			total++
		}
	}
	for _, v := range drops {
		count[v]++
	}
	if len(count) != producers*each || total+len(drops) != producers*each {
		t.Errorf("%d different values; %d taken + %d dropped of %d", len(count), total, len(drops), producers*each)
	}
	s := r.Stats()
	if s.Popped != uint64(total) || s.DroppedNewest+s.DroppedOldest != uint64(len(drops)) || s.Len != 0 ||
		s.Pushed != s.Popped+s.DroppedOldest || s.Weight != 0 || s.WeightDropped != int64(3*len(drops)) {
		t.Errorf("%d taken, %d dropped, stats %+v", total, len(drops), s)
	}
	if policy == Block && len(drops) != 0 {
		t.Errorf("block dropped %d", len(drops))
	}
}

// TestT1_CloseLosesNothingThatWasAccepted closes while producers push: what a Push accepted is taken, what it refused is
// not.
func TestT1_CloseLosesNothingThatWasAccepted(t *testing.T) {
	for _, policy := range policies {
		t.Run(policy.String(), func(t *testing.T) {
			for range 200 {
				var dropped, accepted, taken atomic.Int64
				r := New(4, policy, func(int) { dropped.Add(1) })
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						for v := 0; ; v++ {
							if err := r.Push(background, v); err != nil {
								return
							}
							accepted.Add(1)
							runtime.Gosched() // or a dropping producer keeps the processor from the one that closes
						}
					})
				}
				for range 2 {
					wg.Go(func() {
						for {
							if _, err := r.Pop(background); err != nil {
								return
							}
							taken.Add(1)
						}
					})
				}
				for range rand.IntN(50) {
					runtime.Gosched()
				}
				r.Close()
				wg.Wait()
				// A Push that made room and then met the close has dropped one without adding one.
				s := r.Stats()
				refusals := accepted.Load() - int64(s.Pushed)
				if refusals != int64(s.DroppedNewest) || dropped.Load() != int64(s.DroppedNewest+s.DroppedOldest) ||
					taken.Load() != int64(s.Popped) || s.Pushed != s.Popped+s.DroppedOldest || s.Len != 0 {
					t.Fatalf("accepted %d, taken %d, dropped %d, stats %+v", accepted.Load(), taken.Load(), dropped.Load(), s)
				}
			}
		})
	}
}

// TestT1_ProducersThatGiveUpTakeNoWakeUpWithThem mixes short deadlines with patient producers: no value is lost and
// nobody sleeps for good.
func TestT1_ProducersThatGiveUpTakeNoWakeUpWithThem(t *testing.T) {
	r := New[int](1, Block, nil)
	var accepted, taken atomic.Int64
	var producers, consumer sync.WaitGroup
	consumer.Go(func() {
		for {
			if _, err := r.Pop(background); err != nil {
				return
			}
			taken.Add(1)
		}
	})
	for p := range 4 {
		producers.Go(func() {
			for v := range 2000 {
				ctx, cancel := context.WithCancel(background)
				if p%2 == 0 {
					go cancel()
				}
				if r.Push(ctx, v) == nil {
					accepted.Add(1)
				} else if p%2 == 1 {
					t.Error("a patient producer failed")
				}
				cancel()
			}
		})
	}
	producers.Wait()
	r.Close()
	consumer.Wait()
	if accepted.Load() != taken.Load() || accepted.Load() < 4000 {
		t.Errorf("accepted %d, taken %d", accepted.Load(), taken.Load())
	}
}

// op is one step of a concurrent history: what was done, with which result, and when it began and ended on one clock.
type op struct {
	kind       string // push, refuse (dropped as the newest), evict, pop, none (found it empty)
	value      int
	begin, end int64
}

// TestT1_HistoriesAreLinearizable records small concurrent histories and looks for an order of their steps, keeping the
// order of those that did not overlap, in which a queue of that capacity gives the same results. A drop of the oldest is
// a step of its own: it is right only on a full ring, and only of the oldest.
func TestT1_HistoriesAreLinearizable(t *testing.T) {
	rounds := 20_000
	if testing.Short() {
		rounds = 2_000
	}
	for _, policy := range policies {
		t.Run(policy.String(), func(t *testing.T) {
			for round := range rounds {
				rnd := rand.New(rand.NewPCG(uint64(round), 1))
				capacity := 1 + rnd.IntN(2)
				if history := record(policy, capacity, rnd); !linearizable(history, capacity) {
					var text strings.Builder
					for _, o := range history {
						fmt.Fprintf(&text, "%3d..%3d %s %d\n", o.begin, o.end, o.kind, o.value)
					}
					t.Fatalf("round %d, capacity %d: no order explains\n%s", round, capacity, text.String())
				}
			}
		})
	}
}

func record(policy Policy, capacity int, rnd *rand.Rand) []op {
	var clock atomic.Int64
	var mu sync.Mutex
	var history []op
	add := func(o op) {
		mu.Lock()
		history = append(history, o)
		mu.Unlock()
	}
	type dropped struct {
		v  int
		at int64
	}
	drops := make(chan dropped, 64)
	r := New(capacity, policy, func(v int) { drops <- dropped{v, clock.Add(1)} })
	var wg sync.WaitGroup
	var start atomic.Bool // not a channel: all of them begin at the same moment
	wait := func() {
		for !start.Load() {
			runtime.Gosched()
		}
	}
	const each = 3
	for p := range 3 {
		noise := rnd.IntN(3)
		wg.Go(func() {
			wait()
			for n := range each {
				v := 100*p + n
				begin := clock.Add(1)
				if policy == Block {
					if r.Push(over, v) == nil {
						add(op{"push", v, begin, clock.Add(1)})
					} else {
						add(op{"refuse", v, begin, clock.Add(1)})
					}
				} else {
					_ = r.Push(over, v)
					add(op{"push", v, begin, clock.Add(1)})
				}
				for range noise {
					runtime.Gosched()
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			wait()
			for range each {
				begin := clock.Add(1)
				if v, ok := r.TryPop(); ok {
					add(op{"pop", v, begin, clock.Add(1)})
				} else {
					add(op{"none", 0, begin, clock.Add(1)})
				}
			}
		})
	}
	start.Store(true)
	wg.Wait()
	close(drops)
	for d := range drops {
		if policy == DropNewest {
			i := slices.IndexFunc(history, func(o op) bool { return o.kind == "push" && o.value == d.v })
			history[i].kind = "refuse"
			continue
		}
		history = append(history, op{"evict", d.v, 0, d.at}) // it had happened when onDrop was called
	}
	for { // what is left in the ring is part of the result
		v, ok := r.TryPop()
		if !ok {
			break
		}
		history = append(history, op{"pop", v, clock.Add(1), clock.Add(1)})
	}
	return history
}

// linearizable searches depth first; histories are small.
func linearizable(history []op, capacity int) bool {
	seen := map[string]bool{}
	var search func(left uint64, queue []int) bool
	search = func(left uint64, queue []int) bool {
		if left == 0 {
			return true
		}
		state := fmt.Sprint(left, queue)
		if seen[state] {
			return false
		}
		seen[state] = true
		first := int64(1) << 62 // what began after this has to wait for the one that ended then
		for i, o := range history {
			if left&(1<<i) != 0 {
				first = min(first, o.end)
			}
		}
		for i, o := range history {
			if left&(1<<i) == 0 || o.begin > first {
				continue
			}
			next := queue
			switch o.kind {
			case "push":
				if len(queue) == capacity {
					continue
				}
				next = append(slices.Clone(queue), o.value)
			case "refuse":
				if len(queue) < capacity {
					continue
				}
			case "evict":
				if len(queue) < capacity || queue[0] != o.value {
					continue
				}
				next = queue[1:]
			case "pop":
				if len(queue) == 0 || queue[0] != o.value {
					continue
				}
				next = queue[1:]
			case "none":
				if len(queue) > 0 {
					continue
				}
			}
			if search(left&^(1<<i), next) {
				return true
			}
		}
		return false
	}
	return search(1<<len(history)-1, nil)
}

// TestT1_TheCheckerFindsWhatIsWrong: a checker that accepts everything would prove nothing.
func TestT1_TheCheckerFindsWhatIsWrong(t *testing.T) {
	for name, history := range map[string][]op{
		"a value is taken twice":                     {{"push", 1, 1, 2}, {"pop", 1, 3, 4}, {"pop", 1, 5, 6}},
		"a value is lost":                            {{"push", 1, 1, 2}, {"none", 0, 3, 4}},
		"the order is turned round":                  {{"push", 1, 1, 2}, {"push", 2, 3, 4}, {"pop", 2, 5, 6}, {"pop", 1, 7, 8}},
		"a value is taken before it was there":       {{"pop", 1, 1, 2}, {"push", 1, 3, 4}},
		"the newest is dropped though there is room": {{"push", 1, 1, 2}, {"refuse", 2, 3, 4}, {"pop", 1, 5, 6}},
		"the oldest is dropped though there is room": {{"push", 1, 1, 2}, {"evict", 1, 3, 4}, {"push", 2, 5, 6}},
		"more is in it than it can hold":             {{"push", 1, 1, 2}, {"push", 2, 3, 4}, {"push", 3, 5, 6}},
	} {
		if linearizable(history, 2) {
			t.Errorf("%s, and nobody minds", name)
		}
	}
	good := []op{{"push", 1, 1, 2}, {"push", 2, 3, 9}, {"push", 3, 4, 8}, {"evict", 1, 4, 8}, {"pop", 2, 10, 11}, {"pop", 3, 12, 13}}
	if !linearizable(good, 2) {
		t.Error("a right history is refused")
	}
}
