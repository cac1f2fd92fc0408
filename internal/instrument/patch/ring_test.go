package patch

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/pastcone/pastcone/internal/capture"
	"golang.org/x/sys/unix"
)

// testRing is the collector's side of a ring, as small as these tests can have it.
type testRing struct {
	path      string
	memory    []byte
	words     []uint64 // the same
	chunks    int
	functions int
	ps        int
	taken     [][]uint64 // chunks that were emptied, in the order of their taking
	stop      chan struct{}
	stopped   chan struct{}
}

func newRing(t testing.TB, policy uint32, chunks int) *testRing {
	t.Helper()
	r := &testRing{path: filepath.Join(t.TempDir(), "ring"), chunks: chunks, functions: 1024, ps: 4}
	align := func(n int) int { return (n + 4095) &^ 4095 }
	states := capture.HeaderBytes
	functionStates := states + 4*chunks
	silence := align(functionStates + r.functions)
	data := align(silence + 16*r.functions*r.ps)
	bytes := data + chunks*capture.ChunkBytes
	f, err := os.Create(r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(int64(bytes)); err != nil {
		t.Fatal(err)
	}
	r.memory, err = unix.Mmap(int(f.Fd()), 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(r.memory) })
	r.words = unsafe.Slice((*uint64)(unsafe.Pointer(&r.memory[0])), bytes/8)
	r.set64(capture.OffMagic, capture.Magic)
	for offset, v := range map[int]int{
		capture.OffVersion32: capture.Version, capture.OffPolicy32: int(policy), capture.OffChunkBytes32: capture.ChunkBytes,
		capture.OffChunks32: chunks, capture.OffFunctions32: r.functions, capture.OffPs32: r.ps, capture.OffOn32: 1,
	} {
		atomic.StoreUint32(r.at32(offset), uint32(v))
	}
	r.set64(capture.OffChunkStates, uint64(states))
	r.set64(capture.OffFunctionStates, uint64(functionStates))
	r.set64(capture.OffSilence, uint64(silence))
	r.set64(capture.OffChunkData, uint64(data))
	r.beat()
	return r
}

func (r *testRing) at32(offset int) *uint32        { return (*uint32)(unsafe.Pointer(&r.memory[offset])) }
func (r *testRing) get32(offset int) uint32        { return atomic.LoadUint32(r.at32(offset)) }
func (r *testRing) get64(offset int) uint64        { return atomic.LoadUint64(&r.words[offset/8]) }
func (r *testRing) set64(offset int, value uint64) { atomic.StoreUint64(&r.words[offset/8], value) }

func (r *testRing) beat() {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	r.set64(capture.OffBeat, uint64(now.Nano()))
}

func (r *testRing) state(chunk int) *uint32 {
	return r.at32(int(r.get64(capture.OffChunkStates)) + 4*chunk)
}

func (r *testRing) chunk(i int) []uint64 {
	at := (int(r.get64(capture.OffChunkData)) + i*capture.ChunkBytes) / 8
	return r.words[at : at+capture.ChunkBytes/8]
}

func (r *testRing) silenced(function int) (calls, ticks uint64) {
	for p := range r.ps {
		at := int(r.get64(capture.OffSilence)) + 16*(p*r.functions+function)
		calls += r.get64(at)
		ticks += r.get64(at + 8)
	}
	return calls, ticks
}

// drain empties full chunks until end is called.
func (r *testRing) drain() {
	r.stop, r.stopped = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(r.stopped)
		for {
			r.beat()
			idle := true
			for i := range r.chunks {
				if atomic.LoadUint32(r.state(i)) == capture.ChunkFull {
					chunk := r.chunk(i)
					r.taken = append(r.taken, slices.Clone(chunk))
					clear(chunk)
					atomic.StoreUint32(r.state(i), capture.ChunkFree)
					idle = false
				}
			}
			if idle {
				select {
				case <-r.stop:
					return
				case <-time.After(200 * time.Microsecond):
				}
			}
		}
	}()
}

// end stops the draining and takes what is left, when the program has ended.
func (r *testRing) end() {
	if r.stop != nil {
		close(r.stop)
		<-r.stopped
		r.stop = nil
	}
	for i := range r.chunks {
		if atomic.LoadUint32(r.state(i)) != capture.ChunkFree {
			r.taken = append(r.taken, slices.Clone(r.chunk(i)))
		}
	}
}

