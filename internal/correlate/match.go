package correlate

import (
	"bytes"
	"encoding/binary"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// meet is a place where an event meets another one.
type meet uint8

const (
	meetSpawn meet = iota
	meetSend
	meetClose
	meetRelease
	meets
)

// found is what the event at hand needs, as far as it has come.
type found struct {
	wanted, there, doubtful uint8 // a bit for each meet
	with                    [meets]info
	ends                    [meets]token // tag 0: it is no end
	slot                    int          // of the end that was looked at last
	sendAt                  int          // slot of the send's end, which the receive uses up; -1: none
	refs                    []reference
	place                   uint64 // where it is, if placed
	placed                  bool
	time                    int64 // of the call that a return refers to
}

// reference is an explicit cause.
type reference struct {
	info
	end   token
	there bool
}

func (g *found) wants(m meet) bool      { return g.wanted&(1<<m) != 0 }
func (g *found) has(m meet) bool        { return g.there&(1<<m) != 0 }
func (g *found) isDoubtful(m meet) bool { return g.doubtful&(1<<m) != 0 }

// of gives what was met there, nil if it is missing.
func (g *found) of(m meet) *info {
	if g.has(m) {
		return &g.with[m]
	}
	return nil
}

func (c *Correlator) want(m meet, end token) {
	c.got.wanted |= 1 << m
	c.got.ends[m] = end
}

func (c *Correlator) met(m meet, i *info, doubtful bool) {
	c.got.there |= 1 << m
	c.got.with[m] = *i
	if doubtful {
		c.got.doubtful |= 1 << m
	}
}

// gather finds everything that an event needs. It is false if something has not come: then the stream waits
// for it. When its wait is over, what is missing is missing.
func (c *Correlator) gather(src *source, s *stream, b *wire.Batch, r *wire.Record) bool {
	g := &c.got
	g.wanted, g.there, g.doubtful, g.sendAt, g.placed = 0, 0, 0, -1, false
	g.refs = g.refs[:0]
	if len(s.frames) == 0 && !c.gatherSpawn(src, s, b, r) {
		return false
	}
	if r.ExtLen != 0 && !c.gatherRefs(src, s, b, r) {
		return false
	}
	if r.Flags&wire.FlagUnseen != 0 {
		c.gatherUnseen(src, s, r)
		return true
	}
	switch r.Kind {
	case event.KindReceive:
		return c.gatherMessage(src, s, b, r)
	case event.KindAcquire:
		if r.Ordinal == 0 {
			return c.meetLock(src, s, b, r)
		}
		return c.meetEnd(src, s, b, r, meetRelease, src.token(endRelease, uint64(r.Key), r.Ordinal))
	}
	return true
}

// gatherUnseen is for an event of which its source says that its cause left no record: it is missing, whatever comes. It takes part
// in no order, since what it was let in by does not either; but who takes a lock uses it.
func (c *Correlator) gatherUnseen(src *source, s *stream, r *wire.Record) {
	switch {
	case r.Kind == event.KindReceive && r.Flags&wire.FlagClosed != 0:
		c.want(meetClose, token{})
	case r.Kind == event.KindReceive:
		c.want(meetSend, token{})
	case r.Kind == event.KindAcquire:
		c.want(meetRelease, token{})
		if q := c.lockOf(src, r); r.Ordinal == 0 && !q.ordinals {
			q.senders.join(s.name)
		}
	}
}

// gatherSpawn finds the spawn of a stream that begins. Only a start has to have one, but any other first event
// may: it waits, too.
func (c *Correlator) gatherSpawn(src *source, s *stream, b *wire.Batch, r *wire.Record) bool {
	k := src.token(endSpawn, uint64(s.name), 0)
	if r.Seq == 1 && r.Kind != event.KindStart && r.Kind != event.KindGap && src.surelyNotSpawned(s.name) {
		if i := c.ends.at(k); i < 0 || !c.ends.young.all[i].open() {
			return true
		}
	}
	return c.meetEnd(src, s, b, r, meetSpawn, k)
}

// surelyNotSpawned says that no spawn of that stream is to be waited for, if it does not begin with a start.
func (src *source) surelyNotSpawned(name wire.Name) bool {
	if src.spawned == nil {
		return src.marksStarts
	}
	_, spawned := src.spawned[name]
	return !spawned
}

// gatherMessage finds the send of a receive, or the close: "a send and its receive meet by (key, ordinal), else
// by message id, else FIFO".
func (c *Correlator) gatherMessage(src *source, s *stream, b *wire.Batch, r *wire.Record) bool {
	if r.Flags&wire.FlagClosed != 0 {
		return c.meetEnd(src, s, b, r, meetClose, src.token(endClose, uint64(r.Key), 0))
	}
	k, uses := c.sendToken(src, b, r)
	if k.tag == 0 {
		return c.meetFIFO(src, s, b, r)
	}
	if !c.meetEnd(src, s, b, r, meetSend, k) {
		return false
	}
	if uses && c.got.has(meetSend) {
		c.got.sendAt = c.got.slot
	}
	return true
}

// sendToken names the end where a send and its receive meet; tag 0 if they do so by order. uses says that
// there is but one receive for it.
func (c *Correlator) sendToken(src *source, b *wire.Batch, r *wire.Record) (k token, uses bool) {
	if r.Key != 0 && r.Ordinal != 0 {
		return src.token(endSend, uint64(r.Key), r.Ordinal), true
	}
	if r.ExtLen != 0 && c.ext.Decode(b.Ext(r)) == nil && len(c.ext.Message) > 0 {
		return c.textToken(src, endMessage, c.ext.Message), false
	}
	return token{}, false
}

// gatherRefs finds what an event refers to. Of a return only its call counts.
func (c *Correlator) gatherRefs(src *source, s *stream, b *wire.Batch, r *wire.Record) bool {
	g := &c.got
	_ = c.ext.Decode(b.Ext(r)) // it was looked at when it came
	causes := c.ext.Causes
	if r.Kind == event.KindReturn && len(causes) > 1 {
		causes = causes[:1]
	}
	for _, cause := range causes {
		k := c.textToken(src, endRef, cause)
		if k.global() {
			src.asks, c.asks = true, true
		}
		e, come := c.look(src, s, b, r, k)
		if !come {
			return false
		}
		ref := reference{end: k}
		if e != nil {
			ref.info, ref.there = e.info, true
			g.time = e.time
		}
		g.refs = append(g.refs, ref)
	}
	return true
}

// meetEnd finds what opened an end.
func (c *Correlator) meetEnd(src *source, s *stream, b *wire.Batch, r *wire.Record, m meet, k token) bool {
	e, come := c.look(src, s, b, r, k)
	if !come {
		return false
	}
	c.want(m, k)
	if e != nil {
		c.met(m, &e.info, r.Flags&wire.FlagInferred != 0 && m != meetSpawn)
	}
	return true
}

// look gives the end of k if it is open, nil if it is missing. come is false if it may still come: then the
// stream waits.
func (c *Correlator) look(src *source, s *stream, b *wire.Batch, r *wire.Record, k token) (e *end, come bool) {
	c.got.slot = c.ends.at(k)
	if c.got.slot >= 0 {
		if e = &c.ends.young.all[c.got.slot]; e.open() {
			return e, true
		}
	}
	over := s.has(overdue) || k.global() && (s.has(abroad) || src.over)
	if over && (e == nil || e.holder() == 0) {
		return nil, true
	}
	c.awaitsEnd(src, s, b, r, k)
	if !over {
		return nil, false
	}
	if h := c.holder(s); h == 0 || c.circle(s, h) || c.comesTooLate(s, h) {
		c.unwait(s)
		return nil, true
	}
	c.unheap(s) // it is here, and waits in its stream
	return nil, false
}

// offers lets others meet an event that has been emitted.
func (c *Correlator) offers(src *source, s *stream, b *wire.Batch, r *wire.Record, i *info) {
	switch r.Kind {
	case event.KindSend:
		if k, _ := c.sendToken(src, b, r); k.tag != 0 {
			c.openEnd(k, r, i)
		} else {
			c.offer(c.queueOfSend(src, s, r), s, r, i)
		}
	case event.KindClose:
		c.openEnd(src.token(endClose, uint64(r.Key), 0), r, i)
	case event.KindSpawn:
		if r.Child != 0 && r.Child != s.name {
			c.openEnd(src.token(endSpawn, uint64(r.Child), 0), r, i)
		}
	case event.KindRelease:
		if r.Ordinal != 0 {
			c.usesOrdinals(src, r)
			c.openEnd(src.token(endRelease, uint64(r.Key), r.Ordinal), r, i)
		} else if q := c.lockOf(src, r); !q.ordinals {
			q.senders.join(s.name)
			c.offer(q, s, r, i)
		}
	case event.KindAcquire:
		if r.Ordinal != 0 {
			c.usesOrdinals(src, r)
		}
	}
	if r.ExtLen != 0 {
		if c.ext.Decode(b.Ext(r)) == nil && len(c.ext.Ref) > 0 {
			c.openEnd(c.textToken(src, endRef, c.ext.Ref), r, i)
		}
	}
}

// openEnd opens an end: it wakes who waits for it, and pays what it owes. The first event that opens an end
// keeps it.
func (c *Correlator) openEnd(k token, r *wire.Record, i *info) {
	e := c.ends.put(k)
	if e.open() {
		return
	}
	waiters, debts := e.waiters, e.debts()
	e.waiters, e.time = 0, r.Time
	e.info.set(i)
	if debts != 0 {
		c.pay(debts, i.id, r.Flags&wire.FlagInferred != 0)
		if waiters == 0 && k.kind() == endSend {
			c.ends.drop(k)
		}
	}
	c.wakeAll(&waiters)
}

func (k token) kind() endKind { return endKind(k.tag & (1<<tagKindBits - 1)) }

// promise says that an event that waits in its stream is here: who waits for it need not give up.
func (c *Correlator) promise(src *source, s *stream, b *wire.Batch, r *wire.Record) {
	switch r.Kind {
	case event.KindSend:
		if k, _ := c.sendToken(src, b, r); k.tag != 0 {
			c.holdEnd(k, s)
		} else {
			c.offer(c.queueOfSend(src, s, r), s, r, &info{})
		}
	case event.KindClose:
		c.holdEnd(src.token(endClose, uint64(r.Key), 0), s)
	case event.KindSpawn:
		if r.Child != 0 && r.Child != s.name {
			c.holdEnd(src.token(endSpawn, uint64(r.Child), 0), s)
		}
	case event.KindRelease:
		if r.Ordinal != 0 {
			c.usesOrdinals(src, r)
			c.holdEnd(src.token(endRelease, uint64(r.Key), r.Ordinal), s)
		} else if q := c.lockOf(src, r); !q.ordinals {
			q.senders.join(s.name)
			c.offer(q, s, r, &info{})
		}
	case event.KindAcquire:
		if r.Ordinal != 0 {
			c.usesOrdinals(src, r)
		}
	}
	if r.ExtLen != 0 && c.ext.Decode(b.Ext(r)) == nil {
		if len(c.ext.Ref) > 0 {
			c.holdEnd(c.textToken(src, endRef, c.ext.Ref), s)
		}
		for _, cause := range c.ext.Causes {
			if bytes.HasPrefix(cause, globalRef) {
				src.asks, c.asks = true, true
			}
		}
	}
}

func (c *Correlator) holdEnd(k token, s *stream) {
	if e := c.ends.put(k); !e.open() && e.holder() == 0 {
		e.hold(s.index)
	}
}

// breakPromise takes back what a record promised that turned out to be a duplicate.
func (c *Correlator) breakPromise(src *source, s *stream, b *wire.Batch, r *wire.Record) {
	letGo := func(k token) {
		e := c.ends.get(k)
		if e == nil || e.open() || e.holder() != s.index {
			return
		}
		e.hold(0)
		c.wakeAll(&e.waiters)
		if e.debts() == 0 {
			c.ends.drop(k)
		}
	}
	switch r.Kind {
	case event.KindSend:
		if k, _ := c.sendToken(src, b, r); k.tag != 0 {
			letGo(k)
		} else {
			c.withdraw(c.queueOfSend(src, s, r), s, r)
		}
	case event.KindClose:
		letGo(src.token(endClose, uint64(r.Key), 0))
	case event.KindSpawn:
		letGo(src.token(endSpawn, uint64(r.Child), 0))
	case event.KindRelease:
		if r.Ordinal != 0 {
			letGo(src.token(endRelease, uint64(r.Key), r.Ordinal))
		} else {
			c.withdraw(c.lockOf(src, r), s, r)
		}
	}
	if r.ExtLen != 0 && c.ext.Decode(b.Ext(r)) == nil && len(c.ext.Ref) > 0 {
		letGo(c.textToken(src, endRef, c.ext.Ref))
	}
}

// wellEncoded says whether ext is what wire.AppendExtension writes, without allocating.
func wellEncoded(ext []byte) bool {
	for len(ext) > 0 {
		tag := ext[0]
		n, w := binary.Uvarint(ext[1:])
		if w <= 0 || tag == 0 || tag > 4 || n > uint64(len(ext)-1-w) { // #nosec G115 -- not negative
			return false
		}
		body := ext[1+w:][:n]
		if tag == 4 {
			m, v := binary.Uvarint(body)
			if v <= 0 || m > uint64(len(body)-v) { // #nosec G115 -- not negative
				return false
			}
		}
		ext = ext[1+w+int(n):] // #nosec G115 -- bounded by its length
	}
	return true
}
