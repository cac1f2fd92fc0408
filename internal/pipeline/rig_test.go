package pipeline

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pastcone/pastcone/internal/ring"
	"github.com/pastcone/pastcone/internal/wire"
)

var background = context.Background()

// batch stands for a batch of events of one source.
type batch struct {
	id     int
	src    wire.SourceID
	events int
	since  int64
}

// rig is a pool with a real ring before it and a list behind it; it keeps the books as a recorder would.
type rig struct {
	*Pool[*batch]
	ring   *ring.Ring[*batch]
	ledger Ledger

	mu        sync.Mutex
	delivered []int
	gaveUp    map[int]error
}

// work is what the stage of a rig does with a batch.
type work func(ctx context.Context, b *batch) error

func newRig(t testing.TB, do work, change func(*Options[*batch])) *rig {
	t.Helper()
	r := &rig{gaveUp: map[int]error{}}
	r.ring = ring.New(1024, ring.Block, nil, ring.Weigh(func(b *batch) int { return b.events }))
	o := Options[*batch]{
		Name:  "test",
		Queue: r.ring,
		New:   func() (Stage[*batch], error) { return StageFunc[*batch](do), nil },
		Count: func(b *batch) int { return b.events },
		Deliver: func(ctx context.Context, b *batch) error {
			r.note(b)
			return nil
		},
		Ledger: &r.ledger,
		Owners: func(b *batch, yield func(wire.SourceID, int)) { yield(b.src, b.events) },
		Since:  func(b *batch) int64 { return b.since },
		GaveUp: func(b *batch, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.gaveUp[b.id] != nil {
				t.Errorf("batch %d is given up twice: %v, %v", b.id, r.gaveUp[b.id], err)
			}
			r.gaveUp[b.id] = err
		},
		Settings: Settings{WorkersMin: 1, WorkersMax: 4, BatchEventsMin: 1, BatchEventsMax: 4096, Tries: 3, BackoffMin: time.Millisecond, BackoffMax: 10 * time.Millisecond},
	}
	if change != nil {
		change(&o)
	}
	p, err := NewPool(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Pool = p
	return r
}

// note is what the next stage does: the batch has arrived there.
func (r *rig) note(b *batch) {
	r.mu.Lock()
	r.delivered = append(r.delivered, b.id)
	r.mu.Unlock()
	r.ledger.Store(b.src, b.events)
}

func (r *rig) start(t testing.TB) *rig {
	t.Helper()
	if err := r.Start(background); err != nil {
		t.Fatal(err)
	}
	return r
}

// push accepts batches of two events each, of two sources, with these ids.
func (r *rig) push(t testing.TB, ids ...int) {
	t.Helper()
	for _, id := range ids {
		b := &batch{id: id, src: wire.SourceID(1 + id%2), events: 2, since: time.Now().UnixNano()}
		r.ledger.Accept(b.src, b.events)
		if err := r.ring.Push(background, b); err != nil {
			t.Errorf("push %d: %v", id, err)
			r.ledger.Withdraw(b.src, b.events)
		}
	}
}

func (r *rig) drain(t testing.TB) {
	t.Helper()
	if err := r.Drain(background); err != nil {
		t.Errorf("drain: %v", err)
	}
	r.settled(t)
}

func (r *rig) settled(t testing.TB) {
	t.Helper()
	if err := r.ledger.CheckSettled(); err != nil {
		t.Error(err)
	}
	s := r.Status()
	if s.Batches.InHand != 0 || s.Events.InHand != 0 || s.Backlog.Batches != 0 {
		t.Errorf("something is left: %+v %+v %+v", s.Batches, s.Events, s.Backlog)
	}
}

func (r *rig) got() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]int(nil), r.delivered...)
}

func upTo(n int) (ids []int) {
	for id := range n {
		ids = append(ids, id)
	}
	return ids
}

// bubble runs a test with a clock of its own, which stands still while anybody works.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// takes is a stage that takes time.
func takes(d time.Duration) work {
	return func(ctx context.Context, _ *batch) error { return sleep(ctx, d) }
}

func nothing(context.Context, *batch) error { return nil }

func expect(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
