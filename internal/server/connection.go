package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pastcone/pastcone/internal/access"
	"github.com/pastcone/pastcone/internal/protocol"
)

const (
	helloBytesMax = 8 << 10 // longest frame before the hello is accepted
	outFramesMax  = 64      // frames on their way to a client
)

// connection is one client. Three kinds of goroutines serve it: one reads and takes batches in, one
// writes, one for each question.
type connection struct {
	server  *Server
	conn    net.Conn
	session *session // nil: it only asks
	version uint64   // that is spoken
	grant   access.Grant
	leave   func() // called at the end, if not nil

	ctx    context.Context // over when the connection is
	cancel context.CancelFunc
	out    chan []byte
	last   chan []byte // one frame, after which the connection is closed

	mu      sync.Mutex
	queries map[uint64]context.CancelFunc
	asking  sync.WaitGroup
}

func newConnection(s *Server, conn net.Conn) *connection {
	c := &connection{
		server: s, conn: conn, out: make(chan []byte, outFramesMax), last: make(chan []byte, 1),
		queries: map[uint64]context.CancelFunc{},
	}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	return c
}

// send queues a frame. It waits for room while the client takes frames; it says whether the frame was
// queued.
func (c *connection) send(frame []byte) bool {
	select {
	case c.out <- frame:
		return true
	case <-c.ctx.Done():
		return false
	}
}

// finish ends the connection with a last frame, nil for none. It waits for nobody.
func (c *connection) finish(r *protocol.Refused) {
	var frame []byte
	if r != nil {
		frame = r.Append(nil)
	}
	select {
	case c.last <- frame:
	default: // it is ending already
	}
}

func (c *connection) serve() {
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	err := c.read()
	var refused *protocol.Refused
	switch {
	case errors.Is(err, io.EOF):
		c.finish(nil)
	case errors.As(err, &refused):
		c.finish(refused)
	case errors.Is(err, protocol.ErrMalformed), errors.Is(err, protocol.ErrTooLarge):
		c.finish(refusal(0, err))
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.finish(&protocol.Refused{Code: protocol.CodeMalformed, Reason: "nothing came for too long: a frame, once begun, is sent to its end, and an idle connection is closed"})
	default:
		c.finish(nil) // the line is broken, or the server is going down
	}
	if !errors.Is(err, io.EOF) {
		c.server.o.Log.Info("connection ended", "from", c.conn.RemoteAddr().String(), "reason", err.Error())
	}
	<-written
	c.asking.Wait()
	if c.session != nil {
		c.session.detach(c)
	}
	if c.leave != nil {
		c.leave()
	}
}

// write sends frames until the last one, or until the client takes none.
func (c *connection) write() {
	defer c.conn.Close() //nolint:errcheck // over either way
	defer c.cancel()
	put := func(frame []byte) bool {
		_ = c.conn.SetWriteDeadline(time.Now().Add(c.server.o.WriteTimeout))
		_, err := c.conn.Write(frame)
		return err == nil
	}
	for {
		select {
		case frame := <-c.out:
			if !put(frame) {
				return
			}
		case frame := <-c.last:
			// What was queued before goes first.
			for n := len(c.out); n > 0; n-- {
				if !put(<-c.out) {
					return
				}
			}
			if frame != nil && put(frame) {
				c.cancel() // no more is taken or sent
				linger(c.conn, min(lingerTime, c.server.o.WriteTimeout))
			}
			return
		}
	}
}

const lingerTime = time.Second

// linger lets the client read the last frame: closing a line on which bytes wait unread would reset it,
// and the frame could be lost.
func linger(conn net.Conn, patience time.Duration) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	deadline := time.Now().Add(patience)
	_ = conn.SetReadDeadline(deadline)
	var sink [4096]byte
	for time.Now().Before(deadline) {
		if _, err := conn.Read(sink[:]); err != nil {
			return
		}
	}
}

// read takes frames until the client is done, or does something wrong.
func (c *connection) read() error {
	o := &c.server.o
	in := protocol.NewReader(c.conn, helloBytesMax)
	_ = c.conn.SetReadDeadline(time.Now().Add(o.ReadTimeout))
	kind, payload, err := in.Next()
	if err != nil {
		return err
	}
	if err := c.hello(kind, payload); err != nil {
		return err
	}
	in.BytesMax = o.FrameBytesMax
	in.Begun = func() { _ = c.conn.SetReadDeadline(time.Now().Add(o.ReadTimeout)) }
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(o.IdleTimeout))
		kind, payload, err := in.Next()
		if err != nil {
			return err
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if !o.Gate.Still(c.grant) {
			c.server.counts.notAllowed.Add(1)
			return &protocol.Refused{Code: protocol.CodeNotAllowed, Reason: access.ErrToken.Error()}
		}
		if err := c.take(kind, payload); err != nil {
			return err
		}
	}
}

