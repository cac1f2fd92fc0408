package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
)

// Lines of JSON: docs/json.md is their documentation, and a test holds the two together. Durations and times are in
// nanoseconds; events are event lines.

// jsonLines writes one object a line.
type jsonLines struct {
	w   io.Writer
	buf bytes.Buffer
	err error
}

func (j *jsonLines) line(v any) {
	if j.err != nil {
		return
	}
	j.buf.Reset()
	e := json.NewEncoder(&j.buf)
	e.SetEscapeHTML(false)
	if j.err = e.Encode(v); j.err == nil {
		_, j.err = j.w.Write(j.buf.Bytes())
	}
}

// jsonCause is a cause with its event.
type jsonCause struct {
	Edge   event.Edge    `json:"edge"`
	Before time.Duration `json:"before,omitempty"`
	Late   bool          `json:"late,omitempty"`
	Gone   bool          `json:"gone,omitempty"`
	Lost   bool          `json:"damaged,omitempty"`
	Event  *event.Event  `json:"event"`
}

func causeJSON(c *query.Cause) jsonCause {
	j := jsonCause{Edge: c.Edge, Before: c.Before, Late: c.Late, Gone: c.Gone, Lost: c.Damaged}
	if c.Row != nil {
		j.Event = &c.Row.Event
	}
	return j
}

type jsonWait struct {
	ID     event.ID      `json:"id"` // of the event that ended it
	Waited time.Duration `json:"waited,omitempty"`
	For    jsonCause     `json:"for"`
}

type jsonStep struct {
	Type        string        `json:"type"`
	Index       int           `json:"index"`
	Source      string        `json:"source,omitempty"`
	Edge        *event.Edge   `json:"edge"`
	Late        bool          `json:"late,omitempty"`
	SinceRoot   time.Duration `json:"since_root"`
	SinceParent time.Duration `json:"since_parent"`
	Crosses     bool          `json:"crosses,omitempty"`
	Founds      bool          `json:"founds,omitempty"`
	Return      event.ID      `json:"return,omitempty"`
	Took        time.Duration `json:"took,omitempty"`
	Waits       []jsonWait    `json:"waits,omitempty"`
	WaitsMore   int           `json:"waits_more,omitempty"`
	WaitsRest   time.Duration `json:"waits_rest,omitempty"`
	Event       *event.Event  `json:"event"`
}

// WhyJSON writes a step a line, root first, then the errors before, then what the answer is about.
func WhyJSON(w io.Writer, c *query.Chain, s Style) error {
	j := &jsonLines{w: w}
	for i := range c.Steps {
		st := &c.Steps[i]
		line := jsonStep{
			Type: "step", Index: i, Source: s.Sources[st.Row.Source], Late: st.Late, SinceRoot: st.SinceRoot, SinceParent: st.SinceParent,
			Crosses: st.Crosses, Founds: st.Founds, Return: st.Return, Took: st.Took, WaitsMore: st.WaitsMore, WaitsRest: st.WaitsRest,
			Event: &st.Row.Event,
		}
		if st.Edge.Kind != event.EdgeInvalid {
			line.Edge = &st.Edge
		}
		for k := range st.Waits {
			wt := &st.Waits[k]
			line.Waits = append(line.Waits, jsonWait{wt.Row.Event.ID, wt.Waited, causeJSON(&wt.For)})
		}
		j.line(line)
	}
	if c.First != nil {
		j.line(struct {
			Type  string       `json:"type"`
			Event *event.Event `json:"event"`
		}{"came_up", &c.First.Event})
	}
	for _, r := range c.Errors {
		j.line(struct {
			Type    string       `json:"type"`
			Wrapped bool         `json:"wrapped,omitempty"`
			Event   *event.Event `json:"event"`
		}{"error_before", c.Wraps(r), &r.Event})
	}
	meanwhileJSON(j, c.Meanwhile, s)
	line := struct {
		Type  string   `json:"type"`
		ID    event.ID `json:"id"`
		Top   string   `json:"top"`
		Steps int      `json:"steps"`
		Asked event.ID `json:"asked,omitempty"`
		Cut   string   `json:"cut,omitempty"`
	}{Type: "why", ID: c.Event().Event.ID, Top: c.Top.String(), Steps: len(c.Steps), Cut: c.Cut}
	if c.Asked != nil {
		line.Asked = c.Asked.Event.ID
	}
	j.line(line)
	return j.err
}

