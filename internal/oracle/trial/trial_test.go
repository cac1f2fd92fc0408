package trial

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/oracle"
	"github.com/pastcone/pastcone/internal/oracle/program"
)

// TestMain makes short runs shorter: they are for seeing whether something is wrong, not what.
func TestMain(m *testing.M) {
	flag.Parse()
	settings := map[string]string{"rapid.nofailfile": "true"} // the failing program is printed
	if testing.Short() {
		settings["rapid.checks"], settings["rapid.shrinktime"] = "200", "1s" // of which rapid takes a fifth
	}
	for name, value := range settings {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// drawn makes choices by rapid, so that a failing program shrinks to a small one.
type drawn struct{ t *rapid.T }

func (d drawn) Choose(n int) int {
	return int(rapid.Uint64().Draw(d.t, "choice") % uint64(n)) // #nosec G115 -- below n
}

// attempt is one trial, drawn as a whole so that a failure prints the program, not its choices.
type attempt struct {
	course   Course
	programs []*program.Program
	report   *oracle.Report
	lost     []oracle.At
	err      error
}

// GoString is what rapid prints of a failing trial: the programs as event lines, to look at.
func (a *attempt) GoString() string {
	var text []byte
	for i, p := range a.programs {
		text = fmt.Appendf(text, "\n# source %d, course %+v\n", i+1, a.course)
		for j := range p.Events {
			text = append(event.AppendLine(text, &p.Events[j]), '\n')
		}
	}
	for _, at := range a.lost {
		text = fmt.Appendf(text, "# lost %s\n", at)
	}
	return string(text)
}

// attempts draws trials on one of the courses.
func attempts(courses []Course, features program.Feature, sources int) *rapid.Generator[*attempt] {
	return rapid.Custom(func(t *rapid.T) *attempt {
		c := drawn{t}
		a := &attempt{course: courses[int(rapid.Uint64().Draw(t, "course")%uint64(len(courses)))]}
		for range 1 + c.Choose(sources) {
			shape := program.Small(features)
			shape.EventsMax = 400
			a.programs = append(a.programs, program.Generate(c, shape))
		}
		var out *Outcome
		if a.report, out, a.err = Run(c, a.course, a.programs...); out != nil {
			a.lost = out.Lost
		}
		return a
	})
}

// holds checks that on none of the courses anything is wrong, on programs that rapid shrinks, then on
// larger ones.
func holds(t *testing.T, features program.Feature, sources int, courses ...Course) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		a := attempts(courses, features, sources).Draw(rt, "trial")
		if a.err != nil {
			rt.Fatal(a.err)
		}
		if !a.report.Fine() {
			rt.Fatalf("%v", a.report)
		}
	})
	seeds := uint64(24)
	if testing.Short() {
		seeds = 6
	}
	for seed := range seeds {
		c := program.Seeded(seed)
		course := courses[seed%uint64(len(courses))]
		var programs []*program.Program
		for range 1 + c.Choose(sources) {
			shape := program.Large(features)
			shape.Jobs, shape.Connections = 20, 10
			programs = append(programs, program.Generate(c, shape))
		}
		r, _, err := Run(c, course, programs...)
		if err != nil {
			t.Fatalf("seed %d, %+v: %v", seed, course, err)
		}
		if !r.Fine() {
			t.Fatalf("seed %d, %+v:\n%v", seed, course, r)
		}
	}
}

const lateness = 100 * time.Microsecond // some hundred events

func TestInOrderEverythingIsEqual(t *testing.T) {
	holds(t, program.Everything, 1, Course{Order: InOrder, Lateness: lateness, BatchMax: 30})
}

func TestOneEventABatch(t *testing.T) {
	holds(t, program.Everything, 1, Course{Order: InOrder, Lateness: lateness, BatchMax: 1, Rows: 3})
}

func TestWithinTheLatenessEverythingIsEqual(t *testing.T) {
	holds(t, program.Everything, 1, Course{Order: Delayed, Lateness: lateness, BatchMax: 30})
}

func TestClocksThatDiffer(t *testing.T) {
	holds(t, program.Skew|program.Wild|program.KnownLimits, 1, Course{Order: Delayed, Lateness: lateness, BatchMax: 30})
}

func TestFiniteSourcesInAnyOrder(t *testing.T) {
	holds(t, program.Everything, 1,
		Course{Order: Scrambled, Lateness: lateness, BatchMax: 30, Rows: 50},
		Course{Order: StreamWise, Lateness: lateness, BatchMax: 200})
}

func TestSeveralSourcesShareNothing(t *testing.T) {
	holds(t, program.Everything, 3,
		Course{Order: InOrder, Lateness: lateness, BatchMax: 30},
		Course{Order: Delayed, Lateness: lateness, BatchMax: 30},
		Course{Order: Scrambled, Lateness: lateness, BatchMax: 30})
}

