package event

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The bounds of an event line, the same for every reader of them.
const (
	// TextBytesMax bounds each name and text of an event outside of its data.
	TextBytesMax = 4096
	// CausesMax bounds the number of names in "cause".
	CausesMax = 1024
	// DepthMax bounds how deep objects and arrays lie within each other; the line itself is the first.
	DepthMax = 128
	// SeqMax bounds sequence numbers and ordinals, so that every program can count on from them.
	SeqMax = math.MaxInt64
)

// AppendLine appends e as an event line, without the newline: the source's fields and, if e has an
// id, the results, in the order of [Fields]; fields that this version does not know stand between
// the two, by name. It allocates nothing beyond dst.
//
// Data and Extra must hold valid JSON, which is what [ParseLine] gives and a recording keeps;
// newlines between its tokens are taken out. Text that is not UTF-8 is written with U+FFFD in place
// of each wrong byte.
func AppendLine(dst []byte, e *Event) []byte {
	dst = append(dst, `{"stream":`...)
	dst = appendText(dst, e.Stream)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, e.Seq, 10)
	dst = append(dst, `,"time":`...)
	dst = strconv.AppendInt(dst, e.Time, 10)
	dst = append(dst, `,"kind":`...)
	dst = appendText(dst, e.Kind.String())
	dst = appendTextField(dst, `,"func":`, e.Func)
	dst = appendTextField(dst, `,"file":`, e.File)
	if e.Line != 0 {
		dst = append(dst, `,"line":`...)
		dst = strconv.AppendInt(dst, int64(e.Line), 10)
	}
	dst = appendTextField(dst, `,"key":`, e.Key)
	dst = appendCountField(dst, `,"ordinal":`, e.Ordinal)
	dst = appendTextField(dst, `,"message":`, e.Message)
	dst = appendTextField(dst, `,"peer":`, e.Peer)
	dst = appendTextField(dst, `,"child":`, e.Child)
	dst = appendTextField(dst, `,"ref":`, e.Ref)
	dst = appendCause(dst, e.Cause)
	dst = appendTrueField(dst, `,"root":true`, e.Root)
	dst = appendTrueField(dst, `,"empty":true`, e.Empty)
	dst = appendTrueField(dst, `,"closed":true`, e.Closed)
	if e.Takes != nil {
		dst = append(dst, `,"takes":`...)
		dst = strconv.AppendBool(dst, *e.Takes)
	}
	dst = appendTrueField(dst, `,"inferred":true`, e.Inferred)
	dst = appendTrueField(dst, `,"unseen":true`, e.Unseen)
	if len(e.Data) > 0 && string(e.Data) != "null" {
		dst = append(dst, `,"data":`...)
		dst = appendOneLine(dst, e.Data)
	}
	dst = appendExtra(dst, e)
	if e.ID != 0 {
		dst = appendResults(dst, e)
	}
	return append(dst, '}')
}

