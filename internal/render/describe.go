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
	case event.KindSend, event.KindReceive, event.KindClose, event.KindAcquire, event.KindRelease, event.KindState:
		subject = keyOf(e)
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
		subject = dataText(e.Data, "")
	case event.KindCall, event.KindReturn, event.KindStart, event.KindExit, event.KindWake, event.KindError, event.KindLog, event.KindInvalid:
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

// dataText gives data in short: name=value, without what is shown elsewhere.
func dataText(data []byte, shown string) string {
	if len(data) == 0 {
		return ""
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return clean(string(data))
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
		value := string(raw)
		var text string
		if json.Unmarshal(raw, &text) == nil && raw[0] == '"' {
			if text == shown && shown != "" {
				continue
			}
			value = text
			if strings.ContainsAny(text, " \"=") || text == "" {
				value = strconv.Quote(text)
			}
		}
		parts = append(parts, clean(key)+"="+clean(value))
	}
	return strings.Join(parts, " ")
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
	parts := []string{s.streamOf(r)}
	if f := shortFunc(r.Event.Func); f != "" {
		parts = append(parts, f)
	}
	if pl := place(&r.Event); pl != "" {
		parts = append(parts, pl)
	}
	return strings.Join(parts, " ")
}

func idText(id event.ID) string { return "[" + id.String() + "]" }

// number is an id as a word of a command.
func number(id event.ID) string { return id.String() }
