package query_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query/memory"
	"github.com/pastcone/pastcone/internal/wire"
)

// sample is a random recording in its public form, with the slow and obvious answers to questions about it.
// Edges go where they like, within the rules of ids and of happens-before: what they mean is not this test's business.
type sample struct {
	events  []event.Event // in the order of ids
	sources []wire.SourceID
	pasts   map[event.ID]map[event.ID]bool // what past has said
}

var (
	sampleFuncs = []string{"", "main.main", "orders.(*Queue).Push", "orders.Pop", "example.com/x/net.Dial"}
	sampleKeys  = []string{"", "jobs", "c1", "c12", "lock/a"}
	sampleTexts = []string{"declined", "timeout", `say "hi"`, "späť\nzurück", "<b>&"}
	sampleNames = map[wire.SourceID]string{1: "demo", 2: ""}
)

const sampleTime = 1_700_000_000_000_000_000

func drawSample(t *rapid.T) *sample {
	s := &sample{}
	n := rapid.IntRange(0, 70).Draw(t, "events")
	first := event.ID(rapid.IntRange(1, 40).Draw(t, "first"))
	seqs := map[string]uint64{}
	for i := range n {
		e := event.Event{
			ID: first + event.ID(i), Kind: event.Kind(rapid.IntRange(1, len(event.Kinds)).Draw(t, "kind")),
			Time: sampleTime + int64(i)*1000 + int64(rapid.IntRange(-3000, 3000).Draw(t, "jitter")),
		}
		source := wire.SourceID(rapid.IntRange(1, 2).Draw(t, "source"))
		e.Stream = "g" + strconv.Itoa(rapid.IntRange(1, 4).Draw(t, "stream"))
		at := fmt.Sprint(source, e.Stream)
		seqs[at]++
		e.Seq = seqs[at]
		if e.Func = rapid.SampledFrom(sampleFuncs).Draw(t, "func"); e.Func != "" && rapid.Bool().Draw(t, "placed") {
			e.File, e.Line = "/src/"+e.Func[:3]+".go", rapid.IntRange(0, 3).Draw(t, "line")
		}
		e.Key = rapid.SampledFrom(sampleKeys).Draw(t, "key")
		e.Ordinal = uint64(rapid.IntRange(0, 3).Draw(t, "ordinal"))
		if rapid.IntRange(0, 3).Draw(t, "rare") == 0 {
			e.Message, e.Ref, e.Peer, e.Child = "m1", "r"+strconv.Itoa(i), "g2", "g3"
			e.Cause = []string{"r1", "r2"}
			takes := rapid.Bool().Draw(t, "takes")
			e.Takes = &takes
		}
		e.Root, e.Empty = rapid.Bool().Draw(t, "root"), rapid.Bool().Draw(t, "empty")
		e.Closed, e.Background = rapid.Bool().Draw(t, "closed"), rapid.Bool().Draw(t, "background")
		e.Data = drawData(t)
		s.edges(t, &e, first)
		s.events = append(s.events, e)
		s.sources = append(s.sources, source)
	}
	s.late(t)
	s.pasts = map[event.ID]map[event.ID]bool{}
	return s
}

func drawData(t *rapid.T) json.RawMessage {
	switch rapid.IntRange(0, 3).Draw(t, "data") {
	case 0:
		return nil
	case 1:
		b, _ := json.Marshal(map[string]any{
			"n": rapid.SampledFrom([]any{-3, 0, 1, 2, 7, 1 << 60, 0.5, 2.5, 1e300}).Draw(t, "n"),
			"s": rapid.SampledFrom(sampleTexts).Draw(t, "s"), "b": rapid.Bool().Draw(t, "b"),
		})
		return b
	case 2:
		return json.RawMessage(`{"o": {"x" : [1, {"y":"deep"}, null]}, "we\u0069rd":true, "n":"7"}`)
	}
	return json.RawMessage("{\n \"n\": null,\n \"s\": \"timeout\" }")
}

