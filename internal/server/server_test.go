package server_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/protocol"
	. "github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/server/servertest"
	"github.com/pastcone/pastcone/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// begin starts a server on a loopback port. It is shut down at the end of the test.
func begin(t *testing.T, o Options) (*Server, string) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
		if err := <-served; !errors.Is(err, ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
		if c := s.Stats(); c.Connections != 0 {
			t.Errorf("connections are left: %+v", c)
		}
	})
	return s, l.Addr().String()
}

// peer speaks the protocol by hand.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *protocol.Reader
}

func connect(t *testing.T, address string) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return &peer{t, conn, protocol.NewReader(conn, protocol.AnswerBytesMax)}
}

const mySession = "session-number-one"

// hello connects as a source.
func hello(t *testing.T, address, session string) *peer {
	t.Helper()
	p := connect(t, address)
	p.send((&protocol.Hello{Version: 1, Source: "test", Format: "ndjson", Session: session}).Append(nil))
	p.want("welcome")
	return p
}

func (p *peer) send(frame []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(frame); err != nil {
		p.t.Fatal(err)
	}
}

// next gives the next frame in words.
func (p *peer) next() string {
	p.t.Helper()
	kind, payload, err := p.in.Next()
	if err != nil {
		return err.Error()
	}
	switch kind {
	case protocol.KindAck:
		var a protocol.Ack
		if err := a.Parse(payload); err != nil {
			p.t.Fatal(err)
		}
		return fmt.Sprintf("ack %d, %d rejected", a.Number, a.Rejected)
	case protocol.KindRefused:
		var r protocol.Refused
		if err := r.Parse(payload); err != nil {
			p.t.Fatal(err)
		}
		return fmt.Sprintf("refused %d %s: %s", r.Number, r.Code, r.Reason)
	case protocol.KindAnswer:
		id, line, _ := protocol.ParseAnswer(payload)
		return fmt.Sprintf("answer %d: %s", id, line)
	case protocol.KindAnswerEnd:
		var a protocol.AnswerEnd
		if err := a.Parse(payload); err != nil {
			p.t.Fatal(err)
		}
		return fmt.Sprintf("end of answer %d: %d %s", a.ID, a.Status, a.Reason)
	case protocol.KindWelcome:
		var w protocol.Welcome
		if err := w.Parse(payload); err != nil {
			p.t.Fatal(err)
		}
		return fmt.Sprintf("welcome, %d done", w.Done)
	}
	return kind.String()
}

func (p *peer) want(says string) {
	p.t.Helper()
	if got := p.next(); !strings.Contains(got, says) {
		p.t.Fatalf("got %q, want %q", got, says)
	}
}

// wantEnd wants the connection to end: by an end, or by a reset where the server left bytes unread.
func (p *peer) wantEnd() {
	p.t.Helper()
	if got := p.next(); got != io.EOF.Error() && !strings.Contains(got, "reset") {
		p.t.Fatalf("got %q, want the end", got)
	}
}

func lines(number uint64, text string) []byte {
	return protocol.EndFrame(append(protocol.BeginBatch(nil, protocol.KindLines, number), text...), 0)
}

func line(stream string, seq int) string {
	return fmt.Sprintf(`{"stream":%q,"seq":%d,"time":%d,"kind":"log"}`+"\n", stream, seq, seq)
}

