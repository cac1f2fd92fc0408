package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/pastcone/pastcone/event"
)

// What Verify looks at beside segments and manifest: the live file, the lock, and which events use what the string table has
// lost. Nobody's answer depends on the first two, so what is merely old in them is a note; what can not be, is a problem.

const (
	lockText    = "being written by process %d\n"
	markRetries = 3 // the writer may be in the middle of replacing it
	markRetry   = 5 * time.Millisecond
)

// checkMark reads the live file. Without one, it says 0.
func checkMark(dir fsys) (durable event.ID, err error) {
	for range markRetries {
		var p []byte
		p, err = readWhole(dir, liveName, 1<<10)
		if errors.Is(err, fs.ErrNotExist) {
			return 0, nil
		}
		le := binary.LittleEndian
		switch {
		case err != nil:
		case len(p) != markBytes || le.Uint32(p) != markMagic:
			err = corrupt("%d bytes that are none of a live file", len(p))
		case le.Uint32(p[16:]) != checksum(p[:16]):
			err = errChecksum
		case le.Uint32(p[4:]) != FormatVersion:
			err = fmt.Errorf("%w: %d", ErrVersion, le.Uint32(p[4:]))
		default:
			return event.ID(le.Uint64(p[8:])), nil
		}
		time.Sleep(markRetry)
	}
	return 0, err
}

// live holds the live file against the recording as it was found afterwards: it must not be ahead.
func (v *verifier) live(durable event.ID, err error, held bool) {
	end := v.report.End
	switch {
	case err != nil:
		v.problem(&CorruptError{File: liveName, Part: "live", Cause: err, Advice: "nothing is lost by it; the next writer makes it anew, or delete it"})
	case durable > end:
		v.problem(&CorruptError{
			File: liveName, Part: "live", Events: uint64(durable - end),
			Cause:  fmt.Errorf("it says that everything below event %d was durable, and the recording ends before %d: what is between is lost, or the file is another recording's", durable, end),
			Advice: "if it was copied from elsewhere, delete it",
		})
	case durable < end && durable > 0 && !held:
		v.note("%s: it says that everything below event %d is durable; all below %d are there. It lags, which does no harm", liveName, durable, end)
	}
}

// lock looks at the lock file, and says who writes.
func (v *verifier) lock(dir fsys) (held bool) {
	holder, held, known := dir.Holder(lockName)
	p, err := readWhole(dir, lockName, 1<<10)
	var named int
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(p) == 0:
		return held
	case err == nil:
		if n, serr := fmt.Sscanf(string(p), lockText, &named); n != 1 || serr != nil || string(p) != fmt.Sprintf(lockText, named) {
			err = corrupt("its text is %q, which no writer has written", strings.TrimSpace(string(p[:min(len(p), 60)])))
		}
	}
	switch {
	case err != nil:
		v.problem(&CorruptError{File: lockName, Part: "lock", Cause: err, Advice: "nothing is lost by it; the next writer writes it anew, or delete it if nobody writes"})
	case !known:
		v.note("%s: process %d may be writing the recording; this system does not tell", lockName, named)
	case !held:
		v.note("%s: process %d has ended without closing the recording; the next writer makes it whole", lockName, named)
	case holder != 0 && holder != named:
		v.note("%s: it names process %d, and process %d holds it", lockName, named, holder)
	default:
		v.note("process %d is writing the recording: what was there when this began was checked", named)
	}
	return held
}

// strays names files that are no part of the recording.
func (v *verifier) strays(dir fsys, m *manifest) {
	names, err := dir.Names()
	if err != nil {
		return
	}
	for _, name := range names {
		if m.stray(name) {
			v.note("%s: it is no part of the recording, and the next writer removes it", name)
		}
	}
}

func (v *verifier) note(format string, args ...any) {
	if len(v.report.Notes) < damagesMax {
		v.report.Notes = append(v.report.Notes, fmt.Sprintf(format, args...))
	}
}

// lostNames says of each text and place by which damage it is lost. Each event is counted once for each damage.
type lostNames struct {
	damages       []*CorruptError
	texts, places []int16 // index + 1 in damages; 0: it is there
	counted       []uint64
	clock         uint64
}

// newLostNames is nil if nothing is lost.
func newLostNames(lost []lostStrings) *lostNames {
	if len(lost) == 0 {
		return nil
	}
	l := &lostNames{}
	for _, s := range lost[:min(len(lost), damagesMax)] {
		n := len(l.damages)
		if n == 0 || l.damages[n-1] != s.damage {
			l.damages = append(l.damages, s.damage)
			n++
		}
		mark := func(list []int16, from, to int) []int16 {
			for len(list) < to {
				list = append(list, 0)
			}
			for i := from; i < to; i++ {
				list[i] = int16(n) // #nosec G115 -- at most damagesMax
			}
			return list
		}
		l.texts = mark(l.texts, s.text, s.textEnd)
		l.places = mark(l.places, s.place, s.placeEnd)
	}
	l.counted = make([]uint64, len(l.damages))
	return l
}

func (l *lostNames) text(id uint32) {
	if int(id) < len(l.texts) && l.texts[id] > 0 {
		l.count(int(l.texts[id]) - 1)
	}
}

func (l *lostNames) place(id uint32) {
	if int(id) < len(l.places) && l.places[id] > 0 {
		l.count(int(l.places[id]) - 1)
	}
}

func (l *lostNames) count(damage int) {
	if l.counted[damage] != l.clock {
		l.counted[damage] = l.clock
		l.damages[damage].Events++
	}
}

// uses counts an event for the damages by which names of it are lost.
func (v *verifier) uses(i int) {
	l, c := v.lost, &v.c
	if l == nil {
		return
	}
	l.clock++
	l.text(uint32(c.Stream[i].Text()))
	l.text(uint32(c.Key[i].Text()))
	l.text(uint32(c.Peer[i].Text()))
	l.text(uint32(c.Child[i].Text()))
	site := c.Site[i]
	l.place(uint32(site))
	p := v.s.table.PlaceOf(site)
	l.text(uint32(p.Func))
	l.text(uint32(p.File))
}

// knows says whether the function of a place is known.
func (l *lostNames) knows(site uint32) bool {
	return l == nil || int(site) >= len(l.places) || l.places[site] == 0
}
