package query_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
)

// lines runs a query and gives each hit as text.
func lines(t *testing.T, r query.Reader, text string, o query.Options) (all []string) {
	t.Helper()
	if _, err := query.Run(ctx, r, parse(t, text), o, func(h *query.Hit) error {
		all = append(all, strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(h.Values), "["), "]"))
		return nil
	}); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return all
}

func TestSelectedFieldsHaveTheValuesOfTheEvent(t *testing.T) {
	yes := true
	r := told(t, 7, event.Event{
		Stream: "g1", Kind: event.KindReceive, Func: "a.B", File: "/a.go", Line: 3, Key: "k1", Ordinal: 2, Message: "m", Peer: "g2", Child: "g3",
		Ref: "r", Cause: []string{"x", "y"}, Root: true, Closed: true, Takes: &yes, Background: true, Position: 4, Correlation: 5,
		CorrelationConfidence: event.Inferred, Causes: by(event.EdgeMessage, 6),
		Data: []byte(`{"i":1,"f":1.5,"s":"é\"\n","b":false,"n":null,"o":{"a":[1,2]},"big":1e400}`),
	}, event.Event{Stream: "g1", Kind: event.KindReturn, Duration: 1500, Causes: by(event.EdgeReturn, 7)})
	for text, want := range map[string]string{
		"id": "7", "time": "1970-01-01T00:00:00.000007Z", "seq": "1", "stream": "g1", "source": "demo", "kind": "receive", "func": "a.B", "file": "/a.go",
		"line": "3", "key": "k1", "ordinal": "2", "message": "m", "peer": "g2", "child": "g3", "ref": "r", "cause": "x y", "root": "true", "empty": "false",
		"closed": "true", "takes": "true", "inferred": "false", "background": "true", "parent": "6", "correlation": "5", "position": "4", "duration": "",
		"confidence": "exact", "correlation_confidence": "inferred", "data.i": "1", "data.f": "1.5", "data.s": "é\"\n", "data.b": "false", "data.n": "",
		"data.o": `{"a":[1,2]}`, "data.o.a.1": "2", "data.o.a.9": "", "data.o.a.x": "", "data.i.x": "", "data.none": "", "data.big": "1e400",
	} {
		if got := lines(t, r, "{ id = 7 } | select("+text+")", query.Options{Sources: sampleNames}); len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, not %q", text, got, want)
		}
	}
	if got := lines(t, r, "{ id = 8 } | select(duration, takes, source, parent)", query.Options{}); got[0] != "1.5µs  1 7" {
		t.Errorf("of the return: %q", got)
	}
}

func TestValuesGoIntoJSONAsPlainOnes(t *testing.T) {
	for _, c := range []struct {
		v    query.Value
		want string
	}{
		{query.Value{}, "null"}, {query.Value{Type: query.Boolean, Whole: 1}, "true"}, {query.Value{Type: query.Integer, Whole: -3}, "-3"},
		{query.Value{Type: query.Duration, Whole: 1500}, "1500"}, {query.Value{Type: query.Time, Whole: 9}, "9"}, {query.Value{Type: query.Float, Float: 0.5}, "0.5"},
		{query.Value{Type: query.Text, Text: `a"b`}, `"a\"b"`}, {query.Value{Type: query.JSON, Text: `{"a":[1]}`}, `{"a":[1]}`},
	} {
		if got, err := json.Marshal(c.v); err != nil || string(got) != c.want {
			t.Errorf("%+v gives %s, %v", c.v, got, err)
		}
	}
}

func numbersOf(t *testing.T, values ...string) query.Reader {
	t.Helper()
	var events []event.Event
	for _, v := range values {
		events = append(events, event.Event{Stream: "g1", Kind: event.KindMetric, Data: json.RawMessage(`{"x":` + v + `}`)})
	}
	return told(t, 1, events...)
}

