package memory

import (
	"fmt"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/oracle"
	"github.com/pastcone/pastcone/internal/wire"
)

const tableBytesMax = 1 << 28

// FromEvents makes a recording of correlated events: with ids that are dense and ascend, and with their causes, the
// parent's first. A cause whose id is not below its effect's becomes a late edge. sources gives the
// source of each event; nil means that all are of source 1.
func FromEvents(events []event.Event, sources []wire.SourceID, blockRows int) (*Reader, error) {
	table := wire.NewTable(tableBytesMax)
	var blocks []*wire.Block
	var batch wire.Batch
	for i := range events {
		e := &events[i]
		if i > 0 && e.ID != events[i-1].ID+1 {
			return nil, fmt.Errorf("event %d comes behind event %d: ids are dense", e.ID, events[i-1].ID)
		}
		if len(blocks) == 0 || len(blocks[len(blocks)-1].Rows) == blockRows {
			blocks = append(blocks, &wire.Block{Base: e.ID})
		}
		b := blocks[len(blocks)-1]
		batch.Reset()
		if err := batch.AddEvent(table, e); err != nil {
			return nil, err
		}
		row := wire.Row{
			Record: batch.Records[0], Stream: batch.Runs[0].Stream, Parent: e.Parent, Correlation: e.Correlation,
			Duration: int64(e.Duration), Position: e.Position, Source: 1,
			ParentConf: e.Confidence, CorrConf: e.CorrelationConfidence,
		}
		if sources != nil {
			row.Source = sources[i]
		}
		if e.Background {
			row.Flags |= wire.FlagBackground
		}
		base := uint32(len(b.Arena)) // #nosec G115 -- a test's block
		row.DataOff += base
		row.ExtOff += base
		b.Arena = append(b.Arena, batch.Arena...)
		row.EdgeOff = uint32(len(b.Edges)) // #nosec G115 -- a test's block
		for n, c := range e.Causes {
			edge := wire.Edge{Cause: c.ID, P: float32(c.P), Kind: c.Kind, Conf: c.Confidence}
			switch {
			case c.ID >= e.ID:
				b.Late = append(b.Late, wire.LateEdge{Effect: e.ID, Edge: edge})
			case n == 0:
				row.ParentKind, row.ParentP = c.Kind, float32(c.P)
			default:
				b.Edges = append(b.Edges, edge)
				row.EdgeLen++
			}
		}
		b.Rows = append(b.Rows, row)
	}
	return New(table, blocks...), nil
}

// FromTruth makes the recording of a program that the oracle has judged. Ids follow the truth's order.
func FromTruth(t *oracle.Truth, blockRows int) (*Reader, []event.Event, error) {
	ids := map[oracle.At]event.ID{}
	for i, v := range t.Verdicts {
		ids[v.At] = event.ID(i + 1) // #nosec G115 -- an index
	}
	events := make([]event.Event, len(t.Verdicts))
	sources := make([]wire.SourceID, len(t.Verdicts))
	for i, v := range t.Verdicts {
		e := &events[i]
		*e = v.Event
		sources[i] = wire.SourceID(v.At.Source) // #nosec G115 -- a count
		e.ID, e.Parent, e.Correlation = ids[v.At], ids[v.Parent], ids[v.Founder]
		e.Position, e.Background, e.Duration = v.Position, v.Background, v.Duration
		for n, c := range v.Edges {
			edge := event.Edge{ID: ids[c.From], Kind: c.Kind, P: 1}
			switch {
			case c.Missing:
				edge.Confidence, edge.P = event.Gap, 0
			case c.Inferred:
				edge.Confidence, edge.P = event.Inferred, 0.5
			}
			if n == 0 && v.HasParent {
				e.Confidence = edge.Confidence
			}
			e.Causes = append(e.Causes, edge)
		}
		e.CorrelationConfidence = e.Confidence
		if p := ids[v.Parent]; p != 0 && e.ID != e.Correlation {
			e.CorrelationConfidence = max(e.Confidence, events[p-1].CorrelationConfidence)
		}
		e.Extra = nil
	}
	r, err := FromEvents(events, sources, blockRows)
	return r, events, err
}
