package correlate

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/correlate/shape"
	"github.com/pastcone/pastcone/internal/wire"
)

// drop takes blocks and gives them back to be filled again.
type drop struct {
	blocks   []*wire.Block
	rows     int
	doubtful int
	rejected int
}

func (d *drop) Emit(b *wire.Block) {
	d.rows += len(b.Rows)
	for i := 0; i < len(b.Rows); i += 64 { // a sample: to look at all would cost time
		if b.Rows[i].CorrConf != event.Exact {
			d.doubtful++
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
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				sink := &drop{}
				c := New(Options{Table: table, Lateness: time.Second, NewBlock: sink.block}, sink)
				c.Open(1, false)
				var free []*wire.Batch
				// Each round makes some batches, then correlates them: only that is timed.
				const round = 1 << 15
				var took, best time.Duration
				events := 0
				b.ReportAllocs()
				for b.Loop() {
					var batches [1 << 8]*wire.Batch
					made := 0
					for n := 0; n < round; made++ {
						batch := &wire.Batch{}
						if k := len(free); k > 0 {
							batch, free = free[k-1], free[:k-1]
							batch.Reset()
						}
						batch.Source = 1
						p.Fill(batch, size)
						n += batch.Len()
						batches[made] = batch
						batch.Done = func(event.ID) { free = append(free, batch) }
					}
					begin, at := threadTime(), time.Now()
					for _, batch := range batches[:made] {
						events += batch.Len()
						c.Add(batch)
					}
					if spent := time.Since(at); best == 0 || spent < best {
						best = spent
					}
					took += threadTime() - begin
				}
				b.ReportMetric(float64(took.Nanoseconds())/float64(events), "cpu-ns/event")
				b.ReportMetric(float64(best.Nanoseconds())/float64(round), "best-ns/event") // of all rounds: without the neighbours
				b.ReportMetric(0, "ns/op")
				if s := c.Stats(); sink.rejected > 0 || s.Gaps > 0 || sink.doubtful > 1 {
					b.Fatalf("%d of a sample of %d rows not exact, %+v", sink.doubtful, sink.rows, s)
				}
			})
		}
	}
}

// threadTime is the processor time of this thread: steadier than the clock when others are at work.
func threadTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		return time.Duration(time.Now().UnixNano())
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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
