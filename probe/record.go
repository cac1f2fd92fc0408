package probe

import (
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// How an event gets into the buffers:
//
//  1. The caller's goroutine encodes what does not depend on the stream's state: fields and data. No
//     lock is held, so the program's own methods (of values in data) may do what they like.
//  2. Under the lock of the stream's shard the event gets its number, and the line is appended to the
//     shard's chunk.
//  3. A full chunk goes to the writer; an empty one takes its place. If there is none, the event is
//     dropped, its number is used up, and it is counted; or the goroutine waits.
//  4. The writer collects partly filled chunks regularly, writes, and gives chunks back.
//
// Invariants: a stream belongs to one shard for ever, and a shard's chunks are written in the order in
// which they were filled; so a stream's lines are in order, and their numbers dense but for drops. The
// number of chunks never changes; full has room for all of them, so handing one over never waits.

const (
	chunkBytes = 64 << 10
	shardCount = 16 // each holds at most one chunk
)

type chunk struct {
	bytes  []byte
	events int
}

// shard is where the events of some of the streams go. There are enough of them that goroutines seldom
// meet at one.
type shard struct {
	mu       sync.Mutex
	recorder *Recorder // nil: nothing records
	chunk    *chunk    // being filled; nil: none
	_        [64]byte  // apart from the next one's cache line
}

var shards [shardCount]shard

// began anchors event times: a wall clock reading that goes on monotonically.
var began = time.Now()
var beganNano = began.UnixNano()

func now() int64 { return beganNano + int64(time.Since(began)) }

// fields are what an event has beside its stream, number and time.
type fields struct {
	kind    string // empty: no event, only what is pending
	at      *place
	inside  bool // only the function of at, not the line
	key     string
	number  uint64 // makes key unique; 0: key is whole
	ordinal uint64
	message string
	child   string
	ref     string
	cause   string
	root    bool
	seen    bool // the runtime records it by itself, where it is patched to
	empty   bool
	closed  bool
	labels  *scope // whose labels the event has; nil: its own scope's
	attrs   []slog.Attr
}

// record puts an event into the buffers. It says whether it is there: it was not dropped, and a
// recording is in progress.
func record(sc *scope, time int64, f *fields) bool {
	if f.labels == nil {
		f.labels = sc
	}
	if !f.seen && ring != nil {
		toRing(f)
	}
	if sc.stream == nil {
		return false
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	rest := (*buffer)[:0]
	if f.kind != "" {
		rest = appendFields(rest, f)
		*buffer = rest // grown, perhaps
	}
	s := sc.stream
	sh := s.shard
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.recorder
	if r == nil {
		return false
	}
	if s.session != r.session {
		s.session, s.seq = r.session, 0
	}
	if s.pending {
		s.pending = false
		if !sh.add(s, time, startFields) && f.kind == "" {
			return false
		}
	}
	return f.kind == "" || sh.add(s, time, rest)
}

// buffers hold the part of a line that is encoded without a lock. Their size is bounded by that of a
// line.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 1024)
	return &b
}}

var startFields = []byte(`"start"}` + "\n")

// add gives the event its number and appends its line. The caller holds the lock.
func (sh *shard) add(s *stream, time int64, rest []byte) bool {
	r := sh.recorder
	s.seq++
	r.events.Add(1)
	const headBytesMax = len(`{"stream":"","seq":,"time":,"kind":`) + 20 + 20
	// A byte of a name takes at most six in JSON.
	need := headBytesMax + 6*len(s.name) + len(rest)
	if c := sh.chunk; c == nil || cap(c.bytes)-len(c.bytes) < need {
		sh.handOver()
		if need > chunkBytes || !sh.take() {
			r.dropped.Add(1)
			return false
		}
	}
	b := append(sh.chunk.bytes, `{"stream":"`...)
	b = appendEscaped(b, s.name)
	b = append(b, `","seq":`...)
	b = strconv.AppendUint(b, s.seq, 10)
	b = append(b, `,"time":`...)
	b = strconv.AppendInt(b, time, 10)
	b = append(b, `,"kind":`...)
	sh.chunk.bytes = append(b, rest...)
	sh.chunk.events++
	return true
}

