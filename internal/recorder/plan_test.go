package recorder

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
)

// What the plan's integration and acceptance tests ask for, and the other tests of this package do not say by themselves.

// everyKind has an event of each kind, with every field that names something on it; the start in front, the exit behind.
func everyKind() []event.Event {
	var events []event.Event
	add := func(e event.Event) {
		e.Stream, e.Seq, e.Time = "w-1", uint64(len(events)+1), int64(1_000+len(events))
		e.Func, e.File, e.Line = "shop.(*Order)."+e.Kind.String(), "shop/order.go", 10+len(events)
		e.Data = fmt.Appendf(nil, `{"kind":"%s"}`, e.Kind)
		events = append(events, e)
	}
	add(event.Event{Kind: event.KindStart})
	for _, info := range event.Kinds {
		e := event.Event{Kind: info.Kind, Ref: "r-" + info.Name}
		for _, field := range info.Fields {
			switch field {
			case "root":
				e.Root = true
			case "child":
				e.Child = "w-2"
			case "key":
				e.Key = "key-" + info.Name
			case "ordinal":
				e.Ordinal = 7
			case "message":
				e.Message = "m-" + info.Name
			case "peer":
				e.Peer = "p-1"
			}
		}
		switch info.Kind {
		case event.KindStart, event.KindExit, event.KindGap:
			continue
		case event.KindReceive:
			e.Message = "m-send" // of the send in front of it
		case event.KindWake:
			e.Cause = []string{"r-spawn"}
		}
		add(e)
	}
	add(event.Event{Kind: event.KindExit})
	return events
}

// Every kind of event goes through the whole flow with every field that it came with.
func TestT5_EveryKindOfEventKeepsItsFields(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{})
	in := input(t, r, "kinds", true)
	events := everyKind()
	push(t, in, events...)
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	closeWell(t, r)
	all := readAll(t, dir)
	if len(all) != len(events) || len(events) != len(event.Kinds)-1 { // a gap is made here, not sent
		t.Fatalf("%d of %d events, of %d kinds", len(all), len(events), len(event.Kinds))
	}
	for i, got := range all {
		got.ID, got.Parent, got.Correlation, got.Position, got.Duration = 0, 0, 0, 0, 0
		got.Confidence, got.CorrelationConfidence, got.Background, got.Causes = 0, 0, false, nil
		want, is := events[i], string(event.AppendLine(nil, &got))
		if is != string(event.AppendLine(nil, &want)) {
			t.Errorf("%s came in as\n%s and is\n%s", want.Kind, event.AppendLine(nil, &want), is)
		}
	}
}

// The worked example of the rules, given to the whole flow in any order and by many workers, is on the disk as it should be:
// every parent, founder, edge and duration.
func TestT5_TheWorkedExampleIsOnTheDiskAsItShouldBe(t *testing.T) {
	lines := func(name string) [][]byte {
		text, err := os.ReadFile(filepath.Join("..", "oracle", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	}
	var events []event.Event
	for _, line := range lines("example.ndjson") {
		e, err := event.ParseLine(line)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	rand.New(rand.NewPCG(3, 4)).Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{})
	in := input(t, r, "example", true)
	for part := range slices.Chunk(events, 29) {
		push(t, in, part...)
	}
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	closeWell(t, r)

	names := map[event.ID]string{}
	got := map[string]string{}
	for _, e := range readAll(t, dir) {
		name := fmt.Sprintf("%s#%d", e.Stream, e.Seq)
		names[e.ID] = name
		var edges []string
		for _, c := range e.Causes {
			edges = append(edges, names[c.ID]+" "+c.Kind.String())
		}
		slices.Sort(edges)
		got[name] = fmt.Sprint(names[e.Parent], " of ", names[e.Correlation], e.Background, edges, e.Duration)
		if e.Parent != 0 && e.Confidence != event.Exact {
			t.Errorf("%s is %s", name, e.Confidence)
		}
	}
	expected := lines("example.expected.ndjson")
	if len(got) != len(expected) {
		t.Errorf("%d events, %d are expected", len(got), len(expected))
	}
	for _, line := range expected {
		var want struct {
			Key, Parent, Founder string
			Background           bool
			Edges                []struct{ From, Kind string }
			Duration             time.Duration
		}
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatal(err)
		}
		var edges []string
		for _, e := range want.Edges {
			edges = append(edges, strings.TrimSpace(e.From+" "+e.Kind))
		}
		slices.Sort(edges)
		if s := fmt.Sprint(want.Parent, " of ", want.Founder, want.Background, edges, want.Duration); got[want.Key] != s {
			t.Errorf("%s is\n%s, should be\n%s", want.Key, got[want.Key], s)
		}
	}
}
