package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/protocol"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/source/probe"
	"github.com/pastcone/pastcone/internal/wire"
)

// session is one source, over all its connections.
//
// Each batch has a number, from 1. The session holds for each number whether it is in flight (taken, not
// yet durable), answered, or unknown. Answered numbers up to done are one number, those beyond it a
// set, which is small: a client sends numbers in order and at most InFlightMax without an answer. The first
// number that comes says where they begin: after a restart of this server a client goes on with the first
// one that it has no answer for.
//
// The way of a batch: begin (it is in flight, or had come before) → the recorder → finished (its Done was
// called) → the acknowledging goroutine waits until it is durable → answered.
type session struct {
	server *Server
	id     string
	source Source

	finished  chan finished // has room for all in flight: Done must not block
	forgotten chan struct{} // closed: the server has forgotten the session

	taking sync.Mutex // a batch at a time, also where an old connection is not over yet
	lines  *probe.Lines

	mu       sync.Mutex
	changed  chan struct{} // closed and made anew when something below changes
	input    Input         // nil: closed
	claimed  int           // connections that are about to have it
	closing  chan struct{} // its input is being closed until this is; nil: it is not
	conn     *connection   // that gets the answers; nil: none
	inFlight map[uint64]struct{}
	begun    bool   // a batch has come
	highest  uint64 // number that has come before the end
	done     uint64
	beyond   map[uint64]struct{}
	refused  map[uint64]protocol.Refused // of the answered ones
	ended    bool                        // the client has said so, or the recording has it all
	hurried  bool                        // a finite source that waits no longer than any other
	shut     bool                        // the server takes no more
	left     time.Time                   // when its connection was lost
	running  bool                        // the acknowledging goroutine is there
}

// finished is a batch of which all events were emitted or rejected.
type finished struct {
	number   uint64
	input    Input    // that took it
	last     event.ID // the largest id among them, 0: none
	rejected int64
	err      error // it was not taken, or not all of it
}

// refusedMax bounds how many refusals a session remembers, to give the same answer again.
const refusedMax = 1024

// session finds or makes the session of a hello, opens its input, and makes c the connection that gets
// its answers.
func (s *Server) session(c *connection, h *protocol.Hello) (*session, error) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	se := s.sessions[h.Session]
	if se == nil {
		if len(s.sessions) >= s.o.SessionsMax && !s.forgetOne() {
			s.mu.Unlock()
			return nil, &protocol.Refused{Code: protocol.CodeBusy, Reason: fmt.Sprintf("%d sources are connected, the most that the server takes", s.o.SessionsMax)}
		}
		se = &session{
			server: s, id: h.Session, source: Source{h.Source, h.Format, h.Session, h.Finite}, lines: probe.NewLines(h.Source),
			finished: make(chan finished, s.o.InFlightMax), forgotten: make(chan struct{}), changed: make(chan struct{}),
			inFlight: map[uint64]struct{}{}, beyond: map[uint64]struct{}{}, refused: map[uint64]protocol.Refused{},
		}
		s.sessions[h.Session] = se
	}
	se.mu.Lock()
	se.claimed++ // so that it is not forgotten on the way to its connection
	se.mu.Unlock()
	s.mu.Unlock()
	defer func() {
		se.mu.Lock()
		se.claimed--
		se.mu.Unlock()
	}()
	return se, se.attach(c)
}

// forgetOne forgets the session that has been without a connection for longest. The caller holds the
// server's lock.
func (s *Server) forgetOne() bool {
	var oldest *session
	var since time.Time
	for _, se := range s.sessions {
		se.mu.Lock()
		if se.claimed == 0 && se.conn == nil && se.input == nil && se.closing == nil && len(se.inFlight) == 0 && (oldest == nil || se.left.Before(since)) {
			oldest, since = se, se.left
		}
		se.mu.Unlock()
	}
	if oldest == nil {
		return false
	}
	delete(s.sessions, oldest.id)
	close(oldest.forgotten)
	return true
}

