package oracle

import (
	"time"

	"github.com/pastcone/pastcone/event"
)

// place is where in a program something happens: function and line.
type place struct {
	fn   string
	line int
}

// stream is what a stream is doing: a stack of open calls on its first event.
type stream struct {
	frames []*frame // frames[0] is the first event's
	before *node    // the spawn of the stream: its context before the first event

	gotContent bool           // it has received a message with content
	waitsAt    map[place]bool // the places where it waits for work
	sure       bool           // everything that it did so far is beyond doubt
}

// frame is an open call, or the stream's first event at the bottom.
type frame struct {
	call *node
	root bool // the call is a root call
	// taken is the history of contexts since the call began, also inside calls made and returned since:
	// receives that took on work, and channels found closed.
	taken []taken
}

// taken is one receive that took on work, or one that found its channel closed.
type taken struct {
	receive *node
	key     string
	closed  bool
}

// context of a frame: "the innermost open call (or the first event), or, if later, the last receive that
// took on work since that call began". A channel found closed undoes "contexts taken on from that same
// channel, no others".
func (f *frame) context() *node {
	var left []taken
	for _, t := range f.taken {
		if !t.closed {
			left = append(left, t)
			continue
		}
		var others []taken
		for _, l := range left {
			if l.key != t.key {
				others = append(others, l)
			}
		}
		left = others
	}
	if len(left) > 0 {
		return left[len(left)-1].receive
	}
	return f.call
}

// top is the innermost open call's frame, or that of the first event; nil before it.
func (s *stream) top() *frame {
	if len(s.frames) == 0 {
		return nil
	}
	return s.frames[len(s.frames)-1]
}

// context gives the stream's context; before the first event that is the stream's spawn, if any.
func (s *stream) context() *node {
	if f := s.top(); f != nil {
		return f.context()
	}
	return s.before
}

// innermost gives the innermost open call, or the first event; before that the stream's spawn, if any.
func (s *stream) innermost() *node {
	if f := s.top(); f != nil {
		return f.call
	}
	return s.before
}

// rootOpen says whether a root call is open in the stream.
func (s *stream) rootOpen() bool {
	for _, f := range s.frames {
		if f.root {
			return true
		}
	}
	return false
}

// pass is the state of step 3.
type pass struct {
	streams map[At]*stream // by source and stream, seq 0
	nodes   map[At]*node
}

// applyRules goes over the nodes in causal order and fills in their verdicts.
func applyRules(ordered []*node) {
	p := pass{map[At]*stream{}, map[At]*node{}}
	for _, n := range ordered {
		p.nodes[n.At] = n
		id := At{n.At.Source, n.At.Stream, 0}
		s := p.streams[id]
		if s == nil {
			s = &stream{before: n.spawn, waitsAt: map[place]bool{}, sure: true}
			p.streams[id] = s
		}
		p.judge(s, n)
		p.advance(s, n)
	}
}

// isIdle: "a stream is idle while the correlation of its context is background, or was founded by a send
// of its own". A stream that has done nothing yet and was not spawned works for nobody.
func (p *pass) isIdle(s *stream, of At) bool {
	context := s.context()
	if context == nil || context.Background {
		return true
	}
	founder := p.nodes[context.Founder]
	return founder.Event.Kind == event.KindSend && founder.At.Source == of.Source && founder.At.Stream == of.Stream
}

