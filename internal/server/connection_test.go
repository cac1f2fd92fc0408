package server_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/protocol"
	. "github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/server/servertest"
)

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
		"a version of tomorrow":           {[][]byte{(&protocol.Hello{Version: protocol.Version + 1}).Append(nil)}, "refused 0 version: version 5: this server speaks versions 1 to 4"},
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
