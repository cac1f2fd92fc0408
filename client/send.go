package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/pastcone/pastcone/internal/protocol"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

// SenderOptions say who sends, and how much may wait. What is zero has a default.
type SenderOptions struct {
	Source  string // what the source is called; default: "client"
	Format  string // what the events are made from, for people; default: "ndjson"
	Session string // the same again goes on with a source after a restart of this program; default: random
	// Finite says that the source has an end, and that Close means it: events wait for their causes until then, not only
	// for the allowed lateness, and are acknowledged so late, as far as there is room for them.
	Finite bool

	Access Access // who sends

	PendingBytesMax int           // that are not acknowledged; default 64 MiB
	RetryFor        time.Duration // how long to try to connect, before giving up; default 30 s
}

// SenderStats count what a sender was given. Events of lines are not counted here but by the server.
type SenderStats struct {
	Batches      uint64 // given, lines included
	Acknowledged uint64 // durable
	Refused      uint64 // for good: they are lost
	Rejected     uint64 // events of acknowledged batches that were of no use to the server
	Connections  uint64 // made, one after the other
}

// Outcome is what became of the events of a source, all that ever came to the server, as it says at the source's end.
type Outcome struct {
	Stored   uint64            // and durable
	Shed     uint64            // dropped on purpose
	Rejected uint64            // of no use, or there already: an event that was sent again is a duplicate
	Reasons  map[string]uint64 // how many were shed or rejected for which
}

// ErrEnded says that the source of this session has ended before: the recording has it already, to its end.
var ErrEnded = errors.New("the server has this source already, to its end")

// ErrSenderClosed says that a sender takes no more.
var ErrSenderClosed = errors.New("client: the sender is closed")

const (
	pendingBytesDefault = 64 << 20
	pendingBatchesMax   = 1024
	retryForDefault     = 30 * time.Second
	retryPauseMin       = 20 * time.Millisecond
	retryPauseMax       = 2 * time.Second
	tableBytesMax       = 256 << 20
)

// Sender sends batches to a server. It is safe for concurrent use.
//
// Batches wait in pending, in the order of their numbers, from the moment they are given until they have
// their answer. One goroutine holds the connection, and makes it anew when it breaks; each connection
// sends pending from its beginning on, so what has no answer is sent again.
type Sender struct {
	address string
	o       SenderOptions
	table   *wire.Table

	cancel context.CancelFunc
	over   chan struct{} // closed: the goroutine has ended

	mu      sync.Mutex
	changed chan struct{} // closed and made anew when something below changes
	pending []item
	bytes   int
	window  int // most batches in pending
	// frameBytesMax is the longest frame that the server takes.
	frameBytesMax int
	number        uint64
	sent          uint64 // number of the last batch that this connection has sent
	ending        bool
	leaving       bool
	endSent       bool // on some connection
	endSentBefore bool // on one before this: a batch after the end is one that the server has
	ended         bool
	outcome       *Outcome // that the server told at the end
	hurry         bool     // a finite source has no room for more without answers
	err           error    // why nothing goes on
	refused       error    // the first refusal for good
	stats         SenderStats
}

type item struct {
	number uint64
	frame  []byte
}

// NewSender connects to a server. It fails when that is not possible within RetryFor, or refused.
func NewSender(ctx context.Context, address string, o SenderOptions) (*Sender, error) {
	if o.Source == "" {
		o.Source = "client"
	}
	if o.Format == "" {
		o.Format = "ndjson"
	}
	if o.Session == "" {
		o.Session = rand.Text()
	}
	if o.PendingBytesMax == 0 {
		o.PendingBytesMax = pendingBytesDefault
	}
	if o.RetryFor == 0 {
		o.RetryFor = retryForDefault
	}
	if o.PendingBytesMax < protocol.FrameBytesMax || o.RetryFor < 0 {
		return nil, fmt.Errorf("client: PendingBytesMax is %d and RetryFor %v: they must be at least %d and not negative", o.PendingBytesMax, o.RetryFor, protocol.FrameBytesMax)
	}
	s := &Sender{
		address: address, o: o, table: wire.NewTable(tableBytesMax),
		over: make(chan struct{}), changed: make(chan struct{}), window: pendingBatchesMax,
	}
	line, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	// A number that this session has used before would be taken for a batch that came again.
	s.number = line.welcome.Done
	s.takeWindow(line)
	running, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go s.run(running, line)
	return s, nil
}

