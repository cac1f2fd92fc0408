package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Action is one thing that is done about pressure. They are taken in this order, and taken back in the opposite one.
type Action uint8

// The actions, from the cheapest.
const (
	ActLargerBatches Action = iota // sources are told to fill their batches
	ActMoreWorkers                 // the pools have all the workers that they may have
	ActWait                        // sources that can wait leave the ring to those that can not
	ActSample                      // whole correlations are sampled, behind the correlator
	ActShedLeaves                  // at the ring: hot leaf calls
	ActShedCalls                   // at the ring: calls that are over within their batch
	ActShedLogs                    // at the ring: logs and metrics
	ActShedRest                    // at the ring, while it is full: everything of sources that can not wait
	Actions                        // how many there are
)

var actionNames = [...]string{
	ActLargerBatches: "larger batches", ActMoreWorkers: "more workers", ActWait: "waiting", ActSample: "sampling",
	ActShedLeaves: "shedding hot leaf calls", ActShedCalls: "shedding calls", ActShedLogs: "shedding logs and metrics",
	ActShedRest: "shedding the rest",
}

// String tells what is done.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// How the actions follow the level. At each look at most one action is taken or taken back:
//
//  1. A level has a number of actions that may be in force at it: none, two, four, all; never more than Most.
//  2. While fewer are, the next one is taken: up to the fourth at each look, beyond it every climbEvery, so that the one
//     before shows its effect first.
//  3. While more are, the last one is taken back, every descendEvery: eight in two seconds.
//  4. The share of correlations that is kept halves every shareDownEvery while sampling is in force and the level is high,
//     and doubles every shareUpEvery else.
const (
	climbEvery     = 250 * time.Millisecond
	descendEvery   = 250 * time.Millisecond
	shareDownEvery = 500 * time.Millisecond
	shareUpEvery   = 100 * time.Millisecond
	shareLeast     = 1.0 / 64
)

var actionsAt = [...]int{LevelNormal: 0, LevelElevated: 2, LevelHigh: 4, LevelCritical: int(Actions)}

// Change is a step of the pressure: another level, or an action that is taken or taken back.
type Change struct {
	At      time.Time `json:"at"`
	Was     Level     `json:"was"`
	Level   Level     `json:"level"`
	Action  string    `json:"action,omitempty"` // "": the level has changed
	On      bool      `json:"on,omitempty"`     // the action is taken
	Reasons []string  `json:"reasons,omitempty"`
	Missed  uint64    `json:"missed,omitempty"` // changes that this subscriber was too slow for, up to this one
}

// InForce is an action in force, and why it was taken.
type InForce struct {
	Action  string    `json:"action"`
	Since   time.Time `json:"since"`
	Reasons []string  `json:"reasons"`
}

// PressureStatus is what there is to know of the pressure.
type PressureStatus struct {
	Level    Level     `json:"level"`
	Since    time.Time `json:"since"`
	Reasons  []string  `json:"reasons,omitempty"`
	Readings Readings  `json:"readings"`
	Actions  []InForce `json:"actions,omitempty"`
	Kept     float64   `json:"kept_share"` // of the correlations that are looked at; 1: nothing is sampled out
	Changes  uint64    `json:"level_changes"`
}

// PressureOptions say what pressure is read from and acted on. Read must be set.
type PressureOptions struct {
	Read       func(now time.Time) Readings
	Act        func(a Action, on bool) // does it, if more is needed than that On tells it; may be nil
	Most       int                     // so many of the actions may be taken; 0: none, it is only measured
	Thresholds Thresholds              // zero: the defaults
	Interval   time.Duration           // between two looks; 0: 50 ms
	Log        *slog.Logger
}

// Pressure measures the pressure on the whole flow and decides what is done about it, in one place. On, Kept, Status and
// Subscribe are safe for concurrent use; Look is called by one goroutine.
type Pressure struct {
	o      PressureOptions
	height atomic.Int32  // so many actions are in force: the first ones
	kept   atomic.Uint64 // bits of the share of correlations that is kept

	mu          sync.Mutex
	gauge       *gauge
	status      PressureStatus
	moved       time.Time // when an action was taken or taken back
	shared      time.Time // when the share has changed
	subscribers map[*subscriber]struct{}
}

type subscriber struct {
	to     chan Change
	missed uint64
}

