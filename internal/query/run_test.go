package query_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
)

var ctx = context.Background()

func parse(t rapid.TB, text string) *query.Query {
	t.Helper()
	q, err := query.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return q
}

// answers runs a query and gives the ids.
func answers(t rapid.TB, r query.Reader, text string, o query.Options) ([]event.ID, query.Summary) {
	t.Helper()
	ids := []event.ID{}
	sum, err := query.Run(ctx, r, parse(t, text), o, func(h *query.Hit) error {
		ids = append(ids, h.Event.ID)
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return ids, sum
}

// generous is time enough for a test on a busy machine.
const generous = time.Minute

func TestEveryQueryFindsWhatTheSlowAnswerFinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSample(t)
		r := s.reader(t)
		for range 4 {
			set := drawSet(t, 2)
			want := []event.ID{}
			for i := range s.events {
				if set.holds(s, i) {
					want = append(want, s.events[i].ID)
				}
			}
			o := query.Options{Workers: rapid.IntRange(1, 3).Draw(t, "workers"), Sources: sampleNames, CausalBudget: generous}
			got, sum := answers(t, r, set.text, o)
			if !slices.Equal(got, want) {
				t.Fatalf("%s\ngives %v\nnot   %v", set.text, got, want)
			}
			if sum.Matched != uint64(len(want)) || sum.Given != sum.Matched || sum.More || sum.Cut {
				t.Fatalf("%s: a summary of %d answers says %+v", set.text, len(want), sum)
			}
			backwards := o
			backwards.Descending = true
			got, _ = answers(t, r, set.text, backwards)
			slices.Reverse(got)
			if !slices.Equal(got, want) {
				t.Fatalf("%s backwards gives %v, not %v", set.text, got, want)
			}
			limit := rapid.IntRange(1, 5).Draw(t, "limit")
			got, sum = answers(t, r, fmt.Sprintf("%s | limit(%d)", set.text, limit), o)
			if !slices.Equal(got, want[:min(limit, len(want))]) || len(want) > limit && !sum.More {
				t.Fatalf("%s gives %v of %v within the limit %d (%+v)", set.text, got, want, limit, sum)
			}
		}
	})
}

func TestAQueryReadsTheSameWhenItIsPrinted(t *testing.T) {
	stages := []string{
		"", " | count()", " | count() by (func, data.a.\"b c\")", " | sort(duration desc) | limit(3)", " | select(id, data.x)",
		" | quantile(duration, 0.99), count() by (kind) | sort(count desc) | limit(10)", " | avg(data.n), min(time) by (func) | sort(func)",
		" | sort(data.a) | select(key)",
	}
	rapid.Check(t, func(t *rapid.T) {
		text := drawSet(t, 3).text + rapid.SampledFrom(stages).Draw(t, "stages")
		q := parse(t, text)
		printed := q.String()
		again := parse(t, printed)
		if got := again.String(); got != printed {
			t.Fatalf("%s\nprints %s\nand then %s", text, printed, got)
		}
	})
}

func TestSortsKeepTheOrderOfTheField(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSample(t)
		r := s.reader(t)
		descending := rapid.Bool().Draw(t, "descending")
		limit := rapid.IntRange(1, 80).Draw(t, "limit")
		var want []*event.Event
		for i := range s.events {
			want = append(want, &s.events[i])
		}
		slices.SortStableFunc(want, func(a, b *event.Event) int {
			if ha, hb := hasDuration(a), hasDuration(b); !ha || !hb {
				return map[bool]int{true: -1, false: 1}[ha] * map[bool]int{true: 1, false: 0}[ha != hb]
			}
			if c := int(a.Duration - b.Duration); descending {
				return -c
			} else {
				return c
			}
		})
		direction := map[bool]string{true: " desc", false: " asc"}[descending]
		got, sum := answers(t, r, fmt.Sprintf("{} | sort(duration%s) | limit(%d)", direction, limit), query.Options{Workers: 2})
		for i, id := range got {
			if want[i].ID != id {
				t.Fatalf("place %d of %v holds %d, not %d", i, got, id, want[i].ID)
			}
		}
		if len(got) != min(limit, len(want)) || sum.More != (len(want) > limit) {
			t.Fatalf("%d of %d given, %+v", len(got), len(want), sum)
		}
	})
}

