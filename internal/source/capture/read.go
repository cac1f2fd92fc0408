package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/capture"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

// The defaults and bounds of Options.
const (
	BatchEventsDefault = 4096
	BatchEventsMax     = 65536
	arenaBytesMax      = 4 << 20
	rejectRawBytes     = 256
	aheadNanos         = 1_000_000
	placesMax          = programCountersMax
	tableBytesMax      = functionsBytesMax
)

// Options say how to read. The zero Options are fine.
type Options struct {
	BatchEvents int         // events of a batch, about; 0: BatchEventsDefault
	Progress    func(Stats) // called after each batch; must not block
}

// Stats counts what was read. Records = those that made events + those rejected.
type Stats struct {
	InputBytes  int64
	Frames      int64
	Records     int64 // values not counted
	Events      int64
	Rejected    int64 // records, and places in the file that are damaged
	Batches     int64
	Dropped     uint64 // by the program, as it counted
	Overwritten uint64
	Ended       string // how the program ended; empty: the file does not say
	ExitCode    int
	Incomplete  string // why the recording ended before the program did
	Torn        bool   // the file is not whole
}

// Note says what a person should know about the recording; it is empty if there is nothing.
func (s *Stats) Note() string {
	var notes []string
	if s.Incomplete != "" {
		notes = append(notes, s.Incomplete)
	}
	if s.Torn {
		notes = append(notes, "the file is not whole: what was written up to there has been read")
	}
	if s.Dropped > 0 {
		notes = append(notes, fmt.Sprintf("%d records were dropped by the program, since the ring was full", s.Dropped))
	}
	if s.Overwritten > 0 {
		notes = append(notes, "a flight recorder: what was before has been overwritten")
	}
	return strings.Join(notes, "; ")
}

// reader makes events of a capture file. It is used from one goroutine.
type reader struct {
	o      Options
	file   string
	sink   source.Sink
	table  *wire.Table
	in     *frames
	merger merger
	batch  *wire.Batch
	stats  Stats
	err    error // the table is full

	line                  timeline
	aheadTicks, skewTicks uint64
	watermark             uint64 // the last

	streams     map[uint64]*stream
	streamsFree []*stream
	last        *stream
	lastKey     uint64
	lost        uint64
	lostBefore  bool // a flight recorder has overwritten the beginning

	functions []known
	places    map[counter]wire.Site
	asked     map[counter]bool // places where only what was asked for is received

	textGoroutine, textTimer, textChan, textLock wire.Text
	own                                          wire.Name // the stream of Pastcone itself
	ownSeq                                       uint64

	came                    map[uint64]traceContext // by stream: with which the root call came that is next
	entities                map[entityKey]uint64
	elements                map[entityKey]uint64
	entityLast, elementLast uint64

	// Scratch.
	walk       values
	ext        wire.Extension
	from       int
	has        bool
	label, ref []byte
}

// known is a function of the table.
type known struct {
	site      wire.Site
	state     wire.Text // ends in "#"
	queue     wire.Text
	queueTail uint64
	fields    []string // of a root of the standard library: what the values of its calls are called
	args      []string // of others: what the arguments are called, if that is known
}

// Read reads a capture file to its end, and hands its events to the sink in batches. file is its name, for messages. What can
// not be used is reported to the sink, and the rest is read. It fails with [ErrNoCapture] or [ErrVersion] before anything is
// handed over.
func Read(ctx context.Context, in io.Reader, file string, o Options, sink source.Sink) (Stats, error) {
	if o.BatchEvents == 0 {
		o.BatchEvents = BatchEventsDefault
	}
	if o.BatchEvents < 1 || o.BatchEvents > BatchEventsMax {
		return Stats{}, fmt.Errorf("capture file: %d events a batch: it must be from 1 to %d", o.BatchEvents, BatchEventsMax)
	}
	r := &reader{
		o: o, file: file, sink: sink, table: sink.Table(), line: newTimeline(clockReading{}),
		merger: merger{byP: map[uint32]*lane{}}, streams: map[uint64]*stream{}, places: map[counter]wire.Site{}, asked: map[counter]bool{},
		came:     map[uint64]traceContext{},
		entities: map[entityKey]uint64{}, elements: map[entityKey]uint64{},
	}
	r.setSlope()
	r.newBatch(0)
	err := r.names()
	if err == nil {
		r.in, err = openFrames(in)
	}
	if err == nil {
		err = r.all(ctx)
	}
	if r.in != nil {
		r.stats.InputBytes = r.in.offset
	}
	if err != nil {
		return r.stats, fmt.Errorf("%s: %w", file, err)
	}
	return r.stats, nil
}

