package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/source/capture"
)

// Options say how to run a program and what to do with what it records.
type Options struct {
	Path      string   // the instrumented executable
	Args      []string // the program's arguments
	Env       []string // the program's environment, the ring aside; nil: ours
	Functions string   // the table of functions
	Entries   int      // ids of the table are below it

	Policy    capture.Policy
	RingBytes int64 // 0: the default
	// CallsPerSecondMax is each function's budget: capture.CollectOptions has the details.
	CallsPerSecondMax int
	SpoolBytesMax     int64
	FlightBytes       int64

	Capture string // path of the capture file to be made
	// DumpOn, if set, is a signal that is not the program's: with policy overwrite it has what the ring holds written into a new file
	// DumpBase-N.capture while the program goes on. Dumped is told what came of it, from one goroutine at a time.
	DumpOn   os.Signal
	DumpBase string
	Dumped   func(path string, err error)
	// Sink, if set, gets the events while the program runs.
	Sink     source.Sink
	Progress func(capture.Stats) // of the reading; may be nil

	// Unless, if set, is asked last before the program starts: if it is over by then the program is not started.
	Unless context.Context

	Stdin          io.Reader // nil: ours, as of the others
	Stdout, Stderr io.Writer
}

// Outcome is what came of a run.
type Outcome struct {
	Started bool
	Ended   Ended
	Elapsed time.Duration // from the program's start to its end
	// RecorderCPU is the processor time that this process took from the program's start to its end: to collect, and to read along.
	RecorderCPU time.Duration
	Collected   capture.CollectStats
	Read        capture.Stats // zero without a sink
}

// Niceness is how far this process steps back for the program that it records, when it reads along: see nice(1).
const Niceness = 10

// Run runs a program and records it, until it has ended and all that it did is in the capture file and, if there is a
// sink, has been handed over. When ctx is over the program goes on unrecorded.
//
// The error is about the recording; how the program fared is in Ended. Without a recording the program is not run; after
// its start nothing that goes wrong with the recording ends it.
func Run(ctx context.Context, o Options) (Outcome, error) {
	var out Outcome
	ring, err := capture.NewRing("", capture.RingOptions{Bytes: o.RingBytes, Policy: o.Policy, Functions: o.Entries})
	if err != nil {
		return out, fmt.Errorf("the program was not run, since it could not be recorded: %w", err)
	}
	defer ring.Close()                   //nolint:errcheck // it is only memory
	c := exec.Command(o.Path, o.Args...) // #nosec G204 -- the user's own program
	c.Stdin, c.Stdout, c.Stderr = o.Stdin, o.Stdout, o.Stderr
	if o.Stdin == nil {
		c.Stdin = os.Stdin
	}
	if o.Stdout == nil {
		c.Stdout = os.Stdout
	}
	if o.Stderr == nil {
		c.Stderr = os.Stderr
	}
	c.Env = o.Env
	if c.Env == nil {
		c.Env = os.Environ()
	}
	c.Env = append(c.Env, ring.Env())

	ended := make(chan struct{})
	var consumed atomic.Int64
	collect := capture.CollectOptions{
		Spool: o.Capture, SpoolBytesMax: o.SpoolBytesMax, Functions: o.Functions, Executable: o.Path,
		Ended: ended, CallsPerSecondMax: o.CallsPerSecondMax, FlightBytes: o.FlightBytes,
	}
	if o.Sink != nil {
		collect.Consumed = &consumed
	}
	collector, err := capture.NewCollector(ring, collect)
	if err != nil {
		return out, fmt.Errorf("the program was not run, since it could not be recorded: %w", err)
	}
	dumping := newDumping(&o, collector)
	defer dumping.end()
	unless := o.Unless
	if unless == nil {
		unless = context.Background()
	}
	began, computed := time.Now(), processorTime()
	program, err := start(unless, c, o.DumpOn, dumping.ask)
	if err != nil {
		close(ended)
		return out, errors.Join(fmt.Errorf("the program does not start: %w", err), collector.Run(ctx), os.Remove(o.Capture))
	}
	out.Started = true
	if o.Sink != nil { // the collector alone takes little, and what it takes the program would wait for
		stepBack(Niceness)
	}

	collected := make(chan struct{}) // closed when the capture file is whole
	var collecting error
	go func() {
		defer close(collected)
		collecting = collector.Run(ctx)
	}()
	read := make(chan struct{})
	var reading error
	go func() {
		defer close(read)
		if o.Sink != nil {
			out.Read, reading = o.follow(ctx, program.command.Process.Pid, collected, &consumed)
		}
	}()

	<-program.done
	out.Ended, out.Elapsed, out.RecorderCPU = program.ended, time.Since(began), processorTime()-computed
	close(ended)
	<-collected
	<-read
	out.Collected = collector.Stats()
	return out, errors.Join(program.err, collecting, reading)
}

// follow reads the capture file as it grows, and hands its events over.
func (o *Options) follow(ctx context.Context, process int, collected <-chan struct{}, consumed *atomic.Int64) (capture.Stats, error) {
	// Whatever happens, the collector is never kept waiting for a reader that is gone.
	defer consumed.Store(1 << 62)
	// Nothing is given back to the disk on the way: if we are killed, the file has all that the recording lacks.
	f, err := os.Open(o.Capture)
	if err != nil {
		return capture.Stats{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	return capture.Read(ctx, &follower{ctx: ctx, file: f, ended: collected, aside: newAside(process)}, o.Capture, capture.Options{Progress: func(s capture.Stats) {
		consumed.Store(s.InputBytes)
		if o.Progress != nil {
			o.Progress(s)
		}
	}}, o.Sink)
}
