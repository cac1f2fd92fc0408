package probe

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// serverSink sends chunks to a server, in the protocol of docs/protocol, of which it speaks the little that it
// needs: hello, lines, end.
//
// A chunk is kept until the server says that its events are durable. When the line breaks, a new one is made
// and what is kept is sent again; the server tells what it has already. The program waits for none of
// this: chunks that are kept are not free, and when none is free the policy decides.
type serverSink struct {
	recorder *Recorder
	network  string
	address  string
	session  string
	tls      *tls.Config // nil: none

	ctx    context.Context // over: give up
	cancel context.CancelFunc
	over   chan struct{} // closed: the sending goroutine has ended

	mu      sync.Mutex
	changed chan struct{} // closed and made anew when something below changes
	kept    []*kept       // in the order of their numbers
	number  uint64
	sent    uint64 // number of the last chunk that this line has been given
	window  int    // so many may be without an answer
	ending  bool
	failed  bool // nothing more is taken: the server has refused for good
}

type kept struct {
	number uint64
	chunk  *chunk
}

const (
	dialTimeout  = 5 * time.Second
	writeTimeout = 30 * time.Second
	pauseMin     = 20 * time.Millisecond
	pauseMax     = 2 * time.Second

	frameHello   = 1
	frameLines   = 3
	frameEnd     = 4
	frameWelcome = 16
	frameAck     = 17
	frameRefused = 18
	frameEnded   = 19

	tokenBytesMax = 256

	answerBytesMax = 16 << 10 // longest frame that answers us: a refusal with its reason
)

// refusal is what a server says when it does not take something.
type refusal struct {
	number uint64 // of the chunk; 0: the connection
	code   byte
	reason string
}

func (r *refusal) Error() string { return "the server refuses: " + r.reason }

// later says whether another try can help: internal, busy, closing.
func (r *refusal) later() bool { return r.code == 1 || r.code == 6 || r.code == 7 }

func openServer(r *Recorder, address string) (sink, error) {
	s := &serverSink{
		recorder: r, network: "tcp", address: address, session: rand.Text(), window: 1,
		over: make(chan struct{}), changed: make(chan struct{}),
	}
	s.tls = r.options.TLS
	if target, ok := strings.CutPrefix(address, "tls:"); ok {
		if address, s.address = target, target; s.tls == nil {
			s.tls = &tls.Config{MinVersion: tls.VersionTLS13}
		}
	}
	if len(r.options.Token) > tokenBytesMax {
		return nil, fmt.Errorf("probe: Token has %d bytes: at most %d", len(r.options.Token), tokenBytesMax)
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		s.network, s.address, s.tls = "unix", path, nil
	} else if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("probe: server %q: %w: write unix:PATH or HOST:PORT", address, err)
	}
	if len(r.options.Source) > 1024 {
		return nil, fmt.Errorf("probe: Source has %d bytes: at most 1024", len(r.options.Source))
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.run()
	return s, nil
}

// write keeps a chunk. It never waits.
func (s *serverSink) write(c *chunk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed {
		s.recorder.giveBack(c, false)
		return
	}
	s.number++
	s.kept = append(s.kept, &kept{number: s.number, chunk: c})
	s.notify()
}

func (s *serverSink) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// flush waits until nothing is kept, for as long as the options allow.
func (s *serverSink) flush() {
	timeout := time.NewTimer(s.recorder.options.CloseTimeout)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		nothing, changed := len(s.kept) == 0, s.changed
		s.mu.Unlock()
		if nothing {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			return
		}
	}
}

func (s *serverSink) close() {
	s.mu.Lock()
	s.ending = true
	s.notify()
	s.mu.Unlock()
	timeout := time.NewTimer(s.recorder.options.CloseTimeout)
	defer timeout.Stop()
	select {
	case <-s.over:
	case <-timeout.C:
	}
	s.cancel()
	<-s.over
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) > 0 {
		s.recorder.fail(fmt.Errorf("probe: the server %s has not acknowledged everything within %v", s.address, s.recorder.options.CloseTimeout))
	}
	s.dropKept()
}

