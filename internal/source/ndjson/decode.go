package ndjson

import (
	"bytes"
	"errors"
	"math"
	"slices"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/jsontext"
	"github.com/pastcone/pastcone/internal/wire"
)

// outcome says what a line is.
type outcome uint8

const (
	lineEvent outcome = iota
	lineEmpty         // nothing but space
	lineGap           // a gap line: says what is missing, is no event itself
	lineBad           // not an event line; event.ParseLine says why
	lineFull          // the table takes no further text
)

// Bits of the fields that a line had.
const (
	hasStream = 1 << iota
	hasSeq
	hasTime
	hasKind
	hasFunc
	hasFile
	hasLine
	hasKey
	hasOrdinal
	hasMessage
	hasPeer
	hasChild
	hasRef
	hasCause
	hasRoot
	hasEmpty
	hasClosed
	hasTakes
	hasInferred
	hasUnseen
	hasData
	hasID
	hasParent
	hasCorrelation
	hasPosition
	hasBackground
	hasDuration
	hasConfidence
	hasCorrelationConfidence
	hasCauses

	hasRequired = hasStream | hasSeq | hasTime | hasKind
)

// decoder turns lines into records. Each worker has its own.
type decoder struct {
	table *wire.Table
	names nameCache
	sites siteCache
	runs  grouping

	// The records of the chunk at hand, in file order; their stream is in runs.
	records []wire.Record
	arena   []byte

	// The line at hand. Slices point into the chunk or into unescaped.
	unescaped []byte
	seen      uint32
	stream    []byte
	record    wire.Record
	fn, file  []byte
	place     uint32
	key       []byte
	peer      []byte
	child     []byte
	data      []byte
	spaced    bool // data has space between its tokens
	ext       wire.Extension
	causes    [][]byte
	full      error // why the table is full
}

func newDecoder(t *wire.Table) *decoder {
	return &decoder{table: t, names: newNameCache(t), sites: newSiteCache(t)}
}

// line decodes the line that begins at text[i], which a line feed ends, and adds its record. The text
// must be UTF-8. It gives the index behind what it has read: on lineBad somewhere in the line.
func (d *decoder) line(text []byte, i int) (end int, what outcome) {
	i = jsontext.Space(text, i)
	if text[i] == '\n' {
		return i, lineEmpty
	}
	d.clear()
	if text[i] != '{' {
		return i, lineBad
	}
	i = jsontext.Space(text, i+1)
	if text[i] != '}' {
		for {
			var ok bool
			if i, ok = d.field(text, i); !ok {
				return i, lineBad
			}
			i = jsontext.Space(text, i)
			if text[i] == ',' {
				i = jsontext.Space(text, i+1)
				continue
			}
			if text[i] != '}' {
				return i, lineBad
			}
			break
		}
	}
	i = jsontext.Space(text, i+1)
	if text[i] != '\n' || d.seen&hasRequired != hasRequired || !d.extraUnique() {
		return i, lineBad
	}
	if d.record.Kind == event.KindGap {
		return i, lineGap
	}
	return i, d.add()
}

func (d *decoder) clear() {
	d.unescaped = d.unescaped[:0]
	d.seen = 0
	d.record = wire.Record{}
	d.fn, d.file, d.place = nil, nil, 0
	d.stream, d.key, d.peer, d.child, d.data = nil, nil, nil, nil, nil
	d.ext.Message, d.ext.Ref, d.ext.Causes, d.ext.Extra = nil, nil, nil, d.ext.Extra[:0]
	d.causes = d.causes[:0]
}

