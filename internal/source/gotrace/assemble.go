package gotrace

import (
	"context"

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

// batch gives the batch, and begins the next one.
func (a *assembly) batch() *wire.Batch {
	b := &wire.Batch{
		Runs:    append([]wire.Run(nil), a.runs...),
		Records: make([]wire.Record, len(a.records)),
		Arena:   a.arena,
	}
	next := make([]uint32, len(a.runs)) // where the next record of each run goes
	at := uint32(0)
	for i := range a.runs {
		next[i] = at
		at += a.runs[i].Len
	}
	for i := range a.records {
		run := a.runOf[i]
		b.Records[next[run]] = a.records[i]
		next[run]++
	}
	a.number++
	a.records, a.runOf, a.runs = a.records[:0], a.runOf[:0], a.runs[:0]
	a.arena = make([]byte, 0, len(b.Arena)+len(b.Arena)/8)
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
