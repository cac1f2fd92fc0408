package intake

import (
	"bytes"

	"github.com/pastcone/pastcone/internal/jsontext"
	"github.com/pastcone/pastcone/internal/wire"
)

// nestingMax is how deep JSON within strings within JSON is followed. Deeper, a string in which something
// is suspicious is taken out whole.
const nestingMax = 4

// rewriter writes payloads anew. It never fails: what is no JSON it copies, and looks for secrets in it all
// the same.
type rewriter struct {
	stage *Stage
	plain [nestingMax + 2][]byte // the text of a string without escapes, by nesting
	inner [nestingMax + 2][]byte
	whole []byte

	ext wire.Extension

	redacted, shortened, cutBytes int64
}

var redactedJSON = []byte(`"` + Redacted + `"`)

// appendData appends the payload of a record, as it may be kept, and gives its place.
func (w *rewriter) appendData(arena, data []byte) (grown []byte, off, length uint32) {
	if len(data) == 0 {
		return arena, 0, 0
	}
	at := len(arena)
	if w.stage.suspicious(data) {
		if len(data) <= w.stage.dataBytesMax {
			arena, _ = w.appendRedacted(arena, data, 0)
		} else {
			w.whole, _ = w.appendRedacted(w.whole[:0], data, 0)
			data = w.whole
			arena = w.appendShortened(arena, data)
		}
	} else {
		arena = w.appendShortened(arena, data)
	}
	return arena, place(at), place(len(arena) - at)
}

// place narrows: check bounds an arena far below 4 GiB.
func place(n int) uint32 { return uint32(n) } // #nosec G115

// appendRedacted appends JSON without the secrets in it, and says whether there were any.
//
// Outline: copy up to the next string. A string with a colon behind it is a key: if it sounds like a
// secret, its value is left out, whatever it is. Any other string is looked at as text. Numbers, outside of
// strings, may be card numbers.
func (w *rewriter) appendRedacted(dst, text []byte, nesting int) (out []byte, changed bool) {
	before := w.redacted
	for i := 0; i < len(text); {
		c := text[i]
		if c == '-' || isDigit(c) {
			end, _ := jsontext.NumberEnd(text, i)
			end = max(end, i+1)
			if w.stage.values && cardEnd(text[:end], i+digitsFrom(c)) > i+1 {
				dst = append(dst, redactedJSON...)
				w.redacted++
			} else {
				dst = append(dst, text[i:end]...)
			}
			i = end
			continue
		}
		if c != '"' {
			dst = append(dst, c)
			i++
			continue
		}
		end := stringEnd(text, i+1)
		content := text[i+1 : end]
		closed := min(end+1, len(text))
		colon := spaceAll(text, closed)
		if colon < len(text) && text[colon] == ':' {
			value := spaceAll(text, colon+1)
			dst = append(dst, text[i:value]...)
			i = value
			if w.secretKey(content) {
				i = valueEnd(text, value)
				dst = append(dst, redactedJSON...)
				w.redacted++
			}
			continue
		}
		dst = append(dst, '"')
		dst = w.appendString(dst, content, nesting)
		dst = append(dst, text[end:closed]...)
		i = closed
	}
	return dst, w.redacted > before
}

// digitsFrom gives where the digits of a number are that begins with c.
func digitsFrom(c byte) int {
	if c == '-' {
		return 1
	}
	return 0
}

// secretKey is the Stage's, for a key as it stands in JSON.
func (w *rewriter) secretKey(key []byte) bool {
	if bytes.IndexByte(key, '\\') >= 0 {
		key, _ = jsontext.AppendUnescaped(nil, key)
	}
	return w.stage.secretKey(key)
}

// appendString appends the content of a JSON string without the secrets in it.
func (w *rewriter) appendString(dst, content []byte, nesting int) []byte {
	if bytes.IndexByte(content, '\\') < 0 {
		if !w.stage.values {
			return append(dst, content...)
		}
		var found int64
		dst, found = w.stage.appendScrubbed(dst, content)
		w.redacted += found
		return dst
	}
	plain, _ := jsontext.AppendUnescaped(w.plain[nesting][:0], content)
	w.plain[nesting] = plain
	before := w.redacted
	if bytes.IndexByte(plain, '"') >= 0 {
		if nesting == nestingMax {
			if w.stage.suspicious(plain) || bytes.IndexByte(plain, '\\') >= 0 {
				w.redacted++
				return append(dst, Redacted...)
			}
		} else {
			w.inner[nesting], _ = w.appendRedacted(w.inner[nesting][:0], plain, nesting+1)
			plain = w.inner[nesting]
		}
	}
	if w.stage.values {
		scrubbed, found := w.stage.appendScrubbed(nil, plain)
		w.redacted += found
		plain = scrubbed
	}
	if w.redacted == before {
		return append(dst, content...)
	}
	return appendEscaped(dst, plain)
}

// appendEscaped appends plain text as the content of a JSON string.
func appendEscaped(dst, plain []byte) []byte {
	const hexDigits = "0123456789abcdef"
	for _, c := range plain {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// stringEnd gives the index of the quote that ends the string that begins at text[i], or the end of the
// text.
func stringEnd(text []byte, i int) int {
	for i < len(text) && text[i] != '"' {
		if text[i] == '\\' {
			i++
		}
		i++
	}
	return min(i, len(text))
}

// valueEnd gives the end of the value at text[i]; of one that is cut off, the end of the text.
func valueEnd(text []byte, i int) int {
	if i >= len(text) {
		return len(text)
	}
	switch text[i] {
	case '"':
		return min(stringEnd(text, i+1)+1, len(text))
	case '{', '[':
		depth := 0
		for i < len(text) {
			switch text[i] {
			case '"':
				i = stringEnd(text, i+1)
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
		return len(text)
	}
	for i < len(text) && text[i] != ',' && text[i] != '}' && text[i] != ']' {
		i++
	}
	return i
}

// looseValueEnd is valueEnd for a line that could not be read: a value may lie in a string of its own,
// and then ends with the same backslashes and quote that it begins with.
func looseValueEnd(text []byte, i int) int {
	quote := i
	for quote < len(text) && text[quote] == '\\' {
		quote++
	}
	if quote == i || quote == len(text) || text[quote] != '"' {
		return valueEnd(text, i)
	}
	mark := text[i : quote+1]
	if end := bytes.Index(text[quote+1:], mark); end >= 0 {
		return quote + 1 + end + len(mark)
	}
	return len(text)
}

// appendExt appends the rarer fields of a record, the unknown ones as they may be kept, and gives their
// place. Message, ref and causes are names, and stay.
func (w *rewriter) appendExt(arena, ext []byte) (grown []byte, off, length uint32) {
	if len(ext) == 0 {
		return arena, 0, 0
	}
	at := len(arena)
	// check has decoded it before.
	if err := w.ext.Decode(ext); err != nil || len(w.ext.Extra) == 0 {
		arena = append(arena, ext...)
		return arena, place(at), place(len(arena) - at)
	}
	total := 0
	for i := range w.ext.Extra {
		x := &w.ext.Extra[i]
		switch {
		case w.stage.secretKey(x.Name):
			x.Value = redactedJSON
			w.redacted++
		case w.stage.suspicious(x.Value):
			x.Value, _ = w.appendRedacted(nil, x.Value, 0)
		}
		total += len(x.Name) + len(x.Value)
	}
	if total > w.stage.dataBytesMax {
		w.shortenExtra(total)
	}
	arena = wire.AppendExtension(arena, &w.ext)
	return arena, place(at), place(len(arena) - at)
}