// edges gives an event causes among those before it.
func (s *sample) edges(t *rapid.T, e *event.Event, first event.ID) {
	cause := func() event.Edge {
		c := event.Edge{
			Kind: event.EdgeKind(rapid.IntRange(1, len(event.EdgeKinds)).Draw(t, "edge")), Confidence: event.Confidence(rapid.IntRange(0, 2).Draw(t, "confidence")),
		}
		switch c.Confidence {
		case event.Exact:
			c.P = 1
		case event.Inferred:
			c.P = 0.5
		case event.Gap:
			return c
		}
		c.ID = event.ID(rapid.IntRange(max(1, int(e.ID)-25), int(e.ID)-1).Draw(t, "cause"))
		return c
	}
	e.Correlation = event.ID(rapid.IntRange(1, int(e.ID)).Draw(t, "correlation"))
	e.Position = uint32(rapid.IntRange(0, 3).Draw(t, "position"))
	e.CorrelationConfidence = event.Confidence(rapid.IntRange(0, 2).Draw(t, "correlation confidence"))
	if e.ID <= 1 || rapid.IntRange(0, 4).Draw(t, "orphan") == 0 {
		return
	}
	for range rapid.IntRange(1, 3).Draw(t, "causes") {
		e.Causes = append(e.Causes, cause())
	}
	e.Parent, e.Confidence = e.Causes[0].ID, e.Causes[0].Confidence
	if e.Kind == event.KindReturn && e.Parent != 0 {
		e.Duration = time.Duration(rapid.SampledFrom([]int{0, 0, 3, 1500, 2_000_000, 70_000_000}).Draw(t, "duration"))
		if rapid.Bool().Draw(t, "returns") || e.Duration > 0 {
			e.Causes[0].Kind = event.EdgeReturn
		}
	}
}

// late adds edges that run against the ids, where happens-before stays without a circle.
func (s *sample) late(t *rapid.T) {
	if len(s.events) < 2 {
		return
	}
	for range rapid.IntRange(0, 3).Draw(t, "late edges") {
		to := rapid.IntRange(0, len(s.events)-2).Draw(t, "late effect")
		from := rapid.IntRange(to+1, len(s.events)-1).Draw(t, "late cause")
		if s.before(s.events[to].ID, s.events[from].ID) {
			continue
		}
		s.events[to].Causes = append(s.events[to].Causes, event.Edge{ID: s.events[from].ID, Kind: event.EdgeSpawn, P: 1})
		if len(s.events[to].Causes) == 1 { // it would be taken for the parent's
			s.events[to].Causes = append([]event.Edge{{Kind: event.EdgeSpawn, Confidence: event.Gap}}, s.events[to].Causes...)
			s.events[to].Confidence = event.Gap
		}
	}
}

func (s *sample) at(id event.ID) *event.Event {
	if len(s.events) == 0 || id < s.events[0].ID || id >= s.events[0].ID+event.ID(len(s.events)) {
		return nil
	}
	return &s.events[id-s.events[0].ID]
}

