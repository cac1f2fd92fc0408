package render

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
)

// what says in a few words what an event is about: its function, and behind it what its kind adds.
func what(e *event.Event) string {
	f := shortFunc(e.Func)
	subject := ""
	switch e.Kind {
	case event.KindSend, event.KindReceive, event.KindClose, event.KindAcquire, event.KindRelease:
		subject = keyOf(e)
	case event.KindState:
		subject = keyOf(e)
		if changed := dataText(e, ""); changed != "" && strings.Contains(changed, "→") {
			subject += " " + changed
		}
	case event.KindSpawn:
		if e.Child != "" {
			subject = "→ " + clean(e.Child)
		}
	case event.KindGap:
		subject = "events are missing here"
		if n := lost(e); n > 0 {
			subject = plural(n, "event is", "events are") + " missing here"
		}
		if why := shedWhy(e); why != "" {
			subject += ": " + why
		}
	case event.KindMetric:
		subject = dataText(e, "")
	case event.KindLog:
		// Of a recorded Go program: what it does to others.
		if e.Func != "" && e.Data != nil && (strings.HasPrefix(string(e.Data), `{"timer":`) || string(e.Data) == `{"notify":true}`) {
			subject = dataText(e, "")
		}
	case event.KindCall, event.KindReturn, event.KindStart, event.KindExit, event.KindWake, event.KindError, event.KindInvalid:
	}
	switch {
	case subject == "":
		return f
	case f == "":
		return subject
	}
	return subject + "  " + f
}

func keyOf(e *event.Event) string {
	s := clean(e.Key)
	if e.Ordinal > 0 && e.Kind != event.KindAcquire && e.Kind != event.KindRelease {
		s += " #" + strconv.FormatUint(e.Ordinal, 10)
	}
	if s == "" && e.Message != "" {
		s = clean(e.Message)
	}
	if e.Closed {
		s += " (closed)"
	}
	return s
}

// lost gives how many events a gap stands for, 0 where that is unknown.
func lost(e *event.Event) uint64 {
	var d struct {
		Lost uint64 `json:"lost"`
	}
	if json.Unmarshal(e.Data, &d) != nil {
		return 0
	}
	return d.Lost
}

// shedWhy gives why the events of a gap were dropped on purpose, "" if they were not.
func shedWhy(e *event.Event) string {
	var d struct {
		Shed string `json:"shed"`
		Kind string `json:"kind"`
	}
	if json.Unmarshal(e.Data, &d) != nil || d.Shed == "" {
		return ""
	}
	if d.Kind != "" {
		return clean(d.Kind + " " + d.Shed)
	}
	return clean(d.Shed)
}

// dataText gives the data of an event in short, without what is shown elsewhere: what a recorded Go program did reads as in Go, the
// rest as name=value.
func dataText(e *event.Event, shown string) string {
	if len(e.Data) == 0 {
		return ""
	}
	d := json.NewDecoder(bytes.NewReader(e.Data))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return clean(string(e.Data))
	}
	var parts []string
	for d.More() {
		name, err := d.Token()
		if err != nil {
			break
		}
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			break
		}
		key, _ := name.(string)
		if part := dataPart(e, key, raw, shown); part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " ")
}

// dataPart gives one value of the data; empty if it is shown elsewhere, or says nothing to a person.
func dataPart(e *event.Event, key string, raw json.RawMessage, shown string) string {
	switch {
	case e.Kind == event.KindCall && key == "args" && raw[0] == '[':
		return argumentsText(e)
	case e.Kind == event.KindReturn && key == "result":
		return "→ " + resultText(raw)
	case e.Kind == event.KindState && key == "old":
		return valueText(raw)
	case e.Kind == event.KindState && key == "new":
		return "→ " + valueText(raw)
	case e.Kind == event.KindError && (key == "identity" || key == "wraps"):
		return ""
	case e.Kind == event.KindError && key == "passed" && string(raw) == "true":
		return "(passed on)"
	case e.Kind == event.KindLog && key == "timer" && strings.Trim(string(raw), "0123456789") == "":
		return "sets timer" + string(raw)
	case e.Kind == event.KindLog && key == "notify" && string(raw) == "true":
		return "wakes a waiter"
	}
	value := clean(string(raw))
	if text, is := jsonText(raw); is {
		if text == shown && shown != "" {
			return ""
		}
		value = clean(text)
		if strings.ContainsAny(text, " \"=") || text == "" {
			value = strconv.Quote(text)
		}
	}
	return clean(key) + "=" + value
}

