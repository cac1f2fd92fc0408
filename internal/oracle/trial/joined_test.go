package trial

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/oracle"
	"github.com/pastcone/pastcone/internal/oracle/program"
)

// joined checks that on none of the courses anything is wrong with two or three programs that cause things in each other, on
// small ones that rapid shrinks, then on larger ones.
func joined(t *testing.T, features program.Feature, courses ...Course) (edges int) {
	t.Helper()
	make2or3 := func(c program.Chooser, shape func() program.Shape) (programs []*program.Program) {
		for range 2 + c.Choose(2) {
			programs = append(programs, program.Generate(c, shape()))
		}
		program.Join(c, programs...)
		return programs
	}
	rapid.Check(t, func(rt *rapid.T) {
		a := rapid.Custom(func(rt *rapid.T) *attempt {
			c := drawn{rt}
			a := &attempt{course: courses[c.Choose(len(courses))]}
			a.programs = make2or3(c, func() program.Shape {
				shape := program.Small(features)
				shape.EventsMax = 200
				return shape
			})
			var out *Outcome
			if a.report, out, a.err = Run(c, a.course, a.programs...); out != nil {
				a.lost = out.Lost
			}
			return a
		}).Draw(rt, "trial")
		if a.err != nil {
			rt.Fatal(a.err)
		}
		if !a.report.Fine() {
			rt.Fatalf("%v", a.report)
		}
	})
	for seed := range uint64(12) {
		c := program.Seeded(seed)
		course := courses[seed%uint64(len(courses))]
		programs := make2or3(c, func() program.Shape {
			shape := program.Large(features)
			shape.Jobs, shape.Connections = 20, 10
			return shape
		})
		r, out, err := Run(c, course, programs...)
		if err != nil {
			t.Fatalf("seed %d, %+v: %v", seed, course, err)
		}
		if !r.Fine() {
			t.Fatalf("seed %d, %+v:\n%v", seed, course, r)
		}
		edges += across(out.Results)
	}
	return edges
}

// across counts the edges from one source to another.
func across(results []oracle.Result) (n int) {
	source := map[event.ID]int{}
	for _, r := range results {
		source[r.Event.ID] = r.Source
	}
	for _, r := range results {
		for _, e := range append(append([]event.Edge(nil), r.Event.Causes...), r.Late...) {
			if e.ID != 0 && source[e.ID] != r.Source {
				n++
			}
		}
	}
	return n
}

const noSkew = program.Everything &^ program.Skew

func TestProcessesThatCauseThingsInEachOther(t *testing.T) {
	edges := joined(t, noSkew,
		Course{Order: InOrder, Lateness: lateness, BatchMax: 30},
		Course{Order: InOrder, Lateness: lateness, BatchMax: 1, Rows: 3},
		Course{Order: Delayed, Lateness: lateness, BatchMax: 30})
	if edges < 50 {
		t.Errorf("only %d edges from one process to another: nothing is shown", edges)
	}
}

// Finite sources are read at once, and what they wait for of others is over as soon as events behind the lateness have come: then
// the edges are late, and nothing that was said in the meantime is exact and wrong. So it is when events are lost.
func TestProcessesOfWhichSomethingIsLateOrLost(t *testing.T) {
	features := program.KnownLimits | program.Dangling | program.Wild
	edges := joined(t, features,
		Course{Order: TooLate, Lateness: lateness, BatchMax: 10},
		Course{Order: InOrder, Lateness: lateness, BatchMax: 30, Loss: program.LoseSingly, LoseOneIn: 20},
		Course{Order: Delayed, Lateness: lateness, BatchMax: 30, Loss: program.LoseBursts, LoseOneIn: 20},
		Course{Order: Scrambled, Lateness: lateness, BatchMax: 30, Loss: program.LoseTails, LoseOneIn: 20},
		Course{Order: Scrambled, Lateness: lateness, BatchMax: 30, Loss: program.LoseSingly, LoseOneIn: 1 << 20},
		Course{Order: StreamWise, Lateness: lateness, BatchMax: 200, Loss: program.LoseHeads, LoseOneIn: 100})
	if edges < 50 {
		t.Errorf("only %d edges from one process to another: nothing is shown", edges)
	}
}

// A name that nobody has leaves no gap: whoever sent the request need not be recorded.
func TestProcessesThatNobodyRecordedLeaveNoGap(t *testing.T) {
	text := "== a\nc log accept\nc call serve root cause=" + event.GlobalRef + "x\nc log y\n"
	stories, err := program.ParseStories(text)
	if err != nil {
		t.Fatal(err)
	}
	r, out, err := Run(program.Seeded(1), Course{Order: InOrder, Lateness: lateness, BatchMax: 3}, &program.Program{Events: stories[0].Events})
	if err != nil || !r.Fine() {
		t.Fatal(err, r)
	}
	root := out.Results[1].Event
	if len(root.Causes) != 0 || root.Parent != 0 || root.Correlation != root.ID || root.Background || root.CorrelationConfidence != event.Inferred {
		t.Errorf("the root is %+v", root)
	}
	if !strings.HasPrefix(root.Cause[0], event.GlobalRef) {
		t.Error("it has no global cause: nothing is shown")
	}
}
