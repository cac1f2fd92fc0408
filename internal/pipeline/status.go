package pipeline

import (
	"fmt"
	"slices"
	"time"
)

// Status is what a part of the flow tells of itself. Its figures are measured; those that another goroutine moves
// meanwhile may be apart by what is under way.
type Status struct {
	Name    string        `json:"name"`
	State   string        `json:"state"`
	Health  Health        `json:"health"`
	Workers WorkersStatus `json:"workers"`
	Backlog Backlog       `json:"backlog"`
	Batches Counts        `json:"batches"`
	Events  Counts        `json:"events"`
	Rates   Rates         `json:"rates"`
	Latency Latency       `json:"latency"`

	BatchEvents int    `json:"batch_events"` // what sources should put in a batch
	Retries     uint64 `json:"retries"`
}

// WorkersStatus is the workers of a pool.
type WorkersStatus struct {
	Now     int     `json:"now"`
	Wanted  int     `json:"wanted"`
	Min     int     `json:"min"`
	Max     int     `json:"max"`
	Busy    float64 `json:"busy"`    // at work, on average between the last two looks
	Started uint64  `json:"started"` // restarts not included
	Crashed uint64  `json:"crashed"`
	Retired uint64  `json:"retired"`
}

// Backlog is what waits in the queue of a pool. Events is 0 if the queue does not weigh its batches.
type Backlog struct {
	Batches int    `json:"batches"`
	Cap     int    `json:"cap"`
	Events  uint64 `json:"events"`
}

// Counts are what became of what a pool took: taken = done + dead + undrained + in hand.
type Counts struct {
	Taken     uint64 `json:"taken"`
	Done      uint64 `json:"done"`
	Dead      uint64 `json:"dead"`
	Undrained uint64 `json:"undrained"`
	InHand    uint64 `json:"in_hand"`
}

// Rates are of the last second, or of as much of it as the pool has run.
type Rates struct {
	TakenBatches float64 `json:"taken_batches_per_second"`
	TakenEvents  float64 `json:"taken_events_per_second"` // the consumption of the queue
	DoneEvents   float64 `json:"done_events_per_second"`
	Arrived      float64 `json:"arrived_events_per_second"` // into the queue, if it weighs its batches; else those taken
}

// Latency is how long things took since the pool was started.
type Latency struct {
	Wait     Summary `json:"wait"`     // from accepted to taken
	Process  Summary `json:"process"`  // one call of the stage
	Total    Summary `json:"total"`    // from accepted to delivered
	Start    Summary `json:"start"`    // from the wish for a worker to its first look for a batch
	Recovery Summary `json:"recovery"` // from a crash to being back
}

// The states of health, from good to bad.
const (
	HealthOK       = "ok"
	HealthDegraded = "degraded" // it works, with something to look at
	HealthFailing  = "failing"  // it does not do its work
)

// Health is the state of a part, and the measured reasons why it is not good.
type Health struct {
	State   string   `json:"state"`
	Reasons []string `json:"reasons,omitempty"`
}

var healthOrder = []string{HealthOK, HealthDegraded, HealthFailing}

func (h *Health) worsen(state, format string, args ...any) {
	if slices.Index(healthOrder, state) > slices.Index(healthOrder, h.State) {
		h.State = state
	}
	h.Reasons = append(h.Reasons, fmt.Sprintf(format, args...))
}

