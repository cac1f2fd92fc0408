package recorder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/client"
	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/answer"
	"github.com/pastcone/pastcone/internal/protocol"
	"github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/store"
	"github.com/pastcone/pastcone/internal/wire"
)

// serving puts a server in front of a recorder.
func serving(t *testing.T, r *Recorder, change func(*server.Options)) (s *server.Server, address string) {
	t.Helper()
	o := r.ServerOptions()
	if change != nil {
		change(&o)
	}
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := server.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Shutdown(within(t)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, server.ErrClosed) {
			t.Errorf("serve: %v", err)
		}
		_ = r.Close(within(t))
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
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	return &peer{t, conn, protocol.NewReader(conn, protocol.AnswerBytesMax)}
}

func helloOf(session string, finite bool) []byte {
	return (&protocol.Hello{Version: protocol.Version, Source: "by hand", Format: "test", Session: "the-session-of-" + session, Finite: finite}).Append(nil)
}

func (p *peer) send(frames ...[]byte) *peer {
	p.t.Helper()
	for _, f := range frames {
		if _, err := p.conn.Write(f); err != nil {
			p.t.Fatal(err)
		}
	}
	return p
}

// want reads frames, and holds each against the words.
func (p *peer) want(says ...string) *peer {
	p.t.Helper()
	for _, want := range says {
		if got := p.next(); !strings.Contains(got, want) {
			p.t.Fatalf("got %q, want %q", got, want)
		}
	}
	return p
}

func (p *peer) next() string {
	kind, payload, err := p.in.Next()
	switch {
	case errors.Is(err, io.EOF):
		return "the end"
	case err != nil:
		return "the end: " + err.Error()
	case kind == protocol.KindAck:
		var a protocol.Ack
		_ = a.Parse(payload)
		return fmt.Sprintf("ack %d, %d rejected", a.Number, a.Rejected)
	case kind == protocol.KindRefused:
		var r protocol.Refused
		_ = r.Parse(payload)
		return fmt.Sprintf("refused %d %s: %s", r.Number, r.Code, r.Reason)
	case kind == protocol.KindWelcome:
		var w protocol.Welcome
		_ = w.Parse(payload)
		return fmt.Sprintf("welcome, %d done", w.Done)
	case kind == protocol.KindAnswer:
		id, line, _ := protocol.ParseAnswer(payload)
		return fmt.Sprintf("answer %d: %s", id, line)
	case kind == protocol.KindAnswerEnd:
		var a protocol.AnswerEnd
		_ = a.Parse(payload)
		return fmt.Sprintf("end of answer %d: %d %s", a.ID, a.Status, a.Reason)
	}
	return kind.String()
}

// batchFrame is a frame with one batch. The function may break it.
func batchFrame(t *testing.T, number uint64, spoil func(*wire.Table, *wire.Batch), events ...event.Event) []byte {
	t.Helper()
	table, b := wire.NewTable(1<<20), &wire.Batch{}
	for i := range events {
		if err := b.AddEvent(table, &events[i]); err != nil {
			t.Fatal(err)
		}
	}
	if spoil != nil {
		spoil(table, b)
	}
	p, err := wire.AppendBatch(protocol.BeginBatch(nil, protocol.KindBatch, number), table, b)
	if err != nil {
		t.Fatal(err)
	}
	return protocol.EndFrame(p, 0)
}

func linesFrame(number uint64, text string) []byte {
	return protocol.EndFrame(append(protocol.BeginBatch(nil, protocol.KindLines, number), text...), 0)
}

func logOf(stream string, seq uint64) event.Event {
	return event.Event{Stream: stream, Seq: seq, Time: int64(seq), Kind: event.KindLog} // #nosec G115 -- small
}

func lineOf(stream string, seq int) string {
	return fmt.Sprintf(`{"stream":%q,"seq":%d,"time":%d,"kind":"log"}`+"\n", stream, seq, seq)
}

var (
	endOf   = protocol.AppendFrame(nil, protocol.KindEnd, nil)
	hurryOf = protocol.AppendFrame(nil, protocol.KindHurry, nil)
)

