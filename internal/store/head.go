package store

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// The head is the blocks that are published and not yet durable, in memory as they came. Readers of this
// process see them at once.
//
// A block's way: Publish puts it into the head; Write encodes it, in the goroutine of whoever calls,
// several at a time and in any order; the committer takes encoded blocks from the front, in the order of
// ids, makes them durable, and in one step moves them from the head to the segment's list: so a
// snapshot has each event exactly once.

// headBlock is a block of the head. Its bytes and enc are guarded by the writer's mu.
type headBlock struct {
	b       *wire.Block
	bytes   int64
	writing bool
	enc     *encoded
	index   atomic.Pointer[headIndex] // set when it is encoded
}

// headIndex is what a reader prunes an encoded block of the head by.
type headIndex struct {
	timeMin, timeMax int64
	kinds            uint32
	filter           *filter
}

func (h *headBlock) end() event.ID { return h.b.Base + event.ID(len(h.b.Rows)) } // #nosec G115 -- a count

// blockBytes gives what a block takes in memory.
func blockBytes(b *wire.Block) int64 {
	return int64(cap(b.Rows))*int64(unsafe.Sizeof(wire.Row{})) + int64(cap(b.Arena)) +
		int64(cap(b.Edges))*int64(unsafe.Sizeof(wire.Edge{})) + int64(cap(b.Late))*int64(unsafe.Sizeof(wire.LateEdge{}))
}

// Publish makes a block visible to readers. Blocks come in the order of their ids, from one goroutine;
// each must then be given to Write. It blocks while too much is published and not durable. A block that is refused
// with an error has not been taken: after ErrNoSpace the same can be tried again.
func (w *Writer) Publish(ctx context.Context, b *wire.Block) error {
	if err := checkBounds(b); err != nil {
		return err
	}
	if len(b.Rows) == 0 && len(b.Late) == 0 {
		return fmt.Errorf("%w: block %d has no rows and no late edges", ErrOrder, b.Base)
	}
	h := &headBlock{b: b, bytes: blockBytes(b)}
	for {
		w.mu.Lock()
		var err error
		switch {
		case w.closing:
			err = ErrClosed
		case w.failed != nil:
			err = w.failed
		case w.full != nil:
			err = w.full
		case b.Base != w.next:
			err = fmt.Errorf("%w: it begins with id %d, the next id is %d", ErrOrder, b.Base, w.next)
		}
		if err != nil {
			w.mu.Unlock()
			return err
		}
		if w.headBytes == 0 || w.headBytes+h.bytes <= w.o.UndurableBytesMax {
			w.head = append(w.head, h)
			w.byBlock[b] = h
			w.headBytes += h.bytes
			w.next = h.end()
			w.mu.Unlock()
			return nil
		}
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Write encodes a published block, and hands it to the committer. Any number of goroutines may write,
// in any order. It returns when the block is encoded; WaitDurable and OnDurable tell when it is durable.
func (w *Writer) Write(b *wire.Block) error {
	w.mu.Lock()
	h, ok := w.byBlock[b]
	var err error
	switch {
	case w.failed != nil:
		err = w.failed
	case !ok:
		err = fmt.Errorf("%w: block %d is not published, or is written already", ErrOrder, b.Base)
	case h.writing:
		err = fmt.Errorf("%w: block %d is being written", ErrOrder, b.Base)
	default:
		h.writing = true
	}
	w.mu.Unlock()
	if err != nil {
		return err
	}

	done := false
	defer func() {
		if !done { // a panic: whoever catches it may try again
			w.mu.Lock()
			h.writing = false
			w.mu.Unlock()
		}
	}()
	e := w.outputs.Get().(*encoded)
	c := w.encoders.Get().(*encoder)
	c.encode(b, e)
	w.encoders.Put(c)
	h.index.Store(indexOf(e))
	done = true

	w.mu.Lock()
	delete(w.byBlock, b)
	h.enc = e
	first := w.head[0] == h
	w.mu.Unlock()
	if first {
		w.wakeCommitter()
	}
	return nil
}

// Replace puts another block, with the same ids, in the place of a published one that can not be written: Write has
// panicked on it, again and again. The new one must then be given to Write. Snapshots that were taken before keep the old
// one.
func (w *Writer) Replace(old, b *wire.Block) error {
	if err := checkBounds(b); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	h, ok := w.byBlock[old]
	switch {
	case w.failed != nil:
		return w.failed
	case !ok || h.writing:
		return fmt.Errorf("%w: block %d is not published, being written, or written already", ErrOrder, old.Base)
	case b.Base != old.Base || len(b.Rows) != len(old.Rows):
		return fmt.Errorf("%w: a block with ids %d to %d in place of one with %d to %d", ErrOrder,
			b.Base, b.Base+event.ID(len(b.Rows)), old.Base, h.end()) // #nosec G115 -- a count
	}
	changed := &headBlock{b: b, bytes: blockBytes(b)}
	head := slices.Clone(w.head) // snapshots have the old list
	head[slices.Index(head, h)] = changed
	delete(w.byBlock, old)
	w.head, w.byBlock[b] = head, changed
	w.headBytes += changed.bytes - h.bytes
	return nil
}

// indexOf copies from an encoded block what readers of the head need: its memory will be used again.
func indexOf(e *encoded) *headIndex {
	x := &headIndex{timeMin: e.h.timeMin, timeMax: e.h.timeMax, kinds: e.h.kinds}
	if c := e.h.chunks[chunkFilter]; c.length > 0 {
		p := append([]byte(nil), e.raw[c.off:c.off+c.length]...)
		x.filter, _ = parseFilter(p) // written a moment ago; without one, everything may be in it
	}
	return x
}

// takeGroup gives the blocks at the front of the head that are encoded: what a commit makes durable.
func (w *Writer) takeGroup() (group []*headBlock, closing bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, bytes := 0, 0
	for n < len(w.head) && w.head[n].enc != nil && bytes < groupBytesMax {
		bytes += len(w.head[n].enc.raw)
		n++
	}
	return w.head[:n:n], w.closing
}

// groupBytesMax bounds what one sync makes durable.
const groupBytesMax = 64 << 20

// moveToSegment moves blocks from the front of the head to the list of the live segment. From here
// on they are durable.
func (w *Writer) moveToSegment(group []*headBlock, entries []*blockEntry) {
	end := group[len(group)-1].end()
	w.tailsMu.Lock()
	for _, h := range group {
		for _, t := range h.enc.tails {
			w.tails.add(t)
		}
	}
	w.tailsMu.Unlock()

	w.mu.Lock()
	w.live.entries = append(w.live.entries, entries...)
	w.live.end = end
	w.durable = end
	for _, h := range group {
		w.headBytes -= h.bytes
	}
	// A new slice: those who have the old one keep it, and nobody else keeps the blocks.
	w.head = append([]*headBlock(nil), w.head[len(group):]...)
	w.full = nil
	w.broadcast()
	callbacks := w.onDurable
	w.mu.Unlock()

	for _, h := range group {
		h.enc.late = nil
		w.outputs.Put(h.enc)
	}
	for _, f := range callbacks {
		f(end)
	}
}