func jsonText(raw []byte) (text string, is bool) {
	is = len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &text) == nil
	return text, is
}

// argumentsText gives what a call was given, as it stands in Go; empty where that is not recorded.
func argumentsText(e *event.Event) string {
	if e.Kind != event.KindCall || len(e.Data) == 0 {
		return ""
	}
	var d struct {
		Args []json.RawMessage `json:"args"`
	}
	if json.Unmarshal(e.Data, &d) != nil || d.Args == nil {
		return ""
	}
	return "(" + valuesText(d.Args) + ")"
}

// resultText gives what a function gave: one value, or several in parentheses.
func resultText(raw json.RawMessage) string {
	var several []json.RawMessage
	if raw[0] == '[' && json.Unmarshal(raw, &several) == nil {
		return "(" + valuesText(several) + ")"
	}
	return valueText(raw)
}

func valuesText(values []json.RawMessage) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = valueText(v)
	}
	return strings.Join(texts, ", ")
}

// pointerDigits is how many digits of a pointer are shown: enough to tell those on a screen apart.
const pointerDigits = 4

// valueText gives a recorded value as Go would write it, or nearly: of a pointer the last digits, of what was not gone into its type.
func valueText(raw json.RawMessage) string {
	if text, is := jsonText(raw); is {
		if digits, ok := strings.CutPrefix(text, "0x"); ok && len(digits) > pointerDigits && strings.Trim(digits, "0123456789abcdef") == "" {
			return "0x…" + digits[len(digits)-pointerDigits:]
		}
		return clean(strconv.Quote(text))
	}
	if string(raw) == "null" {
		return "nil"
	}
	var of struct {
		Type  *string `json:"type"`
		Error *string `json:"error"`
	}
	if raw[0] == '{' && json.Unmarshal(raw, &of) == nil {
		switch {
		case of.Type != nil:
			return clean(*of.Type) + "{…}"
		case of.Error != nil:
			return clean("error " + strconv.Quote(*of.Error))
		}
	}
	return clean(string(raw))
}

// mark shows how sure an edge is: exact is plain.
func mark(c event.Confidence, p float64) piece {
	switch c {
	case event.Inferred:
		if p == 0 {
			return piece{"~", yellow} // that there is no parent is inferred: that has no probability
		}
		return piece{"~" + strconv.FormatFloat(p, 'f', 2, 64), yellow}
	case event.Gap:
		return piece{"✗", red}
	case event.Exact:
	}
	return piece{}
}

// kindInk makes errors and losses stand out.
func kindInk(k event.Kind) ink {
	switch k {
	case event.KindError, event.KindGap:
		return red
	default:
		return cyan
	}
}

// streamOf names the stream of a row, with its source where there are several.
func (s Style) streamOf(r *query.Row) string {
	name := clean(r.Event.Stream)
	if len(s.Sources) > 1 {
		if source := s.Sources[r.Source]; source != "" {
			return clean(source) + "/" + name
		}
	}
	return name
}

// where names a row in a sentence: stream, function, place.
func (s Style) where(r *query.Row) string {
	parts := []string{s.who(r)}
	if pl := place(&r.Event); pl != "" {
		parts = append(parts, pl)
	}
	return strings.Join(parts, " ")
}

// who names a row in short: stream, function.
func (s Style) who(r *query.Row) string {
	if f := shortFunc(r.Event.Func); f != "" {
		return s.streamOf(r) + " " + f
	}
	return s.streamOf(r)
}

func idText(id event.ID) string { return "[" + id.String() + "]" }

// number is an id as a word of a command.
func number(id event.ID) string { return id.String() }
