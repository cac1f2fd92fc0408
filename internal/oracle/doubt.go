package oracle

import (
	"cmp"
	"slices"
	"sort"

	"github.com/pastcone/pastcone/event"
)

// After a loss not everything can be labelled exact. Here the truth about the whole program says why: for each label that is
// not exact, the rule that forbids it to be.
//
//  1. frames: for each event the call that gives it its context, from the whole program.
//  2. Doubts: a parent that is not exact is held against the rules of loss, the plainest first. What none of them
//     forbids is unexplained: a correlator could do better there, or the list here is not complete.
//  3. Guesses: of each kind of inferred edge the share that is right, to hold its probability against.

// Doubt is why a parent can not be labelled exact.
type Doubt int

// The doubts. The quoted rules are those of ARCHITECTURE.md and the package comment of internal/correlate.
const (
	DoubtCauseLost Doubt = iota // the parent, or a cause that decides who it is, was lost
	DoubtTainted                // "a gap taints the calls open at it, and the stream's first event, until they return"
	DoubtContext                // the context is, or may be, a message of which it is in doubt whether it was taken on
	DoubtTaking                 // "a receive whose freedom to take on work rests on something tainted"
	DoubtOrder                  // "after a gap in a stream, FIFO matches of its keys are inferred"
	DoubtIdle                   // a send, and whether its stream was idle rests on a correlation that is in doubt
	DoubtUnexplained
	Doubts
)

// String gives the doubt for a person.
func (d Doubt) String() string {
	return [...]string{
		"its cause was lost",
		"in a call, or on a first event, that was open at a gap",
		"its context may be a message whose taking on is in doubt",
		"a receive, and what its stream did or works for is in doubt",
		"met in the order of time behind a gap",
		"a send, and whether its stream is idle is in doubt",
		"unexplained",
	}[d]
}

// Guess is a kind of inferred edge, with the probability that the correlator gave it.
type Guess struct {
	Kind   event.EdgeKind
	Parent bool // the parent's edge, not a further one
	P      float64
}

// Certainty is what there is to say about labels after a loss.
type Certainty struct {
	Parents [Doubts]int // that are not labelled exact, by the rule that forbids it
	// Of correlations that are not labelled exact: the event's own parent is not, whether it founds work is not
	// certain, or it only has the correlation of its parent.
	Own, Founding, Inherited int
	Guesses                  map[Guess]*Share // how many of them are right
}

// Doubtful gives the number of parents that are not labelled exact.
func (c *Certainty) Doubtful() (n int) {
	for _, of := range c.Parents {
		n += of
	}
	return n
}

func (c *Certainty) add(o *Certainty) {
	for d, n := range o.Parents {
		c.Parents[d] += n
	}
	c.Own, c.Founding, c.Inherited = c.Own+o.Own, c.Founding+o.Founding, c.Inherited+o.Inherited
	for g, s := range o.Guesses {
		to := c.guess(g)
		to.Part, to.Of = to.Part+s.Part, to.Of+s.Of
	}
}

func (c *Certainty) guess(g Guess) *Share {
	if c.Guesses == nil {
		c.Guesses = map[Guess]*Share{}
	}
	if c.Guesses[g] == nil {
		c.Guesses[g] = &Share{}
	}
	return c.Guesses[g]
}

// Ordered gives the guesses, by kind.
func (c *Certainty) Ordered() (all []Guess) {
	for g := range c.Guesses {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b Guess) int {
		if a.Parent != b.Parent {
			if a.Parent {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.P, b.P))
	})
	return all
}

// blame is what it takes to say why a label is not exact.
type blame struct {
	calls    map[At]At               // the innermost open call before an event, or the first event; of a return the call that it closes
	missing  map[At][]uint64         // of a stream (seq 0) the seqs that were lost, ascending
	shaky    map[At][]uint64         // those whose correlation is not exact
	doubtful map[At][]uint64         // of a stream the receives with content whose parent is not exact, ascending
	conf     map[At]event.Confidence // of the correlation of what came
}