// hello begins the connection.
func (c *connection) hello(kind protocol.Kind, payload []byte) error {
	if kind != protocol.KindHello {
		return fmt.Errorf("%w: a connection begins with hello, not with %s", protocol.ErrMalformed, kind)
	}
	var h protocol.Hello
	if err := h.Parse(payload); err != nil {
		return err
	}
	if h.Version < 1 || h.Version > protocol.Version {
		return &protocol.Refused{Code: protocol.CodeVersion, Reason: fmt.Sprintf("version %d: this server speaks versions 1 to %d", h.Version, protocol.Version)}
	}
	c.version = h.Version
	if err := c.enter(&h); err != nil {
		return err
	}
	w := protocol.Welcome{Version: h.Version, FrameBytesMax: uint64(c.server.o.FrameBytesMax), InFlightMax: uint64(c.server.o.InFlightMax)} // #nosec G115 -- not negative
	if h.Source == "" {
		c.send(w.Append(nil))
		return nil
	}
	if c.server.o.Recorder == nil {
		return &protocol.Refused{Code: protocol.CodeNoRecording, Reason: "this server takes no events"}
	}
	se, err := c.server.session(c, &h)
	if err != nil {
		return refusal(0, err)
	}
	c.session = se
	se.mu.Lock()
	w.Done = se.done
	se.mu.Unlock()
	c.send(w.Append(nil))
	return nil
}

// enter finds out who the client is, and lets it in or not.
func (c *connection) enter(h *protocol.Hello) error {
	var state *tls.ConnectionState
	if secure, ok := c.conn.(*tls.Conn); ok {
		s := secure.ConnectionState()
		state = &s
	}
	gate := c.server.o.Gate
	grant, err := gate.Grant(c.conn.RemoteAddr(), state, string(h.Token))
	if err == nil && h.Source != "" {
		err = c.needs(grant, access.Write)
	}
	if err != nil {
		c.server.counts.notAllowed.Add(1)
		return &protocol.Refused{Code: protocol.CodeNotAllowed, Reason: err.Error()}
	}
	leave, err := gate.Enter(grant)
	if err != nil {
		c.server.counts.limited.Add(1)
		return &protocol.Refused{Code: protocol.CodeBusy, Reason: err.Error()}
	}
	c.grant, c.leave = grant, leave
	return nil
}

// needs fails if a role is missing.
func (c *connection) needs(g access.Grant, role access.Role) error {
	if g.Roles.Has(role) {
		return nil
	}
	return fmt.Errorf("%s has the roles %s: %s is needed for this", g.Who, g.Roles, role)
}

// take does what a frame asks for.
func (c *connection) take(kind protocol.Kind, payload []byte) error {
	switch kind {
	case protocol.KindBatch, protocol.KindLines:
		return c.takeBatch(kind, payload)
	case protocol.KindEnd:
		if len(payload) > 0 {
			return fmt.Errorf("%w: end has no payload", protocol.ErrMalformed)
		}
		if c.session == nil {
			return fmt.Errorf("%w: end on a connection that only asks", protocol.ErrMalformed)
		}
		if err := c.session.end(c.ctx); err != nil {
			return err
		}
		account := c.server.o.Recorder.Account(c.session.id)
		c.send(account.Append(nil, c.version))
		return nil
	case protocol.KindHurry:
		if c.version < 2 {
			break
		}
		if len(payload) > 0 || c.session == nil {
			return fmt.Errorf("%w: hurry has no payload, and is for a source", protocol.ErrMalformed)
		}
		return c.session.hurry(c.ctx)
	case protocol.KindQuery:
		var q protocol.Query
		if err := q.Parse(payload); err != nil {
			return err
		}
		c.ask(q)
		return nil
	case protocol.KindCancel:
		id, err := protocol.ParseCancel(payload)
		if err != nil {
			return err
		}
		c.mu.Lock()
		if cancel := c.queries[id]; cancel != nil {
			cancel()
		}
		c.mu.Unlock()
		return nil
	}
	return fmt.Errorf("%w: %s is not for a client to send", protocol.ErrMalformed, kind)
}

