package program

import (
	"sort"

	"github.com/pastcone/pastcone/event"
)

// Batch is events of one source that arrive together. Last says that the source is over with it.
type Batch struct {
	Source int // from 1
	Events []event.Event
	Last   bool
}

// Arrive cuts the events of each source, in the order in which they are to arrive, into batches of at
// most so many, and lets the sources take turns: in any order, or, if they are live, so that none falls
// behind another by more than a batch.
func Arrive(c Chooser, live bool, batchMax int, sources ...[]event.Event) (batches []Batch) {
	left := make([][]event.Event, len(sources))
	copy(left, sources)
	for {
		var busy []int
		for i, events := range left {
			if len(events) > 0 {
				busy = append(busy, i)
			}
		}
		if len(busy) == 0 {
			return batches
		}
		i := busy[choose(c, len(busy))]
		if live {
			for _, other := range busy {
				if left[other][0].Time < left[i][0].Time {
					i = other
				}
			}
		}
		n := 1 + choose(c, min(batchMax, len(left[i])))
		batches = append(batches, Batch{i + 1, left[i][:n], n == len(left[i])})
		left[i] = left[i][n:]
	}
}

func choose(c Chooser, n int) int {
	if n <= 1 {
		return 0
	}
	return c.Choose(n)
}

// Delay puts events in the order in which they arrive when each is late by up to so many ns, so that
// none comes later than that behind the latest before it.
func Delay(c Chooser, lateness int64, events []event.Event) []event.Event {
	return delay(events, func(event.Event) int64 { return int64(choose(c, int(lateness)+1)) })
}

func delay(events []event.Event, by func(event.Event) int64) []event.Event {
	type late struct {
		event.Event
		at int64
	}
	all := make([]late, len(events))
	for i, e := range events {
		all[i] = late{e, e.Time + by(e)}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].at < all[j].at })
	delayed := make([]event.Event, len(all))
	for i, l := range all {
		delayed[i] = l.Event
	}
	return delayed
}

// DelayTooLong is Delay, but about one event in so many is later than that, up to five times; not the
// spawns that Lose does not lose.
func DelayTooLong(c Chooser, lateness int64, oneIn int, events []event.Event) []event.Event {
	secret := secrets(events)
	return delay(events, func(e event.Event) int64 {
		if choose(c, oneIn) == oneIn-1 && !secret(e) {
			return lateness + int64(choose(c, 4*int(lateness)))
		}
		return int64(choose(c, int(lateness)+1))
	})
}

// Shuffle puts events in any order.
func Shuffle(c Chooser, events []event.Event) []event.Event {
	shuffled := append([]event.Event(nil), events...)
	for i := len(shuffled) - 1; i > 0; i-- {
		k := i - choose(c, i+1) // to stay in place is the plain choice
		shuffled[i], shuffled[k] = shuffled[k], shuffled[i]
	}
	return shuffled
}

// LossKind is how events get lost.
type LossKind int

// The ways to lose events.
const (
	LoseSingly LossKind = iota // each by chance
	LoseBursts                 // stretches of a stream
	LoseTails                  // what a stream did from some moment on
	LoseHeads                  // what a stream did up to some moment
	LossKinds
)

// secrets gives which events are spawns of streams that do not begin with a start. Without such a spawn it is
// nowhere to be seen that the stream was spawned at all, so nobody could know that something is missing.
func secrets(events []event.Event) func(event.Event) bool {
	secret := map[string]bool{}
	for _, e := range events {
		if e.Seq == 1 && e.Kind != event.KindStart {
			secret[e.Stream] = true
		}
	}
	return func(e event.Event) bool { return e.Kind == event.KindSpawn && secret[e.Child] }
}

// Lose takes about one in so many of the events away, and gives what is left and what is lost.
// A spawn of a stream that does not begin with a start is never lost (see secrets).
func Lose(c Chooser, kind LossKind, oneIn int, events []event.Event) (left, lost []event.Event) {
	length := map[string]uint64{}
	secret := secrets(events)
	for _, e := range events {
		length[e.Stream] = max(length[e.Stream], e.Seq)
	}
	until := map[string]uint64{} // in that stream, up to this seq
	chance := func(n int) bool { return choose(c, max(n, 2)) == max(n, 2)-1 }
	for _, e := range events {
		switch kind {
		case LoseSingly:
			if chance(oneIn) {
				until[e.Stream] = e.Seq
			}
		case LoseBursts:
			if e.Seq > until[e.Stream] && chance(4*oneIn) {
				until[e.Stream] = e.Seq + uint64(choose(c, 7))
			}
		case LoseTails:
			if e.Seq > until[e.Stream] && chance(oneIn*int(length[e.Stream])/2) {
				until[e.Stream] = length[e.Stream]
			}
		case LoseHeads:
			if e.Seq == 1 && chance(oneIn) {
				until[e.Stream] = 1 + uint64(choose(c, int(length[e.Stream])))
			}
		}
		if e.Seq <= until[e.Stream] && !secret(e) {
			lost = append(lost, e)
			continue
		}
		left = append(left, e)
	}
	return left, lost
}

// StreamWise puts events in the order of their streams: one stream after the other, each in its own
// order.
func StreamWise(c Chooser, events []event.Event) []event.Event {
	var names []string
	by := map[string][]event.Event{}
	for _, e := range events {
		if by[e.Stream] == nil {
			names = append(names, e.Stream)
		}
		by[e.Stream] = append(by[e.Stream], e)
	}
	all := make([]event.Event, 0, len(events))
	for len(names) > 0 {
		i := len(names) - 1 - choose(c, len(names)) // children before their parents is the plain choice
		all = append(all, by[names[i]]...)
		names = append(names[:i], names[i+1:]...)
	}
	return all
}