func (r *reader) names() (err error) {
	for _, t := range [...]struct {
		to   *wire.Text
		text string
	}{{&r.textGoroutine, "g"}, {&r.textTimer, "timer"}, {&r.textChan, "chan"}, {&r.textLock, "lock"}} {
		if *t.to, err = r.table.Intern(t.text); err != nil {
			return err
		}
	}
	r.own, err = r.table.Name("pastcone")
	return err
}

func (r *reader) fail(err error) {
	if err != nil && r.err == nil {
		r.err = err
	}
}

// all reads frame by frame.
func (r *reader) all(ctx context.Context) error {
	for {
		var f frame
		d, err := r.in.next(&f)
		r.stats.InputBytes = r.in.offset
		switch {
		case errors.Is(err, io.EOF):
			if r.stats.Ended == "" {
				r.stats.Torn = true
			}
			if err := r.release(ctx, ^uint64(0)); err != nil {
				return err
			}
			return r.push(ctx)
		case err != nil:
			return err
		case d != nil:
			r.stats.Torn = r.stats.Torn || d.torn
			if err := r.rejectAt(d.offset, d.raw, d.reason); err != nil {
				return err
			}
			continue
		}
		r.stats.Frames++
		why, err := r.use(ctx, &f)
		if err = errors.Join(err, r.err); err != nil {
			return err
		}
		if why != "" {
			if err := r.rejectAt(f.offset, f.content[:min(len(f.content), rejectRawBytes)], why); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("after %d events: %w", r.stats.Events, err)
		}
	}
}

// use takes what a frame says. It gives why it can not.
func (r *reader) use(ctx context.Context, f *frame) (why string, err error) {
	switch f.kind {
	case frameStart:
		var s start
		if err := json.Unmarshal(f.content, &s); err != nil {
			return "the frame that says what the program is: " + err.Error(), nil
		}
		r.line = newTimeline(clockReading{s.StartTicks, s.StartUnix})
		r.line.reach(clockReading{s.Ticks, s.Unix})
		r.setSlope()
	case frameFunctions:
		return r.learnFunctions(f.content), nil
	case framePlaces:
		return r.learnPlaces(f.content), nil
	case frameChunk:
		if len(f.content) < chunkFrameHeader || f.raw < chunkFrameHeader || (f.raw-chunkFrameHeader)%capture.RecordBytes != 0 {
			return fmt.Sprintf("a frame of records with %d bytes: they are no whole records", f.raw), nil
		}
		if p := binary.LittleEndian.Uint32(f.content[8:]); p >= lanesMax {
			return fmt.Sprintf("records of P %d: there are at most %d", p, lanesMax), nil
		}
		if !r.merger.add(f) {
			return "a frame of records that can not be unpacked: its writer was not Pastcone", nil
		}
		if r.merger.held > heldBytesMax { // no watermark comes
			return "", r.release(ctx, ^uint64(0))
		}
	case framePass:
		var p pass
		if err := p.get(f.content); err != nil {
			return err.Error(), nil
		}
		return "", r.passed(ctx, &p)
	case frameSilence:
		return r.silenced(f.content), nil
	case frameEnd:
		var e ending
		if err := json.Unmarshal(f.content, &e); err != nil {
			return "the frame that says how the program ended: " + err.Error(), nil
		}
		until := ^uint64(0)
		if e.How == leftRunning {
			// The chunks were looked at one after the other, while the program went on. What is later than the beginning of that is not
			// whole: a goroutine's last events may be missing and later ones be there, from another P. The recording ends before it.
			until = r.watermark
		}
		if err := r.release(ctx, until); err != nil {
			return "", err
		}
		r.merger.drop()
		r.ended(&e)
	}
	return "", nil
}

