package probe

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	textBytesMax  = 4000      // of each text outside of data: an event line takes 4096, and the cut shows
	valueBytesMax = 4096      // of each value in data; longer ones are cut, visibly
	dataBytesMax  = 12 * 1024 // of data; attributes beyond are left out, and counted in "omitted"
	depthMax      = 32        // of groups and values in data
)

const hexDigits = "0123456789abcdef"

// appendText appends s as a JSON string, cut to a bounded length. Wrong UTF-8 becomes U+FFFD.
func appendText(dst []byte, s string, bytesMax int) []byte {
	cut := 0
	if len(s) > bytesMax {
		end := cutAt(s, bytesMax)
		cut, s = len(s)-end, s[:end]
	}
	dst = append(dst, '"')
	dst = appendEscaped(dst, s)
	if cut > 0 {
		dst = append(dst, "… "...)
		dst = strconv.AppendInt(dst, int64(cut), 10)
		dst = append(dst, " bytes more"...)
	}
	return append(dst, '"')
}

func appendEscaped(dst []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, width := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && width == 1 {
				dst = append(append(dst, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += width
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(dst, s[start:]...)
}

// cutAt gives the largest end up to bytesMax that splits no character of s.
func cutAt(s string, bytesMax int) int {
	end := bytesMax
	for end > bytesMax-utf8.UTFMax && end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return end
}

// appendAttrs appends the inside of a JSON object: each key once, the last of its kind.
func appendAttrs(dst []byte, attrs []slog.Attr) []byte {
	return appendAttrsDeep(dst, attrs, 1)
}

func appendAttrsDeep(dst []byte, attrs []slog.Attr, depth int) []byte {
	begin, omitted := len(dst), 0
	for i := range attrs {
		a := &attrs[i]
		if a.Key == "" || hasKey(attrs[i+1:], a.Key) {
			continue
		}
		before := len(dst)
		if before > begin {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, a.Key, nameBytesMax), ':')
		dst = appendValue(dst, a.Value, depth)
		if len(dst)-begin > dataBytesMax {
			dst = dst[:before]
			omitted++
		}
	}
	if omitted > 0 {
		if len(dst) > begin {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(append(dst, `"omitted":`...), int64(omitted), 10)
	}
	return dst
}

func hasKey(attrs []slog.Attr, key string) bool {
	for i := range attrs {
		if attrs[i].Key == key {
			return true
		}
	}
	return false
}

func appendValue(dst []byte, v slog.Value, depth int) []byte {
	switch v.Kind() {
	case slog.KindString:
		return appendText(dst, v.String(), valueBytesMax)
	case slog.KindInt64:
		return strconv.AppendInt(dst, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(dst, v.Uint64(), 10)
	case slog.KindBool:
		return strconv.AppendBool(dst, v.Bool())
	case slog.KindDuration:
		return strconv.AppendInt(dst, int64(v.Duration()), 10)
	case slog.KindFloat64:
		return appendFloat(dst, v.Float64())
	case slog.KindTime:
		return append(v.Time().AppendFormat(append(dst, '"'), time.RFC3339Nano), '"')
	case slog.KindGroup:
		if depth >= depthMax {
			return append(dst, `"…"`...)
		}
		dst = appendAttrsDeep(append(dst, '{'), v.Group(), depth+1)
		return append(dst, '}')
	case slog.KindLogValuer:
		if depth >= depthMax {
			return append(dst, `"…"`...)
		}
		return appendValue(dst, v.Resolve(), depth+1)
	case slog.KindAny:
	}
	return appendAny(dst, v.Any())
}

func appendFloat(dst []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		dst = strconv.AppendFloat(append(dst, '"'), f, 'g', -1, 64)
		return append(dst, '"')
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// appendAny appends any other value: an error as its text, the rest as JSON if it is short, else as
// text.
func appendAny(dst []byte, value any) []byte {
	encoded, text := encodeAny(value)
	if encoded != nil {
		return append(dst, encoded...)
	}
	return appendText(dst, text, valueBytesMax)
}

// encodeAny gives JSON, or text. The methods of the value may do what they like: a panic in one
// becomes the text.
func encodeAny(value any) (encoded []byte, text string) {
	defer func() {
		if p := recover(); p != nil {
			encoded, text = nil, fmt.Sprintf("panic in the value's own method: %v", p)
		}
	}()
	if err, ok := value.(error); ok {
		return nil, err.Error()
	}
	encoded, err := json.Marshal(value)
	if err != nil || len(encoded) > valueBytesMax || nesting(encoded) > depthMax {
		return nil, fmt.Sprint(value)
	}
	return encoded, ""
}

// nesting gives an upper bound of how deep objects and arrays lie in a JSON text.
func nesting(text []byte) int {
	depth, deepest := 0, 0
	for _, c := range text {
		switch c {
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
	}
	return deepest
}
