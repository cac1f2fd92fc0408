package pipeline

import (
	"context"
	"sync"
)

// window brings what the workers finish into the order in which it was taken.
//
// Invariants: tickets are given out in order, one a job, and a ticket is given out only if it is less than next plus the
// size of the window; so each slot is for one ticket at a time. One goroutine at a time delivers: the one that put a job
// in while nobody was delivering; it goes on until the next ticket is not there.
type window[In any] struct {
	mu         sync.Mutex
	slots      []*job[In]
	next       uint64 // the ticket to be delivered next
	delivering bool
	room       chan struct{} // one token: next has moved
}

func newWindow[In any](size int) *window[In] {
	return &window[In]{slots: make([]*job[In], size), room: make(chan struct{}, 1)}
}

// await waits until the ticket is less than ahead() in front of the next one to be delivered, and so has a slot. One
// goroutine at a time calls it.
func (w *window[In]) await(ctx context.Context, ticket uint64, ahead func() int) error {
	for {
		w.mu.Lock()
		ok := ticket-w.next < uint64(min(ahead(), len(w.slots))) // #nosec G115 -- not negative
		w.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-w.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// put puts a job in, and delivers what has its turn. deliver is called without the lock.
func (w *window[In]) put(j *job[In], deliver func(*job[In])) {
	size := uint64(len(w.slots))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slots[j.ticket%size] = j
	if w.delivering {
		return
	}
	w.delivering = true
	for j := w.slots[w.next%size]; j != nil; j = w.slots[w.next%size] {
		w.mu.Unlock()
		deliver(j)
		w.mu.Lock()
		w.slots[w.next%size] = nil
		w.next++
		select {
		case w.room <- struct{}{}:
		default:
		}
	}
	w.delivering = false
}

// rest gives the jobs that wait for their turn.
func (w *window[In]) rest() (jobs []*job[In]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range uint64(len(w.slots)) {
		if j := w.slots[(w.next+i)%uint64(len(w.slots))]; j != nil {
			jobs = append(jobs, j)
		}
	}
	return jobs
}