func (se *session) attach(c *connection) error {
	se.mu.Lock()
	defer se.mu.Unlock()
	for se.closing != nil { // a source that comes back waits until it has gone
		closing := se.closing
		se.mu.Unlock()
		select {
		case <-closing:
		case <-c.ctx.Done():
		}
		se.mu.Lock()
		if err := c.ctx.Err(); err != nil {
			return err
		}
	}
	if se.shut {
		return ErrClosed
	}
	if old := se.conn; old != nil {
		// The client has come back before we noticed that it was gone. The old line has no say any more.
		se.conn = nil
		old.finish(&protocol.Refused{Code: protocol.CodeBusy, Reason: "the source has connected anew"})
	}
	if se.input == nil && !se.ended {
		source := se.source
		source.Finite = source.Finite && !se.hurried
		input, err := se.server.o.Recorder.Open(c.ctx, source)
		switch {
		case errors.Is(err, ErrEnded):
			se.ended = true // each batch is told so
		case err != nil:
			return fmt.Errorf("open the source %q: %w", source.Name, err)
		default:
			se.input = input
		}
	}
	se.conn = c
	if !se.running {
		se.running = true
		se.server.running.Go(se.acknowledge)
	}
	return nil
}

// detach is called when a connection is over.
func (se *session) detach(c *connection) {
	se.mu.Lock()
	defer se.mu.Unlock()
	if se.conn != c {
		return
	}
	se.conn, se.left = nil, time.Now()
	time.AfterFunc(se.server.o.SessionLinger, func() { se.expire(se.server.o.SessionLinger) })
}

// expire closes the input of a session whose client does not come back. Its numbers are kept.
func (se *session) expire(linger time.Duration) {
	se.mu.Lock()
	over := se.conn == nil && time.Since(se.left) >= linger
	se.mu.Unlock()
	if over {
		se.closeInput()
	}
}

// closeInput says that there is no more for now, and waits for the recorder to agree.
func (se *session) closeInput() {
	se.mu.Lock()
	input, closing := se.input, se.closing
	if input == nil {
		se.mu.Unlock()
		if closing != nil {
			<-closing // somebody else's
		}
		return
	}
	closing = make(chan struct{})
	ended := se.ended && !se.missing()
	se.input, se.closing = nil, closing
	se.notify()
	se.mu.Unlock()

	// Without the lock: the recorder takes its time, and answers go on meanwhile.
	if err := input.Close(ended); err != nil {
		se.server.o.Log.Warn("closing a source failed", "source", se.source.Name, "error", err)
	}
	se.mu.Lock()
	se.closing = nil
	se.notify()
	se.mu.Unlock()
	close(closing)
}

// shutDown is closeInput for good.
func (se *session) shutDown() {
	se.mu.Lock()
	se.shut = true
	se.mu.Unlock()
	se.closeInput()
}

// missing says whether a batch before the last one has no answer, and none to come. The caller holds the lock.
func (se *session) missing() bool {
	return se.begun && se.done+uint64(len(se.beyond)+len(se.inFlight)) < se.highest
}

// hurry tells the recorder that the client of a finite source has no room for more without answers.
func (se *session) hurry(ctx context.Context) error {
	se.mu.Lock()
	input := se.input
	if !se.source.Finite || se.hurried || input == nil {
		se.mu.Unlock()
		return nil
	}
	se.hurried = true
	se.mu.Unlock()
	return input.Hurry(ctx)
}

// notify wakes all who wait for a change. The caller holds the lock.
func (se *session) notify() {
	close(se.changed)
	se.changed = make(chan struct{})
}

