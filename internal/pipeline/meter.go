package pipeline

import "time"

// meter turns counters that only grow into rates over a window. It is used by one goroutine.
type meter struct {
	window  time.Duration
	samples []sample // oldest first, one behind the window at most
}

type sample struct {
	at     time.Time
	counts [metered]uint64
}

// What a pool's meter follows.
const (
	meterTakenBatches = iota
	meterTakenEvents
	meterDoneEvents
	meterArrivedEvents
	metered
)

// add notes the counters of a moment.
func (m *meter) add(at time.Time, counts [metered]uint64) {
	m.samples = append(m.samples, sample{at, counts})
	keep := 0
	for keep+1 < len(m.samples) && at.Sub(m.samples[keep+1].at) >= m.window {
		keep++
	}
	if keep > 0 {
		m.samples = append(m.samples[:0], m.samples[keep:]...)
	}
}

// over gives how much a counter has grown over the window, or since the first sample, and over what time.
func (m *meter) over(which int) (grown uint64, within time.Duration) {
	if len(m.samples) < 2 {
		return 0, 0
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	return last.counts[which] - first.counts[which], last.at.Sub(first.at)
}

// perSecond gives a counter's rate; 0 before two samples are there.
func (m *meter) perSecond(which int) float64 {
	grown, within := m.over(which)
	if within <= 0 {
		return 0
	}
	return float64(grown) / within.Seconds()
}