// judge gives n its parent, its further edges, its founder and its duration.
func (p *pass) judge(s *stream, n *node) {
	e := n.Event
	n.Sure = s.sure
	var further []Cause
	add := func(m meeting, kind event.EdgeKind) {
		if m.wanted {
			further = append(further, edge(m, kind))
		}
	}

	// Whom the table gives as parent.
	parent, kind, hasParent := s.context(), event.EdgeContext, s.context() != nil
	meets := func() meeting { // how the parent was found
		if kind == event.EdgeMessage {
			return n.send
		}
		return meeting{with: parent}
	}
	n.idle = p.isIdle(s, n.At)
	rootOpen := s.rootOpen()
	foundsWork := false
	switch e.Kind {
	case event.KindReceive:
		n.Took = p.takesOn(s, n)
		if n.Took {
			parent, kind, hasParent = n.send.with, event.EdgeMessage, true
			foundsWork = n.send.with == nil // "no parent, gap, and it founds work"
		} else {
			add(n.send, event.EdgeMessage)
		}
		add(n.close, event.EdgeClose)
	case event.KindAcquire:
		add(n.release, event.EdgeLock)
	case event.KindSend:
		// "by a send with content from an idle stream, whose parent then is the innermost open call"
		if !e.Empty && n.idle {
			foundsWork, parent = true, s.innermost()
		}
	}
	if n.prev == nil && (n.spawn != nil || e.Kind == event.KindStart) {
		if n.Took {
			add(n.send, event.EdgeMessage)
		}
		parent, kind, hasParent = n.spawn, event.EdgeSpawn, true // "a start whose spawn is missing has a gap edge"
	}

	// What the source says about causes.
	explicit := false // an explicit cause is found
	switch {
	case e.Kind == event.KindReturn:
		if call := s.callOf(n); call != nil {
			parent, kind, hasParent = call, event.EdgeReturn, true
			n.Duration = max(0, time.Duration(e.Time-call.Event.Time))
		} else if len(n.referred) > 0 && n.referred[0] == nil && !isGlobal(e.Cause[0]) {
			further = append(further, edge(meeting{}, event.EdgeExplicit))
		}
	case e.Kind == event.KindWake:
		further = append(further, n.explicit(0, event.EdgeWake)...)
	case len(n.referred) > 0:
		rest := 0 // of the causes, from here on, are further edges
		cause := n.referred[0]
		if cause != nil {
			explicit = true
			if n.Took || kind == event.EdgeSpawn { // an edge that is no context stays
				further = append([]Cause{edge(meets(), kind)}, further...)
			}
			parent, kind, hasParent = cause, event.EdgeExplicit, true
			rest = 1
			foundsWork = foundsWork && n.Took && n.send.with == nil
			// "by a send with content whose explicit cause is background (a timer's firing)"
			if e.Kind == event.KindSend && !e.Empty && parent.Background {
				foundsWork = true
			}
			// "by a root whose global cause is background, unless a root call is open in the stream"
			if e.Root && isGlobal(e.Cause[0]) && parent.Background {
				foundsWork = !rootOpen
			}
		} else if isGlobal(e.Cause[0]) {
			// "a global reference that no source has is no loss": it is as if there were none, but a root has no parent then
			if e.Root && kind == event.EdgeContext && !rootOpen {
				parent, hasParent = nil, false
			}
		} else if e.Root && kind != event.EdgeSpawn {
			parent, kind = nil, event.EdgeExplicit // "the parent is the context (of a root: none)"
			rest, hasParent = 1, true
		}
		further = append(further, n.explicit(rest, event.EdgeExplicit)...)
	}

	// "an event that its source declares a root, unless a root call is open in the stream (middleware) or
	// its explicit cause is found"
	if e.Root && !rootOpen && !explicit {
		foundsWork = true
	}

	if hasParent {
		n.HasParent = true
		n.Edges = append(n.Edges, edge(meets(), kind))
	}
	n.Edges = append(n.Edges, further...)
	if e.Inferred {
		n.inferredBySource()
	}
	if parent != nil {
		n.Parent = parent.At
	}
	switch {
	case foundsWork:
		n.Founder, n.Background = n.At, false
	case parent == nil:
		n.Founder, n.Background = n.At, true
	case kind == event.EdgeSpawn && parent.Background:
		n.Founder, n.Background = n.At, true // "by the start of a stream spawned from background"
	default:
		n.Founder, n.Background, n.Position = parent.Founder, parent.Background, parent.Position+1
	}
	if n.HasParent && (n.Edges[0].Missing || n.Edges[0].Inferred || !p.nodes[n.Parent].Sure) {
		n.Sure = false
	}
	if n.mayTakeOn() && (n.send.with == nil || n.send.inferred || e.Inferred || !n.send.with.Sure) {
		n.Sure = false // whether it took on work rests on a message that is not sure
	}
	if len(n.referred) > 0 && n.referred[0] == nil && e.Kind != event.KindWake {
		n.Sure = false // its parent is missing
	}
}

