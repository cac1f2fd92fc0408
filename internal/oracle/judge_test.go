package oracle

import (
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
)

// ownResults gives the oracle's verdicts as a correlator would that makes no mistake.
func ownResults(t *Truth) []Result {
	ids := map[At]event.ID{}
	for i, v := range t.Verdicts {
		ids[v.At] = event.ID(i + 1)
	}
	var results []Result
	for _, v := range t.Verdicts {
		e := v.Event
		e.ID, e.Parent, e.Correlation = ids[v.At], ids[v.Parent], ids[v.Founder]
		e.Background, e.Duration, e.Position = v.Background, v.Duration, v.Position
		if !v.Sure {
			e.CorrelationConfidence = event.Inferred
		}
		for i, c := range v.Edges {
			edge := event.Edge{ID: ids[c.From], Kind: c.Kind, P: 1}
			switch {
			case c.Missing:
				edge.Confidence, edge.P = event.Gap, 0
			case c.Inferred:
				edge.Confidence, edge.P = event.Inferred, 0.5
			}
			if i == 0 && v.HasParent {
				e.Confidence = edge.Confidence
				e.CorrelationConfidence = max(e.CorrelationConfidence, edge.Confidence)
			}
			e.Causes = append(e.Causes, edge)
		}
		results = append(results, Result{Source: v.At.Source, Event: e})
	}
	return results
}

