package oracle

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"github.com/pastcone/pastcone/event"
)

// Result is one event as a correlator gave it, in the order of ids.
type Result struct {
	Source int
	Event  event.Event
	Late   []event.Edge // edges into it that came after it had been stored
}

// Share is a part of a whole.
type Share struct{ Part, Of int }

// Count counts one more.
func (s *Share) Count(is bool) {
	s.Of++
	if is {
		s.Part++
	}
}

// Percent gives the share in percent; of nothing it is all.
func (s Share) Percent() float64 {
	if s.Of == 0 {
		return 100
	}
	return 100 * float64(s.Part) / float64(s.Of)
}

// Report is what a judge has to say: counts, and the first things that are wrong.
type Report struct {
	Events int // that arrived
	Lost   int
	Gaps   int // gap events that the correlator gave

	Parents      Share // right, of the events that arrived
	KnownParents Share // the same, of those whose parent arrived or that have none
	Correlations Share // right founder and background, of the events whose founder arrived
	Edges        Share // found, of the message, spawn, lock and close edges with both ends present
	AllEdges     Share // found, of all edges with both ends present

	ExactParents      Share // labelled exact, of the events that arrived
	ExactCorrelations Share
	ExactEdges        Share // labelled exact, of all edges that the correlator gave

	Certainty Certainty // after loss: why what is not exact is not, and how often what is inferred is right

	WrongExact  int      // labelled exact and wrong
	Wrong       int      // everything that may not be, WrongExact included
	Differences []string // the first of them, in sentences
}

const differencesMax = 20

func (r *Report) differ(format string, args ...any) {
	r.Wrong++
	if len(r.Differences) < differencesMax {
		r.Differences = append(r.Differences, fmt.Sprintf(format, args...))
	}
}

// Fine says that nothing is wrong.
func (r *Report) Fine() bool { return r.Wrong == 0 }

// String gives the differences for a person, one a line.
func (r *Report) String() string {
	text := strings.Join(r.Differences, "\n")
	if more := r.Wrong - len(r.Differences); more > 0 {
		text += fmt.Sprintf("\n… and %d more", more)
	}
	return text
}

// Add adds the counts of another report.
func (r *Report) Add(o *Report) {
	r.Events, r.Lost, r.Gaps = r.Events+o.Events, r.Lost+o.Lost, r.Gaps+o.Gaps
	for _, s := range []struct{ to, from *Share }{
		{&r.Parents, &o.Parents}, {&r.KnownParents, &o.KnownParents}, {&r.Correlations, &o.Correlations},
		{&r.Edges, &o.Edges}, {&r.AllEdges, &o.AllEdges}, {&r.ExactParents, &o.ExactParents},
		{&r.ExactCorrelations, &o.ExactCorrelations}, {&r.ExactEdges, &o.ExactEdges},
	} {
		s.to.Part, s.to.Of = s.to.Part+s.from.Part, s.to.Of+s.from.Of
	}
	r.Certainty.add(&o.Certainty)
	r.WrongExact, r.Wrong = r.WrongExact+o.WrongExact, r.Wrong+o.Wrong
	r.Differences = append(r.Differences, o.Differences...)
	r.Differences = r.Differences[:min(len(r.Differences), differencesMax)]
}

// Judge compares what a correlator gave with the truth about the whole program. lost are the events that
// the correlator never got, or got too late; if it is nil, nothing was late, and everything has to be
// equal. Else
//
//   - every event that arrived is there, once, in the order of its stream,
//   - each hole in front of an event that arrived is one gap event with the right count,
//   - what meets by a name that both ends have (ordinal, message id, reference, child, closed key) has met:
//     it is among the causes, or came as a late edge,
//   - no parent, edge, correlation, position or duration that is labelled exact is wrong,
//
// and the rest is counted.
func Judge(t *Truth, results []Result, lost map[At]bool) *Report {
	j := &judge{Report: Report{Lost: len(lost)}, truth: t, lost: lost, complete: lost == nil, at: map[event.ID]At{}}
	if !j.complete {
		j.blame = newBlame(t, lost)
	}
	j.names(results)
	j.streams(results)
	for i := range results {
		r := &results[i]
		if v := t.Of(At{r.Source, r.Event.Stream, r.Event.Seq}); v != nil && r.Event.Kind != event.KindGap {
			j.one(v, r)
		}
	}
	return &j.Report
}

type judge struct {
	Report
	truth    *Truth
	lost     map[At]bool
	complete bool
	at       map[event.ID]At
	current  At // that is being judged
	blame    *blame
}

// names checks the ids, and notes which event each of them names.
func (j *judge) names(results []Result) {
	for i, r := range results {
		if i > 0 && r.Event.ID != results[i-1].Event.ID+1 {
			j.differ("id %d follows id %d: ids have to be dense and ascending", r.Event.ID, results[i-1].Event.ID)
		}
		j.at[r.Event.ID] = At{r.Source, r.Event.Stream, r.Event.Seq}
		if r.Event.Kind == event.KindGap { // no event of the program, though it stands in the place of one
			j.at[r.Event.ID] = At{r.Source, "a gap in " + r.Event.Stream, r.Event.Seq}
		}
	}
}

