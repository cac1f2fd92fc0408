package intake

import "bytes"

// Secrets in running text that are told by the name before them: "password=hunter2", "Cookie: a=b; c=d",
// "postgres://user:secret@host".
//
// A name with an equals sign, or with a colon and no space, is followed by its value, whatever that is. Behind a colon and a space may be prose
// as well: errors in Go are made like "check password: the hash is too short". There a value is taken for one only if it does not look like a
// word: it has a digit or a sign in it, or it is the value of a header.

const (
	nameBytesMax     = 64
	userinfoBytesMax = 256
)

func isNameByte(c byte) bool { return isTokenByte(c) || c == '.' }

// nameBefore gives the name that ends at text[end], with a quote or a space behind it perhaps.
func nameBefore(text []byte, end int) []byte {
	if end > 0 && (text[end-1] == '\'' || text[end-1] == ' ') {
		end--
	}
	from, letters := end, false
	for from > 0 && end-from < nameBytesMax && isNameByte(text[from-1]) {
		from--
		letters = letters || !isDigit(text[from])
	}
	if !letters { // numbers are no names, and each would be looked up anew
		return nil
	}
	return text[from:end]
}

// namedSecret gives the secret behind the sign at text[i], an equals sign or a colon; nothing if there is none.
func (s *Stage) namedSecret(text []byte, i int) (start, end int) {
	if s.keys == nil || i == 0 {
		return i, i
	}
	if text[i] == ':' && bytes.HasPrefix(text[i:], []byte("://")) {
		return urlSecret(text, i+3)
	}
	if i+1 < len(text) && text[i+1] == '=' { // == compares, := declares
		return i, i
	}
	name := nameBefore(text, i)
	if len(name) == 0 || !s.secretKey(name) {
		return i, i
	}
	start = i + 1
	for start < len(text) && start <= i+2 && text[start] == ' ' {
		start++
	}
	prose := text[i] == ':' && start > i+1
	if header(name) && text[i] == ':' {
		end = lineEnd(text, start)
		for _, scheme := range [...]string{"bearer ", "basic ", "digest ", "negotiate "} {
			if len(text)-start > len(scheme) && bytes.EqualFold(text[start:start+len(scheme)], []byte(scheme)) {
				start += len(scheme)
			}
		}
	} else {
		start, end = wordAt(text, start)
		if prose && isProse(text, start, end) {
			return i, i
		}
	}
	if start >= end || bytes.HasPrefix(text[start:], []byte(Redacted)) {
		return i, i
	}
	return start, end
}

// header says whether a name is that of a header whose value goes on to the end of the line.
func header(name []byte) bool {
	for _, part := range [...]string{"authorization", "cookie"} {
		if n := len(part); len(name) >= n && bytes.EqualFold(name[len(name)-n:], []byte(part)) {
			return true
		}
	}
	return false
}

// lineEnd gives the end of the line, or of the quoted text, that text[i] is in.
func lineEnd(text []byte, i int) int {
	if n := bytes.IndexAny(text[i:], "\r\n\"'`"); n >= 0 {
		return i + n
	}
	return len(text)
}

// wordAt gives the value that begins at text[i]: what is between quotes, or a word.
func wordAt(text []byte, i int) (start, end int) {
	if i < len(text) && (text[i] == '"' || text[i] == '\'' || text[i] == '`') {
		quote := text[i]
		for end = i + 1; end < len(text) && text[end] != quote; end++ {
			if text[end] == '\\' {
				end++
			}
		}
		return i + 1, min(end, len(text))
	}
	if n := bytes.IndexAny(text[i:], " \t\r\n,;&\"'`)]}<>"); n >= 0 {
		return i, i + n
	}
	return i, len(text)
}

// isProse says whether text[start:end] goes on like a sentence or a chain of errors.
func isProse(text []byte, start, end int) bool {
	if start > 0 && (text[start-1] == '"' || text[start-1] == '\'' || text[start-1] == '`') {
		return false
	}
	if end > start && text[end-1] == ':' {
		return true
	}
	for _, c := range text[start:end] {
		if isDigit(c) || c < 0x80 && !isTokenByte(c) && c != '.' && c != '/' && c != '(' && c != '*' && c != '?' && c != '!' {
			return false
		}
	}
	return true
}

// urlSecret gives the password of a URL whose authority begins at text[i].
func urlSecret(text []byte, i int) (start, end int) {
	most := min(len(text), i+userinfoBytesMax)
	colon := -1
	for at := i; at < most; at++ {
		switch c := text[at]; {
		case c == '@':
			if colon < 0 || colon+1 == at || bytes.HasPrefix(text[colon+1:], []byte(Redacted)) {
				return i, i
			}
			return colon + 1, at
		case c == ':' && colon < 0:
			colon = at
		case c <= ' ' || c == '/' || c == '"' || c == '?' || c == '#':
			return i, i
		}
	}
	return i, i
}
