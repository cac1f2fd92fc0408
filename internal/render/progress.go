package render

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress shows how far long work has come: one line that is written over, on a terminal only. Its methods are safe for
// concurrent use and cheap enough to be called often.
type Progress struct {
	w    io.Writer // nil: nothing is shown
	name string

	mu    sync.Mutex
	began time.Time
	shown time.Time
}

// progressEvery is the least time between two pictures.
const progressEvery = 100 * time.Millisecond

// NewProgress begins a piece of work. Nothing is shown if w is no terminal.
func NewProgress(w io.Writer, terminal bool, name string) *Progress {
	p := &Progress{name: name, began: time.Now()}
	if terminal {
		p.w = w
	}
	return p
}

// Set shows that done of all bytes are done (0: unknown), with the rate and what else there is to say.
func (p *Progress) Set(done, all int64, also string) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.shown) < progressEvery {
		return
	}
	p.shown = now
	text := p.name
	if all > 0 {
		text += fmt.Sprintf(" %3d %%", min(100, 100*done/all))
	}
	if done > 0 {
		text += fmt.Sprintf(", %.0f MB/s", float64(done)/max(now.Sub(p.began).Seconds(), 0.001)/1e6)
	}
	fmt.Fprintf(p.w, "\r\x1b[K%s, %s", text, also)
}

// End takes the line away.
func (p *Progress) End() {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprint(p.w, "\r\x1b[K")
}
