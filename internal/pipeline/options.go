package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/pastcone/pastcone/internal/wire"
)

// Stage is the work on one batch. A stage is used by one worker at a time; after a panic it is thrown away and the
// worker gets a new one. Process may be called again with a batch on which it failed, so it must leave a batch such that
// this is right. It should give up when ctx ends.
type Stage[In any] interface {
	Process(ctx context.Context, in In) error
}

// StageFunc is a stage that keeps nothing between batches.
type StageFunc[In any] func(ctx context.Context, in In) error

// Process calls the function.
func (f StageFunc[In]) Process(ctx context.Context, in In) error { return f(ctx, in) }

// Queue is where a pool takes its batches from: a ring. Pop fails with ring.ErrClosed when it is closed and empty.
type Queue[In any] interface {
	Pop(ctx context.Context) (In, error)
	TryPop() (In, bool)
	Len() int
	Cap() int
	Close()
}

// weighted is a queue that knows how many events its batches hold.
type weighted interface{ Weight() int64 }

// Options say what a pool does. Name, Queue, New and Count must be set.
type Options[In any] struct {
	Name  string
	Queue Queue[In]
	New   func() (Stage[In], error) // makes a worker's stage
	Count func(In) int              // gives the number of events in a batch

	// Deliver hands a processed batch on. It is called for one batch at a time, in the order in which they were taken.
	// It may block; it should fail only when ctx ends or what comes next is closed. Without it a batch is done when it
	// has been processed, in any order.
	Deliver func(ctx context.Context, in In) error

	// Window is how many batches may be taken and not delivered. Without Deliver it has no effect. 0 is 4 × the most
	// workers, at least 16.
	Window int

	Ledger *Ledger                                           // where a batch that is given up is booked
	Owners func(in In, yield func(src wire.SourceID, n int)) // whose the events of a batch are, for the ledger
	Letter *DeadLetters                                      // where batches are kept that can not be processed
	Encode func(in In, yield func(event []byte) bool)        // gives the JSON of each event of a batch, for the letter
	GaveUp func(in In, err error)                            // is told of each batch that is not delivered, once, after its booking
	Since  func(in In) int64                                 // when a batch was accepted, ns since the Unix epoch; 0 or nil: unknown
	Log    *slog.Logger

	Settings Settings
	Restarts Restarts
	Limits   Limits
}

// Settings can be changed while the pool runs.
type Settings struct {
	WorkersMin, WorkersMax         int
	BatchEventsMin, BatchEventsMax int // bounds of what BatchEvents gives
	Tries                          int // how often a batch is tried
	BackoffMin, BackoffMax         time.Duration
}

// Restarts are the restart intensity: when more than Max crashes have come together, of which half are forgotten each
// Within, no worker is restarted for Pause.
type Restarts struct {
	Max    int
	Within time.Duration
	Pause  time.Duration
}

// Limits say from when on a pool is not in good health.
type Limits struct {
	Stuck     time.Duration // a batch is so long at work
	Stalled   time.Duration // so long no batch was finished though some wait
	Recent    time.Duration // so long a crash or a dead letter is told
	FullShare float64       // share of the queue that is in use
	Kill      time.Duration // how long workers get to stop after the deadline of a drain
}

// The bounds of the settings.
const (
	WorkersMost     = 256
	BatchEventsMost = 1 << 16
	TriesMost       = 20
	BackoffMost     = 10 * time.Second
)

// DefaultSettings give a pool something to go on with.
func DefaultSettings() Settings {
	return Settings{
		WorkersMin: 1, WorkersMax: 4, BatchEventsMin: 16, BatchEventsMax: 4096,
		Tries: 3, BackoffMin: 5 * time.Millisecond, BackoffMax: 200 * time.Millisecond,
	}
}

// ErrSettings says that settings are out of bounds.
var ErrSettings = errors.New("settings are out of bounds")

// Check fails with ErrSettings, and says all that is wrong.
func (s Settings) Check() error {
	var wrong []error
	bound := func(name string, value, least, most any, ok bool) {
		if !ok {
			wrong = append(wrong, fmt.Errorf("%w: %s is %v: it must lie between %v and %v", ErrSettings, name, value, least, most))
		}
	}
	bound("WorkersMin", s.WorkersMin, 1, WorkersMost, 1 <= s.WorkersMin && s.WorkersMin <= WorkersMost)
	bound("WorkersMax", s.WorkersMax, s.WorkersMin, WorkersMost, s.WorkersMin <= s.WorkersMax && s.WorkersMax <= WorkersMost)
	bound("BatchEventsMin", s.BatchEventsMin, 1, BatchEventsMost, 1 <= s.BatchEventsMin && s.BatchEventsMin <= BatchEventsMost)
	bound("BatchEventsMax", s.BatchEventsMax, s.BatchEventsMin, BatchEventsMost, s.BatchEventsMin <= s.BatchEventsMax && s.BatchEventsMax <= BatchEventsMost)
	bound("Tries", s.Tries, 1, TriesMost, 1 <= s.Tries && s.Tries <= TriesMost)
	bound("BackoffMin", s.BackoffMin, 0, BackoffMost, 0 <= s.BackoffMin && s.BackoffMin <= BackoffMost)
	bound("BackoffMax", s.BackoffMax, s.BackoffMin, BackoffMost, s.BackoffMin <= s.BackoffMax && s.BackoffMax <= BackoffMost)
	return errors.Join(wrong...)
}

// backoff gives how long to wait after that many failures: it doubles.
func (s Settings) backoff(failures int) time.Duration {
	d := s.BackoffMin
	for i := 1; i < failures && d < s.BackoffMax; i++ {
		d *= 2
	}
	return min(d, s.BackoffMax)
}

// complete checks the options and puts in what was left out.
func (o *Options[In]) complete() error {
	switch {
	case o.Name == "":
		return errors.New("pipeline: a pool needs a name")
	case o.Queue == nil || o.New == nil || o.Count == nil:
		return fmt.Errorf("pipeline: pool %s needs a queue, a stage and a count", o.Name)
	case o.Ledger != nil && o.Owners == nil:
		return fmt.Errorf("pipeline: pool %s has a ledger and no Owners to book on", o.Name)
	}
	if o.Settings == (Settings{}) {
		o.Settings = DefaultSettings()
	}
	if err := o.Settings.Check(); err != nil {
		return fmt.Errorf("pool %s: %w", o.Name, err)
	}
	if o.Window < 0 {
		return fmt.Errorf("pipeline: pool %s: a window of %d batches", o.Name, o.Window)
	}
	if o.Restarts == (Restarts{}) {
		o.Restarts = Restarts{Max: 20, Within: time.Second, Pause: 200 * time.Millisecond}
	}
	if o.Limits == (Limits{}) {
		o.Limits = Limits{Stuck: 10 * time.Second, Stalled: 5 * time.Second, Recent: 10 * time.Second, FullShare: 0.8, Kill: time.Second}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
