package server_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/protocol"
	. "github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/server/servertest"
	"github.com/pastcone/pastcone/internal/wire"
)

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