// streams checks that each stream is whole: its events in order, gaps where something is missing.
func (j *judge) streams(results []Result) {
	type stream struct {
		source int
		name   string
	}
	next := map[stream]uint64{}
	seen := map[At]bool{}
	for _, r := range results {
		at := At{r.Source, r.Event.Stream, r.Event.Seq}
		s := stream{r.Source, r.Event.Stream}
		want := next[s] + 1
		if r.Event.Kind == event.KindGap {
			j.Gaps++
			next[s] = j.gap(at, r.Event, want)
			continue
		}
		j.Events++
		switch {
		case j.truth.Of(at) == nil:
			j.differ("%s: the program has no such event", at)
		case seen[at]:
			j.differ("%s: given twice", at)
		case j.lost[at]:
			j.differ("%s: it was lost, and is here all the same", at)
		case at.Seq != want:
			j.differ("%s: its stream should go on with seq %d", at, want)
		}
		seen[at] = true
		next[s] = at.Seq
	}
	for _, v := range j.truth.Verdicts {
		if !seen[v.At] && !j.lost[v.At] {
			j.differ("%s: arrived, and is nowhere", v.At)
		}
	}
}

// gap checks a gap event against the hole it stands for, and gives the last seq of the hole.
func (j *judge) gap(at At, e event.Event, want uint64) uint64 {
	var data struct {
		Lost uint64 `json:"lost"`
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		j.differ("%s: a gap whose data is %q: %v", at, e.Data, err)
	}
	last := at.Seq
	for j.lost[At{at.Source, at.Stream, last}] {
		last++
	}
	if missing := last - at.Seq; at.Seq != want || data.Lost != missing || missing == 0 {
		j.differ("%s: a gap of %d, where from seq %d on %d events are missing", at, data.Lost, want, missing)
	}
	return at.Seq + max(data.Lost, 1) - 1
}

// one judges one event.
func (j *judge) one(v *Verdict, r *Result) {
	j.current = v.At
	e := r.Event
	parent := j.at[e.Parent]
	founder := j.at[e.Correlation]
	rightParent := parent == v.Parent
	rightCorrelation := founder == v.Founder && e.Background == v.Background
	j.Parents.Count(rightParent)
	if !j.lost[v.Parent] {
		j.KnownParents.Count(rightParent)
	}
	if !j.lost[v.Founder] {
		j.Correlations.Count(rightCorrelation)
	}
	j.ExactParents.Count(e.Confidence == event.Exact)
	j.ExactCorrelations.Count(e.CorrelationConfidence == event.Exact)

	if (j.complete || e.Confidence == event.Exact) && !rightParent {
		j.wrong(e.Confidence, "parent %s, should be %s (%v)", parent, v.Parent, v.Edges)
	}
	if (j.complete || e.CorrelationConfidence == event.Exact) && !rightCorrelation {
		j.wrong(e.CorrelationConfidence, "correlation of %s (background %v), should be of %s (%v)", founder, e.Background, v.Founder, v.Background)
	}
	if (j.complete || e.CorrelationConfidence == event.Exact) && rightCorrelation && e.Position != v.Position {
		j.wrong(e.CorrelationConfidence, "position %d, should be %d", e.Position, v.Position)
	}
	if (j.complete || e.Confidence == event.Exact) && e.Duration != v.Duration {
		j.wrong(e.Confidence, "duration %d, should be %d", e.Duration, v.Duration)
	}
	if j.complete && v.Sure && (e.Confidence != event.Exact || e.CorrelationConfidence != event.Exact) {
		j.differ("%s: %v, correlation %v, though nothing in its past is in doubt", v.At, e.Confidence, e.CorrelationConfidence)
	}
	if e.Confidence > e.CorrelationConfidence && e.Correlation != e.ID {
		j.differ("%s: parent %v, correlation %v: a correlation is no surer than the way to its founder", v.At, e.Confidence, e.CorrelationConfidence)
	}
	j.edges(v, r)
	j.unchanged(v, e)
	if !j.complete {
		j.explain(v, e)
	}
}

// wrong notes something that is not as it should be; if it is labelled exact it counts as such.
func (j *judge) wrong(c event.Confidence, format string, args ...any) {
	if c == event.Exact {
		j.WrongExact++
	}
	j.differ("%s: %s, labelled %v", j.current, fmt.Sprintf(format, args...), c)
}

