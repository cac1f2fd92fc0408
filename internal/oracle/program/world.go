package program

import (
	"fmt"
	"iter"

	"github.com/pastcone/pastcone/event"
)

// world is the simulated machine: streams that take turns, a clock, and the events so far.
//
// A stream's body is ordinary Go code in a coroutine. It gives up its turn before each event and
// while what it waits for is not there; the world then lets one of those that can go on do so.
type world struct {
	chooser Chooser
	shape   Shape

	clock   int64
	names   int
	streams []*stream
	current *stream

	events  []event.Event
	intents []string
	got     map[int]int
	refs    []string // names of events so far, for wakes
}

// stream is a simulated goroutine.
type stream struct {
	w     *world
	name  string
	seq   uint64
	job   string // whom it works for, as its author means it
	ready func() bool
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
	over  bool
	// answered says that it has received a message with content in the midst of some work. That such a
	// message's context outlives the channel that the work came from is a limit of the rules.
	answered bool
}

func newWorld(c Chooser, s Shape) *world {
	return &world{chooser: c, shape: s, clock: 1_700_000_000_000_000_000, got: map[int]int{}}
}

// choose gives one of 0 … n-1.
func (w *world) choose(n int) int {
	if n <= 1 {
		return 0
	}
	return w.chooser.Choose(n)
}

// oneIn is true once in n times; false is the plain choice.
func (w *world) oneIn(n int) bool { return w.choose(n) == n-1 }

// has says whether programs may do that.
func (w *world) has(f Feature) bool { return w.shape.Features&f != 0 }

// cutOff unwinds a stream's body at the end of the simulation.
type cutOff struct{}

// begin makes a stream out of a body. It runs when the world lets it.
func (w *world) begin(name, job string, body func(*stream)) *stream {
	s := &stream{w: w, name: name, job: job}
	s.next, s.stop = iter.Pull(func(yield func(struct{}) bool) {
		s.yield = yield
		defer func() {
			s.over = true
			if r := recover(); r != nil {
				if _, ok := r.(cutOff); !ok {
					panic(r)
				}
			}
		}()
		body(s)
	})
	w.streams = append(w.streams, s)
	return s
}

// run lets the streams take turns until none can go on, or there are enough events.
func (w *world) run() {
	w.begin("main", "", w.main)
	defer func() {
		for _, s := range w.streams {
			s.stop()
		}
	}()
	for len(w.events) < w.shape.EventsMax {
		alive, able := w.streams[:0], []*stream(nil)
		for _, s := range w.streams {
			if s.over {
				continue
			}
			alive = append(alive, s)
			if s.ready == nil || s.ready() {
				if s == w.current { // to go on is the plain choice
					able = append([]*stream{s}, able...)
				} else {
					able = append(able, s)
				}
			}
		}
		w.streams = alive
		if len(able) == 0 {
			return
		}
		w.current = able[w.choose(len(able))]
		w.current.next()
	}
}

// await gives up the turn until ready.
func (s *stream) await(ready func() bool) {
	s.ready = ready
	if !s.yield(struct{}{}) {
		panic(cutOff{})
	}
	s.ready = nil
}

// emit appends an event of this stream and gives its index.
func (s *stream) emit(e event.Event) int {
	w := s.w
	s.seq++
	w.clock += 1 + int64(uint64(len(w.events))*2654435761%900)
	e.Stream, e.Seq, e.Time = s.name, s.seq, w.clock
	w.events = append(w.events, e)
	w.intents = append(w.intents, s.job)
	return len(w.events) - 1
}

// turn lets others go first, then emits.
func (s *stream) turn(e event.Event) int {
	s.await(nil)
	return s.emit(e)
}

// named gives an event a name, now and then, or always, so that others can refer to it.
func (s *stream) named(i int) string {
	e := &s.w.events[i]
	if e.Ref == "" {
		e.Ref = fmt.Sprintf("r:%s#%d", e.Stream, e.Seq)
		s.w.refs = append(s.w.refs, e.Ref)
	}
	return e.Ref
}

// step is a plain event in a function.
func (s *stream) step(kind event.Kind, fn string) int {
	return s.turn(event.Event{Kind: kind, Func: fn, Line: 3, Data: []byte(fmt.Sprintf(`{"n":%d}`, s.seq))})
}

// in runs body inside a call; the call and the return are for whoever the stream works for then.
func (s *stream) in(fn string, body func()) {
	s.inside(event.Event{Kind: event.KindCall, Func: fn, Line: 1}, body)
}

func (s *stream) inside(call event.Event, body func()) {
	call.Kind = event.KindCall
	job := s.job
	i := s.turn(call)
	body()
	back := event.Event{Kind: event.KindReturn, Func: call.Func}
	if s.w.oneIn(12) { // by reference; the same call
		back.Cause = []string{s.named(i)}
	}
	now := s.job
	s.job = job // a return belongs to its call
	s.turn(back)
	s.job = now
}

// idle makes the stream work for nobody, after it found that no more work will come.
func (s *stream) idle() {
	s.job = ""
	if s.answered {
		s.job = Anyone
	}
}

// spawn makes a child that works for whoever this stream works for, or for nobody if it is background.
func (s *stream) spawn(fn, child string, starts bool, body func(*stream)) {
	s.turn(event.Event{Kind: event.KindSpawn, Func: fn, Line: 13, Child: child})
	s.w.begin(child, s.job, func(c *stream) {
		if starts {
			c.turn(event.Event{Kind: event.KindStart})
		}
		body(c)
	})
}

// exit ends a stream.
func (s *stream) exit() { s.turn(event.Event{Kind: event.KindExit}) }

