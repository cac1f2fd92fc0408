package capture

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/pastcone/pastcone/internal/capture"
)

// The flight recorder. The program overwrites its oldest chunks and nobody drains; at the end, or when somebody asks, the newest chunks
// are copied out of the ring while the program goes on.
//
//  1. Every chunk that holds something is noted with its order; the newest count, up to the bound.
//  2. Each is copied, newest first, since the program takes the oldest. Then its state and its order are looked at again: if the program
//     has taken the chunk in the meantime, the copy is thrown away. So what is missing is what is before the rest.

// What keeps a flight recorder's functions within their budgets: nobody reads all that it writes, so a few of the chunks that it has filled
// since the last look stand for the others.
const (
	sampledChunks = 2 // at a look
	sampledBack   = 8 // chunks that are tried for that
)

// sample looks at some of the chunks that the program has filled since it was called last. The program may overwrite them meanwhile:
// then a few calls are counted wrongly, once.
func (c *Collector) sample() {
	cursor := c.ring.load64(capture.OffCursor)
	last := c.cursor
	c.cursor = cursor
	taken := cursor - last
	if taken == 0 || c.budget.most < 0 || cursor < last {
		return
	}
	chunks := uint64(c.ring.chunks) // #nosec G115 -- positive
	var sampled []int
	for back := uint64(1); back <= min(sampledBack, taken, chunks) && len(sampled) < sampledChunks; back++ {
		i := int((cursor - back) % chunks) // #nosec G115 -- below chunks
		if c.ring.chunkState(i) == capture.ChunkFull && orderOf(c.ring.chunk(i)) > last {
			sampled = append(sampled, i)
		}
	}
	for _, i := range sampled {
		c.notice.sample(c.ring.chunk(i), uint32(min(taken/uint64(len(sampled)), 1<<20))) // #nosec G115 -- bounded
	}
}

// candidate is a chunk that may be copied.
type candidate struct {
	chunk int
	order uint64
	state uint32
}

// flight copies the newest chunks to a file, and ends its pass.
func (c *Collector) flight(to *spool) (copied int, err error) {
	watermark := c.clock.ticks()
	c.places.again()
	var all []candidate
	for i := range c.ring.chunks {
		if state := c.ring.chunkState(i); state != capture.ChunkFree {
			all = append(all, candidate{i, orderOf(c.ring.chunk(i)), state})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(b.order, a.order) })
	if c.o.FlightBytes > 0 {
		all = all[:min(len(all), max(1, int(c.o.FlightBytes/capture.ChunkBytes)))]
	}
	room := make([]byte, capture.ChunkBytes)
	left := uint64(0)
	for _, x := range all {
		chunk := c.ring.chunk(x.chunk)
		copy(room, chunk)
		state := c.ring.chunkState(x.chunk)
		if orderOf(chunk) != x.order || state == capture.ChunkFree || state != x.state && x.state == capture.ChunkFull {
			left++
			continue
		}
		_, records, err := to.addRecords(room, 0, c.notice)
		if err != nil {
			return copied, err
		}
		copied += records
	}
	if to == c.spool {
		c.mu.Lock()
		c.stats.Records += uint64(copied) // #nosec G115 -- not negative
		c.stats.Silenced = c.budget.ever
		c.mu.Unlock()
	}
	if err := c.places.write(to); err != nil {
		return copied, err
	}
	n := c.counts()
	if n.overwritten == 0 && (left > 0 || c.ring.load64(capture.OffCursor) > uint64(len(all))) { // #nosec G115 -- not negative
		n.overwritten = 1 // at least: so the reader takes no beginning for one
	}
	p := pass{watermark: watermark, clockReading: c.clock.read(), counts: n}
	return copied, to.add(framePass, p.append)
}

// ErrNotFlying says that there is nothing to dump: the ring is drained all the time, or no program has come yet.
var ErrNotFlying = errors.New("no flight recorder: the policy is not overwrite, or the program has not started")

// Dump writes what the flight recorder holds now into a new capture file, while the program goes on. It may be called while Run
// runs.
func (c *Collector) Dump(path string) (err error) {
	answer := make(chan error, 1)
	select {
	case c.dumps <- dump{path, answer}:
		return <-answer
	case <-c.over:
		return ErrNotFlying
	}
}

// dump is a demand for a capture file.
type dump struct {
	path   string
	answer chan<- error
}

func (c *Collector) dump(path string) (err error) {
	if c.ring.policy != Overwrite || !c.begun {
		return ErrNotFlying
	}
	to, err := createSpool(path)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, to.close()); err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	if err := copyFunctions(c.o.Functions, to); err != nil {
		return err
	}
	if err := addJSON(to, frameStart, c.started); err != nil {
		return err
	}
	if err := c.budget.copy(time.Now(), to); err != nil {
		return err
	}
	copied, err := c.flight(to)
	if err != nil {
		return err
	}
	n := c.counts()
	return addJSON(to, frameEnd, ending{
		How: c.how("dump"), Incomplete: "these are the last moments before somebody asked for them; the program went on",
		Records: uint64(copied), Dropped: n.dropped, Overwritten: n.overwritten, // #nosec G115 -- not negative
	})
}