// passed merges up to a watermark. A batch does not wait for the next pass: whoever follows sees what has happened.
func (r *reader) passed(ctx context.Context, p *pass) error {
	r.line.reach(p.clockReading)
	r.setSlope()
	r.stats.Dropped, r.stats.Overwritten = p.dropped, p.overwritten
	r.lost = max(r.lost, p.dropped+p.overwritten)
	r.lostBefore = r.lostBefore || p.overwritten > 0
	watermark := p.watermark
	r.watermark = max(r.watermark, watermark)
	if watermark > r.skewTicks {
		watermark -= r.skewTicks
	}
	if err := r.release(ctx, watermark); err != nil {
		return err
	}
	return r.push(ctx)
}

func (r *reader) setSlope() {
	r.aheadTicks = r.line.ticks(aheadNanos)
	r.skewTicks = r.line.ticks(skewNanos)
}

func (r *reader) newBatch(arena int) {
	r.batch = &wire.Batch{Records: make([]wire.Record, 0, r.o.BatchEvents+1), Runs: make([]wire.Run, 0, 256), Arena: make([]byte, 0, arena+arena/8)}
}

// push hands the batch over.
func (r *reader) push(ctx context.Context) error {
	b := r.batch
	n := len(b.Records)
	if n == 0 {
		return nil
	}
	if n < cap(b.Records)/4 { // a small batch leaves its room to the next
		r.batch = &wire.Batch{Records: b.Records[:0], Runs: b.Runs[:0], Arena: b.Arena[:0]}
		b = &wire.Batch{Records: slices.Clone(b.Records), Runs: slices.Clone(b.Runs), Arena: slices.Clone(b.Arena)}
	} else {
		r.newBatch(len(b.Arena))
	}
	if err := r.sink.Push(ctx, b); err != nil {
		return err
	}
	r.stats.Batches++
	if r.o.Progress != nil {
		r.o.Progress(r.stats)
	}
	return nil
}

// reject reports a record: by the frame that it is in, and its number in the chunk.
func (r *reader) reject(p *piece, at, n int, why string) error {
	why = fmt.Sprintf("record %d of chunk %d: %s", p.first+uint32(at/capture.RecordBytes), p.order, why) // #nosec G115 -- at most a chunk
	return r.rejectAt(p.offset, p.records[at:at+min(n, rejectRawBytes)], why)
}

func (r *reader) rejectAt(offset int64, raw []byte, why string) error {
	r.stats.Rejected++
	if err := r.sink.Reject(source.Rejected{File: r.file, Offset: offset, Raw: raw, Reason: why}); err != nil {
		return fmt.Errorf("rejecting at %d: %w", offset, err)
	}
	return nil
}

// learnFunctions takes lines of the table of functions.
func (r *reader) learnFunctions(lines []byte) (why string) {
	for line := range bytes.Lines(lines) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		f, err := parseFunction(line)
		if err != nil {
			why = fmt.Sprintf("a line of the table of functions: %v", err)
			continue
		}
		for uint64(f.ID) >= uint64(len(r.functions)) {
			r.functions = append(r.functions, known{})
		}
		k := &r.functions[f.ID]
		k.site, err = r.table.SiteOf(f.Func, f.File, int(f.Line))
		r.fail(err)
		if f.State != "" {
			k.state, err = r.table.Intern(f.State + "#")
			r.fail(err)
		}
		queue := f.Func
		if i := strings.LastIndexByte(queue, '.'); i > 0 {
			queue = queue[:i]
		}
		name, err := r.table.Name(queue)
		r.fail(err)
		k.queue = name.Text()
		if tail, is := name.Tail(); is {
			k.queueTail = tail + 1
		}
		k.fields = rootFields(f.Func)
		for i, name := range f.Args {
			if name == "" || name == "_" {
				name = "arg" + strconv.Itoa(i)
			}
			quoted, err := json.Marshal(name)
			if err != nil {
				return err.Error()
			}
			k.args = append(k.args, string(quoted)+":")
		}
	}
	return why
}

// rootFields names the values of the roots of the standard library: see patch.Functions.
func rootFields(function string) []string {
	switch {
	case strings.HasPrefix(function, "net/http."):
		return []string{`"method":`, `"path":`}
	case strings.HasPrefix(function, "testing."):
		return []string{`"test":`}
	}
	return nil
}

