package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/config"
	"github.com/pastcone/pastcone/internal/instrument"
	"github.com/pastcone/pastcone/internal/launch"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/render"
	"github.com/pastcone/pastcone/internal/source/capture"
)

// statusError is the exit status of a program, which becomes ours.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// recording is what run, test and build have in common: what is recorded of a program, and how.
type recording struct {
	s    *screen
	from settings
	set  *config.Settings

	out      string
	args     []string
	state    []string
	queue    []string
	include  []string
	exclude  []string
	all      bool
	noPatch  bool
	onFull   string
	ring     int64
	budget   int
	flight   int64
	keep     string
	quiet    bool
	cacheDir string
}

// bind adds the flags for what is recorded.
func (r *recording) bind(c *cobra.Command) {
	f := c.Flags()
	f.StringSliceVar(&r.args, "args", nil, "record arguments and results of these functions: `PATTERN`s like 'orders.(*Queue).*'")
	f.StringSliceVar(&r.state, "state", nil, "record each change of these fields: `PATTERN`s like 'orders.Order.status'")
	// Not a slice: the comma stands between the ends of one queue, not between queues.
	f.StringArrayVar(&r.queue, "queue", nil, "these functions hand work on, as a channel does: `PUSH,POP`")
	f.StringSliceVar(&r.include, "include", nil, "record these packages, too: `PATTERN`s like 'github.com/nats-io/...'")
	f.StringSliceVar(&r.exclude, "exclude", nil, "do not record these packages: `PATTERN`s")
	f.BoolVar(&r.all, "inlinable", false, "record also the functions that the compiler would put into their callers")
	f.BoolVar(&r.noPatch, "no-runtime", false, "leave Go's runtime as it is: only calls and returns are recorded")
	f.StringVar(&r.onFull, "on-full", "block", "when the ring is full: block (lossless, the program waits), drop, or overwrite (flight recorder)")
	f.Int64Var(&r.ring, "ring", capture.RingBytesDefault, "`BYTES` of the ring between the program and us")
	f.IntVar(&r.budget, "budget", capture.CallsPerSecondMaxDefault, "`CALLS` a second of a function that calls nothing; beyond it they are counted only; -1: no bound")
	f.BoolVar(&r.quiet, "quiet", false, "say nothing but what went wrong")
	f.StringVar(&r.cacheDir, "cache", "", "keep what is rewritten and built in this `DIR`")
	r.from.bind(c)
}

// instrument gives what is to be instrumented.
func (r *recording) instrument(packages, goFlags []string) (instrument.Options, error) {
	o := instrument.Options{
		Packages: packages, BuildFlags: goFlags, Include: r.include, Exclude: r.exclude, Args: r.args, State: r.state, Queue: r.queue,
		Inlinable: r.all, NoRuntime: r.noPatch, CacheDir: r.cacheDir,
	}
	if o.CacheDir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return o, fmt.Errorf("a place for what is rewritten and built: %w; --cache names one", err)
		}
		o.CacheDir = filepath.Join(base, "pastcone")
	}
	return o, nil
}

func (r *recording) policy() (capture.Policy, error) {
	for _, p := range []capture.Policy{capture.Block, capture.Drop, capture.Overwrite} {
		if p.String() == r.onFull {
			return p, nil
		}
	}
	return 0, usagef("--on-full %s: it is block, drop or overwrite", r.onFull)
}

// teller tells a person what is going on: on lines of its own, and on one that is written over where that is possible.
type teller struct {
	s     *screen
	quiet bool
	shown time.Time
	open  bool // a line that is written over stands there
}

// Say tells one thing.
func (t *teller) Say(text string) {
	t.clear()
	if !t.quiet {
		fmt.Fprintln(t.s.err, "pastcone:", text)
	}
}

// Step tells how much of a step is done.
func (t *teller) Step(name string, done, all int) {
	if t.quiet || !t.s.progress || time.Since(t.shown) < 100*time.Millisecond {
		return
	}
	t.shown, t.open = time.Now(), true
	switch {
	case all > 0:
		name += fmt.Sprintf(", %d of %d", done, all)
	case done > 0:
		name += fmt.Sprintf(", %d", done)
	}
	fmt.Fprintf(t.s.err, "\r\x1b[Kpastcone: %s", name)
}