func TestT5_OverTheProtocolEveryBatchIsAnsweredAndRecordedOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{Lateness: time.Millisecond})
	s, address := serving(t, r, func(o *server.Options) { o.InFlightMax, o.SessionLinger = 4, 50*time.Millisecond })

	p := connect(t, address).send(helloOf("one", false)).want("welcome, 0 done")
	p.send(batchFrame(t, 1, nil, logOf("g1", 1), logOf("g1", 2)), linesFrame(2, lineOf("g1", 3)+"nonsense\n"))
	got := []string{p.next(), p.next()}
	slices.Sort(got)
	if got[0] != "ack 1, 0 rejected" || got[1] != "ack 2, 1 rejected" {
		t.Fatalf("got %q", got)
	}
	p.send(batchFrame(t, 3, nil)).want("ack 3, 0")                 // empty
	p.send(batchFrame(t, 1, nil, logOf("g1", 1))).want("ack 1, 0") // again
	// What is broken is refused for good, and costs nothing else.
	p.send(protocol.EndFrame(append(protocol.BeginBatch(nil, protocol.KindBatch, 4), 9), 0)).want("refused 4 malformed: batch: byte 1: version 9")
	p.send(protocol.EndFrame(append(protocol.BeginBatch(nil, protocol.KindBatch, 4), 9), 0)).want("refused 4 malformed")
	p.send(batchFrame(t, 5, nil, logOf("g1", 1), logOf("g1", 4))).want("ack 5, 0") // one is new
	p.send(batchFrame(t, 6, nil, logOf("g1", 4))).want("ack 6, 0")                 // none is new, and it waits for nothing
	// More than may be in flight, while nothing can be answered: none is lost.
	for n := uint64(7); n <= 20; n++ {
		p.send(batchFrame(t, n, nil, logOf("g1", n)))
	}
	for range 14 {
		p.want("ack")
	}
	// The line is made anew, while the old one is open, and is lost, and is made anew.
	next := connect(t, address).send(helloOf("one", false)).want("welcome, 20 done")
	p.want("refused 0 busy: the source has connected anew", "the end")
	_ = next.conn.Close()
	eventually(t, "a source that stays away is closed", func() bool { return !r.Sources()[0].Open })
	last := connect(t, address).send(helloOf("one", false), batchFrame(t, 21, nil, logOf("g1", 21)), endOf)
	last.want("welcome, 20 done", "ack 21", "ended")
	last.send(batchFrame(t, 22, nil, logOf("g1", 22))).want("refused 22 ended")
	_ = last.conn.Close()

	st := s.Stats()
	if st.Batches != st.Durable+st.Refused+st.Again || st.Again != 2 || st.Refused != 2 || st.TurnedAway != 0 {
		t.Errorf("%+v", st)
	}
	if err := s.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	closeWell(t, r)
	seen := map[string]int{}
	for _, e := range readAll(t, dir) {
		seen[fmt.Sprintf("%s%d", e.Kind, e.Seq)]++
	}
	for _, seq := range []int{1, 2, 3, 4, 7, 8, 20, 21} {
		if n := seen[fmt.Sprintf("log%d", seq)]; n != 1 {
			t.Errorf("event %d is there %d times", seq, n)
		}
	}
	if src := r.Sources()[0]; !src.Complete || src.RejectedBy[ReasonUnreadable] != 1 || src.Name != "by hand" {
		t.Errorf("%+v", src)
	}
}

