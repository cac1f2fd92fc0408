// Package recorder wires the stages of the flow into one engine, starts them, drains them, and stops them. It is the one
// place that knows all of them.
//
//	Input ──► ring ──► pool(intake) ──► sequencer(correlate) ──► store.Publish ──► ring ──► pool(store.Write)
//	 accepted                                                     readable                     durable: stored
//
// The stages are started downstream first and drained upstream first, so that each finishes what the one before it
// had accepted. Every arrow is bounded; when the disk is slow the writers are, then the sequencer waits at Publish, then
// the pool at the sequencer, then the ring is full, and then [Input.Push] blocks or drops, as the policy says. The ledger has each event
// on exactly one side at every moment: accepted = stored + shed + rejected + in flight.
//
// In the plan's words this is the Application: it starts and supervises Layer 1 and Layer 2.
package recorder

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/correlate"
	"github.com/pastcone/pastcone/internal/intake"
	"github.com/pastcone/pastcone/internal/pipeline"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/ring"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/store"
	"github.com/pastcone/pastcone/internal/wire"
)

// The reasons in the ledger that are the recorder's own.
const (
	ReasonUnreadable = "unreadable"         // the source could not make sense of it
	ReasonRingFull   = "ring full"          // dropped by the ring's policy
	ReasonCorrelator = "correlator restart" // held by a correlator that panicked
	ReasonStore      = "store failed"       // the store took no more
)

// Options are the settings of a recorder. The zero value of each is its default.
type Options struct {
	RingBatches        int               // batches between the inputs and the pool; 256
	Policy             ring.Policy       // what a full ring does; block
	Intake             pipeline.Settings // the pool in front of the correlator
	Write              pipeline.Settings // the pool behind it
	BlockInterval      time.Duration     // a block is closed when so old; 4 ms
	Lateness           time.Duration     // how late an event may come; 1 s
	CorrelatorBytesMax int64             // memory of the correlator; 128 MiB
	RedactKeys         []string          // patterns; nil: intake's defaults
	DataBytesMax       int               // a longer payload is cut; 0: intake's default
	RejectsBytesMax    int64             // the rejects file; 16 MiB
	LettersBytesMax    int64             // the dead-letter file; 64 MiB
	QueryBytesMax      int64             // memory of an answer; 0: query's default
	QueryTimeout       time.Duration     // of an answer over the protocol; a minute
	Loss               Loss              // what may be lost under pressure; nothing
	MemoryBytesMax     int64             // anonymous and shared resident memory of the process; 0: no limit
	BatchesBytesMax    int64             // of accepted batches before the correlator; 0: the ring is the limit
	WindowBytesMax     int64             // of the blocks that sampling looks ahead at; 16 MiB
	Pressure           pipeline.Thresholds
	Store              store.Options
	Log                *slog.Logger

	queryBytesMost int64                                 // of the memory limit; 0: none
	readings       func(now time.Time) pipeline.Readings // in tests another than what is measured
}

