package probe

import (
	"context"
	"sync"
)

// Queue records what goes through a queue that is no channel: a heap behind a lock, a list, a table that workers poll. An
// element is told by its key: a pointer, a number, an id. The same key can go through again and again: the earliest send that
// nobody has received yet is the one that a receive meets.
//
//	q := probe.NewQueue[*Job]("jobs")
//
//	q.Send(ctx, job)        // before it goes in
//	s.heap.Push(job)
//
//	job := s.heap.Pop()
//	ctx = q.Receive(ctx, job)  // after it came out
//
// Make it with [NewQueue]. All methods are safe for concurrent use.
type Queue[K comparable] struct {
	name   string
	number uint64

	mu    sync.Mutex
	sent  uint64
	young map[K][]sending // what is in the queue, in two generations: when the young one is full, the old one is forgotten
	old   map[K][]sending
	count int // of sends in young
	lost  uint64
}

// sending is a send that nobody has received yet.
type sending struct {
	ordinal uint64
	from    baggage
	session uint64
}

// queueElementsMax bounds each of the two generations of what a queue remembers.
const queueElementsMax = 1 << 16

// NewQueue makes the record of a queue. The name is for people; it need not be unique.
func NewQueue[K comparable](name string) *Queue[K] {
	return &Queue[K]{name: string(appendNameHead(nil, name)), number: named.Add(1)}
}

// Send records that an element goes into the queue. Call it before: others may take it out at once.
func (q *Queue[K]) Send(ctx context.Context, key K) {
	if !off() {
		q.send(ctx, key)
	}
}

//go:noinline
func (q *Queue[K]) send(ctx context.Context, key K) {
	sc := scopeOf(ctx)
	s := sending{from: sc.baggage, session: session()}
	q.mu.Lock()
	q.sent++
	s.ordinal = q.sent
	if q.count >= queueElementsMax {
		for _, sends := range q.old {
			q.lost += uint64(len(sends))
		}
		q.old, q.young, q.count = q.young, nil, 0
	}
	if q.young == nil {
		q.young = map[K][]sending{}
	}
	q.young[key] = append(q.young[key], s)
	q.count++
	q.mu.Unlock()
	record(sc, now(), &fields{kind: "send", at: placeOf(3), key: q.name, number: q.number, ordinal: s.ordinal})
}

// Receive records that an element came out of the queue. The returned context, and the event, carry the labels (see [With])
// that it was sent with. An element that was sent while nothing recorded, or whose send was forgotten (see [Queue.Forgotten]), has a cause
// that is missing.
func (q *Queue[K]) Receive(ctx context.Context, key K) context.Context {
	if off() {
		return ctx
	}
	return q.receive(ctx, key)
}

//go:noinline
func (q *Queue[K]) receive(ctx context.Context, key K) context.Context {
	sc := scopeOf(ctx)
	f := fields{kind: "receive", at: placeOf(3), key: q.name, number: q.number}
	s, ok := q.take(key)
	if !ok {
		f.message = "sent before recording began, or forgotten"
	} else {
		f.ordinal, f.labels = s.ordinal, &scope{baggage: s.from}
		ctx = withScope(ctx, &scope{sc.stream, s.from})
	}
	record(sc, now(), &f)
	return ctx
}

// Drop says that an element left the queue and nobody took it: the queue was emptied, the job called off.
func (q *Queue[K]) Drop(key K) {
	if !off() {
		q.take(key)
	}
}

// Forgotten gives how many sends were forgotten because too many elements were in the queue: the 65,536 newest are always
// known.
func (q *Queue[K]) Forgotten() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lost
}

// take gives the earliest send of an element. One of an earlier recording is none.
func (q *Queue[K]) take(key K) (sending, bool) {
	now := session()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range []map[K][]sending{q.old, q.young} {
		sends := m[key]
		for len(sends) > 0 {
			s := sends[0]
			sends[0] = sending{}
			if sends = sends[1:]; len(sends) == 0 {
				delete(m, key)
			} else {
				m[key] = sends
			}
			if s.session == now {
				return s, true
			}
		}
	}
	return sending{}, false
}

// session tells the recordings of a process apart; 0 is that of the patched runtime alone.
func session() uint64 {
	if r := active.Load(); r != nil {
		return r.session
	}
	return 0
}