func newBlame(t *Truth, lost map[At]bool) *blame {
	b := &blame{calls: map[At]At{}, missing: map[At][]uint64{}, doubtful: map[At][]uint64{}, shaky: map[At][]uint64{}, conf: map[At]event.Confidence{}}
	for at := range lost {
		s := At{at.Source, at.Stream, 0}
		b.missing[s] = append(b.missing[s], at.Seq)
	}
	for _, seqs := range b.missing {
		slices.Sort(seqs)
	}
	open := map[At][]At{}
	for _, v := range t.Verdicts {
		s := At{v.At.Source, v.At.Stream, 0}
		if len(open[s]) == 0 {
			open[s] = []At{v.At}
		}
		stack := open[s]
		b.calls[v.At] = stack[len(stack)-1]
		switch v.Event.Kind {
		case event.KindCall:
			open[s] = append(stack, v.At)
		case event.KindReturn:
			if i := slices.Index(stack, v.Parent); i > 0 {
				b.calls[v.At] = stack[i]
				open[s] = stack[:i]
			}
		case event.KindExit:
			open[s] = stack[:1]
		}
	}
	return b
}

// between says whether one of seqs is from low on and below high.
func between(seqs []uint64, low, high uint64) bool {
	i := sort.Search(len(seqs), func(i int) bool { return seqs[i] >= low })
	return i < len(seqs) && seqs[i] < high
}

// explain counts why the parent of an event, and its correlation, are not labelled exact. Events have to come in the order
// of their streams.
func (j *judge) explain(v *Verdict, e event.Event) {
	b := j.blame
	if e.CorrelationConfidence != event.Exact {
		switch {
		case e.Confidence != event.Exact:
			j.Certainty.Own++
		case e.Correlation == e.ID || e.Root || e.Kind == event.KindSend || len(e.Cause) > 0:
			j.Certainty.Founding++
		default:
			j.Certainty.Inherited++
		}
	}
	b.conf[v.At] = e.CorrelationConfidence
	if e.Confidence != event.Exact {
		j.Certainty.Parents[j.doubt(v, e)]++
	}
	if e.Kind == event.KindReceive && !e.Closed && !e.Empty {
		s := At{v.At.Source, v.At.Stream, 0}
		if e.Confidence != event.Exact {
			b.doubtful[s] = append(b.doubtful[s], v.At.Seq)
		}
		if e.CorrelationConfidence != event.Exact {
			b.shaky[s] = append(b.shaky[s], v.At.Seq)
		}
	}
}

// doubt gives the rule that forbids to call the parent of an event exact.
func (j *judge) doubt(v *Verdict, e event.Event) Doubt {
	b := j.blame
	s, call := At{v.At.Source, v.At.Stream, 0}, b.calls[v.At]
	byOrder, uncertain := false, b.conf[call] != event.Exact || b.conf[v.Parent] != event.Exact
	for _, c := range v.Edges {
		if !c.Missing && j.lost[c.From] {
			return DoubtCauseLost
		}
		byOrder = byOrder || c.ByOrder
		uncertain = uncertain || b.conf[c.From] != event.Exact
	}
	receives := e.Kind == event.KindReceive && !e.Closed && !e.Empty
	switch {
	case between(b.missing[s], call.Seq, v.At.Seq):
		return DoubtTainted
	case receives && byOrder:
		return DoubtOrder
	case between(b.doubtful[s], call.Seq, v.At.Seq):
		return DoubtContext
	case receives && (uncertain || between(b.missing[s], 1, v.At.Seq)):
		return DoubtTaking
	case e.Kind == event.KindSend && (uncertain || between(b.shaky[s], call.Seq, v.At.Seq)):
		return DoubtIdle
	}
	return DoubtUnexplained
}