// NewPressure makes one that has not looked yet.
func NewPressure(o PressureOptions) *Pressure {
	if o.Thresholds == (Thresholds{}) {
		o.Thresholds = DefaultThresholds()
	}
	if o.Interval == 0 {
		o.Interval = lookInterval
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Most = min(max(o.Most, 0), int(Actions))
	p := &Pressure{o: o, gauge: newGauge(o.Thresholds), subscribers: map[*subscriber]struct{}{}}
	p.kept.Store(math.Float64bits(1))
	return p
}

// Run looks until ctx is over.
func (p *Pressure) Run(ctx context.Context) {
	t := time.NewTicker(p.o.Interval)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			p.Look(now)
		case <-ctx.Done():
			return
		}
	}
}

// On says whether an action is in force.
func (p *Pressure) On(a Action) bool { return p.height.Load() > int32(a) }

// Kept gives the share of correlations that is kept.
func (p *Pressure) Kept() float64 { return math.Float64frombits(p.kept.Load()) }

// Look measures, decides and acts.
func (p *Pressure) Look(now time.Time) {
	r := p.o.Read(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.gauge.level
	level := p.gauge.look(now, &r)
	s := &p.status
	s.Level, s.Readings, s.Reasons = level, r, p.gauge.reasons()
	if s.Since.IsZero() {
		s.Since = now
	}
	if level != was {
		s.Since = now
		s.Changes++
		p.tell(Change{At: now, Was: was, Level: level, Reasons: s.Reasons})
	}
	p.step(now, level)
	p.share(now, level)
}

// step takes an action, or takes one back.
func (p *Pressure) step(now time.Time, level Level) {
	height, target := int(p.height.Load()), min(actionsAt[level], p.o.Most)
	since := now.Sub(p.moved)
	switch {
	case target > height && (height < actionsAt[LevelHigh] || since >= climbEvery):
		a := Action(height) // #nosec G115 -- of eight
		p.status.Actions = append(p.status.Actions, InForce{a.String(), now, p.status.Reasons})
		p.move(now, level, a, true)
	case target < height && since >= descendEvery:
		p.status.Actions = p.status.Actions[:height-1]
		p.move(now, level, Action(height-1), false) // #nosec G115 -- of eight
	}
}

func (p *Pressure) move(now time.Time, level Level, a Action, on bool) {
	height := int32(a)
	if on {
		height++
	}
	p.height.Store(height)
	p.moved = now
	if p.o.Act != nil {
		p.o.Act(a, on)
	}
	reasons := p.status.Reasons
	if level == LevelNormal {
		reasons = []string{"the pressure is back to normal"}
	}
	p.tell(Change{At: now, Was: level, Level: level, Action: a.String(), On: on, Reasons: reasons})
}

// share moves the share of correlations that is kept.
func (p *Pressure) share(now time.Time, level Level) {
	kept := p.Kept()
	since := now.Sub(p.shared)
	switch sampling := p.On(ActSample); {
	case sampling && level >= LevelHigh && kept > shareLeast && since >= shareDownEvery:
		kept /= 2
	case (!sampling || level < LevelHigh) && kept < 1 && since >= shareUpEvery:
		kept = min(1, 2*kept)
	default:
		return
	}
	p.shared = now
	p.kept.Store(math.Float64bits(kept))
}

// tell gives a change to everybody. Whoever does not keep up misses some, and is told how many.
func (p *Pressure) tell(c Change) {
	p.o.Log.Info("pressure", "level", c.Level.String(), "was", c.Was.String(), "action", c.Action, "on", c.On, "reasons", c.Reasons)
	for s := range p.subscribers {
		c.Missed = s.missed
		select {
		case s.to <- c:
		default:
			s.missed++
		}
	}
}

// Status gives the pressure of this moment.
func (p *Pressure) Status() PressureStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	s.Actions = append([]InForce(nil), s.Actions...)
	s.Kept = p.Kept()
	return s
}

// Subscribe gives the changes from now on. At most buffered of them wait; what does not fit is missed, and counted. The
// channel is closed by cancel.
func (p *Pressure) Subscribe(buffered int) (changes <-chan Change, cancel func()) {
	s := &subscriber{to: make(chan Change, max(1, buffered))}
	p.mu.Lock()
	p.subscribers[s] = struct{}{}
	p.mu.Unlock()
	return s.to, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if _, is := p.subscribers[s]; is {
			delete(p.subscribers, s)
			close(s.to)
		}
	}
}