func (t *teller) clear() {
	if t.open {
		fmt.Fprint(t.s.err, "\r\x1b[K")
		t.open = false
	}
}

// ask says how to ask, with a command that is ready to be pasted.
func (t *teller) ask(errs uint64, dir string) {
	if errs > 0 {
		t.Say(fmt.Sprintf("errors and panics: %s; the last one: pastcone why %s", render.Count(errs), dir))
		return
	}
	t.Say("no errors; ask: pastcone find '{ kind = call } | count() by (func)' " + dir)
}

func newRun(s *screen) *cobra.Command {
	r := &recording{s: s}
	c := &cobra.Command{
		Use:   "run [-o REC] [flags] [go build flags] PACKAGE [-- ARGS]",
		Short: "Record a Go program as it is",
		Long: `Builds a Go program with probes in it and runs it: calls and returns, goroutines, channels, select, locks, timers, errors, panics.
Nothing of the program is changed on disk; its input, output, exit status and signals are its own.

Flags of ours have two dashes, those of go build one. The first time, Go's standard library is built once with the recorder in it.`,
		Example: `  pastcone run ./cmd/app -- --port 8080
  pastcone run --args 'orders.*' --state 'orders.Order.status' -race ./cmd/app
  pastcone run --on-full overwrite ./cmd/app        keep the newest, write it out at the end`,
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			ours, goFlags, names, programs := splitArguments(c.Flags(), args)
			if done, err := parseOurs(c, ours); done || err != nil {
				return err
			}
			if len(names) == 0 {
				return usagef("usage: %s", c.UseLine())
			}
			if len(names) > 1 && !strings.HasSuffix(names[0], ".go") {
				return usagef("one package is run at a time; the program's own arguments stand behind --: pastcone run %s -- %s", names[0], strings.Join(names[1:], " "))
			}
			var err error
			if r.set, err = r.from.load(); err != nil {
				return err
			}
			return r.run(c.Context(), names, goFlags, programs)
		},
	}
	c.Flags().StringVarP(&r.out, "output", "o", "", "record into this `REC`, a new one or one that is there")
	c.Flags().StringVar(&r.keep, "capture", "", "keep the raw capture in this `FILE` (pastcone import reads it)")
	c.Flags().Int64Var(&r.flight, "flight", 0, "with --on-full overwrite: keep the newest `BYTES` only; 0: what the ring holds")
	r.bind(c)
	return c
}

// parseOurs parses our own flags where the go command's stand between them. done says that help was asked for, and given.
func parseOurs(c *cobra.Command, ours []string) (done bool, err error) {
	if err := c.Flags().Parse(ours); err != nil {
		return false, usageError{err}
	}
	if help, err := c.Flags().GetBool("help"); err == nil && help {
		return true, c.Help()
	}
	return false, c.Root().PersistentPreRunE(c, nil)
}

// run builds, runs, records, and says what came of it.
func (r *recording) run(ctx context.Context, packages, goFlags, args []string) error {
	o, err := r.instrument(packages, goFlags)
	if err != nil {
		return err
	}
	_, err = r.runProgram(ctx, o, args, "", &teller{s: r.s, quiet: r.quiet})
	return err
}