// groupsOf runs an aggregate and gives its lines by what they are grouped by.
func groupsOf(t rapid.TB, r query.Reader, text string, o query.Options) (map[string][]query.Value, query.Summary) {
	t.Helper()
	q := parse(t, text)
	groups := map[string][]query.Value{}
	sum, err := query.Run(ctx, r, q, o, func(h *query.Hit) error {
		key := fmt.Sprint(h.Values[:len(q.By())])
		if h.Others {
			key = "others"
		}
		if groups[key] != nil {
			t.Fatalf("%s: the group %s twice", text, key)
		}
		groups[key] = slices.Clone(h.Values[len(q.By()):])
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return groups, sum
}

func TestAggregatesAreWhatCountingByHandGives(t *testing.T) {
	// The same groups by two ways: func and kind are counted in arrays, stream and data in maps.
	ways := []struct {
		by  string
		key func(e *event.Event) string
	}{
		{"", func(*event.Event) string { return "[]" }},
		{" by (func)", func(e *event.Event) string { return "[" + e.Func + "]" }},
		{" by (kind, func)", func(e *event.Event) string { return "[" + e.Kind.String() + " " + e.Func + "]" }},
		{" by (stream)", func(e *event.Event) string { return "[" + e.Stream + "]" }},
		{" by (key, peer, child)", func(e *event.Event) string { return fmt.Sprintf("[%s %s %s]", e.Key, e.Peer, e.Child) }},
		{" by (confidence, file, line)", func(e *event.Event) string {
			line := ""
			if e.Line > 0 {
				line = fmt.Sprint(e.Line)
			}
			return fmt.Sprintf("[%s %s %s]", e.Confidence, e.File, line)
		}},
		{" by (correlation_confidence, kind, correlation)", func(e *event.Event) string {
			return fmt.Sprintf("[%s %s %d]", e.CorrelationConfidence, e.Kind, e.Correlation)
		}},
		{" by (message, data.b)", func(e *event.Event) string {
			if b, ok := dataAt(e, "b").(bool); ok {
				return fmt.Sprintf("[%s %v]", e.Message, b)
			}
			return fmt.Sprintf("[%s ]", e.Message)
		}},
		{" by (empty, closed, background, ordinal)", func(e *event.Event) string {
			ordinal := ""
			if e.Ordinal > 0 {
				ordinal = fmt.Sprint(e.Ordinal)
			}
			return fmt.Sprintf("[%v %v %v %s]", e.Empty, e.Closed, e.Background, ordinal)
		}},
		{" by (root, func)", func(e *event.Event) string { return fmt.Sprintf("[%v %s]", e.Root, e.Func) }},
	}
	rapid.Check(t, func(t *rapid.T) {
		s := drawSample(t)
		r := s.reader(t)
		c := drawCondition(t, 1)
		way := rapid.SampledFrom(ways).Draw(t, "way")
		type sums struct {
			n         uint64
			durations []float64
		}
		want := map[string]*sums{}
		if way.by == "" {
			want["[]"] = &sums{}
		}
		for i := range s.events {
			if !c.holds(s, i) {
				continue
			}
			key := way.key(&s.events[i])
			if want[key] == nil {
				want[key] = &sums{}
			}
			want[key].n++
			if hasDuration(&s.events[i]) {
				want[key].durations = append(want[key].durations, float64(s.events[i].Duration))
			}
		}
		text := "{ " + c.text + " } | count(), sum(duration), avg(duration), min(duration), max(duration), quantile(duration, 0.5)" + way.by
		groups, _ := groupsOf(t, r, text, query.Options{Workers: 2, Sources: sampleNames})
		if len(groups) != len(want) {
			t.Fatalf("%s: %d groups, not %d", text, len(groups), len(want))
		}
		for key, w := range want {
			got := groups[key]
			if got == nil {
				t.Fatalf("%s: no group %s in %v", text, key, groups)
			}
			if got[0].Whole != int64(w.n) {
				t.Fatalf("%s: %s counts %d, not %d", text, key, got[0].Whole, w.n)
			}
			if len(w.durations) == 0 {
				if got[1].Whole != 0 || got[2].Type != query.Nothing || got[5].Type != query.Nothing {
					t.Fatalf("%s: %s without durations gives %v", text, key, got)
				}
				continue
			}
			slices.Sort(w.durations)
			sum := 0.0
			for _, d := range w.durations {
				sum += d
			}
			n := len(w.durations)
			median := w.durations[(n+1)/2-1]
			for i, want := range []float64{sum, math.Round(sum / float64(n)), w.durations[0], w.durations[n-1]} {
				if got[i+1].Type != query.Duration || float64(got[i+1].Whole) != want {
					t.Fatalf("%s: %s gives %v, and value %d is %v", text, key, got, i+1, want)
				}
			}
			if off := math.Abs(float64(got[5].Whole) - median); off > median*query.QuantileError {
				t.Fatalf("%s: %s has the median %v, not %v", text, key, got[5], median)
			}
		}
	})
}

func TestAQuantileIsWithinItsError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.OneOf(
			rapid.Float64Range(-1e12, 1e12), rapid.Float64Range(-1, 1), rapid.Just(0.0), rapid.Float64(),
		), 1, 200).Draw(t, "values")
		share := rapid.Float64Range(0, 1).Draw(t, "share")
		got := query.QuantileOf(values, share)
		slices.Sort(values)
		want := values[max(1, int(math.Ceil(share*float64(len(values)))))-1]
		if math.Abs(got-want) > math.Abs(want)*query.QuantileError {
			t.Fatalf("the quantile %v of %v is %v, not %v", share, values, got, want)
		}
	})
}