func TestT5_AFiniteSourceOverTheProtocolIsAnsweredAtItsEndOrWhenItHurries(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "rec"), Options{Lateness: time.Millisecond})
	_, address := serving(t, r, func(o *server.Options) { o.InFlightMax = 3 })
	receive := event.Event{Stream: "g2", Seq: 1, Time: 2, Kind: event.KindReceive, Key: "jobs", Ordinal: 1}
	send := event.Event{Stream: "g1", Seq: 1, Time: 1, Kind: event.KindSend, Key: "jobs", Ordinal: 1}

	connect(t, address).send(helloOf("its end", true), batchFrame(t, 1, nil, receive), batchFrame(t, 2, nil, send), endOf).
		want("welcome", "ack", "ack", "ended")
	connect(t, address).send(helloOf("hurrying", true), batchFrame(t, 1, nil, receive), hurryOf).want("welcome", "ack 1")
	p := connect(t, address).send(helloOf("no room", true)).want("welcome")
	for n := uint64(1); n <= 8; n++ {
		p.send(batchFrame(t, n, nil, event.Event{Stream: "g2", Seq: n, Time: int64(n), Kind: event.KindReceive, Key: "jobs", Ordinal: n})) // #nosec G115 -- small
	}
	for range 8 {
		p.want("ack")
	}
	p.send(endOf).want("ended")
	if s := r.Sources(); !s[0].Complete || s[1].Complete || !s[2].Complete {
		t.Errorf("%+v", s)
	}
}

