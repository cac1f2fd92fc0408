package capture

import "math"

// timeline makes times of the program's ticks. It is straight between two readings of the clocks, and goes through both: so times
// never go back where ticks do not, and follow a clock that is corrected.
type timeline struct {
	from, to clockReading
	slope    float64 // ns a tick
}

// timelineShortestNanos is how far two readings must be apart for a slope: each is wrong by some ten nanoseconds.
const timelineShortestNanos = 10_000

func newTimeline(begin clockReading) timeline {
	return timeline{from: begin, to: begin, slope: 1}
}

// reach lets the line go on through a later reading. One that is not later is left out.
func (t *timeline) reach(r clockReading) {
	nanos := r.unix - t.to.unix
	if r.ticks <= t.to.ticks || nanos < timelineShortestNanos {
		return
	}
	t.from, t.to = t.to, r
	t.slope = float64(nanos) / float64(r.ticks-t.from.ticks)
}

// unix gives the time of a tick.
func (t *timeline) unix(ticks uint64) int64 {
	delta := float64(int64(ticks-t.from.ticks)) * t.slope // #nosec G115 -- a difference may be negative
	if delta < -math.MaxInt64/4 || delta > math.MaxInt64/4 {
		return t.to.unix
	}
	return t.from.unix + int64(delta)
}

// nanos gives the length of a number of ticks.
func (t *timeline) nanos(ticks uint64) uint64 {
	n := float64(ticks) * t.slope
	if n > math.MaxInt64/4 {
		return math.MaxInt64 / 4
	}
	return uint64(n)
}

// ticks gives the number of ticks in a length of time.
func (t *timeline) ticks(nanos float64) uint64 { return uint64(min(nanos/t.slope, math.MaxInt64/4)) }
