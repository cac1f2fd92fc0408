package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pastcone/pastcone/internal/wire"
	"github.com/thejerf/suture/v4"
)

// Pool is a supervised, scaling pool of workers over a stage. See the package comment for what it promises. All methods
// are safe for concurrent use.
type Pool[In any] struct {
	o        Options[In]
	made     time.Time
	settings atomic.Pointer[Settings]

	sup     *suture.Supervisor
	supDone <-chan error
	ctx     context.Context // of the workers and of what they deliver
	cancel  context.CancelFunc
	scaling chan struct{} // closed when the scaler has ended

	baton  chan struct{} // held by the worker that waits at the queue
	ticket uint64        // of the next batch; guarded by the baton
	window *window[In]   // nil: no order
	retire chan struct{} // a token for each worker that is not needed

	mu      sync.Mutex
	state   string
	workers map[int]*worker[In] // alive, crashed ones that will be restarted included
	nextID  int
	target  int        // workers that are wanted: alive, without those that have been told to go
	left    []*job[In] // of workers that were stopped with a batch in hand
	gone    chan struct{}
	goneSet bool
	meter   meter
	moved   time.Duration // when the last batch was finished, or none waited, since the pool was made
	settled uint64        // batches at that look
	busyNow float64       // workers at work, on average between the last two looks
	drained error
	ending  chan struct{} // closed when a drain is over

	ended  atomic.Bool  // the queue is closed and empty
	paused atomic.Int64 // when the supervisor paused, ns since the pool was made; 0: it has not

	batchEvents atomic.Int64
	fullBatches atomic.Bool  // larger batches, whatever the rate: see Hasten
	allWorkers  atomic.Bool  // as many workers as there may be
	busy        atomic.Int64 // ns in Process, finished calls

	takenBatches, takenEvents             atomic.Uint64
	doneBatches, doneEvents               atomic.Uint64
	deadBatches, deadEvents               atomic.Uint64
	undrainedBatches, undrainedEvents     atomic.Uint64
	retries, crashes, started, retired    atomic.Uint64
	lastCrash, lastDead                   atomic.Int64 // ns since the Unix epoch
	wait, process, total, start, recovery Histogram
}

// The states of a pool.
const (
	StateNew      = "new"
	StateRunning  = "running"
	StateDraining = "draining"
	StateStopped  = "stopped"
)

// ErrState says that a pool or a pipeline is not in the state that a call needs.
var ErrState = errors.New("not in that state")

// NewPool makes a pool. It does nothing before Start.
func NewPool[In any](o Options[In]) (*Pool[In], error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	p := &Pool[In]{
		o: o, made: time.Now(), state: StateNew, workers: map[int]*worker[In]{},
		baton: make(chan struct{}, 1), retire: make(chan struct{}, WorkersMost),
		gone: make(chan struct{}), scaling: make(chan struct{}), ending: make(chan struct{}),
		meter: meter{window: time.Second},
	}
	p.baton <- struct{}{}
	p.settings.Store(&o.Settings)
	p.batchEvents.Store(int64(o.Settings.BatchEventsMin))
	if o.Deliver != nil {
		p.window = newWindow[In](max(o.Window, windowMost))
	}
	p.sup = suture.New(o.Name, suture.Spec{
		EventHook:        p.supervised,
		FailureThreshold: float64(o.Restarts.Max),
		FailureDecay:     o.Restarts.Within.Seconds(),
		FailureBackoff:   o.Restarts.Pause,
		BackoffJitter:    suture.NoJitter{},
		Timeout:          o.Limits.Kill,
	})
	return p, nil
}

// windowMost is the largest window that a pool chooses by itself.
const windowMost = 4 * WorkersMost

// ahead gives how many batches may be taken and not delivered.
func (p *Pool[In]) ahead() int {
	if p.o.Window > 0 {
		return p.o.Window
	}
	return max(16, 4*p.settings.Load().WorkersMax)
}