func TestT5_WhatTheProtocolDoesNotSayIsRefusedAndTheRestGoesOn(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "rec"), Options{Lateness: time.Millisecond})
	_, address := serving(t, r, func(o *server.Options) {
		o.ReadTimeout, o.FrameBytesMax, o.InFlightMax = 50*time.Millisecond, 64<<10, 2
	})
	flipped := bytes.Clone(endOf)
	flipped[5] ^= 1
	source, asker := helloOf("x", false), (&protocol.Hello{Version: 2}).Append(nil)
	for name, c := range map[string]struct {
		frames [][]byte
		want   string
	}{
		"another protocol":        {[][]byte{[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")}, "refused 0 too large"},
		"no hello":                {[][]byte{endOf}, "a connection begins with hello, not with end"},
		"nothing":                 {nil, "refused 0 malformed: nothing came for too long"},
		"half a hello":            {[][]byte{protocol.AppendFrame(nil, protocol.KindHello, []byte("pastcone"))}, "refused 0 malformed"},
		"half a frame":            {[][]byte{asker, {9, 0, 0, 0, 5}}, "nothing came for too long"},
		"a later version":         {[][]byte{(&protocol.Hello{Version: 9}).Append(nil)}, "refused 0 version: version 9"},
		"a long frame":            {[][]byte{source, linesFrame(1, strings.Repeat("x", 70<<10))}, "refused 0 too large"},
		"a wrong checksum":        {[][]byte{source, flipped}, "the checksum"},
		"a second hello":          {[][]byte{source, source}, "hello is not for a client to send"},
		"batch 0":                 {[][]byte{source, linesFrame(0, "")}, "batch 0"},
		"an end with something":   {[][]byte{source, protocol.AppendFrame(nil, protocol.KindEnd, []byte("x"))}, "end has no payload"},
		"an asker's end":          {[][]byte{asker, endOf}, "end on a connection that only asks"},
		"an asker's hurry":        {[][]byte{asker, hurryOf}, "is for a source"},
		"an old client's hurry":   {[][]byte{(&protocol.Hello{Version: 1}).Append(nil), hurryOf}, "hurry is not for a client"},
		"an asker's lines":        {[][]byte{asker, linesFrame(1, "")}, "lines on a connection that only asks"},
		"a query that is none":    {[][]byte{asker, protocol.AppendFrame(nil, protocol.KindQuery, nil)}, "refused 0 malformed"},
		"a cancel that is none":   {[][]byte{asker, protocol.AppendFrame(nil, protocol.KindCancel, nil)}, "refused 0 malformed"},
		"a session that is short": {[][]byte{(&protocol.Hello{Version: 1, Source: "s", Session: "x"}).Append(nil)}, "at least 16"},
	} {
		t.Run(name, func(t *testing.T) {
			p := connect(t, address)
			for i, frame := range c.frames {
				p.send(frame)
				if i+1 < len(c.frames) {
					p.want("welcome")
				}
			}
			p.want(c.want, "the end")
		})
	}
	// Numbers with a hole: nobody keeps answers without end.
	p := connect(t, address).send(helloOf("holes", false), linesFrame(1, lineOf("g1", 1))).want("welcome", "ack 1")
	for n := uint64(3); n < 11; n++ {
		p.send(linesFrame(n, lineOf("g1", int(n)))).want("ack") // #nosec G115 -- small
	}
	p.send(linesFrame(11, lineOf("g1", 11))).want("refused 0 malformed: batch 2 is missing", "the end")
}

// What another program sends is not what a source of this program would make: each is refused, or kept as a dead letter.
func TestT5_HostileBatchesAreKeptOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{Lateness: time.Millisecond})
	_, address := serving(t, r, nil)
	p := connect(t, address).send(helloOf("hostile", false)).want("welcome")
	payload := func(data string) func(*wire.Table, *wire.Batch) {
		return func(_ *wire.Table, b *wire.Batch) {
			b.Arena = []byte(data)
			b.Records[0].DataLen = uint32(len(data)) // #nosec G115 -- short
		}
	}
	extra := func(fields ...wire.ExtraField) func(*wire.Table, *wire.Batch) {
		return func(_ *wire.Table, b *wire.Batch) {
			b.Arena = wire.AppendExtension(nil, &wire.Extension{Extra: fields})
			b.Records[0].ExtLen = uint32(len(b.Arena)) // #nosec G115 -- short
		}
	}
	field := func(name, value string) wire.ExtraField {
		return wire.ExtraField{Name: []byte(name), Value: []byte(value)}
	}
	for i, c := range []struct {
		spoil func(*wire.Table, *wire.Batch)
		want  string
	}{
		{payload(`{"a": 1}`), "no JSON object in compact UTF-8"},
		{payload(`[1]`), "no JSON object"},
		{payload("{\"a\":\"\xff\"}"), "no JSON object"},
		{extra(field("b", "1"), field("a", "2")), "not in order"},
		{extra(field("a", "1 ")), "no JSON"},
		{extra(field("stream", "1")), "is no unknown field"},
		{extra(field("\xff", "1")), "no UTF-8"},
		{func(_ *wire.Table, b *wire.Batch) {
			b.Arena, b.Records[0].ExtLen = []byte{1, 200}, 2
		}, "malformed"},
	} {
		n := uint64(i + 1) // #nosec G115 -- small
		p.send(batchFrame(t, n, c.spoil, logOf("g9", 1))).want(fmt.Sprintf("refused %d malformed", n))
		p.send(batchFrame(t, n, c.spoil, logOf("g9", 1))) // the same answer again, with its reason
		if got := p.next(); !strings.Contains(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	p.send(batchFrame(t, 9, nil, logOf("g1", 1))).want("ack 9, 0")

	// Past the server: a source in this process that is wrong.
	in := input(t, r, "wrong", true)
	g1, err := r.store.Table().Name("g1")
	if err != nil {
		t.Fatal(err)
	}
	ok := wire.Record{Seq: 1, Kind: event.KindLog}
	long := wire.AppendExtension(nil, &wire.Extension{Message: bytes.Repeat([]byte("x"), event.TextBytesMax+1)})
	many := &wire.Extension{}
	for range event.CausesMax + 1 {
		many.Causes = append(many.Causes, []byte("c"))
	}
	causes := wire.AppendExtension(nil, many)
	longCause := wire.AppendExtension(nil, &wire.Extension{Causes: [][]byte{bytes.Repeat([]byte("x"), event.TextBytesMax+1)}})
	noValue := wire.AppendExtension(nil, &wire.Extension{Extra: []wire.ExtraField{{Name: []byte("a")}}})
	with := func(change func(*wire.Record)) *wire.Batch {
		rec := ok
		change(&rec)
		return &wire.Batch{Records: []wire.Record{rec}, Runs: []wire.Run{{Stream: g1, Len: 1}}}
	}
	ext := func(ext []byte) *wire.Batch {
		b := with(func(r *wire.Record) { r.ExtLen = uint32(len(ext)) }) // #nosec G115 -- short
		b.Arena = ext
		return b
	}
	bad := []*wire.Batch{
		{Records: []wire.Record{ok}, Runs: []wire.Run{{Stream: 0, Len: 1}}},
		{Records: []wire.Record{ok, ok}, Runs: []wire.Run{{Stream: g1, Len: 1}}},
		{Records: []wire.Record{ok}, Runs: []wire.Run{{Stream: g1, Len: 2}}},
		with(func(r *wire.Record) { r.Kind = 99 }),
		with(func(r *wire.Record) { r.Seq = 0 }),
		with(func(r *wire.Record) { r.Ordinal = event.SeqMax + 1 }),
		with(func(r *wire.Record) { r.Flags = wire.FlagTakes | wire.FlagTakesNot }),
		with(func(r *wire.Record) { r.Key = 1 << 62 }),
		with(func(r *wire.Record) { r.Site = 1 << 30 }),
		with(func(r *wire.Record) { r.DataLen = 7 }),
		{Records: []wire.Record{{Seq: 1, Kind: event.KindLog, DataLen: 1}}, Runs: []wire.Run{{Stream: g1, Len: 1}}, Arena: []byte("x")},
		ext([]byte{1, 200}), ext(long), ext(causes), ext(longCause), ext(noValue),
	}
	events := 0
	for _, b := range bad {
		events += b.Len()
		if err := in.Push(within(t), b); err != nil {
			t.Fatal(err)
		}
	}
	push(t, in, logOf("g2", 1))
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	a := r.ledger.Account(in.ID())
	if a.Stored != 1 || a.Rejected != uint64(events) { // #nosec G115 -- small
		t.Errorf("one is stored and %d rejected, but %+v", events, a)
	}
	if r.clean.Stats().Refused == 0 {
		t.Error("intake has refused nothing")
	}
}

func TestT5_AFullTableRefusesNewNamesAndKeepsTheRest(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "rec"), Options{Lateness: time.Millisecond, Store: store.Options{TableBytesMax: 64 << 10}})
	_, address := serving(t, r, nil)
	p := connect(t, address).send(helloOf("names", false), batchFrame(t, 1, nil, logOf("g1", 1))).want("welcome", "ack 1")
	many := make([]event.Event, 2000)
	for i := range many {
		many[i] = logOf("g1", uint64(i+2))                                    // #nosec G115 -- small
		many[i].Func = fmt.Sprintf("main.f%d.%s", i, strings.Repeat("x", 50)) // each a new name
	}
	p.send(batchFrame(t, 2, nil, many...)).want("refused 2 table full")
	p.send(batchFrame(t, 3, nil, logOf("g1", 2))).want("ack 3")
}

