package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pastcone/pastcone/client"
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
}
