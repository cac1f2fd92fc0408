package monitor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/pastcone/pastcone/internal/access"
	"github.com/pastcone/pastcone/internal/config"
	"github.com/pastcone/pastcone/internal/recorder"
)

const (
	lookEvery = time.Second
	// standsStill is how long work may wait without any being done, before the flow counts as stopped. A slow disk takes no
	// longer for a commit.
	standsStill = 5 * time.Second
	// roomBytesMin is what a disk must have free to be called ready: less than one undurable queue.
	roomBytesMin = config.MiB * 16
)

// health finds out whether the recorder takes events: it compares what waits and what was done from look to look.
type health struct {
	status func() recorder.Status
	dir    string
	room   func(dir string) (free uint64, ok bool) // of the file system

	mu     sync.Mutex
	stages [3]stage
	ending bool
}

// stage is a part of the flow, as it was seen last.
type stage struct {
	name  string
	done  uint64
	waits bool
	since time.Time // since when it waits without anything being done
}

func newHealth(status func() recorder.Status, dir string) *health {
	return &health{status: status, dir: dir, room: freeBytes, stages: [3]stage{{name: "intake"}, {name: "write"}, {name: "commit"}}}
}

// watch looks until ctx is over, so that a question is answered from what has been seen, not from one moment.
func (h *health) watch(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		h.look(time.Now())
		select {
		case <-ticker.C:
		case <-ctx.Done():
			h.mu.Lock()
			h.ending = true
			h.mu.Unlock()
			return
		}
	}
}

// look notes what waits and what was done. It gives the status that it has seen.
func (h *health) look(now time.Time) recorder.Status {
	s := h.status()
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, seen := range [...]struct {
		done  uint64
		waits bool
	}{
		{s.Intake.Batches.Done + s.Intake.Batches.Dead, s.Intake.Backlog.Batches > 0 || s.Intake.Batches.InHand > 0},
		{s.Write.Batches.Done + s.Write.Batches.Dead, s.Write.Backlog.Batches > 0 || s.Write.Batches.InHand > 0},
		{s.Store.Events, s.Store.UndurableEvents > 0},
	} {
		g := &h.stages[i]
		if g.done != seen.done || !seen.waits || !g.waits {
			g.since = now
		}
		g.done, g.waits = seen.done, seen.waits
	}
	return s
}

// broken says why the process is of no use any more: it has to be started anew.
func (h *health) broken() (reasons []string) {
	if s := h.look(time.Now()); s.Failed != "" {
		reasons = append(reasons, "nothing is recorded any more: "+s.Failed)
	}
	return reasons
}

// unready says why no events are taken now.
func (h *health) unready() (reasons []string) {
	now := time.Now()
	s := h.look(now)
	if s.Failed != "" {
		reasons = append(reasons, "nothing is recorded any more: "+s.Failed)
	}
	if s.Store.Full {
		reasons = append(reasons, "the disk is full: sources wait")
	}
	if s.Blocked != "" {
		reasons = append(reasons, "the store takes nothing for now: "+s.Blocked)
	}
	if free, ok := h.room(h.dir); ok && free < uint64(roomBytesMin) {
		reasons = append(reasons, fmt.Sprintf("the disk has %d bytes left, %v are needed", free, roomBytesMin))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.stages {
		if g := &h.stages[i]; g.waits && now.Sub(g.since) >= standsStill {
			reasons = append(reasons, fmt.Sprintf("the flow stands still at %s: work waits there, and none was done for %s", g.name, now.Sub(g.since).Round(time.Second)))
		}
	}
	if h.ending {
		reasons = append(reasons, "the server is going down")
	}
	return reasons
}

// healthz says whether the process should be kept.
func (m *Monitor) healthz(w http.ResponseWriter, r *http.Request) {
	tellHealth(w, r, m.health.broken())
}

// readyz says whether the process takes events.
func (m *Monitor) readyz(w http.ResponseWriter, r *http.Request) {
	tellHealth(w, r, m.health.unready())
}

// tellHealth answers. Why not is for those only who may read.
func tellHealth(w http.ResponseWriter, r *http.Request, reasons []string) {
	answer := struct {
		OK      bool     `json:"ok"`
		Reasons []string `json:"reasons,omitempty"`
	}{OK: len(reasons) == 0}
	if grantOf(r).Roles.Has(access.Read) {
		answer.Reasons = reasons
	}
	w.Header().Set("Content-Type", "application/json")
	if !answer.OK {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer)
}
