package correlate

import (
	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// info is what an event hands on to its effects.
type info struct {
	id       event.ID
	corr     event.ID         // the founder of its correlation
	founder  uint32           // the serial of the stream whose send that founder is; 0 if it is no send
	position uint32           // number of parents up to the founder
	corrConf event.Confidence // how sure corr is
	bits     uint8
}

// The bits of an info. What they mean beyond background depends on where the info lies.
const (
	bitBackground uint8 = 1 << iota // the correlation is no work
	bitRoot                         // of a frame: it is a root call
	bitTainted                      // of a frame: something may have happened in it that nobody saw
	bitForgotten                    // of a frame: contexts taken on in it have been forgotten
	bitUnsure                       // of a context taken on: perhaps it was not
	bitMere                         // of a context taken on: nothing but the doubt whether something was
)

// set copies i, by fields: to copy as a whole what has just been written in small pieces stalls the processor.
func (i *info) set(o *info) {
	i.id, i.corr, i.founder, i.position, i.corrConf, i.bits = o.id, o.corr, o.founder, o.position, o.corrConf, o.bits&bitBackground
}

func (i *info) background() bool { return i.bits&bitBackground != 0 }

// belief is a yes or no that may not be certain: after a loss, some facts about a stream are only likely.
// The logic is three-valued: a belief is sure if it would be the same whatever the unsure ones are.
type belief struct{ is, sure bool }

var (
	surely   = belief{true, true}
	surelyNo = belief{false, true}
)

func (a belief) or(b belief) belief {
	return belief{a.is || b.is, a.is && a.sure || b.is && b.sure || a.sure && b.sure}
}

func (a belief) and(b belief) belief { return a.not().or(b.not()).not() }

func (a belief) not() belief { return belief{!a.is, a.sure} }

// conf is how sure something is that holds as far as a is right.
func (a belief) conf() event.Confidence {
	if a.sure {
		return event.Exact
	}
	return event.Inferred
}

func confOf(sure bool) event.Confidence { return belief{sure: sure}.conf() }

// place is a function and a line, packed. The file does not matter: the function says which.
func placeOf(t *wire.Table, s wire.Site) uint64 {
	if s == 0 {
		return 0
	}
	p := t.PlaceOf(s)
	return uint64(p.Func)<<32 | uint64(p.Line)
}
