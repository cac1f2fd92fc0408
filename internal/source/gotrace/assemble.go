package gotrace

import (
	"context"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// assembly is the batch that is being made: records in the order of the trace, and the run that each belongs to.
//
// Invariant: the runs, one after the other, have each event behind its causes and behind its stream's earlier
// events. It holds because a record only joins its stream's last run (so the stream's order stays), and only if no
// cause lies in a later run.
type assembly struct {
	number  uint64 // of the batch; tells places in it from those in earlier ones
	records []wire.Record
	runOf   []uint32 // run of each record
	runs    []wire.Run
	arena   []byte
	next    []uint32 // scratch: where the next record of each run goes
	back    returns
}

// spot is where an event lies: the run of a batch. The zero spot is in no batch.
type spot struct {
	batch uint64
	run   uint32
}

// place gives the run for the next event of a stream whose last event is at last and whose cause is at cause.
func (a *assembly) place(stream wire.Name, last, cause spot) spot {
	if last.batch == a.number && (cause.batch != a.number || cause.run <= last.run) {
		return last
	}
	a.runs = append(a.runs, wire.Run{Stream: stream})
	return spot{a.number, uint32(len(a.runs) - 1)} // #nosec G115 -- no more runs than records
}

// add makes room for an event there.
func (a *assembly) add(at spot) *wire.Record {
	a.records = append(a.records, wire.Record{})
	a.runOf = append(a.runOf, at.run)
	a.runs[at.run].Len++
	return &a.records[len(a.records)-1]
}

// batch gives the batch, and begins the next one. Its memory is that of one that has come back, if there is one.
func (a *assembly) batch() *wire.Batch {
	b := a.back.take()
	b.Runs = append(b.Runs, a.runs...)
	if cap(b.Records) < len(a.records) {
		b.Records = make([]wire.Record, len(a.records), max(len(a.records), cap(a.records)))
	}
	b.Records = b.Records[:len(a.records)]
	a.next = a.next[:0]
	at := uint32(0)
	for i := range a.runs {
		a.next = append(a.next, at)
		at += a.runs[i].Len
	}
	for i := range a.records {
		next := &a.next[a.runOf[i]]
		b.Records[*next] = a.records[i]
		*next++
	}
	a.number++
	a.records, a.runOf, a.runs = a.records[:0], a.runOf[:0], a.runs[:0]
	b.Arena, a.arena = a.arena, b.Arena
	if cap(a.arena) == 0 {
		a.arena = make([]byte, 0, len(b.Arena)+len(b.Arena)/8)
	}
	return b
}

// returns are the batches that have come back: their Done was called, so that nobody has them any more. A batch of which no event
// got an id does not come back: it was dropped or given up, and whoever gave it up may be at work on it still.
//
// It is safe for concurrent use: Done is called in the correlator's goroutine.
type returns chan *wire.Batch

// batchesBack bounds the memory that lies in them.
const batchesBack = 8

// take gives an empty batch that comes back.
func (r returns) take() *wire.Batch {
	var b *wire.Batch
	select {
	case b = <-r:
		done := b.Done
		b.Reset()
		b.Done = done
	default:
		b = new(wire.Batch)
		b.Done = func(last event.ID) {
			if last == 0 {
				return
			}
			select {
			case r <- b:
			default:
			}
		}
	}
	return b
}

// flush hands the batch over.
func (b *builder) flush(ctx context.Context) error {
	b.pending = 0
	if len(b.to.records) == 0 {
		return nil
	}
	n := len(b.to.records)
	if err := b.sink.Push(ctx, b.to.batch()); err != nil {
		return err
	}
	b.stats.Events += int64(n)
	b.stats.Batches++
	if b.o.Progress != nil {
		b.o.Progress(b.stats)
	}
	return nil
}
