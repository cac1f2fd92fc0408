package correlate

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// The stories in testdata/*.txt hold the correlator to the rules, sentence by sentence. A story begins with
// "== what it tells"; each line is an event, in the order in which they happen:
//
//	stream kind function field … -> parent founder, edge, edge
//
// A field is root, empty, closed, takes, takes-not, guessed (the source has inferred it), unseen (what it came from left no record), key=k, ordinal=n,
// message=m, peer=s, child=s, ref=r, cause=r (several times), at=n (the time). A founder in brackets is background. "?"
// behind a name says inferred, "!" gap; "-" is none. The edges are the further ones, "kind name", "late kind name" those that
// came later. A number behind the founder, "+n", is the duration.
//
// A line that begins with "lost" is an event that never comes; one that begins with "late" comes when the allowed
// lateness is over. "stream gap n -> …" expects a gap event that has lost n, in front of the stream's next event.

const storyLateness = 1000

type storyLine struct {
	event    event.Event
	guessed  bool
	lost     bool
	late     bool
	gap      bool // not an event: what is expected
	expected string
}

type story struct {
	tells string
	lines []storyLine
}

func readStories(t *testing.T) (stories []story) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(text), "\n== ")[1:] {
			tells, lines, _ := strings.Cut(part, "\n")
			stories = append(stories, story{tells, readLines(t, tells, lines)})
		}
	}
	return stories
}

func readLines(t *testing.T, tells, text string) (lines []storyLine) {
	t.Helper()
	seq := map[string]uint64{}
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		did, expected, _ := strings.Cut(line, "->")
		words := strings.Fields(did)
		var l storyLine
		switch words[0] {
		case "lost":
			l.lost, words = true, words[1:]
		case "late":
			l.late, words = true, words[1:]
		}
		l.expected = strings.Join(strings.Fields(expected), " ")
		e := &l.event
		e.Stream, e.Time = words[0], int64(1000+10*len(lines))
		var ok bool
		if e.Kind, ok = event.ParseKind(words[1]); !ok {
			t.Fatalf("%s: %q: no kind", tells, line)
		}
		if e.Kind == event.KindGap && !slices.Contains(words, "declared") {
			l.gap, e.Seq = true, seq[e.Stream]+1
			n, _ := strconv.Atoi(words[2])
			e.Seq -= uint64(n)
			lines = append(lines, l)
			continue
		}
		seq[e.Stream]++
		e.Seq = seq[e.Stream]
		e.Func = words[2]
		for _, field := range words[3:] {
			l.field(t, field)
		}
		if e.Kind == event.KindGap {
			n, _ := strconv.Atoi(words[2])
			seq[e.Stream] += uint64(n) - 1
			e.Func, e.Data = "", []byte(fmt.Sprintf(`{"lost":%d}`, n))
		}
		lines = append(lines, l)
	}
	return lines
}

func (l *storyLine) field(t *testing.T, field string) {
	t.Helper()
	yes, no := true, false
	e := &l.event
	name, value, _ := strings.Cut(field, "=")
	number, _ := strconv.ParseInt(value, 10, 64)
	switch name {
	case "root":
		e.Root = true
	case "empty":
		e.Empty = true
	case "closed":
		e.Closed = true
	case "takes":
		e.Takes = &yes
	case "takes-not":
		e.Takes = &no
	case "unseen":
		e.Unseen = true
	case "guessed":
		l.guessed = true
	case "declared":
	case "key":
		e.Key = value
	case "line":
		e.Line = int(number)
	case "ordinal":
		e.Ordinal = uint64(number)
	case "message":
		e.Message = value
	case "peer":
		e.Peer = value
	case "child":
		e.Child = value
	case "ref":
		e.Ref = value
	case "cause":
		e.Cause = append(e.Cause, value)
	case "at":
		e.Time = number
	default:
		t.Fatalf("no field %q", field)
	}
}

// result is what came out for an event.
type result struct {
	event.Event
	late []event.Edge
}

// collector keeps what a correlator gives, and watches its contract.
type collector struct {
	t        testing.TB
	table    *wire.Table
	next     event.ID
	results  []*result
	byID     map[event.ID]*result
	rejected []string
	reasons  map[Reason]int
}

func collect(t testing.TB, table *wire.Table) *collector {
	return &collector{t: t, table: table, next: 1, byID: map[event.ID]*result{}, reasons: map[Reason]int{}}
}

func (k *collector) Emit(b *wire.Block) {
	if b.Base != k.next || len(b.Rows) == 0 {
		k.t.Errorf("a block of %d rows with base %d, next is %d", len(b.Rows), b.Base, k.next)
	}
	for i := range b.Rows {
		r := &result{}
		if err := b.Event(i, k.table, &r.Event); err != nil {
			k.t.Error(err)
		}
		for n, c := range r.Causes {
			if c.ID >= r.ID {
				k.t.Errorf("%s: its cause %d has id %d", k.name(r.ID), n, c.ID)
			}
		}
		k.results = append(k.results, r)
		k.byID[r.ID] = r
	}
	k.next += event.ID(len(b.Rows))
	for _, l := range b.Late {
		r := k.byID[l.Effect]
		if r == nil || l.Edge.Cause <= l.Effect || k.byID[l.Edge.Cause] == nil {
			k.t.Errorf("a late edge %+v", l)
			continue
		}
		r.late = append(r.late, event.Edge{ID: l.Edge.Cause, Kind: l.Edge.Kind, Confidence: l.Edge.Conf})
	}
}