// meanwhileJSON writes a line about the moment, one for each message that nobody had taken, and one for each stream.
func meanwhileJSON(j *jsonLines, m *query.Meanwhile, s Style) {
	if m == nil {
		return
	}
	line := struct {
		Type    string        `json:"type"`
		Of      event.ID      `json:"of"`
		Time    int64         `json:"time"`
		Age     time.Duration `json:"age"`
		More    int           `json:"more,omitempty"`
		Cut     string        `json:"cut,omitempty"`
		Timer   *event.Event  `json:"timer,omitempty"`
		TimerIn *event.Event  `json:"timer_in,omitempty"`
	}{Type: "meanwhile", Of: m.Of.Event.ID, Time: m.At, Age: m.Age, More: m.More, Cut: m.Cut}
	if m.Timer != nil {
		line.Timer = &m.Timer.Event
	}
	if m.TimerIn != nil {
		line.TimerIn = &m.TimerIn.Event
	}
	j.line(line)
	for i := range m.Messages {
		u := &m.Messages[i]
		line := struct {
			Type   string        `json:"type"`
			Source string        `json:"source,omitempty"`
			For    time.Duration `json:"for"`
			Ahead  *int          `json:"ahead,omitempty"`
			After  time.Duration `json:"after,omitempty"`
			Send   *event.Event  `json:"send"`
			Taken  *event.Event  `json:"taken"`
		}{Type: "untaken", Source: s.Sources[u.Row.Source], For: u.For, After: u.After, Send: &u.Row.Event}
		if u.Ahead >= 0 {
			line.Ahead = &u.Ahead
		}
		if u.Taken != nil {
			line.Taken = &u.Taken.Event
		}
		j.line(line)
	}
	for i := range m.Streams {
		d := &m.Streams[i]
		line := struct {
			Type   string         `json:"type"`
			Source string         `json:"source,omitempty"`
			Stream string         `json:"stream"`
			For    time.Duration  `json:"for"`
			Above  bool           `json:"above,omitempty"`
			Took   event.ID       `json:"took_on,omitempty"`
			Queued time.Duration  `json:"queued,omitempty"`
			Waits  []jsonWait     `json:"waits,omitempty"`
			After  time.Duration  `json:"after,omitempty"`
			Cause  *jsonCause     `json:"waiting_for,omitempty"`
			Calls  []*event.Event `json:"calls"`
			Next   *event.Event   `json:"next"`
		}{
			Type: "doing", Source: s.Sources[d.Calls[0].Source], Stream: d.Calls[0].Event.Stream, For: d.For, Above: d.Above, Queued: d.Queued,
			After: d.After, Calls: eventsOf(d.Calls),
		}
		if d.Took != nil {
			line.Took = d.Took.Event.ID
		}
		for k := range d.Waits {
			w := &d.Waits[k]
			line.Waits = append(line.Waits, jsonWait{w.Row.Event.ID, w.Waited, causeJSON(&w.For)})
		}
		if d.Because != nil {
			cause := causeJSON(d.Because)
			line.Cause = &cause
		}
		if d.Next != nil {
			line.Next = &d.Next.Event
		}
		j.line(line)
	}
}

type jsonEffect struct {
	Type    string        `json:"type"`
	Depth   int           `json:"depth"`
	Of      event.ID      `json:"of,omitempty"`
	Source  string        `json:"source,omitempty"`
	Edge    *event.Edge   `json:"edge"`
	Late    bool          `json:"late,omitempty"`
	After   time.Duration `json:"after"`
	Further bool          `json:"further,omitempty"`
	More    uint64        `json:"more,omitempty"`
	Event   *event.Event  `json:"event"`
}

// FutureJSON writes an event a line, each before its effects, then what the answer is about.
func FutureJSON(w io.Writer, t *query.Tree, s Style) error {
	j := &jsonLines{w: w}
	var walk func(n *query.Node, of event.ID, depth int)
	walk = func(n *query.Node, of event.ID, depth int) {
		j.line(effectJSON(n, of, depth, s))
		for _, c := range n.Effects {
			walk(c, n.Row.Event.ID, depth+1)
		}
	}
	walk(t.Root, 0, 0)
	j.line(struct {
		Type  string   `json:"type"`
		ID    event.ID `json:"id"`
		Nodes int      `json:"events"`
		More  uint64   `json:"more"`
		Cut   string   `json:"cut,omitempty"`
	}{"future", t.Root.Row.Event.ID, t.Nodes, t.More, t.Cut})
	return j.err
}

func effectJSON(n *query.Node, of event.ID, depth int, s Style) jsonEffect {
	e := jsonEffect{
		Type: "effect", Depth: depth, Of: of, Source: s.Sources[n.Row.Source], Late: n.Late, After: n.After,
		Further: n.Further, More: n.More, Event: &n.Row.Event,
	}
	if n.Edge.Kind != event.EdgeInvalid {
		e.Edge = &n.Edge
	}
	return e
}