func (o *Options) complete() {
	if o.RingBatches == 0 {
		o.RingBatches = 256
	}
	if o.Intake == (pipeline.Settings{}) {
		// Larger batches save nothing any more, and a full ring of them is hundreds of megabytes.
		o.Intake = pipeline.DefaultSettings()
		o.Intake.BatchEventsMax = intakeBatchEventsMax
	}
	if o.Write == (pipeline.Settings{}) {
		o.Write = pipeline.DefaultSettings()
	}
	if o.BlockInterval == 0 {
		o.BlockInterval = 4 * time.Millisecond
	}
	if o.Lateness == 0 {
		o.Lateness = time.Second
	}
	if o.CorrelatorBytesMax == 0 {
		o.CorrelatorBytesMax = 128 << 20
	}
	if o.RejectsBytesMax == 0 {
		o.RejectsBytesMax = 16 << 20
	}
	if o.LettersBytesMax == 0 {
		o.LettersBytesMax = 64 << 20
	}
	if o.QueryTimeout == 0 {
		o.QueryTimeout = time.Minute
	}
	if o.WindowBytesMax == 0 {
		o.WindowBytesMax = windowBytesMost
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Store.Log == nil {
		o.Store.Log = o.Log
	}
}

// intakeBatchEventsMax is the most events that sources are told to put in a batch. By measurement, batches of 128 to 1,024 events
// cost the same processor time an event, those of 4,096 some 10 % more: they fall out of the processor's cache on their way.
const intakeBatchEventsMax = 512

// writeQueueBlocks is how many published blocks may wait for a writer: the store's bound of what is not durable is the real
// limit, this one only keeps the ring small.
const writeQueueBlocks = 64

// sequencerQueueBatches is how many batches may wait for the sequencer.
const sequencerQueueBatches = 16

// Recorder records into one directory. Its methods are safe for concurrent use.
type Recorder struct {
	o   Options
	dir string
	log *slog.Logger

	store   *store.Writer
	ledger  pipeline.Ledger
	rejects *source.RejectsFile
	letters *pipeline.DeadLetters
	clean   *intake.Stage

	ring    *ring.Ring[*wire.Batch]
	intake  *pipeline.Pool[*wire.Batch]
	seq     *sequencer
	blocks  *ring.Ring[*wire.Block]
	writing *pipeline.Pool[*wire.Block]
	write   func(*wire.Block) error // the store's, but in tests
	stop    context.CancelFunc      // gives up what has not been drained

	pressure *pipeline.Pressure
	watched  chan struct{} // closed when nobody looks at the pressure any more
	sense    *senses       // what the pressure is read from
	budget   budget        // of the batches before the correlator
	marked   atomic.Bool   // some batch has had gaps put into it by shedding
	shedders sync.Pool     // of *pipeline.Shedder
	entered  atomic.Uint64 // records that the ring has got
	reached  atomic.Uint64 // records of them that have left for the correlator, or for good

	queryBytesMax, queryTimeout atomic.Int64

	correlator atomic.Pointer[correlate.Correlator]
	correlated atomic.Uint64
	gaps       atomic.Uint64
	stripped   atomic.Uint64 // events of which not everything could be written
	crashes    atomic.Uint64
	latency    struct {
		correlated, durable pipeline.Histogram // since an event was accepted; of a block, its oldest
	}

	mu        sync.Mutex
	inputs    map[wire.SourceID]*Input
	undurable []blockAccount // published, in order
	committed chan struct{}  // closed and made anew when blocks have become durable, or never will
	failed    error          // the store has failed for good
	blocked   error          // the store takes nothing for now
	// stuckSince is when somebody who ends has first seen that; see stuckFor.
	stuckSince time.Time
	closed     bool
}

// Open opens the recording in dir for writing, a new one if there is none, and starts the flow.
func Open(dir string, o Options) (r *Recorder, err error) {
	o.complete()
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, err
	}
	w, err := store.Open(dir, o.Store)
	if err != nil {
		return nil, err
	}
	r = &Recorder{o: o, dir: dir, log: o.Log, store: w, inputs: map[wire.SourceID]*Input{}, committed: make(chan struct{})}
	r.queryBytesMax.Store(o.QueryBytesMax)
	r.queryTimeout.Store(int64(o.QueryTimeout))
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
			r = nil
		}
	}()
	if r.clean, err = intake.New(intake.Options{Table: w.Table(), RedactKeys: o.RedactKeys, DataBytesMax: o.DataBytesMax}); err != nil {
		return r, err
	}
	r.rejects = source.NewRejectsFile(filepath.Join(dir, rejectsName), o.RejectsBytesMax, r.clean.RedactText)
	if r.letters, err = pipeline.OpenDeadLetters(filepath.Join(dir, "dead-letters.ndjson"), o.LettersBytesMax); err != nil {
		return r, err
	}
	if err = r.recount(); err != nil {
		return r, err
	}
	w.OnDurable(r.durable)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	if err = r.build(ctx); err != nil {
		stop()
		return r, err
	}
	// Downstream first.
	if err = r.writing.Start(ctx); err == nil {
		go r.seq.run()
		err = r.intake.Start(ctx)
	}
	if err != nil {
		stop()
		return r, err
	}
	r.watched = make(chan struct{})
	go func() {
		defer close(r.watched)
		r.pressure.Run(ctx)
	}()
	return r, err
}