func TestSumsOfWholeNumbersAreExactAndOthersAreNot(t *testing.T) {
	all := "sum(data.x), avg(data.x), min(data.x), max(data.x), quantile(data.x, 0.5), count()"
	for _, c := range []struct {
		values []string
		want   string
	}{
		{[]string{"9007199254740993", "1", "-1"}, "9007199254740993 3.0024e+15 -1 9007199254740993 1 3"},
		{[]string{"-5", "-7"}, "-12 -6 -7 -5 -7 2"},
		{[]string{"9223372036854775807", "9223372036854775807"}, "1.84467e+19 9.22337e+18 9223372036854775807 9223372036854775807 9223372036854775807 2"},
		{[]string{"-9223372036854775808", "-9223372036854775808", "0"}, "-1.84467e+19 -6.14891e+18 -9223372036854775808 0 -9223372036854775808 3"},
		{[]string{"0.5", "0.25"}, "0.75 0.375 0.25 0.5 0.25 2"},
		{[]string{"0.5", "1", "-2.5"}, "-1 -0.333333 -2.5 1 0.503906 3"},
		{[]string{`"text"`, "null", "true"}, "0     3"},
		{[]string{"3", `"text"`}, "3 3 3 3 3 2"},
	} {
		got := lines(t, numbersOf(t, c.values...), "{} | "+all, query.Options{Workers: 2})
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%v give %q\nnot %q", c.values, got, c.want)
		}
	}
}

func TestGroupsOfValuesOfAllTypes(t *testing.T) {
	r := numbersOf(t, "1", "1.0", `"1"`, "true", "null", "[1]", "0.5", "0.5", "false", "[1]")
	got := lines(t, r, "{} | count() by (data.x) | sort(data.x)", query.Options{})
	want := []string{"false 1", "true 1", "0.5 2", "1 2", "1 1", "[1] 2", " 1"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q\nnot %q", got, want)
	}
	got = lines(t, r, "{} | count() by (data.x, data.y) | sort(data.x desc) | limit(1)", query.Options{})
	if len(got) != 1 || got[0] != "[1]  2" {
		t.Errorf("%q", got)
	}
	if got := lines(t, r, "{ kind = gap } | count(), max(id)", query.Options{}); len(got) != 1 || got[0] != "0 " {
		t.Errorf("nothing is counted as %q", got)
	}
	if got := lines(t, r, "{ kind = gap } | count() by (kind)", query.Options{}); len(got) != 0 {
		t.Errorf("no groups of nothing: %q", got)
	}
}

func TestSortsOfMixedValues(t *testing.T) {
	r := numbersOf(t, "2", `"b"`, "null", "1.5", "true", `"a"`, "-1")
	for text, want := range map[string]string{
		"{} | sort(data.x)":      "[5 7 4 1 6 2 3]",
		"{} | sort(data.x desc)": "[2 6 1 4 7 5 3]",
		"{} | sort(id desc)":     "[7 6 5 4 3 2 1]",
		"{} | sort(id)":          "[1 2 3 4 5 6 7]",
	} {
		if got, _ := answers(t, r, text, query.Options{Workers: 2}); fmt.Sprint(got) != want {
			t.Errorf("%s gives %v, not %s", text, got, want)
		}
	}
}