// RelateJSON writes the relation, then the events of the path, a line each. An event without an edge
// follows the one before in their stream.
func RelateJSON(w io.Writer, r *query.Relation, s Style) error {
	j := &jsonLines{w: w}
	j.line(struct {
		Type       string           `json:"type"`
		A          event.ID         `json:"a"`
		B          event.ID         `json:"b"`
		Order      string           `json:"order"`
		Confidence event.Confidence `json:"confidence"`
		Apart      time.Duration    `json:"apart"`
		Cut        string           `json:"cut,omitempty"`
	}{"relation", r.A.Event.ID, r.B.Event.ID, r.Order.String(), r.Confidence, r.Apart, r.Cut})
	for i := range r.Path {
		step := &r.Path[i]
		line := struct {
			Type   string       `json:"type"`
			Source string       `json:"source,omitempty"`
			Edge   *event.Edge  `json:"edge"`
			Late   bool         `json:"late,omitempty"`
			Event  *event.Event `json:"event"`
		}{"path", s.Sources[step.Row.Source], nil, step.Late, &step.Row.Event}
		if step.Edge.Kind != event.EdgeInvalid {
			line.Edge = &step.Edge
		}
		j.line(line)
	}
	return j.err
}

// ShowJSON writes everything about an event in one line.
func ShowJSON(w io.Writer, d *query.Detail, s Style) error {
	line := struct {
		Type    string         `json:"type"`
		Source  string         `json:"source,omitempty"`
		Event   *event.Event   `json:"event"`
		Causes  []jsonCause    `json:"causes"`
		Effects []jsonEffect   `json:"effects"`
		More    uint64         `json:"more,omitempty"`
		Before  []*event.Event `json:"before"`
		After   []*event.Event `json:"after"`
		Founder *event.Event   `json:"founder,omitempty"`
		Return  event.ID       `json:"return,omitempty"`
		Took    time.Duration  `json:"took,omitempty"`
		Cut     string         `json:"cut,omitempty"`
	}{
		Type: "show", Source: s.Sources[d.Row.Source], Event: &d.Row.Event, More: d.More, Cut: d.Cut,
		Causes: []jsonCause{}, Effects: []jsonEffect{}, Before: eventsOf(d.Before), After: eventsOf(d.After),
	}
	for i := range d.Causes {
		line.Causes = append(line.Causes, causeJSON(&d.Causes[i]))
	}
	for _, n := range d.Effects {
		line.Effects = append(line.Effects, effectJSON(n, d.Row.Event.ID, 1, s))
	}
	if d.Founder != nil {
		line.Founder = &d.Founder.Event
	}
	if d.Took != nil {
		line.Return, line.Took = d.Took.Event.ID, d.Took.Event.Duration
	}
	j := &jsonLines{w: w}
	j.line(line)
	return j.err
}

func eventsOf(rows []*query.Row) []*event.Event {
	events := []*event.Event{}
	for _, r := range rows {
		events = append(events, &r.Event)
	}
	return events
}

// StatsJSON writes what a recording holds in one line.
func StatsJSON(w io.Writer, st *query.Statistics, s Style) error {
	type counts map[string]uint64
	line := struct {
		Type           string        `json:"type"`
		Events         uint64        `json:"events"`
		First          event.ID      `json:"first"`
		End            event.ID      `json:"end"`
		Durable        event.ID      `json:"durable"`
		Blocks         int           `json:"blocks"`
		Bytes          int64         `json:"bytes,omitempty"`
		TableBytes     int64         `json:"table_bytes"`
		TimeMin        int64         `json:"time_min"`
		TimeMax        int64         `json:"time_max"`
		Kinds          counts        `json:"kinds"`
		Sources        counts        `json:"sources"`
		Functions      counts        `json:"functions"`
		FunctionsMore  int           `json:"functions_more,omitempty"`
		Streams        uint64        `json:"streams"`
		StreamsAtLeast bool          `json:"streams_at_least,omitempty"`
		Work           uint64        `json:"work"`
		Background     uint64        `json:"background"`
		WorkEvents     uint64        `json:"work_events"`
		Parents        counts        `json:"parents"`
		Correlations   counts        `json:"correlation_confidences"`
		Roots          uint64        `json:"without_parent"`
		Further        uint64        `json:"further_edges"`
		Late           uint64        `json:"late_edges"`
		Gaps           uint64        `json:"gaps"`
		Lost           uint64        `json:"lost"`
		Cut            string        `json:"cut,omitempty"`
		Elapsed        time.Duration `json:"elapsed"`
	}{
		Type: "stats", Events: st.Events, First: st.First, End: st.End, Durable: st.Durable, Blocks: st.Blocks, Bytes: st.Bytes,
		TableBytes: st.TableBytes, TimeMin: st.TimeMin, TimeMax: st.TimeMax, Kinds: counts{}, Sources: counts{}, Functions: counts{},
		FunctionsMore: st.FunctionsMore, Streams: st.Streams, StreamsAtLeast: st.StreamsAtLeast, Work: st.Work, Background: st.Background,
		WorkEvents: st.WorkEvents, Parents: counts{}, Correlations: counts{}, Roots: st.Roots, Further: st.Further, Late: st.Late,
		Gaps: st.Gaps, Lost: st.Lost, Cut: st.Cut, Elapsed: st.Elapsed,
	}
	for _, k := range st.Kinds {
		line.Kinds[k.What.String()] = k.Count
	}
	for _, f := range st.Functions {
		line.Functions[f.What] = f.Count
	}
	for _, src := range st.Sources {
		name := s.Sources[src.What]
		if name == "" {
			name = strconv.FormatUint(uint64(src.What), 10)
		}
		line.Sources[name] += src.Count
	}
	for _, c := range event.Confidences {
		line.Parents[c.Name], line.Correlations[c.Name] = st.Parents[c.Confidence], st.Correlations[c.Confidence]
	}
	j := &jsonLines{w: w}
	j.line(line)
	return j.err
}

