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

	"github.com/pastcone/pastcone/client"
	"github.com/pastcone/pastcone/internal/launch"
	"github.com/pastcone/pastcone/internal/source"
)

// recordTo is the environment's say in where a binary of "pastcone build" records to.
const recordTo = "PASTCONE_TO"

func newBuild(s *screen) *cobra.Command {
	r := &recording{s: s}
	var output, to string
	c := &cobra.Command{
		Use:   "build -o BINARY [--to FILE|ADDRESS] [flags] [go build flags] PACKAGE",
		Short: "Build a Go program that records itself wherever it runs",
		Long: `Builds a program with probes in it, and its recorder with it, as one executable that needs nothing else. It records to a capture file
(pastcone import reads it), or sends to a server (pastcone serve) on this machine or another while it runs.

Where to is said by --to, or where the program runs by the environment: ` + recordTo + `=FILE or ` + recordTo + `=ADDRESS; by default to a
new file NAME-TIME.capture in the directory where it runs.

The recorder in it is this pastcone, so it runs where this one does: for another system or processor, build there. If the recorder is killed, the
program goes on without it; what it had recorded is in the capture file, and can be imported.`,
		Example: `  pastcone build -o app ./cmd/app          then ./app, and pastcone import app-*.capture
  pastcone build -o app --to 127.0.0.1:7071 -ldflags=-s ./cmd/app`,
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			ours, goFlags, names, _ := splitArguments(c.Flags(), args)
			if done, err := parseOurs(c, ours); done || err != nil {
				return err
			}
			if len(names) == 0 || output == "" {
				return usagef("usage: %s", c.UseLine())
			}
			if n := programsNames(names); len(n) > 0 {
				return usagef("one package is built at a time: %s is too much", strings.Join(n, " "))
			}
			return r.build(c.Context(), names, goFlags, output, to)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "the `BINARY` to make")
	c.Flags().StringVar(&to, "to", "", "record to this `FILE`, or to the server at this address (host:port or unix:PATH)")
	r.bindFlight(c)
	r.bind(c)
	return c
}

func (r *recording) build(ctx context.Context, names, goFlags []string, output, to string) error {
	if _, err := r.policy(); err != nil {
		return err
	}
	if _, err := r.dumpSignal(); err != nil {
		return err
	}
	o, err := r.instrument(names, goFlags)
	if err != nil {
		return err
	}
	tell := &teller{s: r.s, quiet: r.quiet}
	binary, err := launch.Build(ctx, o, "", tell, r.s.err)
	tell.clear()
	if err != nil {
		return r.interrupted(ctx, err)
	}
	err = launch.WritePayload(output, binary, launch.Carried{
		Name: filepath.Base(binary.Path), OnFull: r.onFull, RingBytes: r.ring, Budget: r.budget, Flight: r.flight, DumpOn: r.dumpOn, To: to,
	})
	if err == nil {
		tell.Say(output + " records itself; " + recordTo + "=FILE or ADDRESS says where to, when it runs")
	}
	return err
}

// runCarried runs the program that this executable carries, with our arguments, and records it. The result is the exit
// status.
func runCarried(ctx context.Context, p *launch.Payload, args []string) int {
	defer p.Close() //nolint:errcheck // only read
	ended, err := recordCarried(ctx, p, args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pastcone:", err)
		if ended.Code == 0 {
			return statusNoAnswer
		}
	}
	return ended.Code
}

func recordCarried(ctx context.Context, p *launch.Payload, args []string) (launch.Ended, error) {
	program, functions, err := p.Unpack()
	if err != nil {
		return launch.Ended{}, err
	}
	to := p.To
	if set, is := os.LookupEnv(recordTo); is {
		to = set
	}
	o := launch.Options{
		Path: program, Args: args, Functions: functions, Entries: p.Entries, RingBytes: p.RingBytes, CallsPerSecondMax: p.Budget,
		FlightBytes: p.Flight, Capture: to,
	}
	tell := &teller{s: &screen{err: os.Stderr}}
	r := recording{onFull: p.OnFull, dumpOn: p.DumpOn}
	if o.Policy, err = r.policy(); err != nil {
		return launch.Ended{}, err
	}
	if o.DumpOn, err = r.dumpSignal(); err != nil {
		return launch.Ended{}, err
	}
	launch.OutliveReaders()
	o.Dumped = tell.dumped
	name := fmt.Sprintf("%s-%s-%d.capture", p.Name, time.Now().Format("20060102-150405"), os.Getpid())
	if o.Capture == "" {
		o.Capture = name
	}
	o.DumpBase = strings.TrimSuffix(o.Capture, ".capture")
	if !isAddress(to) {
		out, err := launch.Run(ctx, o)
		return out.Ended, err
	}
	spool, err := os.MkdirTemp("", p.Name+"-*")
	if err != nil {
		return launch.Ended{}, err
	}
	o.Capture = filepath.Join(spool, p.Name+".capture")
	o.DumpBase = strings.TrimSuffix(name, ".capture")
	show, err := showing()
	if err != nil {
		_ = os.Remove(spool)
		return launch.Ended{}, err
	}
	sender, err := client.NewSender(ctx, to, client.SenderOptions{Source: p.Name, Format: "capture", Access: show})
	if err != nil {
		_ = os.Remove(spool)
		return launch.Ended{}, fmt.Errorf("the server at %s: %w; %s=FILE records to a file", to, err, recordTo)
	}
	rejected := 0
	o.Sink = sender.Sink(func(source.Rejected) error { rejected++; return nil })
	out, err := launch.Run(ctx, o)
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), importDrain)
	defer cancel()
	if err = errors.Join(err, sender.Close(within)); err != nil {
		return out.Ended, fmt.Errorf("%w\n(what was recorded is in %s)", err, o.Capture)
	}
	if rejected > 0 {
		fmt.Fprintf(os.Stderr, "pastcone: %d records could not be used\n", rejected)
	}
	return out.Ended, os.RemoveAll(spool)
}

// isAddress tells a server's address from a file's name.
func isAddress(to string) bool {
	if strings.HasPrefix(to, "unix:") || strings.HasPrefix(to, "tcp:") {
		return true
	}
	host, port, found := strings.Cut(to, ":")
	return found && port != "" && !strings.ContainsAny(host, `/\`) && !strings.HasSuffix(port, ".capture")
}
