package correlate

import (
	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// The context of a stream: "the innermost open call (or the first event), or, if later, the last receive that
// took on work since that call began, also inside calls made and returned since".
//
// stream.taken is a stack along the frames. In a frame's part of it there is one entry a channel, the last
// taken on behind the others: an older one of the same channel would never be seen again, since it is above
// it that things are undone, and undone by channel. When a call returns, its part simply becomes its caller's.

// context gives the event that the stream works for, and whether that is certain. There has to be a first
// event.
func (s *stream) context() (of *info, sure bool) {
	f := s.top()
	sure = f.bits&bitTainted == 0 && s.deeper == 0
	for i := len(s.taken); i > int(f.from); i-- {
		t := &s.taken[i-1]
		if t.bits&(bitUnsure|bitMere) != 0 {
			sure = false
		}
		if t.bits&bitMere == 0 {
			return &t.info, sure
		}
	}
	return &f.info, sure && f.bits&bitForgotten == 0
}

// rootOpen says whether a root call is open in the stream.
func (s *stream) rootOpen() belief {
	if s.sure > 0 {
		return surely
	}
	return belief{s.roots > 0, !s.has(gapped) && s.deeper == 0}
}

// idle: "a stream is idle while the correlation of its context is background, or was founded by a send of
// its own".
func (s *stream) idle(context *info, sure bool) belief {
	if context == nil {
		return surely
	}
	return belief{context.background() || context.founder == s.serial, sure && context.corrConf == event.Exact}
}

// takesOn says whether a receive takes on work. send is nil if it is not found.
func (c *Correlator) takesOn(s *stream, r *wire.Record, context *info, contextSure bool, send *info, inferred bool) belief {
	switch {
	case r.Flags&wire.FlagTakes != 0: // a source that knows better says so
		return surely
	case r.Flags&wire.FlagTakesNot != 0, r.Flags&wire.FlagEmpty != 0:
		return surelyNo
	}
	// 1. the message is of the correlation that the stream is in
	same := surelyNo
	switch {
	case send == nil:
		same = belief{false, false}
	case context != nil:
		same = belief{
			send.corr == context.corr,
			contextSure && !inferred && context.corrConf == event.Exact && send.corrConf == event.Exact,
		}
	}
	if same.is && same.sure {
		return surely
	}
	// 2. no root call is open in the stream, and the stream is idle
	free := s.rootOpen().not()
	works := s.idle(context, contextSure)
	if free.is || !free.sure {
		// 3. no root call is open in the stream, and this is a place where it waits for work
		c.got.place = placeOf(c.table, r.Site)
		works = works.or(s.waitsAt(c.got.place))
		c.got.placed = true
	}
	return same.or(free.and(works))
}

// waitsAt says whether the stream waits for work at that place.
func (s *stream) waitsAt(at uint64) belief {
	if s.rare != nil {
		for i := range s.rare.places {
			if p := &s.rare.places[i]; p.at == at {
				return p.belief
			}
		}
	}
	return belief{false, !s.has(placesOpen)}
}

// received notes what a receive with content changes: the places where the stream waits for work, and its
// context. root and idle are as they were before it.
func (c *Correlator) received(s *stream, r *wire.Record, took, root, idle belief, i *info) {
	if r.Flags&wire.FlagEmpty == 0 {
		// Behind a gap it is not certain that this is the first; but nor is it then that no root call is open.
		first := belief{!s.has(gotContent), true}
		s.flags |= gotContent
		// "it took on work here before with no root call open, while idle, or as the first message with
		// content that it ever received"
		if waits := took.and(root.not()).and(idle.or(first)); waits.is || !waits.sure {
			if !c.got.placed {
				c.got.place = placeOf(c.table, r.Site)
			}
			if s.learn(c.got.place, waits) {
				c.weigh(s)
			}
		}
	}
	switch {
	case took.is:
		t := c.takeOn(s, r.Key, false)
		t.set(i)
		if !took.sure {
			t.bits |= bitUnsure
		}
	case !took.sure:
		c.takeOn(s, r.Key, true).info = info{bits: bitMere}
	}
}

// learn notes a place where the stream waits for work, and says whether it is a new one.
func (s *stream) learn(at uint64, waits belief) bool {
	places := &s.odd().places
	for i := range *places {
		if p := &(*places)[i]; p.at == at {
			if !p.is || !p.sure {
				p.belief = belief{p.is || waits.is, waits.is && waits.sure}
			}
			return false
		}
	}
	if len(*places) == placesMax {
		s.flags |= placesOpen // the oldest is forgotten
		copy(*places, (*places)[1:])
		*places = (*places)[:placesMax-1]
	}
	*places = append(*places, waitPlace{at, waits})
	return true
}

// takeOn makes room for a context on the innermost frame.
func (c *Correlator) takeOn(s *stream, key wire.Name, mere bool) *taken {
	f := s.top()
	if len(s.taken) > int(f.from) {
		s.replace(int(f.from), len(s.taken), key, mere)
	}
	was := cap(s.taken)
	s.taken = append(s.taken, taken{key: key})
	if cap(s.taken) != was {
		c.weigh(s)
	}
	if len(s.taken) > takenAllMax || c.stateBytes > c.o.MemoryBytesMax/stateShare {
		s.bound(f, 1)
	} else {
		s.bound(f, takenMax)
	}
	return &s.taken[len(s.taken)-1]
}

// replace takes out of s.taken[low:high] what one more from that channel makes irrelevant: the older ones. Mere doubt
// leaves what it doubts.
func (s *stream) replace(low, high int, key wire.Name, mere bool) (removed int) {
	kept := low
	for i := low; i < high; i++ {
		if o := &s.taken[i]; o.key == key && (!mere || o.bits&bitMere != 0) {
			continue
		}
		if kept < i {
			s.taken[kept] = s.taken[i]
		}
		kept++
	}
	if removed = high - kept; removed > 0 {
		s.taken = append(s.taken[:kept], s.taken[high:]...)
	}
	return removed
}

// bound keeps the innermost frame's contexts few; what is dropped makes what lies below it doubtful.
func (s *stream) bound(f *frame, most int) {
	if over := len(s.taken) - int(f.from) - most; over > 0 {
		s.taken = append(s.taken[:f.from], s.taken[int(f.from)+over:]...)
		f.bits |= bitForgotten
	}
}

// handOver gives what frame n, the innermost, has taken on to its caller, which gets the control back.
func (s *stream) handOver(n int) {
	f, caller := &s.frames[n], &s.frames[n-1]
	from := int(f.from)
	if s.rare != nil {
		closed := s.rare.closed
		for i := len(closed) - 1; i >= 0 && closed[i].depth == n; i-- {
			from -= s.undo(int(caller.from), from, closed[i].key)
			if closed[i].depth--; !s.outerHas(n-1, closed[i].key) {
				s.rare.closed = append(closed[:i], closed[i+1:]...)
				closed = s.rare.closed
			}
		}
	}
	for i := from; i < len(s.taken); i++ {
		removed := s.replace(int(caller.from), from, s.taken[i].key, s.taken[i].bits&bitMere != 0)
		from, i = from-removed, i-removed
	}
	caller.bits |= f.bits & bitForgotten
	s.bound(caller, takenMax)
}

// undo takes contexts from a channel out of s.taken[low:high].
func (s *stream) undo(low, high int, key wire.Name) (removed int) {
	return s.replace(low, high, key, false)
}

// foundClosed undoes the contexts taken on from a channel, in the innermost call now, in its callers as they
// get the control back.
func (s *stream) foundClosed(key wire.Name) {
	n := len(s.frames) - 1
	s.undo(int(s.frames[n].from), len(s.taken), key)
	if !s.outerHas(n, key) {
		return
	}
	closed := &s.odd().closed
	for i := range *closed {
		if m := (*closed)[i]; m.key == key && m.depth == n {
			return
		}
	}
	if len(*closed) >= closedMax {
		s.frames[0].bits |= bitTainted
		for i := range s.frames {
			s.frames[i].bits |= bitForgotten
		}
		return
	}
	*closed = append(*closed, closedMark{key, n})
}

// outerHas says whether a caller of frame n that it hands to has a context from that channel. So no mark is ever left on a
// root call, which hands nothing over.
func (s *stream) outerHas(n int, key wire.Name) bool {
	for ; n > 0 && !s.frames[n].root(); n-- {
		for i := int(s.frames[n-1].from); i < int(s.frames[n].from); i++ {
			if s.taken[i].key == key {
				return true
			}
		}
	}
	return false
}
