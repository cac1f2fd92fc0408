package capture

import (
	"encoding/binary"
	"time"

	"github.com/pastcone/pastcone/internal/capture"
)

// The budget of calls: a function that is called very often, and in which nothing else happens, fills the recording with what nobody
// looks at. Beyond its budget it is silent: the program counts its calls and leaves no record of them. When it is calm again, it is
// recorded again. Both are in the recording, with the counts.
//
// A function is silenced as soon as it has used up what a window allows: when a hot function calls another, the inner one is silent within
// a pass or two, and what is left of the outer one is a leaf from then on.
const (
	budgetWindow     = 100 * time.Millisecond
	budgetLeafShare  = 16 // a function is silenced if at most one of so many of its calls had something in it
	budgetCalmShare  = 2  // it is calm below that share of its budget,
	budgetCalmWindow = 10 // for so many windows
	silenceEvery     = time.Second
)

// budget watches how often each function is called.
type budget struct {
	ring     *Ring
	most     float64  // calls a second; negative: no bound
	calls    []uint32 // of each function, in this window
	leaves   []uint32 // of them: in which nothing was recorded
	busy     []uint32 // functions with calls in this window
	since    time.Time
	reported time.Time
	silent   map[uint32]*silentFunction
	ever     int // functions that were ever silent
	was      map[uint32]bool
}

// silentFunction is a function that is silent, or was, and has counts that are not in the file yet.
type silentFunction struct {
	calls, ticks     uint64 // in the ring's table when they were last written to the file
	windowCalls      uint64 // in the ring's table at the last window
	calm             int    // windows
	silent, announce bool
}

func newBudget(r *Ring, callsPerSecond int) *budget {
	return &budget{
		ring: r, most: float64(callsPerSecond), silent: map[uint32]*silentFunction{}, was: map[uint32]bool{},
		calls: make([]uint32, r.functions), leaves: make([]uint32, r.functions),
	}
}

func (b *budget) call(function, times uint32) {
	if function < uint32(len(b.calls)) { // #nosec G115 -- bounded by FunctionsMax
		if b.calls[function] == 0 {
			b.busy = append(b.busy, function)
		}
		b.calls[function] += times
	}
}

func (b *budget) leaf(function, times uint32) {
	if function < uint32(len(b.leaves)) { // #nosec G115 -- bounded by FunctionsMax
		b.leaves[function] += times
	}
}

// turn ends the window if it is over, and writes what silent functions did; with nothing to write to, that is left for later.
func (b *budget) turn(now time.Time, to *spool) error {
	if b.since.IsZero() {
		b.since, b.reported = now, now
		return nil
	}
	window := now.Sub(b.since)
	if window < budgetWindow {
		if b.judge(budgetWindow) && to != nil {
			return b.write(now, to)
		}
		return nil
	}
	b.since = now
	allowed := b.most * window.Seconds()
	changed := b.judge(window)
	for _, f := range b.busy {
		b.calls[f], b.leaves[f] = 0, 0
	}
	b.busy = b.busy[:0]
	for f, s := range b.silent {
		calls, _ := b.ring.silenced(int(f))
		in := calls - s.windowCalls
		s.windowCalls = calls
		if !s.silent {
			continue
		}
		if s.calm++; float64(in) > allowed/budgetCalmShare {
			s.calm = 0
		}
		if s.calm >= budgetCalmWindow {
			b.ring.setFunction(int(f), capture.FunctionOn)
			s.silent, s.announce, changed = false, true, true
		}
	}
	if to != nil && (changed || now.Sub(b.reported) >= silenceEvery) {
		b.reported = now
		return b.write(now, to)
	}
	return nil
}

// judge silences the functions that have used up in this window what one of that length allows.
func (b *budget) judge(window time.Duration) (changed bool) {
	allowed := b.most * window.Seconds()
	for _, f := range b.busy {
		calls, leaves := b.calls[f], b.leaves[f]
		if b.most < 0 || float64(leaves) <= allowed || calls-min(leaves, calls) > calls/budgetLeafShare {
			continue
		}
		changed = b.silence(f) || changed
		b.calls[f], b.leaves[f] = 0, 0 // what comes late is of its last moments
	}
	return changed
}

// silence makes a function silent, if it is not.
func (b *budget) silence(f uint32) bool {
	s := b.silent[f]
	if s == nil {
		s = &silentFunction{}
		s.calls, s.ticks = b.ring.silenced(int(f))
		if !b.was[f] {
			b.was[f] = true
			b.ever++
			s.calls, s.ticks = 0, 0
		}
		s.windowCalls = s.calls
		b.silent[f] = s
	}
	if s.silent {
		return false
	}
	s.silent, s.announce, s.calm = true, true, 0
	b.ring.setFunction(int(f), capture.FunctionSilent)
	return true
}

// copy writes all that silent functions did so far into another file, and leaves what is to be written as it is.
func (b *budget) copy(now time.Time, to *spool) error {
	var entries []silence
	for f, s := range b.silent {
		calls, ticks := b.ring.silenced(int(f))
		entries = append(entries, silence{f, s.silent, calls, ticks})
	}
	return writeSilence(now, entries, to)
}

// write writes what has changed since it was written last.
func (b *budget) write(now time.Time, to *spool) error {
	var entries []silence
	for f, s := range b.silent {
		calls, ticks := b.ring.silenced(int(f))
		if calls != s.calls || s.announce {
			entries = append(entries, silence{f, s.silent, calls - s.calls, ticks - s.ticks})
			s.calls, s.ticks, s.announce = calls, ticks, false
		} else if !s.silent {
			delete(b.silent, f)
		}
	}
	return writeSilence(now, entries, to)
}

func writeSilence(now time.Time, entries []silence, to *spool) error {
	const most = frameBytesMax/silenceBytes - 1
	for len(entries) > 0 {
		n := min(len(entries), most)
		err := to.add(frameSilence, func(dst []byte) []byte {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(now.UnixNano())) // #nosec G115 -- a time
			for i := range entries[:n] {
				dst = entries[i].append(dst)
			}
			return dst
		})
		if err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}