// field reads one name and its value.
func (d *decoder) field(text []byte, i int) (end int, ok bool) {
	if text[i] != '"' {
		return i, false
	}
	name, i, ok := d.text(text, i+1)
	if !ok {
		return i, false
	}
	i = jsontext.Space(text, i)
	if text[i] != ':' {
		return i, false
	}
	i = jsontext.Space(text, i+1)

	var bit uint32
	switch string(name) {
	case "stream":
		bit = hasStream
		i, ok = d.textField(text, i, &d.stream)
		ok = ok && len(d.stream) > 0
	case "seq":
		bit = hasSeq
		i, ok = count(text, i, &d.record.Seq)
		ok = ok && d.record.Seq > 0
	case "time":
		bit = hasTime
		var isNull bool
		i, isNull, ok = integer(text, i, &d.record.Time, math.MinInt64, math.MaxInt64)
		ok = ok && !isNull
	case "kind":
		bit = hasKind
		var kind []byte
		if i, ok = d.textField(text, i, &kind); ok {
			d.record.Kind, ok = event.ParseKind(string(kind))
		}
	case "func":
		bit = hasFunc
		i, ok = d.textField(text, i, &d.fn)
	case "file":
		bit = hasFile
		i, ok = d.textField(text, i, &d.file)
	case "line":
		bit = hasLine
		var n int64
		i, _, ok = integer(text, i, &n, 0, math.MaxUint32)
		d.place = uint32(n) // #nosec G115 -- within its bounds
	case "key":
		bit = hasKey
		i, ok = d.textField(text, i, &d.key)
	case "ordinal":
		bit = hasOrdinal
		i, ok = count(text, i, &d.record.Ordinal)
	case "message":
		bit = hasMessage
		i, ok = d.textField(text, i, &d.ext.Message)
	case "peer":
		bit = hasPeer
		i, ok = d.textField(text, i, &d.peer)
	case "child":
		bit = hasChild
		i, ok = d.textField(text, i, &d.child)
	case "ref":
		bit = hasRef
		i, ok = d.textField(text, i, &d.ext.Ref)
	case "cause":
		bit = hasCause
		i, ok = d.cause(text, i)
	case "root":
		bit = hasRoot
		i, ok = d.flag(text, i, wire.FlagRoot, 0)
	case "empty":
		bit = hasEmpty
		i, ok = d.flag(text, i, wire.FlagEmpty, 0)
	case "closed":
		bit = hasClosed
		i, ok = d.flag(text, i, wire.FlagClosed, 0)
	case "takes":
		bit = hasTakes
		i, ok = d.flag(text, i, wire.FlagTakes, wire.FlagTakesNot)
	case "inferred":
		bit = hasInferred
		i, ok = d.flag(text, i, wire.FlagInferred, 0)
	case "unseen":
		bit = hasUnseen
		i, ok = d.flag(text, i, wire.FlagUnseen, 0)
	case "data":
		bit = hasData
		from := i
		if text[i] != '{' && text[i] != 'n' {
			return i, false
		}
		// The line itself is the first level.
		if i, d.spaced, ok = jsontext.ValueEnd(text, i, event.DepthMax-1); ok && text[from] == '{' {
			d.data = text[from:i]
		}
	default:
		if bit = resultBit(name); bit == 0 {
			return d.extra(text, i, name)
		}
		i, _, ok = jsontext.ValueEnd(text, i, event.DepthMax-1)
	}
	if d.seen&bit != 0 {
		return i, false
	}
	d.seen |= bit
	return i, ok
}

// resultBit gives the bit of a field that Pastcone works out itself: such fields are in exported
// lines, and ignored. It is 0 for an unknown one.
func resultBit(name []byte) uint32 {
	switch string(name) {
	case "id":
		return hasID
	case "parent":
		return hasParent
	case "correlation":
		return hasCorrelation
	case "position":
		return hasPosition
	case "background":
		return hasBackground
	case "duration":
		return hasDuration
	case "confidence":
		return hasConfidence
	case "correlation_confidence":
		return hasCorrelationConfidence
	case "causes":
		return hasCauses
	}
	return 0
}

// text reads the string whose opening quote is before text[i], and gives the index behind the closing
// one. The result may point into text.
func (d *decoder) text(text []byte, i int) (s []byte, end int, ok bool) {
	end, escaped, ok := jsontext.StringEnd(text, i)
	if !ok {
		return nil, end, false
	}
	s = text[i:end]
	if escaped {
		// A later line's text may move unescaped to new memory; this slice stays where it is.
		from := len(d.unescaped)
		d.unescaped, ok = jsontext.AppendUnescaped(d.unescaped, s)
		s = d.unescaped[from:]
	}
	return s, end + 1, ok
}

// textField reads a string within its bound, or null.
func (d *decoder) textField(text []byte, i int, to *[]byte) (end int, ok bool) {
	if text[i] != '"' {
		return null(text, i)
	}
	*to, i, ok = d.text(text, i+1)
	return i, ok && len(*to) <= event.TextBytesMax
}

// null reads null. (The text goes on to a line feed, so that the bounds hold.)
func null(text []byte, i int) (end int, ok bool) {
	if len(text)-i >= 4 && string(text[i:i+4]) == "null" {
		return i + 4, true
	}
	return i, false
}

// integer reads an integer within bounds, or null, which leaves n.
func integer(text []byte, i int, n *int64, low, high int64) (end int, isNull, ok bool) {
	from := i
	negative := text[i] == '-'
	if negative {
		i++
	}
	digits := i
	var u uint64
	for ; '0' <= text[i] && text[i] <= '9'; i++ {
		u = u*10 + uint64(text[i]-'0')
	}
	switch n := i - digits; {
	case n == 0:
		i, ok = null(text, from)
		return i, true, ok
	case n > 19 || n > 1 && text[digits] == '0': // 19 nines are below 2^64
		return i, false, false
	}
	// A fraction or an exponent, if one follows, is refused where , or } is expected.
	switch {
	case !negative && u <= math.MaxInt64:
		*n = int64(u)
	case negative && u <= 1<<63:
		*n = -int64(u) // #nosec G115 -- 2^63 wraps to itself, which is right
	default:
		return i, false, false
	}
	return i, false, low <= *n && *n <= high
}

// count reads an integer from 1, or null.
func count(text []byte, i int, to *uint64) (end int, ok bool) {
	var n int64
	i, isNull, ok := integer(text, i, &n, 1, event.SeqMax)
	if !isNull {
		*to = uint64(n) // #nosec G115 -- refused if negative
	}
	return i, ok
}

