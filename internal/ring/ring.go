package ring

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
)

// Policy says what a full ring does with the next value.
type Policy uint8

// The policies.
const (
	Block      Policy = iota // the producer waits for room
	DropNewest               // the value is dropped
	DropOldest               // the oldest value is dropped to make room
)

var policyNames = [...]string{Block: "block", DropNewest: "drop-newest", DropOldest: "drop-oldest"}

// String gives the name of the policy as it is written in settings.
func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

// ParsePolicy reads the name of a policy.
func ParsePolicy(name string) (Policy, error) {
	for p, n := range policyNames {
		if n == name {
			return Policy(p), nil // #nosec G115 -- an index of a list of three
		}
	}
	return 0, fmt.Errorf("overflow policy %q: it is one of %q", name, policyNames)
}

// ErrClosed says that the ring is closed; to a consumer also that it is empty, for good.
var ErrClosed = errors.New("the ring is closed")

const (
	closedBit = 1 << 63

	// cacheLineBytes is two lines of 64 bytes: processors fetch them in pairs.
	cacheLineBytes = 128

	// Who waits for another goroutine between its claim and its publication yields so often before it sleeps.
	yieldsMax = 64
	napTime   = 20 * time.Microsecond
)

type slot[T any] struct {
	state atomic.Uint64
	value T
}

// Ring is a bounded queue for several producers and several consumers. All methods are safe for concurrent use.
type Ring[T any] struct {
	slots    []slot[T]
	capacity uint64
	policy   Policy
	onDrop   func(T)
	weigh    func(T) int

	_    [cacheLineBytes]byte
	tail atomic.Uint64 // the next position to write, and closedBit
	_    [cacheLineBytes]byte
	head atomic.Uint64 // the next position to read
	_    [cacheLineBytes]byte

	evicted       atomic.Uint64 // positions that head passed because the oldest was dropped
	refused       atomic.Uint64 // values dropped as the newest
	weightHeld    atomic.Int64
	weightDropped atomic.Int64

	notEmpty gate // consumers wait here
	notFull  gate // producers wait here
}

// Option adds to a ring what few of its users need.
type Option[T any] func(*Ring[T])

// Weigh makes the ring count weights beside values, as the events of batches. It is called by the goroutine that owns
// the value at that moment, and must give the same weight each time.
func Weigh[T any](weight func(T) int) Option[T] {
	return func(r *Ring[T]) { r.weigh = weight }
}

// New makes a ring that holds at most capacity values. onDrop, if set, gets each value that is dropped, exactly once,
// in the goroutine of the producer whose Push found the ring full; the value is its own from then on.
func New[T any](capacity int, policy Policy, onDrop func(T), options ...Option[T]) *Ring[T] {
	if capacity < 1 {
		panic(fmt.Sprintf("ring: capacity %d: it must be at least 1", capacity))
	}
	if int(policy) >= len(policyNames) {
		panic(fmt.Sprintf("ring: %v is unknown", policy))
	}
	r := &Ring[T]{slots: make([]slot[T], capacity), capacity: uint64(capacity), policy: policy, onDrop: onDrop}
	for _, o := range options {
		o(r)
	}
	for i := range r.slots {
		r.slots[i].state.Store(2 * uint64(i)) // #nosec G115 -- an index
	}
	return r
}

func (r *Ring[T]) slot(pos uint64) *slot[T] { return &r.slots[pos%r.capacity] }

// outcome is what one attempt came to.
type outcome uint8

const (
	done   outcome = iota
	closed         // for consumers: and empty
	full
	empty
	busy // another goroutine is between its claim and its publication
)

