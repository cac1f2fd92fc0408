// Package export writes recordings in formats that others read: event lines, which Pastcone itself imports again, and
// Parquet, for DuckDB, ClickHouse, Polars and Spark.
//
//	store ──snapshot──► export ──► event lines │ Parquet
//
// Both hold every event in the order of ids, with what was worked out about it. An edge whose cause came after its effect
// had been stored is a record of its own in a recording; here it stands among the causes of its effect, behind the others.
// A recording is read block by block, so memory is bounded however large it is.
//
// In the plan's words this is a part of DataAccess.
package export

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/wire"
)

// Options say what to export. The zero Options are all events.
type Options struct {
	Keep     func(event.ID) bool    // nil: every event
	Progress func(done, all uint64) // called after each block with the number of events read, of all there are; may be nil
}

// outputBufferBytes is what is collected before it is written.
const outputBufferBytes = 256 << 10

// NDJSON writes the events as event lines with their results, and gives their number. What is damaged is left
// out, and told by a *PartialError at the end. On another error, whole lines may have been written, and a part of one.
func NDJSON(ctx context.Context, r query.Reader, o Options, w io.Writer) (int64, error) {
	out := bufio.NewWriterSize(w, outputBufferBytes)
	var line []byte
	n, err := each(ctx, r, o, func(e *event.Event, _ wire.SourceID) error {
		line = append(event.AppendLine(line[:0], e), '\n')
		_, err := out.Write(line)
		return err
	})
	if finished(err) {
		err = errors.Join(err, out.Flush())
	}
	if err != nil {
		return n, fmt.Errorf("exporting event lines: %w", err)
	}
	return n, nil
}

// each gives the events to write, in the order of ids, and their number. The event is the callee's until it returns.
func each(ctx context.Context, r query.Reader, o Options, write func(*event.Event, wire.SourceID) error) (n int64, err error) {
	first, end := r.Range()
	late := hasLate(r)
	var c wire.Columns
	var e event.Event
	var damaged []error
	damages := 0
	for _, info := range r.Blocks(wire.Prune{}) {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		if err := r.Read(info.Base, wire.ColAll, &c); query.IsDamage(err) {
			if damages++; damages <= damagesNamed {
				damaged = append(damaged, fmt.Errorf("events %d to %d are left out: %w", info.Base, info.Base+event.ID(info.Rows)-1, err)) // #nosec G115 -- a count
			}
			continue
		} else if err != nil {
			return n, err
		}
		for i := range c.Len {
			id := c.Base + event.ID(i) // #nosec G115 -- an index
			if id < first || id >= end || o.Keep != nil && !o.Keep(id) {
				continue
			}
			if err := c.Event(i, r.Table(), &e); err != nil {
				return n, fmt.Errorf("event %d: %w", id, err)
			}
			if late {
				for _, edge := range r.LateCauses(id) {
					e.Causes = append(e.Causes, edge.Public())
				}
			}
			if err := write(&e, c.Source[i]); err != nil {
				return n, fmt.Errorf("event %d: %w", id, err)
			}
			n++
		}
		if o.Progress != nil {
			o.Progress(uint64(info.Base-first)+uint64(c.Len), uint64(end-first)) // #nosec G115 -- a count
		}
	}
	if damages > 0 {
		return n, &PartialError{damages, damaged}
	}
	return n, nil
}

// damagesNamed is how many damaged blocks a PartialError names.
const damagesNamed = 5

// PartialError says that everything was written but what is damaged.
type PartialError struct {
	Blocks int     // that could not be read
	First  []error // what is wrong with the first of them
}

func (e *PartialError) Error() string {
	text := "the rest is written; damaged:"
	for _, err := range e.First {
		text += "\n  " + err.Error()
	}
	if more := e.Blocks - len(e.First); more > 0 {
		text += fmt.Sprintf("\n  and %d more blocks", more)
	}
	return text
}

// Unwrap gives what is wrong.
func (e *PartialError) Unwrap() []error { return e.First }

// finished says whether all was written that can be.
func finished(err error) bool {
	var partial *PartialError
	return err == nil || errors.As(err, &partial)
}

// hasLate says whether the recording may hold late edges: most have none, and need not be asked event by event.
func hasLate(r query.Reader) (any bool) {
	r.Late(func(wire.LateEdge) bool {
		any = true
		return false
	})
	return any
}
