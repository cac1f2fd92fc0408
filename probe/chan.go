package probe

import (
	"context"
	"errors"
	"sync/atomic"
	"unsafe"
)

// ErrClosed says that a channel is closed and empty.
var ErrClosed = errors.New("probe: the channel is closed")

// Chan is a channel that records what goes through it. Each element travels with a number, given when
// it is sent; the receive carries the same one. So each receive knows its send, whatever the order in
// which goroutines get hold of the channel, which nobody outside of the runtime could observe.
//
// Make it with [NewChan]. All methods are safe for concurrent use; a nil context is like
// context.Background.
type Chan[T any] struct {
	c      chan Message[T]
	name   string
	number uint64
	sent   atomic.Uint64
	unused atomic.Uint64 // a number whose send came to nothing, for the next one; 0: none
}

// Message is an element on its way through a [Chan].
type Message[T any] struct {
	Value  T
	number uint64 // 0: sent while nothing recorded
	from   *scope // of the sender
}

// NewChan makes a channel. The name is for people; it need not be unique.
func NewChan[T any](name string, capacity int) *Chan[T] {
	return &Chan[T]{c: make(chan Message[T], capacity), name: string(appendNameHead(nil, name)), number: named.Add(1)}
}

// Len gives the number of elements in the channel's buffer.
func (c *Chan[T]) Len() int { return len(c.c) }

// Cap gives the capacity of the channel's buffer.
func (c *Chan[T]) Cap() int { return cap(c.c) }

// Send hands v over. It waits for room, or for a receiver, until ctx is over; then it gives the error
// of ctx, and v was not sent. Like a channel it panics when it is closed.
func (c *Chan[T]) Send(ctx context.Context, v T) error {
	began, m := c.wrap(ctx, v)
	select {
	case c.c <- m:
	default:
		if err := c.sendWaiting(ctx, m); err != nil {
			c.giveBack(m)
			return err
		}
	}
	c.recordSend(began, m)
	return nil
}

func (c *Chan[T]) sendWaiting(ctx context.Context, m Message[T]) error {
	var over <-chan struct{}
	if ctx != nil {
		over = ctx.Done()
	}
	select {
	case c.c <- m:
		return nil
	case <-over:
		return ctx.Err()
	}
}

// TrySend sends v if that is possible at once, and says whether it was.
func (c *Chan[T]) TrySend(ctx context.Context, v T) bool {
	began, m := c.wrap(ctx, v)
	select {
	case c.c <- m:
		c.recordSend(began, m)
		return true
	default:
		c.giveBack(m)
		return false
	}
}

// wrap gives v its number. The time of a send is when it began, so that its receive is never earlier.
func (c *Chan[T]) wrap(ctx context.Context, v T) (began int64, m Message[T]) {
	m.Value = v
	if active.Load() == nil {
		return 0, m
	}
	m.from = scopeOf(ctx)
	if m.number = c.unused.Swap(0); m.number == 0 {
		m.number = c.sent.Add(1)
	}
	return now(), m
}

// giveBack keeps the number of a send that came to nothing, so that numbers stay dense.
func (c *Chan[T]) giveBack(m Message[T]) {
	if m.number != 0 {
		c.unused.CompareAndSwap(0, m.number)
	}
}

// isEmpty says whether elements carry nothing.
func (c *Chan[T]) isEmpty() bool {
	var v T
	return unsafe.Sizeof(v) == 0
}

//go:noinline
func (c *Chan[T]) recordSend(began int64, m Message[T]) {
	if m.number != 0 {
		record(m.from, began, &fields{kind: "send", at: placeOf(3), key: c.name, number: c.number, ordinal: m.number, empty: c.isEmpty(), seen: true})
	}
}

// Receive takes an element. It waits for one until ctx is over, then it gives the error of ctx; when
// the channel is closed and empty, [ErrClosed].
func (c *Chan[T]) Receive(ctx context.Context) (T, error) {
	m, ok, err := c.receive(ctx)
	if err == nil {
		err = c.recordReceive(ctx, m, ok, nil)
	}
	return m.Value, err
}

// Take is [Chan.Receive] for who takes on work: the event, and the context for the work, carry the
// labels (see [With]) that the element was sent with. What is work and what is not, the correlator
// finds out by itself: Take tells it nothing.
func (c *Chan[T]) Take(ctx context.Context) (context.Context, T, error) {
	m, ok, err := c.receive(ctx)
	if err == nil {
		err = c.recordReceive(ctx, m, ok, m.from)
	}
	if err == nil && m.from != nil && active.Load() != nil {
		ctx = withScope(ctx, &scope{scopeOf(ctx).stream, m.from.baggage})
	}
	return ctx, m.Value, err
}

func (c *Chan[T]) receive(ctx context.Context) (m Message[T], ok bool, err error) {
	select {
	case m, ok = <-c.c:
		return m, ok, nil
	default:
	}
	var over <-chan struct{}
	if ctx != nil {
		over = ctx.Done()
	}
	select {
	case m, ok = <-c.c:
		return m, ok, nil
	case <-over:
		return m, false, ctx.Err()
	}
}

// Out gives the channel itself, for a select over several. Hand what comes out of it to
// [Chan.Received] at once:
//
//	select {
//	case m, ok := <-jobs.Out():
//		job, err := jobs.Received(ctx, m, ok)
//		…
//	case <-ctx.Done():
//		…
//	}
func (c *Chan[T]) Out() <-chan Message[T] { return c.c }

// Received records a receive from [Chan.Out] and gives the element, or [ErrClosed] if ok is false.
func (c *Chan[T]) Received(ctx context.Context, m Message[T], ok bool) (T, error) {
	return m.Value, c.recordReceive(ctx, m, ok, nil)
}

//go:noinline
func (c *Chan[T]) recordReceive(ctx context.Context, m Message[T], ok bool, labels *scope) error {
	if active.Load() != nil {
		f := fields{kind: "receive", at: placeOf(3), key: c.name, number: c.number, labels: labels, seen: true}
		switch {
		case !ok:
			f.closed = true
		case m.number == 0:
			// Its send is in no recording. Without any mark it would be matched with a later one.
			f.message = "sent before recording began"
		default:
			f.ordinal, f.empty = m.number, c.isEmpty()
		}
		record(scopeOf(ctx), now(), &f)
	}
	if !ok {
		return ErrClosed
	}
	return nil
}

// Close closes the channel: no more sends. Like close it panics when that was done before.
func (c *Chan[T]) Close(ctx context.Context) {
	if active.Load() != nil {
		// Before the act: its receives come after it.
		record(scopeOf(ctx), now(), &fields{kind: "close", at: placeOf(2), key: c.name, number: c.number, seen: true})
	}
	close(c.c)
}