// Push hands v over. On a full ring it waits (Block), or drops; a drop is no error: v, or the oldest value, went to
// onDrop. It fails with ErrClosed, or with the error of ctx if that ends while it waits: then v is still the caller's.
// A Push that found room does not look at ctx. One that has made room by a drop and is then overtaken by Close fails
// with ErrClosed; the drop stays counted.
func (r *Ring[T]) Push(ctx context.Context, v T) error {
	for yields := 0; ; {
		result, t := r.tryPush(v)
		switch {
		case result == done:
			r.notEmpty.wake(1)
			return nil
		case result == closed:
			return ErrClosed
		case result == full && r.policy == DropNewest:
			r.refused.Add(1)
			r.drop(v)
			return nil
		case result == full && r.policy == DropOldest:
			if oldest, ok := r.evict(t); ok {
				r.drop(oldest)
				continue
			}
			yields = pause(yields)
		case result == full:
			if err := r.await(ctx, &r.notFull, r.canPush); err != nil {
				return err
			}
		default:
			yields = pause(yields)
		}
	}
}

// tryPush makes one attempt. If it was full, t is the tail at which it was.
func (r *Ring[T]) tryPush(v T) (result outcome, t uint64) {
	for {
		t = r.tail.Load()
		if t&closedBit != 0 {
			return closed, t
		}
		s := r.slot(t)
		switch state := s.state.Load(); {
		case state == 2*t:
			if r.tail.CompareAndSwap(t, t+1) {
				if r.weigh != nil {
					r.weightHeld.Add(int64(r.weigh(v)))
				}
				s.value = v
				s.state.Store(2*t + 1)
				return done, t
			}
		case state < 2*t:
			if length := t - r.head.Load(); length == r.capacity {
				return full, t
			}
			if r.tail.Load() == t {
				return busy, t // a consumer has claimed the slot and not freed it yet
			}
		} // else t is outdated
	}
}

// evict takes the oldest value out if the ring is still full with its tail at t.
func (r *Ring[T]) evict(t uint64) (oldest T, ok bool) {
	h := t - r.capacity
	s := r.slot(h)
	if s.state.Load() != 2*h+1 || !r.head.CompareAndSwap(h, h+1) {
		return oldest, false
	}
	r.evicted.Add(1)
	return r.takeOut(s, h), true
}

func (r *Ring[T]) takeOut(s *slot[T], pos uint64) T {
	var none T
	v := s.value
	s.value = none // or it would be kept from the garbage collector for a round
	s.state.Store(2 * (pos + r.capacity))
	if r.weigh != nil {
		r.weightHeld.Add(-int64(r.weigh(v)))
	}
	return v
}

func (r *Ring[T]) drop(v T) {
	if r.weigh != nil {
		r.weightDropped.Add(int64(r.weigh(v)))
	}
	if r.onDrop != nil {
		r.onDrop(v)
	}
}

// Pop takes the oldest value, and waits for one if there is none. It fails with ErrClosed when the ring is closed and
// everything in it has been taken, or with the error of ctx if that ends while it waits.
func (r *Ring[T]) Pop(ctx context.Context) (T, error) {
	var one [1]T
	_, err := r.PopMany(ctx, one[:])
	return one[0], err
}

// PopMany takes as many values as there are, up to len(into), oldest first, and waits for one if there is none. It gives
// how many it took: at least one, unless it fails as Pop does, or into has no room.
func (r *Ring[T]) PopMany(ctx context.Context, into []T) (int, error) {
	if len(into) == 0 {
		return 0, nil
	}
	for yields := 0; ; {
		n, result := r.tryPop(into)
		switch result {
		case done:
			r.notFull.wake(n)
			return n, nil
		case closed:
			return 0, ErrClosed
		case empty:
			if err := r.await(ctx, &r.notEmpty, r.canPop); err != nil {
				return 0, err
			}
		default:
			yields = pause(yields)
		}
	}
}

// TryPop takes the oldest value if there is one, and never waits for one.
func (r *Ring[T]) TryPop() (v T, ok bool) {
	var one [1]T
	for yields := 0; ; yields = pause(yields) {
		switch n, result := r.tryPop(one[:]); result {
		case done:
			r.notFull.wake(n)
			return one[0], true
		case closed, empty:
			return v, false
		}
	}
}

