package intake

import (
	"encoding/binary"
	"math/bits"

	"github.com/pastcone/pastcone/internal/jsontext"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080

	// windowStep lets the eight-byte windows overlap by one: a quote and what follows it lie in one of them,
	// and every stretch of 14 digits fills one.
	windowStep = 7

	// cardDigitsInWindow is how many digits a window in a card number has, if its groups have three or more.
	cardDigitsInWindow = 6

	// keyBytesMax is how far a key is looked at here; a longer one is left to the rewriter.
	keyBytesMax = 128
)

// suspicious says whether a payload may hold something to take out: it never misses, and is seldom
// wrong. It takes the payload as one text, with whatever lies between the JSON texts in it.
//
// Outline: in windows of eight bytes, look for a quote with a colon or a space behind it, which ends a
// key; for the rarest letter of each mark of a secret; and for windows full of digits, which may be
// part of a card number.
func (s *Stage) suspicious(text []byte) bool {
	i := 0
	for ; i+8 <= len(text); i += windowStep {
		w := binary.LittleEndian.Uint64(text[i:])
		quote := w ^ ones*'"'
		quotes := (quote - ones) &^ quote & highs
		if quotes != 0 {
			next := w >> 8 // each byte's follower; the last has none
			colon := next ^ ones*':'
			after := ((colon-ones)&^colon | (next-ones*(' '+1))&^next) & (highs >> 8)
			for hits := quotes & after; hits != 0; hits &= hits - 1 {
				if s.secretKeyEnds(text, i+bits.TrailingZeros64(hits)>>3) {
					return true
				}
			}
		}
		letterB, letterJ, slash, equals := (w|ones*0x20)^ones*'b', w^ones*'J', w^ones*'\\', w^ones*'='
		// A colon behind a quote ends a key; one at the beginning of the window was in the one before.
		colon := w ^ ones*':'
		named := (colon - ones) &^ colon & (highs &^ 0xff) &^ (quotes << 8)
		for hits := ((letterB-ones)&^letterB|(letterJ-ones)&^letterJ|(slash-ones)&^slash|(equals-ones)&^equals)&highs | named; hits != 0; hits &= hits - 1 {
			if s.markAt(text, i+bits.TrailingZeros64(hits)>>3) {
				return true
			}
		}
		// Digits have 0011 as their upper bits, space and dash 0010; so have few other characters.
		if w&(ones*0xe0) == ones*0x20 && bits.OnesCount64(w&(ones*0x10)) >= cardDigitsInWindow && s.values && cardAround(text, i) {
			return true
		}
	}
	for ; i < len(text); i++ {
		if text[i] == '"' && s.secretKeyEnds(text, i) || s.markAt(text, i) {
			return true
		}
	}
	return false
}

// markAt says whether text[i] is the letter by which a mark of a secret is found: the b of bearer, the B
// of BEGIN, the J of eyJ; or the sign behind the name of a secret in running text; or the backslash of an escape that could hide a mark or part of a key.
func (s *Stage) markAt(text []byte, i int) bool {
	switch c := text[i]; c {
	case 'b', 'B':
		if len(text)-i < len("bearer ") || text[i+1]|0x20 != 'e' || !s.values {
			return false
		}
		return text[i+2]|0x20 == 'a' && text[i+6] == ' ' || string(text[i:i+5]) == "BEGIN"
	case 'J':
		return s.values && i > 0 && text[i-1] == 'y'
	case '=', ':':
		if i == 0 || !s.values || c == ':' && text[i-1] != '\'' && text[i-1] != ' ' && !isTokenByte(text[i-1]) {
			return false
		}
		start, end := s.namedSecret(text, i)
		return start < end || s.nameCut(text, i)
	case '\\':
		return len(text)-i >= len(markEscape) && string(text[i:i+len(markEscape)]) == markEscape
	}
	return false
}

// nameCut says whether a name that sounds like a secret stands before text[i] and is followed by an escape: what its value is can
// be told only when that is read.
func (s *Stage) nameCut(text []byte, i int) bool {
	for at := i + 1; at < len(text) && at <= i+3; at++ {
		if text[at] == '\\' {
			name := nameBefore(text, i)
			return len(name) > 0 && s.secretKey(name)
		}
	}
	return false
}

