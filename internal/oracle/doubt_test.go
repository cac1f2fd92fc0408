package oracle

import (
	"testing"

	"github.com/pastcone/pastcone/event"
)

// After a loss each label that is not exact is held against the rule that forbids it, and each guess against the truth.
func TestWhyALabelIsNotExact(t *testing.T) {
	takes := true
	events := []event.Event{
		{Stream: "m", Seq: 1, Kind: event.KindCall, Func: "main"},
		{Stream: "m", Seq: 2, Kind: event.KindCall, Func: "f"},
		{Stream: "m", Seq: 3, Kind: event.KindLog}, // lost
		{Stream: "m", Seq: 4, Kind: event.KindLog},
		{Stream: "m", Seq: 5, Kind: event.KindReturn, Func: "f"},
		{Stream: "m", Seq: 6, Kind: event.KindSend, Key: "q", Ordinal: 1},
		{Stream: "m", Seq: 7, Kind: event.KindCall, Func: "g"},
		{Stream: "m", Seq: 8, Kind: event.KindSend, Key: "q", Ordinal: 2}, // lost
		{Stream: "m", Seq: 9, Kind: event.KindExit},
		{Stream: "w", Seq: 1, Kind: event.KindCall, Func: "work"},
		{Stream: "w", Seq: 2, Kind: event.KindReceive, Key: "q", Ordinal: 1, Takes: &takes},
		{Stream: "w", Seq: 3, Kind: event.KindLog},
		{Stream: "w", Seq: 4, Kind: event.KindReceive, Key: "q", Ordinal: 2},
		{Stream: "w", Seq: 5, Kind: event.KindCall, Func: "h"},
		{Stream: "w", Seq: 6, Kind: event.KindLog},
		{Stream: "w", Seq: 7, Kind: event.KindReceive, Key: "fifo"},
		{Stream: "v", Seq: 1, Kind: event.KindCall, Func: "v"},
		{Stream: "v", Seq: 2, Kind: event.KindSend, Key: "fifo"},
		{Stream: "v", Seq: 3, Kind: event.KindSend, Key: "other", Ordinal: 1},
	}
	for i := range events {
		events[i].Time = int64(i)
	}
	events[17].Time = -1 // v sends before w receives
	truth, err := Correlate(events)
	if err != nil {
		t.Fatal(err)
	}
	lost := map[At]bool{{1, "m", 3}: true, {1, "m", 8}: true}
	b := newBlame(truth, lost)
	j := &judge{truth: truth, lost: lost, blame: b, at: map[event.ID]At{}}
	for _, v := range truth.Verdicts {
		b.conf[v.At] = event.Exact
	}
	label := func(stream string, seq uint64, parent, correlation event.Confidence) {
		v := truth.Of(At{1, stream, seq})
		e := v.Event
		e.ID, e.Correlation, e.Confidence, e.CorrelationConfidence = 2, 1, parent, correlation
		j.explain(v, e)
	}
	const no = event.Inferred
	want := [Doubts]int{}
	for _, c := range []struct {
		stream string
		seq    uint64
		why    Doubt
	}{
		{"m", 4, DoubtTainted}, {"m", 5, DoubtTainted}, {"m", 6, DoubtTainted}, // f was open at the gap, and so was main
		{"w", 2, DoubtTaking}, // its send's correlation is in doubt
		{"w", 3, DoubtContext}, {"w", 4, DoubtCauseLost},
		{"w", 6, DoubtUnexplained}, // in a call that was opened later
		{"w", 7, DoubtOrder}, {"v", 3, DoubtUnexplained},
	} {
		label(c.stream, c.seq, no, no)
		want[c.why]++
		if j.Certainty.Parents != want {
			t.Fatalf("%s#%d should be %q: %v, should be %v", c.stream, c.seq, c.why, j.Certainty.Parents, want)
		}
	}
	b.conf[At{1, "v", 1}] = no
	label("v", 3, no, no)
	if j.Certainty.Parents[DoubtIdle] != 1 || j.Certainty.Doubtful() != 10 {
		t.Error(j.Certainty.Parents)
	}
	label("m", 9, event.Exact, no)
	label("v", 2, event.Exact, no)
	label("w", 5, event.Exact, event.Exact)
	if c := j.Certainty; c.Own != 10 || c.Founding != 1 || c.Inherited != 1 {
		t.Errorf("%d own, %d founding, %d inherited", c.Own, c.Founding, c.Inherited)
	}
	for d := range Doubts {
		if d.String() == "" {
			t.Error(int(d))
		}
	}
}

func TestGuessesAreCountedByKind(t *testing.T) {
	var a, b Certainty
	parent, further := Guess{event.EdgeMessage, true, 0.9}, Guess{event.EdgeLock, false, 0.9}
	a.guess(parent).Count(true)
	b.guess(parent).Count(false)
	b.guess(further).Count(true)
	b.guess(Guess{event.EdgeMessage, false, 0.9}).Count(true)
	b.guess(Guess{event.EdgeMessage, true, 0.8}).Count(true)
	b.Parents[DoubtOrder], b.Own, b.Founding, b.Inherited = 1, 2, 3, 4
	a.add(&b)
	all := a.Ordered()
	if len(all) != 4 || all[0].P != 0.8 || all[1] != parent || all[2].Parent || *a.Guesses[parent] != (Share{1, 2}) {
		t.Error(all, *a.Guesses[parent])
	}
	if a.Doubtful() != 1 || a.Own != 2 || a.Founding != 3 || a.Inherited != 4 {
		t.Errorf("%+v", a)
	}
}
