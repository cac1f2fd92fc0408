package pipeline

import (
	"math"
	"time"
)

// How the number of workers follows the load. At each look (every lookInterval):
//
//  1. The number is brought within its bounds at once, when these have changed.
//  2. Up: as many batches wait as there are workers, at two looks in a row, and the workers are busy at least half of the
//     time: the number doubles, at each further look. 1 → 256 takes half a second. If they are not busy, something behind
//     them holds the flow up, and more of them would not help.
//  3. Down: while fewer batches wait than there are workers, the number that would be busy downBusyShare of the time is
//     enough. When fewer have been enough for calmFor, the number goes down to it, by half at most; then by half again at each stepDownEvery.
//     256 → 1 takes 4 s.
//
// It does not flap: a constant load that made the number double keeps the larger number busy more than
// downBusyShare/2 of the time, or leaves a backlog, and a number that went down is busy less than downBusyShare, which
// leaves no backlog. Between the two nothing moves.
const (
	lookInterval   = 50 * time.Millisecond
	upLooks        = 2
	upBusyShare    = 0.5
	downBusyShare  = 0.6
	calmFor        = time.Second
	stepDownEvery  = 300 * time.Millisecond
	busySmoothTime = 300 * time.Millisecond
)

// load is what the scaler sees at one look.
type load struct {
	at      time.Time
	backlog int     // batches that wait
	busy    float64 // workers at work, on average since the last look
}

// scaler decides on the number of workers. It is used by one goroutine.
type scaler struct {
	smooth  float64 // busy workers, smoothed
	last    time.Time
	crowded int       // looks in a row with a backlog
	calm    time.Time // since when fewer workers are enough; zero if they are not
}

// decide gives the number of workers wanted.
func (s *scaler) decide(now, least, most int, l load) int {
	if !s.last.IsZero() {
		weight := 1 - math.Exp(-float64(l.at.Sub(s.last))/float64(busySmoothTime))
		s.smooth += (l.busy - s.smooth) * weight
	}
	s.last = l.at
	if now < least || now > most {
		s.crowded, s.calm = 0, time.Time{}
		return min(max(now, least), most)
	}

	if l.backlog >= now && l.busy >= upBusyShare*float64(now) {
		s.crowded++
		s.calm = time.Time{}
		if s.crowded >= upLooks {
			return min(2*now, most)
		}
		return now
	}
	s.crowded = 0

	enough := max(least, int(math.Ceil(s.smooth/downBusyShare-1e-3))) // a thousandth of a worker is none
	if l.backlog >= now || enough >= now {
		s.calm = time.Time{}
		return now
	}
	if s.calm.IsZero() {
		s.calm = l.at
	}
	if l.at.Sub(s.calm) < calmFor {
		return now
	}
	s.calm = l.at.Add(stepDownEvery - calmFor) // the next step is due in stepDownEvery
	return max(enough, now/2)
}

// batchFill is for how long a batch collects events when nothing waits: what it costs in latency.
const batchFill = 2 * time.Millisecond

// nextBatchEvents gives the size of batches for a rate in events a second. It at most doubles or halves at a look, and
// stays where it is while half or double of it would not be nearer: so it does not flap. While batches wait it never
// gets smaller: the cost of a hand-over is then what can be saved.
func nextBatchEvents(size, least, most int, perSecond float64, crowded bool) int {
	want := perSecond * batchFill.Seconds()
	if crowded {
		want = max(want, 2*float64(size))
	}
	switch {
	case want >= 1.5*float64(size):
		size *= 2
	case want < float64(size)/2:
		size /= 2
	}
	return min(max(size, least), most)
}
