package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pastcone/pastcone/internal/capture"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

// busyChunks gives chunks as a program of calls and messages writes them: goroutines take turns on each P.
func busyChunks(tb testing.TB, ps, steps int) (path string, chunks [][]byte) {
	tb.Helper()
	ring, err := NewRing("", RingOptions{Functions: simulatedFunctions + 1, Bytes: 256 << 20})
	if err != nil {
		tb.Fatal(err)
	}
	defer ring.Close()
	program, err := startProgram(ring.Path(), ps, testClock())
	if err != nil {
		tb.Fatal(err)
	}
	newWork(program, 100, 50).run(7, steps)
	for i := range ring.chunks {
		if ring.chunkState(i) == capture.ChunkFull {
			chunks = append(chunks, bytes.Clone(ring.chunk(i)))
		}
	}
	if err := program.close(); err != nil {
		tb.Fatal(err)
	}
	return path, chunks
}

func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDrain is what the collector costs the program that it shares the processors with: a record from the ring into the file,
// and its place given back.
func BenchmarkDrain(b *testing.B) {
	_, chunks := busyChunks(b, 1, 20000)
	ring, err := NewRing("", RingOptions{Functions: simulatedFunctions + 1, Bytes: 16 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer ring.Close()
	o := CollectOptions{Spool: filepath.Join(b.TempDir(), "spool")}
	c, err := NewCollector(ring, o)
	if err != nil {
		b.Fatal(err)
	}
	defer os.Remove(o.Spool)
	records, cpu := 0, time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		for i := range ring.chunks {
			copy(ring.chunk(i), chunks[i%len(chunks)])
			ring.store32(ring.states+4*i, capture.ChunkFull)
		}
		if c.spool.written.Load() > 1<<40 {
			if err := c.spool.file.Truncate(0); err != nil {
				b.Fatal(err)
			}
			if _, err := c.spool.file.Seek(0, 0); err != nil {
				b.Fatal(err)
			}
			c.spool.written.Store(0)
		}
		runtime.GC()
		before := cpuTime()
		b.StartTimer()
		n, err := c.drain(true)
		if err != nil {
			b.Fatal(err)
		}
		if err := c.spool.flush(); err != nil {
			b.Fatal(err)
		}
		records += n
		cpu += cpuTime() - before
	}
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(records), "cpu-ns/record")
	b.ReportMetric(float64(c.spool.written.Load())/float64(records), "file-bytes/record")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
	_ = c.spool.close()
}

// counted is a sink that counts.
type counted struct {
	table  *wire.Table
	events int
	runs   int
}

func (c *counted) Table() *wire.Table { return c.table }

func (c *counted) Push(_ context.Context, b *wire.Batch) error {
	c.events += len(b.Records)
	c.runs += len(b.Runs)
	return nil
}

func (c *counted) Reject(r source.Rejected) error { return r }

// BenchmarkRead is the way from the file to batches.
func BenchmarkRead(b *testing.B) {
	for _, ps := range []int{1, 4} {
		b.Run(map[int]string{1: "one P", 4: "four Ps"}[ps], func(b *testing.B) {
			text := benchmarkFile(b, ps)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			events, runs := 0, 0
			for b.Loop() {
				c := &counted{table: wire.NewTable(64 << 20)}
				if _, err := Read(context.Background(), bytes.NewReader(text), "b.capture", Options{}, c); err != nil {
					b.Fatal(err)
				}
				events += c.events
				runs += c.runs
			}
			b.ReportMetric(float64(events)/b.Elapsed().Seconds()/1e6, "M-events/s")
			b.ReportMetric(float64(events)/float64(runs), "events/run")
		})
	}
}

// benchmarkFile is a capture file of some hundred thousand records, with passes as a collector makes them.
func benchmarkFile(b *testing.B, ps int) []byte {
	b.Helper()
	r, cancel := collecting(b, RingOptions{}, CollectOptions{CallsPerSecondMax: -1}, ps)
	w := newWork(r.program, 100, 50)
	w.run(rand.Uint64(), 20000/ps)
	r.finish(b, cancel)
	text, err := os.ReadFile(r.spool)
	if err != nil {
		b.Fatal(err)
	}
	if len(text) < 1<<20 || binary.LittleEndian.Uint32(text[fileHeaderBytes:]) != frameMark {
		b.Fatalf("a file of %d bytes", len(text))
	}
	return text
}
