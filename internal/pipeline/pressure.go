package pipeline

import (
	"fmt"
	"math"
	"time"
)

// Level is how much pressure there is on the flow.
type Level uint8

// The levels, from low to high.
const (
	LevelNormal   Level = iota
	LevelElevated       // it keeps up, with less to spare than is comfortable
	LevelHigh           // it does not keep up
	LevelCritical       // what it can hold is about to be used up
)

var levelNames = [...]string{LevelNormal: "normal", LevelElevated: "elevated", LevelHigh: "high", LevelCritical: "critical"}

// String gives the name of the level.
func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// MarshalText gives the name of the level.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Readings are what is measured of the whole flow at one moment.
type Readings struct {
	QueueShare     float64       `json:"queue_share"`      // of the ring that is in use
	BacklogAge     time.Duration `json:"backlog_age_ns"`   // how long the oldest event has waited that has not come through
	MemoryBytes    int64         `json:"memory_bytes"`     // anonymous and shared resident memory; 0: unknown
	MemoryBytesMax int64         `json:"memory_bytes_max"` // 0: no limit
	DiskDelay      time.Duration `json:"disk_delay_ns"`    // from published to durable, beyond what was asked for
	DiskFreeBytes  int64         `json:"disk_free_bytes"`  // below zero: unknown
	DiskFull       bool          `json:"disk_full"`        // the store takes nothing
	CPUShare       float64       `json:"cpu_share"`        // of the processors that the program may use
}

// Thresholds say from which reading on a level is there: elevated, high, critical. Infinite is never.
type Thresholds struct {
	QueueShare, MemoryShare, CPUShare   [3]float64
	BacklogAgeSeconds, DiskDelaySeconds [3]float64
	DiskFreeBytesMin                    int64 // critical below it, high below twice, elevated below four times as much; 0: never
}

// DefaultThresholds are for a service that should be read within a second. A ring that is full is no danger by itself:
// sources wait then. Nor are busy processors: one has them for that.
func DefaultThresholds() Thresholds {
	never := math.Inf(1)
	return Thresholds{
		QueueShare:        [3]float64{0.5, 0.9, never},
		MemoryShare:       [3]float64{0.75, 0.85, 0.95},
		CPUShare:          [3]float64{0.9, never, never},
		BacklogAgeSeconds: [3]float64{0.25, 1, 5},
		DiskDelaySeconds:  [3]float64{0.25, 1, 5},
		DiskFreeBytesMin:  64 << 20,
	}
}

// The signals, in the order in which reasons are told.
const (
	signalQueue = iota
	signalBacklog
	signalMemory
	signalDiskDelay
	signalDiskRoom
	signalCPU
	signals
)

// How a level follows the readings. At each look:
//
//  1. Each signal has a level of its own. It rises to the level that the signal has reached at two looks in a row (a full
//     disk: at once), and falls to the one that it has not left: a level is left below leaveShare of where it begins.
//  2. The pressure is that of the highest signal. It rises at once.
//  3. It falls one level at a time: the first when all signals have been lower for the calm time, each further one
//     stepDownEvery later.
//  4. A rise within relapseWithin of a fall was a relapse: the calm time doubles, up to calmMost. It is as it was when
//     there was none for relapseWithin.
//
// Invariants: a level that rose stays for calmFor at least, so there is at most one rise and one fall to normal in that
// time, whatever the signals do; a signal that moves between leaveShare of a threshold and the threshold moves nothing; and
// calmMost + 3 steps is under five seconds, so the pressure is back to normal by then when the readings are.
const (
	leaveShare    = 0.8
	riseLooks     = 2
	pressureCalm  = time.Second
	calmMost      = 2 * time.Second
	levelStepDown = 500 * time.Millisecond
	relapseWithin = 10 * time.Second
)

// gauge turns readings into a level. It is used by one goroutine, and told the time.
type gauge struct {
	at    Thresholds
	level Level

	raw     [signals]Level // at the last look
	of      [signals]Level
	texts   [signals]string
	calm    time.Duration
	since   time.Time // since when all signals have been lower than the level; zero: they are not
	stepped bool      // the level has fallen since they are
	fell    time.Time // the last time
	relapse time.Time // the last time
}

