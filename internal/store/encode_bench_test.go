package store

import (
	"fmt"
	"testing"

	"github.com/pastcone/pastcone/internal/store/shape"
	"github.com/pastcone/pastcone/internal/wire"
)

func shapedBlocks(tb testing.TB, n int, o shape.Shape) (*wire.Table, []*wire.Block) {
	tb.Helper()
	table := wire.NewTable(1 << 26)
	g, err := shape.New(table, 1, 1, o)
	if err != nil {
		tb.Fatal(err)
	}
	for range 60 {
		g.Block(wire.BlockRowsMax) // until the streams are in full swing
	}
	blocks := make([]*wire.Block, n)
	for i := range blocks {
		blocks[i] = g.Block(wire.BlockRowsMax)
	}
	return table, blocks
}

func BenchmarkEncode(b *testing.B) {
	for _, run := range []int{1, 2, 16} {
		for _, codec := range []Codec{CodecZstd, CodecS2, CodecNone} {
			b.Run(fmt.Sprintf("run=%d/%v", run, codec), func(b *testing.B) {
				table, blocks := shapedBlocks(b, 8, shape.Shape{RunMean: run})
				enc := newEncoder(table, codec)
				var e encoded
				i, bytes := 0, 0
				for b.Loop() {
					enc.encode(blocks[i%len(blocks)], &e)
					bytes += len(e.raw)
					i++
				}
				rows := float64(b.N) * wire.BlockRowsMax
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/rows, "ns/event")
				b.ReportMetric(float64(bytes)/rows, "B/event")
				if testing.Verbose() {
					for id, c := range e.h.chunks {
						if c.length > 0 {
							b.Logf("%-20s %7d  %.2f bits/event", chunkNames[id], c.length, float64(c.length)*8/wire.BlockRowsMax)
						}
					}
				}
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	table, blocks := shapedBlocks(b, 1, shape.Shape{})
	enc := newEncoder(table, CodecZstd)
	var e encoded
	enc.encode(blocks[0], &e)
	v := openEncoded(b, e.raw)
	var c wire.Columns
	for name, set := range map[string]wire.ColumnSet{
		"all": wire.ColAll, "kind site duration": wire.ColKind | wire.ColSite | wire.ColDuration,
		"parent further": wire.ColParent | wire.ColFurther, "correlation": wire.ColCorrelation,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := v.columns(0, v.h.rows, set, &c); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/wire.BlockRowsMax, "ns/event")
		})
	}
	b.Run("one row", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i = (i + 4099) % v.h.rows
			if err := v.columns(i, i+1, wire.ColAll, &c); err != nil {
				b.Fatal(err)
			}
		}
	})
}