func TestALimitStopsTheReading(t *testing.T) {
	r, _ := shop(t, 4)
	_, sum := answers(t, r, "{} | limit(3)", query.Options{Workers: 2})
	if sum.BlocksRead != 1 || sum.Given != 3 || !sum.More {
		t.Errorf("3 of 72 events take one block of 18: %+v", sum)
	}
}

func TestTheIndexLeavesBlocksOut(t *testing.T) {
	r, events := shop(t, 4)
	at := func(i int) string { return time.Unix(0, events[i].Time).UTC().Format(time.RFC3339Nano) }
	for _, c := range []struct {
		text string
		read int
	}{
		{"{ id = 30 }", 1},
		{"{ id >= 30 && id < 37 }", 2},
		{"{ kind = error }", 2},
		{`{ stream = "g2" && kind = error }`, 1},
		{`{ key = "reply-21" }`, 2},
		{`{ func =~ "rebuild" }`, 1},
		{`{ func = "nowhere" }`, 0},
		{`{ stream = "nowhere" }`, 0},
		{"{ correlation = 18 && kind = error || id = 1 }", 18},
		{"{ correlation = 18 && kind = error || correlation = 99 && kind = error }", 2},
		{"{ time <= " + at(3) + " }", 2},
		{"{ kind = error } << { func =~ \"rebuild\" }", 2},
		{"{ kind = gap } || { kind = metric }", 0},
		{"{ kind = error && kind = log }", 0},
		{"{ id > 9 && id < 9 }", 0},
		{"{ duration > 1h && kind = call }", 0},
	} {
		_, sum := answers(t, r, c.text, query.Options{CausalBudget: generous})
		read := sum.BlocksRead
		if parse(t, c.text).Causal() {
			read = sum.Blocks - sum.BlocksPruned
		}
		if read != c.read || sum.Blocks != 18 || sum.BlocksPruned != 18-c.read {
			t.Errorf("%s reads %d blocks, not %d: %+v", c.text, read, c.read, sum)
		}
	}
}

func TestABlockIsCountedOnceHoweverOftenItIsRead(t *testing.T) {
	r, events := shop(t, 8)
	for _, text := range []string{"{} << ({} << { kind = call })", "({} >> { kind = error }) | count()", "{ kind = error } << { kind = acquire } << { func =~ \"rebuild\" }"} {
		_, sum := answers(t, r, text, query.Options{})
		if sum.BlocksRead == 0 || sum.BlocksRead > sum.Blocks || sum.RowsRead > uint64(len(events)) {
			t.Errorf("%s: %d blocks of %d, %d rows of %d", text, sum.BlocksRead, sum.Blocks, sum.RowsRead, len(events))
		}
	}
}