// flag reads true, false or null.
func (d *decoder) flag(text []byte, i int, yes, no wire.Flags) (end int, ok bool) {
	switch {
	case len(text)-i >= 4 && string(text[i:i+4]) == "true":
		d.record.Flags |= yes
		return i + 4, true
	case len(text)-i >= 5 && string(text[i:i+5]) == "false":
		d.record.Flags |= no
		return i + 5, true
	}
	return null(text, i)
}

// cause reads a name, or a list of names.
func (d *decoder) cause(text []byte, i int) (end int, ok bool) {
	if text[i] != '[' {
		var one []byte
		if i, ok = d.textField(text, i, &one); ok && len(one) > 0 {
			d.causes = append(d.causes, one)
		}
		return i, ok
	}
	i = jsontext.Space(text, i+1)
	if text[i] == ']' {
		return i + 1, true
	}
	for {
		var one []byte
		if i, ok = d.textField(text, i, &one); !ok || len(one) == 0 || len(d.causes) == event.CausesMax {
			return i, false
		}
		d.causes = append(d.causes, one)
		i = jsontext.Space(text, i)
		if text[i] == ']' {
			return i + 1, true
		}
		if text[i] != ',' {
			return i, false
		}
		i = jsontext.Space(text, i+1)
	}
}

// extra keeps a field that this version does not know.
func (d *decoder) extra(text []byte, i int, name []byte) (end int, ok bool) {
	from := i
	i, spaced, ok := jsontext.ValueEnd(text, i, event.DepthMax-1)
	if !ok || len(name) > event.TextBytesMax {
		return i, false
	}
	value := text[from:i]
	if spaced {
		start := len(d.unescaped)
		d.unescaped = jsontext.AppendCompact(d.unescaped, value)
		value = d.unescaped[start:]
	}
	d.ext.Extra = append(d.ext.Extra, wire.ExtraField{Name: name, Value: value})
	return i, true
}

// extraUnique orders the unknown fields by name, and says whether each stands once.
func (d *decoder) extraUnique() bool {
	if len(d.ext.Extra) < 2 {
		return true
	}
	slices.SortFunc(d.ext.Extra, func(a, b wire.ExtraField) int { return bytes.Compare(a.Name, b.Name) })
	for i := 1; i < len(d.ext.Extra); i++ {
		if bytes.Equal(d.ext.Extra[i-1].Name, d.ext.Extra[i].Name) {
			return false
		}
	}
	return true
}

// add interns the names of the line and appends its record.
func (d *decoder) add() outcome {
	stream, err := d.names.name(d.stream)
	if err == nil && d.key != nil {
		d.record.Key, err = d.names.name(d.key)
	}
	if err == nil && d.peer != nil {
		d.record.Peer, err = d.names.name(d.peer)
	}
	if err == nil && d.child != nil {
		d.record.Child, err = d.names.name(d.child)
	}
	if err == nil {
		d.record.Site, err = d.sites.site(d.fn, d.file, d.place)
	}
	if err != nil {
		d.full = err
		return lineFull
	}
	r := &d.record
	if d.data != nil {
		r.DataOff = arenaOffset(len(d.arena))
		if d.spaced {
			d.arena = jsontext.AppendCompact(d.arena, d.data)
		} else {
			d.arena = append(d.arena, d.data...)
		}
		r.DataLen = arenaOffset(len(d.arena)) - r.DataOff
	}
	if len(d.ext.Message)+len(d.ext.Ref)+len(d.causes)+len(d.ext.Extra) > 0 {
		d.ext.Causes = d.causes
		r.ExtOff = arenaOffset(len(d.arena))
		d.arena = wire.AppendExtension(d.arena, &d.ext)
		r.ExtLen = arenaOffset(len(d.arena)) - r.ExtOff
	}
	d.runs.add(stream)
	d.records = append(d.records, *r)
	return lineEvent
}

// arenaOffset narrows: Read bounds a chunk far below 4 GiB.
func arenaOffset(n int) uint32 { return uint32(n) } // #nosec G115

// batch gives what has been decoded since the last call, in runs of one stream each, the streams in the
// order of their first event. It is nil if there is nothing.
func (d *decoder) batch() *wire.Batch {
	if len(d.records) == 0 {
		return nil
	}
	b := &wire.Batch{
		Runs:    slices.Clone(d.runs.runs),
		Records: make([]wire.Record, len(d.records)),
		Arena:   slices.Clone(d.arena),
	}
	next := d.runs.starts()
	for i, run := range d.runs.of {
		b.Records[next[run]] = d.records[i]
		next[run]++
	}
	d.runs.reset()
	d.records, d.arena = d.records[:0], d.arena[:0]
	return b
}

// why gives the reason against a line that was found bad.
func why(line []byte) string {
	_, err := event.ParseLine(line)
	if lineErr := (*event.LineError)(nil); errors.As(err, &lineErr) {
		return lineErr.Reason
	}
	return "not understood, though it looks right: this is a fault of Pastcone; please report it with this line"
}
