package pipeline

import (
	"math"
	"testing"
	"time"
)

// simulate runs the scaler against a load in workers' worth of work, and gives the number of workers at each look. A
// backlog is what the workers did not manage.
func simulate(least, most, start int, looks int, demand func(look int) float64) (workers []int) {
	var s scaler
	now, backlog := start, 0.0
	at := time.Unix(0, 0)
	for look := range looks {
		at = at.Add(lookInterval)
		// One worker's work of one look is 50 batches.
		backlog += 50 * demand(look)
		did := math.Min(backlog, 50*float64(now))
		backlog -= did
		now = s.decide(now, least, most, load{at: at, backlog: int(backlog), busy: did / 50})
		workers = append(workers, now)
	}
	return workers
}

func looks(d time.Duration) int { return int(d / lookInterval) }

func changes(workers []int) (n int) {
	for i := 1; i < len(workers); i++ {
		if workers[i] != workers[i-1] {
			n++
		}
	}
	return n
}

func TestPool_ScalerReachesTheMostWithinASecondWhateverItIs(t *testing.T) {
	for _, most := range []int{2, 3, 8, 64, 256} {
		w := simulate(1, most, 1, looks(time.Second), func(int) float64 { return 1000 })
		if got := w[len(w)-1]; got != most {
			t.Errorf("%d of %d after a second", got, most)
		}
	}
}

func TestPool_ScalerIsBackWithinFiveSecondsWhateverItWas(t *testing.T) {
	for _, most := range []int{2, 3, 8, 64, 256} {
		w := simulate(1, most, most, looks(5*time.Second), func(int) float64 { return 0 })
		if got := w[len(w)-1]; got != 1 {
			t.Errorf("%d of %d left after five seconds", got, most)
		}
	}
}

func TestPool_ScalerDoesNotFlapUnderAnyConstantLoad(t *testing.T) {
	for demand := 0.1; demand < 16; demand += 0.1 {
		w := simulate(1, 16, 1, looks(time.Minute), func(int) float64 { return demand })
		settled := w[looks(10*time.Second):]
		if n := changes(settled); n > 0 {
			t.Errorf("load of %.1f workers: %d changes after ten seconds, between %v", demand, n, settled[:8])
		}
		if last := float64(settled[len(settled)-1]); last < demand {
			t.Errorf("load of %.1f workers: only %v", demand, last)
		}
	}
}

func TestPool_ScalerRidesOutAnUnsteadyLoad(t *testing.T) {
	w := simulate(1, 16, 1, looks(time.Minute), func(look int) float64 { return 4 + 3*math.Sin(float64(look)/2) }) // a period of 0.6 s
	if n := changes(w[looks(5*time.Second):]); n > 2 {
		t.Errorf("%d changes in 55 s", n)
	}
}

func TestPool_ScalerLetsAShortBurstPass(t *testing.T) {
	w := simulate(1, 16, 1, looks(time.Second), func(look int) float64 {
		if look == 3 {
			return 1.9 // more than one worker manages in one look, but not at two looks
		}
		return 0
	})
	if changes(w) != 0 {
		t.Errorf("workers %v", w)
	}
}

func TestPool_ScalerAddsNobodyWhenSomethingElseHoldsTheFlowUp(t *testing.T) {
	var s scaler
	at := time.Unix(0, 0)
	for range 100 {
		at = at.Add(lookInterval)
		if got := s.decide(4, 1, 16, load{at: at, backlog: 1000, busy: 0.5}); got != 4 {
			t.Fatalf("%d workers for a queue that idle workers leave full", got)
		}
	}
}

func TestPool_ScalerFollowsNewBoundsAtOnce(t *testing.T) {
	s := scaler{crowded: 1, calm: time.Unix(1, 0)}
	if got := s.decide(1, 3, 9, load{at: time.Unix(2, 0)}); got != 3 {
		t.Errorf("%d workers, at least 3 are allowed", got)
	}
	if got := s.decide(9, 1, 2, load{at: time.Unix(3, 0)}); got != 2 {
		t.Errorf("%d workers, at most 2 are allowed", got)
	}
}

func TestPool_BatchSizeFollowsTheRate(t *testing.T) {
	for _, c := range []struct {
		story     string
		start     int
		perSecond float64
		crowded   bool
		want      int // after many looks, between 16 and 4096
	}{
		{"idle: small, for latency", 4096, 0, false, 16},
		{"10,000 a second: two milliseconds' worth", 16, 10_000, false, 16},
		{"100,000 a second", 16, 100_000, false, 256},
		{"100,000 a second, coming down", 4096, 100_000, false, 256},
		{"a million a second", 16, 1e6, false, 2048},
		{"more than the bound", 16, 1e9, false, 4096},
		{"a backlog: as large as may be, for throughput", 16, 1000, true, 4096},
	} {
		size := c.start
		for range 20 {
			size = nextBatchEvents(size, 16, 4096, c.perSecond, c.crowded)
		}
		if size != c.want {
			t.Errorf("%s: %d, want %d", c.story, size, c.want)
		}
	}
}

func TestPool_BatchSizeNeitherJumpsNorFlaps(t *testing.T) {
	for perSecond := 1000.0; perSecond < 3e6; perSecond *= 1.01 {
		size := 16
		var sizes []int
		for range 40 {
			next := nextBatchEvents(size, 16, 4096, perSecond, false)
			if next > 2*size || next < size/2 {
				t.Fatalf("from %d to %d at once", size, next)
			}
			size = next
			sizes = append(sizes, size)
		}
		if n := changes(sizes[20:]); n > 0 {
			t.Errorf("%.0f a second: %v", perSecond, sizes[20:])
		}
	}
}

func TestPool_BatchSizeKeepsItsBoundsWhenTheyMove(t *testing.T) {
	if got := nextBatchEvents(4096, 16, 100, 1e6, false); got != 100 {
		t.Errorf("%d, at most 100 are allowed", got)
	}
	if got := nextBatchEvents(16, 500, 1000, 0, false); got != 500 {
		t.Errorf("%d, at least 500 are allowed", got)
	}
}
