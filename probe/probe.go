package probe

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Policy says what happens to an event when the buffers are full.
type Policy uint8

const (
	// Drop drops the event and counts it. Its number in the stream is used up, so the recording shows
	// a gap. The program never waits.
	Drop Policy = iota
	// Wait makes the goroutine wait until there is room.
	Wait
)

// Options say where events go, and how much may be in flight. Set exactly one of File, Writer and
// Address; everything else has a default.
type Options struct {
	File    string    // a file of event lines, made new
	Writer  io.Writer // takes event lines; it is called from one goroutine
	Address string    // a server: "unix:/path/to/socket", "127.0.0.1:7071", or "tls:HOST:PORT"

	Token string      // that lets the program in at the server ("pastcone token new"); it is sent over TLS, or within this machine, only
	TLS   *tls.Config // how the server is known; nil: none, and that of the system where Address begins with "tls:"

	Source string // what the program is called at the server; default: the name of its executable
	Policy Policy // default: Drop

	// MemoryBytesMax bounds the buffers, which take memory as they are first used; at least 4 MiB. The default
	// is 16 MiB, and 64 MiB for a server: it acknowledges what it is sure of, which can take it a second.
	MemoryBytesMax int
	FileBytesMax   int64         // of what is written; events beyond are dropped and counted; default: no bound
	FlushInterval  time.Duration // how long an event may wait in a buffer; default 100 ms
	CloseTimeout   time.Duration // how long Close and Flush wait for a server; default 5 s
}

// Stats count events. At every moment Events = Written + Dropped + those in buffers; after Close
// nothing is in buffers.
type Stats struct {
	Events  uint64 // happened while recording
	Written uint64 // are in the file, or acknowledged by the server as durable
	Dropped uint64 // are lost: the buffers were full, or the file or the server would not take them
	Bytes   int64  // written
	Err     error  // the first error in writing
}

// Recorder is a recording in progress. There is at most one in a process.
type Recorder struct {
	options Options
	session uint64
	sink    sink

	free  chan *chunk // empty ones
	full  chan *chunk // to be written; has room for all there are
	flush chan chan struct{}
	stop  chan struct{} // closed: nobody waits for room any more
	over  chan struct{} // closed: the writer has ended

	events  atomic.Uint64
	written atomic.Uint64
	dropped atomic.Uint64
	bytes   atomic.Int64
	err     atomic.Pointer[error]
	closed  atomic.Bool
}

// active is the recorder in progress. It is all that the functions of this package look at while
// nothing records.
var active atomic.Pointer[Recorder]

// starting keeps two Starts apart: it is held from the first check of Start to the end of Close.
var starting atomic.Bool

var sessions atomic.Uint64

// ErrRecording says that the process records already.
var ErrRecording = errors.New("probe: this process is being recorded already: close that recorder first")

// Recording says whether events are being recorded.
func Recording() bool { return active.Load() != nil }

const (
	memoryBytesDefault = 16 << 20
	memoryBytesServer  = 64 << 20
	memoryBytesMin     = 4 << 20
	memoryBytesCeiling = 1 << 30
)