// connect tries until it works, is refused for good, or takes too long.
func (s *Sender) connect(ctx context.Context) (*line, error) {
	deadline := time.Now().Add(s.o.RetryFor)
	pause := retryPauseMin
	for {
		l, err := dial(ctx, s.address, s.o.Access, protocol.Hello{Source: s.o.Source, Format: s.o.Format, Session: s.o.Session, Finite: s.o.Finite})
		if err == nil {
			return l, nil
		}
		var r *protocol.Refused
		if errors.As(err, &r) && !r.Code.Later() || ctx.Err() != nil || time.Now().Add(pause).After(deadline) {
			return nil, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
		pause = min(2*pause, retryPauseMax)
	}
}

// run serves one connection after the other.
func (s *Sender) run(ctx context.Context, l *line) {
	defer close(s.over)
	// A line that breaks before anything has got through is made again after longer and longer pauses.
	pause := retryPauseMin
	for {
		before := s.Stats()
		err := s.serve(ctx, l)
		if ctx.Err() != nil || err == nil {
			return
		}
		var r *protocol.Refused
		if errors.As(err, &r) && !r.Code.Later() {
			s.fail(err)
			return
		}
		if after := s.Stats(); after.Acknowledged+after.Refused > before.Acknowledged+before.Refused {
			pause = retryPauseMin
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, retryPauseMax)
		if l, err = s.connect(ctx); err != nil {
			s.fail(err)
			return
		}
	}
}

func (s *Sender) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.notify()
}

// notify wakes all who wait for a change. The caller holds the lock.
func (s *Sender) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// serve uses a connection until it breaks, or until the source has ended: then the error is nil.
func (s *Sender) serve(ctx context.Context, l *line) error {
	s.mu.Lock()
	s.sent, s.endSentBefore = 0, s.endSent
	s.stats.Connections++
	s.takeWindow(l)
	s.notify()
	s.mu.Unlock()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.conn.Close() })
	defer stop()
	written := make(chan error, 1)
	go func() {
		err := s.write(ctx, l)
		_ = l.conn.Close() // and with it ends read
		written <- err
	}()
	err := s.read(l)
	cancel()
	writeErr := <-written
	if err != nil && writeErr != nil && !errors.Is(writeErr, context.Canceled) {
		err = errors.Join(err, writeErr)
	}
	return err
}

// takeWindow keeps to what the server takes. The caller holds the lock, or has the sender for itself.
func (s *Sender) takeWindow(l *line) {
	s.window = max(1, int(min(l.welcome.InFlightMax, pendingBatchesMax)))       // #nosec G115 -- at most pendingBatchesMax
	s.frameBytesMax = int(min(l.welcome.FrameBytesMax, protocol.FrameBytesMax)) // #nosec G115 -- at most FrameBytesMax
}

// write sends what is pending, as it comes.
func (s *Sender) write(ctx context.Context, l *line) error {
	ended, hurried := false, false
	for {
		var frame []byte
		s.mu.Lock()
		changed := s.changed
		for _, it := range s.pending {
			if it.number > s.sent {
				frame, s.sent = it.frame, it.number
				break
			}
		}
		switch {
		case frame != nil:
		case s.hurry && !hurried:
			frame, hurried = protocol.AppendFrame(nil, protocol.KindHurry, nil), true
		case s.ending && !ended && (s.o.Finite || len(s.pending) == 0):
			// The last answers of a finite source may come only behind its end.
			frame, ended = protocol.AppendFrame(nil, protocol.KindEnd, nil), true
			s.endSent = true
		}
		s.mu.Unlock()
		if frame == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if _, err := l.conn.Write(frame); err != nil {
			return err
		}
	}
}

