package recorder

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/correlate"
	"github.com/pastcone/pastcone/internal/pipeline"
	"github.com/pastcone/pastcone/internal/store"
	"github.com/pastcone/pastcone/internal/wire"
)

// sequencer is the one goroutine that owns the correlator: it adds batches in the order in which the pool delivers
// them, and publishes the blocks that come out.
//
// Invariants: only its goroutine touches the correlator, and only it calls store.Publish, so ids are dense and in order;
// every block that was published is pushed to the writing pool, exactly once.
type sequencer struct {
	r    *Recorder
	ctx  context.Context // over when what is left shall be given up
	jobs chan job
	// finish is closed when nothing more is to come. The jobs are never closed: whoever is late with one must not panic, and
	// sees done.
	finish chan struct{}
	done   chan struct{} // closed when the goroutine has ended

	c       *correlate.Correlator
	add     func(*correlate.Correlator, *wire.Batch) // in tests another than its Add
	publish func(context.Context, *wire.Block) error // the store's, but in tests
	inside  map[wire.SourceID]int                    // events that the correlator holds
	open    map[wire.SourceID]*begun                 // sources that have begun and not ended
	replay  *replay                                  // while a source goes through a second time
	sampler *pipeline.Sampler                        // between the correlator and the store
}

// begin notes that a source begins. Whoever owns the correlator is told by tellAll, or by the begun itself.
func (s *sequencer) begin(info store.SourceInfo, finite bool) *begun {
	b := &begun{finite: finite, marksStarts: slices.Contains(marksStarts, info.Format), comesAgain: finite && info.Fingerprint != ""}
	s.open[info.ID] = b
	return b
}

// tellAll tells a new correlator of the sources that are open.
func (s *sequencer) tellAll() {
	for src, b := range s.open {
		b.tell(s.c, src)
	}
}

func (s *sequencer) options(first event.ID) correlate.Options {
	return correlate.Options{
		Table: s.r.store.Table(), FirstID: first, Lateness: s.r.o.Lateness, MemoryBytesMax: s.r.o.CorrelatorBytesMax,
	}
}

// begun is what the correlator was told of a source: another correlator must hear it again.
type begun struct {
	finite      bool
	marksStarts bool
	comesAgain  bool                   // if it is left before its end, from its beginning
	spawned     map[wire.Name]struct{} // nil: unknown
}

func (b *begun) tell(c *correlate.Correlator, src wire.SourceID) {
	c.Open(src, b.finite)
	if b.marksStarts {
		c.MarksStarts(src)
	}
	if b.spawned != nil {
		c.Spawns(src, b.spawned)
	}
}

// job is one thing for the sequencer to do: add a batch, or anything else that must not overtake batches.
type job struct {
	batch *wire.Batch
	in    *Input
	do    func(*correlate.Correlator)
}

func (s *sequencer) run() {
	defer close(s.done)
	tick := time.NewTicker(s.r.o.BlockInterval)
	defer tick.Stop()
	for {
		select {
		case j := <-s.jobs:
			s.work(j)
		case <-s.finish:
			for {
				select {
				case j := <-s.jobs:
					s.work(j)
					continue
				default:
				}
				break
			}
			s.guard(nil, s.finishAll)
			return
		case now := <-tick.C:
			s.guard(nil, func() {
				s.c.Tick(now.UnixNano())
				s.c.Flush()
				s.sampler.Tick(now)
			})
		}
	}
}

// finishAll ends the sources, but for those that an import has left without time for it: what waits in them is not judged as
// if no more came, for more will.
func (s *sequencer) finishAll() {
	for src, b := range s.open {
		if b.comesAgain {
			delete(s.open, src)
			continue
		}
		s.c.End(src)
	}
	s.c.Flush()
	s.sampler.Flush()
	s.endReplay()
}

func (s *sequencer) work(j job) {
	if j.batch == nil {
		s.guard(nil, func() { j.do(s.c) })
		return
	}
	n, src, arrived := s.r.events(j.batch), j.batch.Source, j.batch.Arrived
	s.r.leaves(j.batch)
	s.inside[src] += n
	s.guard(j.batch, func() { s.add(s.c, j.batch) })
	s.r.correlated.Add(uint64(n)) // #nosec G115 -- a length
	s.r.latency.correlated.Record(time.Duration(time.Now().UnixNano() - arrived))
	j.in.arrived()
}

// guard runs f, and survives its panic: the correlator is made anew and goes on behind what it had emitted. What it held
// is lost and counted as rejected, its streams have holes there, which become gaps; the batch that it panicked on goes
// to the dead letters.
func (s *sequencer) guard(b *wire.Batch, f func()) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		stack := debug.Stack()
		err := fmt.Errorf("the correlator panicked: %v", p)
		s.r.crashes.Add(1)
		s.r.log.Error("correlate: restarted after a panic", "panic", p, "stack", string(stack))
		if b != nil {
			s.r.bury(b, err, stack)
		}
		for src, n := range s.inside {
			s.r.ledger.Reject(src, n, ReasonCorrelator)
		}
		clear(s.inside)
		s.endReplay()
		s.start()
	}()
	f()
}

// restartWait bounds how long a new correlator waits for what the last one published.
const restartWait = 10 * time.Second

// start makes a correlator that goes on where the recording ends.
func (s *sequencer) start() {
	s.sampler.Flush() // the next id is behind what waits there
	s.c = correlate.New(s.options(s.r.store.NextID()), s)
	s.r.correlator.Store(s.c)
	s.tellAll()
	// The tails are those of what is durable: what is published must be that first, or it would seem lost.
	if next := s.r.store.NextID(); next > 1 {
		ctx, cancel := context.WithTimeout(s.ctx, restartWait)
		defer cancel()
		if err := s.r.store.WaitDurable(ctx, next-1); err != nil {
			s.r.log.Error("what was published last is not durable, and its streams will seem to have lost it", "error", err)
		}
	}
	s.r.store.Tails(func(t wire.Tail) bool {
		s.c.Resume(t)
		return true
	})
}

