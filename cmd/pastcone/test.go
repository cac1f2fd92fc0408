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

	"github.com/pastcone/pastcone/internal/launch"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/render"
	"github.com/pastcone/pastcone/internal/source/file"
)

// recordBinary is the command that go test runs in place of a test binary.
const recordBinary = "record-binary"

func newTest(s *screen) *cobra.Command {
	r := &recording{s: s}
	c := &cobra.Command{
		Use:   "test [-o REC] [flags] [go test flags] PACKAGES",
		Short: "Record the tests of Go packages as they are",
		Long: `Runs go test with probes in the packages, and records what each test binary does: a source of its own in the recording, each test a
piece of work. What go test prints, and its exit status, are its own.

Flags of ours have two dashes, those of go test one.

If pastcone itself is killed, what was recorded of each test binary is in the directory pastcone-test-… for temporary files, in files that end in
.capture or .capture.part: pastcone import -o NEW FILE reads both.`,
		Example: `  pastcone test ./...
  pastcone test -run TestOrder -race ./orders
  pastcone why 'last:{ kind = error && background = false }'`,
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			ours, goFlags, packages, behind := splitArguments(c.Flags(), args)
			if done, err := parseOurs(c, ours); done || err != nil {
				return err
			}
			if len(packages) == 0 {
				packages = []string{"."}
			}
			if len(behind) > 0 {
				behind = append([]string{"-args"}, behind...)
			}
			var err error
			if r.set, err = r.from.load(); err != nil {
				return err
			}
			return r.test(c.Context(), packages, goFlags, behind)
		},
	}
	c.Flags().StringVarP(&r.out, "output", "o", "", "record into this `REC`, a new one or one that is there")
	r.bind(c)
	return c
}

func newRecordBinary(*screen) *cobra.Command {
	return &cobra.Command{
		Use: recordBinary + " PLAN BINARY [ARGS]", Short: "Run a test binary for pastcone test", Hidden: true,
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("usage: %s", c.UseLine())
			}
			ended, err := launch.RecordBinary(context.WithoutCancel(c.Context()), args[0], args[1:])
			if err == nil && ended.Code != 0 {
				err = statusError(ended.Code)
			}
			return err
		},
	}
}

func (r *recording) test(ctx context.Context, packages, goFlags, behind []string) (err error) {
	policy, err := r.policy()
	if err != nil {
		return err
	}
	o, err := r.instrument(packages, goFlags)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir := r.out
	if dir == "" {
		if dir, err = recorder.NewPlace("test", time.Now()); err != nil {
			return err
		}
	}
	captures, err := os.MkdirTemp("", "pastcone-test-*")
	if err != nil {
		return err
	}
	rec, undo, err := r.open(dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(captures))
	}
	plan := launch.Plan{Dir: captures, OnFull: policy, RingBytes: r.ring, Budget: r.budget}
	tell := &teller{s: r.s, quiet: r.quiet}
	tests, err := launch.StartTests(ctx, o, plan, []string{self, recordBinary}, behind, tell)
	tell.clear()
	if err != nil {
		err = errors.Join(err, rec.Close(context.WithoutCancel(ctx)), undo(), os.RemoveAll(captures))
		return r.interrupted(ctx, err)
	}
	// From here on an interrupt is go test's: it ends as it does, and what its tests did is recorded.
	ctx = context.WithoutCancel(ctx)
	launch.OutliveReaders()
	var failed []error
	events, binaries := uint64(0), 0
	for {
		name, err := tests.Next()
		if err != nil || name == "" {
			failed = append(failed, err)
			break
		}
		stored, err := r.take(ctx, rec, name)
		events, binaries = events+stored, binaries+1
		failed = append(failed, err)
	}
	ended, err := tests.Ended()
	failed = append(failed, err)
	tell.Say(fmt.Sprintf("go test: %s; %s events of %d test binaries recorded", ended, render.Count(events), binaries))
	within, cancel := context.WithTimeout(ctx, importDrain)
	defer cancel()
	if n, err := countErrors(within, rec); err == nil {
		tell.ask(n, dir)
	}
	failed = append(failed, rec.Close(within))
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("%w\n(what was recorded is in %s; captures that could not be used are in %s)", err, dir, captures)
	}
	if err := os.RemoveAll(captures); err != nil {
		return err
	}
	if ended.Code != 0 {
		return statusError(ended.Code)
	}
	return nil
}

// take brings one test binary's capture into the recording.
func (r *recording) take(ctx context.Context, rec *recorder.Recorder, name string) (stored uint64, err error) {
	f, err := file.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // only read
	in, err := rec.Source(recorder.Spec{Name: strings.TrimSuffix(filepath.Base(name), ".capture"), Format: f.Format(), Finite: true})
	if err != nil {
		return 0, err
	}
	_, err = f.Read(ctx, file.Options{BatchEvents: func() int { return r.set.Batch.EventsMax }}, in)
	within, cancel := context.WithTimeout(ctx, importDrain)
	defer cancel()
	err = errors.Join(err, in.Close(within, err == nil))
	return in.Account().Stored, err
}