func TestADeadlineCutsTheAnswerAndSaysSo(t *testing.T) {
	r, _ := shop(t, 4)
	for _, text := range []string{"{}", "{} | sort(time)", "{} | count() by (stream)", "{} | count() by (func)", "{} << { kind = error }"} {
		late, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
		given := 0
		sum, err := query.Run(late, r, parse(t, text), query.Options{}, func(h *query.Hit) error {
			given++
			return nil
		})
		cancel()
		if err != nil || !sum.Cut || sum.Reason == "" {
			t.Errorf("%s after its deadline: %v, %+v", text, err, sum)
		}
	}
}

func TestACancelledQueryIsAnError(t *testing.T) {
	r, _ := shop(t, 4)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := query.Run(gone, r, parse(t, "{}"), query.Options{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWhoTakesTheAnswersCanStop(t *testing.T) {
	r, _ := shop(t, 4)
	full := errors.New("full")
	for _, text := range []string{"{}", "{} | sort(time)", "{} | count() by (func)"} {
		for _, c := range []struct{ give, want error }{{full, full}, {query.ErrStop, nil}} {
			n := 0
			sum, err := query.Run(ctx, r, parse(t, text), query.Options{Workers: 2}, func(h *query.Hit) error {
				if n++; n == 3 {
					return c.give
				}
				return nil
			})
			if !errors.Is(err, c.want) || n != 3 || (c.want == nil) != sum.More {
				t.Errorf("%s stopped with %v at 3: %v at %d, %+v", text, c.give, err, n, sum)
			}
		}
	}
}

func TestBoundsAreKeptAndTold(t *testing.T) {
	r, _ := shop(t, 4)
	t.Run("a sort keeps so many", func(t *testing.T) {
		got, sum := answers(t, r, "{} | sort(time desc)", query.Options{SortMax: 5})
		if len(got) != 5 || !sum.Cut || !sum.More {
			t.Errorf("%v, %+v", got, sum)
		}
	})
	t.Run("groups beyond the bound are the others", func(t *testing.T) {
		for _, by := range []string{"stream", "func"} {
			groups, sum := groupsOf(t, r, "{} | count() by ("+by+")", query.Options{GroupsMax: 3})
			total := int64(0)
			for _, g := range groups {
				total += g[0].Whole
			}
			if len(groups) != 4 || groups["others"] == nil || total != 72 || !sum.Cut {
				t.Errorf("by %s: %v, %+v", by, groups, sum)
			}
		}
	})
	t.Run("quantiles take so much", func(t *testing.T) {
		for _, by := range []string{"stream", "func"} {
			_, sum := groupsOf(t, r, "{} | quantile(duration, 0.9) by ("+by+")", query.Options{BytesMax: 2000, Workers: 1})
			if !sum.Cut {
				t.Errorf("by %s: %+v", by, sum)
			}
		}
	})
	t.Run("a relation takes so long", func(t *testing.T) {
		for _, op := range []string{">>", "<<", ">", "<"} {
			_, sum := answers(t, r, "{} "+op+" {}", query.Options{CausalBudget: 1})
			if !sum.Cut {
				t.Errorf("%s: %+v", op, sum)
			}
		}
	})
	t.Run("a relation that was cut off gives nothing wrong", func(t *testing.T) {
		for _, text := range []string{"{} !<< {}", "!({} << {})", "{} !>> ({} !<< {})"} {
			got, sum := answers(t, r, text, query.Options{CausalBudget: 1})
			if !sum.Cut || len(got) != 0 {
				t.Errorf("%s: %v, %+v", text, got, sum)
			}
		}
	})
	t.Run("a relation takes so much", func(t *testing.T) {
		got, sum := answers(t, r, "{} << {}", query.Options{BytesMax: 16})
		if !sum.Cut || len(got) != 0 {
			t.Errorf("%v, %+v", got, sum)
		}
	})
}
