package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// LineError says why a text is no event line.
type LineError struct {
	Field  string // the field that is at fault; empty if it is the line as a whole
	Reason string // a sentence: what is wrong, and what would be right
}

func (e *LineError) Error() string { return e.Reason }

// ParseLine reads one event line: the slow and obvious way, on top of encoding/json. It reads the
// results too, so that it is the inverse of [AppendLine]. Errors are of type [*LineError].
//
// It is strict: names of fields as they are in [Fields], each at most once, of the right type and
// within its bounds; UTF-8 throughout. A field that is null is absent, as is an empty text. Fields
// that it does not know go to Extra. Data and Extra are kept without the space between their tokens,
// else as they are.
func ParseLine(line []byte) (Event, error) {
	fields, err := splitLine(line)
	if err != nil {
		return Event{}, err
	}
	var e Event
	for _, f := range fields {
		if err := e.setField(f.name, f.value); err != nil {
			return Event{}, err
		}
	}
	for _, name := range []string{"stream", "seq", "time", "kind"} {
		present := slices.ContainsFunc(fields, func(f lineField) bool {
			return f.name == name && string(f.value) != "null"
		})
		if !present {
			return Event{}, &LineError{name, fmt.Sprintf("%q is missing: an event line needs stream, seq, time and kind", name)}
		}
	}
	return e, nil
}

type lineField struct {
	name  string
	value json.RawMessage
}

// splitLine gives the fields of a line in their order, and checks the line as a whole.
func splitLine(line []byte) ([]lineField, error) {
	wrong := func(field, format string, args ...any) error {
		return &LineError{field, fmt.Sprintf(format, args...)}
	}
	if !utf8.Valid(line) {
		return nil, wrong("", "not UTF-8 at byte %d: event lines are UTF-8 text", invalidAt(line)+1)
	}
	trimmed := bytes.TrimLeft(line, " \t\r\n")
	if len(trimmed) == 0 {
		return nil, wrong("", "empty: an event line is a JSON object")
	}
	if trimmed[0] != '{' {
		r, _ := utf8.DecodeRune(trimmed)
		return nil, wrong("", "begins with %q: an event line is one JSON object, and begins with {", r)
	}
	if tooDeep(line) {
		return nil, wrong("", "objects and arrays lie more than %d deep: make the data flatter, or put it into a string", DepthMax)
	}
	var whole json.RawMessage
	if err := json.Unmarshal(line, &whole); err != nil {
		at := int64(0)
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			at = syntax.Offset
		}
		return nil, wrong("", "not JSON, near byte %d: %v; an event line is one whole JSON object", at, err)
	}
	var fields []lineField
	dec := json.NewDecoder(bytes.NewReader(line))
	seen := map[string]bool{}
	mustToken(dec) // the opening brace
	for dec.More() {
		before := dec.InputOffset()
		name, _ := mustToken(dec).(string)
		if halfCharacter(line[before:dec.InputOffset()]) {
			return nil, wrong(name, "the name of a field has half a character (a lone surrogate, \\ud800 to \\udfff): write both halves, or neither")
		}
		if len(name) > TextBytesMax {
			return nil, wrong(name[:40], "the name of a field is %d bytes long: at most %d", len(name), TextBytesMax)
		}
		if seen[name] {
			return nil, wrong(name, "%q stands more than once: a field stands once in a line", name)
		}
		seen[name] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, wrong(name, "%q: %v", name, err)
		}
		fields = append(fields, lineField{name, value})
	}
	return fields, nil
}

// mustToken reads a token of a text that is known to be JSON.
func mustToken(dec *json.Decoder) json.Token {
	token, err := dec.Token()
	if err != nil {
		panic("event: valid JSON refused: " + err.Error())
	}
	return token
}

// invalidAt gives where the first byte is that is no UTF-8.
func invalidAt(text []byte) int {
	for i := 0; i < len(text); {
		r, width := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && width == 1 {
			return i
		}
		i += width
	}
	return len(text)
}