// edges compares all edges of an event.
func (j *judge) edges(v *Verdict, r *Result) {
	got := append(append([]event.Edge(nil), r.Event.Causes...), r.Late...)
	left := append([]Cause(nil), v.Edges...)
	for i, e := range got {
		from := j.at[e.ID]
		if e.ID != 0 && e.ID >= r.Event.ID && i < len(r.Event.Causes) {
			j.differ("%s (id %d): a cause with id %d, which is no smaller", v.At, r.Event.ID, e.ID)
		}
		j.probability(e)
		found := -1
		for k, c := range left {
			if c.Kind == e.Kind && (c.Missing && e.ID == 0 || !c.Missing && e.ID != 0 && c.From == from) {
				found = k
				break
			}
		}
		j.ExactEdges.Count(e.Confidence == event.Exact)
		if e.Confidence == event.Exact && found < 0 {
			j.wrong(event.Exact, "an edge, %v from %s; should be %v", e.Kind, from, v.Edges)
		}
		if e.Confidence == event.Inferred {
			// Of a parent's edge its cause counts: what the correlator took for the call may be it by another edge.
			parent := i == 0 && e.ID == r.Event.Parent
			j.Certainty.guess(Guess{e.Kind, parent, e.P}).Count(found >= 0 || parent && from == v.Parent)
		}
		if found >= 0 {
			left = append(left[:found], left[found+1:]...)
		}
	}
	for _, c := range v.Edges {
		if c.Missing || j.lost[c.From] {
			continue
		}
		missing := false
		for _, l := range left {
			missing = missing || l == c
		}
		j.AllEdges.Count(!missing)
		switch c.Kind {
		case event.EdgeMessage, event.EdgeSpawn, event.EdgeLock, event.EdgeClose:
			j.Edges.Count(!missing)
		case event.EdgeWake, event.EdgeExplicit:
		default:
			continue
		}
		if missing && !c.ByOrder {
			j.differ("%s: %v is not given, though both ends came", v.At, c)
		}
	}
	if j.complete {
		j.sameEdges(v, r)
	}
}

// sameEdges demands the same edges: the parent's first, the further ones in any order.
func (j *judge) sameEdges(v *Verdict, r *Result) {
	var want, got []string
	for i, c := range v.Edges {
		want = append(want, j.phrase(i, c.Kind, c.From))
	}
	for i, e := range r.Event.Causes {
		got = append(got, j.phrase(i, e.Kind, j.at[e.ID]))
	}
	for _, e := range r.Late {
		got = append(got, "late "+j.phrase(1, e.Kind, j.at[e.ID]))
	}
	sort.Strings(want)
	sort.Strings(got)
	if strings.Join(want, ", ") != strings.Join(got, ", ") {
		j.differ("%s: edges [%s], should be [%s]", v.At, strings.Join(got, ", "), strings.Join(want, ", "))
		return
	}
	for i, c := range v.Edges {
		e := r.Event.Causes[i] // the order of further edges is free, so look for this one
		for _, o := range r.Event.Causes[min(i, 1):] {
			if i > 0 && o.Kind == c.Kind && j.at[o.ID] == c.From {
				e = o
			}
		}
		certain := !c.Inferred && (i > 0 || v.Sure)
		switch {
		case c.Missing && e.Confidence != event.Gap:
			j.differ("%s: %v, labelled %v", v.At, c, e.Confidence)
		case !c.Missing && e.Confidence == event.Gap, !c.Missing && certain && e.Confidence != event.Exact:
			j.differ("%s: %v, labelled %v though both ends are there", v.At, c, e.Confidence)
		}
	}
}

func (j *judge) phrase(i int, kind event.EdgeKind, from At) string {
	if i == 0 {
		return fmt.Sprintf("first %v from %s", kind, from)
	}
	return fmt.Sprintf("%v from %s", kind, from)
}

// probability holds an edge's probability against its confidence.
func (j *judge) probability(e event.Edge) {
	ok := false
	switch e.Confidence {
	case event.Exact:
		ok = e.P == 1 && e.ID != 0
	case event.Inferred:
		ok = 0 < e.P && e.P < 1 && e.ID != 0
	case event.Gap:
		ok = e.P == 0 && e.ID == 0
	}
	if !ok {
		j.differ("%s: an edge from id %d labelled %v with probability %v", j.current, e.ID, e.Confidence, e.P)
	}
}

// unchanged demands that what the source gave comes back as it was.
func (j *judge) unchanged(v *Verdict, e event.Event) {
	was, is := given(v.Event), given(e)
	if was != is {
		j.differ("%s: came as %s, is now %s", v.At, was, is)
	}
}

// given gives the fields of an event that its source gave, as text.
func given(e event.Event) string {
	takes := "?"
	if e.Takes != nil {
		takes = fmt.Sprint(*e.Takes)
	}
	return fmt.Sprint(e.Time, e.Kind, " ", e.Func, e.File, ":", e.Line, " ", e.Key, " ", e.Ordinal, " ", e.Message, " ", e.Peer, " ",
		e.Child, " ", e.Ref, e.Cause, e.Root, e.Empty, e.Closed, takes, e.Inferred, e.Unseen, string(e.Data), e.Extra)
}
