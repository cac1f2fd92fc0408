package render

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
)

// gaveUp is the chain of a request that gave up, with what went on meanwhile.
func gaveUp(m *query.Meanwhile) *query.Chain {
	row := &query.Row{Event: event.Event{ID: 9, Stream: "g1", Kind: event.KindError, Data: []byte(`{"error":"timeout"}`)}}
	m.Of = row
	return &query.Chain{Steps: []query.Step{{Row: row}}, Meanwhile: m}
}

func TestMeanwhileSaysWhatIsKnown(t *testing.T) {
	row := func(id event.ID, stream string, kind event.Kind, f string) *query.Row {
		return &query.Row{Event: event.Event{ID: id, Stream: stream, Kind: kind, Func: f, Key: "jobs"}}
	}
	call := row(3, "g2", event.KindCall, "a/shop.Pay")
	for _, c := range []struct {
		story string
		m     *query.Meanwhile
		want  string
	}{
		{"nothing", &query.Meanwhile{Age: time.Millisecond}, "at 1 ms of it\n    nothing, in any other stream that is recorded\n"},
		{"a timer of the background", &query.Meanwhile{At: 5000, Timer: row(2, "g7", event.KindLog, "main.tick")}, "the timer was set 5 µs before by g7 main.tick "},
		{"a stream that came to nothing", &query.Meanwhile{Streams: []query.Doing{{Calls: []*query.Row{call}, For: time.Second}}},
			"    g2  was in shop.Pay for 1 s"},
		{"which is told", &query.Meanwhile{Streams: []query.Doing{{Calls: []*query.Row{call}}}}, "      and nothing is recorded of it after that\n"},
		{"a stream that ran", &query.Meanwhile{Streams: []query.Doing{{Calls: []*query.Row{call}, Next: row(5, "g2", event.KindReturn, "shop.Pay"), After: time.Minute}}},
			"its next event came 1m00s later: return shop.Pay"},
		{"a goroutine without a name", &query.Meanwhile{Streams: []query.Doing{{Calls: []*query.Row{row(4, "g3", event.KindStart, "")}}}}, "g3  was in start for 0"},
		{"one that waits for it", &query.Meanwhile{Streams: []query.Doing{{Calls: []*query.Row{call, call}, Above: true}}}, "g2, above, was in shop.Pay"},
		{"a cause that is missing", &query.Meanwhile{Streams: []query.Doing{{Calls: []*query.Row{call}, Next: row(5, "g2", event.KindAcquire, ""), Because: &query.Cause{Edge: event.Edge{Kind: event.EdgeLock}}}}},
			"was waiting, 0 more, for the lock jobs, which is missing"},
		{"a message that nobody ever took", &query.Meanwhile{Messages: []query.Untaken{{Row: row(4, "g3", event.KindSend, "f"), Ahead: 2, For: time.Second}}},
			"jobs, sent 1 s before by g3: nobody had taken it"},
		{"and what was before it", &query.Meanwhile{Messages: []query.Untaken{{Row: row(4, "g3", event.KindSend, "f"), Ahead: 2}}},
			"2 messages were ahead of it; that anybody took it is not recorded"},
		{"or is not known", &query.Meanwhile{Messages: []query.Untaken{{Row: row(4, "g3", event.KindSend, "f"), Ahead: -1}}}, "      that anybody took it is not recorded"},
		{"more than is shown", &query.Meanwhile{More: 3, Cut: "not all of it"}, "    … and 3 more streams\n"},
		{"and why", &query.Meanwhile{More: 1, Cut: "not all of it"}, "    not all of it\n"},
	} {
		var text, lines bytes.Buffer
		if err := Why(&text, gaveUp(c.m), Style{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text.String(), c.want) {
			t.Errorf("%s: no %q in\n%s", c.story, c.want, text.String())
		}
		if err := WhyJSON(&lines, gaveUp(c.m), Style{}); err != nil || !strings.Contains(lines.String(), `{"type":"meanwhile","of":9,`) {
			t.Errorf("%s: %v\n%s", c.story, err, lines.String())
		}
	}
}

func TestWhatLayReadyWasNotWaitedFor(t *testing.T) {
	by := &query.Row{Event: event.Event{ID: 1, Stream: "g2", Func: "f"}}
	of := &query.Row{Event: event.Event{ID: 9, Stream: "g1", Kind: event.KindError, Key: "done", Time: 1000}}
	timer := query.Wait{Row: of, For: query.Cause{Edge: event.Edge{ID: 1, Kind: event.EdgeMessage}, Row: &query.Row{Event: event.Event{ID: 1, Stream: "timer8"}}}, Waited: 700}
	wait := func(kind event.EdgeKind, before, waited time.Duration) query.Wait {
		return query.Wait{Row: of, For: query.Cause{Edge: event.Edge{ID: 1, Kind: kind}, Row: by, Before: before}, Waited: waited}
	}
	for want, w := range map[string]query.Wait{
		"⧗ waited 700 ns for timer8 [1]":                   timer,
		"⧗ found the end of done, closed by g2 f":          wait(event.EdgeClose, 600, 500),
		"⧗ found a message on done, from g2 f":             wait(event.EdgeMessage, 600, 500),
		"⧗ waited 500 ns for a message on done, from g2 f": wait(event.EdgeMessage, 500, 500),
		"⧗ waited 500 ns for the lock done, held by g2 f":  wait(event.EdgeLock, 400, 500),
		"⧗ for the end of done, closed by g2 f":            wait(event.EdgeClose, 600, 0),
		"pastcone why 1   what it waited for, 500 ns":      wait(event.EdgeClose, 500, 500),
		"next  pastcone show 9":                            wait(event.EdgeClose, 501, 500),
	} {
		var text bytes.Buffer
		if err := Why(&text, &query.Chain{Steps: []query.Step{{Row: of, Waits: []query.Wait{w}}}}, Style{All: true}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(strings.Fields(text.String()), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

func TestDataReadsAsInGo(t *testing.T) {
	for _, c := range []struct {
		kind       event.Kind
		data, want string
	}{
		{event.KindCall, `{"args":["0xc000123450","0xab","a \"b\"",7,1.5,true,null,{"type":"shop.Order"},{"error":"no"},[1,{}]]}`,
			`(0x…3450, "0xab", "a \"b\"", 7, 1.5, true, nil, shop.Order{…}, error "no", [1,{}])`},
		{event.KindCall, `{"args":[]}`, "()"},
		{event.KindCall, `{"method":"GET","path":"/a b"}`, `method=GET path="/a b"`},
		{event.KindReturn, `{"result":null}`, "→ nil"},
		{event.KindReturn, `{"reason":"error","result":[1,{"error":"no"}]}`, `reason=error → (1, error "no")`},
		{event.KindState, `{"old":"new","new":{"type":"shop.Status"}}`, `"new" → shop.Status{…}`},
		{event.KindError, `{"error":"no","wraps":true,"identity":"7"}`, "error=no"},
		{event.KindError, `{"passed":true,"identity":"7"}`, "(passed on)"},
		{event.KindLog, `{"timer":7}`, "sets timer7"},
		{event.KindLog, `{"notify":true}`, "wakes a waiter"},
		{event.KindLog, `{"timer":"x","notify":1,"args":[1],"identity":"a"}`, "timer=x notify=1 args=[1] identity=a"},
		{event.KindLog, `{"empty":"","nothing":null}`, `empty="" nothing=null`},
		{event.KindCall, `{"args":"no list"}`, `args="no list"`},
		{event.KindLog, `[1]`, `[1]`}, {event.KindLog, ``, ""},
		{event.KindCall, `{"args":["\u001b[2J"]}`, `("\x1b[2J")`},
	} {
		if got := dataText(&event.Event{Kind: c.kind, Data: []byte(c.data)}, ""); got != c.want {
			t.Errorf("%s of a %s reads %s, not %s", c.data, c.kind, got, c.want)
		}
	}
	for _, c := range []struct {
		e    event.Event
		want string
	}{
		{event.Event{Kind: event.KindState, Key: "n", Data: []byte(`{"old":1,"new":2}`)}, "n 1 → 2"},
		{event.Event{Kind: event.KindState, Key: "n", Func: "f", Data: []byte(`{"by":1}`)}, "n  f"},
		{event.Event{Kind: event.KindLog, Func: "a.F", Data: []byte(`{"timer":3}`)}, "sets timer3  a.F"},
		{event.Event{Kind: event.KindLog, Func: "a.F", Data: []byte(`{"message":"hi"}`)}, "a.F"},
	} {
		if got := what(&c.e); got != c.want {
			t.Errorf("%s is about %q, not %q", c.e.Kind, got, c.want)
		}
	}
}

func TestFunctionsOfATableAreShortWhereTheyDoNotFit(t *testing.T) {
	q, err := query.Parse("{} | count() by (func)")
	if err != nil {
		t.Fatal(err)
	}
	table := func(width int, functions ...string) string {
		var w bytes.Buffer
		f := NewFind(&w, q, Style{Width: width})
		for _, name := range functions {
			if err := f.Hit(&query.Hit{Values: []query.Value{{Type: query.Text, Text: name}, {Type: query.Integer, Whole: 1}}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.End(query.Summary{Given: uint64(len(functions))}); err != nil { // #nosec G115 -- a count
			t.Fatal(err)
		}
		return w.String()
	}
	const one, other = "example.com/a/long/path/to/shop.(*Order).Pay", "example.com/another/path/to/shop.(*Order).Pay"
	if text := table(100, one); !strings.Contains(text, one) {
		t.Errorf("there is room for the path:\n%s", text)
	}
	if text := table(50, one, "main.main", "x.F.deferwrap2"); strings.Contains(text, "…") || !strings.Contains(text, "\nshop.(*Order).Pay ") || !strings.Contains(text, "\nx.F ") {
		t.Errorf("there is none:\n%s", text)
	}
	if text := table(50, one, other); strings.Count(text, "\nshop.(*Order).Pay ") != 1 || !strings.Contains(text, "r/path/to/shop.(*Order).Pay ") {
		t.Errorf("two of the same short name are told apart:\n%s", text)
	}
}
