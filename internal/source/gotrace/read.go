package gotrace

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/exp/trace"

	"github.com/pastcone/pastcone/internal/source"
)

// The defaults and bounds of Options.
const (
	BatchEventsDefault         = 4096
	BatchEventsMax             = 65536
	StackFramesDefault         = 16
	StackFramesMax             = 128
	GenerationBytesMaxDefault  = 512 << 20
	chunkEventsMax             = 2048 // on the way from the reader to the builder: fewer cost more wakings, more do not stay in the cache
	chunksAtOnce               = 8
	inputBufferBytes           = 256 << 10
	arenaBytesMax              = 4 << 20 // a batch is handed over when its payload is that large
	reasonBytesMax             = 400     // of what the trace reader says about a broken trace
	versionOldest, versionLast = 11, 26  // the minor versions of Go whose formats are read
)

// The errors that Read gives for inputs that it can not read, or not to the end.
var (
	// ErrBroken says that the trace can not be read beyond some place. What was before it has been handed over.
	ErrBroken = errors.New("broken trace")
	// ErrVersion says that the trace's format is too old or too new.
	ErrVersion = errors.New("format version not supported")
	// ErrNoTrace says that the input is no Go execution trace at all.
	ErrNoTrace = errors.New("no Go execution trace")
)

// Options say how to read. The zero Options are fine.
type Options struct {
	BatchEvents int // trace events that become one batch; 0: BatchEventsDefault
	// StackFrames is how many frames of the stack of a wait or a system call are kept in its data; 0: StackFramesDefault,
	// negative: none.
	StackFrames int
	// GenerationBytesMax bounds what the trace reader holds in memory: one generation of the trace, about a second of the
	// program's run. 0: GenerationBytesMaxDefault.
	GenerationBytesMax int64
	Progress           func(Stats) // called after each batch; must not block
}

func (o Options) withDefaults() (Options, error) {
	if o.BatchEvents == 0 {
		o.BatchEvents = BatchEventsDefault
	}
	if o.StackFrames == 0 {
		o.StackFrames = StackFramesDefault
	}
	if o.GenerationBytesMax == 0 {
		o.GenerationBytesMax = GenerationBytesMaxDefault
	}
	switch {
	case o.BatchEvents < 1 || o.BatchEvents > BatchEventsMax:
		return o, fmt.Errorf("go trace: %d events a batch: it must be from 1 to %d", o.BatchEvents, BatchEventsMax)
	case o.StackFrames > StackFramesMax:
		return o, fmt.Errorf("go trace: %d frames of a stack: it must be at most %d", o.StackFrames, StackFramesMax)
	case o.GenerationBytesMax < 1:
		return o, fmt.Errorf("go trace: %d bytes a generation: it must be at least 1", o.GenerationBytesMax)
	}
	return o, nil
}

// Stats counts what has been read and handed over. TraceEvents = Used + Skipped.
type Stats struct {
	InputBytes  int64 // read from the input so far
	TraceEvents int64 // in the trace, synchronization points included
	Used        int64 // of them: that made an event, or are told by one (scheduling of a waking)
	Skipped     int64 // of them: processors, heap sizes, samples, preemption
	Events      int64 // handed over
	Streams     int64 // goroutines seen
	Messages    int64 // inferred: a send and its receive
	Wakes       int64 // other wakings with a waker
	Batches     int64
	Generations int64
	Version     int  // the minor Go version of the trace's format
	WallClock   bool // times are those of the wall clock; else ns since the trace's first event
}

// chunk is a stretch of the trace on its way from the reader to the builder.
type chunk struct {
	events []trace.Event
	ended  []trace.Task // of the ends of tasks among them, in order: what they are called the trace reader only tells its own goroutine
	input  int64        // bytes read from the input when it was cut
	err    error        // why there is no further chunk; io.EOF at the end of a whole trace
}

// Read reads a Go execution trace to the end of in, and hands its events to the sink in batches. file is the
// name of the input, for messages. It reads the formats of Go 1.11 to 1.26.
//
// It fails with [ErrNoTrace] or [ErrVersion] before anything is handed over, and with [ErrBroken] where the trace can
// not be read on: what was readable before has been handed over then, and the rest is reported to the sink as rejected.
// When ctx ends while in.Read blocks, Read returns all the same; the goroutine that waits goes when in.Read does.
func Read(ctx context.Context, in io.Reader, file string, o Options, sink source.Sink) (Stats, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Stats{}, err
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	counted := &countingReader{in: in, limit: o.GenerationBytesMax}
	free := make(chan *chunk, chunksAtOnce)
	full := make(chan *chunk, chunksAtOnce)
	for range chunksAtOnce {
		free <- &chunk{events: make([]trace.Event, 0, min(o.BatchEvents, chunkEventsMax))}
	}
	version := make(chan int, 1)
	go cut(inner, counted, version, free, full)

	b, err := newBuilder(o, sink)
	if err != nil {
		return Stats{}, fmt.Errorf("%s: %w", file, err)
	}
	for {
		select {
		case <-ctx.Done():
			return b.stats, fmt.Errorf("%s: after %d events: %w", file, b.stats.Events, ctx.Err())
		case v := <-version:
			b.stats.Version = v
		case c := <-full:
			err := b.add(ctx, c)
			if err == nil {
				err = c.err
			}
			switch {
			case err == nil:
				c.events, c.ended = c.events[:0], c.ended[:0]
				free <- c
				continue
			case err == io.EOF:
				if b.stats.TraceEvents > b.stats.Generations+1 {
					return b.stats, nil
				}
				return b.stats, b.broken(file, fmt.Errorf("%w: it holds no events: the program ended before runtime/trace.Stop", ErrBroken))
			case errors.Is(err, ErrBroken):
				return b.stats, b.broken(file, err)
			}
			return b.stats, fmt.Errorf("%s: after %d events: %w", file, b.stats.Events, err)
		}
	}
}