// dropKept gives up what is kept. The caller holds the lock.
func (s *serverSink) dropKept() {
	for _, k := range s.kept {
		s.recorder.giveBack(k.chunk, false)
	}
	s.kept = nil
	s.notify()
}

// run makes one line after the other until the source has ended or nothing helps.
func (s *serverSink) run() {
	defer close(s.over)
	pause := pauseMin
	for {
		progress, err := s.serve()
		if err == nil {
			return
		}
		var r *refusal
		if errors.As(err, &r) && r.number == 0 && !r.later() {
			s.recorder.fail(fmt.Errorf("probe: server %s: %w", s.address, err))
			s.mu.Lock()
			s.failed = true
			s.dropKept()
			s.mu.Unlock()
			return
		}
		if progress {
			pause = pauseMin
		}
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return
		}
		pause = min(2*pause, pauseMax)
	}
}

// serve makes a line and uses it until it breaks; the error is nil if the source has ended well. It says
// whether anything was acknowledged.
func (s *serverSink) serve() (progress bool, err error) {
	conn, err := s.dial()
	if err != nil {
		return false, err
	}
	stop := context.AfterFunc(s.ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close() //nolint:errcheck // over either way
	_ = conn.SetDeadline(time.Now().Add(dialTimeout))
	in := bufio.NewReader(conn)
	if err := s.hello(conn, in); err != nil {
		return false, err
	}
	_ = conn.SetDeadline(time.Time{})

	writing := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		s.send(conn, writing)
		_ = conn.Close() // and with it ends the reading below
	})
	defer writer.Wait()
	defer conn.Close() //nolint:errcheck // so that nobody waits in it
	defer close(writing)
	for {
		kind, payload, err := readFrame(in)
		if err != nil {
			return progress, err
		}
		switch kind {
		case frameAck:
			number, width := binary.Uvarint(payload)
			rejected, more := binary.Uvarint(payload[max(width, 0):])
			if width <= 0 || more <= 0 {
				return progress, errors.New("a malformed acknowledgement")
			}
			s.answered(number, rejected, true)
			progress = true
		case frameRefused:
			r, err := parseRefusal(payload)
			if err != nil {
				return progress, err
			}
			if r.number == 0 || r.later() {
				return progress, r
			}
			s.recorder.fail(fmt.Errorf("probe: server %s: %w", s.address, r))
			s.answered(r.number, 0, false)
			progress = true
		case frameEnded:
			return progress, nil
		default:
			return progress, fmt.Errorf("a frame of kind %d, which is no answer", kind)
		}
	}
}

// dial makes the connection. A token is never sent where others could read it on its way.
func (s *serverSink) dial() (net.Conn, error) {
	dialer := &net.Dialer{Timeout: dialTimeout}
	if s.tls != nil {
		return (&tls.Dialer{NetDialer: dialer, Config: s.tls}).DialContext(s.ctx, s.network, s.address)
	}
	conn, err := dialer.DialContext(s.ctx, s.network, s.address)
	if err != nil || s.network == "unix" || s.recorder.options.Token == "" {
		return conn, err
	}
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		_ = conn.Close()
		return nil, &refusal{reason: "nobody has asked it: a token is not sent without TLS to another machine; write tls:" + s.address}
	}
	return conn, nil
}

