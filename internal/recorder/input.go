package recorder

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pastcone/pastcone/internal/correlate"
	"github.com/pastcone/pastcone/internal/pipeline"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/store"
	"github.com/pastcone/pastcone/internal/wire"
)

// ErrClosed says that an input, or its recorder, takes nothing any more.
var ErrClosed = errors.New("the recorder is closed")

// Input is one source's way into the recording: what it pushes is accepted, and from then on in the ledger. It is a
// [source.Sink]. Its methods are safe for concurrent use.
type Input struct {
	r    *Recorder
	info store.SourceInfo
	base pipeline.Account // of the source in the ledger when this input was opened: what it has had before

	finite bool
	replay *replay // it goes on where an earlier one was broken off
	broken string  // why it can not be read any further

	mu       sync.Mutex
	settled  sync.Cond // signalled when underway gets smaller
	underway int       // batches that were accepted and have not reached the correlator, or been dropped
	closed   bool
}

var _ source.Sink = (*Input)(nil)

// ID gives the number of the source in the recording.
func (in *Input) ID() wire.SourceID { return in.info.ID }

// Table interns the names of the batches.
func (in *Input) Table() *wire.Table { return in.r.store.Table() }

// Push hands a batch over. It blocks while the flow is full, unless the ring's policy is to drop.
func (in *Input) Push(ctx context.Context, b *wire.Batch) error {
	if b.Len() == 0 {
		if b.Done != nil {
			b.Done(0)
		}
		return nil
	}
	if err := in.mayPush(ctx, b); err != nil {
		return fmt.Errorf("source %q: %w", in.info.Name, err)
	}
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		in.r.budget.give(b)
		return ErrClosed
	}
	in.underway++
	in.mu.Unlock()

	b.Source = in.info.ID
	if b.Arrived == 0 {
		b.Arrived = time.Now().UnixNano()
	}
	n := in.r.events(b)
	in.r.ledger.Accept(in.info.ID, n)
	n -= in.shed(b)
	records := uint64(b.Len()) // #nosec G115 -- a length
	in.r.entered.Add(records)
	if err := in.r.ring.Push(ctx, b); err != nil {
		in.r.ledger.Withdraw(in.info.ID, n) // it was never ours: the caller still has it
		in.r.entered.Add(-records)
		in.r.budget.give(b)
		in.arrived()
		return fmt.Errorf("source %q: %w", in.info.Name, err)
	}
	return nil
}

// arrived says that one batch is no longer between the input and the correlator.
func (in *Input) arrived() {
	in.mu.Lock()
	in.underway--
	in.settled.Broadcast()
	in.mu.Unlock()
}

// Reject counts one input that could not be used, and keeps it in the recording's rejects file.
func (in *Input) Reject(why source.Rejected) error {
	in.r.ledger.AcceptRejected(in.info.ID, 1, ReasonUnreadable)
	return in.r.rejects.Add(in.info.ID, ReasonUnreadable, why)
}

// Account gives what became of what this input accepted.
func (in *Input) Account() pipeline.Account {
	return since(in.r.ledger.Account(in.info.ID), in.base)
}

// Rejects gives how many inputs were rejected up to now.
func (in *Input) Rejects() uint64 {
	return in.Account().RejectedBy[ReasonUnreadable]
}

// Hurry has the events of a finite source wait for their causes no longer than those of any other, from now on: whoever
// pushes needs their batches to be done.
func (in *Input) Hurry(ctx context.Context) error {
	return in.r.sequence(ctx, func(c *correlate.Correlator) {
		if b := in.r.seq.open[in.info.ID]; b != nil && b.finite {
			b.finite = false
			c.Open(in.info.ID, false)
		}
	})
}

// Spawns tells all streams that the spawns of this source name: no other first event waits for a spawn then. See
// correlate.Correlator.Spawns. It is told before the first batch is pushed.
func (in *Input) Spawns(ctx context.Context, streams map[wire.Name]struct{}) error {
	return in.r.sequence(ctx, func(c *correlate.Correlator) {
		if b := in.r.seq.open[in.info.ID]; b != nil {
			b.spawned = streams
			c.Spawns(in.info.ID, streams)
		}
	})
}

// EndsAt says that the source can not be read any further, whoever tries again: what came is all of it. The next Close ends it
// like one that was read to its end, but for the mark in the manifest.
func (in *Input) EndsAt(why error) {
	in.mu.Lock()
	in.broken = why.Error()
	in.mu.Unlock()
}

// Close ends the input. complete says that the source was read to its end; it is kept in the manifest, so that the same
// file is not imported twice. A file that was not read to its end is left, so that Recorder.GoOn can take it up; any other
// source is ended. Close returns when every event of the input is durable, or ctx is over.
func (in *Input) Close(ctx context.Context, complete bool) error {
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return nil
	}
	in.closed = true
	stop := context.AfterFunc(ctx, func() {
		in.mu.Lock()
		in.settled.Broadcast()
		in.mu.Unlock()
	})
	defer stop()
	for in.underway > 0 && ctx.Err() == nil {
		in.settled.Wait()
	}
	left, broken := in.underway, in.broken
	in.mu.Unlock()
	if left > 0 {
		return fmt.Errorf("source %q: %d batches had not been correlated: %w", in.info.Name, left, ctx.Err())
	}
	over := in.r.endSource
	if !complete && broken == "" && in.finite && in.info.Fingerprint != "" {
		over = in.r.leaveSource
	}
	if err := over(ctx, in.info.ID); err != nil {
		if n := in.Account().InFlight; n > 0 {
			err = fmt.Errorf("source %q: %d events are not stored: %w", in.info.Name, n, err)
		}
		return err
	}
	if in.replay != nil && in.replay.err != nil { // the sequencer is through with it
		err := fmt.Errorf("source %q can not be gone on with: %w", in.info.Name, in.replay.err)
		return errors.Join(err, in.r.finishSource(in, false))
	}
	if err := in.r.waitSettled(ctx, in.info.ID); err != nil {
		return fmt.Errorf("source %q: %w", in.info.Name, err)
	}
	if broken != "" && !complete {
		in.info.Detail = marked(in.info.Detail, brokenDetail, broken)
	}
	return in.r.finishSource(in, complete)
}

// marked gives a copy of m with one more entry.
func marked(m map[string]string, name, value string) map[string]string {
	grown := map[string]string{name: value}
	for k, v := range m {
		if k != name {
			grown[k] = v
		}
	}
	return grown
}