// read takes the server's answers.
func (s *Sender) read(l *line) error {
	for {
		kind, payload, err := l.in.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the server has closed the connection")
			}
			return err
		}
		switch kind {
		case protocol.KindAck:
			var a protocol.Ack
			if err := a.Parse(payload); err != nil {
				return err
			}
			s.answered(a.Number, func(st *SenderStats) {
				st.Acknowledged++
				st.Rejected += a.Rejected
			})
		case protocol.KindRefused:
			err := refused(payload)
			var r *protocol.Refused
			if errors.As(err, &r) && r.Code == protocol.CodeEnded {
				if !s.hasIt(r.Number) {
					return fmt.Errorf("%w: %w", ErrEnded, err)
				}
				continue
			}
			if !errors.As(err, &r) || r.Number == 0 || r.Code.Later() {
				return err // connect anew, after a pause, and send again
			}
			s.answered(r.Number, func(st *SenderStats) {
				st.Refused++
				if s.refused == nil {
					s.refused = err
				}
			})
		case protocol.KindEnded:
			var e protocol.Ended
			if err := e.Parse(payload, l.welcome.Version); err != nil {
				return err
			}
			s.mu.Lock()
			s.ended = true
			if l.welcome.Version >= 3 {
				s.outcome = &Outcome{Stored: e.Stored, Shed: e.Shed, Rejected: e.Rejected, Reasons: map[string]uint64{}}
				for _, r := range e.Reasons {
					s.outcome.Reasons[r.Text] += r.Events
				}
			}
			s.notify()
			s.mu.Unlock()
			return nil
		default:
			return fmt.Errorf("%w: %s is not for a sender", protocol.ErrMalformed, kind)
		}
	}
}

// hasIt takes a refusal behind the end of the source for an acknowledgement, if it was us who ended it: that was before
// the answer got lost.
func (s *Sender) hasIt(number uint64) bool {
	s.mu.Lock()
	ours := s.endSentBefore
	s.mu.Unlock()
	if ours {
		s.answered(number, func(st *SenderStats) { st.Acknowledged++ })
	}
	return ours
}

