// Package jsontext reads JSON as text, in place: it finds the ends of strings and values, checks them
// against RFC 8259, and takes the space between tokens out. It builds no tree and allocates nothing
// but what it appends.
//
// It serves the stages that see the payload of every event: the reader of event lines and intake. All
// functions take the index to begin at in a text that may go on behind the value, so that a chunk
// of lines needs no cutting first. UTF-8 is the caller's to check: it is cheaper for a whole chunk.
//
// In the plan's words this is a part of the Utils.
package jsontext

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// DepthMax is the deepest nesting that this package follows, whatever its caller allows.
const DepthMax = 128

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// StringEnd gives the index of the quote that ends the string whose first byte, behind the opening
// quote, is at i, and whether it holds escapes. It fails on an unescaped control character, a wrong
// escape, and at the end of the text.
func StringEnd(text []byte, i int) (end int, escaped, ok bool) {
	for {
		// Eight bytes at a time: the lowest high bit that is set is the first quote, backslash or
		// control character. (A borrow can only set bits above a true hit.)
		for i+8 <= len(text) {
			w := binary.LittleEndian.Uint64(text[i:])
			quote, slash := w^(ones*'"'), w^(ones*'\\')
			hit := ((w-ones*' ')&^w | (quote-ones)&^quote | (slash-ones)&^slash) & highs
			if hit != 0 {
				i += bits.TrailingZeros64(hit) >> 3
				break
			}
			i += 8
		}
		for i < len(text) && text[i] != '"' && text[i] != '\\' && text[i] >= ' ' {
			i++
		}
		if i >= len(text) || text[i] < ' ' {
			return i, escaped, false
		}
		if text[i] == '"' {
			return i, escaped, true
		}
		escaped = true
		if i+1 >= len(text) {
			return i, escaped, false
		}
		switch text[i+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i += 2
		case 'u':
			if _, ok := hex4(text, i+2); !ok {
				return i, escaped, false
			}
			i += 6
		default:
			return i, escaped, false
		}
	}
}