// clock gives the time since the pool was made, at least 1 ns.
func (p *Pool[In]) clock() time.Duration { return max(1, time.Since(p.made)) }

// Name gives the name of the pool.
func (p *Pool[In]) Name() string { return p.o.Name }

// Start starts the least number of workers. When ctx ends, the pool stops at once, without finishing anything; Drain is
// the orderly way, and is called in any case.
func (p *Pool[In]) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != StateNew {
		return fmt.Errorf("pool %s: start: %w: it is %s", p.o.Name, ErrState, p.state)
	}
	p.state = StateRunning
	p.ctx, p.cancel = context.WithCancel(ctx) // #nosec G118 -- it is kept, and called when the pool has drained
	p.supDone = p.sup.ServeBackground(p.ctx)
	p.moved = p.clock()
	for range p.settings.Load().WorkersMin {
		p.addWorker()
	}
	go p.scale()
	return nil
}

// addWorker has the supervisor start one more worker. It is called with the lock.
func (p *Pool[In]) addWorker() {
	p.nextID++
	p.target++
	w := &worker[In]{p: p, id: p.nextID, asked: time.Now()}
	p.workers[w.id] = w
	p.started.Add(1)
	p.sup.Add(w)
}

// leave takes a worker off the list that ends for good.
func (p *Pool[In]) leave(w *worker[In], why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.workers, w.id)
	if j := w.job.Load(); j != nil {
		p.left = append(p.left, j)
	}
	if errors.Is(why, errRetired) {
		p.retired.Add(1)
	}
	if len(p.workers) == 0 && p.ended.Load() && !p.goneSet {
		p.goneSet = true
		close(p.gone)
	}
}

// supervised is told what the supervisor does, in its goroutine.
func (p *Pool[In]) supervised(e suture.Event) {
	switch e.Type() {
	case suture.EventTypeBackoff:
		p.paused.Store(int64(p.clock()))
		p.o.Log.Error("workers crash too often: no restarts for a while", "pool", p.o.Name, "pause", p.o.Restarts.Pause)
	case suture.EventTypeResume:
		p.paused.Store(0)
	case suture.EventTypeStopTimeout:
		p.o.Log.Error("a worker does not stop", "pool", p.o.Name, "event", e.String())
	default:
		p.o.Log.Error("a worker crashed", "pool", p.o.Name, "event", e.String())
	}
}

// Apply changes the settings of a pool while it runs. It fails with ErrSettings, and then changes nothing.
func (p *Pool[In]) Apply(s Settings) error {
	if err := s.Check(); err != nil {
		return fmt.Errorf("pool %s: %w", p.o.Name, err)
	}
	p.settings.Store(&s)
	return nil
}

// Settings gives the settings.
func (p *Pool[In]) Settings() Settings { return *p.settings.Load() }

// BatchEvents gives how many events a source should put in a batch now.
func (p *Pool[In]) BatchEvents() int { return int(p.batchEvents.Load()) }

// Hasten has sources fill their batches, and all workers that may be at work, whatever the measured load: or no longer. It is for
// who sees more of the flow than the pool does.
func (p *Pool[In]) Hasten(fullBatches, allWorkers bool) {
	p.fullBatches.Store(fullBatches)
	p.allWorkers.Store(allWorkers)
}

// scale looks at the load and moves the number of workers and the size of batches after it.
func (p *Pool[In]) scale() {
	defer close(p.scaling)
	var s scaler
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	last := struct {
		at   time.Time
		busy time.Duration
	}{at: time.Now()}
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.gone:
			return
		case <-ticker.C:
		}
		l := load{at: time.Now(), backlog: p.o.Queue.Len()}
		p.mu.Lock()
		busy := p.busyTotal()
		if since := l.at.Sub(last.at); since > 0 {
			l.busy = max(0, float64(busy-last.busy)/float64(since))
		}
		last.at, last.busy = l.at, busy
		p.look(&s, l)
		p.mu.Unlock()
	}
}

