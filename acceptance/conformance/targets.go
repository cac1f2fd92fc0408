package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pastcone/pastcone/internal/instrument"
	"github.com/pastcone/pastcone/internal/instrument/patch"
	"github.com/pastcone/pastcone/internal/launch"
	"github.com/pastcone/pastcone/internal/source/capture"
)

// target is a system and a processor.
type target struct {
	system, processor string
	records           bool // programs for it can be recorded: an instrumented one has to build, too
	emulator          string
}

var targetsBuilt = []target{
	{"linux", "amd64", true, ""}, {"linux", "arm64", true, "qemu-aarch64"}, {"darwin", "arm64", true, ""}, {"darwin", "amd64", true, ""},
	{"windows", "amd64", false, ""}, {"freebsd", "amd64", false, ""},
}

// targets builds pastcone, and an instrumented program, for other systems; what can be emulated here is recorded.
func (b *bench) targets() error {
	var broken []error
	for _, t := range targetsBuilt {
		if err := b.target(t); err != nil {
			broken = append(broken, fmt.Errorf("%s/%s: %w", t.system, t.processor, err))
		}
	}
	return errors.Join(broken...)
}

func (b *bench) target(t target) error {
	env := []string{"GOOS=" + t.system, "GOARCH=" + t.processor, "CGO_ENABLED=0"}
	dir := filepath.Join(b.dir, t.system+"-"+t.processor)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := b.do(command5m, b.root, env, "go", "build", "-o", filepath.Join(dir, "pastcone"), "./cmd/pastcone").failed(); err != nil {
		return err
	}
	if !t.records {
		b.say("%s/%s: pastcone builds", t.system, t.processor)
		return nil
	}
	binary, err := b.buildFor(env, filepath.Join(dir, "stress"))
	if err != nil {
		return err
	}
	if t.emulator == "" {
		b.say("%s/%s: pastcone and an instrumented program build", t.system, t.processor)
		return nil
	}
	emulator, err := exec.LookPath(t.emulator)
	if err != nil {
		b.say("%s/%s: pastcone and an instrumented program build; not run, since there is no %s here", t.system, t.processor, t.emulator)
		return nil
	}
	return b.emulated(t, env, dir, emulator, binary)
}

// buildFor instruments and builds the stress program for another target. The environment says which; the packages that build it
// have no other ear for that.
func (b *bench) buildFor(env []string, output string) (*launch.Binary, error) {
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		before, was := os.LookupEnv(name)
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
		defer func() {
			if was {
				_ = os.Setenv(name, before)
			} else {
				_ = os.Unsetenv(name)
			}
		}()
	}
	o := instrument.Options{Dir: b.root, Packages: []string{"./acceptance/conformance/stress"}, Args: []string{"main.sent", "main.received"}, CacheDir: b.cache}
	if o.CacheDir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		o.CacheDir = filepath.Join(base, "pastcone")
	}
	// The command builds for its own system only, where it can record; what it would build elsewhere is made of the same parts.
	p, err := instrument.Prepare(b.ctx, o)
	if err != nil {
		return nil, err
	}
	args := slices.Concat([]string{"build"}, p.Flags, []string{"-o", output, "--"}, o.Packages)
	r := b.do(command5m, b.root, p.Env, p.GoCommand, args...)
	return &launch.Binary{Path: output, Functions: p.Functions, Entries: p.FunctionsCount, Prepared: p}, r.failed()
}

// emulated records the stress program under an emulator: the program, and the collector, whose clock is the program's. The capture is
// read here.
func (b *bench) emulated(t target, env []string, dir, emulator string, binary *launch.Binary) error {
	const sends = 400
	self, file := filepath.Join(dir, "conformance"), filepath.Join(dir, "stress.capture")
	if err := b.do(command5m, b.root, env, "go", "build", "-o", self, "./acceptance/conformance").failed(); err != nil {
		return err
	}
	args := []string{self, "-record", binary.Path, "-emulator", emulator, "-functions", binary.Functions, "-entries", strconv.Itoa(binary.Entries), "-capture", file, "--",
		fmt.Sprintf("-sends=%d", sends)}
	r := b.do(command20m, dir, nil, emulator, args...)
	if r.trouble != nil || r.code != 3 {
		return fmt.Errorf("under %s: status %d, not 3: %v\n%s", t.emulator, r.code, r.trouble, tail(r.out+r.err))
	}
	var values, empties, closed, senders uint64
	if _, err := fmt.Sscanf(r.out, "values %d empty %d closed %d senders %d", &values, &empties, &closed, &senders); err != nil {
		return fmt.Errorf("%q: %w", r.out, err)
	}
	l := newLedger(true)
	stats, err := checkCapture(b.ctx, file, l)
	if err != nil {
		return err
	}
	if stats.Ended != "exit" || stats.ExitCode != 3 || l.values+l.empties != values+empties || l.closed != closed {
		l.fault("the capture ends by %q, %d; it has %d receives of %d, %d of closed channels of %d", stats.Ended, stats.ExitCode, l.values+l.empties, values+empties, l.closed, closed)
	}
	if err := l.finish(); err != nil {
		return err
	}
	b.say("%s/%s: pastcone and an instrumented program build; run under %s it made %d receives, %d of them matched (%.3f %%), %d wrong; %d events in %d streams",
		t.system, t.processor, t.emulator, values+empties, l.matched, 100*float64(l.matched)/float64(values+empties), l.wrong, l.events, len(l.streams))
	return nil
}

// bare says what to record without the pastcone command: an executable that it did not build, or that is emulated.
type bare struct {
	program, emulator, functions, file string
	entries                            int
}

// recordBare records a program into a capture file. Its exit status becomes ours.
func recordBare(ctx context.Context, o bare, args []string) error {
	if o.entries == 0 {
		o.entries = patch.FunctionsMax + 1
	}
	ring, err := capture.NewRing("", capture.RingOptions{Functions: o.entries})
	if err != nil {
		return err
	}
	code, err := recordIntoRing(ctx, o, ring, args)
	if err = errors.Join(err, ring.Close()); err == nil && code != 0 {
		os.Exit(code)
	}
	return err
}

func recordIntoRing(ctx context.Context, o bare, ring *capture.Ring, args []string) (code int, err error) {
	ended := make(chan struct{})
	collector, err := capture.NewCollector(ring, capture.CollectOptions{
		Spool: o.file, Functions: o.functions, Executable: o.program, Ended: ended, CallsPerSecondMax: -1,
	})
	if err != nil {
		return 0, err
	}
	if o.emulator != "" {
		o.program, args = o.emulator, append([]string{o.program}, args...)
	}
	c := exec.CommandContext(ctx, o.program, args...) // #nosec G204 -- named by whoever runs this
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), ring.Env())
	if err := c.Start(); err != nil {
		close(ended)
		return 0, errors.Join(err, collector.Run(ctx))
	}
	collected := make(chan error, 1)
	go func() { collected <- collector.Run(ctx) }()
	err = c.Wait()
	close(ended)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return c.ProcessState.ExitCode(), errors.Join(err, <-collected)
}