func (k *collector) Reject(_ wire.SourceID, stream wire.Name, b *wire.Batch, r *wire.Record, why Reason) {
	_, _ = b.Data(r), b.Ext(r)
	k.rejected = append(k.rejected, fmt.Sprintf("%s#%d: %v", k.table.NameOf(stream), r.Seq, why))
	k.reasons[why]++
}

func (k *collector) name(id event.ID) string {
	r := k.byID[id]
	switch {
	case id == 0:
		return "-"
	case r == nil:
		return fmt.Sprintf("id%d", id)
	case r.Kind == event.KindGap:
		return fmt.Sprintf("%s#%d-gap", r.Stream, r.Seq)
	}
	return fmt.Sprintf("%s#%d", r.Stream, r.Seq)
}

var marks = map[event.Confidence]string{event.Exact: "", event.Inferred: "?", event.Gap: "!"}

// tell gives a result in the words of a story.
func (k *collector) tell(r *result) string {
	founder := k.name(r.Correlation)
	if r.Background {
		founder = "[" + founder + "]"
	}
	text := k.name(r.Parent) + marks[r.Confidence] + " " + founder + marks[r.CorrelationConfidence]
	if r.Duration != 0 {
		text += fmt.Sprintf(" +%d", r.Duration)
	}
	causes := r.Causes
	if len(causes) > 0 && causes[0].ID == r.Parent && causes[0].Confidence == r.Confidence {
		if causes[0].ID == 0 {
			text += ", parent " + causes[0].Kind.String()
		}
		causes = causes[1:]
	}
	for _, c := range causes {
		text += ", " + c.Kind.String() + " " + k.name(c.ID) + marks[c.Confidence]
	}
	for _, c := range r.late {
		text += ", late " + c.Kind.String() + " " + k.name(c.ID) + marks[c.Confidence]
	}
	return text
}

// batch makes a batch of events.
func batch(t testing.TB, table *wire.Table, source wire.SourceID, lines ...storyLine) *wire.Batch {
	b := &wire.Batch{Source: source}
	for i := range lines {
		if err := b.AddEvent(table, &lines[i].event); err != nil {
			t.Fatal(err)
		}
		if lines[i].guessed {
			b.Records[len(b.Records)-1].Flags |= wire.FlagInferred
		}
	}
	return b
}

// arrival is a way for a story's events to come.
type arrival struct {
	name   string
	finite bool
	size   int // of a batch
	order  func([]storyLine)
}

var arrivals = []arrival{
	{"in one batch", false, 1000, func([]storyLine) {}},
	{"one by one", false, 1, func([]storyLine) {}},
	{"backwards", true, 3, slices.Reverse[[]storyLine]},
	{"backwards, live", false, 2, slices.Reverse[[]storyLine]},
	{"stream by stream", true, 5, func(l []storyLine) {
		slices.SortStableFunc(l, func(a, b storyLine) int { return strings.Compare(b.event.Stream, a.event.Stream) })
	}},
}

// play lets a story come in that way.
func (s story) play(t *testing.T, a arrival) *collector {
	table := wire.NewTable(1 << 20)
	k := collect(t, table)
	c := New(Options{Table: table, Lateness: storyLateness}, k)
	var now, late []storyLine
	for _, l := range s.lines {
		switch {
		case l.lost || l.gap:
		case l.late:
			late = append(late, l)
		default:
			now = append(now, l)
		}
	}
	a.order(now)
	c.Open(1, a.finite && len(late) == 0)
	for chunk := range slices.Chunk(now, a.size) {
		c.Add(batch(t, table, 1, chunk...))
	}
	if len(late) > 0 {
		// Another source moves the time on: nothing more is waited for.
		c.Add(batch(t, table, 2, storyLine{event: event.Event{Stream: "clock", Seq: 1, Time: 1 << 40, Kind: event.KindStart}}))
		c.Add(batch(t, table, 1, late...))
	}
	c.Finish()
	return k
}

func TestStories(t *testing.T) {
	for _, s := range readStories(t) {
		t.Run(s.tells, func(t *testing.T) {
			for _, a := range arrivals {
				k := s.play(t, a)
				got := map[string]string{}
				for _, r := range k.results {
					got[k.name(r.ID)] = k.tell(r)
				}
				delete(got, "clock#1")
				for _, l := range s.lines {
					if l.lost {
						continue
					}
					name := fmt.Sprintf("%s#%d", l.event.Stream, l.event.Seq)
					if l.event.Kind == event.KindGap {
						name += "-gap"
					}
					is, there := got[name]
					if l.expected == "rejected" {
						if there || !slices.ContainsFunc(k.rejected, func(r string) bool { return strings.HasPrefix(r, name+":") }) {
							t.Errorf("%s: %s is not rejected", a.name, name)
						}
						continue
					}
					if is != l.expected {
						t.Errorf("%s:\n%s: %s\n\tshould be %s", a.name, name, is, l.expected)
					}
					delete(got, name)
				}
				for name, is := range got {
					t.Errorf("%s: nobody expects %s: %s", a.name, name, is)
				}
			}
		})
	}
}
