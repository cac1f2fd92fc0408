package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// variant is a way to build and run the stress program.
type variant struct {
	name  string
	build []string // flags of go build
	env   []string
	args  []string
	share float64 // of all receives
}

var variants = []variant{
	{name: "as it is", share: 0.32},
	{name: "GOMAXPROCS changes", args: []string{"-procs"}, share: 0.16},
	{name: "GOGC=5, GOMAXPROCS changes", env: []string{"GOGC=5"}, args: []string{"-procs"}, share: 0.16},
	{name: "one P", env: []string{"GOMAXPROCS=1"}, share: 0.12},
	{name: "32 Ps", env: []string{"GOMAXPROCS=32"}, share: 0.08},
	{name: "asynctimerchan=1", env: []string{"GODEBUG=asynctimerchan=1"}, share: 0.04},
	{name: "race detector", build: []string{"-race"}, args: []string{"-races=false", "-procs"}, share: 0.06},
	{name: "-N -l", build: []string{"-gcflags=all=-N -l"}, share: 0.06},
}

// receivesPerSend is about how many receives the stress program makes for each of -sends.
const receivesPerSend = 36

// stressed is what came of the stress program.
type stressed struct {
	*ledger
	took, read time.Duration
}

// stressOnce runs one variant of an executable that records itself, and checks its capture.
func (b *bench) stressOnce(v variant, binary string, sends uint64) (*stressed, error) {
	file := filepath.Join(b.dir, "stress.capture")
	defer os.Remove(file) //nolint:errcheck // in a temporary directory
	args := append([]string{fmt.Sprintf("-sends=%d", sends)}, v.args...)
	r := b.do(command20m, b.dir, append([]string{"PASTCONE_TO=" + file}, v.env...), binary, args...)
	if r.trouble != nil || r.code != 3 {
		return nil, fmt.Errorf("%s: status %d, not 3: %v\n%s", r.command, r.code, r.trouble, tail(r.out+r.err))
	}
	var values, empties, closed, senders uint64
	if _, err := fmt.Sscanf(r.out, "values %d empty %d closed %d senders %d", &values, &empties, &closed, &senders); err != nil {
		return nil, fmt.Errorf("%s said %q: %w", r.command, r.out, err)
	}
	s := &stressed{ledger: newLedger(true), took: r.took}
	began := time.Now()
	stats, err := checkCapture(b.ctx, file, s.ledger)
	s.read = time.Since(began)
	if err != nil {
		return s, err
	}
	if stats.Ended != "exit" || stats.ExitCode != 3 || stats.Note() != "" {
		s.fault("the capture says that the program ended by %q with status %d; %s", stats.Ended, stats.ExitCode, stats.Note())
	}
	// The reader tells a receive nobody looked at by its place in the code, the program by what it does.
	if s.values+s.empties != values+empties || s.ledger.closed != closed {
		s.fault("%d receives and %d of closed channels are recorded; the program made %d and %d", s.values+s.empties, s.ledger.closed, values+empties, closed)
	}
	return s, s.finish()
}

func (b *bench) stress() error {
	var all uint64
	binaries := map[string]string{}
	for _, v := range variants {
		key := strings.Join(v.build, " ")
		binary := binaries[key]
		if binary == "" {
			binary = filepath.Join(b.dir, fmt.Sprintf("stress-%d", len(binaries)))
			if err := b.selfRecording(binary, "./acceptance/conformance/stress", append([]string{"--args", "main.sent,main.received"}, v.build...)...); err != nil {
				return err
			}
			binaries[key] = binary
		}
		sends := uint64(v.share*float64(b.receives))/receivesPerSend + 1
		s, err := b.stressOnce(v, binary, sends)
		if err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
		receives := s.values + s.empties
		all += receives
		b.say("%-28s %9d receives, %9d matched (%.3f %%), %d wrong; %7d of closed channels, %7d streams, %9d events; ran %5.1f s, read %5.1f s",
			v.name, receives, s.matched, 100*float64(s.matched)/float64(receives), s.wrong, s.ledger.closed, len(s.streams), s.events, s.took.Seconds(), s.read.Seconds())
	}
	b.say("%d receives in all", all)
	e, err := b.stressRecorded(max(500, b.receives/1000))
	if err != nil {
		return fmt.Errorf("the recording: %w", err)
	}
	b.say("through the engine: %d receives with an exact edge, %d of them to the send of the same value; %d of closed channels to the close", e.receives, e.exact, e.closed)
	if all < b.receives {
		return fmt.Errorf("%d receives are fewer than %d", all, b.receives)
	}
	return nil
}
