package query_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/wire"
)

// replay is a long recording made of a few blocks, again and again: what it measures is the work of
// the query, with copying in the place of decoding.
type replay struct {
	query.Reader
	table  *wire.Table
	blocks []wire.Columns
	whole  []*wire.Block // the same
	infos  []wire.BlockInfo
}

const (
	replayBlocks = 2441 // 20 M events
	replayKept   = 16
)

func newReplay(b *testing.B) *replay {
	b.Helper()
	table := wire.NewTable(1 << 24)
	var sites []wire.Site
	for i := range 400 {
		s, err := table.SiteOf(fmt.Sprintf("example.com/shop/p%d.F%d", i%20, i), "f.go", i)
		if err != nil {
			b.Fatal(err)
		}
		sites = append(sites, s)
	}
	r := &replay{table: table}
	random := rand.New(rand.NewPCG(1, 2))
	var streams []wire.Name
	for i := range 2000 {
		n, err := table.Name(fmt.Sprint("g", i))
		if err != nil {
			b.Fatal(err)
		}
		streams = append(streams, n)
	}
	for k := range replayKept {
		block := wire.Block{Base: event.ID(k*wire.BlockRowsMax + 1)}
		stream := streams[0]
		for i := range wire.BlockRowsMax {
			if i%16 == 0 {
				stream = streams[random.IntN(len(streams))]
			}
			row := wire.Row{Stream: stream, Source: 1, Correlation: 1, ParentKind: event.EdgeContext}
			row.Kind = event.Kind(1 + random.IntN(15))
			row.Time = int64(k*wire.BlockRowsMax+i) * 1000
			row.Site = sites[min(random.IntN(400), random.IntN(400))]
			if i%3 == 0 {
				row.Kind, row.Duration = event.KindReturn, int64(random.ExpFloat64()*1e6)+1
			}
			if i > 40 {
				row.Parent = block.Base + event.ID(i-1-random.IntN(40))
			}
			if i%8 == 5 {
				row.EdgeOff, row.EdgeLen = uint32(len(block.Edges)), 1
				block.Edges = append(block.Edges, wire.Edge{Cause: block.Base + event.ID(i-1), Kind: event.EdgeMessage})
			}
			if i%3 == 1 {
				d := fmt.Appendf(nil, `{"request":"a-%d","n":%d}`, random.IntN(1000), i)
				row.DataOff, row.DataLen = uint32(len(block.Arena)), uint32(len(d))
				block.Arena = append(block.Arena, d...)
			}
			block.Rows = append(block.Rows, row)
		}
		r.whole = append(r.whole, &block)
		var c wire.Columns
		block.Columns(0, len(block.Rows), wire.ColAll, &c)
		r.blocks = append(r.blocks, c)
	}
	for i := range replayBlocks {
		r.infos = append(r.infos, wire.BlockInfo{Base: event.ID(i*wire.BlockRowsMax + 1), Rows: wire.BlockRowsMax, TimeMax: 1 << 40})
	}
	return r
}

func (r *replay) Table() *wire.Table { return r.table }
func (r *replay) Range() (first, end event.ID) {
	return 1, event.ID(replayBlocks*wire.BlockRowsMax + 1)
}
func (r *replay) Blocks(wire.Prune) []wire.BlockInfo {
	return append([]wire.BlockInfo(nil), r.infos...)
}

func (r *replay) Read(base event.ID, want wire.ColumnSet, c *wire.Columns) error {
	i := int(base-1) / wire.BlockRowsMax
	from := &r.blocks[i%replayKept]
	shift := base - from.Base
	c.Reset()
	c.Base, c.Len = base, from.Len
	has := func(col wire.ColumnSet) bool { return want&col != 0 }
	if has(wire.ColKind) {
		c.Kind = append(c.Kind, from.Kind...)
	}
	if has(wire.ColSite) {
		c.Site = append(c.Site, from.Site...)
	}
	if has(wire.ColDuration) {
		c.Duration = append(c.Duration, from.Duration...)
	}
	if has(wire.ColStream) {
		c.Stream = append(c.Stream, from.Stream...)
	}
	if has(wire.ColSource) {
		c.Source = append(c.Source, from.Source...)
	}
	if has(wire.ColTime) {
		c.Time = append(c.Time, from.Time...)
	}
	if has(wire.ColFlags) {
		c.Flags = append(c.Flags, from.Flags...)
	}
	if has(wire.ColParent) {
		c.ParentKind = append(c.ParentKind, from.ParentKind...)
		for _, p := range from.Parent {
			if p != 0 {
				p += shift
			}
			c.Parent = append(c.Parent, p)
		}
	}
	if has(wire.ColFurther) {
		c.EdgeEnd = append(c.EdgeEnd, from.EdgeEnd...)
		for _, e := range from.Edges {
			e.Cause += shift
			c.Edges = append(c.Edges, e)
		}
	}
	if has(wire.ColData) {
		c.DataEnd, c.Data = append(c.DataEnd, from.DataEnd...), append(c.Data, from.Data...)
	}
	return nil
}

func (r *replay) ReadRow(id event.ID, want wire.ColumnSet, c *wire.Columns) (int, error) {
	base := (id-1)/wire.BlockRowsMax*wire.BlockRowsMax + 1
	*c = r.blocks[int(base-1)/wire.BlockRowsMax%replayKept]
	return int(id - base), nil
}

func (r *replay) ReadRows(base event.ID, rows []uint16, want wire.ColumnSet, c *wire.Columns) error {
	from := r.whole[int(base-1)/wire.BlockRowsMax%replayKept]
	from.Gather(rows, want, c)
	shift := base - from.Base
	c.Base = base
	for i, p := range c.Parent {
		if p != 0 {
			c.Parent[i] = p + shift
		}
	}
	for i := range c.Edges {
		c.Edges[i].Cause += shift
	}
	return nil
}

func (r *replay) Find(base event.ID, by wire.ColumnSet, values []uint64, to []uint16) ([]uint16, error) {
	from := r.whole[int(base-1)/wire.BlockRowsMax%replayKept]
	shift := uint64(base - from.Base)
	if by&(wire.ColStream|wire.ColCorrelation) != 0 { // which are the same in every copy
		shift = 0
	}
	return from.Find(by, func(v uint64) bool { return slices.Contains(values, v+shift) }, to), nil
}

func (r *replay) LateCauses(event.ID) []wire.Edge { return nil }

func BenchmarkQuery(b *testing.B) {
	r := newReplay(b)
	for _, text := range []string{
		"{} | count()",
		"{} | count() by (func)",
		"{} | count(), quantile(duration, 0.99) by (func)",
		"{} | count() by (stream)",
		"{ kind = error && duration > 1s } | count()",
		"{ data.request = \"a-77\" } | count()",
		"{} | sort(duration desc) | limit(10)",
		"({ kind = metric } << { id = 100 }) | count()",
		"({ id = 19000000 } >> { kind = metric }) | count()",
		"({ kind = metric } << { kind = error }) | count()",
		"({ kind = metric } >> { kind = error }) | count()",
		"({ kind = receive } < { kind = send }) | count()",
	} {
		q := parse(b, text)
		b.Run(text, func(b *testing.B) {
			for range b.N {
				sum, err := query.Run(context.Background(), r, q, query.Options{CausalBudget: generous}, func(*query.Hit) error { return nil })
				if err != nil || sum.Cut {
					b.Fatal(err, sum.Reason)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(replayBlocks*wire.BlockRowsMax), "ns/event")
		})
	}
}