// hello begins the conversation. The first version of the protocol is enough, but for a token.
func (s *serverSink) hello(conn net.Conn, in *bufio.Reader) error {
	token, version := s.recorder.options.Token, byte(1)
	if token != "" {
		version = 4
	}
	payload := append([]byte("pastcone"), version)
	for _, text := range []string{s.recorder.options.Source, "probe", s.session} {
		payload = append(binary.AppendUvarint(payload, uint64(len(text))), text...)
	}
	if token != "" {
		payload = append(payload, 0) // no flags
		payload = append(binary.AppendUvarint(payload, uint64(len(token))), token...)
	}
	_, writeErr := conn.Write(appendFrame(nil, frameHello, nil, payload))
	kind, answer, err := readFrame(in)
	if err != nil {
		return errors.Join(writeErr, err)
	}
	switch kind {
	case frameRefused:
		r, err := parseRefusal(answer)
		if err != nil {
			return err
		}
		return r
	case frameWelcome:
	default:
		return fmt.Errorf("a frame of kind %d, which is no welcome", kind)
	}
	var numbers [3]uint64 // version, longest frame, frames without an answer
	for i := range numbers {
		n, width := binary.Uvarint(answer)
		if width <= 0 {
			return errors.New("a malformed welcome")
		}
		numbers[i], answer = n, answer[width:]
	}
	if numbers[0] != uint64(version) || numbers[1] < chunkBytes+16 {
		return &refusal{reason: fmt.Sprintf("it speaks version %d and takes frames of %d bytes: this probe needs version %d and %d bytes", numbers[0], numbers[1], version, chunkBytes+16)}
	}
	s.mu.Lock()
	s.sent = 0
	s.window = int(max(1, min(numbers[2], 1<<16))) // #nosec G115 -- bounded
	s.mu.Unlock()
	return nil
}

// send sends what is kept, as it comes, until until is closed.
func (s *serverSink) send(conn net.Conn, until <-chan struct{}) {
	var frame []byte
	ended := false
	for {
		frame = frame[:0]
		s.mu.Lock()
		changed := s.changed
		for _, k := range s.kept[:min(len(s.kept), s.window)] {
			if k.number > s.sent {
				// The chunk stays as it is while it is kept; it is copied so that it need not be kept for us.
				number := binary.AppendUvarint(nil, k.number)
				frame, s.sent = appendFrame(frame, frameLines, number, k.chunk.bytes), k.number
				break
			}
		}
		if len(frame) == 0 && s.ending && len(s.kept) == 0 && !ended {
			frame, ended = appendFrame(frame, frameEnd, nil, nil), true
		}
		s.mu.Unlock()
		if len(frame) == 0 {
			select {
			case <-changed:
				continue
			case <-until:
				return
			}
		}
		_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := conn.Write(frame); err != nil {
			return
		}
	}
}

// answered gives a chunk back.
func (s *serverSink) answered(number, rejected uint64, durable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, k := range s.kept {
		if k.number != number {
			continue
		}
		s.kept = append(s.kept[:i], s.kept[i+1:]...)
		if rejected = min(rejected, uint64(k.chunk.events)); durable && rejected > 0 { // #nosec G115 -- not negative
			s.recorder.fail(fmt.Errorf("probe: server %s: %d events were of no use to it: they are in its rejects file", s.address, rejected))
			s.recorder.dropped.Add(rejected)
			k.chunk.events -= int(rejected) // #nosec G115 -- at most events
		}
		s.recorder.giveBack(k.chunk, durable)
		s.notify()
		return
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendFrame(dst []byte, kind byte, head, payload []byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(1+len(head)+len(payload))) // #nosec G115 -- about a chunk
	dst = append(append(append(dst, kind), head...), payload...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start+4:], castagnoli))
}

func readFrame(in *bufio.Reader) (kind byte, payload []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, nil, err
	}
	length := binary.LittleEndian.Uint32(head[:])
	if length == 0 || length > answerBytesMax {
		return 0, nil, fmt.Errorf("a frame of %d bytes", length)
	}
	body := make([]byte, length+4)
	if _, err := io.ReadFull(in, body); err != nil {
		return 0, nil, err
	}
	sum := binary.LittleEndian.Uint32(body[length:])
	if body = body[:length]; crc32.Checksum(body, castagnoli) != sum {
		return 0, nil, errors.New("a frame with a wrong checksum")
	}
	return body[0], body[1:], nil
}

func parseRefusal(p []byte) (*refusal, error) {
	malformed := errors.New("a malformed refusal")
	number, width := binary.Uvarint(p)
	if width <= 0 || len(p) == width {
		return nil, malformed
	}
	r := &refusal{number: number, code: p[width]}
	p = p[width+1:]
	length, width := binary.Uvarint(p)
	if width <= 0 || length != uint64(len(p)-width) { // #nosec G115 -- not negative
		return nil, malformed
	}
	r.reason = string(p[width:])
	return r, nil
}