func (r *reader) learnPlaces(content []byte) (why string) {
	for len(content) > 0 {
		c, l, rest, err := cutLocation(content)
		if err != nil {
			return err.Error()
		}
		content = rest
		if len(r.places) >= placesMax {
			return fmt.Sprintf("more than %d places", placesMax)
		}
		site, err := r.table.SiteOf(l.function, l.file, int(l.line))
		r.fail(err)
		r.places[c] = site
		if waitsForItsOwn(l.function) {
			r.asked[c] = true
		}
	}
	return ""
}

// waitsForItsOwn says that what a function of the standard library receives is the answer to what its caller has asked for, never work
// that somebody hands it: a client that waits for a connection, or for a response, stays with its own work. The rules of causality could
// take such a receive of an idle goroutine for the beginning of a job.
func waitsForItsOwn(function string) bool {
	for _, prefix := range [...]string{"net/http.(*Transport).", "net/http.(*persistConn).roundTrip", "net/http.(*http2ClientConn).", "net/http.(*http2clientStream).", "net.(*Resolver).", "net.(*sysDialer)."} {
		if strings.HasPrefix(function, prefix) {
			return true
		}
	}
	return false
}

// note adds an event of Pastcone's own stream. Its data has been written since from.
func (r *reader) note(kind event.Kind, unix int64, site wire.Site, from int) {
	r.ownSeq++
	r.add(r.own, &wire.Record{
		Kind: kind, Time: unix, Seq: r.ownSeq, Site: site,
		DataOff: uint32(from), DataLen: uint32(len(r.batch.Arena) - from), // #nosec G115 -- the arena is bounded
	})
}

// silenced makes metrics of what silent functions did.
func (r *reader) silenced(content []byte) (why string) {
	if len(content) < 8 || (len(content)-8)%silenceBytes != 0 {
		return fmt.Sprintf("a frame of silent functions with %d bytes", len(content))
	}
	unix := int64(binary.LittleEndian.Uint64(content)) // #nosec G115 -- a time
	for content = content[8:]; len(content) > 0; content = content[silenceBytes:] {
		var s silence
		s.get(content)
		if s.function == 0 || uint64(s.function) >= uint64(len(r.functions)) {
			why = fmt.Sprintf("a count of function %d, which is not in the table", s.function)
			continue
		}
		from := len(r.batch.Arena)
		r.text(`{"name":"calls without a record","value":`).number64(s.calls).text(`,"calls":`).number64(s.calls).text(`,"nanoseconds":`).number64(r.line.nanos(s.ticks)).text(`,"silenced":`)
		r.batch.Arena = append(strconv.AppendBool(r.batch.Arena, s.silent), '}')
		r.note(event.KindMetric, unix, r.functions[s.function].site, from)
	}
	return why
}

// ended notes how the program ended.
func (r *reader) ended(e *ending) {
	r.stats.Ended, r.stats.ExitCode, r.stats.Incomplete = e.How, e.ExitCode, e.Incomplete
	from := len(r.batch.Arena)
	r.text(`{"reason":`)
	r.batch.Arena = appendQuoted(r.batch.Arena, []byte(e.How[:min(len(e.How), 100)]))
	if e.How == "exit" {
		r.text(`,"exit_code":`)
		r.batch.Arena = strconv.AppendInt(r.batch.Arena, int64(e.ExitCode), 10)
	}
	if e.Signal != 0 {
		r.text(`,"signal":`).number64(uint64(e.Signal))
	}
	for _, n := range [...]struct {
		name  string
		count uint64
	}{{"dropped", e.Dropped}, {"overwritten", e.Overwritten}} {
		if n.count > 0 {
			r.text(`,"` + n.name + `":`).number64(n.count)
		}
	}
	if e.Incomplete != "" {
		r.text(`,"incomplete":`)
		r.batch.Arena = appendQuoted(r.batch.Arena, []byte(e.Incomplete[:min(len(e.Incomplete), 1000)]))
	}
	r.text(`}`)
	r.note(event.KindExit, r.line.to.unix, 0, from)
}