// answered forgets a batch that has its answer.
func (s *Sender) answered(number uint64, count func(*SenderStats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := slices.BinarySearchFunc(s.pending, number, func(it item, n uint64) int {
		switch {
		case it.number < n:
			return -1
		case it.number > n:
			return 1
		}
		return 0
	})
	if !found {
		return // answered twice: on two connections
	}
	s.bytes -= len(s.pending[i].frame)
	s.pending = slices.Delete(s.pending, i, i+1)
	count(&s.stats)
	s.notify()
}

// wait waits until is, called with the lock held, says so. It fails when nothing goes on.
func (s *Sender) wait(ctx context.Context, is func() bool) error {
	for {
		s.mu.Lock()
		ok, err, changed := is(), s.err, s.changed
		s.mu.Unlock()
		switch {
		case ok:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-changed:
		case <-s.over:
			s.mu.Lock()
			ok, err := is(), s.err
			s.mu.Unlock()
			switch {
			case ok:
				return nil
			case err != nil:
				return err
			}
			return ErrSenderClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// give puts a batch into pending. It waits for room.
func (s *Sender) give(ctx context.Context, k protocol.Kind, body func(dst []byte) ([]byte, error)) error {
	for {
		s.mu.Lock()
		if s.o.Finite && !s.hurry && !s.hasRoom() {
			s.hurry = true
			s.notify()
		}
		s.mu.Unlock()
		if err := s.wait(ctx, s.hasRoom); err != nil {
			return err
		}
		s.mu.Lock()
		if !s.hasRoom() { // somebody else was faster
			s.mu.Unlock()
			continue
		}
		err := s.giveLocked(k, body)
		s.mu.Unlock()
		return err
	}
}

func (s *Sender) hasRoom() bool {
	return s.ending || s.leaving || len(s.pending) < s.window && s.bytes+protocol.FrameBytesMax <= s.o.PendingBytesMax
}

func (s *Sender) giveLocked(k protocol.Kind, body func(dst []byte) ([]byte, error)) error {
	if s.ending || s.leaving {
		return ErrSenderClosed
	}
	frame, err := body(protocol.BeginBatch(nil, k, s.number+1))
	if err != nil {
		return err
	}
	frame = protocol.EndFrame(frame, 0)
	if len(frame)-frameOverheadBytes > s.frameBytesMax {
		return fmt.Errorf("client: %w: a batch of %d bytes, the server takes %d", protocol.ErrTooLarge, len(frame)-frameOverheadBytes, s.frameBytesMax)
	}
	s.number++
	s.stats.Batches++
	s.pending = append(s.pending, item{s.number, frame})
	s.bytes += len(frame)
	s.notify()
	return nil
}

// frameOverheadBytes are those of a frame that its length does not count.
const frameOverheadBytes = 8

// linesBytesMax is how many bytes of lines go into one frame.
const linesBytesMax = 256 << 10

// Lines sends event lines: whole ones, each ended by a line feed. It returns when they are on their way;
// see [Sender.Flush]. It waits while too much is.
func (s *Sender) Lines(ctx context.Context, lines []byte) error {
	for len(lines) > 0 {
		end := len(lines)
		if end > linesBytesMax {
			end = bytes.LastIndexByte(lines[:linesBytesMax], '\n') + 1
			if end == 0 { // one line longer than that
				end = bytes.IndexByte(lines, '\n') + 1
			}
			if end == 0 {
				end = len(lines)
			}
		}
		part := lines[:end]
		if err := s.give(ctx, protocol.KindLines, func(dst []byte) ([]byte, error) { return append(dst, part...), nil }); err != nil {
			return err
		}
		lines = lines[end:]
	}
	return nil
}

// Flush returns when the server has answered for everything that was given before. It fails when some of
// it was refused for good, or when the connection is lost for too long.
func (s *Sender) Flush(ctx context.Context) error {
	s.mu.Lock()
	until := s.number
	s.mu.Unlock()
	err := s.wait(ctx, func() bool { return len(s.pending) == 0 || s.pending[0].number > until })
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(err, s.refused)
}

// Close ends the source: it flushes, and tells the server that there is no more. The sender takes no more
// either, whatever the error.
func (s *Sender) Close(ctx context.Context) error {
	s.mu.Lock()
	s.ending = true
	s.notify()
	s.mu.Unlock()
	err := s.wait(ctx, func() bool { return s.ended })
	s.cancel()
	<-s.over
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(err, s.refused)
}

// Leave ends the sender and not its source, which can go on with another sender of the same session: it flushes, and takes
// no more, whatever the error.
func (s *Sender) Leave(ctx context.Context) error {
	s.mu.Lock()
	s.leaving, s.hurry = true, s.o.Finite
	s.notify()
	s.mu.Unlock()
	err := s.Flush(ctx)
	s.cancel()
	<-s.over
	return err
}

// Outcome gives what the server said at the end of the source. It is false before Close has returned well.
func (s *Sender) Outcome() (Outcome, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outcome == nil {
		return Outcome{}, false
	}
	return *s.outcome, true
}

// Stats gives the counts up to now.
func (s *Sender) Stats() SenderStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Sink gives the sender as what a source hands its batches to. Its rejects go to f.
func (s *Sender) Sink(f func(source.Rejected) error) source.Sink { return &sink{s, f} }

type sink struct {
	sender *Sender
	reject func(source.Rejected) error
}

func (k *sink) Table() *wire.Table { return k.sender.table }

// Push sends a batch, in several frames if it is long. Its Done is not called: the ids are the server's.
func (k *sink) Push(ctx context.Context, b *wire.Batch) error {
	for _, part := range split(b) {
		err := k.sender.give(ctx, protocol.KindBatch, func(dst []byte) ([]byte, error) {
			return wire.AppendBatch(dst, k.sender.table, part)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (k *sink) Reject(r source.Rejected) error { return k.reject(r) }

// The most that goes into one frame: a record without its payload takes less than 100 bytes.
const (
	partRecordsMax = 8192
	partBytesMax   = 2 << 20
)

// split cuts a batch into parts that fit into frames. The parts share the batch's memory.
func split(b *wire.Batch) []*wire.Batch {
	if len(b.Records) <= partRecordsMax && len(b.Arena) <= partBytesMax {
		return []*wire.Batch{b}
	}
	var parts []*wire.Batch
	part := &wire.Batch{Arena: b.Arena}
	next, size := 0, 0
	for _, run := range b.Runs {
		for left := run.Len; left > 0; left-- {
			r := &b.Records[next]
			payload := int(r.DataLen) + int(r.ExtLen)
			if n := len(part.Records); n > 0 && (n >= partRecordsMax || size+payload > partBytesMax) {
				parts = append(parts, part)
				part = &wire.Batch{Arena: b.Arena}
				size = 0
			}
			if part.Records == nil {
				part.Records = b.Records[next:next]
			}
			part.Records = part.Records[:len(part.Records)+1]
			if n := len(part.Runs); n == 0 || part.Runs[n-1].Stream != run.Stream {
				part.Runs = append(part.Runs, wire.Run{Stream: run.Stream})
			}
			part.Runs[len(part.Runs)-1].Len++
			size += payload
			next++
		}
	}
	return append(parts, part)
}
