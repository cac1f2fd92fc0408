package ndjson

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"unicode/utf8"

	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

// The defaults and bounds of Options.
const (
	ChunkBytesDefault   = 256 << 10
	ChunkBytesMax       = 16 << 20
	LineBytesMaxDefault = 1 << 20
	LineBytesMaxMax     = 64 << 20

	// RejectRawBytesMax bounds what is kept of a rejected line.
	RejectRawBytesMax = 4096

	// With ChunkEvents an event is taken for so many bytes, and a chunk has at least so many.
	eventBytesAbout = 64
	chunkBytesLeast = 4 << 10
)

// Options say how to read. The zero Options are fine.
type Options struct {
	Workers      int         // decoders at work at once; 0: one a CPU
	ChunkBytes   int         // what one decoder gets at a time; 0: ChunkBytesDefault
	LineBytesMax int         // a longer line is rejected; 0: LineBytesMaxDefault
	ChunkEvents  func() int  // in place of ChunkBytes: asked before each chunk how many events it shall hold, about
	Strict       bool        // stop at the first line that is rejected
	Progress     func(Stats) // called after each chunk, one call at a time; must not block
}

func (o Options) withDefaults() (Options, error) {
	for _, s := range []struct {
		name         string
		value        *int
		initial, max int
	}{
		{"workers", &o.Workers, runtime.GOMAXPROCS(0), 1024},
		{"chunk size in bytes", &o.ChunkBytes, ChunkBytesDefault, ChunkBytesMax},
		{"line length in bytes", &o.LineBytesMax, LineBytesMaxDefault, LineBytesMaxMax},
	} {
		if *s.value == 0 {
			*s.value = s.initial
		}
		if *s.value < 1 || *s.value > s.max {
			return o, fmt.Errorf("event lines: %s is %d: it must be from 1 to %d", s.name, *s.value, s.max)
		}
	}
	return o, nil
}

// Stats counts what has been read and handed over. Lines = Events + Rejected + Empty + Gaps.
type Stats struct {
	InputBytes int64 // read from the input as it is, so far: runs ahead of the rest
	Bytes      int64 // of lines dealt with, after decompression
	Lines      int64
	Events     int64
	Rejected   int64
	Empty      int64 // lines with nothing but space
	Gaps       int64 // gap lines: skipped, the correlator finds the holes itself
	Batches    int64
}

func (s *Stats) add(o Stats) {
	s.Lines += o.Lines
	s.Events += o.Events
	s.Rejected += o.Rejected
	s.Empty += o.Empty
	s.Gaps += o.Gaps
	s.Batches += o.Batches
}

// chunk is a stretch of whole lines on its way from the splitter through a decoder to the sink.
type chunk struct {
	text   []byte // the last line ends with a line feed too
	line   int    // number of the first line
	offset int64  // of the first byte, after decompression
	long   bool   // text is the beginning of one line that is too long, and that is all
	end    int64  // offset behind the last byte
	input  int64  // bytes read from the input when this chunk was cut

	done    chan struct{} // one token when a decoder is done with it
	batch   *wire.Batch
	rejects []source.Rejected
	stats   Stats
}

// Read reads event lines to the end of in, and hands them to the sink in batches. file is the name of
// the input, for messages. gzip and zstd are told by their first bytes and decompressed; line feeds may
// have a carriage return before them, the first line a byte order mark, and the last line need not end.
//
// It stops early, with an error, when in or the sink fails, when ctx ends, and with Options.Strict at
// the first rejected line (the error is then a [source.Rejected], and every line before that one has been handed
// over). When ctx ends while in.Read blocks, Read returns all the same; the goroutine that waits goes when in.Read does.
func Read(ctx context.Context, in io.Reader, file string, o Options, sink source.Sink) (Stats, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Stats{}, err
	}
	inner, cancel := context.WithCancel(ctx)
	r := &reading{
		o: o, file: file, sink: sink,
		free:   make(chan *chunk, 2*o.Workers+1),
		decode: make(chan *chunk, 2*o.Workers+1),
		inTurn: make(chan *chunk, 2*o.Workers+1),
	}
	for range cap(r.free) {
		r.free <- &chunk{done: make(chan struct{}, 1)}
	}
	var workers sync.WaitGroup
	for range o.Workers {
		workers.Go(func() { r.work(inner) })
	}
	defer workers.Wait()
	defer cancel()
	go r.split(inner, in)
	err = r.deliver(ctx)
	return r.stats, err
}

// reading is one call of Read. The three channels have room for all chunks, so that only taking one
// ever blocks.
type reading struct {
	o    Options
	file string
	sink source.Sink

	free   chan *chunk // empty ones
	decode chan *chunk // for any decoder; closed by the splitter
	inTurn chan *chunk // the same, in file order, for the sink; closed by the splitter

	splitErr error // why the splitter ended; to be read after inTurn is closed
	stats    Stats
}

