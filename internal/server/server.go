package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/protocol"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

// Recorder takes sources in.
type Recorder interface {
	// Open begins, or goes on with, the source of that session. What had come before, and comes again,
	// is told by stream and seq. It fails with ErrEnded when the recording has the source to its end.
	Open(ctx context.Context, s Source) (Input, error)
	// Account tells what became of the events of a session's source, over all its connections.
	Account(session string) protocol.Ended
}

// Source is what a client says about itself.
type Source struct {
	Name, Format, Session string
	Finite                bool // it has an end: events wait for their causes until then
}

// Input is where a source's batches go.
type Input interface {
	source.Sink
	// WaitDurable returns when everything up to that event, which a batch's Done has told, survives a
	// crash. It is called after Close too.
	WaitDurable(ctx context.Context, last event.ID) error
	// Hurry says that the client has no room for more without answers: what waits in a finite source
	// waits no longer than in any other, from now on.
	Hurry(ctx context.Context) error
	// Close says that there is no more for now: what waits for other events of this source need not wait
	// longer. All Dones come soon after. ended says that the client has said so, and that nothing is missing.
	Close(ended bool) error
}

// Answerer answers questions. It hands the answer to w line by line (JSON, without the line feed); w
// keeps nothing of the line. The error's text is what the asker sees.
type Answerer interface {
	Answer(ctx context.Context, op string, args json.RawMessage, w func(line []byte) error) error
}

// Options say what the server serves, and its bounds. What is zero has a default.
type Options struct {
	Recorder Recorder                // nil: it takes no events
	Answerer Answerer                // nil: it answers no questions
	Check    func(*wire.Batch) error // of what another program sent: is its payload fit to be kept?
	Log      *slog.Logger            // default: none
	Gate     *Gate                   // who gets in; nil: all who can reach the server

	ConnectionsMax int // default 64
	SessionsMax    int // remembered, connected or not; default 256
	FrameBytesMax  int // default protocol.FrameBytesMax, which is the most
	InFlightMax    int // batches of a session without an answer; default 1024
	QueriesMax     int // of a connection at a time; default 4

	IdleTimeout   time.Duration // between frames; default 10 min
	ReadTimeout   time.Duration // from the first byte of a frame to its last, and for the hello; default 30 s
	WriteTimeout  time.Duration // for a client to take a frame; default 30 s
	SessionLinger time.Duration // how long a source without a connection is taken to come back; default 60 s

	QueryTimeout func() time.Duration // gives the longest time for an answer, which can change; default 60 s
}

