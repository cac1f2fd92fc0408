package recorder

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/store"
	"github.com/pastcone/pastcone/internal/wire"
)

// The manifest has a source's counts when the source is closed. A process that was killed has closed none: its events are
// in the blocks, what could not be used is in the rejects file, and the manifest knows nothing of them. So for the sources
// that are not complete, both are counted.

// rejectsName is the file in a recording's folder that keeps what could not be used.
const rejectsName = "rejects.ndjson"

// recounted gives the sources with the stored events of those that are not complete as the blocks have them, their rejects as the
// rejects file has them, and which have changed. A count never gets smaller: retention removes blocks, not what was stored once.
func recounted(infos []store.SourceInfo, snapshot query.Reader, rejects string) (all []store.SourceInfo, changed []int, err error) {
	found := map[wire.SourceID]uint64{}
	for _, info := range infos {
		if !info.Complete {
			found[info.ID] = 0
		}
	}
	if len(found) == 0 {
		return infos, nil, nil
	}
	var c wire.Columns
	for _, b := range snapshot.Blocks(wire.Prune{}) {
		if err := snapshot.Read(b.Base, wire.ColSource|wire.ColKind, &c); err != nil {
			return infos, nil, fmt.Errorf("counting the events of the sources: the block at event %d: %w", b.Base, err)
		}
		for i := 0; i < c.Len; {
			src, n := c.Source[i], uint64(0)
			for ; i < c.Len && c.Source[i] == src; i++ { // sources come in runs
				if c.Kind[i] != event.KindGap { // made by the correlator, never accepted
					n++
				}
			}
			if before, wanted := found[src]; wanted {
				found[src] = before + n
			}
		}
	}
	counts, err := source.CountRejects(rejects)
	for i := range infos {
		info := &infos[i]
		if info.Complete {
			continue
		}
		more := false
		if n := found[info.ID]; n > info.Events {
			info.Events, more = n, true
		}
		for reason, n := range counts[info.ID] {
			name := rejectedDetail + reason
			if before, _ := strconv.ParseUint(info.Detail[name], 10, 64); n > before {
				info.Detail = marked(info.Detail, name, strconv.FormatUint(n, 10))
				info.Rejected += n - before
				more = true
			}
		}
		if more {
			changed = append(changed, i)
		}
	}
	return infos, changed, err
}

// recount corrects the manifest after a crash, before anything is accepted.
func (r *Recorder) recount() error {
	snapshot := r.store.Snapshot()
	infos, changed, err := recounted(r.store.Sources(), snapshot, filepath.Join(r.dir, rejectsName))
	if closing := snapshot.Close(); err == nil {
		err = closing
	}
	if err != nil { // damage costs the counts, not the recording
		r.log.Warn("the counts of the sources stay as they were", "error", err)
		return nil
	}
	for _, i := range changed {
		if err := r.store.UpdateSource(infos[i]); err != nil {
			return err
		}
	}
	return nil
}

// stuckDrain bounds how long the end of an interrupted recorder may take while its store takes nothing: the store tries again
// two times in it. It is for all that ends one after the other, the server and its recorder, and not for each.
const stuckDrain = 500 * time.Millisecond

// endingLook is how often it is looked whether the store is stuck.
const endingLook = 50 * time.Millisecond

// Stuck says that the store takes nothing for now: the disk is full.
func (r *Recorder) Stuck() bool {
	r.mu.Lock()
	blocked := r.blocked != nil
	r.mu.Unlock()
	return blocked || r.store.Stats().Full
}

// stuckFor says for how long the store has been seen to take nothing, without a break, by those who end.
func (r *Recorder) stuckFor(now time.Time) time.Duration {
	stuck := r.Stuck()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !stuck:
		r.stuckSince = time.Time{}
	case r.stuckSince.IsZero():
		r.stuckSince = now
	default:
		return now.Sub(r.stuckSince)
	}
	return 0
}

// Ending gives the time in which inputs and the recorder must come to their end: as long as finished, from now; as long as
// interrupted once ctx is over; and shortly then while the disk is full, for nobody waits for room who wants to leave.
func (r *Recorder) Ending(ctx context.Context, finished, interrupted time.Duration) (context.Context, context.CancelFunc) {
	within, end := context.WithTimeout(context.WithoutCancel(ctx), finished)
	go func() {
		defer end()
		select {
		case <-within.Done():
			return
		case <-ctx.Done():
		}
		last := time.Now().Add(interrupted)
		look := time.NewTicker(endingLook)
		defer look.Stop()
		for {
			select {
			case <-within.Done():
				return
			case now := <-look.C:
				if now.After(last) || r.stuckFor(now) >= stuckDrain {
					return
				}
			}
		}
	}()
	return within, end
}
