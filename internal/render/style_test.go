package render

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
)

func TestDurationsHaveThreeDigits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", 7: "7 ns", 999: "999 ns", 1000: "1 µs", 1500: "1.5 µs", 12345: "12.3 µs", 999_999: "999 µs", 1_540_000: "1.54 ms",
		179_551_000: "179 ms", time.Second: "1 s", 59_999_999_999: "59.9 s", time.Minute: "1m00s", 61 * time.Second: "1m01s",
		90 * time.Minute: "1h30m", 50 * time.Hour: "2d02h", -1500: "-1.5 µs",
	} {
		if got := took(d); got != want {
			t.Errorf("%d ns is %q, not %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{180_160_000: "180.16 ms", 40_000: "40 µs", 1_234_567_890: "1.234 s", time.Hour: "1h00m"} {
		if got := since(d); got != want {
			t.Errorf("since %d ns is %q, not %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 5 << 40: "5 TiB"} {
		if got := size(n); got != want {
			t.Errorf("%d bytes are %q, not %q", n, got, want)
		}
	}
	if got := Count(1234567); got != "1,234,567" {
		t.Errorf("got %s", got)
	}
}

func TestARecordingCannotSteerTheTerminal(t *testing.T) {
	evil := "a\x1b[2Jb\u202ec\r\nd\u0085e\xff"
	if got := clean(evil); strings.ContainsAny(got, "\x1b\r\n\u0085\u202e") || strings.Contains(got, "\xff") || !strings.HasPrefix(got, "a·[2Jb") {
		t.Errorf("%q", got)
	}
	row := &query.Row{Event: event.Event{
		ID: 1, Stream: evil, Kind: event.KindError, Func: evil, File: "/x/" + evil, Line: 3, Key: evil, Child: evil, Message: evil,
		Peer: evil, Ref: evil, Cause: []string{evil}, Correlation: 1, Data: []byte(`{"error":"x\u001b[2Jy","k\u001b":"v\u001b","n":{"a":"\u202e"}}`),
		Causes: []event.Edge{{ID: 9, Kind: event.EdgeLock}},
	}}
	other := &query.Row{Event: row.Event}
	other.Event.ID, other.Event.Kind = 2, event.KindAcquire
	var w bytes.Buffer
	s := Style{All: true}
	chain := &query.Chain{Steps: []query.Step{{Row: row}, {Row: other, Crosses: true, Waits: []query.Wait{{Row: other, Waited: 1, For: query.Cause{Row: row, Edge: event.Edge{Kind: event.EdgeWake}}}}}}, Errors: []*query.Row{row}}
	detail := &query.Detail{Row: row, Causes: []query.Cause{{Row: other}}, Effects: []*query.Node{{Row: other}}, Before: []*query.Row{other}}
	tree := &query.Tree{Root: &query.Node{Row: row, Effects: []*query.Node{{Row: other}}}}
	relation := &query.Relation{A: row, B: other, Order: query.Before, Path: []query.PathStep{{Row: row}, {Row: other}}}
	q, err := query.Parse("{} | count() by (func)")
	if err != nil {
		t.Fatal(err)
	}
	table := NewFind(&w, q, s)
	events, err := query.Parse("{}")
	if err != nil {
		t.Fatal(err)
	}
	list := NewFind(&w, events, s)
	err = errors.Join(
		Why(&w, chain, s), Show(&w, detail, s), Future(&w, tree, s), Relate(&w, relation, s),
		table.Hit(&query.Hit{Values: []query.Value{{Type: query.Text, Text: evil}, {Type: query.JSON, Text: evil}}}), table.End(query.Summary{Given: 1}),
		list.Hit(&query.Hit{Event: row.Event}), list.End(query.Summary{Given: 1}),
		Stats(&w, &query.Statistics{Events: 1, Functions: []query.Counted[string]{{What: evil, Count: 1}}}, s),
		Suggest(&w, []query.Suggestion{{Row: row}}, s),
	)
	if err != nil {
		t.Fatal(err)
	}
	if i := max(strings.IndexAny(w.String(), "\x1b\r\u202e\u0085"), strings.Index(w.String(), "\xff")); i >= 0 {
		t.Errorf("a control character gets through: %q", w.String()[max(0, i-60):i+10])
	}
}

func TestLinesKeepTheirWidth(t *testing.T) {
	for _, c := range []struct {
		text string
		most int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"世界世界", 5, "世界…"}, {"abc", 0, ""}} {
		if got := shorten(c.text, c.most); got != c.want {
			t.Errorf("%q in %d columns is %q", c.text, c.most, got)
		}
	}
	for _, c := range []struct {
		text string
		most int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "…cd"}, {"世界世界", 5, "…世界"}, {"abc", 0, ""}, {"世", 1, "…"}} {
		if got := shortenLeft(c.text, c.most); got != c.want {
			t.Errorf("%q in %d columns is %q", c.text, c.most, got)
		}
	}
	if n := columns("a\u0301"); n != 1 {
		t.Errorf("a letter with an accent takes %d", n)
	}
	long := strings.Repeat("word ", 100) + strings.Repeat("x", 3000)
	for _, l := range wrap(long, 40) {
		if columns(l) > 40 {
			t.Errorf("%q is too long", l)
		}
	}
	if n := len(wrap(long, 40)); n != wrapLinesMax {
		t.Errorf("%d lines", n)
	}
	for _, w := range []int{0, 1, 40, 100, 5000} {
		if got := (Style{Width: w}).width(); got < widthMin || got > widthMax {
			t.Errorf("a width of %d is %d", w, got)
		}
	}
}

func TestCommandsCanBePasted(t *testing.T) {
	for w, want := range map[string]string{"63": "63", "my rec": "'my rec'", "it's": `'it'\''s'`, "": "''", "a/b-c_1.rec": "a/b-c_1.rec", "{ kind = error }": "'{ kind = error }'", "ä": "'ä'", "~": "'~'"} {
		if got := shellWord(w); got != want {
			t.Errorf("%q is pasted as %s", w, got)
		}
	}
}

func TestFunctionsAreShownWithTheLastPartOfTheirPackage(t *testing.T) {
	for f, want := range map[string]string{
		"main.main": "main.main", "a/b.(*T).M.deferwrap1": "b.(*T).M", "b.F.func1.gowrap2.deferwrap10": "b.F.func1", "b.F.func2": "b.F.func2",
		"b.gowrap": "b.gowrap", "b.T7": "b.T7", ".gowrap1": "", "example.com/a/b.(*T).M": "b.(*T).M", "example.com/a/b.F[example.com/c.D]": "b.F[example.com/c.D]", "": "",
	} {
		if got := shortFunc(f); got != want {
			t.Errorf("%s is shown as %s", f, got)
		}
	}
	if got := place(&event.Event{File: `C:\src\x.go`, Line: 7}); got != "x.go:7" {
		t.Error(got)
	}
	if got := place(&event.Event{File: "x.go"}); got != "x.go" {
		t.Error(got)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestAFailureToWriteIsTold(t *testing.T) {
	row := &query.Row{Event: event.Event{ID: 1, Kind: event.KindCall, Stream: "g1"}}
	q, err := query.Parse("{}")
	if err != nil {
		t.Fatal(err)
	}
	many := NewFind(full{}, q, Style{})
	var hit error
	for range tableAhead {
		hit = many.Hit(&query.Hit{Event: row.Event})
	}
	for name, err := range map[string]error{
		"why": Why(full{}, &query.Chain{Steps: []query.Step{{Row: row}}}, Style{}), "why as JSON": WhyJSON(full{}, &query.Chain{Steps: []query.Step{{Row: row}}}, Style{}),
		"show": Show(full{}, &query.Detail{Row: row}, Style{}), "find": hit, "find's end": many.End(query.Summary{}),
		"find as JSON": NewFindJSON(full{}, q, Style{}).Hit(&query.Hit{Event: row.Event}),
	} {
		if err == nil {
			t.Errorf("%s does not tell", name)
		}
	}
}

func TestWhatIsNotSureIsMarked(t *testing.T) {
	step := func(id event.ID, c event.Confidence) query.Step {
		e := event.Event{ID: id, Stream: "g1", Kind: event.KindReceive, Key: "jobs", Confidence: c, CorrelationConfidence: c, Correlation: 1}
		return query.Step{Row: &query.Row{Event: e}, Edge: event.Edge{ID: id - 1, Kind: event.EdgeMessage, Confidence: c, P: 0.75}, Crosses: id > 1}
	}
	steps := []query.Step{step(1, event.Gap), step(2, event.Inferred), step(3, event.Exact)}
	steps[0].Waits = []query.Wait{
		{Row: steps[0].Row, For: query.Cause{Edge: event.Edge{Kind: event.EdgeLock, Confidence: event.Gap}}},
		{Row: steps[0].Row, For: query.Cause{Edge: event.Edge{ID: 7, Kind: event.EdgeClose}, Gone: true}, Waited: time.Second},
		{Row: steps[0].Row, For: query.Cause{Edge: event.Edge{ID: 7, Kind: event.EdgeLock}, Damaged: true}},
	}
	steps[2].Late = true
	for top, want := range map[query.Top]string{
		query.TopMissing: "✗ the cause of the first event is missing: message", query.TopRetention: "gone by retention", query.TopDepth: "pastcone why 1",
		query.TopDamaged: "✗ what came before is in a damaged part",
	} {
		var w bytes.Buffer
		if err := Why(&w, &query.Chain{Steps: steps, Top: top, Cut: "not all"}, Style{All: true}); err != nil {
			t.Fatal(err)
		}
		for _, mark := range []string{want, "~0.75", "✗", "known late", "which is missing", "which is gone by retention", "which is in a damaged part", "waited 1 s", "not all"} {
			if !strings.Contains(w.String(), mark) {
				t.Errorf("%v: no %q in\n%s", top, mark, w.String())
			}
		}
	}
}

func TestASpanLongerThanADurationIsTheLongest(t *testing.T) {
	var w bytes.Buffer
	if err := Stats(&w, &query.Statistics{Events: 2, First: 1, End: 3, TimeMin: -5, TimeMax: math.MaxInt64}, Style{}); err != nil {
		t.Fatal(err)
	}
	if text := w.String(); !strings.Contains(text, ", 106751d23h\n") || strings.Contains(text, ", -") {
		t.Errorf("the span is not the longest:\n%s", text)
	}
}

func TestWhatIsDamagedIsTold(t *testing.T) {
	var text, lines, show bytes.Buffer
	row := &query.Row{Event: event.Event{ID: 8, Stream: "g1", Kind: event.KindAcquire}}
	d := &query.Detail{Row: row, Causes: []query.Cause{{Edge: event.Edge{ID: 7, Kind: event.EdgeLock}, Damaged: true}}}
	if err := errors.Join(Partial(&text, "block 7", Style{}), PartialJSON(&lines, "block 7", Style{}), Show(&show, d, Style{})); err != nil {
		t.Fatal(err)
	}
	if text.String() != "  block 7\n" || lines.String() != "{\"type\":\"partial\",\"reason\":\"block 7\"}\n" {
		t.Errorf("%q, %q", text.String(), lines.String())
	}
	if !strings.Contains(show.String(), "in a damaged part: event 7") {
		t.Errorf("show:\n%s", show.String())
	}
}