// handOver gives the shard's chunk to the writer. The caller holds the lock.
func (sh *shard) handOver() {
	if c := sh.chunk; c != nil && c.events > 0 {
		sh.recorder.full <- c
		sh.chunk = nil
	}
}

// take gets an empty chunk. The caller holds the lock.
func (sh *shard) take() bool {
	if sh.chunk != nil {
		return true // it was empty, and is still there
	}
	r := sh.recorder
	select {
	case sh.chunk = <-r.free:
	default:
		if r.options.Policy == Drop {
			return false
		}
		select {
		case sh.chunk = <-r.free:
		case <-r.stop:
			return false
		}
	}
	if sh.chunk.bytes == nil {
		sh.chunk.bytes = make([]byte, 0, chunkBytes)
	}
	return true
}

// giveBack counts what became of a chunk's events and makes it available again. Only sinks call it,
// once for each chunk that they were given.
func (r *Recorder) giveBack(c *chunk, written bool) {
	if written {
		r.bytes.Add(int64(len(c.bytes)))
		r.written.Add(uint64(c.events)) // #nosec G115 -- a count
	} else {
		r.dropped.Add(uint64(c.events)) // #nosec G115 -- a count
	}
	c.bytes, c.events = c.bytes[:0], 0
	r.free <- c
}

// appendFields appends a line from its kind on.
func appendFields(b []byte, f *fields) []byte {
	b = append(append(append(b, '"'), f.kind...), '"')
	if f.at != nil {
		if f.inside {
			b = append(b, f.at.function...)
		} else {
			b = append(b, f.at.whole...)
		}
	}
	if f.key != "" {
		b = append(b, `,"key":`...)
		if f.number == 0 {
			b = appendText(b, f.key, nameBytesMax)
		} else {
			b = append(b, '"')
			b = appendEscaped(b, f.key)
			b = append(strconv.AppendUint(b, f.number, 10), '"')
		}
	}
	if f.ordinal != 0 {
		b = strconv.AppendUint(append(b, `,"ordinal":`...), f.ordinal, 10)
	}
	if f.message != "" {
		b = appendText(append(b, `,"message":`...), f.message, nameBytesMax)
	}
	if f.child != "" {
		b = append(appendEscaped(append(b, `,"child":"`...), f.child), '"')
	}
	if f.ref != "" {
		b = appendText(append(b, `,"ref":`...), f.ref, nameBytesMax)
	}
	if f.cause != "" {
		b = appendText(append(b, `,"cause":`...), f.cause, nameBytesMax)
	}
	if f.root {
		b = append(b, `,"root":true`...)
	}
	if f.empty {
		b = append(b, `,"empty":true`...)
	}
	if f.closed {
		b = append(b, `,"closed":true`...)
	}
	b = appendData(b, f.labels, f.attrs)
	return append(b, '}', '\n')
}

// appendData appends the labels and attributes, each key once: an attribute goes before a label.
func appendData(b []byte, sc *scope, attrs []slog.Attr) []byte {
	if len(sc.labels)+len(attrs) == 0 {
		return b
	}
	b = append(b, `,"data":{`...)
	begin := len(b)
	replaced := false
	for i := range sc.labels {
		replaced = replaced || hasKey(attrs, sc.labels[i].Key)
	}
	if !replaced {
		b = append(b, sc.encoded...)
	} else {
		kept := make([]slog.Attr, 0, len(sc.labels))
		for _, l := range sc.labels {
			if !hasKey(attrs, l.Key) {
				kept = append(kept, l)
			}
		}
		b = appendAttrs(b, kept)
	}
	if middle := len(b); len(attrs) > 0 {
		if middle > begin {
			b = append(b, ',')
		}
		before := len(b)
		if b = appendAttrs(b, attrs); len(b) == before {
			b = b[:middle] // all without a key
		}
	}
	return append(b, '}')
}
