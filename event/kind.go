package event

import "fmt"

// Kind says what an event is. The zero Kind is invalid. The numbers are part of the recording
// format: never renumber, only append.
type Kind uint8

// The kinds of events.
const (
	KindInvalid Kind = iota
	KindCall         // a function was entered
	KindReturn       // a function returned; ends its call
	KindSpawn        // a stream was created; names the child
	KindStart        // the first event of a spawned stream
	KindExit         // the last event of a stream
	KindSend         // a message was handed over
	KindReceive      // a message was taken
	KindClose        // a channel was closed, a context cancelled
	KindAcquire      // a lock was taken
	KindRelease      // a lock was given back
	KindWake         // the stream goes on, because another event made it
	KindState        // a value that outlives the call changed
	KindError        // an error or a panic was raised
	KindLog          // a line of a log, or any other remark
	KindMetric       // a measured number
	KindGap          // events of this stream are missing here
	kindEnd
)

// KindInfo describes a kind: its name in event lines, what it means, and which of the optional
// fields carry meaning on it.
type KindInfo struct {
	Kind   Kind
	Name   string
	Means  string
	Fields []string // names of [Fields] with a meaning on this kind, beyond those of every kind
}

// Kinds is the table of all kinds, in the order of their numbers.
var Kinds = [...]KindInfo{
	{KindCall, "call", "a function was entered", []string{"root"}},
	{KindReturn, "return", "a function returned; ends its call, carries the duration", nil},
	{KindSpawn, "spawn", "a stream was created", []string{"child"}},
	{KindStart, "start", "the first event of a spawned stream", nil},
	{KindExit, "exit", "the last event of a stream; closes what is open", nil},
	{KindSend, "send", "a message was handed over", []string{"key", "ordinal", "message", "peer", "empty"}},
	{KindReceive, "receive", "a message was taken", []string{"key", "ordinal", "message", "peer", "empty", "closed", "takes", "inferred", "unseen"}},
	{KindClose, "close", "a channel was closed or a context cancelled", []string{"key"}},
	{KindAcquire, "acquire", "a lock was taken", []string{"key", "ordinal", "inferred", "unseen"}},
	{KindRelease, "release", "a lock was given back", []string{"key", "ordinal"}},
	{KindWake, "wake", "a waiting stream goes on; its cause is the event that woke it", []string{"inferred"}},
	{KindState, "state", "a value that outlives the call changed", []string{"key"}},
	{KindError, "error", "an error or a panic was raised", nil},
	{KindLog, "log", "a line of a log, or any other remark", nil},
	{KindMetric, "metric", "a measured number", nil},
	{KindGap, "gap", "events of this stream are missing: from seq on, data.lost of them", nil},
}

// String gives the kind's name in event lines.
func (k Kind) String() string {
	if k.Valid() {
		return Kinds[k-1].Name
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Valid says whether k is one of the kinds of this package.
func (k Kind) Valid() bool { return k > KindInvalid && k < kindEnd }

// ParseKind gives the kind of that name. The second result says whether there is one.
func ParseKind(name string) (Kind, bool) {
	// Lengths and first letters tell all kinds apart cheaply, but the compiler's string switch
	// does as well and cannot go stale: a test holds it against the table.
	switch name {
	case "call":
		return KindCall, true
	case "return":
		return KindReturn, true
	case "spawn":
		return KindSpawn, true
	case "start":
		return KindStart, true
	case "exit":
		return KindExit, true
	case "send":
		return KindSend, true
	case "receive":
		return KindReceive, true
	case "close":
		return KindClose, true
	case "acquire":
		return KindAcquire, true
	case "release":
		return KindRelease, true
	case "wake":
		return KindWake, true
	case "state":
		return KindState, true
	case "error":
		return KindError, true
	case "log":
		return KindLog, true
	case "metric":
		return KindMetric, true
	case "gap":
		return KindGap, true
	}
	return KindInvalid, false
}

// EdgeKind says how a cause and its effect are joined. The zero EdgeKind is invalid. The numbers are
// part of the recording format.
type EdgeKind uint8

// The kinds of edges.
const (
	EdgeInvalid  EdgeKind = iota
	EdgeContext           // from what the stream was doing
	EdgeReturn            // from the call that returns
	EdgeSpawn             // from the spawn to the start of its child
	EdgeMessage           // from a send to its receive
	EdgeClose             // from a close to a receive that found its channel closed
	EdgeLock              // from a release to the acquire that it let in
	EdgeWake              // from the event that woke the stream
	EdgeExplicit          // from an event that the source names as the cause
	edgeEnd
)

// EdgeKindInfo describes an edge kind.
type EdgeKindInfo struct {
	Kind  EdgeKind
	Name  string
	Means string
}

// EdgeKinds is the table of all edge kinds, in the order of their numbers.
var EdgeKinds = [...]EdgeKindInfo{
	{EdgeContext, "context", "from what the stream was doing"},
	{EdgeReturn, "return", "from the call that returns"},
	{EdgeSpawn, "spawn", "from the spawn to its child's first event"},
	{EdgeMessage, "message", "from a send to its receive"},
	{EdgeClose, "close", "from a close to a receive that found its channel closed"},
	{EdgeLock, "lock", "from a release to the acquire that it let in"},
	{EdgeWake, "wake", "from the event that woke the stream"},
	{EdgeExplicit, "explicit", "from an event that the source names as the cause"},
}

// String gives the edge kind's name in event lines.
func (k EdgeKind) String() string {
	if k.Valid() {
		return EdgeKinds[k-1].Name
	}
	return fmt.Sprintf("edge(%d)", uint8(k))
}

// Valid says whether k is one of the edge kinds of this package.
func (k EdgeKind) Valid() bool { return k > EdgeInvalid && k < edgeEnd }

// ParseEdgeKind gives the edge kind of that name. The second result says whether there is one.
func ParseEdgeKind(name string) (EdgeKind, bool) {
	for _, info := range EdgeKinds {
		if info.Name == name {
			return info.Kind, true
		}
	}
	return EdgeInvalid, false
}

// Confidence says how sure an edge, a parent or a correlation is. A larger Confidence is a weaker
// one, so that the weakest on a way is the maximum.
type Confidence uint8

// The confidences, from the strongest to the weakest.
const (
	Exact    Confidence = iota // it is so
	Inferred                   // it is probably so; the edge has a probability
	Gap                        // a cause existed, and is missing
	confidenceEnd
)

// ConfidenceInfo describes a confidence.
type ConfidenceInfo struct {
	Confidence Confidence
	Name       string
	Means      string
}

// Confidences is the table of all confidences, from the strongest to the weakest.
var Confidences = [...]ConfidenceInfo{
	{Exact, "exact", "it is so"},
	{Inferred, "inferred", "it is probably so, with probability p"},
	{Gap, "gap", "the cause existed and is missing"},
}

// String gives the confidence's name in event lines.
func (c Confidence) String() string {
	if c.Valid() {
		return Confidences[c].Name
	}
	return fmt.Sprintf("confidence(%d)", uint8(c))
}

// Valid says whether c is one of the confidences of this package.
func (c Confidence) Valid() bool { return c < confidenceEnd }

// ParseConfidence gives the confidence of that name. The second result says whether there is one.
func ParseConfidence(name string) (Confidence, bool) {
	for _, info := range Confidences {
		if info.Name == name {
			return info.Confidence, true
		}
	}
	return Exact, false
}
