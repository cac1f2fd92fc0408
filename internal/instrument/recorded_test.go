package instrument

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	layout "github.com/pastcone/pastcone/internal/capture"
	"github.com/pastcone/pastcone/internal/source/capture"
)

// recordedStreams reads a ring's file after its program has ended: for each goroutine its records' numbers have to be 1, 2, 3 and
// so on; it returns what calls, returns and errors say.
func (p program) recordedStreams(done *Prepared, ring []byte) map[uint64][]string {
	p.t.Helper()
	half := func(at int) int { return int(binary.LittleEndian.Uint32(ring[at:])) }
	word := func(at int) uint64 { return binary.LittleEndian.Uint64(ring[at:]) }
	table := p.table(done)
	data := int(word(layout.OffChunkData))
	var chunks [][]byte
	for i := range half(layout.OffChunks32) {
		if half(int(word(layout.OffChunkStates))+4*i) != layout.ChunkFree {
			chunks = append(chunks, ring[data+i*layout.ChunkBytes:][:layout.ChunkBytes])
		}
	}
	slices.SortFunc(chunks, func(a, b []byte) int {
		return int(binary.LittleEndian.Uint64(a)) - int(binary.LittleEndian.Uint64(b))
	})
	if dropped := word(layout.OffDropped); dropped != 0 {
		p.t.Errorf("%d records were dropped", dropped)
	}
	lines, numbers := map[uint64][]string{}, map[uint64]map[uint64]bool{}
	type record struct {
		seq, count uint64
		text       string
	}
	records := map[uint64][]record{}
	for _, c := range chunks {
		for at := layout.ChunkHeaderBytes; at < len(c); at += layout.RecordBytes {
			w1, w2 := binary.LittleEndian.Uint64(c[at+8:]), binary.LittleEndian.Uint64(c[at+16:])
			kind := w1 & 0xff
			if kind == layout.KindPad || kind == 0 {
				break
			}
			if kind >= layout.KindText || kind == layout.KindTimerSend || kind == layout.KindTimerSpawn {
				continue
			}
			seq, stream := w1>>8&0xffff, w1>>24
			if numbers[stream] == nil {
				numbers[stream] = map[uint64]bool{}
			}
			if numbers[stream][seq] {
				p.t.Errorf("goroutine %d has two records %d", stream, seq)
			}
			numbers[stream][seq] = true
			name := table[int(uint32(w2))].Func
			text := ""
			switch kind {
			case layout.KindCall, layout.KindCallRoot:
				text = "call " + name
			case layout.KindReturn:
				text = fmt.Sprintf("return %s %d", name, w2>>32)
			case layout.KindError:
				text = fmt.Sprintf("error %s %d", name, w2>>32)
			}
			count := uint64(1)
			if kind == layout.KindAcquireRange {
				count = binary.LittleEndian.Uint64(c[at+24:]) & (1<<24 - 1)
			}
			records[stream] = append(records[stream], record{seq, count, text})
		}
	}
	for stream, list := range records {
		slices.SortFunc(list, func(a, b record) int { return int(a.seq) - int(b.seq) })
		next := uint64(1)
		for _, r := range list {
			if r.seq != next {
				p.t.Errorf("goroutine %d: after record %d comes %d", stream, next-1, r.seq)
				break
			}
			next += r.count
			if r.text != "" {
				lines[stream] = append(lines[stream], r.text)
			}
		}
	}
	return lines
}

const goroutinesProgram = `
-- go.mod --
module example.com/goroutines

go 1.25
-- main.go --
package main

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
)

//go:noinline
func leaf(n int) error {
	if n == 0 {
		return errors.New("leaf")
	}
	return nil
}

//go:noinline
func middle(n int) error {
	runtime.Gosched()
	if err := leaf(n); err != nil {
		return fmt.Errorf("middle: %w", err)
	}
	return nil
}

func main() {
	for range 20 {
		var wg sync.WaitGroup
		for n := range 100 {
			wg.Go(func() { work(n % 10) })
		}
		wg.Wait()
		runtime.GC()
	}
}

//go:noinline
func work(n int) {
	for i := range 5 {
		middle(n + i)
	}
}
`

// With the patched standard library and without: two thousand goroutines tell all of what they did, in order.
func TestAProgramRecordsItself(t *testing.T) {
	archive := txtar.Parse([]byte(goroutinesProgram))
	for _, c := range []struct {
		name string
		o    Options
	}{
		{"patched", Options{}},
		{"without the patch", Options{NoRuntime: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := unpack(t, archive)
			c.o.Dir, c.o.CacheDir = p.dir, p.cache
			done := p.prepareWith(c.o, patchedLibrary)
			if c.o.NoRuntime != (len(done.Missing) > 0) {
				t.Errorf("missing: %q", done.Missing)
			}
			bin := filepath.Join(p.cache, "program")
			if b := p.run(done.GoCommand, done.Env, append(append([]string{"build", "-o", bin}, done.Flags...), ".")...); b.code != 0 {
				t.Fatal(b.err)
			}
			ring, err := capture.NewRing(t.TempDir(), capture.RingOptions{Bytes: 8 << 20, Functions: done.FunctionsCount})
			if err != nil {
				t.Fatal(err)
			}
			defer ring.Close()
			ring.Record(true)
			r := p.run(bin, []string{ring.Env()})
			if r.code != 0 || r.err != "" {
				t.Fatalf("%+v", r)
			}
			text, err := os.ReadFile(ring.Path())
			if err != nil {
				t.Fatal(err)
			}
			workers, mains := 0, 0
			for stream, lines := range p.recordedStreams(done, text) {
				story := strings.Join(lines, "\n")
				switch {
				case lines[0] == "call main.main" && lines[len(lines)-1] == "return main.main 0":
					mains++
				case strings.Contains(story, "call main.work\n"):
					workers++
					if n := strings.Count(story, "call main.leaf\nreturn main.leaf 0\nreturn main.middle 0"); n < 4 {
						t.Errorf("goroutine %d does not tell all:\n%s", stream, story)
					}
					if n := strings.Count(story, "call "); n != 11 && n != 12 || strings.Count(story, "return ") != n {
						t.Errorf("goroutine %d calls and returns:\n%s", stream, story)
					}
					if strings.Contains(story, "error ") && !strings.Contains(story, "error main.leaf 0\nreturn main.leaf 1\nerror main.middle 1\nreturn main.middle 1\n") {
						t.Errorf("goroutine %d tells of its errors otherwise:\n%s", stream, story)
					}
				}
			}
			if workers != 2000 || mains != 1 {
				t.Errorf("%d workers and %d mains have told", workers, mains)
			}
		})
	}
}
