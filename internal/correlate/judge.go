package correlate

import (
	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// verdict is what the rules give for the event at hand.
type verdict struct {
	parent *info // nil: none, or missing
	kind   event.EdgeKind
	conf   event.Confidence
	p      float32 // if conf is inferred

	founds   bool // work
	foundsBy event.Confidence
	duration int64
}

// How likely it is that what is inferred is right: the shares that were right on made-up programs of which 1 % of the
// events had been lost, in all the ways in which the oracle loses them. The accuracy command measures them anew, prints
// them beside these, and fails if they differ by much. Of what a source itself has guessed nothing can be measured here; its
// figure is a convention.
const (
	pTainted = 0.91 // the context, in a call in which something is missing
	pDoubt   = 0.88 // the context, where a message may have been taken on that was not, as far as is known
	pReturn  = 0.97 // a return of such a call, by its function
	pTook    = 0.99 // a message that was taken on, as far as is known
	pOrder   = 0.89 // a message that was met in the order of time
	pLock    = 0.87 // a release that was met in the order of time
	pGuessed = 0.9  // what the source has guessed
)

// handle handles the next event of a stream. It is false if the event has to wait.
func (c *Correlator) handle(src *source, s *stream, b *wire.Batch, r *wire.Record) bool {
	if r.Kind == event.KindGap {
		return c.declaredGap(src, s, b, r)
	}
	if len(s.frames) == 0 && s.next > 1 {
		c.gatherForGap(src, s, b, r)
		c.gap(src, s, b, r, 0) // it goes on, and what it did before is not known
	}
	if s.isPlain(r) {
		c.plain(src, s, b, r)
		return true
	}
	if !c.gather(src, s, b, r) {
		return false
	}
	g := &c.got
	id := c.nextID
	first := len(s.frames) == 0

	// The context before the event; before the first event that is the stream's spawn, if any.
	var context *info
	sure := true
	if !first {
		context, sure = s.context()
	} else {
		context = g.of(meetSpawn)
	}
	v := verdict{parent: context, kind: event.EdgeContext, conf: confOf(sure), p: pTainted}
	if context == nil {
		v.kind = event.EdgeInvalid
		if c.evicting || c.ends.forgotSpawn(src, s.name) {
			v.conf = event.Inferred // that nobody spawned it is not known
		}
	}

	// Whom the kind of event gives as parent.
	took, root, idle := surelyNo, belief{}, belief{}
	call := 0 // the frame that a return closes
	switch r.Kind {
	case event.KindReceive:
		if r.Flags&wire.FlagClosed == 0 {
			root, idle = s.rootOpen(), s.idle(context, sure)
			took = c.takes(s, r, &v, context, sure)
		}
	case event.KindSend:
		// "by a send with content from an idle stream, whose parent then is the innermost open call"
		if r.Flags&wire.FlagEmpty == 0 {
			idle = s.idle(context, sure)
			c.sends(s, &v, idle, context, sure)
		}
	case event.KindReturn:
		if len(g.refs) == 0 {
			call = c.returns(s, r, &v)
		}
	}
	if first && (g.has(meetSpawn) || r.Kind == event.KindStart) {
		c.begins(&v)
	}
	base := v.kind // of the parent without explicit causes

	// What the source says about causes.
	rest := g.refs
	explicit := false // a cause is found in place of the context
	switch {
	case len(g.refs) == 0:
	case r.Kind == event.KindReturn:
		call = c.returnsFrom(s, r, &v)
		if g.refs[0].there {
			rest = nil
		}
	case r.Kind == event.KindWake:
	case rest[0].there:
		explicit = true
		v.parent, v.kind, v.conf = &rest[0].info, event.EdgeExplicit, event.Exact
		c.caused(s, r, &v, took)
		rest = rest[1:]
	case rest[0].end.global():
		// "a global reference that no source has is no loss": perhaps the other side is not recorded, perhaps it is late.
		if r.Flags&wire.FlagRoot != 0 && base == event.EdgeContext && !s.rootOpen().is {
			v.parent, v.kind = nil, event.EdgeInvalid
		}
		if v.conf == event.Exact {
			v.conf, v.p = event.Inferred, pGuessed
		}
		v.foundsBy = max(v.foundsBy, event.Inferred)
	case r.Flags&wire.FlagRoot != 0 && base != event.EdgeSpawn, v.kind == event.EdgeInvalid:
		// "the parent is the context (of a root, and of a span: none)"
		v.parent, v.kind, v.conf, v.foundsBy = nil, event.EdgeExplicit, event.Gap, event.Gap
		rest = rest[1:]
	default: // "a gap edge, and the parent is the context"
		v.conf, v.foundsBy = max(v.conf, event.Inferred), event.Gap
	}

	// "an event that its source declares a root, unless a root call is open in the stream (middleware) or its
	// explicit cause is found"
	if r.Flags&wire.FlagRoot != 0 && !explicit {
		open := s.rootOpen()
		v.founds = v.founds || !open.is
		v.foundsBy = max(v.foundsBy, open.conf())
	}

	row := c.emit(src, s, b, r, &v)
	i := &c.made
	edges := len(c.block.Edges)
	if g.wanted != 0 {
		c.further(r, &v, base, explicit, first)
	}
	kind := event.EdgeExplicit
	if r.Kind == event.KindWake {
		kind = event.EdgeWake
	}
	for n := range rest {
		switch ref := &rest[n]; {
		case ref.there:
			c.edge(&ref.info, kind, r.Flags&wire.FlagInferred != 0 && kind == event.EdgeWake, pGuessed)
		case ref.end.global():
			c.owes(ref.end, id, kind)
		default:
			c.missing(ref.end, id, kind)
		}
	}
	if v.kind == event.EdgeExplicit && v.parent == nil {
		c.owes(g.refs[0].end, id, event.EdgeExplicit)
	}
	row.EdgeOff, row.EdgeLen = uint32(edges), uint32(len(c.block.Edges)-edges) // #nosec G115 -- bounded by the block
	if row.EdgeLen == 0 {
		row.EdgeOff = 0
	}
	row.Duration = v.duration

	c.consume(s)
	c.advanceStream(s, r, first, call, took, root, idle, i)
	if offerKinds>>r.Kind&1 != 0 || r.ExtLen != 0 {
		c.offers(src, s, b, r, i)
	}
	c.sealFull()
	return true
}

// The kinds of events that meet nobody and found nothing, if they refer to nothing and are no roots; and those
// that others can meet, if they have no reference.
const (
	plainKinds = 1<<event.KindCall | 1<<event.KindReturn | 1<<event.KindState | 1<<event.KindError | 1<<event.KindLog | 1<<event.KindMetric
	offerKinds = 1<<event.KindSend | 1<<event.KindClose | 1<<event.KindSpawn | 1<<event.KindRelease | 1<<event.KindAcquire
)

// takes gives a receive its parent.
func (c *Correlator) takes(s *stream, r *wire.Record, v *verdict, context *info, sure bool) (took belief) {
	g := &c.got
	send := g.of(meetSend)
	doubtful := g.isDoubtful(meetSend)
	took = c.takesOn(s, r, context, sure, send, doubtful)
	if r.Flags&wire.FlagInferred != 0 {
		took.sure = took.sure && !took.is // "as is every context after it in that goroutine"
	}
	switch {
	case took.is && send != nil:
		v.parent, v.kind, v.conf = send, event.EdgeMessage, max(took.conf(), belief{sure: !doubtful}.conf())
		v.p = pTook
		if doubtful {
			v.p = orderOrGuess(r, pOrder)
		}
	case took.is:
		// "no parent, gap, and it founds work, so that the work to come is not put on the last job's account"
		v.parent, v.kind, v.conf = nil, event.EdgeMessage, event.Gap
		v.founds, v.foundsBy = true, event.Gap
	case !took.sure && v.kind != event.EdgeInvalid:
		v.conf, v.p = max(v.conf, event.Inferred), pDoubt
	case !took.sure:
		v.conf, v.p = event.Inferred, pDoubt
	}
	return took
}

// sends gives a send with content its parent.
func (c *Correlator) sends(s *stream, v *verdict, idle belief, context *info, sure bool) {
	v.foundsBy = idle.conf()
	if !idle.is {
		if !idle.sure {
			v.conf = max(v.conf, c.innermostConf(s, context))
		}
		return
	}
	v.founds = true
	if len(s.frames) == 0 {
		return
	}
	top := s.top()
	v.parent, v.conf = &top.info, confOf(!top.tainted() && s.deeper == 0 && (idle.sure || sure && context.id == top.id))
}

// innermostConf is exact where the innermost call and the context are the same: then it does not matter
// which of them is asked for.
func (c *Correlator) innermostConf(s *stream, context *info) event.Confidence {
	return confOf(len(s.frames) == 0 || context.id == s.top().id)
}

// returns gives a return without a reference its call: LIFO in the stream.
func (c *Correlator) returns(s *stream, r *wire.Record, v *verdict) (call int) {
	if s.deeper > 0 {
		s.deeper--
		v.conf = event.Inferred
		return 0
	}
	call, sure := c.callOf(s, r)
	if call > 0 {
		f := &s.frames[call]
		v.parent, v.kind, v.conf = &f.info, event.EdgeReturn, confOf(sure)
		v.p, v.duration = pReturn, max(0, r.Time-f.time)
	}
	return call
}

// returnsFrom gives a return the call that it refers to.
func (c *Correlator) returnsFrom(s *stream, r *wire.Record, v *verdict) (call int) {
	ref := &c.got.refs[0]
	if !ref.there {
		v.conf = max(v.conf, event.Inferred)
		if c.ends.forgotten > 0 {
			s.taint() // perhaps it closes one of the calls that are open, whose name has been forgotten
		}
		return 0
	}
	v.parent, v.kind, v.conf = &ref.info, event.EdgeReturn, event.Exact
	v.duration = max(0, r.Time-c.got.time)
	return s.frameOf(ref.id)
}

// begins gives the first event of a spawned stream its parent.
func (c *Correlator) begins(v *verdict) {
	v.parent, v.kind, v.conf = c.got.of(meetSpawn), event.EdgeSpawn, event.Exact
	if v.parent == nil {
		v.conf = event.Gap
	}
}

// caused says what an explicit cause means for the founding of work.
func (c *Correlator) caused(s *stream, r *wire.Record, v *verdict, took belief) {
	v.founds = v.founds && took.is && !c.got.has(meetSend)
	if !v.founds {
		v.foundsBy = event.Exact
	}
	// "by a send with content whose explicit cause is background (a timer's firing)"
	if r.Kind == event.KindSend && r.Flags&wire.FlagEmpty == 0 && v.parent.background() {
		v.founds, v.foundsBy = true, v.parent.corrConf
	}
	// "by a root whose global cause is background, unless a root call is open in the stream": a request of another process
	if r.Flags&wire.FlagRoot != 0 && c.got.refs[0].end.global() && v.parent.background() {
		open := s.rootOpen()
		v.founds, v.foundsBy = !open.is, max(v.parent.corrConf, open.conf())
	}
}

// further appends the further edges but the explicit ones.
func (c *Correlator) further(r *wire.Record, v *verdict, base event.EdgeKind, explicit, first bool) {
	g, id := &c.got, c.nextID-1
	if explicit && base == event.EdgeSpawn {
		c.metEdge(r, meetSpawn, id, event.EdgeSpawn)
	}
	if g.wants(meetSend) && (v.kind != event.EdgeMessage) {
		c.metEdge(r, meetSend, id, event.EdgeMessage)
	}
	if g.wants(meetClose) {
		c.metEdge(r, meetClose, id, event.EdgeClose)
	}
	if g.wants(meetRelease) {
		c.metEdge(r, meetRelease, id, event.EdgeLock)
	}
	// What the parent's edge is missing.
	if v.parent == nil && v.kind == event.EdgeMessage {
		c.owes(g.ends[meetSend], id, event.EdgeMessage)
	}
	if first && g.wants(meetSpawn) && !g.has(meetSpawn) && !(explicit && base == event.EdgeSpawn) {
		c.owes(g.ends[meetSpawn], id, event.EdgeSpawn)
	}
}

// metEdge appends the edge of a meeting, or that it is missing.
func (c *Correlator) metEdge(r *wire.Record, m meet, id event.ID, kind event.EdgeKind) {
	g := &c.got
	if with := g.of(m); with != nil {
		p := float32(pOrder)
		if kind == event.EdgeLock {
			p = pLock
		}
		c.edge(with, kind, g.isDoubtful(m), orderOrGuess(r, p))
	} else {
		c.missing(g.ends[m], id, kind)
	}
}

// orderOrGuess gives the probability of a meeting that is not certain.
func orderOrGuess(r *wire.Record, order float32) float32 {
	if r.Flags&wire.FlagInferred != 0 {
		return pGuessed
	}
	return order
}

// consume takes back what nobody else can meet.
func (c *Correlator) consume(s *stream) {
	g := &c.got
	if g.sendAt >= 0 {
		c.ends.remove(&c.ends.young, g.sendAt)
	}
	if g.has(meetSpawn) {
		c.ends.drop(g.ends[meetSpawn])
	}
}

// advanceStream changes what the stream is doing by what the event did.
func (c *Correlator) advanceStream(s *stream, r *wire.Record, first bool, call int, took, root, idle belief, i *info) {
	s.next++
	if first {
		c.push(s, i, 0, r)
	}
	switch r.Kind {
	case event.KindCall:
		c.call(s, r, i)
	case event.KindReturn:
		if call > 0 {
			s.leave(call)
		}
	case event.KindExit:
		s.exit()
		c.exited(s, r.Time)
	case event.KindReceive:
		if r.Flags&wire.FlagClosed != 0 {
			s.foundClosed(r.Key)
			c.weigh(s)
		} else {
			c.received(s, r, took, root, idle, i)
		}
	}
}
