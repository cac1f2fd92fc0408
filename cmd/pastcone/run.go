package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
	dumpOn   string
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
	if !t.quiet {
		t.warn(text)
	}
}

// warn tells what went wrong, also to whom wants to hear nothing else.
func (t *teller) warn(text string) {
	t.clear()
	fmt.Fprintln(t.s.err, "pastcone:", text)
}

// dumped tells what came of a dump that was asked for.
func (t *teller) dumped(path string, err error) {
	if err != nil {
		t.warn(fmt.Sprintf("nothing was dumped into %s: %v", path, err))
		return
	}
	t.Say(fmt.Sprintf("dumped what the ring holds: pastcone import -o %s %s", strings.TrimSuffix(path, ".capture"), path))
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

Flags of ours have two dashes, those of go build one. The first time, Go's standard library is built once with the recorder in it.

While the program runs, its capture grows in REC.capture beside the recording. If pastcone itself is killed the file stays, and has all that was
recorded up to then: pastcone import -o NEW REC.capture. The program goes on without a recorder.`,
		Example: `  pastcone run ./cmd/app -- --port 8080
  pastcone run --args 'orders.*' --state 'orders.Order.status' -race ./cmd/app
  pastcone run --on-full overwrite ./cmd/app        keep the newest, write it out at the end
  pastcone run --on-full overwrite --dump-on usr1 -o app.rec ./cmd/app
                                                    and at each kill -USR1, into app.rec-1.capture, app.rec-2.capture, …`,
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			ours, goFlags, names, programs := splitArguments(c.Flags(), args)
			if done, err := parseOurs(c, ours); done || err != nil {
				return err
			}
			if len(names) == 0 {
				return usagef("usage: %s", c.UseLine())
			}
			if n := programsNames(names); len(n) > 0 {
				return usagef("one package is run at a time; the program's own arguments stand behind --: pastcone run %s -- %s", strings.Join(names[:len(names)-len(n)], " "), strings.Join(n, " "))
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
	r.bindFlight(c)
	r.bind(c)
	return c
}

// bindFlight adds the flags of a flight recorder.
func (r *recording) bindFlight(c *cobra.Command) {
	f := c.Flags()
	f.Int64Var(&r.flight, "flight", 0, "with --on-full overwrite: keep the newest `BYTES` only; 0: what the ring holds")
	f.StringVar(&r.dumpOn, "dump-on", "", "with --on-full overwrite: this `SIGNAL`, usr1 or usr2, is ours and writes what the ring holds into a file of its own")
}

// dumpSignal gives the signal to dump on, nil if there is none.
func (r *recording) dumpSignal() (os.Signal, error) {
	if r.dumpOn == "" {
		return nil, nil
	}
	s, err := launch.DumpSignal(r.dumpOn)
	if err != nil {
		return nil, usagef("--dump-on: %w", err)
	}
	if r.onFull != capture.Overwrite.String() {
		return nil, usagef("--dump-on writes out what a flight recorder holds: it needs --on-full overwrite")
	}
	return s, nil
}

// programsNames gives the names that can not be the package's: files of Go are one package together, anything else stands alone.
func programsNames(names []string) []string {
	n := 1
	for strings.HasSuffix(names[0], ".go") && n < len(names) && strings.HasSuffix(names[n], ".go") {
		n++
	}
	return names[n:]
}

// parseOurs parses our own flags where the go command's stand between them. done says that help was asked for, and given.
func parseOurs(c *cobra.Command, ours []string) (done bool, err error) {
	err = c.Flags().Parse(ours)
	if help, _ := c.Flags().GetBool("help"); help || errors.Is(err, pflag.ErrHelp) {
		return true, c.Help()
	}
	if unknown := (*pflag.NotExistError)(nil); errors.As(err, &unknown) && len(unknown.GetSpecifiedName()) > 1 {
		err = fmt.Errorf("%w (flags of the program stand behind --, those of the go command have one dash)", err)
	}
	if err != nil {
		return false, usageError{err}
	}
	return false, c.Root().PersistentPreRunE(c, nil)
}

// interrupted makes the exit status of an error that came up since somebody ended us with a signal, as shells have it, and says so.
func (r *recording) interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	status := 128 + int(syscall.SIGINT)
	if strings.HasPrefix(context.Cause(ctx).Error(), syscall.SIGTERM.String()) {
		status = 128 + int(syscall.SIGTERM)
	}
	(&teller{s: r.s}).warn("interrupted before anything ran; nothing was recorded")
	return statusError(status)
}

// run builds, runs, records, and says what came of it.
func (r *recording) run(ctx context.Context, packages, goFlags, args []string) error {
	o, err := r.instrument(packages, goFlags)
	if err != nil {
		return err
	}
	_, err = r.runProgram(ctx, o, args, "", &teller{s: r.s, quiet: r.quiet})
	return r.interrupted(ctx, err)
}

// runProgram is run, once it is known what is to be instrumented. It gives the recording. label names a new one; "" is
// the program's own name.
func (r *recording) runProgram(ctx context.Context, o instrument.Options, args []string, label string, tell *teller) (dir string, err error) {
	policy, err := r.policy()
	if err != nil {
		return "", err
	}
	dumpOn, err := r.dumpSignal()
	if err != nil {
		return "", err
	}
	binary, err := launch.Build(ctx, o, "", tell, r.s.err)
	tell.clear()
	if err != nil {
		return "", err
	}
	// When the program has started an interrupt is its own: it ends as it does, and what it did is recorded.
	unless := ctx
	ctx = context.WithoutCancel(ctx)
	launch.OutliveReaders()
	if label == "" {
		label = "run-" + filepath.Base(binary.Path)
	}
	if dir = r.out; dir == "" {
		if dir, err = recorder.NewPlace(label, time.Now()); err != nil {
			return "", err
		}
	}
	rec, undo, err := r.open(dir)
	if err != nil {
		return dir, err
	}
	in, err := rec.Source(recorder.Spec{Name: filepath.Base(binary.Path), Format: "capture"})
	if err != nil {
		return dir, errors.Join(err, rec.Close(ctx))
	}
	spool, err := r.spool(dir, tell)
	if err != nil {
		return dir, errors.Join(err, in.Close(ctx, false), rec.Close(ctx), undo())
	}
	outcome, running := launch.Run(ctx, launch.Options{
		Path: binary.Path, Args: args, Functions: binary.Functions, Entries: binary.Entries,
		Policy: policy, RingBytes: r.ring, CallsPerSecondMax: r.budget, FlightBytes: r.flight, Capture: spool, Sink: in, Unless: unless,
		DumpOn: dumpOn, DumpBase: strings.TrimSuffix(spool, ".capture"), Dumped: tell.dumped,
	})
	within, cancel := context.WithTimeout(ctx, importDrain)
	defer cancel()
	if !outcome.Started {
		return dir, errors.Join(running, in.Close(within, false), rec.Close(within), undo())
	}
	closing := errors.Join(in.Close(within, running == nil))
	r.summarise(within, tell, rec, in, outcome, dir)
	closing = errors.Join(closing, rec.Close(within))
	if running == nil && closing == nil && r.keep == "" {
		closing = os.Remove(spool)
	}
	switch err := errors.Join(running, closing); {
	case err != nil && outcome.Ended.Code != 0:
		// How the program fared is the status in any case.
		tell.warn(fmt.Sprintf("%v\n(what was recorded is in %s; the capture, if there is one, in %s)", err, dir, spool))
		return dir, statusError(outcome.Ended.Code)
	case err != nil:
		return dir, fmt.Errorf("%w\n(what was recorded is in %s; the capture, if there is one, in %s)", err, dir, spool)
	case outcome.Ended.Code != 0:
		return dir, statusError(outcome.Ended.Code)
	}
	return dir, nil
}

// open opens the recording. undo removes it again, if it was not there before; it must be closed for that.
func (r *recording) open(dir string) (rec *recorder.Recorder, undo func() error, err error) {
	_, err = os.Lstat(dir)
	isNew := errors.Is(err, os.ErrNotExist)
	options := recorder.FromSettings(r.set)
	options.Log = r.s.warnings()
	if rec, err = recorder.Open(dir, options); err != nil {
		return nil, nil, fmt.Errorf("%s: %w; -o names another recording", dir, err)
	}
	return rec, func() error {
		if isNew {
			return os.RemoveAll(dir)
		}
		return nil
	}, nil
}

// spoolsMax bounds how many captures may have been left behind beside one recording.
const spoolsMax = 1000

// spool names the capture file. One that was left behind, since we were killed, is left alone, and told of.
func (r *recording) spool(dir string, tell *teller) (string, error) {
	if r.keep != "" {
		if _, err := os.Lstat(r.keep); err == nil {
			return "", fmt.Errorf("--capture %s: it is there already, and is not written over: name another file, or remove it", r.keep)
		}
		return r.keep, nil
	}
	for n := 1; n <= spoolsMax; n++ {
		name := dir + ".capture"
		if n > 1 {
			name = fmt.Sprintf("%s.%d.capture", dir, n)
		}
		if _, err := os.Lstat(name); err != nil {
			return name, nil //nolint:nilerr // it is not there; anything else comes up when it is made
		}
		tell.warn(fmt.Sprintf("%s was left by a pastcone that was killed, or is another's at this moment: pastcone import -o NEW %[1]s reads it", name))
	}
	return "", fmt.Errorf("%s.*.capture: %d captures were left behind: import them or remove them", dir, spoolsMax)
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
		tell.warn(fmt.Sprintf("lost: %s records, since the ring was full; each loss is a gap in the recording", render.Count(c.Dropped)))
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
		tell.warn(fmt.Sprintf("rejected: %s; see %s", reasons(a.RejectedBy), filepath.Join(dir, "rejects.ndjson")))
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