// example gives the truth about the worked example, and results to spoil.
func example(t *testing.T) (*Truth, []Result) {
	t.Helper()
	truth, err := Correlate(loadEvents(t, "testdata/example.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	return truth, ownResults(truth)
}

// find gives the result of an event of the worked example.
func find(t *testing.T, results []Result, name string) *event.Event {
	t.Helper()
	for i := range results {
		e := &results[i].Event
		if (At{1, e.Stream, e.Seq}).String() == name {
			return e
		}
	}
	t.Fatalf("no %s", name)
	return nil
}

func TestJudgeFindsNothingWhereNothingIs(t *testing.T) {
	truth, results := example(t)
	r := Judge(truth, results, nil)
	if !r.Fine() || r.Events != 694 || r.Gaps != 0 {
		t.Fatalf("%d events, %d gaps:\n%s", r.Events, r.Gaps, r)
	}
	for _, s := range []Share{r.Parents, r.KnownParents, r.Correlations, r.Edges, r.AllEdges, r.ExactParents, r.ExactCorrelations, r.ExactEdges} {
		if s.Part != s.Of || s.Of == 0 {
			t.Errorf("%+v is not all", s)
		}
	}
}

// Each case spoils one thing of a perfect answer; the judge has to say so, and to name the event.
func TestJudgeNoticesWhatIsSpoilt(t *testing.T) {
	cases := []struct {
		story string
		spoil func(t *testing.T, rs []Result) []Result
		says  string
	}{
		{"a worker's job gets the waiting call as parent", func(t *testing.T, rs []Result) []Result {
			e := find(t, rs, "w3#8")
			e.Parent = find(t, rs, "w3#2").ID
			e.Causes[0].ID = e.Parent
			return rs
		}, "w3#8: parent w3#2, should be w3#5"},
		{"the message's edge is taken for the parent's", func(t *testing.T, rs []Result) []Result {
			e := find(t, rs, "c9#8")
			e.Causes[0], e.Causes[1] = e.Causes[1], e.Causes[0]
			return rs
		}, "c9#8: edges"},
		{"a pooled connection moves a request into another one's correlation", func(t *testing.T, rs []Result) []Result {
			find(t, rs, "c9#9").Correlation = find(t, rs, "main#3").ID
			return rs
		}, "c9#9: correlation of main#3"},
		{"work is called background", func(t *testing.T, rs []Result) []Result {
			find(t, rs, "c9#3").Background = true
			return rs
		}, "c9#3: correlation of c9#3 (background true)"},
		{"a position is off by one", func(t *testing.T, rs []Result) []Result {
			find(t, rs, "c9#9").Position++
			return rs
		}, "c9#9: position"},
		{"a duration is that of another call", func(t *testing.T, rs []Result) []Result {
			find(t, rs, "c7#6").Duration = 1
			return rs
		}, "c7#6: duration 1, should be 950"},
		{"a lock's edge is not there", func(t *testing.T, rs []Result) []Result {
			e := find(t, rs, "c10#7")
			e.Causes = e.Causes[:1]
			return rs
		}, "c10#7: edges"},
		{"an edge too many", func(t *testing.T, rs []Result) []Result {
			e := find(t, rs, "c10#7")
			e.Causes = append(e.Causes, event.Edge{ID: 1, Kind: event.EdgeLock, P: 1})
			return rs
		}, "c10#7: an edge, lock from main#1"},
		{"an edge that is certain is called inferred", func(t *testing.T, rs []Result) []Result {
			e := find(t, rs, "c10#7")
			e.Causes[1].Confidence, e.Causes[1].P = event.Inferred, 0.5
			return rs
		}, "c10#7: lock from c13#8, labelled inferred"},
		{"a correlation that is certain is called inferred", func(t *testing.T, rs []Result) []Result {
			find(t, rs, "c10#8").CorrelationConfidence = event.Inferred
			return rs
		}, "c10#8: exact, correlation inferred"},
		{"a correlation is called surer than the parent", func(t *testing.T, rs []Result) []Result {
			find(t, rs, "c10#8").Confidence = event.Gap
			return rs
		}, "no surer than the way"},
		{"a probability of two", func(t *testing.T, rs []Result) []Result {
			find(t, rs, "c10#7").Causes[1].P = 2
			return rs
		}, "c10#7: an edge from id"},
		{"an edge that came too late in a program where nothing was late", func(t *testing.T, rs []Result) []Result {
			rs[300].Late = []event.Edge{{ID: 1, Kind: event.EdgeWake, P: 1}}
			return rs
		}, "late wake"},
		{"an event is lost on the way", func(t *testing.T, rs []Result) []Result {
			return append(rs[:500:500], rs[501:]...)
		}, "arrived, and is nowhere"},
		{"an event is given twice", func(t *testing.T, rs []Result) []Result {
			again := rs[693]
			again.Event.ID++
			return append(rs, again)
		}, "given twice"},
		{"an event that never was", func(t *testing.T, rs []Result) []Result {
			e := rs[693]
			e.Event.Stream, e.Event.ID = "ghost", 695
			return append(rs, e)
		}, "no such event"},
		{"two events of a stream change places", func(t *testing.T, rs []Result) []Result {
			a, b := find(t, rs, "main#6"), find(t, rs, "main#7")
			a.Seq, b.Seq = 7, 6
			return rs
		}, "should go on with seq 6"},
		{"a cause gets a larger id than its effect", func(t *testing.T, rs []Result) []Result {
			e := find(t, rs, "p2#1")
			e.Parent = 694
			e.Causes[0].ID = 694
			return rs
		}, "which is no smaller"},
		{"a gap where nothing is missing", func(t *testing.T, rs []Result) []Result {
			return append(rs, Result{1, event.Event{Stream: "main", Seq: 53, ID: 695, Kind: event.KindGap, Data: []byte(`{"lost":1}`)}, nil})
		}, "a gap of 1, where from seq 53 on 0 events are missing"},
		{"a function is forgotten", func(t *testing.T, rs []Result) []Result {
			find(t, rs, "main#2").Func = ""
			return rs
		}, "main#2: came as"},
	}
	for _, c := range cases {
		t.Run(c.story, func(t *testing.T) {
			truth, results := example(t)
			r := Judge(truth, c.spoil(t, results), nil)
			if r.Fine() || !strings.Contains(r.String(), c.says) {
				t.Errorf("the judge should say %q, and says:\n%s", c.says, r)
			}
		})
	}
}

// lossy takes events away from a perfect answer, puts gaps there and leaves the labels as they were.
func lossy(truth *Truth, results []Result, lost map[At]bool) (left []Result) {
	ids := map[event.ID]event.ID{}
	next := event.ID(0)
	var hole int
	for _, r := range results {
		if lost[At{r.Source, r.Event.Stream, r.Event.Seq}] {
			hole++
			continue
		}
		if r.Event.Seq > 1 && lost[At{r.Source, r.Event.Stream, r.Event.Seq - 1}] {
			next++
			left = append(left, Result{1, event.Event{Stream: r.Event.Stream, Seq: r.Event.Seq - 1, ID: next, Kind: event.KindGap, Data: []byte(`{"lost":1}`)}, nil})
		}
		next++
		ids[r.Event.ID] = next
		e := r.Event
		e.ID, e.Parent, e.Correlation = next, ids[e.Parent], ids[e.Correlation]
		e.Causes = append([]event.Edge(nil), e.Causes...)
		for i, c := range e.Causes {
			e.Causes[i].ID = ids[c.ID]
			if ids[c.ID] == 0 {
				e.Causes[i].Confidence, e.Causes[i].P = event.Gap, 0
			}
		}
		if len(e.Causes) > 0 {
			e.Confidence = e.Causes[0].Confidence
		}
		if e.Correlation == 0 || e.Confidence == event.Gap {
			e.CorrelationConfidence = event.Gap
		}
		left = append(left, Result{1, e, nil})
	}
	return left
}

func TestJudgeAfterLoss(t *testing.T) {
	truth, results := example(t)
	lost := map[At]bool{{1, "c8", 5}: true, {1, "c10", 7}: true}
	r := Judge(truth, lossy(truth, results, lost), lost)
	if r.Events != 692 || r.Lost != 2 || r.Gaps != 2 {
		t.Errorf("%d events, %d lost, %d gaps", r.Events, r.Lost, r.Gaps)
	}
	if !r.Fine() {
		t.Errorf("everything that is missing is called missing, still:\n%s", r)
	}
	if r.Parents.Of-r.Parents.Part == 0 || r.KnownParents.Part != r.KnownParents.Of || r.Edges.Part != r.Edges.Of {
		t.Errorf("parents %v, known %v, edges %v", r.Parents, r.KnownParents, r.Edges)
	}
	for story, spoil := range map[string]func([]Result) []Result{
		"WrongExact: an exact parent is not the parent": func(rs []Result) []Result {
			e := find(t, rs, "c8#6")
			e.Parent, e.Confidence = find(t, rs, "c8#3").ID, event.Exact
			return rs
		},
		"WrongExact: an exact edge is none": func(rs []Result) []Result {
			e := find(t, rs, "c8#6")
			e.Causes[0] = event.Edge{ID: find(t, rs, "c8#3").ID, Kind: event.EdgeContext, P: 1}
			return rs
		},
		"WrongExact: an exact correlation is another one's": func(rs []Result) []Result {
			find(t, rs, "w3#9").Correlation = find(t, rs, "c8#3").ID
			return rs
		},
		"a gap of two": func(rs []Result) []Result {
			for i := range rs {
				if rs[i].Event.Kind == event.KindGap {
					rs[i].Event.Data = []byte(`{"lost":2}`)
				}
			}
			return rs
		},
		"no gap": func(rs []Result) (left []Result) {
			for _, r := range rs {
				if r.Event.Kind != event.KindGap {
					r.Event.ID = event.ID(len(left) + 1)
					left = append(left, r)
				}
			}
			return left
		},
		"a gap without a count": func(rs []Result) []Result {
			for i := range rs {
				if rs[i].Event.Kind == event.KindGap {
					rs[i].Event.Data = nil
				}
			}
			return rs
		},
		"it was lost, and is here": func(rs []Result) []Result {
			return append(rs, Result{1, event.Event{Stream: "c8", Seq: 5, ID: event.ID(len(rs) + 1), Kind: event.KindCall}, nil})
		},
	} {
		r := Judge(truth, spoil(lossy(truth, results, lost)), lost)
		if r.Fine() || strings.HasPrefix(story, "WrongExact") && r.WrongExact == 0 {
			t.Errorf("%s: the judge does not notice", story)
		}
	}
	// What is not labelled exact may be wrong, and is counted.
	rs := lossy(truth, results, lost)
	e := find(t, rs, "c8#10")
	e.Parent, e.Confidence, e.CorrelationConfidence = find(t, rs, "c8#3").ID, event.Inferred, event.Inferred
	e.Causes = []event.Edge{{ID: e.Parent, Kind: event.EdgeContext, Confidence: event.Inferred, P: 0.5}}
	again := Judge(truth, rs, lost)
	if !again.Fine() || again.Parents.Part != r.Parents.Part-1 {
		t.Errorf("an inferred parent that is wrong: parents %v, before %v\n%s", again.Parents, r.Parents, again)
	}
}

func TestReportsAddUp(t *testing.T) {
	truth, results := example(t)
	var sum Report
	for range 3 {
		results[9].Event.Position = 77
		sum.Add(Judge(truth, results, nil))
	}
	if sum.Events != 3*694 || sum.Parents.Of != 3*694 || sum.Wrong != 3 || sum.WrongExact != 3 || len(sum.Differences) != 3 {
		t.Errorf("%+v", sum)
	}
	for range 10 {
		sum.Add(&sum)
	}
	if len(sum.Differences) != differencesMax || !strings.Contains(sum.String(), "and 3052 more") {
		t.Errorf("%d differences: %s", len(sum.Differences), sum.String())
	}
	if (Share{}).Percent() != 100 || (Share{1, 4}).Percent() != 25 {
		t.Error("percent")
	}
}