func newGauge(at Thresholds) *gauge { return &gauge{at: at, calm: pressureCalm} }

// reading is one signal's value, in units of its thresholds.
type reading struct {
	value float64
	at    [3]float64
	text  string
	force Level // at once
}

// readings gives the signals' values.
func (g *gauge) readings(r *Readings) (all [signals]reading) {
	never := [3]float64{math.Inf(1), math.Inf(1), math.Inf(1)}
	all[signalQueue] = reading{value: r.QueueShare, at: g.at.QueueShare, text: fmt.Sprintf("the ring is %.0f %% full", 100*r.QueueShare)}
	all[signalBacklog] = reading{value: r.BacklogAge.Seconds(), at: g.at.BacklogAgeSeconds,
		text: fmt.Sprintf("events have waited for %v", r.BacklogAge.Round(time.Millisecond))}
	all[signalMemory] = reading{at: never}
	if r.MemoryBytesMax > 0 {
		share := float64(r.MemoryBytes) / float64(r.MemoryBytesMax)
		all[signalMemory] = reading{value: share, at: g.at.MemoryShare,
			text: fmt.Sprintf("%d MiB of memory are in use, %.0f %% of the limit", r.MemoryBytes>>20, 100*share)}
	}
	all[signalDiskDelay] = reading{value: r.DiskDelay.Seconds(), at: g.at.DiskDelaySeconds,
		text: fmt.Sprintf("the disk is %v late", r.DiskDelay.Round(time.Millisecond))}
	room := reading{at: never}
	if least := g.at.DiskFreeBytesMin; least > 0 && r.DiskFreeBytes >= 0 {
		room = reading{value: float64(least) / math.Max(1, float64(r.DiskFreeBytes)), at: [3]float64{0.25, 0.5, 1},
			text: fmt.Sprintf("the disk has %d MiB left", r.DiskFreeBytes>>20)}
	}
	if r.DiskFull {
		room.force, room.text = LevelCritical, "the disk is full"
	}
	all[signalDiskRoom] = room
	all[signalCPU] = reading{value: r.CPUShare, at: g.at.CPUShare, text: fmt.Sprintf("the processors are %.0f %% busy", 100*r.CPUShare)}
	return all
}

// look takes one look, and gives the level.
func (g *gauge) look(now time.Time, r *Readings) Level {
	highest := LevelNormal
	for i, s := range g.readings(r) {
		raw, left := s.force, s.force
		for l, at := range s.at {
			if s.value >= at {
				raw = max(raw, Level(l+1)) // #nosec G115 -- of three
			}
			if s.value >= leaveShare*at {
				left = max(left, Level(l+1)) // #nosec G115 -- of three
			}
		}
		held := min(g.of[i], left)
		g.of[i] = max(held, min(raw, g.raw[i]), s.force)
		g.raw[i], g.texts[i] = raw, s.text
		highest = max(highest, g.of[i])
	}
	if !g.relapse.IsZero() && now.Sub(g.relapse) >= relapseWithin {
		g.calm, g.relapse = pressureCalm, time.Time{}
	}
	switch {
	case highest > g.level:
		if !g.fell.IsZero() && now.Sub(g.fell) < relapseWithin {
			g.calm, g.relapse = min(2*g.calm, calmMost), now
		}
		g.level, g.since, g.stepped = highest, time.Time{}, false
	case highest == g.level:
		g.since, g.stepped = time.Time{}, false
	case g.since.IsZero():
		g.since = now
	default:
		wait := g.calm
		if g.stepped {
			wait = levelStepDown
		}
		if now.Sub(g.since) >= wait {
			g.level--
			g.since, g.stepped, g.fell = now, true, now
		}
	}
	return g.level
}

// reasons tell what the level comes from: the signals that are highest, or that it is on its way down.
func (g *gauge) reasons() (all []string) {
	if g.level == LevelNormal {
		return nil
	}
	for i, l := range g.of {
		if l >= g.level {
			all = append(all, g.texts[i])
		}
	}
	if all == nil {
		all = []string{"the load is over; it is watched whether it stays so"}
	}
	return all
}