// What meets by the order of time alone is left out: that a stream that was lost altogether had sent to the
// same key, or had held the same lock, is nowhere to be seen.
func TestAfterLossNothingExactIsWrong(t *testing.T) {
	for _, loss := range []struct {
		name string
		kind program.LossKind
	}{{"singly", program.LoseSingly}, {"in bursts", program.LoseBursts}, {"tails", program.LoseTails}, {"heads", program.LoseHeads}} {
		for _, oneIn := range []int{8, 100} {
			t.Run(fmt.Sprintf("%s, one in %d", loss.name, oneIn), func(t *testing.T) {
				holds(t, program.KnownLimits|program.Dangling|program.Wild, 1,
					Course{Order: InOrder, Lateness: lateness, BatchMax: 30, Loss: loss.kind, LoseOneIn: oneIn},
					Course{Order: Delayed, Lateness: lateness, BatchMax: 30, Loss: loss.kind, LoseOneIn: oneIn},
					Course{Order: Scrambled, Lateness: lateness, BatchMax: 30, Loss: loss.kind, LoseOneIn: oneIn})
			})
		}
	}
}

// What comes too late is as good as lost, or gives its edges later; what was said in the meantime is not wrong.
func TestWhatComesTooLateMakesNothingExactWrong(t *testing.T) {
	holds(t, program.KnownLimits|program.Dangling|program.Wild, 1, Course{Order: TooLate, Lateness: lateness, BatchMax: 10})
}

// The worked example, through every course.
func TestWorkedExample(t *testing.T) {
	p := &program.Program{Events: load(t, "../testdata/example.ndjson")}
	for order := InOrder; order <= StreamWise; order++ {
		for seed := range uint64(20) {
			r, out, err := Run(program.Seeded(seed), Course{Order: order, Lateness: lateness, BatchMax: 1 + int(seed)*5}, p)
			if err != nil {
				t.Fatal(err)
			}
			if !r.Fine() || len(out.Results) != 694 {
				t.Fatalf("order %d, seed %d: %d results\n%v", order, seed, len(out.Results), r)
			}
		}
	}
}

// The oracle's stories, told by the correlator.
func TestStories(t *testing.T) {
	text, err := os.ReadFile("../testdata/stories.txt")
	if err != nil {
		t.Fatal(err)
	}
	stories, err := program.ParseStories(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, story := range stories {
		t.Run(story.Tells, func(t *testing.T) {
			truth, err := oracle.Correlate(story.Events)
			if err != nil {
				t.Fatal(err)
			}
			var left []event.Event
			var lost map[oracle.At]bool
			for i, e := range story.Events {
				if !story.Lost[i] {
					left = append(left, e)
					continue
				}
				if lost == nil {
					lost = map[oracle.At]bool{}
				}
				lost[oracle.At{Source: 1, Stream: e.Stream, Seq: e.Seq}] = true
			}
			for _, order := range []Order{InOrder, Scrambled, StreamWise} {
				course := Course{Order: order, Lateness: lateness, BatchMax: 5}
				c := program.Seeded(1)
				out, err := Correlate(course, program.Arrive(c, course.live(), 5, course.arrange(c, 1, left)))
				if err != nil {
					t.Fatal(err)
				}
				if r := oracle.Judge(truth, out.Results, lost); !r.Fine() {
					t.Errorf("order %d:\n%v", order, r)
				}
				if lost != nil {
					continue
				}
				told := summaries(out.Results)
				for i, e := range story.Events {
					at := oracle.At{Source: 1, Stream: e.Stream, Seq: e.Seq}
					if told[at] != story.Expected[i] {
						t.Errorf("order %d, %s: %s\n\tshould be %s", order, at, told[at], story.Expected[i])
					}
				}
			}
		})
	}
}

// summaries gives results as stories expect them.
func summaries(results []oracle.Result) map[oracle.At]string {
	at := map[event.ID]oracle.At{}
	told := map[oracle.At]string{}
	for _, r := range results {
		e := r.Event
		at[e.ID] = oracle.At{Source: r.Source, Stream: e.Stream, Seq: e.Seq}
		v := oracle.Verdict{Parent: at[e.Parent], Founder: at[e.Correlation], Background: e.Background}
		for i, c := range e.Causes {
			v.HasParent = v.HasParent || i == 0 && (c.ID == e.Parent || c.ID == 0)
			v.Edges = append(v.Edges, oracle.Cause{From: at[c.ID], Missing: c.ID == 0, Kind: c.Kind, Inferred: c.Confidence == event.Inferred})
		}
		told[at[e.ID]] = v.Summary()
	}
	return told
}

func load(t *testing.T, path string) (events []event.Event) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		e, err := event.ParseLine(line)
		if err != nil {
			t.Fatalf("%s: %v: %s", path, err, line)
		}
		events = append(events, e)
	}
	return events
}