func TestT5_ConnectionsAndSourcesAreBounded(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "rec"), Options{Lateness: time.Millisecond})
	s, address := serving(t, r, func(o *server.Options) {
		o.ConnectionsMax, o.SessionsMax, o.SessionLinger = 2, 1, time.Millisecond
		o.IdleTimeout, o.WriteTimeout = 2*time.Second, 20*time.Millisecond
	})
	one := connect(t, address).send(helloOf("one", false)).want("welcome")
	two := connect(t, address).send(helloOf("two", false)).want("refused 0 busy: 1 sources are connected")
	two.want("the end")
	eventually(t, "the second is gone", func() bool { return s.Stats().Connections == 1 })
	asks := connect(t, address).send((&protocol.Hello{Version: 2}).Append(nil)).want("welcome")
	connect(t, address).want("refused 0 busy: 2 connections are open")
	one.send(linesFrame(1, lineOf("g1", 1))).want("ack 1")
	_ = one.conn.Close()
	asks.want("nothing came for too long") // an idle one makes room
	eventually(t, "there is room for another source", func() bool {
		p := connect(t, address).send(helloOf("two", false))
		defer p.conn.Close() //nolint:errcheck // over either way
		return strings.HasPrefix(p.next(), "welcome")
	})
	if s.Stats().TurnedAway == 0 {
		t.Errorf("%+v", s.Stats())
	}
}

