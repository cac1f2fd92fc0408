package capture

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/pastcone/pastcone/internal/capture"
)

// The data of an event is written straight into the batch's payload.

// valuesMax is how many values an event can have.
const valuesMax = 16

// values goes through the value records of an event.
type values struct {
	left []byte

	kind  uint8
	index uint8
	size  uint32 // of a text, before it was cut
	words [3]uint64
	cut   []byte // the text as far as it was recorded
	room  [capture.TextBytesMax]byte
}

const textPart = 24 // bytes of a text in one record

// next takes the next value. Continuations of a text that belong to no value are passed over.
func (v *values) next() bool {
	for len(v.left) >= capture.RecordBytes {
		head := v.left[:capture.RecordBytes]
		v.left = v.left[capture.RecordBytes:]
		w1 := binary.LittleEndian.Uint64(head[8:])
		if uint8(w1) != capture.KindValue { // #nosec G115 -- the kind is the low byte
			continue
		}
		v.kind, v.index, v.size = uint8(w1>>8), uint8(w1>>16), uint32(w1>>32) // #nosec G115 -- bytes
		v.words = words(head)
		v.cut = v.room[:0]
		if v.isText() {
			v.gather(head)
		}
		return true
	}
	return false
}

// last says that no value follows.
func (v *values) last() bool {
	for left := v.left; len(left) >= capture.RecordBytes; left = left[capture.RecordBytes:] {
		if left[8] == capture.KindValue {
			return false
		}
	}
	return true
}

// valuesOf begins to go through the values of a record. There is one such walk at a time.
func (r *reader) valuesOf(x *record) *values {
	r.walk.left = x.values
	return &r.walk
}

func words(of []byte) [3]uint64 {
	return [3]uint64{binary.LittleEndian.Uint64(of), binary.LittleEndian.Uint64(of[16:]), binary.LittleEndian.Uint64(of[24:])}
}

func (v *values) isText() bool {
	return v.kind == capture.ValueString || v.kind == capture.ValueError || v.kind == capture.ValueOther
}

// gather puts the parts of a text together.
func (v *values) gather(head []byte) {
	want := int(min(v.size, capture.TextBytesMax))
	part := func(of []byte) {
		n := min(want-len(v.cut), 8)
		v.cut = append(v.cut, of[:n]...)
		n = min(want-len(v.cut), textPart-8)
		v.cut = append(v.cut, of[16:16+n]...)
	}
	part(head)
	for len(v.cut) < want && len(v.left) >= capture.RecordBytes && v.left[8] == capture.KindText {
		part(v.left)
		v.left = v.left[capture.RecordBytes:]
	}
}

// data begins the data of the event.
func (r *reader) data(text string) *reader {
	r.has = true
	return r.text(text)
}

func (r *reader) text(text string) *reader {
	r.batch.Arena = append(r.batch.Arena, text...)
	return r
}

func (r *reader) comma(n int) *reader {
	if n > 0 {
		r.batch.Arena = append(r.batch.Arena, ',')
	}
	return r
}

func (r *reader) number64(n uint64) *reader {
	r.batch.Arena = strconv.AppendUint(r.batch.Arena, n, 10)
	return r
}

// firstText writes the event's first text, or null.
func (r *reader) firstText(x *record) *reader {
	v := r.valuesOf(x)
	for v.next() {
		if v.isText() {
			return r.quoted(v)
		}
	}
	return r.text(`null`)
}

// value writes a value as JSON.
func (r *reader) value(v *values) *reader {
	a := r.batch.Arena
	switch v.kind {
	case capture.ValueInt:
		a = strconv.AppendInt(a, int64(v.words[0]), 10) // #nosec G115 -- bits
	case capture.ValueUint:
		a = strconv.AppendUint(a, v.words[0], 10)
	case capture.ValueFloat:
		a = appendFloat(a, math.Float64frombits(v.words[0]))
	case capture.ValueBool:
		a = strconv.AppendBool(a, v.words[0] != 0)
	case capture.ValueString:
		return r.quoted(v)
	case capture.ValueError:
		return r.text(`{"error":`).quoted(v).text(`}`)
	case capture.ValueOther:
		return r.text(`{"type":`).quoted(v).text(`}`)
	case capture.ValuePtr:
		a = append(strconv.AppendUint(append(a, `"0x`...), v.words[0], 16), '"')
	case capture.ValueNil:
		a = append(a, `null`...)
	default:
		a = append(strconv.AppendUint(append(a, `{"unknown":`...), uint64(v.kind), 10), '}')
	}
	r.batch.Arena = a
	return r
}

// appendFloat writes a number; JSON has no others, so those are texts.
func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(strconv.AppendFloat(append(dst, '"'), f, 'g', -1, 64), '"')
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// quoted writes a text, and how long it was if it was cut.
func (r *reader) quoted(v *values) *reader {
	text := v.cut
	if uint64(v.size) > uint64(len(text)) {
		text = whole(text)
	}
	a := appendQuoted(r.batch.Arena, text)
	if uint64(v.size) > uint64(len(v.cut)) {
		a = append(a[:len(a)-1], `… (cut, `...)
		a = append(strconv.AppendUint(a, uint64(v.size), 10), ` bytes)"`...)
	}
	r.batch.Arena = a
	return r
}