// PartialJSON writes what an answer lacks because it is damaged.
func PartialJSON(w io.Writer, told string, _ Style) error {
	j := &jsonLines{w: w}
	j.line(struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	}{"partial", told})
	return j.err
}

// SuggestJSON writes a suggestion a line.
func SuggestJSON(w io.Writer, all []query.Suggestion, s Style) error {
	j := &jsonLines{w: w}
	for _, g := range all {
		j.line(struct {
			Type    string        `json:"type"`
			Reason  string        `json:"reason"`
			Measure time.Duration `json:"measure,omitempty"`
			Of      uint64        `json:"of,omitempty"`
			Source  string        `json:"source,omitempty"`
			Event   *event.Event  `json:"event"`
		}{"suggestion", g.Reason.String(), g.Measure, g.Of, s.Sources[g.Row.Source], &g.Row.Event})
	}
	return j.err
}

// FindJSON writes the answer of a query: events as event lines, selected fields and groups as objects, and
// at the end what the answer rests on.
type FindJSON struct {
	lines jsonLines
	query *query.Query
	style Style
	buf   []byte
}

// NewFindJSON begins the lines for the answers of q.
func NewFindJSON(w io.Writer, q *query.Query, s Style) *FindJSON {
	return &FindJSON{lines: jsonLines{w: w}, query: q, style: s}
}

// Hit adds a line.
func (f *FindJSON) Hit(h *query.Hit) error {
	switch by := f.query.By(); {
	case f.query.Aggregate():
		f.lines.line(struct {
			Type   string                 `json:"type"`
			Others bool                   `json:"others,omitempty"`
			By     map[string]query.Value `json:"by"`
			Values map[string]query.Value `json:"values"`
		}{"group", h.Others, named(by, h.Values), named(f.query.Columns(), h.Values[len(by):])})
	case len(f.query.Selected()) > 0:
		f.lines.line(struct {
			Type   string                 `json:"type"`
			ID     event.ID               `json:"id"`
			Fields map[string]query.Value `json:"fields"`
		}{"fields", h.Event.ID, named(f.query.Selected(), h.Values)})
	case f.lines.err == nil: // the common case, without a detour
		f.buf = append(event.AppendLine(f.buf[:0], &h.Event), '\n')
		_, f.lines.err = f.lines.w.Write(f.buf)
	}
	return f.lines.err
}

func named(names []string, values []query.Value) map[string]query.Value {
	m := make(map[string]query.Value, len(names))
	for i, name := range names {
		m[name] = values[i]
	}
	return m
}

// End writes the summary.
func (f *FindJSON) End(sum query.Summary) error {
	f.lines.line(struct {
		Type string `json:"type"`
		query.Summary
	}{"summary", sum})
	return f.lines.err
}

// Error writes an error as a line, with its place where it is in a query.
func Error(w io.Writer, err error) error {
	j := &jsonLines{w: w}
	line := struct {
		Type    string `json:"type"`
		Message string `json:"message"`
		Offset  *int   `json:"offset,omitempty"`
		Width   int    `json:"width,omitempty"`
		Hint    string `json:"hint,omitempty"`
	}{Type: "error", Message: fmt.Sprint(err)}
	if s, ok := asSyntax(err); ok {
		line.Message, line.Offset, line.Width, line.Hint = s.Message, &s.Offset, s.Width, s.Hint
	}
	j.line(line)
	return j.err
}