// Status gives the figures of the pool.
func (p *Pool[In]) Status() Status {
	set := p.settings.Load()
	s := Status{
		Name:        p.o.Name,
		Backlog:     Backlog{Batches: p.o.Queue.Len(), Cap: p.o.Queue.Cap(), Events: p.backlogEvents()},
		Batches:     Counts{Done: p.doneBatches.Load(), Dead: p.deadBatches.Load(), Undrained: p.undrainedBatches.Load()},
		Events:      Counts{Done: p.doneEvents.Load(), Dead: p.deadEvents.Load(), Undrained: p.undrainedEvents.Load()},
		Latency:     Latency{p.wait.Summary(), p.process.Summary(), p.total.Summary(), p.start.Summary(), p.recovery.Summary()},
		BatchEvents: p.BatchEvents(),
		Retries:     p.retries.Load(),
	}
	s.Batches.Taken, s.Events.Taken = p.takenBatches.Load(), p.takenEvents.Load() // after the others: in hand is not negative
	for _, c := range []*Counts{&s.Batches, &s.Events} {
		c.InHand = c.Taken - c.Done - c.Dead - c.Undrained
	}
	p.mu.Lock()
	s.State = p.state
	s.Workers = WorkersStatus{
		Now: len(p.workers), Wanted: p.target, Min: set.WorkersMin, Max: set.WorkersMax, Busy: p.busyNow,
		Started: p.started.Load(), Crashed: p.crashes.Load(), Retired: p.retired.Load(),
	}
	s.Rates = Rates{
		TakenBatches: p.meter.perSecond(meterTakenBatches), TakenEvents: p.meter.perSecond(meterTakenEvents),
		DoneEvents: p.meter.perSecond(meterDoneEvents), Arrived: p.meter.perSecond(meterArrivedEvents),
	}
	stuck, still := p.longestAtWork(), p.clock()-p.moved
	p.mu.Unlock()
	s.Health = p.health(&s, stuck, still)
	return s
}

// longestAtWork is called with the lock.
func (p *Pool[In]) longestAtWork() (longest time.Duration) {
	for _, w := range p.workers {
		if began := w.began.Load(); began != 0 {
			longest = max(longest, p.clock()-time.Duration(began))
		}
	}
	return longest
}

// Health tells whether the pool does its work.
func (p *Pool[In]) Health() Health { return p.Status().Health }

func (p *Pool[In]) health(s *Status, stuck, still time.Duration) Health {
	h := Health{State: HealthOK}
	limits := &p.o.Limits
	if s.State == StateNew || s.State == StateStopped {
		h.worsen(HealthFailing, "it is %s", s.State)
		return h
	}
	if since := p.paused.Load(); since != 0 {
		h.worsen(HealthFailing, "workers crash too often: none is restarted for %v, since %v", p.o.Restarts.Pause,
			(p.clock() - time.Duration(since)).Round(time.Millisecond))
	}
	if s.Backlog.Batches > 0 && still > limits.Stalled {
		h.worsen(HealthFailing, "no batch was finished for %v while %d wait", still.Round(time.Millisecond), s.Backlog.Batches)
	}
	if stuck > limits.Stuck {
		h.worsen(HealthDegraded, "a batch is at work for %v, more than %v", stuck.Round(time.Millisecond), limits.Stuck)
	}
	if full := float64(s.Backlog.Batches) / float64(s.Backlog.Cap); full >= limits.FullShare && s.Workers.Wanted >= s.Workers.Max {
		h.worsen(HealthDegraded, "the queue is %.0f %% full, with all %d workers at work", 100*full, s.Workers.Max)
	}
	now := time.Now()
	if at := p.lastCrash.Load(); at != 0 && now.Sub(time.Unix(0, at)) < limits.Recent {
		h.worsen(HealthDegraded, "a worker crashed within the last %v; %d in all", limits.Recent, s.Workers.Crashed)
	}
	if at := p.lastDead.Load(); at != 0 && now.Sub(time.Unix(0, at)) < limits.Recent {
		h.worsen(HealthDegraded, "a batch was given up within the last %v; %d in all", limits.Recent, s.Batches.Dead)
	}
	if p.o.Letter != nil {
		if d := p.o.Letter.Status(); d.Error != "" {
			h.worsen(HealthDegraded, "the last dead letter could not be written, %d in all: %s", d.Lost, d.Error)
		}
	}
	return h
}
