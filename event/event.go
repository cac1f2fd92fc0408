package event

import (
	"encoding/json"
	"strconv"
	"time"
)

// ID names an event in its recording. Ids are dense, begin at 1, and ascend in the order of storage;
// a cause's id is smaller than its effect's, late edges aside. 0 is no event.
type ID uint64

// String gives the id in decimal.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 10) }

// GlobalRef begins references that are those of a whole recording, not of one source: they join processes. The rest is the
// trace id and the span id of a W3C traceparent, with a dash between.
const GlobalRef = "trace:"

// Event is one occurrence in one stream, with what was worked out about it.
//
// Stream, Seq, Time and Kind are required; everything else is optional, and what is absent is the
// zero value. This is the form for people and for programs at the edge; inside, events travel as
// compact records in batches.
type Event struct {
	// What happened: given by the source.

	Stream string `json:"stream"` // the sequential unit it happened in
	Seq    uint64 `json:"seq"`    // its place in the stream, from 1, without holes
	Time   int64  `json:"time"`   // ns since the Unix epoch
	Kind   Kind   `json:"kind"`

	Func string `json:"func,omitempty"` // function, as Go prints it: package path and name
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`

	Key     string   `json:"key,omitempty"`     // the channel, lock, mailbox or state entity
	Ordinal uint64   `json:"ordinal,omitempty"` // the k-th operation on that end of the key, from 1
	Message string   `json:"message,omitempty"` // a message id, the same on both ends
	Peer    string   `json:"peer,omitempty"`    // the other stream of a message
	Child   string   `json:"child,omitempty"`   // the stream that a spawn creates
	Ref     string   `json:"ref,omitempty"`     // a name for this event, for others to refer to
	Cause   []string `json:"cause,omitempty"`   // names of events that caused this one; the first is the parent

	Root   bool  `json:"root,omitempty"`   // declared to found a piece of work
	Empty  bool  `json:"empty,omitempty"`  // a message without content
	Closed bool  `json:"closed,omitempty"` // a receive that found its channel closed
	Takes  *bool `json:"takes,omitempty"`  // overrides whether a receive takes on work

	Inferred bool `json:"inferred,omitempty"` // the source itself has inferred what a message, close, lock or wake came from
	Unseen   bool `json:"unseen,omitempty"`   // what a receive or an acquire came from left no record, and will not come

	Data json.RawMessage `json:"data,omitempty"` // a JSON object of any further values
	// Extra holds the fields that this version does not know, by name. They are kept and given back.
	Extra map[string]json.RawMessage `json:"-"`

	// What was worked out: given by the correlator.

	ID                    ID            `json:"id,omitempty"`
	Parent                ID            `json:"parent,omitempty"` // 0: none
	Correlation           ID            `json:"correlation,omitempty"`
	Position              uint32        `json:"position,omitempty"` // number of parents up to the founder of its correlation
	Background            bool          `json:"background,omitempty"`
	Duration              time.Duration `json:"duration,omitempty"`     // of a return: since its call
	Confidence            Confidence    `json:"confidence"`             // of the parent
	CorrelationConfidence Confidence    `json:"correlation_confidence"` // the weakest on the way to the founder
	Causes                []Edge        `json:"causes,omitempty"`       // the parent's edge first, then the further ones
}

// Edge is one cause of the event that holds it.
type Edge struct {
	ID         ID         // the cause; 0 when it is missing (confidence gap)
	Kind       EdgeKind   // how the two are joined
	Confidence Confidence // how sure that is
	P          float64    // the probability, when inferred; 1 when exact, 0 when missing
}

// Field describes one field of an event line.
type Field struct {
	Name     string
	Type     string // string, integer, boolean, strings, object, edges
	Required bool
	Result   bool // worked out by Pastcone, ignored on input
	Means    string
}

// Fields is the table of all fields of an event line, in the order in which they are written.
var Fields = [...]Field{
	{"stream", "string", true, false, "the sequential unit it happened in: a goroutine, a process, a span"},
	{"seq", "integer", true, false, "its place in the stream, from 1, without holes"},
	{"time", "integer", true, false, "nanoseconds since the Unix epoch"},
	{"kind", "string", true, false, "what it is"},
	{"func", "string", false, false, "the function"},
	{"file", "string", false, false, "the source file"},
	{"line", "integer", false, false, "the line in it"},
	{"key", "string", false, false, "the channel, lock, mailbox or state entity"},
	{"ordinal", "integer", false, false, "the k-th operation on that end of the key, from 1"},
	{"message", "string", false, false, "a message id, the same on both ends"},
	{"peer", "string", false, false, "the other stream of a message"},
	{"child", "string", false, false, "the stream that a spawn creates"},
	{"ref", "string", false, false, "a name for this event"},
	{"cause", "strings", false, false, "the ref of the event that caused this one, or a list of them; the first is the parent"},
	{"root", "boolean", false, false, "it founds a piece of work: a request, a job, a test"},
	{"empty", "boolean", false, false, "a message without content"},
	{"closed", "boolean", false, false, "a receive that found its channel closed"},
	{"takes", "boolean", false, false, "overrides whether a receive takes on work"},
	{"inferred", "boolean", false, false, "the source itself has inferred what this message, close, lock or wake came from"},
	{"unseen", "boolean", false, false, "what this receive or acquire came from left no record: a gap at once, nothing is waited for"},
	{"data", "object", false, false, "any further values"},
	{"id", "integer", false, true, "its number in the recording"},
	{"parent", "integer", false, true, "the id of the event on whose behalf it happened"},
	{"correlation", "integer", false, true, "the id of the event that founded its group"},
	{"position", "integer", false, true, "the number of parents up to that founder"},
	{"background", "boolean", false, true, "its correlation is no work: main, waiting workers, accept loops"},
	{"duration", "integer", false, true, "nanoseconds since the call that this returns from"},
	{"confidence", "string", false, true, "how sure the parent is"},
	{"correlation_confidence", "string", false, true, "the weakest confidence on the way to the founder"},
	{"causes", "edges", false, true, "the parent's edge, then the further edges"},
}