// whole takes the first half of a character off the end of a text that was cut.
func whole(text []byte) []byte {
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		if end := text[len(text)-back:]; utf8.RuneStart(end[0]) {
			if !utf8.FullRune(end) {
				return text[:len(text)-back]
			}
			break
		}
	}
	return text
}

const hexDigits = "0123456789abcdef"

// appendQuoted writes a text as a JSON string. What is no UTF-8 becomes U+FFFD.
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < ' ' || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			rune, width := utf8.DecodeRune(text[i:])
			dst = utf8.AppendRune(dst, rune)
			i += width
			continue
		}
		i++
	}
	return append(dst, '"')
}

// arguments writes what a call was given. Where values have names, they stand by themselves: a request's method and path, a test's name.
func (r *reader) arguments(x *record) {
	f := &r.functions[x.a]
	switch {
	case x.kind == capture.KindCallRoot && f.fields != nil:
		r.data(`{`).named(x, f.fields).text(`}`)
	case f.args != nil:
		r.data(`{"args":{`).named(x, f.args).text(`}}`)
	default:
		r.data(`{"args":`).list(x).text(`}`)
	}
}

// named writes values with their names. What has none is left out.
func (r *reader) named(x *record, names []string) *reader {
	v := r.valuesOf(x)
	for i := 0; v.next(); {
		if int(v.index) < len(names) {
			r.comma(i).text(names[v.index]).value(v)
			i++
		}
	}
	return r
}

// results writes how a call ended, and what it gave: one result by itself, several as a list.
func (r *reader) results(x *record) {
	r.data(`{`)
	n := 1
	switch {
	case x.b&capture.ReturnPanicked != 0:
		r.text(`"reason":"panic"`)
	case x.b&capture.ReturnError != 0:
		r.text(`"reason":"error"`)
	default:
		n = 0
	}
	v := r.valuesOf(x)
	if v.next() {
		r.comma(n).text(`"result":`)
		if v.last() {
			r.value(v)
		} else {
			r.list(x)
		}
	}
	r.text(`}`)
}

// list writes values in their order.
func (r *reader) list(x *record) *reader {
	r.text(`[`)
	v := r.valuesOf(x)
	for i := 0; i < valuesMax && v.next(); i++ {
		r.comma(i).value(v)
	}
	return r.text(`]`)
}

// failure writes what is known of an error: its text where it appears, its identity always, so that one finds the places that it
// passed.
func (r *reader) failure(x *record) {
	switch x.b {
	case capture.ErrorPassed:
		r.data(`{"passed":true`)
	case capture.ErrorWrapped:
		r.data(`{"error":`).firstText(x).text(`,"wraps":true`)
	default:
		r.data(`{"error":`).firstText(x)
	}
	r.text(`,"identity":"`)
	r.batch.Arena = strconv.AppendUint(r.batch.Arena, x.w3, 16)
	r.text(`"}`)
}

// traceContext is a trace's id and a span's, as W3C's header traceparent carries them from one program to another.
type traceContext [traceIDBytes + spanIDBytes]byte

const (
	traceIDBytes = 16
	spanIDBytes  = 8
	contextsMax  = 1 << 20

	// traceRef begins references that hold for all sources of a recording: another program's request may have come from here.
	traceRef = "trace:"
)

// context reads the context of a record.
func (r *reader) context(x *record) (c traceContext, ok bool) {
	v := r.valuesOf(x)
	for v.next() {
		if v.isText() && len(v.cut) == len(c) {
			return traceContext(v.cut), true
		}
	}
	return c, false
}

// traced makes the event of a request that left or came. What left has a ref; what came has that as its cause, and so has the root
// call that serves it, the next of its stream.
func (r *reader) traced(x *record) {
	c, ok := r.context(x)
	if !ok {
		r.data(`{"trace":null}`)
		return
	}
	r.data(`{"trace":"`)
	r.batch.Arena = hex.AppendEncode(r.batch.Arena, c[:traceIDBytes])
	r.text(`","span":"`)
	r.batch.Arena = hex.AppendEncode(r.batch.Arena, c[traceIDBytes:])
	r.text(`"}`)
	if x.kind == capture.KindTraceOut {
		r.ext.Ref = r.contextRef(&c)
		return
	}
	r.cause(r.contextRef(&c))
	if len(r.came) < contextsMax {
		r.came[x.stream] = c
	}
}

// contextRef names the event that a request left with.
func (r *reader) contextRef(c *traceContext) []byte {
	b := hex.AppendEncode(append(r.ref[:0], traceRef...), c[:traceIDBytes])
	r.ref = hex.AppendEncode(append(b, '-'), c[traceIDBytes:])
	return r.ref
}
