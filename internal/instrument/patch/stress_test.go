package patch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/capture"
)

// run runs a program with a ring until its end, drains the ring meanwhile, and returns what it printed and its exit status.
func run(t testing.TB, r *testRing, env []string, program string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(append(os.Environ(), capture.EnvRing+"="+r.path), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if r.get32(capture.OffPolicy32) != capture.PolicyOverwrite {
		r.drain()
	}
	kill := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	out, err := cmd.Output()
	kill.Stop()
	r.end()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", program, err)
	}
	if stderr.Len() > 0 {
		t.Logf("%s %s: %.200s", program, args, stderr.String())
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// operations are what the streams of the stress program say about its channels.
type operations struct {
	receives, sends, closed, empty int
	unmatched                      int // receives whose send has no record
}

// soonTicks is less than it takes to lose 65,536 records, and more than it takes to write the next.
const soonTicks = 50_000

// match checks that each receive is of the value that the send with the same channel and ordinal sent.
func match(t testing.TB, streams map[uint64][]record, lossless bool, at func(place uint32, exact bool) string) operations {
	t.Helper()
	type place struct{ key, ordinal uint64 }
	var n operations
	sends := map[place]uint64{}
	closes := map[uint64]bool{}
	behind := func(s []record, i int) (record, bool) {
		if i+1 < len(s) && s[i+1].seq == s[i].seq+1 {
			// A record has 16 bits of its number: where so much was lost that they come round, the next one can look like the one behind.
			if lossless || s[i+1].ticks-s[i].ticks < soonTicks {
				return s[i+1], true
			}
		}
		return record{}, false
	}
	fail := func(e record, format string, args ...any) {
		t.Helper()
		t.Errorf("stream %d, event %d, kind %d at %s, channel %d, ordinal %d: %s", e.stream, e.seq, e.kind, at(e.b, false), e.key(), e.ordinal(), fmt.Sprintf(format, args...))
	}
	for _, s := range streams {
		for i, e := range s {
			switch e.kind {
			case capture.KindSend, capture.KindSendEmpty:
				n.sends++
				here := place{e.key(), e.ordinal()}
				if _, twice := sends[here]; twice || e.ordinal() == 0 || e.key() == 0 {
					fail(e, "an ordinal twice, or none")
				}
				value := uint64(0)
				if next, ok := behind(s, i); ok {
					if next.kind != capture.KindQueueSend {
						fail(e, "what follows a send is of kind %d", next.kind)
					}
					value = next.c
				}
				sends[here] = value
			case capture.KindTimerSend:
				sends[place{e.key(), e.ordinal()}] = 0
			case capture.KindClose:
				if closes[e.key()] {
					fail(e, "closed twice")
				}
				closes[e.key()] = true
			}
		}
	}
	taken := map[place]bool{}
	for _, s := range streams {
		for i, e := range s {
			if t.Failed() {
				return n
			}
			switch e.kind {
			case capture.KindReceiveClosed:
				n.closed++
				if next, ok := behind(s, i); ok && (next.kind != capture.KindQueueReceive || next.a != 2) {
					fail(e, "what follows a receive of a closed channel is of kind %d", next.kind)
				}
				if lossless && !closes[e.key()] {
					fail(e, "nobody closed it")
				}
			case capture.KindReceive, capture.KindReceiveEmpty:
				n.receives++
				here := place{e.key(), e.ordinal()}
				if taken[here] || here.ordinal == 0 {
					fail(e, "an ordinal twice, or none")
				}
				taken[here] = true
				sentValue, found := sends[here]
				next, ok := behind(s, i)
				if e.kind == capture.KindReceiveEmpty {
					n.empty++
					if ok && (next.kind != capture.KindQueueReceive || next.a != 3) {
						fail(e, "what follows a receive without value is of kind %d", next.kind)
					}
				} else if ok && (next.kind != capture.KindQueueReceive || next.a != 1) {
					fail(e, "what follows a receive is of kind %d", next.kind)
				}
				if !found {
					n.unmatched++
					if lossless {
						t.Logf("no send: stream %d, event %d, kind %d at %s", e.stream, e.seq, e.kind, at(e.b, false))
					}
					continue
				}
				if e.kind == capture.KindReceive && ok && sentValue != 0 && next.c != sentValue {
					fail(e, "received %d, but %d was sent", next.c, sentValue)
				}
			}
		}
	}
	return n
}

// goroutines checks spawns against starts and exits.
func goroutines(t testing.TB, streams map[uint64][]record) int {
	t.Helper()
	parents := map[uint64]uint64{}
	for stream, s := range streams {
		for _, e := range s {
			if e.kind == capture.KindSpawn {
				parents[e.c] = stream
				if e.b == 0 {
					t.Errorf("stream %d, event %d: a spawn without a place", stream, e.seq)
				}
			}
		}
	}
	for stream, s := range streams {
		if stream>>63 != 0 {
			continue
		}
		first := s[0]
		if first.kind != capture.KindStart || first.c != parents[stream] || first.b == 0 {
			t.Errorf("stream %d begins with kind %d, parent %d, place %d; its parent is %d", stream, first.kind, first.c, first.b, parents[stream])
		}
		for i, e := range s {
			if e.kind == capture.KindStart && i > 0 || e.kind == capture.KindExit && i < len(s)-1 {
				t.Errorf("stream %d has an event of kind %d at place %d of %d", stream, e.kind, i+1, len(s))
			}
		}
	}
	return len(parents)
}

func TestEveryReceiveMeetsItsSendByValue(t *testing.T) {
	sends := "3000"
	if n := os.Getenv("PASTCONE_TEST_SENDS"); n != "" {
		sends = n
	}
	cases := []struct {
		name  string
		flags []string
		env   []string
		args  []string
	}{
		{name: "as it is"},
		{name: "with the number of Ps changing", args: []string{"-procs"}},
		{name: "with the garbage collector always at work", env: []string{"GOGC=5"}, args: []string{"-procs"}},
		{name: "one P", env: []string{"GOMAXPROCS=1"}},
		{name: "with timers' channels as they were before Go 1.23", env: []string{"GODEBUG=asynctimerchan=1"}},
		{name: "under the race detector", flags: []string{"-race"}},
		{name: "without optimization", flags: []string{"-gcflags=all=-N -l"}},
	}
	for _, c := range cases {
		if len(c.flags) > 0 && !everyForm {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			program := build(t, "stress", c.flags...)
			r := newRing(t, capture.PolicyBlock, 64)
			out, code := run(t, r, c.env, program, append(c.args, "-sends="+sends)...)
			if code != 3 || r.get32(capture.OffEnd32) != capture.EndExit || r.get32(capture.OffExitCode32) != 3 {
				t.Fatalf("exit status %d; the ring says end %d, status %d", code, r.get32(capture.OffEnd32), r.get32(capture.OffExitCode32))
			}
			streams := r.streams(t)
			events := whole(t, streams)
			n := match(t, streams, true, places(t, r, program))
			started := goroutines(t, streams)
			want, _ := strconv.Atoi(strings.TrimSpace(out))
			// Timers of the program, of which it makes two, are sent for by nobody's goroutine.
			if n.receives != want {
				t.Errorf("%d receives recorded, of %d", n.receives, want)
			}
			if dropped := r.get64(capture.OffDropped); dropped != 0 {
				t.Errorf("%d events dropped", dropped)
			}
			t.Logf("%d events, %d sends, %d receives (%d empty, %d closed), %d without a recorded send, %d goroutines, blocked %v", events, n.sends,
				n.receives, n.empty, n.closed, n.unmatched, started, time.Duration(r.get64(capture.OffBlockedNanos)))
			if len(c.args) == 0 && n.unmatched != 0 {
				t.Errorf("%d receives of %d have no send", n.unmatched, n.receives)
			}
		})
	}
}
