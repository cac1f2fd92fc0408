package intake

import (
	"bytes"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/pastcone/pastcone/internal/wire"
)

// The marks of a payload that was cut.
const (
	FieldTruncated = "pastcone.truncated" // the beginning of what was cut, as text
	FieldSize      = "pastcone.size"      // how long the payload was, in bytes
	FieldDropped   = "pastcone.dropped"   // how many unknown fields had no room
)

const (
	// sizeBytesMax is room for the size field, and for the frame of a payload that is kept as text.
	sizeBytesMax = 64
	textBytesLow = 32 // a text is not cut shorter than that to keep the fields around it
)

// appendShortened appends a payload (JSON object, already redacted) cut to the bound.
//
// Outline: cut long texts, harder each time, until the whole fits; each says how long it was. If even
// that does not help, keep the beginning of the payload as one text.
func (w *rewriter) appendShortened(dst, data []byte) []byte {
	most := w.stage.dataBytesMax
	if len(data) <= most {
		return append(dst, data...)
	}
	at := len(dst)
	w.shortened++
	for limit := most / 2; limit >= textBytesLow; limit /= 4 {
		dst = appendCutTexts(dst[:at], data, limit)
		if len(dst)-at <= most-sizeBytesMax {
			dst = append(dst[:len(dst)-1], `,"`+FieldSize+`":`...)
			dst = strconv.AppendInt(dst, int64(len(data)), 10)
			dst = append(dst, '}')
			w.cutBytes += int64(len(data) - (len(dst) - at))
			return dst
		}
	}
	dst = appendAsText(dst[:at], data, most)
	w.cutBytes += int64(len(data) - (len(dst) - at))
	return dst
}

// appendAsText appends an object that holds the beginning of a value as text, and its size, within most
// bytes.
func appendAsText(dst, value []byte, most int) []byte {
	dst = append(dst, `{"`+FieldTruncated+`":"`...)
	room := most - 2*sizeBytesMax
	from := len(dst)
	for i := 0; i < len(value); {
		_, width := utf8.DecodeRune(value[i:])
		was := len(dst)
		if dst = appendEscaped(dst, value[i:i+width]); len(dst)-from > room {
			dst = dst[:was]
			break
		}
		i += width
	}
	dst = append(dst, `","`+FieldSize+`":`...)
	dst = strconv.AppendInt(dst, int64(len(value)), 10)
	return append(dst, '}')
}

// appendCutTexts appends JSON with each string value longer than limit cut to it, and marked. Keys stay.
func appendCutTexts(dst, text []byte, limit int) []byte {
	for i := 0; i < len(text); {
		if text[i] != '"' {
			dst = append(dst, text[i])
			i++
			continue
		}
		end := stringEnd(text, i+1)
		content, closed := text[i+1:end], min(end+1, len(text))
		if len(content) <= limit || closed < len(text) && text[closed] == ':' {
			dst = append(dst, text[i:closed]...)
		} else {
			dst = append(dst, '"')
			dst = append(dst, content[:cutAt(content, limit)]...)
			dst = append(dst, "… (cut, "...)
			dst = strconv.AppendInt(dst, int64(len(content)), 10)
			dst = append(dst, ` bytes)"`...)
		}
		i = closed
	}
	return dst
}

// cutAt gives where the content of a JSON string can be cut, at most at limit: between characters, and
// not within an escape, nor between the two of a surrogate pair.
func cutAt(content []byte, limit int) int {
	i := 0
	for i < len(content) {
		width := 1
		switch {
		case content[i] != '\\':
			_, width = utf8.DecodeRune(content[i:])
		case i+1 < len(content) && content[i+1] == 'u':
			width = 6
			if i+8 < len(content) && content[i+2]|0x20 == 'd' && bytes.IndexByte([]byte("89abAB"), content[i+3]) >= 0 && content[i+6] == '\\' {
				width = 12
			}
		default:
			width = 2
		}
		if i+width > limit {
			return i
		}
		i += width
	}
	return i
}

// shortenExtra cuts the unknown fields of the event at hand, which have total bytes, to the bound: the
// long values first, to an equal share of it; and if the names alone are too much, the last fields go.
func (w *rewriter) shortenExtra(total int) {
	most := w.stage.dataBytesMax
	w.shortened++
	share := max(most/len(w.ext.Extra), 4*sizeBytesMax)
	left, kept := most-sizeBytesMax, 0
	for _, x := range w.ext.Extra {
		if len(x.Value) > share {
			x.Value = appendAsText(nil, x.Value, share)
		}
		if left -= len(x.Name) + len(x.Value); left < 0 {
			break
		}
		w.ext.Extra[kept] = x
		kept++
	}
	if dropped := len(w.ext.Extra) - kept; dropped > 0 {
		mark := wire.ExtraField{Name: []byte(FieldDropped), Value: strconv.AppendInt(nil, int64(dropped), 10)}
		at, again := slices.BinarySearchFunc(w.ext.Extra[:kept], mark, func(a, b wire.ExtraField) int { return bytes.Compare(a.Name, b.Name) })
		w.ext.Extra = w.ext.Extra[:kept]
		if again {
			w.ext.Extra[at] = mark
		} else {
			w.ext.Extra = slices.Insert(w.ext.Extra, at, mark)
		}
	}
	after := 0
	for _, x := range w.ext.Extra {
		after += len(x.Name) + len(x.Value)
	}
	w.cutBytes += int64(total - after)
}