// markEscape begins the escape of an ordinary character.
const markEscape = `\u00`

// secretKeyEnds says whether the quote at text[end] ends a key that sounds like a secret, or one that is
// too odd to tell.
func (s *Stage) secretKeyEnds(text []byte, end int) bool {
	if s.keys == nil {
		return false
	}
	if end >= 9 && end+1 < len(text) && text[end+1] == ':' {
		// The usual key is short: its bytes and the quote before them are in the eight bytes before end.
		w := binary.LittleEndian.Uint64(text[end-8:])
		quote, slash := w^ones*'"', w^ones*'\\'
		// Exact for each byte, since the last quote is the one that counts.
		if quotes := ^((quote&^highs + ^uint64(highs)) | quote | ^uint64(highs)); quotes != 0 && (slash-ones)&^slash&highs == 0 {
			n := bits.LeadingZeros64(quotes) >> 3
			if text[end-n-2] != '\\' {
				return s.secretShortKey(w>>(64-8*n), text[end-n:end])
			}
		}
	}
	if end+1 >= len(text) || text[end+1] != ':' {
		if colon := spaceAll(text, end+1); colon >= len(text) || text[colon] != ':' {
			return false
		}
	}
	nested := end > 0 && text[end-1] == '\\' // JSON within a string
	if nested {
		end--
	}
	from, low := end, max(0, end-keyBytesMax)
	for ; from > low && text[from-1] != '"'; from-- {
		if text[from-1] == '\\' {
			return true
		}
	}
	if from == low || nested != (from >= 2 && text[from-2] == '\\') {
		return true
	}
	return s.secretKey(text[from:end])
}

// spaceAll gives the index of the first byte from i on that is no JSON space.
func spaceAll(text []byte, i int) int {
	for i = jsontext.Space(text, i); i < len(text) && text[i] == '\n'; i = jsontext.Space(text, i+1) {
	}
	return i
}

// Keys repeat: what the patterns said about a key is kept, in two direct-mapped caches that all workers
// share. A slot holds the last key that fell into it, and is read and written as one word. In the one, for
// keys of up to seven bytes, the word is the key itself, and the answer.
const verdictSlots = 1 << 10

const (
	answerNo  = 1
	answerYes = 2
)

// secretShortKey is secretKey for a key of up to seven bytes, which are in word too, in little endian.
func (s *Stage) secretShortKey(word uint64, key []byte) bool {
	slot := &s.short[word*0x9e3779b97f4a7c15>>54%verdictSlots]
	if v := slot.Load(); v>>8 == word && v != 0 {
		return v&0xff == answerYes
	}
	secret, answer := s.keys.Match(key), uint64(answerNo)
	if secret {
		answer = answerYes
	}
	slot.Store(word<<8 | answer)
	return secret
}

// verdict never changes.
type verdict struct {
	key    string
	secret bool
}

// secretKey says whether a key (without escapes) sounds like a secret.
func (s *Stage) secretKey(key []byte) bool {
	if s.keys == nil {
		return false
	}
	slot := &s.long[hashKey(key)%verdictSlots]
	if v := slot.Load(); v != nil && v.key == string(key) {
		return v.secret
	}
	secret := s.keys.Match(key)
	if len(key) <= keyBytesMax {
		slot.Store(&verdict{string(key), secret})
	}
	return secret
}

// hashKey mixes the first and the last bytes, and the length.
func hashKey(key []byte) uint64 {
	var head, tail uint64
	if n := len(key); n >= 8 {
		head, tail = binary.LittleEndian.Uint64(key), binary.LittleEndian.Uint64(key[n-8:])
	} else {
		for _, c := range key {
			head = head<<8 | uint64(c)
		}
	}
	h := (head ^ bits.RotateLeft64(tail, 23) ^ uint64(len(key))) * 0x9e3779b97f4a7c15
	return h >> 40
}
