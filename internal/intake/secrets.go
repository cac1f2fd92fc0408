package intake

import "bytes"

// The secrets that are told by how they look, wherever they stand.

var (
	markPrivateKey = []byte("-----BEGIN ")
	markKeyEnd     = []byte("PRIVATE KEY-----")
	markEnd        = []byte("-----END ")
	markDashes     = []byte("-----")
	markJWT        = []byte("eyJ")
)

const (
	cardDigitsMin = 14
	cardDigitsMax = 19

	tokenBytesMin = 12 // a shorter word behind "bearer" is a word
)

// appendScrubbed appends plain text without the secrets in it, and counts them.
func (s *Stage) appendScrubbed(dst, text []byte) (out []byte, found int64) {
	from := 0 // text[:from] has been dealt with
	for i := 0; i < len(text); {
		start, end := i, i
		switch c := text[i]; {
		case isDigit(c) && (i == 0 || !isDigit(text[i-1])):
			end = cardEnd(text, i)
		case c == '-' && bytes.HasPrefix(text[i:], markPrivateKey):
			end = privateKeyEnd(text, i)
		case c == 'e' && bytes.HasPrefix(text[i:], markJWT) && (i == 0 || !isTokenByte(text[i-1])):
			end = jwtEnd(text, i)
		case (c == 'b' || c == 'B') && len(text)-i > 7 && text[i+6] == ' ' && bytes.EqualFold(text[i:i+6], []byte("bearer")):
			start = i + 7
			if end = tokenEnd(text, start); end-start < tokenBytesMin {
				start, end = i, i
			}
		case c == '=' || c == ':':
			start, end = s.namedSecret(text, i)
		}
		if end <= start {
			i++
			continue
		}
		dst = append(dst, text[from:start]...)
		dst = append(dst, Redacted...)
		found++
		i, from = end, end
	}
	return append(dst, text[from:]...), found
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isTokenByte(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '-' || c == '_'
}

func tokenEnd(text []byte, i int) int {
	for i < len(text) && (isTokenByte(text[i]) || text[i] == '.' || text[i] == '~' || text[i] == '+' || text[i] == '/' || text[i] == '=') {
		i++
	}
	return i
}

// jwtEnd gives the end of the JSON Web Token at text[i], or i if it is none: three words with dots
// between.
func jwtEnd(text []byte, i int) int {
	end := i
	for part := range 3 {
		from := end
		for end < len(text) && isTokenByte(text[end]) {
			end++
		}
		if end == from && part < 2 {
			return i
		}
		if part == 2 {
			return end
		}
		if end == len(text) || text[end] != '.' {
			return i
		}
		end++
	}
	return end
}

// privateKeyEnd gives the end of the private key at text[i], or i if it is something else. A key that is
// cut off goes to the end of the text.
func privateKeyEnd(text []byte, i int) int {
	head := text[i+len(markPrivateKey):]
	title := bytes.Index(head[:min(len(head), 64)], markKeyEnd)
	if title < 0 {
		return i
	}
	body := i + len(markPrivateKey) + title + len(markKeyEnd)
	foot := bytes.Index(text[body:], markEnd)
	if foot < 0 {
		return len(text)
	}
	foot += body + len(markEnd)
	if dashes := bytes.Index(text[foot:], markDashes); dashes >= 0 {
		return foot + dashes + len(markDashes)
	}
	return len(text)
}

// cardAround says whether a card number may lie over text[i], in a stretch of digits, spaces and dashes.
func cardAround(text []byte, i int) bool {
	low := max(0, i-2*cardDigitsMax)
	for start := i; start >= low; start-- {
		c := text[start]
		if isDigit(c) {
			if (start == 0 || !isDigit(text[start-1])) && cardEnd(text, start) > start {
				return true
			}
		} else if c != ' ' && c != '-' && start < i {
			return false
		}
	}
	return false
}

// cardEnd gives the end of the card number that begins at text[i], which begins a group of digits (or is
// past the end); or i if there is none. Groups may have one space or dash between them. Of several it takes the longest.
func cardEnd(text []byte, i int) int {
	if i >= len(text) || text[i] < '2' || text[i] > '6' { // no issuer's; most numbers end here
		return i
	}
	var digits [cardDigitsMax]byte
	n, end := 0, i
	for at := i; at < len(text); at++ {
		c := text[at]
		if !isDigit(c) {
			if c != ' ' && c != '-' || at+1 >= len(text) || !isDigit(text[at+1]) {
				break
			}
			continue
		}
		if n == cardDigitsMax {
			break
		}
		digits[n] = c - '0'
		n++
		groupEnds := at+1 >= len(text) || !isDigit(text[at+1])
		if groupEnds && n >= cardDigitsMin && cardNumber(digits[:n]) {
			end = at + 1
		}
	}
	return end
}

// cardNumber says whether digits are a number that an issuer of cards gives out: by prefix and length,
// so that a time in nanoseconds is none, and by Luhn's check digit.
func cardNumber(digits []byte) bool {
	n := len(digits)
	prefix := int(digits[0])*1000 + int(digits[1])*100 + int(digits[2])*10 + int(digits[3])
	issued := false
	switch two := prefix / 100; {
	case two/10 == 4: // Visa
		issued = n == 16 || n == 19
	case two == 34 || two == 37: // American Express
		issued = n == 15
	case two == 36 || two == 38 || two == 30: // Diners Club
		issued = n >= 14
	case two == 35: // JCB
		issued = n >= 16
	case two >= 50 && two <= 69: // Mastercard, Maestro, Discover, UnionPay
		issued = n >= 14
	case prefix >= 2200 && prefix <= 2720: // Mir, Mastercard
		issued = n >= 16
	}
	if !issued {
		return false
	}
	sum := 0
	for i, d := range digits {
		v := int(d)
		if (n-i)%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}
