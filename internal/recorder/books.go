package recorder

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/answer"
	"github.com/pastcone/pastcone/internal/correlate"
	"github.com/pastcone/pastcone/internal/pipeline"
	"github.com/pastcone/pastcone/internal/render"
	"github.com/pastcone/pastcone/internal/store"
	"github.com/pastcone/pastcone/internal/wire"
)

// What the manifest keeps of a source's account beside its counts: how many were shed or rejected for which reason.
const (
	shedDetail     = "shed: "
	rejectedDetail = "rejected: "
)

// Books gives the ledger, as of one moment: the sources that were recorded since Open.
func (r *Recorder) Books() pipeline.Books { return r.ledger.Books() }

// CheckSettled says what is wrong with the ledger when nothing is in flight: nothing, if all is well.
func (r *Recorder) CheckSettled() error { return r.ledger.CheckSettled() }

// Sources tells of the recording's sources: those that are being recorded with their account of this moment, the others as
// the manifest has them.
func (r *Recorder) Sources() answer.Sources {
	all := sourcesOf(r.store.Sources())
	accounts := map[wire.SourceID]pipeline.Account{}
	for _, a := range r.ledger.Books().Sources {
		accounts[a.Source] = a
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range all {
		s := &all[i]
		if in, open := r.inputs[s.ID]; open {
			a := since(accounts[s.ID], in.base)
			s.Accepted, s.Stored, s.Shed, s.Rejected = s.Accepted+a.Accepted, s.Stored+a.Stored, s.Shed+a.Shed, s.Rejected+a.Rejected
			s.InFlight, s.ShedBy, s.RejectedBy, s.Open = a.InFlight, a.ShedBy, a.RejectedBy, true
		}
	}
	return all
}

// sourcesOf reads the sources' accounts from the manifest.
func sourcesOf(infos []store.SourceInfo) answer.Sources {
	all := make(answer.Sources, 0, len(infos))
	for _, info := range infos {
		s := render.Source{ID: info.ID, Name: info.Name, Format: info.Format, Stored: info.Events, Rejected: info.Rejected, Complete: info.Complete}
		for name, value := range info.Detail {
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				continue
			}
			if reason, ok := strings.CutPrefix(name, shedDetail); ok {
				s.Shed += n
				s.ShedBy = with(s.ShedBy, reason, n)
			} else if reason, ok := strings.CutPrefix(name, rejectedDetail); ok {
				s.RejectedBy = with(s.RejectedBy, reason, n)
			}
		}
		s.Accepted = s.Stored + s.Shed + s.Rejected
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b render.Source) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func with(m map[string]uint64, reason string, n uint64) map[string]uint64 {
	if m == nil {
		m = map[string]uint64{}
	}
	m[reason] += n
	return m
}

// since gives what has been booked on an account since it was base.
func since(a, base pipeline.Account) pipeline.Account {
	a.Accepted, a.Stored, a.Shed, a.Rejected = a.Accepted-base.Accepted, a.Stored-base.Stored, a.Shed-base.Shed, a.Rejected-base.Rejected
	less := func(by, base map[string]uint64) (grown map[string]uint64) {
		for reason, n := range by {
			if n > base[reason] {
				grown = with(grown, reason, n-base[reason])
			}
		}
		return grown
	}
	a.ShedBy, a.RejectedBy = less(a.ShedBy, base.ShedBy), less(a.RejectedBy, base.RejectedBy)
	return a
}

// settle writes an account into what the manifest keeps of its source, on top of what it had before this run.
func settle(info *store.SourceInfo, a pipeline.Account) {
	detail := map[string]string{}
	for name, value := range info.Detail {
		detail[name] = value
	}
	add := func(name string, n uint64) {
		before, _ := strconv.ParseUint(detail[name], 10, 64)
		detail[name] = strconv.FormatUint(before+n, 10)
	}
	for reason, n := range a.ShedBy {
		add(shedDetail+reason, n)
	}
	for reason, n := range a.RejectedBy {
		add(rejectedDetail+reason, n)
	}
	info.Detail = detail
	info.Events += a.Stored
	info.Rejected += a.Rejected
}

// Status is what a recorder is doing, all of it measured.
type Status struct {
	Books      pipeline.Books          `json:"ledger"`
	Intake     pipeline.Status         `json:"intake"`
	Write      pipeline.Status         `json:"write"`
	Correlator correlate.Stats         `json:"correlator"`
	Restarts   uint64                  `json:"correlator_restarts"`
	Gaps       uint64                  `json:"gaps"`
	Stripped   uint64                  `json:"stripped"` // events of which not everything could be written
	Store      store.Stats             `json:"store"`
	Durable    event.ID                `json:"durable"` // one more than the largest durable id
	Correlated pipeline.Summary        `json:"correlated_latency"`
	Committed  pipeline.Summary        `json:"durable_latency"`
	Pressure   pipeline.PressureStatus `json:"pressure"`
	Blocked    string                  `json:"blocked,omitempty"` // why the store takes nothing for now
	Failed     string                  `json:"failed,omitempty"`  // why nothing is taken any more
}

// Status gives the figures of this moment.
func (r *Recorder) Status() Status {
	s := Status{
		Books: r.ledger.Books(), Intake: r.intake.Status(), Write: r.writing.Status(), Restarts: r.crashes.Load(),
		Gaps: r.gaps.Load(), Stripped: r.stripped.Load(), Store: r.store.Stats(), Durable: r.store.Durable(),
		Pressure:   r.pressure.Status(),
		Correlated: r.latency.correlated.Summary(), Committed: r.latency.durable.Summary(),
	}
	if c := r.correlator.Load(); c != nil {
		s.Correlator = c.Stats()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blocked != nil {
		s.Blocked = r.blocked.Error()
	}
	if r.failed != nil {
		s.Failed = r.failed.Error()
	}
	return s
}

// Apply changes the pools' settings while they run.
func (r *Recorder) Apply(intake, write pipeline.Settings) error {
	if err := r.intake.Apply(intake); err != nil {
		return err
	}
	return r.writing.Apply(write)
}

// BatchEvents says how many events a source should put in a batch at this load.
func (r *Recorder) BatchEvents() int { return r.intake.BatchEvents() }