func hex4(text []byte, i int) (rune, bool) {
	if i+4 > len(text) {
		return 0, false
	}
	var r rune
	for _, c := range text[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// AppendUnescaped appends what a string (without its quotes) stands for; a wrong escape, which StringEnd
// refuses, stands for anything. It says whether every
// escaped surrogate had its other half; U+FFFD stands in for those that had not.
func AppendUnescaped(dst, s []byte) ([]byte, bool) {
	whole := true
	for i := 0; i < len(s); {
		c := s[i]
		if c != '\\' || i+1 == len(s) {
			dst = append(dst, c)
			i++
			continue
		}
		switch c = s[i+1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(s, i+2)
			i += 6
			if utf16.IsSurrogate(r) {
				joined := rune(utf8.RuneError)
				if i+1 < len(s) && s[i] == '\\' && s[i+1] == 'u' {
					low, _ := hex4(s, i+2)
					joined = utf16.DecodeRune(r, low)
				}
				if r = joined; r == utf8.RuneError {
					whole = false
				} else {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		default: // " \ /
			dst = append(dst, c)
		}
		i += 2
	}
	return dst, whole
}

// Space gives the index of the first byte from i on that is no space, tab or carriage return. A line
// feed is not skipped: to the callers of this package it ends a line.
func Space(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r') {
		i++
	}
	return i
}

// NumberEnd gives the index behind the number that begins at text[i].
func NumberEnd(text []byte, i int) (end int, ok bool) {
	if i < len(text) && text[i] == '-' {
		i++
	}
	from := i
	if i = digitsEnd(text, i); i == from || text[from] == '0' && i > from+1 {
		return i, false
	}
	if i < len(text) && text[i] == '.' {
		from = i + 1
		if i = digitsEnd(text, from); i == from {
			return i, false
		}
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		if i++; i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		from = i
		if i = digitsEnd(text, i); i == from {
			return i, false
		}
	}
	return i, true
}

func digitsEnd(text []byte, i int) int {
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		i++
	}
	return i
}

// wordEnd gives the index behind true, false or null at text[i].
func wordEnd(text []byte, i int) (end int, ok bool) {
	rest := text[i:]
	switch {
	case len(rest) >= 4 && (string(rest[:4]) == "true" || string(rest[:4]) == "null"):
		return i + 4, true
	case len(rest) >= 5 && string(rest[:5]) == "false":
		return i + 5, true
	}
	return i, false
}

// ValueEnd gives the index behind the value that begins at text[i], and whether there is space between
// its tokens. It fails on anything that is not JSON within one line, and on more than depthMax objects
// and arrays within each other.
//
// Outline: a loop over values; a bit per level says whether that level is an object.
func ValueEnd(text []byte, i, depthMax int) (end int, spaced, ok bool) {
	var object [DepthMax/64 + 1]uint64
	depth := 0
	depthMax = min(depthMax, DepthMax)
	for {
		// Here a value begins.
		if i >= len(text) {
			return i, spaced, false
		}
		switch c := text[i]; {
		case c == '"':
			if i, _, ok = StringEnd(text, i+1); !ok {
				return i, spaced, false
			}
			i++
		case c == '{' || c == '[':
			if depth++; depth > depthMax {
				return i, spaced, false
			}
			from := i + 1
			i = Space(text, from)
			spaced = spaced || i > from
			if i >= len(text) {
				return i, spaced, false
			}
			object[depth>>6] &^= 1 << (depth & 63)
			if c == '{' {
				object[depth>>6] |= 1 << (depth & 63)
			}
			switch {
			case text[i] == c+2: // ] behind [, } behind {: empty
				depth--
				i++
			case c == '[':
				continue
			default:
				var gaps bool
				if i, gaps, ok = keyEnd(text, i); !ok {
					return i, spaced, false
				}
				spaced = spaced || gaps
				continue
			}
		case c == '-' || '0' <= c && c <= '9':
			if i, ok = NumberEnd(text, i); !ok {
				return i, spaced, false
			}
		default:
			if i, ok = wordEnd(text, i); !ok {
				return i, spaced, false
			}
		}
		// Here a value has ended: close what closes, up to the next value.
		for {
			if depth == 0 {
				return i, spaced, true
			}
			from := i
			i = Space(text, i)
			spaced = spaced || i > from
			if i >= len(text) {
				return i, spaced, false
			}
			inObject := object[depth>>6]>>(depth&63)&1 != 0
			c := text[i]
			i++
			if c == ',' {
				from = i
				i = Space(text, i)
				spaced = spaced || i > from
				if inObject {
					var gaps bool
					if i, gaps, ok = keyEnd(text, i); !ok {
						return i, spaced, false
					}
					spaced = spaced || gaps
				}
				break
			}
			if inObject && c != '}' || !inObject && c != ']' {
				return i, spaced, false
			}
			depth--
		}
	}
}

// keyEnd gives the index of the value whose name begins at text[i], and whether there was space on
// the way to it.
func keyEnd(text []byte, i int) (end int, spaced, ok bool) {
	if i >= len(text) || text[i] != '"' {
		return i, false, false
	}
	if i, _, ok = StringEnd(text, i+1); !ok {
		return i, false, false
	}
	i++
	colon := Space(text, i)
	if colon >= len(text) || text[colon] != ':' {
		return colon, false, false
	}
	end = Space(text, colon+1)
	return end, colon > i || end > colon+1, true
}

// AppendCompact appends a value (valid) without the space between its tokens.
func AppendCompact(dst, value []byte) []byte {
	for i := 0; i < len(value); {
		switch c := value[i]; c {
		case ' ', '\t', '\r', '\n':
			i++
		case '"':
			end, _, ok := StringEnd(value, i+1)
			if !ok {
				return append(dst, value[i:]...)
			}
			dst = append(dst, value[i:end+1]...)
			i = end + 1
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}
