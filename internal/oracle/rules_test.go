package oracle

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/oracle/program"
)

// story reads a small program.
func story(t *testing.T, text string) []event.Event {
	t.Helper()
	stories, err := program.ParseStories("== a story\n" + text)
	if err != nil {
		t.Fatal(err)
	}
	return stories[0].Events
}

// stories reads the stories of the rules.
func stories(t *testing.T) []program.Story {
	t.Helper()
	text, err := os.ReadFile("testdata/stories.txt")
	if err != nil {
		t.Fatal(err)
	}
	all, err := program.ParseStories(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestStories(t *testing.T) {
	for _, c := range stories(t) {
		t.Run(c.Tells, func(t *testing.T) {
			truth, err := Correlate(c.Events)
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range c.Events {
				if got := truth.Of(At{1, e.Stream, e.Seq}).Summary(); got != c.Expected[i] {
					t.Errorf("%s#%d: %s\n\tshould be %s", e.Stream, e.Seq, got, c.Expected[i])
				}
			}
		})
	}
}

func TestDurationsAreNeverNegative(t *testing.T) {
	events := story(t, `
m call f
m return f
m call f ref=f
m return f earlier cause=f`)
	truth, err := Correlate(events)
	if err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[uint64]int64{2: 10, 4: 0} {
		if got := int64(truth.Of(At{1, "m", seq}).Duration); got != want {
			t.Errorf("m#%d: %d ns, should be %d", seq, got, want)
		}
	}
}

func TestSourcesShareNothing(t *testing.T) {
	a := story(t, `
m call main
m send put key=q ordinal=1 ref=r
m spawn go child=w`)
	b := story(t, `
w start -
w receive get key=q ordinal=1
w wake x cause=r`)
	truth, err := Correlate(a, b)
	if err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[uint64]string{
		1: "nothing [2:w#1], spawn from something missing",
		2: "nothing 2:w#2, message from something missing",
		3: "2:w#2 2:w#2, wake from something missing",
	} {
		if got := truth.Of(At{2, "w", seq}).Summary(); got != want {
			t.Errorf("w#%d: %s, should be %s", seq, got, want)
		}
	}
}

func TestWhatIsNoCompleteProgramIsRefused(t *testing.T) {
	hole := story(t, "m call f\nm call g\nm call h")
	twice := append(hole[:2:2], hole[1])
	circle := story(t, "a log x ref=a cause=b\nb log x ref=b cause=a\nc log x")
	for name, c := range map[string]struct {
		events []event.Event
		is     error
		says   string
	}{
		"a hole":           {append(hole[:1:1], hole[2]), ErrIncomplete, "m#3 where seq 2 should be"},
		"no beginning":     {hole[1:], ErrIncomplete, "m#2 where seq 1 should be"},
		"an event twice":   {twice, ErrIncomplete, "m#2 where seq 3 should be"},
		"causes in circle": {circle, ErrCycle, "2 events wait for one another: a#1, b#1"},
	} {
		if _, err := Correlate(c.events); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHappensBefore(t *testing.T) {
	events := story(t, `
m call main
m send put key=q ordinal=1
x log alone
w call work
w receive get key=q ordinal=1
m log after
w log done`)
	truth, err := Correlate(events)
	if err != nil {
		t.Fatal(err)
	}
	o := HappensBefore(truth)
	at := func(name string) At {
		stream, seq, _ := strings.Cut(name, "#")
		n, _ := strconv.Atoi(seq)
		return At{1, stream, uint64(n)}
	}
	for _, c := range []struct {
		a, b   string
		before bool
	}{
		{"m#1", "m#3", true}, {"m#1", "w#3", true}, {"m#2", "w#2", true}, {"w#1", "w#3", true},
		{"m#3", "w#3", false}, {"w#2", "m#2", false}, {"x#1", "w#3", false}, {"m#1", "m#1", false}, {"m#1", "no#1", false}, {"no#1", "m#1", false},
	} {
		if got := o.Before(at(c.a), at(c.b)); got != c.before {
			t.Errorf("%s before %s: %v", c.a, c.b, got)
		}
	}
	if !o.Concurrent(at("m#3"), at("w#3")) || o.Concurrent(at("m#1"), at("w#3")) || o.Concurrent(at("m#1"), at("m#1")) {
		t.Error("concurrent")
	}
	if o.Past(at("w#3")) != 4 || o.Past(at("x#1")) != 0 || o.Past(at("no#1")) != 0 {
		t.Errorf("past of w#3: %d", o.Past(at("w#3")))
	}
}

func TestCausesOfTheWorkedExampleHappenBeforeTheirEffects(t *testing.T) {
	truth, err := Correlate(loadEvents(t, "testdata/example.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	o := HappensBefore(truth)
	for _, v := range truth.Verdicts {
		for _, c := range v.Edges {
			if !o.Before(c.From, v.At) || o.Before(v.At, c.From) {
				t.Errorf("%s: %v", v.At, c)
			}
		}
		if v.Founder != v.At && !o.Before(v.Founder, v.At) {
			t.Errorf("%s: its founder %s is not in its past", v.At, v.Founder)
		}
	}
}