func appendResults(dst []byte, e *Event) []byte {
	dst = appendCountField(dst, `,"id":`, uint64(e.ID))
	dst = appendCountField(dst, `,"parent":`, uint64(e.Parent))
	dst = append(dst, `,"correlation":`...)
	dst = strconv.AppendUint(dst, uint64(e.Correlation), 10)
	dst = append(dst, `,"position":`...)
	dst = strconv.AppendUint(dst, uint64(e.Position), 10)
	dst = appendTrueField(dst, `,"background":true`, e.Background)
	if e.hasDuration() {
		dst = append(dst, `,"duration":`...)
		dst = strconv.AppendInt(dst, int64(e.Duration), 10)
	}
	dst = append(dst, `,"confidence":`...)
	dst = appendText(dst, e.Confidence.String())
	dst = append(dst, `,"correlation_confidence":`...)
	dst = appendText(dst, e.CorrelationConfidence.String())
	for i := range e.Causes {
		if i == 0 {
			dst = append(dst, `,"causes":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendEdge(dst, &e.Causes[i])
	}
	if len(e.Causes) > 0 {
		dst = append(dst, ']')
	}
	return dst
}

// hasDuration says whether the event is a return that found its call; the two can lie in the same
// nanosecond.
func (e *Event) hasDuration() bool {
	if e.Kind != KindReturn {
		return false
	}
	return e.Duration != 0 || len(e.Causes) > 0 && e.Causes[0].Kind == EdgeReturn && e.Causes[0].ID != 0
}

func appendEdge(dst []byte, e *Edge) []byte {
	dst = append(dst, `{"id":`...)
	if e.ID == 0 {
		dst = append(dst, `null`...)
	} else {
		dst = strconv.AppendUint(dst, uint64(e.ID), 10)
	}
	dst = append(dst, `,"kind":`...)
	dst = appendText(dst, e.Kind.String())
	dst = append(dst, `,"confidence":`...)
	dst = appendText(dst, e.Confidence.String())
	if e.Confidence == Inferred {
		dst = append(dst, `,"p":`...)
		dst = appendProbability(dst, e.P)
	}
	return append(dst, '}')
}

// appendProbability writes p within 0 and 1. A recording keeps it in 32 bits; what came from there is
// written with the digits that it had.
func appendProbability(dst []byte, p float64) []byte {
	if !(p > 0) { // also not a number
		p = 0
	}
	p = min(p, 1)
	bits := 64
	if float64(float32(p)) == p {
		bits = 32
	}
	return strconv.AppendFloat(dst, p, 'g', -1, bits)
}

func appendTextField(dst []byte, name, text string) []byte {
	if text == "" {
		return dst
	}
	return appendText(append(dst, name...), text)
}

func appendCountField(dst []byte, name string, n uint64) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendUint(append(dst, name...), n, 10)
}

func appendTrueField(dst []byte, field string, is bool) []byte {
	if !is {
		return dst
	}
	return append(dst, field...)
}

func appendCause(dst []byte, cause []string) []byte {
	switch len(cause) {
	case 0:
		return dst
	case 1:
		return appendTextField(dst, `,"cause":`, cause[0])
	}
	sep := `,"cause":[`
	for _, c := range cause {
		dst = append(dst, sep...)
		dst = appendText(dst, c)
		sep = ","
	}
	return append(dst, ']')
}

// appendExtra writes the unknown fields by name. One that has the name of a known field is left out:
// a name stands once in a line.
func appendExtra(dst []byte, e *Event) []byte {
	if len(e.Extra) == 0 {
		return dst
	}
	var few [16]string // so that the usual line needs no memory
	names := few[:0]
	for name, value := range e.Extra {
		if _, known := fieldByName[name]; !known && len(value) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		dst = append(dst, ',')
		dst = appendText(dst, name)
		dst = append(dst, ':')
		dst = appendOneLine(dst, e.Extra[name])
	}
	return dst
}

// appendOneLine appends JSON without the line breaks between its tokens. Within strings JSON has none.
func appendOneLine(dst, value []byte) []byte {
	if bytes.IndexByte(value, '\n') < 0 && bytes.IndexByte(value, '\r') < 0 {
		return append(dst, value...)
	}
	for _, c := range value {
		if c != '\n' && c != '\r' {
			dst = append(dst, c)
		}
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// appendText appends text as a JSON string.
func appendText(dst []byte, text string) []byte {
	dst = append(dst, '"')
	from := 0 // text[:from] has been written
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, width := utf8.DecodeRuneInString(text[i:])
			if r == utf8.RuneError && width == 1 {
				dst = append(dst, text[from:i]...)
				dst = utf8.AppendRune(dst, utf8.RuneError)
				from = i + 1
			}
			i += width
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, text[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		from = i
	}
	dst = append(dst, text[from:]...)
	return append(dst, '"')
}

// fieldByName finds a field of the table Fields.
var fieldByName = func() map[string]*Field {
	m := make(map[string]*Field, len(Fields))
	for i := range Fields {
		m[Fields[i].Name] = &Fields[i]
	}
	return m
}()

// FindField gives the field of that name. The second result says whether there is one.
func FindField(name string) (Field, bool) {
	if f, ok := fieldByName[name]; ok {
		return *f, true
	}
	return Field{}, false
}

// MarshalJSON gives the event line.
func (e Event) MarshalJSON() ([]byte, error) {
	if !e.Kind.Valid() {
		return nil, fmt.Errorf("event %s#%d: %v is none of the kinds of events", e.Stream, e.Seq, e.Kind)
	}
	return AppendLine(nil, &e), nil
}

// UnmarshalJSON reads an event line, as strictly as [ParseLine].
func (e *Event) UnmarshalJSON(line []byte) error {
	got, err := ParseLine(line)
	if err != nil {
		return err
	}
	*e = got
	return nil
}

// MarshalJSON gives the edge as it stands in "causes".
func (e Edge) MarshalJSON() ([]byte, error) {
	if !e.Kind.Valid() || !e.Confidence.Valid() {
		return nil, fmt.Errorf("edge from event %d: %v and %v are no kind of edge and confidence", e.ID, e.Kind, e.Confidence)
	}
	return appendEdge(nil, &e), nil
}

// MarshalText gives the kind's name.
func (k Kind) MarshalText() ([]byte, error) {
	if !k.Valid() {
		return nil, fmt.Errorf("%v is none of the kinds of events", k)
	}
	return []byte(k.String()), nil
}

// UnmarshalText reads the kind's name.
func (k *Kind) UnmarshalText(name []byte) error {
	got, ok := ParseKind(string(name))
	if !ok {
		return fmt.Errorf("%q is none of the kinds of events: %s", name, kindNames())
	}
	*k = got
	return nil
}

// MarshalText gives the edge kind's name.
func (k EdgeKind) MarshalText() ([]byte, error) {
	if !k.Valid() {
		return nil, fmt.Errorf("%v is none of the kinds of edges", k)
	}
	return []byte(k.String()), nil
}

// UnmarshalText reads the edge kind's name.
func (k *EdgeKind) UnmarshalText(name []byte) error {
	got, ok := ParseEdgeKind(string(name))
	if !ok {
		return fmt.Errorf("%q is none of the kinds of edges", name)
	}
	*k = got
	return nil
}

// MarshalText gives the confidence's name.
func (c Confidence) MarshalText() ([]byte, error) {
	if !c.Valid() {
		return nil, fmt.Errorf("%v is none of the confidences", c)
	}
	return []byte(c.String()), nil
}

// UnmarshalText reads the confidence's name.
func (c *Confidence) UnmarshalText(name []byte) error {
	got, ok := ParseConfidence(string(name))
	if !ok {
		return fmt.Errorf("%q is none of the confidences: exact, inferred, gap", name)
	}
	*c = got
	return nil
}