func TestNumbersAtTheEdges(t *testing.T) {
	const most, least = math.MaxInt64, math.MinInt64
	r := numbersOf(t, fmt.Sprint(most), fmt.Sprint(least), "0", "0.5", "-0.5", "1e300", "-1e300")
	for text, want := range map[string]string{
		"= 9223372036854775807":   "[1]",
		"> 9223372036854775807":   "[6]",
		">= 9223372036854775807":  "[1 6]",
		"< -9223372036854775808":  "[7]",
		"<= -9223372036854775808": "[2 7]",
		"> 1e200":                 "[6]",
		"< 1e200":                 "[1 2 3 4 5 7]",
		"!= 1e200":                "[1 2 3 4 5 6 7]",
		"= 1e300":                 "[6]",
		"> -1e200":                "[1 2 3 4 5 6]",
		">= -1e200":               "[1 2 3 4 5 6]",
		"< -1e200":                "[7]",
		"<= -1e300":               "[7]",
		"!= -1e200":               "[1 2 3 4 5 6 7]",
		"= -1e200":                "[]",
		"= 0.5":                   "[4]",
		"!= 0.5":                  "[1 2 3 5 6 7]",
		">= 0.5":                  "[1 4 6]",
		"<= -0.5":                 "[2 5 7]",
		"< 1B":                    "[2 3 4 5 7]",
		"> -1ns":                  "[1 3 4 5 6]",
		"=~ \"^-\"":               "[2 5 7]",
	} {
		if got, _ := answers(t, r, "{ data.x "+text+" }", query.Options{}); fmt.Sprint(got) != want {
			t.Errorf("%s holds for %v, not %s", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"9223372036854775807 < id": "[]", "id > -9223372036854775808": "[1 2 3 4 5 6 7]", "1e300 > seq": "[1 2 3 4 5 6 7]", "3 >= id": "[1 2 3]",
		"2 <= id && 3 > id": "[2]", "id < -9223372036854775808": "[]", "id >= 9223372036854775807.5": "[]", "id = nil": "[]", "id != nil": "[1 2 3 4 5 6 7]",
		"position = nil": "[]", "position != nil": "[1 2 3 4 5 6 7]", "time = nil": "[]", "time != nil": "[1 2 3 4 5 6 7]", "kind != nil": "[1 2 3 4 5 6 7]",
		"time > 1970-01-01": "[1 2 3 4 5 6 7]", "time <= 1970-01-01T00:00:00Z": "[]", "time >= -2us": "[5 6 7]",
	} {
		if got, _ := answers(t, r, "{ "+text+" }", query.Options{}); fmt.Sprint(got) != want {
			t.Errorf("%s holds for %v, not %s", text, got, want)
		}
	}
}

func TestManyAlternativesAreNotLookedUpOneByOne(t *testing.T) {
	var events []event.Event
	for i := range 600 {
		events = append(events, event.Event{Stream: fmt.Sprint("g", i), Kind: event.KindLog, Func: fmt.Sprint("pkg.F", i), Key: fmt.Sprint("c", i)})
	}
	r := told(t, 1, events...)
	ors := func(field, value string, from, to int) string {
		var parts []string
		for i := from; i < to; i++ {
			parts = append(parts, fmt.Sprintf("%s = \"%s%d\"", field, value, i))
		}
		return "(" + strings.Join(parts, " || ") + ")"
	}
	for text, want := range map[string]int{
		"{ " + ors("stream", "g", 0, 300) + " }": 300, "{ func =~ \"F\" }": 600, "{ func =~ \"F1..\" && func =~ \"F..1\" }": 10,
		"{ " + ors("key", "c", 0, 10) + " && " + ors("key", "c", 8, 20) + " }":  2,
		"{ " + ors("key", "c", 0, 10) + " && " + ors("key", "c", 10, 20) + " }": 0,
		"{ stream = \"g5\" || key = \"c9\" }":                                   2,
		"{ func = \"nowhere\" || stream = \"g5\" }":                             1,
		"{ stream = \"g5\" || func = \"nowhere\" }":                             1,
	} {
		got, sum := answers(t, r, text, query.Options{Workers: 2})
		if len(got) != want {
			t.Errorf("%.60s finds %d, not %d: %+v", text, len(got), want, sum)
		}
	}
}

func TestManyNamesAreTestedWithinBounds(t *testing.T) {
	var events []event.Event
	for i := range 70_000 {
		events = append(events, event.Event{Stream: "g1", Kind: event.KindLog, Key: fmt.Sprint("c", i%66_000)})
	}
	r := told(t, 1, events...)
	if got, _ := answers(t, r, `{ key =~ "^c6599[89]$" }`, query.Options{Workers: 1}); fmt.Sprint(got) != "[65999 66000]" {
		t.Errorf("%v", got)
	}
}

func TestTheQueryTellsWhatItsAnswerHolds(t *testing.T) {
	q := parse(t, "{} << {} | count(), quantile(duration, 0.5) by (func, data.a)")
	if !q.Aggregate() || !q.Causal() || fmt.Sprint(q.By()) != "[func data.a]" || fmt.Sprint(q.Columns()) != "[count() quantile(duration, 0.5)]" {
		t.Errorf("%v %v", q.By(), q.Columns())
	}
	q = parse(t, "!{} || !({} && {}) | select(id, func)")
	if q.Aggregate() || q.Causal() || fmt.Sprint(q.Selected()) != "[id func]" {
		t.Errorf("%v", q.Selected())
	}
	if q := parse(t, "{} || !({} > {})"); !q.Causal() {
		t.Error("a relation within")
	}
	for o, want := range map[query.Order]string{query.Same: "same", query.Before: "before", query.After: "after", query.Concurrent: "concurrent", query.Undecided: "undecided"} {
		if o.String() != want {
			t.Errorf("%s, not %s", o, want)
		}
	}
}

func TestElapsedIsMeasured(t *testing.T) {
	r, _ := shop(t, 4)
	began := time.Now()
	_, sum := answers(t, r, "{}", query.Options{})
	if sum.Elapsed <= 0 || sum.Elapsed > time.Since(began) {
		t.Errorf("%s", sum.Elapsed)
	}
}