// broken reports the unreadable rest to the sink, and makes the error that says so.
func (b *builder) broken(file string, err error) error {
	why := source.Rejected{File: file, Offset: b.stats.InputBytes, Reason: err.Error()}
	if rejectErr := b.sink.Reject(why); rejectErr != nil {
		return fmt.Errorf("%s: rejecting the rest: %w", file, rejectErr)
	}
	return fmt.Errorf("%s: near byte %d: %w; the %d events before it are kept", file, b.stats.InputBytes, err, b.stats.Events)
}

// cut is the reader goroutine: it reads the trace and cuts it into chunks until it ends. The last chunk has an error.
func cut(ctx context.Context, in *countingReader, version chan<- int, free <-chan *chunk, full chan<- *chunk) {
	next := func() *chunk {
		select {
		case <-ctx.Done():
			return nil
		case c := <-free:
			return c
		}
	}
	c := next()
	if c == nil {
		return
	}
	finish := func(err error) {
		c.err, c.input = err, in.n
		full <- c // has room for all chunks
	}
	buffered := bufio.NewReaderSize(in, inputBufferBytes)
	v, err := checkHeader(buffered)
	if err != nil {
		finish(err)
		return
	}
	version <- v
	r, err := openReader(buffered)
	if err != nil {
		finish(in.explain(err))
		return
	}
	for {
		err := fill(r, c, in)
		if err != nil {
			finish(in.explain(err))
			return
		}
		c.input = in.n
		full <- c
		if c = next(); c == nil {
			return
		}
	}
}

// fill reads events into the chunk until that is full, or a generation begins. The trace reader panics on some broken
// traces.
func fill(r *trace.Reader, c *chunk, in *countingReader) (err error) {
	defer recovered(&err)
	for len(c.events) < cap(c.events) {
		e, err := r.ReadEvent()
		if err != nil {
			return err
		}
		if e.Kind() == trace.EventTaskEnd {
			c.ended = append(c.ended, e.Task())
		}
		c.events = append(c.events, e)
		if e.Kind() == trace.EventSync {
			in.mark()
			return nil
		}
	}
	return nil
}

// checkHeader looks at the first bytes, without taking them, and gives the minor version of Go in it.
func checkHeader(in *bufio.Reader) (int, error) {
	head, err := in.Peek(HeaderBytes)
	if len(head) == 0 && err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	v, ok := Version(head)
	if !ok {
		return 0, fmt.Errorf("%w: it begins with %q, a trace begins with \"go 1.\", the version and \" trace\"", ErrNoTrace, head)
	}
	switch {
	case v < versionOldest:
		return 0, fmt.Errorf("%w: it is a trace of Go 1.%d, from before Go 1.11; no tool converts it: look at it with 'go tool trace' of Go 1.21, or record it again with Go 1.22 or later", ErrVersion, v)
	case v > versionLast:
		return 0, fmt.Errorf("%w: it is a trace in the format of Go 1.%d, newer than the last that this version of Pastcone reads, Go 1.%d: update Pastcone, or record it with an older Go", ErrVersion, v, versionLast)
	}
	return v, nil
}

// HeaderBytes is how many bytes of an input Version needs.
const HeaderBytes = 16

// Version gives the minor version of Go in the header of a Go execution trace: 26 for "go 1.26 trace". The second result says
// whether head is one.
func Version(head []byte) (int, bool) {
	const before, after = "go 1.", " trace\x00\x00\x00"
	rest, ok := strings.CutPrefix(string(head), before)
	if !ok {
		return 0, false
	}
	v, digits := 0, 0
	for digits < len(rest) && digits < 3 && '0' <= rest[digits] && rest[digits] <= '9' {
		v = v*10 + int(rest[digits]-'0')
		digits++
	}
	rest = rest[digits:]
	// A version of one or three digits shifts the padding: the header always has 16 bytes.
	return v, digits > 0 && strings.HasPrefix(rest, " trace\x00") && len(rest) <= len(after)+1
}

// openReader makes the trace reader, which reads an old trace as a whole at once.
func openReader(in *bufio.Reader) (r *trace.Reader, err error) {
	defer recovered(&err)
	return trace.NewReader(in)
}

func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the trace contradicts itself: %v", p)
	}
}

// countingReader counts what is read, and ends the reading where a generation is too long for the memory.
type countingReader struct {
	in    io.Reader
	n     int64 // bytes read; for the reader goroutine
	limit int64 // bytes of one generation
	since int64 // bytes read when the generation began
	err   error // of in, other than io.EOF
}

var errLongGeneration = errors.New("generation too long")

func (c *countingReader) Read(p []byte) (int, error) {
	if c.n-c.since > c.limit {
		c.err = fmt.Errorf("%w: %w: more than %d bytes without a synchronization point; a larger limit needs that much more memory", ErrBroken, errLongGeneration, c.limit)
		return 0, c.err
	}
	n, err := c.in.Read(p)
	c.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

// mark says that a generation has been read.
func (c *countingReader) mark() { c.since = c.n }

// explain tells an input that failed from a trace that is broken, and shortens what the trace reader says: it can
// be pages.
func (c *countingReader) explain(err error) error {
	switch {
	case err == io.EOF: // as it is: a wrapped one says that something ended in its middle
		return io.EOF
	case c.err != nil:
		return c.err
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	text = strings.TrimSuffix(strings.TrimPrefix(text, "broken trace: "), ":")
	if len(text) > reasonBytesMax {
		text = text[:reasonBytesMax] + "…"
	}
	return fmt.Errorf("%w: %s", ErrBroken, text)
}
