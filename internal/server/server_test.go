package server_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	. "github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