// runProgram is run, once it is known what is to be instrumented. It gives the recording. label names a new one; "" is
// the program's own name.
func (r *recording) runProgram(ctx context.Context, o instrument.Options, args []string, label string, tell *teller) (dir string, err error) {
	policy, err := r.policy()
	if err != nil {
		return "", err
	}
	binary, err := launch.Build(ctx, o, "", tell, r.s.err)
	if err != nil {
		return "", err
	}
	tell.clear()
	// From here on an interrupt is the program's: it ends as it does, and what it did is recorded.
	ctx = context.WithoutCancel(ctx)
	if label == "" {
		label = "run-" + filepath.Base(binary.Path)
	}
	if dir = r.out; dir == "" {
		if dir, err = recorder.NewPlace(label, time.Now()); err != nil {
			return "", err
		}
	}
	options := recorder.FromSettings(r.set)
	options.Log = r.s.warnings()
	rec, err := recorder.Open(dir, options)
	if err != nil {
		return dir, err
	}
	in, err := rec.Source(recorder.Spec{Name: filepath.Base(binary.Path), Format: "capture"})
	if err != nil {
		return dir, errors.Join(err, rec.Close(ctx))
	}
	spool := r.keep
	if spool == "" {
		spool = dir + ".capture"
	}
	outcome, running := launch.Run(ctx, launch.Options{
		Path: binary.Path, Args: args, Functions: binary.Functions, Entries: binary.Entries,
		Policy: policy, RingBytes: r.ring, CallsPerSecondMax: r.budget, FlightBytes: r.flight, Capture: spool, Sink: in,
	})
	within, cancel := context.WithTimeout(ctx, importDrain)
	defer cancel()
	closing := errors.Join(in.Close(within, running == nil))
	r.summarise(within, tell, rec, in, outcome, dir)
	closing = errors.Join(closing, rec.Close(within))
	if running == nil && closing == nil && r.keep == "" {
		closing = os.Remove(spool)
	}
	switch err := errors.Join(running, closing); {
	case err != nil && outcome.Ended.Code != 0:
		return dir, fmt.Errorf("%w\n(the program: %s)", err, outcome.Ended)
	case err != nil:
		return dir, fmt.Errorf("%w\n(what was recorded is in %s; the capture, if there is one, in %s)", err, dir, spool)
	case outcome.Ended.Code != 0:
		return dir, statusError(outcome.Ended.Code)
	}
	return dir, nil
}

// summarise says what was recorded, what it cost, and how to ask.
func (r *recording) summarise(ctx context.Context, tell *teller, rec *recorder.Recorder, in *recorder.Input, o launch.Outcome, dir string) {
	a := in.Account()
	text := fmt.Sprintf("the program: %s, after %.1f s; %s events recorded", o.Ended, o.Elapsed.Seconds(), render.Count(a.Stored))
	if s := o.Elapsed.Seconds(); s > 0.1 {
		text += fmt.Sprintf(" (%s a second)", render.Count(uint64(float64(a.Stored)/s)))
	}
	tell.Say(text)
	c := o.Collected
	if c.Dropped > 0 {
		tell.Say(fmt.Sprintf("lost: %s records, since the ring was full; each loss is a gap in the recording", render.Count(c.Dropped)))
	}
	if c.Overwritten > 0 {
		tell.Say(fmt.Sprintf("overwritten: %s older records; the newest are recorded", render.Count(c.Overwritten)))
	}
	if c.Blocked > 10*time.Millisecond {
		tell.Say(fmt.Sprintf("the program waited %s for the ring to be emptied", c.Blocked.Round(time.Millisecond)))
	}
	if cpu := time.Duration(o.Ended.CPU); cpu > 50*time.Millisecond && c.Recording > 0 {
		tell.Say(fmt.Sprintf("recording took about %.0f %% of its processor time (%s of %s)", 100*min(1, float64(c.Recording)/float64(cpu)),
			c.Recording.Round(time.Millisecond), cpu.Round(time.Millisecond)))
	}
	if c.Silenced > 0 {
		tell.Say(fmt.Sprintf("%d functions were called so often that calls were only counted for a while: pastcone find '{ kind = metric }'", c.Silenced))
	}
	if a.Rejected > 0 {
		tell.Say(fmt.Sprintf("rejected: %s; see %s", reasons(a.RejectedBy), filepath.Join(dir, "rejects.ndjson")))
	}
	if n, err := countErrors(ctx, rec); err == nil {
		tell.ask(n, dir)
	}
}

// countErrors counts the events of kind error.
func countErrors(ctx context.Context, rec *recorder.Recorder) (n uint64, err error) {
	q, err := query.Parse("{ kind = " + event.KindError.String() + " }")
	if err != nil {
		return 0, err
	}
	reader := rec.Snapshot()
	defer reader.Close() //nolint:errcheck // only read
	_, err = query.Run(ctx, reader, q, query.Options{}, func(*query.Hit) error { n++; return nil })
	return n, err
}