func (o *Options) complete() error {
	targets := 0
	for _, set := range []bool{o.File != "", o.Writer != nil, o.Address != ""} {
		if set {
			targets++
		}
	}
	if targets != 1 {
		return fmt.Errorf("probe: %d of File, Writer and Address are set: set exactly one", targets)
	}
	if o.MemoryBytesMax == 0 {
		o.MemoryBytesMax = memoryBytesDefault
		if o.Address != "" {
			o.MemoryBytesMax = memoryBytesServer
		}
	}
	if o.MemoryBytesMax < memoryBytesMin || o.MemoryBytesMax > memoryBytesCeiling {
		return fmt.Errorf("probe: MemoryBytesMax is %d: it must be from %d to %d", o.MemoryBytesMax, memoryBytesMin, memoryBytesCeiling)
	}
	if o.FileBytesMax < 0 {
		return fmt.Errorf("probe: FileBytesMax is %d: it must not be negative", o.FileBytesMax)
	}
	if o.Policy > Wait {
		return fmt.Errorf("probe: Policy is %d: it must be Drop or Wait", o.Policy)
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{{"FlushInterval", &o.FlushInterval, 100 * time.Millisecond}, {"CloseTimeout", &o.CloseTimeout, 5 * time.Second}} {
		if *d.value == 0 {
			*d.value = d.def
		}
		if *d.value < time.Millisecond {
			return fmt.Errorf("probe: %s is %v: it must be at least 1ms", d.name, *d.value)
		}
	}
	if o.Source == "" {
		o.Source = filepath.Base(os.Args[0])
	}
	return nil
}

// Start begins to record this process. It fails with [ErrRecording] if that is going on already. A
// server that is not there yet is no error: events wait in the buffers for it.
func Start(o Options) (*Recorder, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if !starting.CompareAndSwap(false, true) {
		return nil, ErrRecording
	}
	r := &Recorder{
		options: o,
		session: sessions.Add(1),
		flush:   make(chan chan struct{}),
		stop:    make(chan struct{}),
		over:    make(chan struct{}),
	}
	chunks := o.MemoryBytesMax / chunkBytes
	r.free, r.full = make(chan *chunk, chunks), make(chan *chunk, chunks)
	for range chunks {
		r.free <- &chunk{} // its memory comes when it is first used
	}
	var err error
	switch {
	case o.File != "":
		r.sink, err = openFile(r, o.File)
	case o.Writer != nil:
		r.sink = &writerSink{recorder: r, to: o.Writer}
	default:
		r.sink, err = openServer(r, o.Address)
	}
	if err != nil {
		starting.Store(false)
		return nil, err
	}
	for i := range shards {
		shards[i].mu.Lock()
		shards[i].recorder = r
		shards[i].mu.Unlock()
	}
	go r.write()
	active.Store(r)
	return r, nil
}

// Stats gives the counts up to now.
func (r *Recorder) Stats() Stats {
	// Events last: what is counted as written or dropped meanwhile was counted as an event before.
	s := Stats{Written: r.written.Load(), Dropped: r.dropped.Load(), Bytes: r.bytes.Load()}
	s.Events = r.events.Load()
	if err := r.err.Load(); err != nil {
		s.Err = *err
	}
	return s
}

// fail keeps the first error.
func (r *Recorder) fail(err error) { r.err.CompareAndSwap(nil, &err) }

// Flush returns when everything that had happened before is written, or acknowledged by the server, or
// dropped. It gives the first error in writing since Start.
func (r *Recorder) Flush() error {
	r.collect(true)
	done := make(chan struct{})
	select {
	case r.flush <- done:
		<-done
	case <-r.over:
	}
	return r.Stats().Err
}

// Close ends the recording: it writes what is in the buffers, and gives the first error in writing
// since Start. Events that happen from now on are not recorded.
func (r *Recorder) Close() error {
	if !r.closed.CompareAndSwap(false, true) {
		<-r.over
		return r.Stats().Err
	}
	active.Store(nil)
	close(r.stop) // who waits for room gives up, and with it the lock of its shard
	for i := range shards {
		sh := &shards[i]
		sh.mu.Lock()
		sh.handOver()
		sh.recorder = nil
		sh.mu.Unlock()
	}
	close(r.full)
	<-r.over
	starting.Store(false)
	return r.Stats().Err
}

// collect hands over the partly filled chunks. The writer must not wait for a shard's lock, whose
// holder may be waiting for the writer.
func (r *Recorder) collect(wait bool) {
	for i := range shards {
		sh := &shards[i]
		if wait {
			sh.mu.Lock()
		} else if !sh.mu.TryLock() {
			continue // busy: its chunk is filling up
		}
		if sh.recorder == r {
			sh.handOver()
		}
		sh.mu.Unlock()
	}
}

// write is the goroutine that empties the chunks.
func (r *Recorder) write() {
	defer close(r.over)
	tick := time.NewTicker(r.options.FlushInterval)
	defer tick.Stop()
	for {
		select {
		case c, ok := <-r.full:
			if !ok {
				r.sink.close()
				return
			}
			r.sink.write(c)
		case <-tick.C:
			r.collect(false)
		case done := <-r.flush:
			for n := len(r.full); n > 0; n-- {
				if c, ok := <-r.full; ok {
					r.sink.write(c)
				}
			}
			r.sink.flush()
			close(done)
		}
	}
}
