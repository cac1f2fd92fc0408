package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Part is one part of a flow: a [Pool], or what else starts, drains and tells how it is.
type Part interface {
	Name() string
	Start(ctx context.Context) error
	Drain(ctx context.Context) error
	Status() Status
}

// Pipeline starts and drains the parts of a flow in the right order, and tells how all of it is.
type Pipeline struct {
	ledger *Ledger
	parts  []Part // in the direction of the flow

	mu      sync.Mutex
	state   string
	drained error
	ending  chan struct{}
}

// NewPipeline puts parts together, given in the direction of the flow. Their names must differ.
func NewPipeline(ledger *Ledger, parts ...Part) (*Pipeline, error) {
	if ledger == nil || len(parts) == 0 {
		return nil, errors.New("pipeline: it needs a ledger and at least one part")
	}
	names := map[string]bool{}
	for _, part := range parts {
		if names[part.Name()] {
			return nil, fmt.Errorf("pipeline: two parts are named %q", part.Name())
		}
		names[part.Name()] = true
	}
	return &Pipeline{ledger: ledger, parts: parts, state: StateNew, ending: make(chan struct{})}, nil
}

// Start starts the parts, downstream first, so that each finds the next one ready. If one fails, those that had been
// started are drained again.
func (p *Pipeline) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != StateNew {
		return fmt.Errorf("pipeline: start: %w: it is %s", ErrState, p.state)
	}
	p.state = StateRunning
	for i := len(p.parts) - 1; i >= 0; i-- {
		if err := p.parts[i].Start(ctx); err != nil {
			p.state = StateStopped
			errs := []error{fmt.Errorf("pipeline: start %s: %w", p.parts[i].Name(), err)}
			for _, part := range p.parts[i+1:] {
				errs = append(errs, part.Drain(ctx))
			}
			p.drained = errors.Join(errs...)
			close(p.ending)
			return p.drained
		}
	}
	return nil
}

// Drain drains the parts, upstream first, so that each gets everything from the one before it. ctx is the deadline of
// all of them. The error tells what each could not finish. A second Drain waits for the first and gives the same.
func (p *Pipeline) Drain(ctx context.Context) error {
	p.mu.Lock()
	if p.state == StateDraining || p.state == StateStopped {
		p.mu.Unlock()
		<-p.ending
		return p.drained
	}
	p.state = StateDraining
	p.mu.Unlock()
	defer close(p.ending)

	var errs []error
	for _, part := range p.parts {
		errs = append(errs, part.Drain(ctx))
	}
	p.drained = errors.Join(errs...)
	p.mu.Lock()
	p.state = StateStopped
	p.mu.Unlock()
	return p.drained
}

// PipelineStatus is how a whole flow is.
type PipelineStatus struct {
	State  string   `json:"state"`
	Health Health   `json:"health"` // the worst of the parts, with their reasons
	Ledger Books    `json:"ledger"`
	Parts  []Status `json:"parts"`
}

// Status gives how all parts are, and the books.
func (p *Pipeline) Status() PipelineStatus {
	p.mu.Lock()
	s := PipelineStatus{State: p.state, Health: Health{State: HealthOK}}
	p.mu.Unlock()
	for _, part := range p.parts {
		status := part.Status()
		s.Parts = append(s.Parts, status)
		for _, reason := range status.Health.Reasons {
			s.Health.worsen(status.Health.State, "%s: %s", status.Name, reason)
		}
	}
	s.Ledger = p.ledger.Books()
	for _, a := range s.Ledger.Sources {
		if a.InFlight < 0 {
			s.Health.worsen(HealthFailing, "source %d: %d events more were settled than accepted", a.Source, -a.InFlight)
		}
	}
	return s
}
