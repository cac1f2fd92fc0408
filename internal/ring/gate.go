package ring

import (
	"sync"
	"sync/atomic"
)

// gate is where goroutines sleep until a slot changes.
//
// No wake-up is lost: a sleeper first enters (waiting grows), then looks at the ring again, then sleeps; a waker first
// changes the ring, then looks at waiting. Whichever comes second sees the other. A sleeper that was woken and gives up
// all the same passes the wake-up on.
type gate struct {
	waiting atomic.Int32

	mu          sync.Mutex
	first, last *waiter // oldest first
	spare       *waiter // used ones, linked by next
}

type waiter struct {
	woken      chan struct{} // holds the one wake-up
	prev, next *waiter
	queued     bool
}

// enter puts a waiter on the list. It is followed by leave, or by a receive from woken and recycle.
func (g *gate) enter() *waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.spare
	if w != nil {
		g.spare, w.next = w.next, nil
	} else {
		w = &waiter{woken: make(chan struct{}, 1)}
	}
	w.queued = true
	if w.prev = g.last; w.prev != nil {
		w.prev.next = w
	} else {
		g.first = w
	}
	g.last = w
	g.waiting.Add(1)
	return w
}

func (g *gate) unlink(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		g.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		g.last = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
	g.waiting.Add(-1)
}

// leave takes a waiter off the list that has not received its wake-up.
func (g *gate) leave(w *waiter) {
	g.mu.Lock()
	if w.queued {
		g.unlink(w)
		g.put(w)
		g.mu.Unlock()
		return
	}
	<-w.woken // unlink and send are one step under the lock
	g.put(w)
	g.mu.Unlock()
	g.wake(1)
}

func (g *gate) recycle(w *waiter) {
	g.mu.Lock()
	g.put(w)
	g.mu.Unlock()
}

func (g *gate) put(w *waiter) { w.next, g.spare = g.spare, w }

// wake wakes up to n, the longest waiting first.
func (g *gate) wake(n int) {
	if g.waiting.Load() == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for ; n > 0 && g.first != nil; n-- {
		w := g.first
		g.unlink(w)
		w.woken <- struct{}{}
	}
}

func (g *gate) wakeAll() { g.wake(int(^uint(0) >> 1)) }

func (g *gate) count() int { return int(g.waiting.Load()) }