// build makes the stages; none of them runs yet.
func (r *Recorder) build(ctx context.Context) (err error) {
	r.write = r.store.Write
	r.blocks = ring.New[*wire.Block](writeQueueBlocks, ring.Block, nil)
	r.writing, err = pipeline.NewPool(pipeline.Options[*wire.Block]{
		Name: "write", Queue: r.blocks, Settings: r.o.Write, Log: r.log,
		New: func() (pipeline.Stage[*wire.Block], error) {
			return pipeline.StageFunc[*wire.Block](func(_ context.Context, b *wire.Block) error { return r.write(b) }), nil
		},
		Count:  func(b *wire.Block) int { return len(b.Rows) },
		Letter: r.letters, Encode: r.blockLines, GaveUp: r.blockGivenUp,
		Since: func(b *wire.Block) int64 { return b.Arrived },
	})
	if err != nil {
		return err
	}
	r.seq = &sequencer{
		r: r, ctx: ctx, jobs: make(chan job, sequencerQueueBatches), finish: make(chan struct{}), done: make(chan struct{}),
		add: (*correlate.Correlator).Add, publish: r.store.Publish, inside: map[wire.SourceID]int{}, open: map[wire.SourceID]*begun{},
	}
	r.watch()
	r.seq.sampler = pipeline.NewSampler(pipeline.SamplerOptions{
		Kept: r.pressure.Kept, Name: r.store.Table().NameOf, Shed: r.ledger.Shed, Out: r.seq.out, WindowBytesMax: r.o.WindowBytesMax,
		Exempt: func(src wire.SourceID) bool { in := r.input(src); return in != nil && in.finite },
	})
	r.seq.start()
	r.ring = ring.New(r.o.RingBatches, r.o.Policy, r.dropped, ring.Weigh(func(b *wire.Batch) int { return b.Len() }))
	r.intake, err = pipeline.NewPool(pipeline.Options[*wire.Batch]{
		Name: "intake", Queue: r.ring, Settings: r.o.Intake, Log: r.log, Ledger: &r.ledger,
		New: func() (pipeline.Stage[*wire.Batch], error) {
			return pipeline.StageFunc[*wire.Batch](func(_ context.Context, b *wire.Batch) error { return r.clean.Process(b) }), nil
		},
		Count: func(b *wire.Batch) int { return b.Len() },
		Deliver: func(ctx context.Context, b *wire.Batch) error {
			select {
			case r.seq.jobs <- job{batch: b, in: r.input(b.Source)}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		Owners: func(b *wire.Batch, yield func(wire.SourceID, int)) { yield(b.Source, r.events(b)) },
		Letter: r.letters, Encode: r.batchLines,
		GaveUp: func(b *wire.Batch, err error) {
			level := slog.LevelError
			if errors.Is(err, pipeline.ErrNotDrained) { // the error of the drain tells them all at once
				level = slog.LevelDebug
			}
			r.log.Log(context.Background(), level, "a batch was given up", "source", b.Source, "events", b.Len(), "error", err)
			r.release(b)
		},
		Since: func(b *wire.Batch) int64 { return b.Arrived },
	})
	return err
}

// dropped settles a batch that the full ring dropped.
func (r *Recorder) dropped(b *wire.Batch) {
	r.ledger.Shed(b.Source, r.events(b), ReasonRingFull)
	r.release(b)
}

// release lets go of a batch that will not reach the correlator.
func (r *Recorder) release(b *wire.Batch) {
	r.leaves(b)
	src := b.Source // behind Done the batch may be in use again
	if b.Done != nil {
		b.Done(0)
	}
	if in := r.input(src); in != nil {
		in.arrived()
	}
}

func (r *Recorder) input(src wire.SourceID) *Input {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inputs[src]
}

// Dir gives the directory of the recording.
func (r *Recorder) Dir() string { return r.dir }

// Snapshot gives what can be read now: all that is published, durable or not. Close it after use.
func (r *Recorder) Snapshot() query.Reader { return r.store.Snapshot() }

// WaitDurable waits until the event is durable.
func (r *Recorder) WaitDurable(ctx context.Context, id event.ID) error {
	return r.store.WaitDurable(ctx, id)
}

// OnDurable has f called after each commit, with one more than the largest durable id. It must not block.
func (r *Recorder) OnDurable(f func(end event.ID)) { r.store.OnDurable(f) }

// Spec describes a source to Source.
type Spec struct {
	Name        string // as the user named it
	Format      string
	Fingerprint string // of the content, "" if it has none
	Finite      bool   // it has an end: events wait for their causes until then, not only for the lateness
}

// Source opens an input for a source.
func (r *Recorder) Source(spec Spec) (*Input, error) {
	return r.source(store.SourceInfo{Name: spec.Name, Format: spec.Format, Fingerprint: spec.Fingerprint}, spec.Finite)
}

func (r *Recorder) source(info store.SourceInfo, finite bool) (*Input, error) {
	r.mu.Lock()
	closed, failed := r.closed, r.failed
	r.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if failed != nil {
		return nil, failed
	}
	info.Added = time.Now()
	id, err := r.store.AddSource(info)
	if err != nil {
		return nil, err
	}
	info.ID = id
	return r.begin(info, finite, false)
}

// marksStarts are the formats in which every stream that was spawned begins with a start: what our own probe sends, and Go
// execution traces.
var marksStarts = []string{"probe", "Go execution trace"}

// begin makes the input of a source that the manifest knows. again says that it may have had events before, in another run
// or in this one.
func (r *Recorder) begin(info store.SourceInfo, finite, again bool) (*Input, error) {
	in := &Input{r: r, info: info, base: r.ledger.Account(info.ID), finite: finite}
	in.settled.L = &in.mu
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, ErrClosed
	}
	r.inputs[info.ID] = in
	r.mu.Unlock()
	return in, r.sequence(context.Background(), func(c *correlate.Correlator) {
		r.seq.begin(info, finite).tell(c, info.ID)
		if !again {
			return
		}
		r.store.Tails(func(t wire.Tail) bool {
			if t.Source == info.ID {
				c.Resume(t)
			}
			return true
		})
	})
}

// sequence has the sequencer do f, behind the batches that it has got, and waits for it.
func (r *Recorder) sequence(ctx context.Context, f func(*correlate.Correlator)) error {
	did := make(chan struct{})
	select {
	case r.seq.jobs <- job{do: func(c *correlate.Correlator) { f(c); close(did) }}:
	case <-r.seq.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-did:
		return nil
	case <-r.seq.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endSource tells the correlator that a source is over: what waits is resolved, and published.
func (r *Recorder) endSource(ctx context.Context, src wire.SourceID) error {
	// What waits for events of another process gets the time that those may be on their way.
	for began := time.Now(); ; {
		drains := false
		if err := r.sequence(ctx, func(c *correlate.Correlator) { drains = c.Drains(src) }); err != nil {
			return err
		}
		if !drains || time.Since(began) > 2*r.o.Lateness {
			break
		}
		select {
		case <-time.After(r.o.BlockInterval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return r.sequence(ctx, func(c *correlate.Correlator) {
		delete(r.seq.open, src)
		c.End(src)
		c.Flush()
		if r.seq.replay != nil {
			r.seq.endReplay()
			r.seq.start()
		}
	})
}

// leaveSource tells the sequencer that a source is left before its end, to be gone on with: see leave.
func (r *Recorder) leaveSource(ctx context.Context, src wire.SourceID) error {
	return r.sequence(ctx, func(c *correlate.Correlator) { r.seq.leave(c, src) })
}

// waitSettled waits until no event of the source is in flight: each is durable, shed or rejected.
func (r *Recorder) waitSettled(ctx context.Context, src wire.SourceID) error {
	for {
		r.mu.Lock()
		committed, failed := r.committed, r.failed
		r.mu.Unlock()
		left := r.ledger.Account(src).InFlight
		if left <= 0 {
			return nil
		}
		if failed != nil {
			return fmt.Errorf("%d events are not durable: %w", left, failed)
		}
		select {
		case <-committed:
		case <-ctx.Done():
			return fmt.Errorf("%d events are not durable: %w", left, ctx.Err())
		}
	}
}

// finishSource writes what became of a source into the manifest.
func (r *Recorder) finishSource(in *Input, complete bool) error {
	settle(&in.info, since(r.ledger.Account(in.info.ID), in.base))
	in.info.Complete = complete
	r.mu.Lock()
	delete(r.inputs, in.info.ID)
	r.mu.Unlock()
	return r.store.UpdateSource(in.info)
}

// fail remembers that the store has failed: nothing is accepted any more.
func (r *Recorder) fail(err error) {
	r.mu.Lock()
	first := r.failed == nil
	if first {
		r.failed = err
		close(r.committed)
		r.committed = make(chan struct{})
	}
	r.mu.Unlock()
	if first {
		r.log.Error("the store has failed; nothing more is recorded", "error", err)
	}
}

// setBlocked remembers why the store takes nothing for now; nil when it does again.
func (r *Recorder) setBlocked(err error) {
	r.mu.Lock()
	changed := (r.blocked == nil) != (err == nil)
	r.blocked = err
	r.mu.Unlock()
	if changed && err != nil {
		r.log.Warn("the store takes nothing for now; sources wait", "error", err)
	} else if changed {
		r.log.Info("the store takes events again")
	}
}

// Err gives why the recorder takes nothing any more, nil if it does.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// Close ends every input, drains the flow upstream first, and seals the recording. When ctx is over first, what is left is
// given up, and the error says how much that was.
func (r *Recorder) Close(ctx context.Context) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	var inputs []*Input
	for _, in := range r.inputs {
		inputs = append(inputs, in)
	}
	r.mu.Unlock()

	var wrong []error
	for _, in := range inputs {
		wrong = append(wrong, in.Close(ctx, false))
	}
	r.ring.Close()
	wrong = append(wrong, r.intake.Drain(ctx))
	close(r.seq.finish)
	select {
	case <-r.seq.done:
	case <-ctx.Done():
		r.stop()
		<-r.seq.done
	}
	r.blocks.Close()
	wrong = append(wrong, r.writing.Drain(ctx))
	r.stop()
	<-r.watched
	wrong = append(wrong, r.store.Close(), r.rejects.Close(), r.letters.Close())
	return errors.Join(wrong...)
}

// keepReject writes an event that the correlator refused into the rejects file.
func (r *Recorder) keepReject(src wire.SourceID, stream wire.Name, b *wire.Batch, rec *wire.Record, reason string) {
	name := ""
	if in := r.input(src); in != nil {
		name = in.info.Name
	}
	var e event.Event
	raw := []byte(nil)
	if err := b.EventOf(rec, stream, r.store.Table(), &e); err == nil {
		raw = event.AppendLine(nil, &e)
	}
	if err := r.rejects.Add(src, reason, source.Rejected{File: name, Raw: raw, Reason: reason}); err != nil {
		r.log.Error("a reject could not be kept", "error", err)
	}
}

// bury keeps a batch that the correlator could not work on in the dead-letter file.
func (r *Recorder) bury(b *wire.Batch, cause error, stack []byte) {
	letter := pipeline.Letter{
		Time: time.Now(), Stage: "correlate", Sources: []wire.SourceID{b.Source}, Tries: 1,
		Error: cause.Error(), Stack: string(stack), Events: b.Len(),
	}
	if err := r.letters.Add(letter, func(yield func([]byte) bool) { r.batchLines(b, yield) }); err != nil {
		r.log.Error("a dead letter could not be kept", "error", err)
	}
}

// batchLines gives the events of a batch as JSON, for the dead letters, without what sounds like a secret: the batch may have
// failed before that was taken out. It stops where the batch is not readable.
func (r *Recorder) batchLines(b *wire.Batch, yield func([]byte) bool) {
	i := 0
	for _, run := range b.Runs {
		for range run.Len {
			var e event.Event
			if i >= len(b.Records) || b.Event(i, run.Stream, r.store.Table(), &e) != nil || !yield(r.clean.RedactText(event.AppendLine(nil, &e))) {
				return
			}
			i++
		}
	}
}

// blockLines gives the events of a block as JSON, for the dead letters.
func (r *Recorder) blockLines(b *wire.Block, yield func([]byte) bool) {
	for i := range b.Rows {
		var e event.Event
		if b.Event(i, r.store.Table(), &e) != nil || !yield(event.AppendLine(nil, &e)) {
			return
		}
	}
}

// Fingerprint gives a source's fingerprint as the manifest keeps it.
func Fingerprint(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }
