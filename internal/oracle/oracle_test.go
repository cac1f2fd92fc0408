package oracle

import (
	"bufio"
	"encoding/json"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/pastcone/pastcone/event"
)

// loadEvents reads event lines.
func loadEvents(t testing.TB, path string) []event.Event {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var events []event.Event
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		if len(scanner.Bytes()) == 0 || scanner.Bytes()[0] == '#' {
			continue
		}
		e, err := event.ParseLine(scanner.Bytes())
		if err != nil {
			t.Fatalf("%s: line %d: %v", path, len(events)+1, err)
		}
		events = append(events, e)
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	return events
}

// expectation is a line of the worked example.
type expectation struct {
	Key        string
	Parent     string
	Founder    string
	Background bool
	Edges      []struct{ From, Kind string }
	Duration   int64
}

// expectations reads what a file expects, by event.
func expectations(t testing.TB, path string) map[string]expectation {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]expectation{}
	for d := json.NewDecoder(f); d.More(); {
		var x expectation
		if err := d.Decode(&x); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[x.Key] = x
	}
	return all
}

// meets compares a verdict with an expectation.
func (x expectation) meets(t testing.TB, v *Verdict) {
	t.Helper()
	if v == nil {
		t.Fatalf("%s: no verdict", x.Key)
	}
	parent := ""
	if v.Parent != (At{}) {
		parent = v.Parent.String()
	}
	if parent != x.Parent {
		t.Errorf("%s: parent %q, expected %q", x.Key, parent, x.Parent)
	}
	if v.Founder.String() != x.Founder || v.Background != x.Background {
		t.Errorf("%s: founder %s (background %v), expected %s (%v)", x.Key, v.Founder, v.Background, x.Founder, x.Background)
	}
	if int64(v.Duration) != x.Duration {
		t.Errorf("%s: duration %d, expected %d", x.Key, v.Duration, x.Duration)
	}
	if len(v.Edges) != len(x.Edges) {
		t.Errorf("%s: edges %v, expected %v", x.Key, v.Edges, x.Edges)
		return
	}
	for i, e := range x.Edges {
		if v.Edges[i].From.String() != e.From || v.Edges[i].Kind.String() != e.Kind {
			t.Errorf("%s: edge %d is %v, expected %s from %s", x.Key, i, v.Edges[i], e.Kind, e.From)
		}
	}
}

func TestWorkedExample(t *testing.T) {
	events := loadEvents(t, "testdata/example.ndjson")
	expected := expectations(t, "testdata/example.expected.ndjson")
	if len(events) != 694 || len(expected) != 694 {
		t.Fatalf("%d events, %d expectations; the worked example has 694", len(events), len(expected))
	}
	truth, err := Correlate(events)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range truth.Verdicts {
		expected[v.At.String()].meets(t, v)
		if !v.Sure {
			t.Errorf("%s: everything in the worked example is beyond doubt", v.At)
		}
	}
}

func TestOrderOfTheInputDoesNotMatter(t *testing.T) {
	events := loadEvents(t, "testdata/example.ndjson")
	want, err := Correlate(events)
	if err != nil {
		t.Fatal(err)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	got, err := Correlate(events)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range want.Verdicts {
		if got.Verdicts[i].At != v.At || got.Verdicts[i].Parent != v.Parent || got.Verdicts[i].Founder != v.Founder {
			t.Fatalf("place %d: %+v, in order %+v", i, got.Verdicts[i], v)
		}
	}
}
