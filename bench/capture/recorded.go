package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pastcone/pastcone/internal/launch"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/source/capture"
)

// recorded says how to run a program under a recorder.
type recorded struct {
	Program   []string // and its arguments
	Dir       string   // where it runs
	Functions string
	Entries   int
	Policy    capture.Policy
	Budget    int
	Engine    bool   // the engine reads along, as in "pastcone run"; else the capture file is left, as in "pastcone test"
	Scratch   string // a directory, for the capture and the recording
	Output    string // file for what the program prints
}

// cost is what a run took.
type cost struct {
	Wall     time.Duration // of the program, from its start to its end
	Whole    time.Duration // until the recording is complete
	Program  time.Duration // processor time of the program,
	Recorder time.Duration // and of the recorder, while the program ran
	After    time.Duration // processor time of the recorder, behind the program's end
	Records  uint64
	Lost     uint64
	Silenced int
	Blocked  time.Duration
	Bytes    int64   // of the capture file
	Share    float64 // of the program's processor time that it took to record itself, as it says itself
	Status   string
	Output   string `json:"-"`
}

// both is the processor time that the program and its recorder took while the program ran.
func (c cost) both() float64 { return float64(c.Program + c.Recorder) }

// run runs the program under a recorder in a process of its own.
func (r recorded) run(ctx context.Context) (c cost, err error) {
	if r.Scratch, err = os.MkdirTemp(r.Scratch, "run"); err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.Scratch)) }()
	r.Output = filepath.Join(r.Scratch, "output")
	plan, err := json.Marshal(r)
	if err != nil {
		return c, err
	}
	self, err := os.Executable()
	if err != nil {
		return c, err
	}
	cmd := exec.CommandContext(ctx, self, recordCommand, string(plan)) // #nosec G204 -- ourselves
	cmd.Dir, cmd.Stderr = r.Dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return c, fmt.Errorf("recording %v: %w", r.Program, err)
	}
	if err := json.Unmarshal(out, &c); err != nil {
		return c, err
	}
	printed, err := os.ReadFile(r.Output)
	c.Output = string(printed)
	if err == nil && c.Status != "exit status 0" {
		err = fmt.Errorf("%v: %s\n%s", r.Program, c.Status, c.Output)
	}
	return c, err
}

// recordCommand is the hidden command that does what run asks for.
const recordCommand = "record"

func record(ctx context.Context, plan string) (err error) {
	var r recorded
	if err := json.Unmarshal([]byte(plan), &r); err != nil {
		return err
	}
	printed, err := os.Create(r.Output) // #nosec G304 -- in our own directory
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, printed.Close()) }()
	o := launch.Options{
		Path: r.Program[0], Args: r.Program[1:], Functions: r.Functions, Entries: r.Entries, Policy: r.Policy, CallsPerSecondMax: r.Budget,
		Capture: filepath.Join(r.Scratch, "capture"), Stdout: printed, Stderr: printed,
	}
	var finish func() error
	if r.Engine {
		rec, err := recorder.Open(filepath.Join(r.Scratch, "recording"), recorder.Options{})
		if err != nil {
			return err
		}
		in, err := rec.Source(recorder.Spec{Name: "program", Format: "capture"})
		if err != nil {
			return err
		}
		o.Sink = in
		finish = func() error { return errors.Join(in.Close(ctx, true), rec.Close(ctx)) }
	}
	began := time.Now()
	out, err := launch.Run(ctx, o)
	if err == nil && finish != nil {
		err = finish()
	}
	if err != nil {
		return err
	}
	used := syscall.Rusage{}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return err
	}
	all := time.Duration(used.Utime.Nano() + used.Stime.Nano())
	c := cost{
		Wall: out.Elapsed, Whole: time.Since(began), Program: time.Duration(out.Ended.CPU), Recorder: out.RecorderCPU, After: all - out.RecorderCPU,
		Records: out.Collected.Records, Lost: out.Collected.Dropped, Silenced: out.Collected.Silenced, Blocked: out.Collected.Blocked, Bytes: out.Collected.Bytes,
		Share: float64(out.Collected.Recording) / float64(max(out.Ended.CPU, 1)), Status: out.Ended.String(),
	}
	return json.NewEncoder(os.Stdout).Encode(c)
}

// plain runs a program as it is.
func plain(ctx context.Context, dir string, program ...string) (c cost, err error) {
	cmd := exec.CommandContext(ctx, program[0], program[1:]...) // #nosec G204 -- what we built
	cmd.Dir = dir
	began := time.Now()
	out, err := cmd.CombinedOutput()
	c.Wall, c.Output = time.Since(began), string(out)
	if err != nil {
		return c, fmt.Errorf("%v: %w\n%s", program, err, out)
	}
	c.Program = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return c, nil
}
