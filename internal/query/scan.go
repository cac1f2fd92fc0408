package query

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// inlineBlocks is how many blocks are read before others are asked to help: many questions are
// answered by then.
const inlineBlocks = 1

// scan lets work look at each block, several at a time, and gives what it brings to take, one at a
// time and in the order of infos. An error of either ends it. It is complete unless an error or the
// deadline ended it; a deadline is noted as a cut, not an error.
//
// A block that is damaged is left out, which x.damaged remembers.
//
// At most 2 × workers blocks are under way or waiting to be taken, so a slow taker bounds the memory.
func scan[T any](x *run, infos []wire.BlockInfo, work func(*view) (T, error), take func(T) error) (complete bool, err error) {
	began := time.Now()
	x.scans++
	taken := 0
	step := func(info wire.BlockInfo, result T, err error) error {
		if IsDamage(err) && x.damaged.skip(blockError(info.Base, info.Rows, err)) {
			return nil
		}
		if err == nil {
			x.count(info)
			taken++
			err = take(result)
		}
		return err
	}
	inline := len(infos)
	if x.o.Workers > 1 && inline > inlineBlocks {
		inline = inlineBlocks
	}
	v := newView(x.r)
	defer v.release()
	for _, info := range infos[:inline] {
		if err = x.ctx.Err(); err != nil {
			break
		}
		v.open(info)
		result, werr := work(v)
		if err = step(info, result, werr); err != nil {
			break
		}
	}
	if err == nil && inline < len(infos) {
		err = scanParallel(x, infos[inline:], v, work, step)
	}
	if errors.Is(err, context.DeadlineExceeded) && x.ctx.Err() != nil {
		x.cut("the deadline passed after %s, with %d of %d blocks read: narrow the query by time, or give it longer",
			time.Since(began).Round(time.Millisecond), taken, len(infos))
		return false, nil
	}
	return err == nil, err
}

// count counts a block that was read, once: a query with relations reads some several times.
func (x *run) count(info wire.BlockInfo) {
	if x.scans > 1 && x.counted == nil {
		x.counted = make(map[event.ID]struct{}, len(x.read))
		for _, base := range x.read {
			x.counted[base] = struct{}{}
		}
	}
	if x.counted == nil {
		x.read = append(x.read, info.Base)
	} else if _, again := x.counted[info.Base]; again {
		return
	} else {
		x.counted[info.Base] = struct{}{}
	}
	x.sum.BlocksRead++
	x.sum.RowsRead += uint64(info.Rows) // #nosec G115 -- a count
}

// outcome is what a block has brought.
type outcome[T any] struct {
	result T
	err    error
	ready  bool
}

// crew is the blocks of a scan that several goroutines work on. The one that called works too, so that a short list is over
// before the others have woken up, and takes the results in between.
//
// Invariants: blocks are claimed in the order of infos, and only while fewer than len(slots) are under way or waiting to be taken;
// the result of block i lies in slot i modulo their number until it is taken.
type crew[T any] struct {
	mu      sync.Mutex
	changed sync.Cond
	infos   []wire.BlockInfo
	slots   []outcome[T]
	next    int // to be claimed
	taken   int
	stopped bool
}

// claim gives the next block to work on. Unless wait is set it gives up rather than wait for room.
func (c *crew[T]) claim(wait bool) (i int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.stopped && c.next < len(c.infos) {
		if c.next < c.taken+len(c.slots) {
			c.next++
			return c.next - 1, true
		}
		if !wait {
			break
		}
		c.changed.Wait()
	}
	return 0, false
}

// do works on a block that was claimed.
func (c *crew[T]) do(ctx context.Context, v *view, i int, work func(*view) (T, error)) {
	o := outcome[T]{ready: true}
	if o.err = ctx.Err(); o.err == nil {
		v.open(c.infos[i])
		o.result, o.err = work(v)
	}
	c.mu.Lock()
	c.slots[i%len(c.slots)] = o
	first := i == c.taken
	c.mu.Unlock()
	if first {
		c.changed.Broadcast()
	}
}

// take gives the result that is next in order, if it is there; with wait, when it is.
func (c *crew[T]) take(wait bool) (info wire.BlockInfo, o outcome[T], ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slot := &c.slots[c.taken%len(c.slots)]
	for wait && !slot.ready {
		c.changed.Wait()
	}
	if !slot.ready {
		return info, o, false
	}
	info, o = c.infos[c.taken], *slot
	*slot = outcome[T]{}
	c.taken++
	c.changed.Broadcast()
	return info, o, true
}

func (c *crew[T]) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.changed.Broadcast()
}

func scanParallel[T any](x *run, infos []wire.BlockInfo, v *view, work func(*view) (T, error), step func(wire.BlockInfo, T, error) error) error {
	ctx, cancel := context.WithCancel(x.ctx)
	workers := min(x.o.Workers, len(infos))
	c := &crew[T]{infos: infos, slots: make([]outcome[T], 2*workers)}
	c.changed.L = &c.mu
	var wait sync.WaitGroup
	defer wait.Wait()
	defer c.stop()
	defer cancel()
	for i := 1; i < workers; i++ {
		wait.Go(func() {
			v := newView(x.r)
			v.worker = i
			defer v.release()
			for {
				i, ok := c.claim(true)
				if !ok {
					return
				}
				c.do(ctx, v, i, work)
			}
		})
	}
	for c.taken < len(infos) { // only changed here
		info, o, ok := c.take(false)
		if !ok {
			if i, claimed := c.claim(false); claimed {
				c.do(ctx, v, i, work)
				continue
			}
			info, o, _ = c.take(true)
		}
		if err := step(info, o.result, o.err); err != nil {
			return err
		}
	}
	return nil
}