// askedOf gives an answer over the protocol as the text that it would be on a screen.
func askedOf(t *testing.T, asker *client.Asker, q answer.Question) (string, error) {
	t.Helper()
	var b strings.Builder
	err := asker.Query(within(t), q.Op, q, func(line []byte) error {
		if !q.JSON {
			var text TextLine
			if err := json.Unmarshal(line, &text); err != nil {
				return err
			}
			line = []byte(text.Text)
		}
		b.Write(append(bytes.Clone(line), '\n'))
		return nil
	})
	return b.String(), err
}

func TestT5_AnswersOverTheProtocolAreThoseOfTheRecording(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{})
	_, address := serving(t, r, nil)
	in := input(t, r, "shop", true)
	push(t, in, handedOver(40, "jobs")...)
	push(t, in, event.Event{Stream: "g9", Seq: 1, Time: 9e6, Kind: event.KindCall, Func: "http.handle", Root: true},
		event.Event{Stream: "g9", Seq: 2, Time: 9e6 + 5, Kind: event.KindError, Func: "stock.Take", Data: []byte(`{"error":"no stock"}`)})
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	asker, err := client.Ask(within(t), address)
	if err != nil {
		t.Fatal(err)
	}
	defer asker.Close() //nolint:errcheck // over either way
	rec, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	if rec.Dir() != dir || r.Dir() != dir {
		t.Errorf("%s, %s", rec.Dir(), r.Dir())
	}
	snapshot := r.Snapshot()
	defer snapshot.Close()
	took := regexp.MustCompile(`"elapsed":\d+|in \d[^ ]* [mµn]?s\b`)
	for _, q := range []answer.Question{
		{Op: "why"},
		{Op: "why", Events: []string{"g9#2"}, Depth: 1, All: true},
		{Op: "future", Events: []string{"first:{ kind = send }"}},
		{Op: "relate", Events: []string{"first:{ kind = send }", "last:{ kind = receive }"}},
		{Op: "show", Events: []string{"g9#2"}},
		{Op: "find", Query: "{ kind = receive }", Limit: 7, Reverse: true},
		{Op: "find", Query: "{} | count() by (kind)"},
		{Op: "stats"},
	} {
		for _, q.JSON = range []bool{false, true} {
			var want bytes.Buffer
			if err := answer.Answer(within(t), snapshot, sources(t, rec), &q, &want); err != nil {
				t.Fatal(err)
			}
			got, err := askedOf(t, asker, q)
			if err != nil || took.ReplaceAllString(got, "") != took.ReplaceAllString(want.String(), "") || got == "" {
				t.Errorf("%s, JSON %v: %v\n%s\nbut the recording says\n%s", q.Op, q.JSON, err, got, &want)
			}
		}
	}
	for name, c := range map[string]struct {
		op   string
		args any
		want string
	}{
		"no such question":             {"guess", nil, `there is no question "guess"`},
		"arguments of another":         {"why", map[string]any{"evnts": 1}, `the arguments of why: json: unknown field "evnts"`},
		"arguments that are no object": {"why", 7, "the arguments of why"},
		"a query that is none":         {"find", answer.Question{Query: "{ kind = "}, "expected"},
		"no answer":                    {"find", answer.Question{Query: "{ kind = metric }"}, "no event matches"},
	} {
		err := asker.Query(within(t), c.op, c.args, func([]byte) error { return nil })
		var refused *client.AnswerError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// An asker that has enough says so, and can ask again.
	enough := errors.New("enough")
	if err := asker.Query(within(t), "find", answer.Question{Query: "{}", JSON: true}, func([]byte) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
	if got, err := askedOf(t, asker, answer.Question{Op: "find", Query: "{ kind = error }"}); err != nil || !strings.Contains(got, "no stock") {
		t.Errorf("%v %s", err, got)
	}
}

// slow is an answerer that takes its time; it panics when it is told to.
type slow struct{ begun chan struct{} }

func (s slow) Answer(ctx context.Context, op string, _ json.RawMessage, w func([]byte) error) error {
	switch op {
	case "panic":
		panic("planted")
	case "huge":
		return w(make([]byte, 17<<20))
	case "endless":
		for {
			if err := w([]byte(`{}`)); err != nil {
				return err
			}
		}
	}
	s.begun <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

func TestT5_AnswersAreBoundedAndCanBeCancelled(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "rec"), Options{})
	s := slow{make(chan struct{}, 8)}
	_, address := serving(t, r, func(o *server.Options) {
		o.Answerer, o.QueriesMax, o.QueryTimeout = s, 2, func() time.Duration { return testTimeout }
		o.WriteTimeout = 100 * time.Millisecond
	})
	query := func(id, ms uint64, op string) []byte {
		return (&protocol.Query{ID: id, DeadlineMs: ms, Op: op}).Append(nil)
	}
	p := connect(t, address).send((&protocol.Hello{Version: 2}).Append(nil)).want("welcome")
	p.send(query(1, 0, "wait"), query(2, 0, "wait"))
	<-s.begun
	<-s.begun
	p.send(query(1, 0, "wait")).want("end of answer 1: 1 query 1 is being answered already")
	p.send(query(3, 0, "wait")).want("end of answer 3: 1 2 queries are being answered")
	p.send(protocol.AppendCancel(nil, 1)).want("end of answer 1: 3")
	p.send(protocol.AppendCancel(nil, 77)) // is over already
	p.send(query(4, 20, "wait")).want("end of answer 4: 2")
	p.send(query(5, 0, "panic")).want("end of answer 5: 1 the server failed in \"panic\": planted")
	p.send(query(6, 0, "huge")).want("end of answer 6: 1 a line of 17825792 bytes does not fit")
	// One that does not read is cut off; the others are served.
	deaf := connect(t, address).send((&protocol.Hello{Version: 2}).Append(nil), query(1, 0, "endless"))
	eventually(t, "it is cut off", func() bool {
		time.Sleep(10 * time.Millisecond)
		_, err := deaf.conn.Write(protocol.AppendCancel(nil, 77))
		return err != nil
	})
	p.send(protocol.AppendCancel(nil, 2)).want("end of answer 2: 3")
}

