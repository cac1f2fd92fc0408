package query

import (
	"math"
	"slices"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// bound is what all matches of a condition surely satisfy: the part of it that a reader can use to leave
// blocks out. It may be too wide, never too narrow. Build one with everything() and narrow it.
type bound struct {
	never            bool // nothing matches
	idMin, idMax     int64
	timeMin, timeMax int64
	kinds            uint32
	streams          choice[wire.Name]
	funcs            choice[wire.Text]
	keys             choice[wire.Name]
	correlations     choice[event.ID]
}

// choice is one of several values; the zero choice is any value at all.
type choice[T comparable] struct {
	limited bool
	values  []T
}

// choiceMax bounds how many values are looked for in the index: beyond, reading is as cheap.
const choiceMax = 256

func oneOf[T comparable](values ...T) choice[T] {
	if len(values) > choiceMax {
		return choice[T]{}
	}
	return choice[T]{true, values}
}

func (c choice[T]) and(d choice[T]) choice[T] {
	if !c.limited {
		return d
	}
	if !d.limited {
		return c
	}
	var both []T
	for _, v := range c.values {
		if slices.Contains(d.values, v) {
			both = append(both, v)
		}
	}
	return choice[T]{true, both}
}

func (c choice[T]) or(d choice[T]) choice[T] {
	if !c.limited || !d.limited {
		return choice[T]{}
	}
	either := slices.Clone(c.values)
	for _, v := range d.values {
		if !slices.Contains(either, v) {
			either = append(either, v)
		}
	}
	return oneOf(either...)
}

func everything() bound {
	return bound{idMin: math.MinInt64, idMax: math.MaxInt64, timeMin: math.MinInt64, timeMax: math.MaxInt64, kinds: math.MaxUint32}
}

func (b bound) and(c bound) bound {
	return bound{
		never: b.never || c.never,
		idMin: max(b.idMin, c.idMin), idMax: min(b.idMax, c.idMax),
		timeMin: max(b.timeMin, c.timeMin), timeMax: min(b.timeMax, c.timeMax),
		kinds:   b.kinds & c.kinds,
		streams: b.streams.and(c.streams), funcs: b.funcs.and(c.funcs), keys: b.keys.and(c.keys),
		correlations: b.correlations.and(c.correlations),
	}
}

func (b bound) or(c bound) bound {
	switch {
	case b.empty():
		return c
	case c.empty():
		return b
	}
	return bound{
		idMin: min(b.idMin, c.idMin), idMax: max(b.idMax, c.idMax),
		timeMin: min(b.timeMin, c.timeMin), timeMax: max(b.timeMax, c.timeMax),
		kinds:   b.kinds | c.kinds,
		streams: b.streams.or(c.streams), funcs: b.funcs.or(c.funcs), keys: b.keys.or(c.keys),
		correlations: b.correlations.or(c.correlations),
	}
}

// empty says that surely nothing matches.
func (b bound) empty() bool {
	none := func(limited bool, n int) bool { return limited && n == 0 }
	return b.never || b.idMin > b.idMax || b.timeMin > b.timeMax || b.kinds == 0 ||
		none(b.streams.limited, len(b.streams.values)) || none(b.funcs.limited, len(b.funcs.values)) ||
		none(b.keys.limited, len(b.keys.values)) || none(b.correlations.limited, len(b.correlations.values))
}

// prune gives the bound as a reader takes it.
func (b bound) prune() wire.Prune {
	var p wire.Prune
	if b.idMin > 0 {
		p.IDMin = event.ID(b.idMin)
	}
	if b.idMax < math.MaxInt64 && b.idMax > 0 {
		p.IDMax = event.ID(b.idMax)
	}
	if b.timeMin != math.MinInt64 {
		p.TimeMin = b.timeMin
	}
	if b.timeMax != math.MaxInt64 {
		if p.TimeMax = b.timeMax; p.TimeMax == 0 {
			p.TimeMax = 1 // 0 would be no bound
		}
	}
	if b.kinds != math.MaxUint32 {
		p.Kinds = b.kinds
	}
	p.Streams, p.Funcs, p.Keys, p.Correlations = b.streams.values, b.funcs.values, b.keys.values, b.correlations.values
	return p
}