// causesOf gives the ids of an event's causes that are there, late ones included.
func (s *sample) causesOf(e *event.Event) (ids []event.ID) {
	for _, c := range e.Causes {
		if c.ID != 0 && s.at(c.ID) != nil {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// past gives everything that happened before an event: by its stream and by its causes, transitively.
func (s *sample) past(id event.ID) map[event.ID]bool {
	if seen := s.pasts[id]; seen != nil {
		return seen
	}
	seen := map[event.ID]bool{}
	var visit func(event.ID)
	visit = func(id event.ID) {
		e := s.at(id)
		next := s.causesOf(e)
		for i := range s.events {
			if p := &s.events[i]; p.Stream == e.Stream && s.sources[i] == s.sources[id-s.events[0].ID] && p.Seq+1 == e.Seq {
				next = append(next, p.ID)
			}
		}
		for _, c := range next {
			if !seen[c] {
				seen[c] = true
				visit(c)
			}
		}
	}
	visit(id)
	if s.pasts != nil {
		s.pasts[id] = seen
	}
	return seen
}

func (s *sample) before(a, b event.ID) bool { return s.past(b)[a] }

func (s *sample) reader(t *rapid.T) *memory.Reader {
	r, err := memory.FromEvents(s.events, s.sources, rapid.IntRange(1, 24).Draw(t, "rows in a block"))
	if err != nil {
		t.Fatal(err)
	}
	r.KeepAll = rapid.Bool().Draw(t, "without an index")
	return r
}

// test is a condition as text, and what it means.
type test struct {
	text  string
	holds func(s *sample, i int) bool
}

func numbersTest(t *rapid.T, name string, values []int64, get func(s *sample, i int) (int64, bool)) test {
	op := rapid.SampledFrom([]string{"=", "!=", "<", "<=", ">", ">="}).Draw(t, "operator")
	v := rapid.SampledFrom(values).Draw(t, "value")
	half := name != "time" && rapid.IntRange(0, 5).Draw(t, "half") == 0
	text, want := strconv.FormatInt(v, 10), float64(v)
	if half {
		text, want = text+".5", want+0.5
		if v < 0 {
			want--
		}
	}
	return test{fmt.Sprintf("%s %s %s", name, op, text), func(s *sample, i int) bool {
		x, ok := get(s, i)
		if !half {
			return ok && compareFloats(op, float64(cmp.Compare(x, v)), 0)
		}
		return ok && compareFloats(op, float64(x), want)
	}}
}

func compareFloats(op string, a, b float64) bool {
	return map[string]bool{"=": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]
}

func textsTest(t *rapid.T, name string, values []string, get func(e *event.Event) string) test {
	op := rapid.SampledFrom([]string{"=", "!=", "=~", "!~", "<", ">="}).Draw(t, "operator")
	v := rapid.SampledFrom(values).Draw(t, "value")
	if op == "=~" || op == "!~" {
		v = rapid.SampledFrom([]string{"^g[12]$", "o", ".*", "(?i)PUSH", `\(\*`, "1$", "x^"}).Draw(t, "expression")
	}
	return test{fmt.Sprintf("%s %s %s", name, op, strconv.Quote(v)), func(s *sample, i int) bool {
		x := get(&s.events[i])
		switch {
		case x == "":
			return op == "=" && v == ""
		case op == "=":
			return x == v
		case op == "!=":
			return x != v
		case op == "<":
			return x < v
		case op == ">=":
			return x >= v
		}
		return regexp.MustCompile(v).MatchString(x) == (op == "=~")
	}}
}

func boolTest(t *rapid.T, name string, get func(e *event.Event) bool) test {
	form := rapid.SampledFrom([]string{"%s", "%s = true", "%s = false", "%s != true", "!%s"}).Draw(t, "form")
	yes := form == "%s" || form == "%s = true"
	return test{fmt.Sprintf(form, name), func(s *sample, i int) bool { return get(&s.events[i]) == yes }}
}

func nilTest(t *rapid.T, name string, there func(e *event.Event) bool) test {
	op := rapid.SampledFrom([]string{"=", "!="}).Draw(t, "operator")
	return test{name + " " + op + " nil", func(s *sample, i int) bool { return there(&s.events[i]) == (op == "!=") }}
}

func hasDuration(e *event.Event) bool {
	return e.Kind == event.KindReturn && (e.Duration != 0 || len(e.Causes) > 0 && e.Causes[0].Kind == event.EdgeReturn && e.Parent != 0)
}

// dataAt follows a path with the standard library.
func dataAt(e *event.Event, path ...string) any {
	if len(e.Data) == 0 {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(string(e.Data)))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil
	}
	for _, p := range path {
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			n, err := strconv.Atoi(p)
			if err != nil || n >= len(x) {
				return nil
			}
			v = x[n]
		default:
			return nil
		}
	}
	return v
}

func dataNumberTest(t *rapid.T) test {
	op := rapid.SampledFrom([]string{"=", "!=", "<", "<=", ">", ">="}).Draw(t, "operator")
	v := rapid.SampledFrom([]string{"0", "1", "-3", "0.5", "2.4", "7", "1152921504606846976", "1e300"}).Draw(t, "value")
	return test{"data.n " + op + " " + v, func(s *sample, i int) bool {
		x := dataAt(&s.events[i], "n")
		n, ok := x.(json.Number)
		if !ok {
			return x != nil && op == "!="
		}
		a, _ := n.Float64()
		b, _ := strconv.ParseFloat(v, 64)
		return compareFloats(op, a, b)
	}}
}

func dataTextTest(t *rapid.T) test {
	op := rapid.SampledFrom([]string{"=", "!=", "<", ">=", "=~", "!~"}).Draw(t, "operator")
	name := rapid.SampledFrom([][]string{{"s"}, {"o", "x", "1", "y"}, {"n"}, {"o", "x", "2"}}).Draw(t, "name")
	v := rapid.SampledFrom(append([]string{"deep", "7", ""}, sampleTexts...)).Draw(t, "value")
	return test{"data." + strings.Join(name, ".") + " " + op + " " + strconv.Quote(v), func(s *sample, i int) bool {
		x := dataAt(&s.events[i], name...)
		text, ok := x.(string)
		if n, number := x.(json.Number); number && (op == "=~" || op == "!~") {
			text, ok = string(n), true
		}
		switch {
		case x == nil:
			return false
		case !ok:
			return op == "!=" || op == "!~" && !regexp.MustCompile(v).MatchString(fmt.Sprint(x))
		case op == "=~" || op == "!~":
			return regexp.MustCompile(v).MatchString(text) == (op == "=~")
		}
		return map[string]bool{"=": text == v, "!=": text != v, "<": text < v, ">=": text >= v}[op]
	}}
}

func textTest(t *rapid.T) test {
	op := rapid.SampledFrom([]string{"=", "!=", "=~", "!~"}).Draw(t, "operator")
	v := rapid.SampledFrom(append([]string{"Push", "g1", "jobs", "r1", "src", "deep"}, sampleTexts...)).Draw(t, "value")
	want := v
	if op == "=~" || op == "!~" {
		want = regexp.QuoteMeta(v)
	}
	return test{"text " + op + " " + strconv.Quote(want), func(s *sample, i int) bool {
		e := &s.events[i]
		found := false
		for _, x := range []string{e.Func, e.File, e.Stream, e.Key, e.Peer, e.Child, e.Message, e.Ref} {
			found = found || strings.Contains(x, v)
		}
		var data any
		if json.Unmarshal(e.Data, &data) == nil {
			found = found || strings.Contains(flat(data), v)
		}
		return found == (op == "=" || op == "=~")
	}}
}

// flat gives all texts within a value.
func flat(v any) string {
	var b strings.Builder
	switch x := v.(type) {
	case string:
		b.WriteString(x + "\x00")
	case []any:
		for _, y := range x {
			b.WriteString(flat(y))
		}
	case map[string]any:
		for k, y := range x {
			b.WriteString(k + "\x00" + flat(y))
		}
	}
	return b.String()
}

// drawTest draws a comparison of some field.
func drawTest(t *rapid.T) test {
	whole := func(get func(e *event.Event) uint64) func(*sample, int) (int64, bool) {
		return func(s *sample, i int) (int64, bool) { x := get(&s.events[i]); return int64(x), x != 0 }
	}
	small := []int64{-1, 0, 1, 2, 3, 10, 30, 60}
	switch rapid.IntRange(0, 27).Draw(t, "field") {
	case 0:
		k := rapid.SampledFrom(event.Kinds[:]).Draw(t, "kind")
		op := rapid.SampledFrom([]string{"=", "!="}).Draw(t, "operator")
		return test{"kind " + op + " " + k.Name, func(s *sample, i int) bool { return (s.events[i].Kind == k.Kind) == (op == "=") }}
	case 1:
		return test{`kind =~ "^(se|re)"`, func(s *sample, i int) bool {
			return strings.HasPrefix(s.events[i].Kind.String(), "se") || strings.HasPrefix(s.events[i].Kind.String(), "re")
		}}
	case 2:
		return numbersTest(t, "seq", small, whole(func(e *event.Event) uint64 { return e.Seq }))
	case 3:
		return numbersTest(t, "id", small, whole(func(e *event.Event) uint64 { return uint64(e.ID) }))
	case 4:
		return numbersTest(t, "ordinal", small, whole(func(e *event.Event) uint64 { return e.Ordinal }))
	case 5:
		return numbersTest(t, "parent", small, whole(func(e *event.Event) uint64 { return uint64(e.Parent) }))
	case 6:
		return numbersTest(t, "correlation", small, whole(func(e *event.Event) uint64 { return uint64(e.Correlation) }))
	case 7:
		return numbersTest(t, "position", small, func(s *sample, i int) (int64, bool) { return int64(s.events[i].Position), true })
	case 8:
		return numbersTest(t, "line", small, whole(func(e *event.Event) uint64 { return uint64(e.Line) }))
	case 9:
		return numbersTest(t, "time", []int64{sampleTime, sampleTime + 5000, sampleTime + 20_000, 0}, func(s *sample, i int) (int64, bool) { return s.events[i].Time, true })
	case 10:
		op := rapid.SampledFrom([]string{"=", "!=", "<", "<=", ">", ">="}).Draw(t, "operator")
		v := rapid.SampledFrom([]string{"0", "3ns", "1.5us", "2ms", "1m10s"}).Draw(t, "value")
		want, _ := time.ParseDuration(strings.Replace(v, "0", "0", 1) + map[bool]string{true: "s"}[v == "0"])
		return test{"duration " + op + " " + v, func(s *sample, i int) bool {
			return hasDuration(&s.events[i]) && compareFloats(op, float64(s.events[i].Duration), float64(want))
		}}
	case 11:
		return nilTest(t, "duration", hasDuration)
	case 12:
		return textsTest(t, "stream", []string{"g1", "g2", "h", ""}, func(e *event.Event) string { return e.Stream })
	case 13:
		return textsTest(t, "func", append([]string{"nowhere"}, sampleFuncs...), func(e *event.Event) string { return e.Func })
	case 14:
		return textsTest(t, "file", []string{"/src/mai.go", ""}, func(e *event.Event) string { return e.File })
	case 15:
		return textsTest(t, "key", sampleKeys, func(e *event.Event) string { return e.Key })
	case 16:
		return textsTest(t, "peer", []string{"g2", "g9", ""}, func(e *event.Event) string { return e.Peer })
	case 17:
		return textsTest(t, "message", []string{"m1", "m2", ""}, func(e *event.Event) string { return e.Message })
	case 18:
		return textsTest(t, "ref", []string{"r1", "r9", ""}, func(e *event.Event) string { return e.Ref })
	case 19:
		return boolTest(t, "root", func(e *event.Event) bool { return e.Root })
	case 20:
		return boolTest(t, "background", func(e *event.Event) bool { return e.Background })
	case 21:
		c := rapid.SampledFrom(event.Confidences[:]).Draw(t, "confidence")
		op := rapid.SampledFrom([]string{"=", "!="}).Draw(t, "operator")
		if rapid.Bool().Draw(t, "correlation") {
			return test{"correlation_confidence " + op + " " + c.Name, func(s *sample, i int) bool {
				return (s.events[i].CorrelationConfidence == c.Confidence) == (op == "=")
			}}
		}
		return test{"confidence " + op + " " + c.Name, func(s *sample, i int) bool { return (s.events[i].Confidence == c.Confidence) == (op == "=") }}
	case 22:
		op := rapid.SampledFrom([]string{"=", "!="}).Draw(t, "operator")
		if rapid.Bool().Draw(t, "by name") {
			return test{"source " + op + ` "demo"`, func(s *sample, i int) bool { // what has no name is nobody's
				return op == "=" && s.sources[i] == 1
			}}
		}
		return test{"source " + op + " 2", func(s *sample, i int) bool { return (s.sources[i] == 2) == (op == "=") }}
	case 23:
		return dataNumberTest(t)
	case 24:
		return dataTextTest(t)
	case 25:
		return textTest(t)
	case 26:
		name := rapid.SampledFrom([]string{"takes", "parent", "key", "child", "cause", "line", "ref", "data.n", "data.weird", `data."o".x`}).Draw(t, "name")
		return nilTest(t, name, func(e *event.Event) bool {
			switch name {
			case "takes":
				return e.Takes != nil
			case "parent":
				return e.Parent != 0
			case "key":
				return e.Key != ""
			case "child":
				return e.Child != ""
			case "cause":
				return len(e.Cause) > 0
			case "line":
				return e.Line != 0
			case "ref":
				return e.Ref != ""
			case "data.n":
				return dataAt(e, "n") != nil
			case "data.weird":
				return dataAt(e, "weird") != nil
			}
			return dataAt(e, "o", "x") != nil
		})
	}
	want := rapid.Bool().Draw(t, "want")
	return test{fmt.Sprintf("takes = %v", want), func(s *sample, i int) bool { return s.events[i].Takes != nil && *s.events[i].Takes == want }}
}

// drawCondition draws a condition of a few comparisons.
func drawCondition(t *rapid.T, depth int) test {
	form := 0
	if depth > 0 {
		form = rapid.IntRange(0, 5).Draw(t, "form")
	}
	switch form {
	case 3:
		x := drawCondition(t, depth-1)
		return test{"!(" + x.text + ")", func(s *sample, i int) bool { return !x.holds(s, i) }}
	case 4:
		x, y := drawCondition(t, depth-1), drawCondition(t, depth-1)
		return test{"(" + x.text + ") && (" + y.text + ")", func(s *sample, i int) bool { return x.holds(s, i) && y.holds(s, i) }}
	case 5:
		x, y := drawCondition(t, depth-1), drawCondition(t, depth-1)
		return test{"(" + x.text + ") || (" + y.text + ")", func(s *sample, i int) bool { return x.holds(s, i) || y.holds(s, i) }}
	}
	return drawTest(t)
}

// drawSet draws a set of events, with the relations.
func drawSet(t *rapid.T, depth int) test {
	form := 0
	if depth > 0 {
		form = rapid.IntRange(0, 9).Draw(t, "set")
	}
	switch {
	case form < 3:
		x := drawCondition(t, 2)
		return test{"{ " + x.text + " }", x.holds}
	case form == 3:
		return test{"{}", func(*sample, int) bool { return true }}
	case form == 4:
		x := drawSet(t, depth-1)
		return test{"!(" + x.text + ")", func(s *sample, i int) bool { return !x.holds(s, i) }}
	}
	x, y := drawSet(t, depth-1), drawSet(t, depth-1)
	switch form {
	case 5:
		return test{"(" + x.text + ") && (" + y.text + ")", func(s *sample, i int) bool { return x.holds(s, i) && y.holds(s, i) }}
	case 6:
		return test{"(" + x.text + ") || (" + y.text + ")", func(s *sample, i int) bool { return x.holds(s, i) || y.holds(s, i) }}
	}
	op := rapid.SampledFrom([]string{">>", "<<", ">", "<"}).Draw(t, "relation")
	not := rapid.IntRange(0, 3).Draw(t, "negated") == 0
	bang := map[bool]string{true: "!"}[not]
	return test{"(" + x.text + ") " + bang + op + " (" + y.text + ")", func(s *sample, i int) bool {
		if !x.holds(s, i) {
			return false
		}
		related := false
		for j := range s.events {
			if i == j || !y.holds(s, j) {
				continue
			}
			a, b := &s.events[i], &s.events[j]
			switch op {
			case ">>":
				related = related || s.before(a.ID, b.ID)
			case "<<":
				related = related || s.before(b.ID, a.ID)
			case ">":
				related = related || contains(s.causesOf(b), a.ID)
			case "<":
				related = related || contains(s.causesOf(a), b.ID)
			}
		}
		return related != not
	}}
}

func contains(ids []event.ID, id event.ID) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}