const lateMax = 1024 // records that come later than their time says

// record is an event.
type record struct {
	kind   uint8
	stream uint64
	seq    uint64 // full
	ticks  uint64
	a, b   uint32
	c      uint64
	values []value
}

type value struct {
	kind, index uint8
	bits        uint64
	size        uint32
	text        string
}

func (r record) key() uint64     { return uint64(r.a) | r.c>>48<<32 }
func (r record) ordinal() uint64 { return r.c & (1<<48 - 1) }

// streams decodes all that was taken: the events of each stream, with their full numbers, in order. Records of the stream "timer<n>" are
// kept apart from goroutines by bit 63.
func (r *testRing) streams(t testing.TB) map[uint64][]record {
	t.Helper()
	streams := map[uint64][]record{}
	for _, chunk := range r.taken {
		for at := capture.ChunkHeaderBytes / 8; at < len(chunk); at += 4 {
			w := chunk[at : at+4]
			kind := uint8(w[1])
			if kind == capture.KindPad {
				break
			}
			if w[1] == 0 {
				continue // not finished: its number is missing then
			}
			if kind == capture.KindValue || kind == capture.KindText {
				t.Fatalf("a value without an event at word %d of a chunk of P %d", at, uint32(chunk[1]))
			}
			if kind == 0 || kind > capture.KindAcquireUnseen {
				t.Fatalf("a record of kind %d at word %d", kind, at)
			}
			e := record{kind: kind, seq: w[1] >> 8 & 0xffff, stream: w[1] >> 24, ticks: w[0], a: uint32(w[2]), b: uint32(w[2] >> 32), c: w[3]}
			for at+4 < len(chunk) && uint8(chunk[at+5]) == capture.KindValue {
				at += 4
				at = readValue(&e, chunk, at)
			}
			if kind == capture.KindTimerSend || kind == capture.KindTimerSpawn {
				e.stream |= 1 << 63
			}
			streams[e.stream] = append(streams[e.stream], e)
		}
	}
	for _, s := range streams {
		slices.SortStableFunc(s, func(a, b record) int { return int(int64(a.ticks - b.ticks)) })
		last := uint64(0)
		for i := range s {
			// The next number that fits: clocks of two processors differ by little, while many records may be lost in a row.
			ahead := uint64(uint16(s[i].seq) - uint16(last))
			if ahead > 1<<16-lateMax {
				ahead -= 1 << 16
			}
			last += ahead
			s[i].seq = last
		}
		slices.SortStableFunc(s, func(a, b record) int { return int(int64(a.seq - b.seq)) })
	}
	return streams
}

func readValue(e *record, chunk []uint64, at int) int {
	w := chunk[at : at+4]
	v := value{kind: uint8(w[1] >> 8), index: uint8(w[1] >> 16), size: uint32(w[1] >> 32), bits: w[0]}
	left := min(int(v.size), capture.TextBytesMax)
	var text []byte
	for left > 0 {
		var piece [24]byte
		binary.LittleEndian.PutUint64(piece[0:], chunk[at])
		binary.LittleEndian.PutUint64(piece[8:], chunk[at+2])
		binary.LittleEndian.PutUint64(piece[16:], chunk[at+3])
		n := min(left, 24)
		text = append(text, piece[:n]...)
		if left -= n; left > 0 {
			at += 4
		}
	}
	v.text = string(text)
	e.values = append(e.values, v)
	return at
}

// whole checks that each stream has all its numbers from 1, and returns the number of events.
func whole(t testing.TB, streams map[uint64][]record) int {
	t.Helper()
	events, bad := 0, 0
	for stream, s := range streams {
		events += len(s)
		next := uint64(1)
		for i, e := range s {
			if e.seq != next {
				if bad++; bad < 10 {
					t.Errorf("stream %d: event %d of kind %d is at place %d of %d, where %d should be", stream, e.seq, e.kind, i+1, len(s), next)
				}
				break
			}
			if next++; e.kind == capture.KindAcquireRange {
				next += e.c&(1<<24-1) - 1 // an event for each of the releases
			}
		}
	}
	return events
}
