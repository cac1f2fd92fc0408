package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/pastcone/pastcone/internal/oracle"
)

// explain prints, for the courses with loss, why what is not labelled exact is not: the rule that forbids it, as the truth
// about the whole program shows.
func explain(w io.Writer, tallies []tally) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(name string, value func(t *tally) (part, of int)) {
		fmt.Fprint(table, name, "\t")
		for i := range tallies {
			if !courses[i].complete {
				part, of := value(&tallies[i])
				fmt.Fprint(table, percent(oracle.Share{Part: part, Of: of}), "\t")
			}
		}
		fmt.Fprintln(table)
	}
	fmt.Fprint(table, "\nof the parents that are not labelled exact\t")
	for _, c := range courses {
		if !c.complete {
			fmt.Fprint(table, c.name, "\t")
		}
	}
	fmt.Fprintln(table)
	for d := range oracle.Doubts {
		line(d.String(), func(t *tally) (int, int) { return t.Certainty.Parents[d], t.Certainty.Doubtful() })
	}
	fmt.Fprintln(table, "of the correlations that are not labelled exact\t")
	all := func(c *oracle.Certainty) int { return c.Own + c.Founding + c.Inherited }
	line("the event's own parent is not", func(t *tally) (int, int) { return t.Certainty.Own, all(&t.Certainty) })
	line("whether it founds work is not certain", func(t *tally) (int, int) { return t.Certainty.Founding, all(&t.Certainty) })
	line("only one before it on the way to the founder is not", func(t *tally) (int, int) { return t.Certainty.Inherited, all(&t.Certainty) })
	_ = table.Flush()
}

// Guesses of which fewer were made are not held against their probability.
const guessesLeast = 1000

// How far the share that is right may be from the probability, in percent. What is inferred comes in clusters, a program's all
// right or all wrong: from one set of programs to another (seeds from 1, from 5000) the share of what was met in the order of time
// went from 83 % to 95 %. The probabilities are those of both sets together.
const guessOff = 7

// calibrate prints how often each kind of inferred edge is right beside the probability that it is given, and gives what is
// too far from it.
func calibrate(w io.Writer, c *oracle.Certainty) (off []string) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\ninferred edges\tprobability given\tright\tof\t")
	for _, g := range c.Ordered() {
		s := c.Guesses[g]
		name := "parent: "
		if !g.Parent {
			name = "further: "
		}
		fmt.Fprintf(table, "%s%v\t%.0f %%\t%s\t%d\t\n", name, g.Kind, 100*g.P, percent(*s), s.Of)
		if d := s.Percent() - 100*g.P; s.Of >= guessesLeast && (d > guessOff || d < -guessOff) {
			off = append(off, fmt.Sprintf("%s%v: %.0f %% are promised, %s of %d are right", name, g.Kind, 100*g.P, percent(*s), s.Of))
		}
	}
	_ = table.Flush()
	return off
}