func TestT5_AServerThatGoesDownAnswersForAllThatItTook(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{Lateness: testTimeout}) // events wait for their causes until the source is closed
	s, address := serving(t, r, nil)
	p := connect(t, address).send(helloOf("one", false), batchFrame(t, 1, nil, event.Event{Stream: "g2", Seq: 1, Time: 1, Kind: event.KindStart}))
	p.want("welcome")
	eventually(t, "it is taken", func() bool { return r.Books().All.Accepted == 1 })
	if err := s.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	p.want("ack 1", "refused 0 closing: the server is going down", "the end")
	if s := r.Sources(); s[0].Complete || s[0].Stored != 1 {
		t.Errorf("the source has not ended, and has its event: %+v", s)
	}
	closeWell(t, r)
	// Nothing is served any more, and what comes to a recorder that is closed is turned away.
	if l, err := server.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	} else if err := s.Serve(l); !errors.Is(err, server.ErrClosed) {
		t.Errorf("serving again: %v", err)
	}
	o := r.ServerOptions()
	o.Recorder = nil
	for name, c := range map[string]struct {
		change func(*server.Options)
		want   string
	}{
		"the recorder is closed": {func(*server.Options) {}, "refused 0 internal: open the source \"by hand\": the recorder is closed"},
		"there is no recorder":   {func(o *server.Options) { o.Recorder = nil }, "refused 0 no recording"},
	} {
		_, address := serving(t, r, c.change)
		t.Log(name)
		connect(t, address).send(helloOf("two", false)).want(c.want)
	}
	_, address = serving(t, r, func(o *server.Options) { o.Answerer = nil })
	connect(t, address).send((&protocol.Hello{Version: 2}).Append(nil), (&protocol.Query{ID: 1, Op: "why"}).Append(nil)).
		want("welcome", "end of answer 1: 1 this server answers no questions")
}

func TestT5_OptionsOfAServerAreBounded(t *testing.T) {
	for _, o := range []server.Options{{ConnectionsMax: -1}, {FrameBytesMax: 1}, {InFlightMax: 1 << 20}, {IdleTimeout: 1}, {SessionLinger: -1}} {
		if _, err := server.New(o); err == nil || !strings.Contains(err.Error(), "it must be") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