// busyTotal gives the time that the workers have been at work. It is called with the lock.
func (p *Pool[In]) busyTotal() time.Duration {
	total := time.Duration(p.busy.Load())
	for _, w := range p.workers {
		if began := w.began.Load(); began != 0 {
			total += p.clock() - time.Duration(began)
		}
	}
	return total
}

// look acts on one look at the load. It is called with the lock.
func (p *Pool[In]) look(s *scaler, l load) {
	p.busyNow = l.busy
	if settled := p.doneBatches.Load() + p.deadBatches.Load(); l.backlog == 0 || settled != p.settled {
		p.moved, p.settled = p.clock(), settled
	}
	taken := p.takenEvents.Load()
	p.meter.add(l.at, [metered]uint64{
		meterTakenBatches: p.takenBatches.Load(), meterTakenEvents: taken, meterDoneEvents: p.doneEvents.Load(),
		meterArrivedEvents: taken + p.backlogEvents(),
	})
	set := p.settings.Load()
	now := p.target
	p.batchEvents.Store(int64(nextBatchEvents(p.BatchEvents(), set.BatchEventsMin, set.BatchEventsMax,
		p.meter.perSecond(meterArrivedEvents), l.backlog >= max(1, now))))
	if p.fullBatches.Load() {
		p.batchEvents.Store(int64(set.BatchEventsMax))
	}
	if p.ended.Load() {
		return // the workers leave by themselves
	}
	want := s.decide(now, set.WorkersMin, set.WorkersMax, l)
	if p.allWorkers.Load() {
		want = set.WorkersMax
	}
	for p.target > want {
		p.target--
		p.retire <- struct{}{} // has room for every worker
	}
	for p.target < want {
		select {
		case <-p.retire: // one of those on their way out stays
			p.target++
		default:
			p.addWorker()
		}
	}
}

func (p *Pool[In]) backlogEvents() uint64 {
	if q, ok := p.o.Queue.(weighted); ok {
		return uint64(max(0, q.Weight())) // #nosec G115 -- not negative
	}
	return 0
}

// bury gives a batch up that failed too often, unless its fate has been decided.
func (p *Pool[In]) bury(j *job[In], stage string) {
	if j.settle() {
		p.entomb(j, stage)
	}
}

// entomb writes a settled batch to the dead letters and books it as rejected.
func (p *Pool[In]) entomb(j *job[In], stage string) {
	letter := Letter{Time: time.Now(), Stage: stage, Tries: j.tries, Error: j.err.Error(), Stack: j.stack, Events: j.events}
	p.owners(j, func(src wire.SourceID, n int) { letter.Sources = append(letter.Sources, src) })
	p.o.Log.Error("a batch is given up", "pool", p.o.Name, "stage", stage, "events", j.events, "sources", letter.Sources, "error", j.err)
	if p.o.Letter != nil {
		var encode func(func([]byte) bool)
		if p.o.Encode != nil {
			encode = func(yield func([]byte) bool) { p.o.Encode(j.in, yield) }
		}
		if err := p.o.Letter.Add(letter, encode); err != nil {
			p.o.Log.Error("a dead letter is lost", "pool", p.o.Name, "error", err)
		}
	}
	if p.o.Ledger != nil {
		p.owners(j, func(src wire.SourceID, n int) { p.o.Ledger.Reject(src, n, ReasonDeadLetter+": "+stage) })
	}
	p.lastDead.Store(time.Now().UnixNano())
	p.deadEvents.Add(count(j.events))
	p.deadBatches.Add(1)
	j.fate.Store(fateDecided)
	if p.o.GaveUp != nil {
		p.o.GaveUp(j.in, j.err)
	}
}

func (p *Pool[In]) owners(j *job[In], yield func(wire.SourceID, int)) {
	if p.o.Owners != nil {
		p.o.Owners(j.in, yield)
	}
}

// ErrNotDrained is the error of each batch that was not finished when the deadline of a drain was over.
var ErrNotDrained = errors.New("not drained before the deadline")

