package recorder

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/pastcone/pastcone/internal/config"
	"github.com/pastcone/pastcone/internal/intake"
	"github.com/pastcone/pastcone/internal/pipeline"
	"github.com/pastcone/pastcone/internal/ring"
	"github.com/pastcone/pastcone/internal/store"
)

// policies are what a full ring does, by the words of the settings.
var policies = map[string]ring.Policy{
	config.OverflowBlock: ring.Block, config.OverflowDropNewest: ring.DropNewest, config.OverflowDropOldest: ring.DropOldest,
}

var losses = map[string]Loss{config.LossNever: LossNever, config.LossSample: LossSample, config.LossShed: LossShed}

// FromSettings gives the options that settings come to. What can change while a recorder runs is changed by Use.
func FromSettings(s *config.Settings) Options {
	o := optionsOf(s)
	o.within(int64(s.Memory.BytesMax))
	return o
}

// The shares of the memory limit, in percent. What is left is for what has no bound of its own: connections, blocks on their way
// through the encoders, indexes, the runtime, and garbage.
const (
	shareBatches    = 10
	shareCorrelator = 20
	shareUndurable  = 10
	shareTable      = 8
	shareWindow     = 4
	shareQuery      = 10
	shareGoLimit    = 85 // from here on the garbage collector works harder
)

// within brings the bounds down to their shares of a memory limit, if there is one.
func (o *Options) within(limit int64) {
	if limit == 0 {
		return
	}
	o.MemoryBytesMax = limit
	percent := func(n int64) int64 { return limit / 100 * n }
	o.BatchesBytesMax = percent(shareBatches)
	o.WindowBytesMax = min(windowBytesMost, percent(shareWindow))
	o.CorrelatorBytesMax = min(o.CorrelatorBytesMax, percent(shareCorrelator))
	o.Store.UndurableBytesMax = min(o.Store.UndurableBytesMax, percent(shareUndurable))
	o.Store.TableBytesMax = min(o.Store.TableBytesMax, percent(shareTable))
	o.QueryBytesMax = min(o.QueryBytesMax, percent(shareQuery))
	o.queryBytesMost = o.QueryBytesMax
}

// LimitMemory has the garbage collector keep to the memory limit of these options, for the whole process, if they have one.
func (o *Options) LimitMemory() {
	if o.MemoryBytesMax > 0 {
		debug.SetMemoryLimit(o.MemoryBytesMax / 100 * shareGoLimit)
	}
}

func optionsOf(s *config.Settings) Options {
	pressure := pipeline.DefaultThresholds()
	pressure.DiskFreeBytesMin = int64(s.Pressure.DiskRoomBytesMin)
	return Options{
		Loss:               losses[s.Pressure.Loss],
		Pressure:           pressure,
		RingBatches:        s.RingBatches(),
		Policy:             policies[s.Ring.Overflow],
		Intake:             poolSettings(s, s.Intake.Workers),
		Write:              poolSettings(s, s.Write),
		BlockInterval:      s.Store.BlockInterval,
		Lateness:           max(s.Correlate.Lateness, time.Nanosecond), // 0 would be the default
		CorrelatorBytesMax: int64(s.Correlate.MemoryBytesMax),
		RedactKeys:         s.Intake.Redact(intake.DefaultRedactKeys),
		DataBytesMax:       int(s.Intake.DataBytesMax),
		RejectsBytesMax:    int64(s.Intake.RejectsBytesMax),
		LettersBytesMax:    int64(s.Retry.DeadLettersBytesMax),
		QueryBytesMax:      int64(s.Query.MemoryBytesMax),
		QueryTimeout:       s.Query.Deadline,
		Store: store.Options{
			CommitInterval:    s.Store.CommitInterval,
			SegmentBytesMax:   int64(s.Store.SegmentBytesMax),
			UndurableBytesMax: int64(s.Store.UndurableBytesMax),
			TableBytesMax:     int64(s.Store.TableBytesMax),
			RetainBytesMax:    int64(s.Retain.BytesMax),
			RetainAgeMax:      s.Retain.AgeMax,
		},
	}
}

func poolSettings(s *config.Settings, w config.Workers) pipeline.Settings {
	return pipeline.Settings{
		WorkersMin: w.WorkersMin, WorkersMax: w.WorkersMax,
		BatchEventsMin: s.Batch.EventsMin, BatchEventsMax: s.Batch.EventsMax,
		Tries: s.Retry.Tries, BackoffMin: s.Retry.BackoffMin, BackoffMax: s.Retry.BackoffMax,
	}
}

// Use changes what can change while the recorder runs: the pools, the retries, the sizes of batches, and the bounds of
// answers. The rest of the settings is not looked at: config.Live sees to it that it stays as it is.
func (r *Recorder) Use(s *config.Settings) error {
	if err := r.Apply(poolSettings(s, s.Intake.Workers), poolSettings(s, s.Write)); err != nil {
		return fmt.Errorf("settings of the pools: %w", err)
	}
	queryBytesMax := int64(s.Query.MemoryBytesMax)
	if r.o.queryBytesMost > 0 {
		queryBytesMax = min(queryBytesMax, r.o.queryBytesMost)
	}
	r.queryBytesMax.Store(queryBytesMax)
	r.queryTimeout.Store(int64(s.Query.Deadline))
	return nil
}
