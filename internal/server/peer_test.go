package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/protocol"
	. "github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/wire"
)

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
