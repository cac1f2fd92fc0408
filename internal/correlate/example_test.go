package correlate

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// verdictLine is a line of the worked example's expectations.
type verdictLine struct {
	Key        string
	Parent     string
	Founder    string
	Background bool
	Edges      []struct{ From, Kind string }
	Duration   int64
}

func example(t testing.TB) (lines []storyLine, expected map[string]verdictLine) {
	t.Helper()
	f, err := os.Open("testdata/example.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		e, err := event.ParseLine(s.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, storyLine{event: e})
	}
	g, err := os.Open("testdata/example.expected.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	expected = map[string]verdictLine{}
	for d := json.NewDecoder(g); d.More(); {
		var v verdictLine
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		expected[v.Key] = v
	}
	if len(lines) != 694 || len(expected) != 694 {
		t.Fatalf("%d events, %d expectations; there are 694", len(lines), len(expected))
	}
	return lines, expected
}

// agrees compares what came out with the worked example.
func (k *collector) agrees(t *testing.T, expected map[string]verdictLine) {
	t.Helper()
	if len(k.results) != len(expected) || len(k.rejected) > 0 {
		t.Fatalf("%d results, %d rejected", len(k.results), len(k.rejected))
	}
	for _, r := range k.results {
		want := expected[k.name(r.ID)]
		got := verdictLine{Key: k.name(r.ID), Founder: k.name(r.Correlation), Background: r.Background, Duration: int64(r.Duration)}
		if r.Parent != 0 {
			got.Parent = k.name(r.Parent)
		}
		for _, c := range r.Causes {
			got.Edges = append(got.Edges, struct{ From, Kind string }{k.name(c.ID), c.Kind.String()})
			if c.Confidence != event.Exact {
				t.Errorf("%s: an edge is %v", want.Key, c.Confidence)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v\n\tshould be %v", got, want)
		}
		position := uint32(0)
		if p := k.byID[r.Parent]; p != nil && r.Correlation != r.ID {
			position = p.Position + 1
		}
		if r.Position != position || r.Confidence != event.Exact || r.CorrelationConfidence != event.Exact {
			t.Errorf("%s: position %d, should be %d; %v, %v", want.Key, r.Position, position, r.Confidence, r.CorrelationConfidence)
		}
	}
}

// The worked example settles what the words leave open. However it comes, the results are the same.
func TestWorkedExample(t *testing.T) {
	lines, expected := example(t)
	span := lines[len(lines)-1].event.Time - lines[0].event.Time
	rng := rand.New(rand.NewPCG(1, 2))
	shuffled := func() []storyLine {
		l := slices.Clone(lines)
		rng.Shuffle(len(l), func(i, j int) { l[i], l[j] = l[j], l[i] })
		return l
	}
	for _, way := range []struct {
		name     string
		finite   bool
		lateness time.Duration
		order    func() []storyLine
	}{
		{"in order", false, time.Duration(span / 100), func() []storyLine { return lines }},
		{"in order, finite", true, 1, func() []storyLine { return lines }},
		{"shuffled", true, 1, shuffled},
		{"shuffled, live, within the lateness", false, time.Duration(2 * span), shuffled},
		{"late by half the lateness", false, time.Duration(span / 20), func() []storyLine {
			l := slices.Clone(lines)
			slices.SortStableFunc(l, func(a, b storyLine) int {
				late := func(e *event.Event) int64 { return e.Time + int64(e.Seq*7919)%(span/40) }
				return int(late(&a.event) - late(&b.event))
			})
			return l
		}},
	} {
		for _, size := range []int{1, 2, 7, 64, 1000} {
			for _, rows := range []int{0, 1, 10} {
				t.Run(fmt.Sprintf("%s/batches of %d/blocks of %d", way.name, size, rows), func(t *testing.T) {
					table := wire.NewTable(1 << 20)
					k := collect(t, table)
					c := New(Options{Table: table, Lateness: way.lateness, BlockRows: rows}, k)
					c.Open(1, way.finite)
					done := 0
					n := 0
					for chunk := range slices.Chunk(way.order(), size) {
						b := batch(t, table, 1, chunk...)
						n++
						b.Done = func(last event.ID) {
							done++
							if last >= k.next || last == 0 {
								t.Errorf("done with id %d before it is emitted: next is %d", last, k.next)
							}
						}
						c.Add(b)
					}
					c.Finish()
					if done != n {
						t.Errorf("%d of %d batches are done", done, n)
					}
					k.agrees(t, expected)
					if s := c.Stats(); s.Emitted != 694 || s.Accepted != 694 || s.Waiting != 0 || s.Streams != 0 {
						t.Errorf("%+v", s)
					}
				})
			}
		}
	}
}