// wait waits until is, called with the lock held, says so.
func (se *session) wait(ctx context.Context, is func() bool) error {
	for {
		se.mu.Lock()
		ok, changed := is(), se.changed
		se.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// waitAnswered waits until nothing is in flight.
func (se *session) waitAnswered(ctx context.Context) error {
	return se.wait(ctx, func() bool { return len(se.inFlight) == 0 })
}

// begin takes a batch in, if it is to be taken: input is nil if it had come before, and then answer is
// what is to be said to that, if anything yet. It waits while too many are in flight.
func (se *session) begin(ctx context.Context, number uint64) (input Input, answer []byte, err error) {
	se.mu.Lock()
	if !se.begun {
		se.begun = true
		se.done = number - 1 // those had their answers before this server began
	}
	if !se.ended {
		se.highest = max(se.highest, number)
	}
	again, answer := se.known(number)
	full := len(se.inFlight) >= se.server.o.InFlightMax
	se.mu.Unlock()
	if again {
		return nil, answer, nil
	}
	if full {
		if err := se.hurry(ctx); err != nil {
			return nil, nil, err
		}
	}
	if err := se.wait(ctx, func() bool { return len(se.inFlight) < se.server.o.InFlightMax }); err != nil {
		return nil, nil, err
	}
	se.mu.Lock()
	defer se.mu.Unlock()
	switch {
	case se.ended && number > se.highest:
		return nil, nil, &protocol.Refused{Number: number, Code: protocol.CodeEnded, Reason: "a batch after the end of its source: the recording has the source already, to its end"}
	case se.input == nil:
		se.ended = false // one before the end, which was refused: the source goes on
		return nil, nil, &protocol.Refused{Number: number, Code: protocol.CodeClosing, Reason: "the server takes no more"}
	case len(se.beyond) >= 4*se.server.o.InFlightMax:
		return nil, nil, &protocol.Refused{Code: protocol.CodeMalformed, Reason: fmt.Sprintf("batch %d is missing, and %d later ones have come: numbers are dense", se.done+1, len(se.beyond))}
	}
	se.inFlight[number] = struct{}{}
	return se.input, nil, nil
}

// known says whether a batch has come before, and the answer to it if there is one. The caller holds the
// lock.
func (se *session) known(number uint64) (again bool, answer []byte) {
	if _, is := se.inFlight[number]; is {
		return true, nil // the answer comes when it is durable
	}
	if r, is := se.refused[number]; is {
		return true, r.Append(nil)
	}
	_, is := se.beyond[number]
	if is || number <= se.done {
		return true, (&protocol.Ack{Number: number}).Append(nil)
	}
	return false, nil
}

// answered notes that a batch has its answer. The caller holds the lock.
func (se *session) answered(number uint64) {
	delete(se.inFlight, number)
	se.beyond[number] = struct{}{}
	for {
		if _, is := se.beyond[se.done+1]; !is {
			break
		}
		se.done++
		delete(se.beyond, se.done)
	}
	se.notify()
}

// acknowledge waits for batches to be durable, and says so.
func (se *session) acknowledge() {
	for {
		select {
		case f := <-se.finished:
			se.acknowledgeOne(f)
		case <-se.forgotten: // nothing is in flight
			return
		case <-se.server.ctx.Done():
			return
		}
	}
}

func (se *session) acknowledgeOne(f finished) {
	err := f.err
	last := f.last
	if last == 0 {
		// None of its events was new: they came with an earlier batch, which need not be durable yet.
		last = event.ID(se.server.emitted.Load())
	}
	if err == nil && last != 0 {
		err = f.input.WaitDurable(se.server.ctx, last)
	}
	se.mu.Lock()
	var frame []byte
	if err == nil {
		se.answered(f.number)
		se.server.counts.durable.Add(1)
		frame = (&protocol.Ack{Number: f.number, Rejected: uint64(f.rejected)}).Append(nil) // #nosec G115 -- a count
	} else {
		r := refusal(f.number, err)
		se.server.counts.refused.Add(1)
		if r.Code.Later() {
			// It can come again, and is then taken.
			delete(se.inFlight, f.number)
			se.notify()
		} else {
			if len(se.refused) < refusedMax {
				se.refused[f.number] = *r
			}
			se.answered(f.number)
		}
		se.server.o.Log.Warn("batch refused", "source", se.source.Name, "batch", f.number, "code", r.Code.String(), "reason", r.Reason)
		frame = r.Append(nil)
	}
	conn := se.conn
	se.mu.Unlock()
	if conn != nil {
		conn.send(frame) // if the line is gone the client will ask again
	}
}

// refusal makes of an error what the client is told.
func refusal(number uint64, err error) *protocol.Refused {
	var r *protocol.Refused
	if errors.As(err, &r) {
		return &protocol.Refused{Number: number, Code: r.Code, Reason: r.Reason}
	}
	code := protocol.CodeInternal
	switch {
	case errors.Is(err, wire.ErrTableFull):
		code = protocol.CodeTableFull
	case errors.Is(err, wire.ErrCorrupt), errors.Is(err, protocol.ErrMalformed):
		code = protocol.CodeMalformed
	case errors.Is(err, protocol.ErrTooLarge), errors.Is(err, wire.ErrBatchTooLarge):
		code = protocol.CodeTooLarge
	case errors.Is(err, context.Canceled), errors.Is(err, ErrClosed):
		code = protocol.CodeClosing
	}
	return &protocol.Refused{Number: number, Code: code, Reason: err.Error()}
}

// take takes a batch, or lines, that begin has let in.
func (se *session) take(ctx context.Context, kind protocol.Kind, number uint64, body []byte, input Input) {
	se.taking.Lock()
	defer se.taking.Unlock()
	p := &parts{Input: input, over: func(f finished) {
		f.number, f.input = number, input
		raise(&se.server.emitted, uint64(f.last))
		se.finished <- f
	}}
	p.left.Store(1)
	if kind == protocol.KindLines {
		p.end(se.lines.Read(ctx, body, p))
		return
	}
	p.end(0, se.takeBatch(ctx, body, p))
}

func (se *session) takeBatch(ctx context.Context, body []byte, to source.Sink) error {
	b := &wire.Batch{}
	if err := wire.DecodeBatch(body, to.Table(), b); err != nil {
		return err
	}
	if b.Len() == 0 {
		return nil
	}
	if check := se.server.o.Check; check != nil {
		if err := check(b); err != nil {
			return fmt.Errorf("%w: %w", protocol.ErrMalformed, err)
		}
	}
	return to.Push(ctx, b)
}

// parts is an input that counts what is left of one frame, which can come to several batches.
type parts struct {
	Input
	over func(finished) // called once, when nothing is left

	left     atomic.Int64 // batches without their Done, and one for the reader
	last     atomic.Uint64
	rejected int64
	err      error
}

func (p *parts) Push(ctx context.Context, b *wire.Batch) error {
	p.left.Add(1)
	var once sync.Once // a batch that is refused could still be done
	b.Done = func(last event.ID) {
		once.Do(func() {
			raise(&p.last, uint64(last))
			p.oneLess()
		})
	}
	err := p.Input.Push(ctx, b)
	if err != nil {
		once.Do(p.oneLess)
	}
	return err
}

// raise makes a at least n.
func raise(a *atomic.Uint64, n uint64) {
	for {
		if have := a.Load(); have >= n || a.CompareAndSwap(have, n) {
			return
		}
	}
}

func (p *parts) end(rejected int64, err error) {
	p.rejected, p.err = rejected, err
	p.oneLess()
}

func (p *parts) oneLess() {
	if p.left.Add(-1) == 0 {
		p.over(finished{last: event.ID(p.last.Load()), rejected: p.rejected, err: p.err})
	}
}

// end ends the source: its answer comes when all its batches have theirs. Where one of them is to come again, the
// source has not ended.
func (se *session) end(ctx context.Context) error {
	se.mu.Lock()
	se.ended = true
	se.mu.Unlock()
	se.closeInput()
	if err := se.waitAnswered(ctx); err != nil {
		return err
	}
	se.mu.Lock()
	defer se.mu.Unlock()
	if se.missing() {
		se.ended = false
		return &protocol.Refused{Code: protocol.CodeBusy, Reason: "a batch of the source was refused: it has to come again before the end"}
	}
	return nil
}