func (c *connection) takeBatch(kind protocol.Kind, payload []byte) error {
	number, body, err := protocol.ParseBatch(payload)
	if err != nil {
		return err
	}
	if c.session == nil {
		return fmt.Errorf("%w: %s on a connection that only asks", protocol.ErrMalformed, kind)
	}
	counts := &c.server.counts
	counts.batches.Add(1)
	counts.bytes.Add(int64(len(body)))
	if err := c.server.o.Gate.payBytes(c.ctx, c.grant, len(payload)); err != nil {
		return err
	}
	if c.server.isClosing() {
		counts.refused.Add(1)
		c.send((&protocol.Refused{Number: number, Code: protocol.CodeClosing, Reason: "the server is going down"}).Append(nil))
		return nil
	}
	input, answer, err := c.session.begin(c.ctx, number)
	if err != nil {
		counts.refused.Add(1)
		var r *protocol.Refused
		if errors.As(err, &r) && r.Number != 0 {
			if r.Code == protocol.CodeEnded && c.version < 2 {
				r.Code = protocol.CodeMalformed // the first version has no code of its own for it
			}
			c.send(r.Append(nil))
			return nil
		}
		return err
	}
	if input == nil {
		counts.again.Add(1)
		if answer != nil {
			c.send(answer)
		}
		return nil
	}
	// Not the connection's context: what is in flight goes on when the line breaks.
	c.session.take(c.server.ctx, kind, number, body, input)
	return nil
}

// ask answers a question, beside all else.
func (c *connection) ask(q protocol.Query) {
	o := &c.server.o
	c.server.counts.queries.Add(1)
	refuse := func(reason string) {
		c.send((&protocol.AnswerEnd{ID: q.ID, Status: protocol.StatusFailed, Reason: reason}).Append(nil))
	}
	if o.Answerer == nil {
		refuse("this server answers no questions")
		return
	}
	if err := c.needs(c.grant, access.Read); err != nil {
		c.server.counts.notAllowed.Add(1)
		refuse(err.Error())
		return
	}
	if err := o.Gate.PayQuery(c.grant); err != nil {
		c.server.counts.limited.Add(1)
		refuse(err.Error())
		return
	}
	timeout := o.QueryTimeout()
	if q.DeadlineMs > 0 {
		timeout = min(timeout, time.Duration(q.DeadlineMs)*time.Millisecond) // #nosec G115 -- at most DeadlineMsMax
	}
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	c.mu.Lock()
	_, known := c.queries[q.ID]
	full := len(c.queries) >= o.QueriesMax
	if !known && !full {
		c.queries[q.ID] = cancel
	}
	c.mu.Unlock()
	if known || full {
		cancel()
		if known {
			refuse(fmt.Sprintf("query %d is being answered already", q.ID))
		} else {
			refuse(fmt.Sprintf("%d queries are being answered, the most on one connection", o.QueriesMax))
		}
		return
	}
	args := append(json.RawMessage(nil), q.Args...) // the frame's memory is the reader's
	c.asking.Go(func() {
		err := answer(ctx, o.Answerer, q.Op, args, func(line []byte) error { return c.answerLine(ctx, q.ID, line) })
		end := answerEnd(q.ID, ctx, err)
		cancel()
		c.mu.Lock()
		delete(c.queries, q.ID)
		c.mu.Unlock()
		c.send(end.Append(nil))
	})
}

// answer asks the answerer, whose panic costs this answer only.
func answer(ctx context.Context, a Answerer, op string, args json.RawMessage, w func([]byte) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the server failed in %q: %v", op, p)
		}
	}()
	return a.Answer(ctx, op, args, w)
}

func (c *connection) answerLine(ctx context.Context, id uint64, line []byte) error {
	if len(line) > protocol.AnswerBytesMax-16 {
		return fmt.Errorf("a line of %d bytes does not fit into an answer", len(line))
	}
	select {
	case c.out <- protocol.AppendAnswer(nil, id, line):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func answerEnd(id uint64, ctx context.Context, err error) *protocol.AnswerEnd {
	end := &protocol.AnswerEnd{ID: id}
	if err == nil {
		return end
	}
	end.Status, end.Reason = protocol.StatusFailed, err.Error()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		end.Status = protocol.StatusDeadline
	case ctx.Err() != nil:
		end.Status = protocol.StatusCancelled
	}
	return end
}