// abandon books a settled batch as not drained.
func (p *Pool[In]) abandon(j *job[In]) {
	if p.o.Ledger != nil {
		p.owners(j, func(src wire.SourceID, n int) { p.o.Ledger.Shed(src, n, ReasonNotDrained) })
	}
	p.undrainedEvents.Add(count(j.events))
	p.undrainedBatches.Add(1)
	j.fate.Store(fateDecided)
	if p.o.GaveUp != nil {
		p.o.GaveUp(j.in, ErrNotDrained)
	}
}

// Undrained is the error of a drain that could not finish everything that had been accepted.
type Undrained struct {
	Name    string
	Queued  int // batches that no worker had taken
	InHand  int // batches at work, or waiting for their turn
	Events  int // in all of them
	Because error
}

// Error tells what is left.
func (u *Undrained) Error() string {
	return fmt.Sprintf("%s: %v: %d events in %d batches (%d in the queue, %d at work): %v",
		u.Name, ErrNotDrained, u.Events, u.Queued+u.InHand, u.Queued, u.InHand, u.Because)
}

// Unwrap makes it ErrNotDrained, and what ended the drain.
func (u *Undrained) Unwrap() []error { return []error{ErrNotDrained, u.Because} }

// Drain closes the queue, lets the workers finish what is in it, and stops them. If ctx ends before, they are stopped as
// they are; what is left is shed with the reason ReasonNotDrained, told to GaveUp, and Drain fails with *Undrained. A
// second Drain waits for the first one and gives the same.
func (p *Pool[In]) Drain(ctx context.Context) error {
	p.o.Queue.Close()
	p.mu.Lock()
	state := p.state
	switch state {
	case StateDraining, StateStopped:
		p.mu.Unlock()
		<-p.ending
		return p.drained
	case StateRunning:
		p.state = StateDraining
	default:
		p.state = StateStopped
	}
	p.mu.Unlock()
	defer close(p.ending)

	because := errors.New("it was never started")
	if state == StateRunning {
		because = p.stopWorkers(ctx)
	}
	p.drained = p.abandonRest(because)
	p.mu.Lock()
	p.state = StateStopped
	p.mu.Unlock()
	return p.drained
}

// stopWorkers waits for the workers to finish, or stops them, and gives why it had to.
func (p *Pool[In]) stopWorkers(ctx context.Context) (because error) {
	select {
	case <-p.gone:
	case <-ctx.Done():
		because = ctx.Err()
	case <-p.ctx.Done():
		because = p.ctx.Err()
	}
	p.cancel()
	<-p.supDone // within Limits.Kill
	<-p.scaling
	return because
}

// abandonRest settles everything that nobody will finish.
func (p *Pool[In]) abandonRest(because error) error {
	u := &Undrained{Name: p.o.Name, Because: because}
	p.mu.Lock()
	jobs := p.left
	p.left = nil
	for _, w := range p.workers { // hung, or crashed and not restarted
		if j := w.job.Load(); j != nil {
			jobs = append(jobs, j)
		}
	}
	p.mu.Unlock()
	if p.window != nil {
		jobs = append(jobs, p.window.rest()...)
	}
	unknown := 0
	for _, j := range jobs {
		if j.settle() {
			p.abandon(j)
		} else if j.fate.Load() == fateDeciding { // its Deliver does not come back
			unknown++
			u.Events += j.events
		}
	}
	for in, ok := p.o.Queue.TryPop(); ok; in, ok = p.o.Queue.TryPop() {
		u.Queued++
		j := &job[In]{in: in, events: p.o.Count(in)}
		p.takenBatches.Add(1)
		p.takenEvents.Add(count(j.events))
		p.abandon(j)
	}
	all := unknown + int(p.undrainedBatches.Load()) // #nosec G115 -- a number of batches; those whose delivery failed included
	if all == 0 {
		return nil
	}
	u.InHand = all - u.Queued
	u.Events += int(p.undrainedEvents.Load()) // #nosec G115 -- a number of events
	return u
}
