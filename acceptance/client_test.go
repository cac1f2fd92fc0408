package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pastcone/pastcone/client"
	"github.com/pastcone/pastcone/internal/protocol"
)

// TestClient_AnotherProgramAsks is a program that sends to a server and asks it by the client package: what it may get wrong is
// answered in words, and the connection stays good for the next question.
func TestClient_AnotherProgramAsks(t *testing.T) {
	dir := t.TempDir()
	s := &killedServer{t: t, dir: dir}
	defer s.stop(syscall.SIGKILL)
	s.start()
	address := "unix:" + filepath.Join(dir, "sock")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	sender, err := client.NewSender(ctx, address, client.SenderOptions{Source: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	const events = 3000
	for n := range events {
		fmt.Fprintf(&lines, `{"stream":"g1","seq":%d,"time":%d,"kind":"log","data":{"n":%d}}`+"\n", n+1, 1_700_000_000_000_000_000+n, n)
	}
	if err := errors.Join(sender.Lines(ctx, []byte(lines.String())), sender.Close(ctx)); err != nil {
		t.Fatal(err)
	}

	asker, err := client.Ask(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	defer asker.Close()
	count := 0
	each := func([]byte) error { count++; return nil }
	type question map[string]any
	for _, c := range []struct {
		op    string
		args  any
		wants string // of the error
	}{
		{"guess", question{}, `there is no question "guess"; there are find, future`},
		{"relate", question{"events": []string{"1"}}, "relate takes 2 to 2 events, not 1"},
		{"find", question{"query": strings.Repeat("x", 70_000)}, "at most 65536"},
		{"find", question{"query": "{ knd = 1 }"}, "did you mean kind?"},
		{"find", "no object", "find"},
		{"show", question{"events": []string{"4711"}, "json": true}, "there is no event 4711"},
		{"stats", question{"timeout": int64(time.Hour)}, "timeout is"},
	} {
		var failed *client.AnswerError
		if err := asker.Query(ctx, c.op, c.args, each); !errors.As(err, &failed) || !strings.Contains(err.Error(), c.wants) {
			t.Errorf("%s: %v, not %q", c.op, err, c.wants)
		}
	}
	count = 0
	if err := asker.Query(ctx, "find", question{"query": "{}", "json": true, "timeout": int64(10 * time.Second)}, each); err != nil || count < events {
		t.Errorf("%d lines: %v", count, err)
	}
	enough := errors.New("that is enough")
	if err := asker.Query(ctx, "find", question{"query": "{}", "json": true}, func([]byte) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("an answer that is broken off: %v", err)
	}
	count = 0
	if err := asker.Query(ctx, "show", question{"events": []string{"3000"}, "json": true}, each); err != nil || count == 0 {
		t.Errorf("the question after it: %d lines, %v", count, err)
	}

	// Who speaks something else is told so, and let go; the server goes on.
	for _, c := range []struct{ says, wants string }{
		{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", ""},
		{"\x00\x00\x00\x00\x00\x00\x00\x00", "a frame without a kind"},
		{string(protocol.AppendFrame(nil, protocol.KindHello, []byte("hallo"))), "a hello begins with"},
	} {
		conn, err := net.Dial("unix", filepath.Join(dir, "sock"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Write([]byte(c.says)); err != nil {
			t.Error(err)
		}
		answer, err := io.ReadAll(conn)
		if !strings.Contains(string(answer), c.wants) {
			t.Errorf("to %q it says %q (%v), not %q", c.says, answer, err, c.wants)
		}
		_ = conn.Close()
	}
	if err := asker.Query(ctx, "stats", question{}, each); err != nil {
		t.Error(err)
	}
	s.stop(syscall.SIGTERM)
}