func batch(t *testing.T, number uint64, stream string, seqs ...uint64) []byte {
	t.Helper()
	table := wire.NewTable(1 << 16)
	b := &wire.Batch{}
	for _, seq := range seqs {
		if err := b.AddEvent(table, &event.Event{Stream: stream, Seq: seq, Time: 7, Kind: event.KindLog, Func: "f"}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := wire.AppendBatch(protocol.BeginBatch(nil, protocol.KindBatch, number), table, b)
	if err != nil {
		t.Fatal(err)
	}
	return protocol.EndFrame(p, 0)
}

func TestSource_IsAcknowledgedWhenDurable(t *testing.T) {
	r := servertest.New(t)
	r.Held = true
	s, address := begin(t, Options{Recorder: r})
	p := hello(t, address, mySession)
	p.send(batch(t, 1, "g1", 1, 2, 3))
	p.send(lines(2, line("g2", 1)+"nonsense\n"+line("g2", 2)+"{}\n"))
	p.send(batch(t, 3, "g1")) // empty
	servertest.Eventually(t, "everything is recorded", func() bool { return r.Count() == 5 && s.Stats().Batches == 3 })
	if c := s.Stats(); c.Durable != 0 || c.Batches != 3 {
		t.Errorf("%+v before anything is durable", c)
	}
	r.Set(func() { r.Held = false })
	acks := []string{p.next(), p.next(), p.next()}
	slices.Sort(acks)
	if got := strings.Join(acks, "; "); got != "ack 1, 0 rejected; ack 2, 2 rejected; ack 3, 0 rejected" {
		t.Error(got)
	}
	p.send(protocol.AppendFrame(nil, protocol.KindEnd, nil))
	p.want("ended")
	if got := r.Events(); got != "g1#1 g1#2 g1#3 g2#1 g2#2" {
		t.Error(got)
	}
	if len(r.Rejects) != 2 || r.Rejects[0].Line != 2 || r.Rejects[1].Line != 4 || r.Rejects[0].File != "test" {
		t.Errorf("rejects: %+v", r.Rejects)
	}
	if len(r.Opened) != 1 || r.Opened[0] != "test/ndjson/"+mySession || r.Closes != 1 {
		t.Errorf("opened %v, closed %d", r.Opened, r.Closes)
	}
	p.send(batch(t, 4, "g1", 4))
	p.want("refused 4 malformed: a batch after the end")
	p.send(lines(5, line("g2", 3)))
	p.want("refused 5 malformed")
}

func TestLines_PlacesGoOnFromFrameToFrame(t *testing.T) {
	r := servertest.New(t)
	_, address := begin(t, Options{Recorder: r})
	p := hello(t, address, mySession)
	first := line("g", 1) + line("g", 2)
	p.send(lines(1, first))
	p.want("ack 1")
	p.send(lines(2, line("g", 3)+"bad\n"))
	p.want("ack 2, 1 rejected")
	if x := r.Rejects[0]; x.Line != 4 || x.Offset != int64(len(first)+len(line("g", 3))) || string(x.Raw) != "bad" {
		t.Errorf("%+v", x)
	}
}

func TestSource_ResendsAreHarmless(t *testing.T) {
	r := servertest.New(t)
	r.Held = true
	s, address := begin(t, Options{Recorder: r})
	p := hello(t, address, mySession)
	p.send(batch(t, 1, "g", 1))
	p.send(batch(t, 2, "g", 2))
	p.send(batch(t, 1, "g", 1)) // in flight: the answer comes later
	servertest.Eventually(t, "both are taken", func() bool { return r.Count() == 2 })
	_ = p.conn.Close() // no answer yet

	p = hello(t, address, mySession)
	p.send(batch(t, 1, "g", 1))
	p.send(batch(t, 2, "g", 2))
	p.send(batch(t, 3, "g", 3))
	servertest.Eventually(t, "the third is taken", func() bool { return r.Count() == 3 })
	r.Set(func() { r.Held = false })
	for _, want := range []string{"ack 1", "ack 2", "ack 3"} {
		p.want(want)
	}
	p.send(batch(t, 2, "g", 2)) // durable: the answer comes at once
	p.want("ack 2")
	if r.Duplicates != 0 {
		t.Errorf("%d events were recorded twice", r.Duplicates)
	}
	_ = p.conn.Close()
	p = connect(t, address)
	p.send((&protocol.Hello{Version: 1, Source: "test", Session: mySession}).Append(nil))
	p.want("welcome, 3 done")
	c := s.Stats()
	if c.Batches != 7 || c.Durable != 3 || c.Again != 4 || c.Refused != 0 {
		t.Errorf("%+v", c)
	}
}

func TestSource_ANewConnectionReplacesTheOld(t *testing.T) {
	r := servertest.New(t)
	r.Held = true
	_, address := begin(t, Options{Recorder: r})
	old := hello(t, address, mySession)
	old.send(batch(t, 1, "g", 1))
	servertest.Eventually(t, "it is taken", func() bool { return r.Count() == 1 })
	p := hello(t, address, mySession)
	old.want("refused 0 busy: the source has connected anew")
	old.wantEnd()
	r.Set(func() { r.Held = false })
	p.want("ack 1") // the answer comes on the line that is there
	if len(r.Opened) != 1 {
		t.Errorf("opened %v", r.Opened)
	}
}

func TestSource_ThatStaysAwayIsOverAndCanComeBack(t *testing.T) {
	r := servertest.New(t)
	r.HoldDone = true // it waits for events that never come
	_, address := begin(t, Options{Recorder: r, SessionLinger: 20 * time.Millisecond})
	p := hello(t, address, mySession)
	p.send(batch(t, 1, "g", 1))
	servertest.Eventually(t, "it is taken", func() bool { return r.Count() == 1 })
	_ = p.conn.Close()
	servertest.Eventually(t, "the source is closed", func() bool { return r.Closed() == 1 })
	p = hello(t, address, mySession)
	p.send(batch(t, 1, "g", 1))
	p.want("ack 1")
	p.send(batch(t, 2, "g", 2))
	p.want("ack 2")
	if len(r.Opened) != 2 || r.Duplicates != 0 {
		t.Errorf("opened %v, %d duplicates", r.Opened, r.Duplicates)
	}
}

func TestSource_Refusals(t *testing.T) {
	failure := errors.New("the disk is full")
	for name, c := range map[string]struct {
		set   func(r *servertest.Recorder)
		frame []byte
		want  string
		again string // the answer when the recorder is well again
	}{
		"a batch that is none":        {func(*servertest.Recorder) {}, protocol.EndFrame(append(protocol.BeginBatch(nil, protocol.KindBatch, 1), 9), 0), "refused 1 malformed: batch: byte 1: version 9", "refused 1 malformed"},
		"the table is full":           {func(r *servertest.Recorder) { r.Names = wire.NewTable(10) }, batch(t, 1, "g", 1), "refused 1 table full", "refused 1 table full"},
		"the flow takes nothing":      {func(r *servertest.Recorder) { r.PushErr = failure }, batch(t, 1, "g", 1), "refused 1 internal: the disk is full", "ack 1"},
		"lines that the flow refuses": {func(r *servertest.Recorder) { r.PushErr = failure }, lines(1, line("g", 1)), "refused 1 internal", "ack 1"},
		"it does not become durable":  {func(r *servertest.Recorder) { r.WaitErr = failure }, batch(t, 1, "g", 1), "refused 1 internal: the disk is full", "ack 1"},
		"content that is checked":     {func(r *servertest.Recorder) {}, batch(t, 1, "forbidden", 1), "refused 1 malformed: malformed: no forbidden streams", "refused 1 malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			r := servertest.New(t)
			c.set(r)
			check := func(b *wire.Batch) error {
				if strings.HasPrefix(r.Names.NameOf(b.Runs[0].Stream), "forbidden") {
					return errors.New("no forbidden streams")
				}
				return nil
			}
			s, address := begin(t, Options{Recorder: r, Check: check})
			p := hello(t, address, mySession)
			p.send(c.frame)
			p.want(c.want)
			r.Set(func() { r.PushErr, r.WaitErr = nil, nil })
			p.send(c.frame)
			p.want(c.again)
			if st := s.Stats(); st.Batches != 2 || st.Refused < 1 || st.Durable+st.Refused+st.Again != 2 {
				t.Errorf("%+v", st)
			}
		})
	}
}

func TestSource_NumbersWithAHoleEndIt(t *testing.T) {
	r := servertest.New(t)
	_, address := begin(t, Options{Recorder: r, InFlightMax: 2})
	p := hello(t, address, mySession)
	p.send(batch(t, 1, "g", 1))
	p.want("ack")
	for n := uint64(3); n < 11; n++ {
		p.send(batch(t, n, "g", n))
		p.want("ack")
	}
	p.send(batch(t, 11, "g", 11))
	p.want("refused 0 malformed: batch 2 is missing")
	p.wantEnd()
}

func TestSource_WaitsWhileTooMuchIsInFlight(t *testing.T) {
	r := servertest.New(t)
	r.Held = true
	s, address := begin(t, Options{Recorder: r, InFlightMax: 3})
	p := hello(t, address, mySession)
	for n := uint64(1); n <= 6; n++ {
		p.send(batch(t, n, "g", n))
	}
	servertest.Eventually(t, "three are taken and the fourth waits", func() bool { return r.Count() == 3 && s.Stats().Batches == 4 })
	time.Sleep(20 * time.Millisecond)
	if r.Count() != 3 {
		t.Errorf("%d were taken, 3 may be in flight", r.Count())
	}
	r.Set(func() { r.Held = false })
	for range 6 {
		p.want("ack")
	}
}

func TestConnection_RefusesWhatTheProtocolDoesNotSay(t *testing.T) {
	src := (&protocol.Hello{Version: 1, Source: "test", Session: mySession}).Append(nil)
	src2 := (&protocol.Hello{Version: 2, Source: "test", Session: mySession}).Append(nil)
	asks := (&protocol.Hello{Version: 1}).Append(nil)
	end := protocol.AppendFrame(nil, protocol.KindEnd, nil)
	flipped := append([]byte(nil), end...)
	flipped[5] ^= 1
	for name, c := range map[string]struct {
		frames [][]byte
		want   string
	}{
		"another protocol":                {[][]byte{[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")}, "refused 0 too large"},
		"no hello":                        {[][]byte{end}, "refused 0 malformed: malformed: a connection begins with hello, not with end"},
		"half a hello":                    {[][]byte{protocol.AppendFrame(nil, protocol.KindHello, []byte("pastcone"))}, "refused 0 malformed"},
		"a hello that is too long":        {[][]byte{protocol.AppendFrame(nil, protocol.KindHello, make([]byte, 9000))}, "refused 0 too large"},
		"a version of tomorrow":           {[][]byte{(&protocol.Hello{Version: 3}).Append(nil)}, "refused 0 version: version 3: this server speaks versions 1 to 2"},
		"no version":                      {[][]byte{(&protocol.Hello{}).Append(nil)}, "refused 0 version"},
		"a frame that is too long":        {[][]byte{src, binary.LittleEndian.AppendUint32(nil, 1<<31)}, "refused 0 too large"},
		"a wrong checksum":                {[][]byte{src, flipped}, "refused 0 malformed: malformed: the checksum"},
		"a second hello":                  {[][]byte{src, src}, "refused 0 malformed: malformed: hello is not for a client to send"},
		"a server's frame":                {[][]byte{src, (&protocol.Ack{}).Append(nil)}, "ack is not for a client to send"},
		"a kind of tomorrow":              {[][]byte{src, protocol.AppendFrame(nil, 99, nil)}, "kind 99 is not for a client to send"},
		"hurry in version 1":              {[][]byte{src, protocol.AppendFrame(nil, protocol.KindHurry, nil)}, "hurry is not for a client to send"},
		"hurry with something":            {[][]byte{src2, protocol.AppendFrame(nil, protocol.KindHurry, []byte("x"))}, "hurry has no payload"},
		"hurry of one that asks":          {[][]byte{(&protocol.Hello{Version: 2}).Append(nil), protocol.AppendFrame(nil, protocol.KindHurry, nil)}, "is for a source"},
		"batch 0":                         {[][]byte{src, lines(0, "")}, "refused 0 malformed: malformed: batch 0"},
		"end with something":              {[][]byte{src, protocol.AppendFrame(nil, protocol.KindEnd, []byte("x"))}, "end has no payload"},
		"end of a connection that asks":   {[][]byte{asks, end}, "end on a connection that only asks"},
		"lines on a connection that asks": {[][]byte{asks, lines(1, "")}, "lines on a connection that only asks"},
		"a query that is none":            {[][]byte{asks, protocol.AppendFrame(nil, protocol.KindQuery, nil)}, "refused 0 malformed"},
		"a cancel that is none":           {[][]byte{asks, protocol.AppendFrame(nil, protocol.KindCancel, nil)}, "refused 0 malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, address := begin(t, Options{Recorder: servertest.New(t), Answerer: servertest.Answerer{}})
			p := connect(t, address)
			for i, frame := range c.frames {
				p.send(frame)
				if i < len(c.frames)-1 {
					p.want("welcome")
				}
			}
			p.want(c.want)
			p.wantEnd()
		})
	}
}

func TestConnection_Bounds(t *testing.T) {
	t.Run("too many connections", func(t *testing.T) {
		s, address := begin(t, Options{Recorder: servertest.New(t), ConnectionsMax: 1})
		hello(t, address, mySession)
		p := connect(t, address)
		p.want("refused 0 busy: 1 connections are open")
		p.wantEnd()
		if c := s.Stats(); c.TurnedAway != 1 || c.Accepted != 2 || c.Connections != 1 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("too many sources; those that are away are forgotten", func(t *testing.T) {
		r := servertest.New(t)
		_, address := begin(t, Options{Recorder: r, SessionsMax: 1, SessionLinger: time.Millisecond})
		first := hello(t, address, mySession)
		p := connect(t, address)
		p.send((&protocol.Hello{Version: 1, Source: "test", Session: mySession + "2"}).Append(nil))
		p.want("refused 0 busy: 1 sources are connected")
		_ = first.conn.Close()
		servertest.Eventually(t, "the first is closed", func() bool { return r.Closed() == 1 })
		hello(t, address, mySession+"3")
	})
	t.Run("no recording", func(t *testing.T) {
		_, address := begin(t, Options{Answerer: servertest.Answerer{}})
		p := connect(t, address)
		p.send((&protocol.Hello{Version: 1, Source: "test", Session: mySession}).Append(nil))
		p.want("refused 0 no recording")
	})
	t.Run("a source that cannot be opened", func(t *testing.T) {
		r := servertest.New(t)
		r.OpenErr = errors.New("no room")
		_, address := begin(t, Options{Recorder: r})
		p := connect(t, address)
		p.send((&protocol.Hello{Version: 1, Source: "test", Session: mySession}).Append(nil))
		p.want(`refused 0 internal: open the source "test": no room`)
	})
	t.Run("a client that says nothing", func(t *testing.T) {
		_, address := begin(t, Options{Recorder: servertest.New(t), ReadTimeout: 20 * time.Millisecond})
		p := connect(t, address)
		p.want("nothing came for too long")
	})
	t.Run("a client that stops within a frame", func(t *testing.T) {
		_, address := begin(t, Options{Recorder: servertest.New(t), ReadTimeout: 20 * time.Millisecond})
		p := hello(t, address, mySession)
		p.send(lines(1, line("g", 1))[:9])
		p.want("nothing came for too long")
	})
	t.Run("a client that has nothing more to say", func(t *testing.T) {
		_, address := begin(t, Options{Recorder: servertest.New(t), IdleTimeout: 20 * time.Millisecond})
		p := hello(t, address, mySession)
		p.want("nothing came for too long")
	})
	t.Run("a client that does not read", func(t *testing.T) {
		s, address := begin(t, Options{Answerer: servertest.Answerer{}, WriteTimeout: 50 * time.Millisecond, QueryTimeout: func() time.Duration { return 20 * time.Second }})
		p := connect(t, address)
		p.send((&protocol.Hello{Version: 1}).Append(nil))
		p.send((&protocol.Query{ID: 1, Op: "count", Args: []byte("100000000")}).Append(nil))
		servertest.Eventually(t, "it is cut off", func() bool { c := s.Stats(); return c.Queries == 1 && c.Connections == 0 })
	})
}

func TestQuery_Answers(t *testing.T) {
	_, address := begin(t, Options{Answerer: servertest.Answerer{}, QueriesMax: 2})
	p := connect(t, address)
	p.send((&protocol.Hello{Version: 1}).Append(nil))
	p.want("welcome")
	ask := func(id, deadlineMs uint64, op, args string) {
		p.send((&protocol.Query{ID: id, DeadlineMs: deadlineMs, Op: op, Args: []byte(args)}).Append(nil))
	}
	ask(1, 0, "count", "3")
	for _, want := range []string{"answer 1: 0", "answer 1: 1", "answer 1: 2", "end of answer 1: 0 "} {
		p.want(want)
	}
	ask(2, 0, "nonsense", "")
	p.want(`end of answer 2: 1 no operation "nonsense"`)
	ask(3, 0, "panic", "")
	p.want(`end of answer 3: 1 the server failed in "panic": on purpose`)
	ask(4, 0, "huge", "")
	p.want("end of answer 4: 1 a line of 17825792 bytes does not fit")
	ask(5, 20, "wait", "")
	p.want("end of answer 5: 2 context deadline exceeded")
	ask(6, 0, "wait", "")
	ask(7, 0, "wait", "")
	ask(6, 0, "wait", "")
	p.want("end of answer 6: 1 query 6 is being answered already")
	ask(8, 0, "wait", "")
	p.want("end of answer 8: 1 2 queries are being answered")
	p.send(protocol.AppendCancel(nil, 99)) // nobody's
	p.send(protocol.AppendCancel(nil, 7))
	p.want("end of answer 7: 3 context canceled")
	ask(9, 0, "echo", `{"a":1}`) // 6 still waits
	p.want(`answer 9: {"a":1}`)
	p.want("end of answer 9: 0 ")

	_, address = begin(t, Options{})
	p = connect(t, address)
	p.send((&protocol.Hello{Version: 1}).Append(nil))
	p.want("welcome")
	ask(1, 0, "echo", "")
	p.want("end of answer 1: 1 this server answers no questions")
}

func TestShutdown_AnswersForAllThatItTook(t *testing.T) {
	r := servertest.New(t)
	r.Held, r.HoldDone = true, true
	s, address := begin(t, Options{Recorder: r})
	p := hello(t, address, mySession)
	p.send(batch(t, 1, "g", 1))
	servertest.Eventually(t, "it is taken", func() bool { return r.Count() == 1 })
	over := make(chan error, 1)
	go func() { over <- s.Shutdown(context.Background()) }()
	servertest.Eventually(t, "the source is closed", func() bool { return r.Closed() == 1 })
	p.send(batch(t, 2, "g", 2))
	p.want("refused 2 closing")
	if _, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		t.Error("a connection after the end")
	}
	r.Set(func() { r.Held = false })
	p.want("ack 1")
	p.want("refused 0 closing")
	p.wantEnd()
	if err := <-over; err != nil {
		t.Error(err)
	}
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

func TestShutdown_DoesNotWaitForEver(t *testing.T) {
	r := servertest.New(t)
	r.Held = true
	s, address := begin(t, Options{Recorder: r})
	p := hello(t, address, mySession)
	p.send(batch(t, 1, "g", 1))
	servertest.Eventually(t, "it is taken", func() bool { return r.Count() == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestOptions_AreBounded(t *testing.T) {
	for name, o := range map[string]Options{
		"ConnectionsMax is -1":                   {ConnectionsMax: -1},
		"FrameBytesMax is 1:":                    {FrameBytesMax: 1},
		"FrameBytesMax is 5242880":               {FrameBytesMax: 5 << 20},
		"IdleTimeout is -1s":                     {IdleTimeout: -time.Second},
		"SessionLinger is 1µs: it must be at le": {SessionLinger: time.Microsecond},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListen_OnThisMachineOnly(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.168.7.7:0", "example.com:80"} {
		if _, err := Listen(address); !errors.Is(err, ErrNotLoopback) || !strings.Contains(err.Error(), "no authentication") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for address, says := range map[string]string{
		"7071": "write unix:PATH or HOST:PORT", "unix:": "is missing", "unix:/nowhere/at/all/s": "no such file",
		"unix:" + filepath.Join(t.TempDir(), strings.Repeat("x", 100)): "at most 103 fit",
	} {
		if _, err := Listen(address); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"localhost:0", "127.0.0.9:0"} {
		l, err := Listen(address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(l.Addr().String()); err == nil {
			t.Errorf("%s is listened on twice", l.Addr())
		}
		_ = l.Close()
	}
}

func TestListen_UnixSocketIsPrivateAndReplacesADeadOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	address := "unix:" + path
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = dead.Close()

	l, err := Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if l.Addr().String() != path {
		t.Errorf("address %s", l.Addr())
	}
	if _, err := Listen(address); !errors.Is(err, ErrInUse) {
		t.Errorf("a second server: %v", err)
	}
	s, err := New(Options{Answerer: servertest.Answerer{}})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t, conn, protocol.NewReader(conn, 1<<20)}
	p.send((&protocol.Hello{Version: 1}).Append(nil))
	p.want("welcome")
	_ = conn.Close()
	_ = s.Shutdown(context.Background())
	<-served
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(address); err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("on a file: %v", err)
	}
	entries, _ := os.ReadDir(filepath.Dir(path))
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestServe_EndsWithItsListener(t *testing.T) {
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	time.Sleep(10 * time.Millisecond)
	_ = l.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	_ = s.Shutdown(context.Background())
}

// What comes again brings nothing new; it is acknowledged when what came first is durable, all the same.
func TestSource_WhatComesAgainIsNotAcknowledgedTooSoon(t *testing.T) {
	r := servertest.New(t)
	r.Held, r.WaitErr = true, errors.New("the disk is full")
	s, address := begin(t, Options{Recorder: r})
	p := hello(t, address, mySession)
	p.send(batch(t, 1, "g", 1))
	p.want("refused 1 internal")
	r.Set(func() { r.WaitErr = nil })
	p.send(batch(t, 1, "g", 1))
	servertest.Eventually(t, "it has come again", func() bool { return s.Stats().Batches == 2 })
	time.Sleep(20 * time.Millisecond)
	if c := s.Stats(); c.Durable != 0 || r.Count() != 1 {
		t.Errorf("%+v, %d events", c, r.Count())
	}
	r.Set(func() { r.Held = false })
	p.want("ack 1")
}

// A recorder that takes its time to close a source holds up that source only.
func TestSource_ThatClosesSlowly(t *testing.T) {
	r := servertest.New(t)
	closing := make(chan struct{})
	r.OnClose = func() { <-closing }
	s, address := begin(t, Options{Recorder: r})
	p := hello(t, address, mySession)
	p.send(batch(t, 1, "g", 1))
	p.want("ack 1")
	p.send(protocol.AppendFrame(nil, protocol.KindEnd, nil))
	servertest.Eventually(t, "it is being closed", func() bool { return r.Closed() == 1 })
	other := hello(t, address, mySession+"2")
	other.send(batch(t, 1, "h", 1))
	other.want("ack 1")

	back := connect(t, address)
	back.send((&protocol.Hello{Version: 1, Source: "test", Session: mySession}).Append(nil))
	time.AfterFunc(20*time.Millisecond, func() { close(closing) })
	back.want("welcome, 1 done")
	back.send(protocol.AppendFrame(nil, protocol.KindEnd, nil))
	back.want("ended")
	if c := s.Stats(); c.Durable != 2 {
		t.Errorf("%+v", c)
	}
}