// Emit takes a block from the correlator, and passes it on: through the sampler, where it waits only while something is
// sampled out.
func (s *sequencer) Emit(b *wire.Block) {
	if p := s.replay; p != nil {
		known := p.translate(b, s.r.store.NextID())
		s.inside[p.src] -= known
		s.r.ledger.Withdraw(p.src, known)
		if len(b.Rows) == 0 {
			return
		}
	}
	account := accountOf(b)
	account.settle(func(src wire.SourceID, n int) { s.inside[src] -= n })
	if s.replay != nil || s.r.pressure.Kept() >= 1 { // nothing is sampled out, of a finite source nothing ever
		s.sampler.Flush()
		s.outAs(b, account)
		return
	}
	s.sampler.Add(time.Now(), b)
}

// accountOf counts whose events a block holds.
func accountOf(b *wire.Block) blockAccount {
	account := blockAccount{end: b.Base + event.ID(len(b.Rows)), arrived: b.Arrived} // #nosec G115 -- a count
	for i := range b.Rows {
		row := &b.Rows[i]
		if row.Kind == event.KindGap {
			account.gaps++
			continue // made by the correlator, or what is left of an event that was shed and is booked
		}
		account.add(row.Source)
	}
	return account
}

// out takes a block from the sampler.
func (s *sequencer) out(b *wire.Block) { s.outAs(b, accountOf(b)) }

// outAs publishes a block and passes it on to be written. It blocks while the store has no room: that is the
// back-pressure of a slow or full disk.
func (s *sequencer) outAs(b *wire.Block, account blockAccount) {
	for wait := fullDiskWaitLeast; ; wait = min(2*wait, fullDiskWaitMost) {
		err := s.publish(s.ctx, b)
		if err == nil {
			break
		}
		if !errors.Is(err, store.ErrNoSpace) || s.ctx.Err() != nil {
			s.r.fail(fmt.Errorf("publishing events %d to %d: %w", b.Base, account.end-1, err))
			account.settle(func(src wire.SourceID, n int) { s.r.ledger.Reject(src, n, ReasonStore) })
			return
		}
		s.r.setBlocked(err)
		select {
		case <-s.ctx.Done():
		case <-time.After(wait):
		}
	}
	s.r.setBlocked(nil)
	account.published = time.Now()
	s.r.awaitDurable(account)
	if err := s.r.blocks.Push(s.ctx, b); err != nil {
		s.r.fail(fmt.Errorf("handing events %d to %d to the writers: %w", b.Base, account.end-1, err))
	}
}

// How long a full disk is waited for between two tries.
const (
	fullDiskWaitLeast = 10 * time.Millisecond
	fullDiskWaitMost  = time.Second
)

// Reject counts an event that the correlator could not place, and keeps it in the rejects file.
func (s *sequencer) Reject(src wire.SourceID, stream wire.Name, b *wire.Batch, rec *wire.Record, why correlate.Reason) {
	if rec.Kind == event.KindGap {
		return // of shedding: what it stands for is booked
	}
	s.inside[src]--
	if p := s.replay; p != nil {
		if _, is := p.passed[place{stream, rec.Seq, false}]; is { // the import before had its place
			s.r.ledger.Withdraw(src, 1)
			return
		}
	}
	s.r.ledger.Reject(src, 1, why.String())
	s.r.keepReject(src, stream, b, rec, why.String())
}

// blockAccount remembers whose events a block holds, until it is durable.
type blockAccount struct {
	end     event.ID // one more than its last id
	arrived int64
	gaps    int
	sources []sourceCount

	published time.Time
}

type sourceCount struct {
	src wire.SourceID
	n   int
}

// add counts one event. A block holds few sources, and runs of one: the last is looked at first.
func (a *blockAccount) add(src wire.SourceID) {
	for i := len(a.sources) - 1; i >= 0; i-- {
		if a.sources[i].src == src {
			a.sources[i].n++
			return
		}
	}
	a.sources = append(a.sources, sourceCount{src, 1})
}

func (a *blockAccount) settle(move func(wire.SourceID, int)) {
	for _, c := range a.sources {
		move(c.src, c.n)
	}
}

// awaitDurable remembers a published block until the store says that it is durable.
func (r *Recorder) awaitDurable(a blockAccount) {
	r.mu.Lock()
	r.undurable = append(r.undurable, a)
	r.mu.Unlock()
}

// durable settles the blocks that end at or before end: the store calls it after each commit.
func (r *Recorder) durable(end event.ID) {
	now := time.Now().UnixNano()
	r.mu.Lock()
	n := 0
	for n < len(r.undurable) && r.undurable[n].end <= end {
		n++
	}
	settled := r.undurable[:n:n]
	r.undurable = r.undurable[n:]
	r.mu.Unlock()
	for i := range settled {
		a := &settled[i]
		a.settle(r.ledger.Store)
		r.gaps.Add(uint64(a.gaps)) // #nosec G115 -- a count
		if a.arrived > 0 {
			r.latency.durable.Record(time.Duration(now - a.arrived))
		}
	}
	if n > 0 {
		r.sense.durable(settled[n-1].published)
	}
	if n > 0 { // behind the moves in the ledger, which waitSettled looks at
		r.mu.Lock()
		close(r.committed)
		r.committed = make(chan struct{})
		r.mu.Unlock()
	}
}
