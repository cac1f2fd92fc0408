// Command accuracy measures how often the correlator is right, against an oracle that shares no code with it.
//
//	go run ./bench/accuracy                    on made-up programs: in order, late, after loss; on a real one
//	go run ./bench/accuracy -events FILE       on a real recording, by the request ids that its program wrote
//
// Made-up programs are large concurrent programs of all kinds (internal/oracle/program). "Meant" is the
// share of events that are in the correlation of the request or job that their author meant them for,
// apart from any rule. The command fails when a promise is not kept: in order and late within the
// allowed lateness everything is right and exact, and with 1 % of the events lost nothing labelled exact
// is wrong, 95 % of the parents and 98 % of the edges are right. For what is not labelled exact it prints the rule that
// forbids it, as the truth about the whole program shows (internal/oracle/doubt.go); what no rule forbids would be a shortfall
// of the correlator, and more than 0.1 % of it fails. The probabilities of what is inferred are held against how often it
// is right: more than 7 % off fails.
//
// The real program is examples/probed under load, which records itself; it is scored by the request ids that
// it writes into data.request, which the correlator does not look at: right is an event whose
// correlation's founder has the same one. The recorded program is examples/checkout, the same shop without a probe in it: its
// request ids are arguments of some calls, and what lies within those calls, or in goroutines spawned there, is of that request.
// Any other recording (event lines with results, as `pastcone export --format ndjson` gives them; - is standard
// input) is scored the same way.
//
// In the plan's words these are the correlation accuracy tests of the EventCorrelator.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/oracle"
	"github.com/pastcone/pastcone/internal/oracle/program"
	"github.com/pastcone/pastcone/internal/oracle/trial"
)

func main() {
	size := flag.Int("size", 1_000_000, "events in all, at least")
	seed := flag.Uint64("seed", 1, "of the first program; the others follow")
	requests := flag.Int("requests", 2500, "of the real program; 0 leaves it out")
	lines := flag.String("events", "", "score a recording: a file of event lines with results")
	flag.Parse()
	var err error
	if *lines != "" {
		err = scoreFile(*lines)
	} else {
		err = measure(os.Stdout, *size, *seed)
		if *requests > 0 {
			err = errors.Join(err, measureReal(os.Stdout, *requests), measureRecorded(os.Stdout, *requests))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "accuracy:", err)
		os.Exit(1)
	}
}

// course is a line of the table, with what is promised for it.
type course struct {
	name     string
	course   trial.Course
	features program.Feature
	complete bool
}

const lateness = 100 * time.Microsecond

var courses = []course{
	{"in order", trial.Course{Order: trial.InOrder, Lateness: lateness, BatchMax: 256}, 0, true},
	{"late, within the lateness", trial.Course{Order: trial.Delayed, Lateness: lateness, BatchMax: 256}, 0, true},
	{"1 % lost", trial.Course{Order: trial.Delayed, Lateness: lateness, BatchMax: 256, LoseOneIn: 100}, 0, false},
	{"0.1 % lost", trial.Course{Order: trial.Delayed, Lateness: lateness, BatchMax: 256, LoseOneIn: 1000}, 0, false},
}

// The promises after loss, in percent.
const (
	parentsMin   = 95
	edgesMin     = 98
	explainedMin = 99.9
)

// tally is what one course came to.
type tally struct {
	oracle.Report
	programs int
	meant    oracle.Share
}

// measure runs all courses and prints the table.
func measure(w io.Writer, size int, seed uint64) error {
	begin := time.Now()
	tallies := make([]tally, len(courses))
	last := seed
	for i, c := range courses {
		for n := seed; tallies[i].Events < size/len(courses); n++ {
			if err := one(c, n, &tallies[i]); err != nil {
				return fmt.Errorf("%s, seed %d: %w", c.name, n, err)
			}
			last = max(last, n)
		}
	}
	guesses, err := guess(size/2, seed)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "seeds %d to %d, %v\n\n", seed, last, time.Since(begin).Round(time.Second))
	print(w, tallies)
	explain(w, tallies)
	broken := 0
	for i, c := range courses {
		for _, p := range broke(c, &tallies[i]) {
			broken++
			fmt.Fprintf(w, "\n%s: %s\n", c.name, p)
		}
	}
	for _, off := range calibrate(w, guesses) {
		broken++
		fmt.Fprintln(w, off)
	}
	if broken > 0 {
		return fmt.Errorf("%d promises are not kept", broken)
	}
	fmt.Fprintln(w, "\nevery promise is kept: all right and exact in the first two, nothing wrong that is labelled exact in the third")
	return nil
}

// guess runs programs with losses of all kinds, half of them with channels and locks that several share and that meet in the
// order of time, for how often what is inferred is right.
func guess(size int, seed uint64) (*oracle.Certainty, error) {
	var t tally
	for n := seed; t.Events < size; n++ {
		c := courses[2]
		c.course.Loss = program.LossKind(n % uint64(program.LossKinds)) // #nosec G115 -- small
		if n/uint64(program.LossKinds)%2 == 1 {
			c.features = program.SharedFIFO | program.PlainLocks
		}
		if err := one(c, n, &t); err != nil {
			return nil, fmt.Errorf("losses of kind %d, seed %d: %w", c.course.Loss, n, err)
		}
	}
	return &t.Certainty, nil
}

