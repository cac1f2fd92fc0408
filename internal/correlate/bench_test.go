package correlate

import (
	"fmt"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/correlate/shape"
	"github.com/pastcone/pastcone/internal/wire"
)

// drop takes blocks and gives them back to be filled again.
type drop struct {
	blocks   []*wire.Block
	rows     int
	exact    int
	rejected int
}

func (d *drop) Emit(b *wire.Block) {
	d.rows += len(b.Rows)
	for i := range b.Rows {
		if b.Rows[i].CorrConf == event.Exact {
			d.exact++
		}
	}
	d.blocks = append(d.blocks, b)
}

func (d *drop) Reject(wire.SourceID, wire.Name, *wire.Batch, *wire.Record, Reason) { d.rejected++ }

func (d *drop) block() *wire.Block {
	if n := len(d.blocks); n > 0 {
		b := d.blocks[n-1]
		d.blocks = d.blocks[:n-1]
		return b
	}
	return &wire.Block{}
}

func BenchmarkCorrelate(b *testing.B) {
	for _, regroup := range []bool{false, true} {
		for _, size := range []int{256, 1024, 8192} {
			b.Run(fmt.Sprintf("regroup=%v/batch=%d", regroup, size), func(b *testing.B) {
				table := wire.NewTable(1 << 26)
				p, err := shape.New(1, 2000, table)
				if err != nil {
					b.Fatal(err)
				}
				p.Regroup = regroup
				sink := &drop{}
				c := New(Options{Table: table, Lateness: time.Second, NewBlock: sink.block}, sink)
				c.Open(1, false)
				var free []*wire.Batch
				// Each round makes some batches with the clock stopped, and correlates them.
				const round = 1 << 18
				events := 0
				b.ReportAllocs()
				b.ResetTimer()
				for events < b.N {
					b.StopTimer()
					var batches []*wire.Batch
					for n := 0; n < round; {
						batch := &wire.Batch{}
						if k := len(free); k > 0 {
							batch, free = free[k-1], free[:k-1]
							batch.Reset()
						}
						batch.Source = 1
						p.Fill(batch, size)
						n += batch.Len()
						batches = append(batches, batch)
						batch.Done = func(event.ID) { free = append(free, batch) }
					}
					b.StartTimer()
					for _, batch := range batches {
						events += batch.Len()
						c.Add(batch)
					}
				}
				b.StopTimer()
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
				if s := c.Stats(); sink.rejected > 0 || s.Gaps > 0 || sink.rows-sink.exact > 10 {
					b.Fatalf("%d of %d rows exact, %+v", sink.exact, sink.rows, s)
				}
			})
		}
	}
}

func BenchmarkShape(b *testing.B) {
	table := wire.NewTable(1 << 26)
	p, err := shape.New(1, 2000, table)
	if err != nil {
		b.Fatal(err)
	}
	batch := &wire.Batch{}
	events := 0
	for events < b.N {
		batch.Reset()
		p.Fill(batch, 1024)
		events += batch.Len()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
}