func (r *Ring[T]) tryPop(into []T) (int, outcome) {
	for {
		h := r.head.Load()
		n := uint64(0)
		for n < uint64(len(into)) && r.slot(h+n).state.Load() == 2*(h+n)+1 {
			n++
		}
		if n > 0 {
			if !r.head.CompareAndSwap(h, h+n) {
				continue
			}
			for i := range n {
				into[i] = r.takeOut(r.slot(h+i), h+i)
			}
			return int(n), done // #nosec G115 -- at most len(into)
		}
		switch t := r.tail.Load(); {
		case t == h:
			return 0, empty
		case t == h|closedBit:
			return 0, closed
		case r.head.Load() == h:
			return 0, busy // a producer has claimed the slot and not published it yet
		} // else h is outdated
	}
}

func (r *Ring[T]) canPush() bool {
	t := r.tail.Load()
	return t&closedBit != 0 || t-r.head.Load() != r.capacity
}

func (r *Ring[T]) canPop() bool { return r.tail.Load() != r.head.Load() }

// await parks the goroutine until it may be worth another attempt.
func (r *Ring[T]) await(ctx context.Context, g *gate, ready func() bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := g.enter()
	if ready() {
		g.leave(w)
		return nil
	}
	select {
	case <-w.woken:
		g.recycle(w)
		return nil
	case <-ctx.Done():
		g.leave(w)
		return ctx.Err()
	}
}

// pause lets the goroutine run that is waited for, which needs a few instructions more.
func pause(yields int) int {
	if yields < yieldsMax {
		runtime.Gosched()
	} else {
		time.Sleep(napTime) // its thread has lost the processor
	}
	return yields + 1
}

// Close ends the ring: each Push from now on fails with ErrClosed, also one that waits. What is in the ring can still
// be taken. Closing it again does nothing.
func (r *Ring[T]) Close() {
	r.tail.Or(closedBit)
	r.notEmpty.wakeAll()
	r.notFull.wakeAll()
}

// Closed says whether Close has been called.
func (r *Ring[T]) Closed() bool { return r.tail.Load()&closedBit != 0 }

// Len gives the number of values in the ring, claimed ones included. It lies between 0 and Cap.
func (r *Ring[T]) Len() int {
	h := r.head.Load()
	return int(min(r.tail.Load()&^closedBit-h, r.capacity)) // #nosec G115 -- the tail was read later and is not smaller
}

// Cap gives the most values that the ring holds.
func (r *Ring[T]) Cap() int { return len(r.slots) }

// Weight gives the weight of the values in the ring; 0 without the option Weigh.
func (r *Ring[T]) Weight() int64 { return max(0, r.weightHeld.Load()) }

// Stats are a ring's counts since it was made. Pushed = Popped + DroppedOldest + Len when nobody is at work; otherwise
// they may be apart by what is under way.
type Stats struct {
	Policy        string `json:"policy"`
	Cap           int    `json:"cap"`
	Len           int    `json:"len"`
	Pushed        uint64 `json:"pushed"` // values that got into the ring
	Popped        uint64 `json:"popped"`
	DroppedNewest uint64 `json:"dropped_newest"` // values that did not get into it
	DroppedOldest uint64 `json:"dropped_oldest"`
	Weight        int64  `json:"weight"`         // of the values in it
	WeightDropped int64  `json:"weight_dropped"` // of all dropped values
	Waiting       Parked `json:"waiting"`
	Closed        bool   `json:"closed"`
}

// Parked is how many goroutines wait at a ring.
type Parked struct {
	Producers int `json:"producers"`
	Consumers int `json:"consumers"`
}

// Stats gives the counts.
func (r *Ring[T]) Stats() Stats {
	evicted := r.evicted.Load() // before head: so that Popped is never negative
	h := r.head.Load()
	t := r.tail.Load()
	return Stats{
		Policy: r.policy.String(), Cap: len(r.slots),
		Len:    int(min(t&^closedBit-h, r.capacity)), // #nosec G115 -- as in Len
		Pushed: t &^ closedBit, Popped: h - evicted,
		DroppedNewest: r.refused.Load(), DroppedOldest: evicted,
		Weight: r.Weight(), WeightDropped: r.weightDropped.Load(),
		Waiting: Parked{Producers: r.notFull.count(), Consumers: r.notEmpty.count()},
		Closed:  t&closedBit != 0,
	}
}