// explicit gives the edges from the causes that the source names, from one of them on. A global one that is missing has none.
func (n *node) explicit(from int, kind event.EdgeKind) (edges []Cause) {
	for i := from; i < len(n.referred); i++ {
		if n.referred[i] != nil || !isGlobal(n.Event.Cause[i]) {
			edges = append(edges, edge(meeting{with: n.referred[i]}, kind))
		}
	}
	return edges
}

// inferredBySource marks what the source says that it has inferred itself.
func (n *node) inferredBySource() {
	for i := range n.Edges {
		switch c := &n.Edges[i]; c.Kind {
		case event.EdgeMessage, event.EdgeClose, event.EdgeWake, event.EdgeLock:
			c.Inferred = !c.Missing
		}
	}
}

// edge gives the edge from a cause, which may be missing.
func edge(m meeting, kind event.EdgeKind) Cause {
	if m.with == nil {
		return Cause{Missing: true, Kind: kind}
	}
	return Cause{From: m.with.At, Kind: kind, ByOrder: m.byOrder, Inferred: m.inferred}
}

// mayTakeOn says whether the rules are asked about this receive: a message with content, and a source
// that does not know better.
func (n *node) mayTakeOn() bool {
	e := n.Event
	return e.Kind == event.KindReceive && !e.Closed && !e.Empty && e.Takes == nil || n.Took
}

// takesOn says whether a receive takes on work.
func (p *pass) takesOn(s *stream, n *node) bool {
	e := n.Event
	if e.Closed {
		return false
	}
	if e.Takes != nil {
		return *e.Takes
	}
	if e.Empty {
		return false // "an element of size zero, a discarded value and a close have none"
	}
	send := n.send.with
	context := s.context()
	// 1. "the message is of the correlation that the stream is in"
	if send != nil && context != nil && send.Founder == context.Founder {
		return true
	}
	if s.rootOpen() {
		return false
	}
	// 2. "no root call is open in the stream, and the stream is idle"
	if p.isIdle(s, n.At) {
		return true
	}
	// 3. "no root call is open in the stream, and this is a place where it waits for work"
	return s.waitsAt[place{e.Func, e.Line}]
}

// callOf gives the call that a return returns from: by reference, else the innermost open one.
func (s *stream) callOf(n *node) *node {
	if len(n.referred) > 0 {
		return n.referred[0]
	}
	if f := s.top(); f != nil && len(s.frames) > 1 {
		return f.call
	}
	return nil
}

// advance changes what the stream is doing by what n did.
func (p *pass) advance(s *stream, n *node) {
	e := n.Event
	if n.prev == nil {
		s.frames = []*frame{{call: n}}
	}
	switch e.Kind {
	case event.KindCall:
		s.frames = append(s.frames, &frame{call: n, root: e.Root})
	case event.KindReturn:
		s.leave(n)
	case event.KindExit:
		s.frames = s.frames[:1]
	case event.KindReceive:
		p.received(s, n)
	}
	s.sure = s.sure && n.Sure
}

// leave closes the call that n returns from, and those inside it that never returned. Each hands what it
// has taken on to its caller, a root call nothing.
func (s *stream) leave(n *node) {
	call := s.callOf(n)
	open := 0
	for i := 1; i < len(s.frames); i++ {
		if s.frames[i].call == call {
			open = i
		}
	}
	for open > 0 && len(s.frames) > open {
		f := s.top()
		s.frames = s.frames[:len(s.frames)-1]
		if !f.root {
			s.top().taken = append(s.top().taken, f.taken...)
		}
	}
}

// received notes what a receive changes: the context, and the places where the stream waits for work.
func (p *pass) received(s *stream, n *node) {
	e := n.Event
	if e.Closed {
		s.top().taken = append(s.top().taken, taken{key: e.Key, closed: true})
		return
	}
	first := !e.Empty && !s.gotContent
	if n.Took {
		// "it took on work here before with no root call open, while idle, or as the first message with
		// content that it ever received"
		if !s.rootOpen() && (n.idle || first) {
			s.waitsAt[place{e.Func, e.Line}] = true
		}
		s.top().taken = append(s.top().taken, taken{receive: n, key: e.Key})
	}
	s.gotContent = s.gotContent || !e.Empty
}
