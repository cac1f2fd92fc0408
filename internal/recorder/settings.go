package recorder

import (
	"fmt"
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

// FromSettings gives the options that settings come to. What can change while a recorder runs is changed by Use.
func FromSettings(s *config.Settings) Options {
	return Options{
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
	r.queryBytesMax.Store(int64(s.Query.MemoryBytesMax))
	r.queryTimeout.Store(int64(s.Query.Deadline))
	return nil
}