// message is what a channel carries: for whom, and which send brought it.
type message struct {
	job   string
	empty bool
	sent  int // index of its send
	reply *channel
	ref   string // of its send
}

// meeting is how the two ends of a channel's messages find each other.
type meetBy int

const (
	meetByOrdinal meetBy = iota
	meetByMessage
	meetByOrder // first in, first out: nothing but the key
	meetByPeers // first in, first out between two streams that name each other
)

// channel is a simulated channel or mailbox.
type channel struct {
	w        *world
	key      string
	capacity int
	by       meetBy
	queue    []message
	waiting  int // receivers
	sent     uint64
	received uint64
	closed   bool
	owner    string // the only receiver, for meetByPeers
}

func (w *world) channel(key string, capacity int, by meetBy) *channel {
	return &channel{w: w, key: key, capacity: capacity, by: by}
}

// send puts a message in as soon as there is room or a receiver.
func (s *stream) send(c *channel, fn string, m message, more event.Event) int {
	s.await(func() bool { return len(c.queue) < c.capacity+c.waiting })
	e := more
	e.Kind, e.Func, e.Line, e.Key, e.Empty = event.KindSend, fn, 5, c.key, m.empty
	c.sent++
	switch c.by {
	case meetByOrdinal:
		e.Ordinal = c.sent
	case meetByMessage:
		e.Message = fmt.Sprintf("%s/%d", c.key, c.sent)
	case meetByPeers:
		e.Peer = c.owner
	case meetByOrder:
	}
	i := s.emit(e)
	m.sent = i
	if c.by == meetByMessage || c.by == meetByPeers {
		m.ref = s.named(i)
	}
	c.queue = append(c.queue, m)
	return i
}

// receive takes a message out, at a place; ok is false when the channel is closed and empty. taken, if
// given, says for whom the stream works from the receive on.
func (s *stream) receive(c *channel, fn string, line int, more event.Event, taken func(message) string) (m message, ok bool) {
	c.waiting++
	s.await(func() bool { return len(c.queue) > 0 || c.closed })
	c.waiting--
	return s.take(c, fn, line, more, taken)
}

// receiveFrom takes a message out of whichever channel has one, as a select does.
func (s *stream) receiveFrom(all []*channel, fn string, line int, taken func(message) string) (c *channel, m message, ok bool) {
	able := func() (list []*channel) {
		for _, c := range all {
			if len(c.queue) > 0 || c.closed {
				list = append(list, c)
			}
		}
		return list
	}
	for _, c := range all {
		c.waiting++
	}
	s.await(func() bool { return len(able()) > 0 })
	for _, c := range all {
		c.waiting--
	}
	from := able()
	c = from[s.w.choose(len(from))]
	m, ok = s.take(c, fn, line, event.Event{}, taken)
	return c, m, ok
}

func (s *stream) take(c *channel, fn string, line int, more event.Event, taken func(message) string) (m message, ok bool) {
	e := more
	e.Kind, e.Func, e.Line, e.Key = event.KindReceive, fn, line, c.key
	if len(c.queue) == 0 {
		e.Closed, e.Takes = true, nil
		s.w.doubt(&e)
		s.emit(e)
		return message{}, false
	}
	m, c.queue = c.queue[0], c.queue[1:]
	c.received++
	e.Empty = m.empty
	switch c.by {
	case meetByOrdinal:
		e.Ordinal = c.received
	case meetByMessage:
		e.Message = fmt.Sprintf("%s/%d", c.key, c.received)
	case meetByPeers:
		e.Peer = s.w.events[m.sent].Stream
	case meetByOrder:
	}
	s.w.doubt(&e)
	if c.by == meetByOrder || c.by == meetByPeers {
		e.Unseen = false // its send has a record, and would be taken for that of the next one
	}
	if taken != nil {
		s.job = taken(m)
	} else if !m.empty {
		s.answered = true
	}
	i := s.emit(e)
	if !e.Unseen {
		s.w.got[i] = m.sent
	}
	return m, true
}

// doubt makes a receive or an acquire one whose source has inferred what it came from, or says that this left no record.
// A send that has its record may be met by such a receive, too: the source did not see that they met.
func (w *world) doubt(e *event.Event) {
	e.Inferred = w.has(Guessed) && w.oneIn(6)
	e.Unseen = w.has(Unseen) && e.Kind == event.KindReceive && w.oneIn(16)
}

// close closes a channel.
func (s *stream) close(c *channel, fn string) {
	s.await(nil)
	c.closed = true
	s.emit(event.Event{Kind: event.KindClose, Func: fn, Line: 7, Key: c.key})
}

// lock is a simulated mutex.
type lock struct {
	key      string
	ordinals bool
	held     bool
	released uint64
	unseen   bool // its last release left no record
}

// hold runs body with the lock held.
func (s *stream) hold(l *lock, fn string, body func()) {
	s.await(func() bool { return !l.held })
	l.held = true
	e := event.Event{Kind: event.KindAcquire, Func: fn, Line: 9, Key: l.key}
	if l.ordinals {
		e.Ordinal = l.released
	}
	s.w.doubt(&e)
	if l.unseen {
		e.Unseen, l.unseen = true, false
	}
	s.emit(e)
	body()
	s.await(nil)
	l.released++
	if s.w.has(Unseen) && s.w.oneIn(4) {
		l.unseen, l.held = true, false
		return
	}
	e = event.Event{Kind: event.KindRelease, Func: fn, Line: 11, Key: l.key}
	if l.ordinals {
		e.Ordinal = l.released
	}
	s.emit(e)
	l.held = false
}