// tooDeep says whether objects and arrays lie deeper than DepthMax.
func tooDeep(text []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > DepthMax {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// halfCharacter says whether a JSON string (valid, as written) escapes one half of a surrogate pair
// without the other.
func halfCharacter(text []byte) bool {
	high := false // the last escape was a first half
	for i := 0; i < len(text); i++ {
		isLow := false
		if text[i] == '\\' {
			i++
			if text[i] == 'u' {
				code, _ := strconv.ParseUint(string(text[i+1:i+5]), 16, 16)
				i += 4
				isLow = code >= 0xdc00 && code <= 0xdfff
				if isLow != high {
					return true
				}
				high = code >= 0xd800 && code <= 0xdbff
				continue
			}
		}
		if high {
			return true
		}
	}
	return high
}

func (e *Event) setField(name string, value json.RawMessage) (err error) {
	field, known := fieldByName[name]
	if !known {
		if e.Extra == nil {
			e.Extra = map[string]json.RawMessage{}
		}
		e.Extra[name] = compacted(value)
		return nil
	}
	if string(value) == "null" {
		return nil
	}
	var n int64
	switch name {
	case "stream":
		if e.Stream, err = textOf(field, value); err == nil && e.Stream == "" {
			err = &LineError{name, `"stream" is empty: it names the goroutine, process or span of the event`}
		}
	case "seq":
		n, err = countOf(field, value)
		e.Seq = uint64(n) // #nosec G115 -- not negative
	case "time":
		e.Time, err = integerOf(field, value, math.MinInt64, math.MaxInt64)
	case "kind":
		var text string
		if text, err = textOf(field, value); err == nil {
			var ok bool
			if e.Kind, ok = ParseKind(text); !ok {
				err = &LineError{name, fmt.Sprintf("%q is no kind of event: the kinds are %s", text, kindNames())}
			}
		}
	case "func":
		e.Func, err = textOf(field, value)
	case "file":
		e.File, err = textOf(field, value)
	case "line":
		n, err = integerOf(field, value, 0, math.MaxUint32)
		e.Line = int(n)
	case "key":
		e.Key, err = textOf(field, value)
	case "ordinal":
		n, err = countOf(field, value)
		e.Ordinal = uint64(n) // #nosec G115 -- not negative
	case "message":
		e.Message, err = textOf(field, value)
	case "peer":
		e.Peer, err = textOf(field, value)
	case "child":
		e.Child, err = textOf(field, value)
	case "ref":
		e.Ref, err = textOf(field, value)
	case "cause":
		e.Cause, err = causeOf(field, value)
	case "root":
		e.Root, err = truthOf(field, value)
	case "empty":
		e.Empty, err = truthOf(field, value)
	case "closed":
		e.Closed, err = truthOf(field, value)
	case "takes":
		var takes bool
		takes, err = truthOf(field, value)
		e.Takes = &takes
	case "inferred":
		e.Inferred, err = truthOf(field, value)
	case "unseen":
		e.Unseen, err = truthOf(field, value)
	case "data":
		if value[0] != '{' {
			return wrongType(field, value, `a JSON object, like {"user":17}`)
		}
		e.Data = compacted(value)
	default:
		err = e.setResult(field, value)
	}
	return err
}

func (e *Event) setResult(field *Field, value json.RawMessage) (err error) {
	var n int64
	switch field.Name {
	case "id":
		e.ID, err = idOf(field, value)
	case "parent":
		e.Parent, err = idOf(field, value)
	case "correlation":
		e.Correlation, err = idOf(field, value)
	case "position":
		n, err = integerOf(field, value, 0, math.MaxUint32)
		e.Position = uint32(n) // #nosec G115 -- within its bounds
	case "background":
		e.Background, err = truthOf(field, value)
	case "duration":
		n, err = integerOf(field, value, 0, math.MaxInt64)
		e.Duration = time.Duration(n)
	case "confidence":
		e.Confidence, err = confidenceOf(field, value)
	case "correlation_confidence":
		e.CorrelationConfidence, err = confidenceOf(field, value)
	case "causes":
		if jsonErr := json.Unmarshal(value, &e.Causes); jsonErr != nil {
			err = &LineError{field.Name, fmt.Sprintf("%q: %v; it is a list of edges, like [{\"id\":39,\"kind\":\"message\",\"confidence\":\"exact\"}]", field.Name, jsonErr)}
		}
	}
	return err
}

// UnmarshalJSON reads an edge as it stands in "causes".
func (e *Edge) UnmarshalJSON(text []byte) error {
	var form struct {
		ID         *ID         `json:"id"`
		Kind       EdgeKind    `json:"kind"`
		Confidence *Confidence `json:"confidence"`
		P          *float64    `json:"p"`
	}
	if err := json.Unmarshal(text, &form); err != nil {
		return err
	}
	if !form.Kind.Valid() || form.Confidence == nil {
		return errors.New("an edge needs a kind and a confidence")
	}
	*e = Edge{Kind: form.Kind, Confidence: *form.Confidence}
	if form.ID != nil {
		e.ID = *form.ID
	}
	if (e.ID == 0) != (e.Confidence == Gap) {
		return errors.New(`an edge has the id of its cause, or null and the confidence gap`)
	}
	switch e.Confidence {
	case Exact:
		e.P = 1
	case Inferred:
		if form.P == nil || *form.P < 0 || *form.P > 1 {
			return errors.New("an inferred edge has a probability p from 0 to 1")
		}
		e.P = *form.P
	case Gap:
	}
	return nil
}

func compacted(value json.RawMessage) json.RawMessage {
	var to bytes.Buffer
	_ = json.Compact(&to, value) // it was found valid before
	return to.Bytes()
}

func kindNames() string {
	names := make([]string, len(Kinds))
	for i := range Kinds {
		names[i] = Kinds[i].Name
	}
	return strings.Join(names, ", ")
}

// wrongType says what a value is and what it should be.
func wrongType(f *Field, value json.RawMessage, want string) error {
	got := "a number"
	switch value[0] {
	case '"':
		got = "a string"
	case '{':
		got = "an object"
	case '[':
		got = "a list"
	case 't', 'f':
		got = string(value)
	}
	return &LineError{f.Name, fmt.Sprintf("%q is %s: it must be %s", f.Name, got, want)}
}

func textOf(f *Field, value json.RawMessage) (string, error) {
	if value[0] != '"' {
		return "", wrongType(f, value, "a string")
	}
	if halfCharacter(value) {
		return "", &LineError{f.Name, fmt.Sprintf("%q has half a character (a lone surrogate, \\ud800 to \\udfff): write both halves, or neither", f.Name)}
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return "", &LineError{f.Name, fmt.Sprintf("%q: %v", f.Name, err)}
	}
	if len(text) > TextBytesMax {
		return "", &LineError{f.Name, fmt.Sprintf("%q is %d bytes long: at most %d; long texts belong into data", f.Name, len(text), TextBytesMax)}
	}
	return text, nil
}

func integerOf(f *Field, value json.RawMessage, low, high int64) (int64, error) {
	if c := value[0]; c != '-' && (c < '0' || c > '9') {
		return 0, wrongType(f, value, "an integer")
	}
	if bytes.ContainsAny(value, ".eE") {
		return 0, &LineError{f.Name, fmt.Sprintf("%q is %s: it must be an integer, written without fraction and exponent", f.Name, shortened(value))}
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || n < low || n > high {
		return 0, &LineError{f.Name, fmt.Sprintf("%q is %s: it must be an integer from %d to %d", f.Name, shortened(value), low, high)}
	}
	return n, nil
}

func countOf(f *Field, value json.RawMessage) (int64, error) {
	n, err := integerOf(f, value, 0, SeqMax)
	if err == nil && n == 0 {
		err = &LineError{f.Name, fmt.Sprintf("%q is 0: it counts from 1", f.Name)}
	}
	return n, err
}

func idOf(f *Field, value json.RawMessage) (ID, error) {
	n, err := integerOf(f, value, 0, math.MaxInt64)
	return ID(n), err // #nosec G115 -- not negative
}

func truthOf(f *Field, value json.RawMessage) (bool, error) {
	switch string(value) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, wrongType(f, value, "true or false")
}

func confidenceOf(f *Field, value json.RawMessage) (Confidence, error) {
	text, err := textOf(f, value)
	if err != nil {
		return Exact, err
	}
	c, ok := ParseConfidence(text)
	if !ok {
		return Exact, &LineError{f.Name, fmt.Sprintf("%q is %q: it must be exact, inferred or gap", f.Name, text)}
	}
	return c, nil
}

func causeOf(f *Field, value json.RawMessage) ([]string, error) {
	if value[0] == '"' {
		text, err := textOf(f, value)
		if err != nil || text == "" {
			return nil, err
		}
		return []string{text}, nil
	}
	if value[0] != '[' {
		return nil, wrongType(f, value, "a string or a list of strings")
	}
	var list []json.RawMessage
	if err := json.Unmarshal(value, &list); err != nil {
		return nil, &LineError{f.Name, fmt.Sprintf("%q: %v", f.Name, err)}
	}
	if len(list) > CausesMax {
		return nil, &LineError{f.Name, fmt.Sprintf("%q lists %d events: at most %d", f.Name, len(list), CausesMax)}
	}
	var causes []string
	for i, item := range list {
		if item[0] != '"' {
			return nil, &LineError{f.Name, fmt.Sprintf("%q: entry %d is no string: it must be the ref of an event", f.Name, i+1)}
		}
		text, err := textOf(f, item)
		if err != nil {
			return nil, err
		}
		if text == "" {
			return nil, &LineError{f.Name, fmt.Sprintf("%q: entry %d is empty: it must be the ref of an event", f.Name, i+1)}
		}
		causes = append(causes, text)
	}
	return causes, nil
}

func shortened(value json.RawMessage) string {
	if len(value) > 40 {
		return string(value[:40]) + "…"
	}
	return string(value)
}
