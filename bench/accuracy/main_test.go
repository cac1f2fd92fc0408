package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/oracle"
)

func TestASmallMeasurementKeepsItsPromises(t *testing.T) {
	var out bytes.Buffer
	if err := measure(&out, 20_000, 7); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"seeds 7 to ", "in order", "labelled exact and wrong", "every promise is kept"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestTheRealProgramIsScored(t *testing.T) {
	var out bytes.Buffer
	if err := measureReal(&out, 100); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "of 100 requests") || !strings.Contains(out.String(), "right parents 100 %") {
		t.Errorf("%s", out.String())
	}
}

func TestPromises(t *testing.T) {
	all := oracle.Share{Part: 10_000, Of: 10_000}
	perfect := tally{Report: oracle.Report{
		Parents: all, KnownParents: all, Correlations: all, Edges: all, AllEdges: all,
		ExactParents: all, ExactCorrelations: all, ExactEdges: all,
	}}
	for _, c := range []struct {
		story  string
		course course
		spoil  func(*tally)
		says   string // empty: kept
	}{
		{"everything right", courses[0], func(*tally) {}, ""},
		{"one parent in ten thousand wrong, in order", courses[0], func(t *tally) { t.Parents.Part-- }, "right parents: 9999 of 10000, promised 100 %"},
		{"one correlation not exact, late", courses[1], func(t *tally) { t.ExactCorrelations.Part-- }, "exact correlations"},
		{"after loss, 95 % of the parents", courses[2], func(t *tally) { t.Parents.Part = 9_500; t.Edges.Part = 9_800; t.ExactParents.Part = 0 }, ""},
		{"after loss, fewer", courses[2], func(t *tally) { t.Parents.Part = 9_499 }, "right parents: 9499 of 10000, promised 95 %"},
		{"after loss, too few edges", courses[2], func(t *tally) { t.Edges.Part = 9_799 }, "edges: 9799 of 10000, promised 98 %"},
		{"after loss, one in a hundred is not exact and no rule says why", courses[2], func(t *tally) {
			t.Certainty.Parents = [oracle.Doubts]int{oracle.DoubtTainted: 99, oracle.DoubtUnexplained: 1}
		}, "because a rule forbids it: 99 of 100, promised 99.9 %"},
		{"after loss, one exact and wrong", courses[2], func(t *tally) { t.Wrong, t.WrongExact = 1, 1 }, "1 of them labelled exact"},
	} {
		tally := perfect
		c.spoil(&tally)
		broken := strings.Join(broke(c.course, &tally), "\n")
		if (c.says == "") != (broken == "") || !strings.Contains(broken, c.says) {
			t.Errorf("%s: %q", c.story, broken)
		}
	}
}

func TestAHundredPercentIsAllAndNothingLess(t *testing.T) {
	for _, c := range []struct {
		part, of int
		want     string
	}{{10, 10, "100 %"}, {0, 0, "100 %"}, {9_999_999, 10_000_000, "99.999 %"}, {1, 4, "25.000 %"}} {
		if got := percent(oracle.Share{Part: c.part, Of: c.of}); got != c.want {
			t.Errorf("%d of %d: %s", c.part, c.of, got)
		}
	}
}

func TestARecordingIsScoredByItsRequestIDs(t *testing.T) {
	s, err := scoreLines(strings.NewReader(`{"stream":"c1","seq":1,"time":1,"kind":"call","root":true,"data":{"request":"a"},"id":1,"correlation":1}
{"stream":"w1","seq":1,"time":2,"kind":"log","data":{"request":"a"},"id":2,"correlation":1}
{"stream":"w1","seq":2,"time":3,"kind":"log","data":{"request":"b","more":1},"id":3,"correlation":1}
{"stream":"w1","seq":3,"time":4,"kind":"log","data":{"request":"b"},"id":4,"correlation":9}
{"stream":"w1","seq":4,"time":5,"kind":"log","id":5,"correlation":1}
{"stream":"c2","seq":1,"time":6,"kind":"call","root":true,"data":{"request":17},"id":6,"correlation":6}
`))
	if err != nil {
		t.Fatal(err)
	}
	if s.events != 6 || len(s.requests) != 3 || s.right != (oracle.Share{Part: 3, Of: 5}) || len(s.differences) != 2 {
		t.Errorf("%+v", s)
	}
	if want := `event 3, w1#2 (log ), is of request b; its correlation, founded by event 1, is of request "a"`; s.differences[0] != want {
		t.Errorf("%s\nshould be %s", s.differences[0], want)
	}
}

func TestWhatCannotBeScoredSaysWhy(t *testing.T) {
	if _, err := scoreLines(strings.NewReader(`{"stream":"c1","seq":1,"time":1,"kind":"call","id":1,"correlation":1}`)); !errors.Is(err, errNoRequests) {
		t.Error(err)
	}
	for line, says := range map[string]string{
		`{"stream":"c1","seq":1,"time":1,"kind":"call"}`: "line 1: no id",
		`{"stream":"c1"}`: "line 1: ",
	} {
		if _, err := scoreLines(strings.NewReader(line)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", line, err)
		}
	}
	if err := scoreFile("testdata/nowhere.ndjson"); err == nil {
		t.Error("a file that is not there")
	}
}

func TestProbabilitiesAreHeldAgainstWhatIsRight(t *testing.T) {
	guess := oracle.Guess{Kind: event.EdgeMessage, Parent: true, P: 0.9}
	for _, c := range []struct {
		story string
		share oracle.Share
		off   bool
	}{
		{"as often right as was said", oracle.Share{Part: 900, Of: 1000}, false},
		{"a little off", oracle.Share{Part: 880, Of: 1000}, false},
		{"right more often than was said", oracle.Share{Part: 980, Of: 1000}, true},
		{"right less often", oracle.Share{Part: 820, Of: 1000}, true},
		{"too few to say", oracle.Share{Part: 5, Of: 10}, false},
	} {
		var out bytes.Buffer
		off := calibrate(&out, &oracle.Certainty{Guesses: map[oracle.Guess]*oracle.Share{guess: &c.share, {Kind: event.EdgeLock, P: 0.5}: {Part: 1, Of: 2}}})
		if (len(off) > 0) != c.off || !strings.Contains(out.String(), "parent: message") || !strings.Contains(out.String(), "further: lock") {
			t.Errorf("%s: %v\n%s", c.story, off, out.String())
		}
	}
}
