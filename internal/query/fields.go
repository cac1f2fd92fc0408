package query

import (
	"strconv"
	"strings"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// fieldID is a field that a query can name. data.* is one of them, with a path.
type fieldID uint8

const (
	fieldNone fieldID = iota
	fieldEventID
	fieldTime
	fieldSeq
	fieldStream
	fieldSource
	fieldKind
	fieldFunc
	fieldFile
	fieldLine
	fieldKey
	fieldOrdinal
	fieldMessage
	fieldPeer
	fieldChild
	fieldRef
	fieldCause
	fieldRoot
	fieldEmpty
	fieldClosed
	fieldTakes
	fieldInferred
	fieldUnseen
	fieldBackground
	fieldParent
	fieldCorrelation
	fieldPosition
	fieldDuration
	fieldConfidence
	fieldCorrConfidence
	fieldText
	fieldData
)

// fieldType says what a field is compared with.
type fieldType uint8

const (
	typeString fieldType = iota
	typeInteger
	typeTime
	typeDuration
	typeKind
	typeBoolean
	typeConfidence
	typeSource
	typeText // contains, instead of equals
	typeData // whatever the value is
)

// fieldInfo describes a field of a query.
type fieldInfo struct {
	id    fieldID
	name  string
	typ   fieldType
	cols  wire.ColumnSet // what its value needs
	means string
}

// fieldTable is every field that a query can name, in the order of event lines.
var fieldTable = [...]fieldInfo{
	{fieldStream, "stream", typeString, wire.ColStream, "the sequential unit it happened in"},
	{fieldSeq, "seq", typeInteger, wire.ColSeq, "its place in the stream, from 1"},
	{fieldTime, "time", typeTime, wire.ColTime, "when it happened"},
	{fieldKind, "kind", typeKind, wire.ColKind, "what it is"},
	{fieldFunc, "func", typeString, wire.ColSite, "the function"},
	{fieldFile, "file", typeString, wire.ColSite, "the source file"},
	{fieldLine, "line", typeInteger, wire.ColSite, "the line in it"},
	{fieldKey, "key", typeString, wire.ColKey, "the channel, lock, mailbox or state entity"},
	{fieldOrdinal, "ordinal", typeInteger, wire.ColOrdinal, "the k-th operation on that end of the key"},
	{fieldMessage, "message", typeString, wire.ColExt, "the message id"},
	{fieldPeer, "peer", typeString, wire.ColPeer, "the other stream of a message"},
	{fieldChild, "child", typeString, wire.ColChild, "the stream that a spawn creates"},
	{fieldRef, "ref", typeString, wire.ColExt, "the name that its source gave it"},
	{fieldCause, "cause", typeString, wire.ColExt, "any of the refs that its source names as causes"},
	{fieldRoot, "root", typeBoolean, wire.ColFlags, "declared to found a piece of work"},
	{fieldEmpty, "empty", typeBoolean, wire.ColFlags, "a message without content"},
	{fieldClosed, "closed", typeBoolean, wire.ColFlags, "a receive that found its channel closed"},
	{fieldTakes, "takes", typeBoolean, wire.ColFlags, "its source says whether the receive takes on work"},
	{fieldInferred, "inferred", typeBoolean, wire.ColFlags, "its source inferred where the receive comes from"},
	{fieldUnseen, "unseen", typeBoolean, wire.ColFlags, "what the receive or acquire came from left no record"},
	{fieldData, "data", typeData, wire.ColData, "its further values: data.user.id, data.items.0"},
	{fieldEventID, "id", typeInteger, 0, "its number in the recording"},
	{fieldParent, "parent", typeInteger, wire.ColParent, "the id of the event on whose behalf it happened"},
	{fieldCorrelation, "correlation", typeInteger, wire.ColCorrelation, "the id of the event that founded its group"},
	{fieldPosition, "position", typeInteger, wire.ColPosition, "the number of parents up to that founder"},
	{fieldBackground, "background", typeBoolean, wire.ColFlags, "its correlation is no work"},
	{fieldDuration, "duration", typeDuration, wire.ColKind | wire.ColDuration, "of a return: since its call"},
	{fieldConfidence, "confidence", typeConfidence, wire.ColParent, "how sure the parent is"},
	{fieldCorrConfidence, "correlation_confidence", typeConfidence, wire.ColParent, "the weakest on the way to the founder"},
	{fieldSource, "source", typeSource, wire.ColSource, "where it came from: name or number"},
	{
		fieldText, "text", typeText,
		wire.ColStream | wire.ColSite | wire.ColKey | wire.ColPeer | wire.ColChild | wire.ColExt | wire.ColData,
		"func, file, stream, key, peer, child, message, ref and data, any of them",
	},
}

// field is a use of a field: its place in the table and, for data, the path.
type field struct {
	*fieldInfo
	path []string
}

// String gives the field as a query names it.
func (f field) String() string {
	if len(f.path) == 0 {
		return f.name
	}
	var b strings.Builder
	b.WriteString(f.name)
	for _, p := range f.path {
		b.WriteByte('.')
		if isPlainSegment(p) {
			b.WriteString(p)
		} else {
			b.WriteString(strconv.Quote(p))
		}
	}
	return b.String()
}

func isPlainSegment(s string) bool {
	for i := range len(s) {
		if !isWordByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isWordByte(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// sameAs says whether two uses name the same field.
func (f field) sameAs(g field) bool { return f.String() == g.String() }

// numeric says whether sums and quantiles of the field mean anything.
func (f field) numeric() bool {
	switch f.typ {
	case typeInteger, typeDuration, typeData, typeTime:
		return true
	case typeString, typeKind, typeBoolean, typeConfidence, typeSource, typeText:
	}
	return false
}

func findField(name string) *fieldInfo {
	for i := range fieldTable {
		if fieldTable[i].name == name {
			return &fieldTable[i]
		}
	}
	return nil
}

// fieldNames are what a misspelt name is compared with.
func fieldNames() []string {
	names := make([]string, len(fieldTable))
	for i := range fieldTable {
		names[i] = fieldTable[i].name
	}
	return names
}

func kindNames() []string {
	names := make([]string, 0, len(event.Kinds))
	for _, k := range event.Kinds {
		names = append(names, k.Name)
	}
	return names
}

func confidenceNames() []string {
	names := make([]string, 0, len(event.Confidences))
	for _, c := range event.Confidences {
		names = append(names, c.Name)
	}
	return names
}

// elsewhere are the words that other tools use for a field or a stage of ours.
var elsewhere = map[string]string{
	"name": "func", "function": "func", "method": "func", "type": "kind", "event_type": "kind", "goroutine": "stream",
	"pid": "stream", "thread": "stream", "timestamp": "time", "ts": "time", "chan": "key", "channel": "key", "lock": "key",
	"trace": "correlation", "traceid": "correlation", "trace_id": "correlation", "correlation_id": "correlation",
	"parent_id": "parent", "message_id": "message", "status": "kind", "level": "data.level", "attributes": "data", "body": "text",
	"elapsed": "duration", "latency": "duration", "p99": "quantile", "percentile": "quantile", "quantile_over_time": "quantile",
	"mean": "avg", "average": "avg", "head": "limit", "top": "limit", "topk": "limit", "order": "sort", "group": "count",
	"by": "count", "fields": "select",
}

// nearest gives the candidate that text is most likely a misspelling of, "" if none is near.
func nearest(text string, candidates []string) string {
	lower := strings.ToLower(text)
	if other, ok := elsewhere[lower]; ok {
		for _, c := range candidates {
			if c == other || strings.HasPrefix(other, c+".") {
				return other
			}
		}
	}
	best, bestAt := "", len(text)/3+2
	for _, c := range candidates {
		d := distance(lower, c)
		if len(lower) >= 3 && strings.HasPrefix(c, lower) {
			d = min(d, 1)
		}
		if d < bestAt {
			best, bestAt = c, d
		}
	}
	return best
}

// distance is the number of letters to change, add, drop or swap with the next.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+same)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}
