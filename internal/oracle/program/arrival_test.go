package program_test

import (
	"reflect"
	"sort"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/oracle/program"
)

// inOrder gives events by stream and seq.
func inOrder(events []event.Event) []event.Event {
	sorted := append([]event.Event(nil), events...)
	sort.Slice(sorted, func(i, j int) bool {
		if sorted[i].Stream != sorted[j].Stream {
			return sorted[i].Stream < sorted[j].Stream
		}
		return sorted[i].Seq < sorted[j].Seq
	})
	return sorted
}

func TestArrivalKeepsEveryEvent(t *testing.T) {
	c := program.Seeded(1)
	a := program.Generate(program.Seeded(2), program.Small(0)).Events
	b := program.Generate(program.Seeded(3), program.Small(0)).Events
	const lateness = 5_000
	delayed := program.Delay(c, lateness, a)
	high := int64(0)
	late := 0
	for _, e := range delayed {
		if e.Time < high-lateness {
			t.Errorf("%s#%d comes %d ns late", e.Stream, e.Seq, high-e.Time)
		}
		if e.Time < high {
			late++
		}
		high = max(high, e.Time)
	}
	if late < len(a)/10 {
		t.Errorf("of %d events %d are late", len(a), late)
	}
	var got [3][]event.Event
	ended := map[int]bool{}
	for _, batch := range program.Arrive(c, false, 10, delayed, program.Shuffle(c, b)) {
		if len(batch.Events) < 1 || len(batch.Events) > 10 || ended[batch.Source] {
			t.Errorf("a batch of %d, source over: %v", len(batch.Events), ended[batch.Source])
		}
		got[batch.Source] = append(got[batch.Source], batch.Events...)
		ended[batch.Source] = batch.Last
	}
	if !reflect.DeepEqual(inOrder(got[1]), inOrder(a)) || !reflect.DeepEqual(inOrder(got[2]), inOrder(b)) || !ended[1] || !ended[2] {
		t.Error("what arrives is not what was sent")
	}
	if reflect.DeepEqual(got[2], b) {
		t.Error("the shuffle changed nothing")
	}
}

func TestLiveSourcesKeepUpWithOneAnother(t *testing.T) {
	c := program.Seeded(1)
	a := program.Generate(program.Seeded(2), program.Small(0)).Events
	b := program.Generate(program.Seeded(3), program.Small(0)).Events
	high := map[int]int64{}
	for _, batch := range program.Arrive(c, true, 10, a, b) {
		other := high[3-batch.Source]
		if behind := other - batch.Events[0].Time; other > 0 && behind > 10*900 {
			t.Errorf("source %d is %d ns behind the other", batch.Source, behind)
		}
		high[batch.Source] = batch.Events[len(batch.Events)-1].Time
	}
}

func TestLossTakesAboutItsShare(t *testing.T) {
	for kind := range program.LossKinds {
		lost, all := 0, 0
		for seed := range uint64(20) {
			p := program.Generate(program.Seeded(seed), program.Large(0))
			left, gone := program.Lose(program.Seeded(seed), kind, 50, p.Events)
			if len(left)+len(gone) != len(p.Events) {
				t.Fatalf("kind %d: %d left, %d lost of %d", kind, len(left), len(gone), len(p.Events))
			}
			lost += len(gone)
			all += len(p.Events)
		}
		if share := float64(lost) / float64(all); share < 0.004 || share > 0.08 {
			t.Errorf("kind %d loses %.2f %%, asked for 2 %%", kind, 100*share)
		}
	}
}