// split cuts the input into chunks until it ends.
func (r *reading) split(ctx context.Context, in io.Reader) {
	defer close(r.decode)
	defer close(r.inTurn)
	s := splitter{chunkBytes: r.o.ChunkBytes, lineBytesMax: r.o.LineBytesMax, line: 1}
	if err := s.open(in); err != nil {
		r.splitErr = fmt.Errorf("at the beginning: %w", err)
		return
	}
	defer s.close()
	for {
		select {
		case <-ctx.Done():
			r.splitErr = ctx.Err()
			return
		case c := <-r.free:
			if r.o.ChunkEvents != nil {
				s.chunkBytes = min(max(eventBytesAbout*r.o.ChunkEvents(), chunkBytesLeast), ChunkBytesMax)
			}
			err := s.next(c)
			if len(c.text) > 0 {
				r.inTurn <- c
				r.decode <- c
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					r.splitErr = fmt.Errorf("line %d, offset %d: %w", s.line, s.offset, err)
				}
				return
			}
		}
	}
}

// work decodes chunks until there are none.
func (r *reading) work(ctx context.Context) {
	d := newDecoder(r.sink.Table())
	for {
		select {
		case <-ctx.Done():
			return
		case c, ok := <-r.decode:
			if !ok {
				return
			}
			r.decodeChunk(d, c)
			c.done <- struct{}{}
		}
	}
}

// deliver hands the decoded chunks to the sink, in file order.
func (r *reading) deliver(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return r.failed(ctx.Err())
		case c, ok := <-r.inTurn:
			if !ok {
				if r.splitErr != nil {
					return r.failed(r.splitErr)
				}
				return nil
			}
			select {
			case <-ctx.Done():
				return r.failed(ctx.Err())
			case <-c.done:
			}
			if err := r.deliverChunk(ctx, c); err != nil {
				return err
			}
			r.free <- c
		}
	}
}

func (r *reading) deliverChunk(ctx context.Context, c *chunk) error {
	if c.batch != nil {
		if err := r.sink.Push(ctx, c.batch); err != nil {
			return r.failed(fmt.Errorf("handing over lines %d to %d: %w", c.line, int64(c.line)+c.stats.Lines-1, err))
		}
	}
	for _, reject := range c.rejects {
		if err := r.sink.Reject(reject); err != nil {
			return r.failed(fmt.Errorf("rejecting line %d: %w", reject.Line, err))
		}
	}
	r.stats.add(c.stats)
	r.stats.InputBytes, r.stats.Bytes = c.input, c.end
	if r.o.Progress != nil {
		r.o.Progress(r.stats)
	}
	if r.o.Strict && len(c.rejects) > 0 {
		return c.rejects[0]
	}
	c.batch, c.rejects, c.stats = nil, nil, Stats{}
	return nil
}

func (r *reading) failed(err error) error { return fmt.Errorf("event lines of %s: %w", r.file, err) }

// decodeChunk fills in what a chunk comes to.
func (r *reading) decodeChunk(d *decoder, c *chunk) {
	if c.long {
		c.stats.Lines = 1
		r.reject(c, 0, c.text, r.tooLong())
		return
	}
	// One look at the chunk is cheaper than one at each line, and mostly it is enough.
	valid := utf8.Valid(c.text)
	short := len(c.text) <= r.o.LineBytesMax
	for i := 0; i < len(c.text) && (!r.o.Strict || len(c.rejects) == 0); i++ {
		from := i
		c.stats.Lines++
		what := lineBad
		if valid && short {
			i, what = d.line(c.text, i)
		} else {
			line := c.text[i : i+bytes.IndexByte(c.text[i:], '\n')]
			if len(line) > r.o.LineBytesMax {
				i += len(line)
				r.reject(c, from, line, r.tooLong())
				continue
			}
			if utf8.Valid(line) {
				i, what = d.line(c.text, i)
			}
		}
		switch what {
		case lineEvent:
			c.stats.Events++
		case lineEmpty:
			c.stats.Empty++
		case lineGap:
			c.stats.Gaps++
		case lineFull:
			r.reject(c, from, c.text[from:i], d.full.Error()+": names that are new do not fit; begin a new recording, or give its table more room")
		case lineBad:
			i += bytes.IndexByte(c.text[i:], '\n')
			r.reject(c, from, c.text[from:i], why(c.text[from:i]))
		}
	}
	if c.batch = d.batch(); c.batch != nil {
		c.stats.Batches = 1
	}
}

func (r *reading) tooLong() string {
	return fmt.Sprintf("longer than %d bytes: make the event smaller, or allow longer lines", r.o.LineBytesMax)
}

// reject notes that a line, which begins at text[at], is not used.
func (r *reading) reject(c *chunk, at int, raw []byte, reason string) {
	c.stats.Rejected++
	c.rejects = append(c.rejects, source.Rejected{
		File:   r.file,
		Line:   c.line + int(c.stats.Lines) - 1,
		Offset: c.offset + int64(at),
		Raw:    bytes.Clone(raw[:min(len(raw), RejectRawBytesMax+1)]), // the one more shows the rejects file that it is but the beginning
		Reason: reason,
	})
}