// one runs a course on one program.
func one(c course, seed uint64, t *tally) error {
	choices := program.Seeded(seed)
	p := program.Generate(choices, program.Large(c.features))
	r, out, err := trial.Run(choices, c.course, p)
	if err != nil {
		return err
	}
	t.Add(r)
	t.programs++
	countMeant(p, out.Results, &t.meant)
	return nil
}

// countMeant counts the events that are in the correlation that their author meant.
func countMeant(p *program.Program, results []oracle.Result, s *oracle.Share) {
	type at struct {
		stream string
		seq    uint64
	}
	intent := map[at]string{}
	for i, e := range p.Events {
		intent[at{e.Stream, e.Seq}] = p.Intent[i]
	}
	founders := map[event.ID]string{}
	for _, r := range results {
		founders[r.Event.ID] = intent[at{r.Event.Stream, r.Event.Seq}]
	}
	for _, r := range results {
		meant := intent[at{r.Event.Stream, r.Event.Seq}]
		if r.Event.Kind == event.KindGap || meant == program.Anyone {
			continue
		}
		got := ""
		if !r.Event.Background {
			got = founders[r.Event.Correlation]
		}
		s.Count(got == meant)
	}
}

// print prints the table.
func print(w io.Writer, tallies []tally) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, value func(*tally) string) {
		fmt.Fprint(table, name, "\t")
		for i := range tallies {
			fmt.Fprint(table, value(&tallies[i]), "\t")
		}
		fmt.Fprintln(table)
	}
	share := func(of func(*tally) oracle.Share) func(*tally) string {
		return func(t *tally) string { return percent(of(t)) }
	}
	fmt.Fprint(table, "\t")
	for _, c := range courses {
		fmt.Fprint(table, c.name, "\t")
	}
	fmt.Fprintln(table)
	row("programs", func(t *tally) string { return fmt.Sprint(t.programs) })
	row("events", func(t *tally) string { return fmt.Sprint(t.Events) })
	row("lost", func(t *tally) string { return fmt.Sprint(t.Lost) })
	row("gap events", func(t *tally) string { return fmt.Sprint(t.Gaps) })
	row("right parents", share(func(t *tally) oracle.Share { return t.Parents }))
	row("… whose parent arrived", share(func(t *tally) oracle.Share { return t.KnownParents }))
	row("right correlations, founder arrived", share(func(t *tally) oracle.Share { return t.Correlations }))
	row("message, spawn, lock, close edges found", share(func(t *tally) oracle.Share { return t.Edges }))
	row("all edges found", share(func(t *tally) oracle.Share { return t.AllEdges }))
	row("meant", share(func(t *tally) oracle.Share { return t.meant }))
	row("parents labelled exact", share(func(t *tally) oracle.Share { return t.ExactParents }))
	row("correlations labelled exact", share(func(t *tally) oracle.Share { return t.ExactCorrelations }))
	row("edges labelled exact", share(func(t *tally) oracle.Share { return t.ExactEdges }))
	row("labelled exact and wrong", func(t *tally) string { return fmt.Sprint(t.WrongExact) })
	row("anything else wrong", func(t *tally) string { return fmt.Sprint(t.Wrong - t.WrongExact) })
	_ = table.Flush()
}

// percent gives a share so that 100 % is all and nothing less.
func percent(s oracle.Share) string {
	if s.Part == s.Of {
		return "100 %"
	}
	return fmt.Sprintf("%.3f %%", min(s.Percent(), 99.999))
}

// broke gives the promises that a course did not keep.
func broke(c course, t *tally) (promises []string) {
	if !t.Fine() {
		promises = append(promises, fmt.Sprintf("%d differences, %d of them labelled exact\n%s", t.Wrong, t.WrongExact, t.String()))
	}
	least := func(what string, s oracle.Share, percentMin float64) {
		if s.Percent() < percentMin {
			promises = append(promises, fmt.Sprintf("%s: %d of %d, promised %v %%", what, s.Part, s.Of, percentMin))
		}
	}
	if c.complete {
		for what, s := range map[string]oracle.Share{
			"right parents": t.Parents, "right correlations": t.Correlations, "edges": t.AllEdges,
			"exact parents": t.ExactParents, "exact correlations": t.ExactCorrelations, "exact edges": t.ExactEdges,
		} {
			least(what, s, 100)
		}
		return promises
	}
	least("right parents", t.Parents, parentsMin)
	least("edges", t.Edges, edgesMin)
	all := t.Certainty.Doubtful()
	least("parents that are not exact because a rule forbids it", oracle.Share{Part: all - t.Certainty.Parents[oracle.DoubtUnexplained], Of: all}, explainedMin)
	return promises
}
