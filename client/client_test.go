package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pastcone/pastcone/client"
	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/protocol"
	"github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/server/servertest"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func sender(t *testing.T, address string, o client.SenderOptions) *client.Sender {
	t.Helper()
	s, err := client.NewSender(within(t, 10*time.Second), address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Close(ctx)
	})
	return s
}

func line(stream string, seq int) string {
	return fmt.Sprintf(`{"stream":%q,"seq":%d,"time":%d,"kind":"log"}`+"\n", stream, seq, seq)
}

func batchOf(t *testing.T, table *wire.Table, stream string, from, to int, data string) *wire.Batch {
	t.Helper()
	b := &wire.Batch{}
	for seq := from; seq <= to; seq++ {
		e := event.Event{Stream: stream, Seq: uint64(seq), Time: 1, Kind: event.KindLog, Func: "f"} // #nosec G115 -- small
		if data != "" {
			e.Data = []byte(data)
		}
		if err := b.AddEvent(table, &e); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestSender_EverythingArrivesOnce(t *testing.T) {
	r := servertest.New(t)
	address, _ := servertest.Serve(t, "127.0.0.1:0", server.Options{Recorder: r})
	s := sender(t, address, client.SenderOptions{Source: "billing", Format: "mixed", Session: "session-of-billing"})
	ctx := within(t, 20*time.Second)
	var text strings.Builder
	for seq := 1; seq <= 9000; seq++ { // more than one frame of lines
		text.WriteString(line("lines", seq))
	}
	text.WriteString("nonsense\n" + line("last", 1)[:len(line("last", 1))-1])
	if err := s.Lines(ctx, []byte(text.String())); err != nil {
		t.Fatal(err)
	}
	var rejects []source.Rejected
	sink := s.Sink(func(r source.Rejected) error {
		rejects = append(rejects, r)
		return nil
	})
	// Long ones go in parts, by number of records and by payload.
	if err := sink.Push(ctx, batchOf(t, sink.Table(), "long", 1, 20_000, "")); err != nil {
		t.Fatal(err)
	}
	if err := sink.Push(ctx, batchOf(t, sink.Table(), "heavy", 1, 9, `{"a":"`+strings.Repeat("x", 600_000)+`"}`)); err != nil {
		t.Fatal(err)
	}
	if err := sink.Reject(source.Rejected{Line: 7}); err != nil || len(rejects) != 1 {
		t.Errorf("rejects: %v, %v", rejects, err)
	}
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := r.Count(), 9001+20_000+9; got != want {
		t.Errorf("%d events, want %d", got, want)
	}
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.Batches != st.Acknowledged || st.Refused != 0 || st.Rejected != 1 || st.Connections != 1 {
		t.Errorf("%+v", st)
	}
	if r.Closed() != 1 || r.Duplicates != 0 || r.Opened[0] != "billing/mixed/session-of-billing" {
		t.Errorf("closed %d, %d duplicates, %v", r.Closed(), r.Duplicates, r.Opened)
	}
	if err := s.Lines(ctx, []byte(line("late", 1))); !errors.Is(err, client.ErrSenderClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := s.Close(ctx); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

// breaker is a line between client and server that breaks again and again, anywhere in a frame.
func breaker(t *testing.T, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	var all sync.WaitGroup
	all.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				_ = a.Close()
				continue
			}
			forth, back := 2000+random.Int64N(60_000), 30+random.Int64N(60)
			all.Go(func() {
				_, _ = io.CopyN(b, a, forth)
				_, _ = a.Close(), b.Close()
			})
			all.Go(func() {
				_, _ = io.CopyN(a, b, back)
				_, _ = a.Close(), b.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

func TestSender_OverALineThatBreaks(t *testing.T) {
	r := servertest.New(t)
	address, _ := servertest.Serve(t, "127.0.0.1:0", server.Options{Recorder: r})
	s := sender(t, breaker(t, address), client.SenderOptions{})
	ctx := within(t, 60*time.Second)
	const n = 300
	for i := range n {
		if err := s.Lines(ctx, []byte(line("g", 2*i+1)+line("g", 2*i+2))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if r.Count() != 2*n || r.Duplicates != 0 {
		t.Errorf("%d events, %d of them twice", r.Count(), r.Duplicates)
	}
	if st := s.Stats(); st.Connections < 3 || st.Acknowledged != n {
		t.Errorf("%+v: the line has not broken often enough to show anything", st)
	}
}

func TestSender_AServerThatIsKilledAndComesBack(t *testing.T) {
	r := servertest.New(t)
	r.Held = true
	address, kill := servertest.Serve(t, "127.0.0.1:0", server.Options{Recorder: r})
	s := sender(t, address, client.SenderOptions{})
	ctx := within(t, 30*time.Second)
	for i := range 20 {
		if err := s.Lines(ctx, []byte(line("g", i+1))); err != nil {
			t.Fatal(err)
		}
	}
	servertest.Eventually(t, "all are taken", func() bool { return r.Count() == 20 })
	kill() // nothing was acknowledged
	r.Set(func() { r.Held = false })
	servertest.Serve(t, address, server.Options{Recorder: r}) // remembers no session
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if r.Count() != 20 || r.Duplicates != 20 {
		t.Errorf("%d events, %d came again and were told by stream and seq", r.Count(), r.Duplicates)
	}
}

func TestSender_WhatIsRefused(t *testing.T) {
	r := servertest.New(t)
	check := func(b *wire.Batch) error {
		if r.Names.NameOf(b.Runs[0].Stream) == "bad" {
			return errors.New("no such streams")
		}
		return nil
	}
	address, _ := servertest.Serve(t, "127.0.0.1:0", server.Options{Recorder: r, Check: check})
	s := sender(t, address, client.SenderOptions{})
	ctx := within(t, 20*time.Second)
	sink := s.Sink(nil)
	for _, stream := range []string{"good", "bad", "fine", "bad"} {
		if err := sink.Push(ctx, batchOf(t, sink.Table(), stream, 1, 1, "")); err != nil {
			t.Fatal(err)
		}
	}
	err := s.Flush(ctx)
	if err == nil || !strings.Contains(err.Error(), "refuses batch 2 (malformed)") || !strings.Contains(err.Error(), "no such streams") {
		t.Errorf("got %v", err)
	}
	if st := s.Stats(); st.Acknowledged != 2 || st.Refused != 2 {
		t.Errorf("%+v", st)
	}

	// A failure that can pass is tried again until it does.
	r.Set(func() { r.WaitErr = errors.New("the disk is full") })
	if err := s.Lines(ctx, []byte(line("later", 1))); err != nil {
		t.Fatal(err)
	}
	servertest.Eventually(t, "it was tried again", func() bool { return s.Stats().Connections >= 3 })
	r.Set(func() { r.WaitErr = nil })
	if err := s.Close(ctx); err == nil || !strings.Contains(err.Error(), "no such streams") {
		t.Errorf("Close does not tell of the loss: %v", err)
	}
	if st := s.Stats(); st.Acknowledged != 3 {
		t.Errorf("%+v", st)
	}
	huge := batchOf(t, sink.Table(), "huge", 1, 1, `{"a":"`+strings.Repeat("x", 5<<20)+`"}`)
	s = sender(t, address, client.SenderOptions{})
	if err := s.Sink(nil).Push(ctx, huge); !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("a frame that is too large: %v", err)
	}
}

func TestSender_WaitsWhileTooMuchIsPending(t *testing.T) {
	r := servertest.New(t)
	r.Held = true
	address, _ := servertest.Serve(t, "127.0.0.1:0", server.Options{Recorder: r, InFlightMax: 2})
	s := sender(t, address, client.SenderOptions{})
	ctx := within(t, 20*time.Second)
	for i := range 2 {
		if err := s.Lines(ctx, []byte(line("g", i+1))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Lines(within(t, 30*time.Millisecond), []byte(line("g", 3))); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third, of two: %v", err)
	}
	if err := s.Flush(within(t, 10*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Flush of what is not durable: %v", err)
	}
	var more sync.WaitGroup
	for i := range 8 {
		more.Go(func() {
			if err := s.Lines(ctx, []byte(line("g", i+3))); err != nil {
				t.Error(err)
			}
		})
	}
	r.Set(func() { r.Held = false })
	more.Wait()
	if err := s.Close(ctx); err != nil || r.Count() != 10 {
		t.Errorf("%v, %d events", err, r.Count())
	}
}

func TestSender_GoesOnWithItsSession(t *testing.T) {
	r := servertest.New(t)
	address, _ := servertest.Serve(t, "127.0.0.1:0", server.Options{Recorder: r})
	ctx := within(t, 20*time.Second)
	o := client.SenderOptions{Session: "a-session-that-lasts"}
	s := sender(t, address, o)
	if err := errors.Join(s.Lines(ctx, []byte(line("g", 1))), s.Flush(ctx)); err != nil {
		t.Fatal(err)
	}
	s = sender(t, address, o) // the same program, started again
	if err := errors.Join(s.Lines(ctx, []byte(line("g", 2))), s.Flush(ctx)); err != nil {
		t.Fatal(err)
	}
	if got := r.Events(); got != "g#1 g#2" {
		t.Error(got)
	}
}

// scripted is a server that does what the function says to each connection.
func scripted(t *testing.T, f func(n int, conn net.Conn, in *protocol.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for n := 1; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			all.Go(func() {
				f(n, conn, protocol.NewReader(conn, 1<<20))
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

var welcome = (&protocol.Welcome{Version: 1, FrameBytesMax: protocol.FrameBytesMax, InFlightMax: 8}).Append(nil)

func TestDial_ServersThatAreNone(t *testing.T) {
	for name, c := range map[string]struct {
		says []byte
		want string
	}{
		"says nothing":        {nil, "no welcome"},
		"another protocol":    {[]byte("SSH-2.0-whatever\r\n"), "no welcome"},
		"begins with an ack":  {(&protocol.Ack{Number: 1}).Append(nil), "begins with ack"},
		"a welcome of air":    {protocol.AppendFrame(nil, protocol.KindWelcome, nil), "malformed"},
		"a later version":     {(&protocol.Welcome{Version: 7}).Append(nil), "speaks version 7"},
		"refuses for good":    {(&protocol.Refused{Code: protocol.CodeVersion, Reason: "too new"}).Append(nil), "too new"},
		"refuses for nothing": {protocol.AppendFrame(nil, protocol.KindRefused, nil), "malformed"},
	} {
		address := scripted(t, func(_ int, conn net.Conn, in *protocol.Reader) {
			_, _, _ = in.Next()
			_, _ = conn.Write(c.says)
		})
		if _, err := client.Ask(within(t, 5*time.Second), address); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := client.NewSender(within(t, 5*time.Second), address, client.SenderOptions{RetryFor: time.Millisecond}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	silent := scripted(t, func(_ int, _ net.Conn, in *protocol.Reader) {
		_, _, _ = in.Next()
		_, _, _ = in.Next()
	})
	if _, err := client.Ask(within(t, 30*time.Millisecond), silent); err == nil {
		t.Error("a server that never says welcome")
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := client.NewSender(ctx, "unix:/nowhere/at/all", client.SenderOptions{}); err == nil {
		t.Error("connected to nowhere")
	}
	for _, o := range []client.SenderOptions{{PendingBytesMax: 1}, {RetryFor: -1}} {
		if _, err := client.NewSender(ctx, "", o); err == nil || !strings.Contains(err.Error(), "must be at least") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestSender_ServersThatMisbehave(t *testing.T) {
	forGood := (&protocol.Refused{Code: protocol.CodeMalformed, Reason: "what is this"}).Append(nil)
	for name, c := range map[string]struct {
		says   []byte
		gives  string // the error, in the end
		second []byte // what the second connection gets; nil: nothing listens
	}{
		"refuses the connection for good": {forGood, "what is this", nil},
		"an answer to a question":         {protocol.AppendAnswer(nil, 1, nil), "what is this", forGood},
		"an ack of air":                   {protocol.AppendFrame(nil, protocol.KindAck, nil), "what is this", forGood},
		"a refusal of air":                {protocol.AppendFrame(nil, protocol.KindRefused, nil), "what is this", forGood},
		"hangs up":                        {nil, "what is this", forGood},
		"acknowledges what nobody sent":   {(&protocol.Ack{Number: 99}).Append(nil), "what is this", forGood},
	} {
		address := scripted(t, func(n int, conn net.Conn, in *protocol.Reader) {
			_, _, _ = in.Next()
			says := c.says
			if n > 1 {
				says = c.second
			}
			_, _ = conn.Write(append(append([]byte(nil), welcome...), says...))
			_, _, _ = in.Next() // the batch
		})
		s := sender(t, address, client.SenderOptions{RetryFor: 200 * time.Millisecond})
		err := s.Lines(within(t, 5*time.Second), []byte(line("g", 1)))
		if err == nil {
			err = s.Flush(within(t, 5*time.Second))
		}
		if err == nil || !strings.Contains(err.Error(), c.gives) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One that goes away for good.
	var once sync.Once
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Write(welcome)
		once.Do(func() { _ = l.Close() })
		_ = conn.Close()
	}()
	s := sender(t, l.Addr().String(), client.SenderOptions{RetryFor: 50 * time.Millisecond})
	_ = s.Lines(within(t, 5*time.Second), []byte(line("g", 1)))
	if err := s.Flush(within(t, 5*time.Second)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a server that is gone: %v", err)
	}
}

func collect(to *[]string) func([]byte) error {
	return func(line []byte) error {
		*to = append(*to, string(line))
		return nil
	}
}

func TestAsker_Answers(t *testing.T) {
	address, _ := servertest.Serve(t, "127.0.0.1:0", server.Options{Answerer: servertest.Answerer{}})
	ctx := within(t, 20*time.Second)
	a, err := client.Ask(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close() //nolint:errcheck // no more use
	var got []string
	if err := a.Query(ctx, "echo", map[string]int{"a": 1}, collect(&got)); err != nil || strings.Join(got, " ") != `{"a":1}` {
		t.Errorf("%v, %v", got, err)
	}
	got = nil
	if err := a.Query(ctx, "count", 2000, collect(&got)); err != nil || len(got) != 2000 || got[1999] != "1999" {
		t.Errorf("%d lines, %v", len(got), err)
	}
	var failed *client.AnswerError
	if err := a.Query(ctx, "nonsense", nil, collect(&got)); !errors.As(err, &failed) || failed.Timeout || failed.Op != "nonsense" || !strings.Contains(err.Error(), "no operation") {
		t.Errorf("%v", err)
	}
	enough := errors.New("enough")
	n := 0
	if err := a.Query(ctx, "count", 1_000_000, func([]byte) error {
		if n++; n == 3 {
			return enough
		}
		return nil
	}); !errors.Is(err, enough) || n != 3 {
		t.Errorf("after %d lines: %v", n, err)
	}
	if err := a.Query(within(t, 40*time.Millisecond), "wait", nil, collect(&got)); err == nil {
		t.Error("an answer to a question that waits")
	}
	cancelled, cancel := context.WithCancel(ctx)
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := a.Query(cancelled, "wait", nil, collect(&got)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := a.Query(cancelled, "echo", 1, collect(&got)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before it began: %v", err)
	}
	past, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
	defer cancel()
	if err := a.Query(past, "echo", 1, collect(&got)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after its deadline: %v", err)
	}
	if err := a.Query(ctx, "echo", make(chan int), collect(&got)); err == nil || !strings.Contains(err.Error(), "arguments of echo") {
		t.Errorf("arguments that are no JSON: %v", err)
	}
	got = nil
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			var mine []string
			if err := a.Query(ctx, "count", 50, collect(&mine)); err != nil || len(mine) != 50 {
				t.Errorf("%d lines, %v", len(mine), err)
			}
		})
	}
	all.Wait()
}

func TestAsker_TheServersDeadline(t *testing.T) {
	address, _ := servertest.Serve(t, "127.0.0.1:0", server.Options{Answerer: servertest.Answerer{}, QueryTimeout: func() time.Duration { return 20 * time.Millisecond }})
	ctx := within(t, 20*time.Second)
	a, err := client.Ask(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close() //nolint:errcheck // no more use
	var failed *client.AnswerError
	if err := a.Query(ctx, "wait", nil, nil); !errors.As(err, &failed) || !failed.Timeout {
		t.Errorf("%v", err)
	}
}

func TestAsker_ServersThatMisbehave(t *testing.T) {
	for name, c := range map[string]struct {
		says []byte
		want string
	}{
		"hangs up":             {nil, "broke within an answer"},
		"an answer of air":     {protocol.AppendFrame(nil, protocol.KindAnswer, nil), "malformed"},
		"an end of air":        {protocol.AppendFrame(nil, protocol.KindAnswerEnd, nil), "malformed"},
		"refuses":              {(&protocol.Refused{Code: protocol.CodeClosing, Reason: "going down"}).Append(nil), "going down"},
		"an ack":               {(&protocol.Ack{}).Append(nil), "ack within an answer"},
		"another's answer":     {append(protocol.AppendAnswer(nil, 9, nil), (&protocol.AnswerEnd{ID: 9}).Append(nil)...), "broke within an answer"},
		"breaks in its answer": {append(protocol.AppendAnswer(nil, 1, []byte("1")), 7), "broke within an answer"},
	} {
		address := scripted(t, func(_ int, conn net.Conn, in *protocol.Reader) {
			_, _, _ = in.Next()
			_, _ = conn.Write(welcome)
			_, _, _ = in.Next()
			_, _ = conn.Write(c.says)
		})
		a, err := client.Ask(within(t, 5*time.Second), address)
		if err != nil {
			t.Fatal(err)
		}
		lines := 0
		err = a.Query(within(t, 5*time.Second), "op", nil, func([]byte) error { lines++; return nil })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err := a.Query(within(t, 5*time.Second), "op", nil, nil); err == nil || !strings.Contains(err.Error(), "earlier question") {
			t.Errorf("%s: asked again: %v", name, err)
		}
		_ = a.Close()
	}
}

func TestSender_OfAFiniteSource(t *testing.T) {
	r := servertest.New(t)
	r.HoldDone = true // every event waits for a cause that does not come
	address, _ := servertest.Serve(t, "127.0.0.1:0", server.Options{Recorder: r})
	ctx := within(t, 20*time.Second)
	o := client.SenderOptions{Session: "the-content-of-a-file", Finite: true}
	s := sender(t, address, o)
	if err := errors.Join(s.Lines(ctx, []byte(line("g", 1))), s.Lines(ctx, []byte(line("g", 2))), s.Close(ctx)); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Acknowledged != 2 || r.Ends != 1 || r.Hurries != 0 {
		t.Errorf("%+v, ended %d times, hurried %d times", st, r.Ends, r.Hurries)
	}
	if outcome, told := s.Outcome(); !told || outcome.Stored != 2 || outcome.Rejected != 0 {
		t.Errorf("the server says what it has: %+v %v", outcome, told)
	}
	// The same again: the server has it.
	s = sender(t, address, o)
	err := errors.Join(s.Lines(ctx, []byte(line("g", 3))), s.Close(ctx))
	if !errors.Is(err, client.ErrEnded) || r.Count() != 2 {
		t.Errorf("%v, %d events", err, r.Count())
	}
}

func TestSender_ThatLeavesDoesNotEndItsSource(t *testing.T) {
	for name, finite := range map[string]bool{"a file that was interrupted": true, "a program that stops": false} {
		t.Run(name, func(t *testing.T) {
			r := servertest.New(t)
			r.HoldDone = finite
			address, _ := servertest.Serve(t, "127.0.0.1:0", server.Options{Recorder: r, SessionLinger: time.Millisecond})
			ctx := within(t, 20*time.Second)
			o := client.SenderOptions{Session: "the-content-of-a-file", Finite: finite}
			s := sender(t, address, o)
			if err := errors.Join(s.Lines(ctx, []byte(line("g", 1))), s.Leave(ctx)); err != nil {
				t.Fatal(err)
			}
			if err := s.Lines(ctx, []byte(line("g", 2))); !errors.Is(err, client.ErrSenderClosed) {
				t.Errorf("it takes more: %v", err)
			}
			servertest.Eventually(t, "its input is closed", func() bool { return r.Closed() == 1 })
			s = sender(t, address, o)
			if err := errors.Join(s.Lines(ctx, []byte(line("g", 2))), s.Close(ctx)); err != nil {
				t.Fatal(err)
			}
			if r.Count() != 2 || r.Ends != 1 {
				t.Errorf("%d events, ended %d times", r.Count(), r.Ends)
			}
		})
	}
}

func TestSender_OfAFiniteSourceWithoutRoom(t *testing.T) {
	r := servertest.New(t)
	r.HoldDone = true
	address, _ := servertest.Serve(t, "127.0.0.1:0", server.Options{Recorder: r, InFlightMax: 4})
	ctx := within(t, 20*time.Second)
	s := sender(t, address, client.SenderOptions{Finite: true})
	for seq := 1; seq <= 20; seq++ {
		if err := s.Lines(ctx, []byte(line("g", seq))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if r.Hurries != 1 || r.Count() != 20 || r.Ends != 1 {
		t.Errorf("hurried %d times, %d events, ended %d times", r.Hurries, r.Count(), r.Ends)
	}
}

// The answers behind the end get lost, and the server is started anew: it has ended the source, and says so.
func TestSender_WhoseEndWasNotAnswered(t *testing.T) {
	address := scripted(t, func(n int, conn net.Conn, in *protocol.Reader) {
		for {
			kind, payload, err := in.Next()
			if err != nil {
				return
			}
			var answer []byte
			switch {
			case kind == protocol.KindHello:
				answer = (&protocol.Welcome{Version: 2, FrameBytesMax: protocol.FrameBytesMax, InFlightMax: 8}).Append(nil)
			case n == 1 && kind == protocol.KindEnd:
				return
			case n == 1:
				continue
			case kind == protocol.KindEnd:
				answer = protocol.AppendFrame(nil, protocol.KindEnded, nil)
			default:
				number, _, _ := protocol.ParseBatch(payload)
				answer = (&protocol.Refused{Number: number, Code: protocol.CodeEnded, Reason: "it has ended"}).Append(nil)
			}
			if _, err := conn.Write(answer); err != nil {
				return
			}
		}
	})
	ctx := within(t, 20*time.Second)
	s := sender(t, address, client.SenderOptions{Finite: true})
	if err := errors.Join(s.Lines(ctx, []byte(line("g", 1))), s.Lines(ctx, []byte(line("g", 2))), s.Close(ctx)); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Acknowledged != 2 || st.Connections != 2 {
		t.Errorf("%+v", st)
	}
	if outcome, told := s.Outcome(); told {
		t.Errorf("a server of version 2 says nothing of what it has, and not %+v", outcome)
	}
}