func (o *Options) complete() error {
	for _, f := range []struct {
		name           string
		value          *int
		def, low, high int
	}{
		{"ConnectionsMax", &o.ConnectionsMax, 64, 1, 1 << 16},
		{"SessionsMax", &o.SessionsMax, 256, 1, 1 << 20},
		{"FrameBytesMax", &o.FrameBytesMax, protocol.FrameBytesMax, helloBytesMax, protocol.FrameBytesMax},
		{"InFlightMax", &o.InFlightMax, 1024, 1, 1 << 16},
		{"QueriesMax", &o.QueriesMax, 4, 1, 1024},
	} {
		if *f.value == 0 {
			*f.value = f.def
		}
		if *f.value < f.low || *f.value > f.high {
			return fmt.Errorf("server: %s is %d: it must be from %d to %d", f.name, *f.value, f.low, f.high)
		}
	}
	for _, f := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"IdleTimeout", &o.IdleTimeout, 10 * time.Minute},
		{"ReadTimeout", &o.ReadTimeout, 30 * time.Second},
		{"WriteTimeout", &o.WriteTimeout, 30 * time.Second},
		{"SessionLinger", &o.SessionLinger, time.Minute},
	} {
		if *f.value == 0 {
			*f.value = f.def
		}
		if *f.value < time.Millisecond {
			return fmt.Errorf("server: %s is %v: it must be at least 1ms", f.name, *f.value)
		}
	}
	if o.QueryTimeout == nil {
		o.QueryTimeout = func() time.Duration { return time.Minute }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Stats count what the server has done. Batches = Durable + Refused + Again + those in flight.
type Stats struct {
	Connections int64 // open now
	Accepted    int64 // connections, ever
	TurnedAway  int64 // connections that were refused
	Batches     int64 // that came, lines included
	Durable     int64 // that were acknowledged for the first time
	Refused     int64
	Again       int64 // that had come before, and were not taken a second time
	Queries     int64
	Bytes       int64 // of batches and lines
	NotAllowed  int64 // connections, batches and queries without a token, or with one that does not allow it
	Limited     int64 // connections and queries beyond what one client may have
}

type counts struct {
	connections, accepted, turnedAway, batches, durable, refused, again, queries, bytes, notAllowed, limited atomic.Int64
}

// Server is a server. Make it with [New].
type Server struct {
	o      Options
	ctx    context.Context // over when the server is
	cancel context.CancelFunc
	counts counts
	// emitted is the largest id that any batch was told.
	emitted atomic.Uint64

	telling chan struct{} // one for each client that is being told why it is turned away

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	conns     map[*connection]struct{}
	sessions  map[string]*session
	running   sync.WaitGroup // connections and sessions
}

// ErrClosed says that the server was shut down.
var ErrClosed = errors.New("server: closed")

// ErrEnded says that a source has ended: the recording has all of it.
var ErrEnded = errors.New("server: the source has ended")

// New makes a server.
func New(o Options) (*Server, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	s := &Server{o: o, telling: make(chan struct{}, 16), listeners: map[net.Listener]struct{}{}, conns: map[*connection]struct{}{}, sessions: map[string]*session{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Stats gives the counts up to now.
func (s *Server) Stats() Stats {
	c := &s.counts
	return Stats{
		Connections: c.connections.Load(), Accepted: c.accepted.Load(), TurnedAway: c.turnedAway.Load(),
		Batches: c.batches.Load(), Durable: c.durable.Load(), Refused: c.refused.Load(), Again: c.again.Load(),
		Queries: c.queries.Load(), Bytes: c.bytes.Load(), NotAllowed: c.notAllowed.Load(), Limited: c.limited.Load(),
	}
}

// acceptPause is how long Serve waits after it could not accept: the process is out of file descriptors,
// most often.
const acceptPause = 50 * time.Millisecond

// Serve takes connections until Shutdown; then it gives ErrClosed. It closes the listener.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close() //nolint:errcheck // no more use
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
		case s.isClosing():
			return ErrClosed
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			s.o.Log.Warn("accept failed", "address", l.Addr().String(), "error", err)
			time.Sleep(acceptPause)
			continue
		}
		s.counts.accepted.Add(1)
		s.admit(conn)
	}
}

// admit begins to serve a connection, or turns it away.
func (s *Server) admit(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reason := (*protocol.Refused)(nil)
	switch {
	case s.closing:
		reason = &protocol.Refused{Code: protocol.CodeClosing, Reason: "the server is going down"}
	case len(s.conns) >= s.o.ConnectionsMax:
		reason = &protocol.Refused{Code: protocol.CodeBusy, Reason: fmt.Sprintf("%d connections are open, the most that the server takes", len(s.conns))}
	}
	if reason != nil {
		s.turnAway(conn, reason)
		return
	}
	c := newConnection(s, conn)
	s.conns[c] = struct{}{}
	s.counts.connections.Add(1)
	s.running.Go(func() {
		c.serve()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		s.counts.connections.Add(-1)
	})
}

// turnAway tells a client why, if not too many others are being told.
func (s *Server) turnAway(conn net.Conn, reason *protocol.Refused) {
	s.counts.turnedAway.Add(1)
	select {
	case s.telling <- struct{}{}:
	default:
		_ = conn.Close()
		return
	}
	s.running.Go(func() {
		defer func() { <-s.telling }()
		defer conn.Close()                               //nolint:errcheck // over either way
		_ = conn.SetDeadline(time.Now().Add(lingerTime)) // both ways: TLS begins with a handshake
		if _, err := conn.Write(reason.Append(nil)); err == nil {
			linger(conn, lingerTime)
		}
	})
}

// Shutdown ends the server in good order: no more connections, no more batches; every batch that was
// taken is acknowledged; then the connections are closed. When ctx is over first the rest is cut off,
// and the error is that of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for l := range s.listeners {
		_ = l.Close()
	}
	sessions := make([]*session, 0, len(s.sessions))
	for _, se := range s.sessions {
		sessions = append(sessions, se)
	}
	s.mu.Unlock()

	answered := make(chan error, len(sessions))
	for _, se := range sessions {
		go func() { // the recorder bounds how long it takes to close an input; we do not wait beyond ctx
			se.shutDown()
			answered <- se.waitAnswered(ctx)
		}()
	}
	var err error
	for range sessions {
		select {
		case waited := <-answered:
			err = errors.Join(err, waited)
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	s.mu.Lock()
	for c := range s.conns {
		c.finish(&protocol.Refused{Code: protocol.CodeClosing, Reason: "the server is going down"})
	}
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
	return err
}

// isClosing says whether no more work is taken.
func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}
