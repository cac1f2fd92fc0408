// Command conformance holds what Pastcone says of programs that it records against what those programs are and do.
//
//	make conformance                        all of it, into bench/results/conformance.txt
//	go run ./acceptance/conformance -only stress,kills -receives 1000000
//
// A program that is recorded has to do what it does otherwise: the Go tree's own programs about channels, the standard
// library's own tests of what Pastcone patches, and other people's programs (programs.go pins their versions) are run plain
// and recorded, and compared. And what is recorded has to be what happened: package stress sends values through channels of
// every kind and says which, package witness writes down how far it has come until it is killed; the ledger (check.go) holds
// their words against the recording. What fails here fails the command.
//
// Each part uses the pastcone command as a user does. The tests of this package are the short form.
//
// In the plan's words these are the end-to-end tests of Layer 1.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// bench is where the parts work.
type bench struct {
	ctx      context.Context
	root     string // of this module
	dir      string // for what is made on the way
	pastcone string // the command under test
	cache    string // of what it rewrites and builds; empty: its own default
	out      io.Writer

	receives uint64 // of the stress program, in all variants together, at least
	kills    int
}

// A part is one thing that has to hold. It tells what it saw on the way.
type part struct {
	name string
	does string
	run  func(*bench) error
}

var parts = []part{
	{"tree", "the Go tree's programs about channels print the same, recorded as plain", (*bench).tree},
	{"library", "the standard library's own tests of channels, select, timers, locks, contexts and bubbles have the same results", (*bench).library},
	{"programs", "other people's programs and their tests have the same results", (*bench).programs},
	{"stress", "each receive is matched with the send of its value", (*bench).stress},
	{"kills", "SIGKILL, panic and exit at any moment: what was complete is in the recording", (*bench).killed},
	{"targets", "other systems and processors", (*bench).targets},
	{"collector", "a program survives the death of who records it", (*bench).orphaned},
}

func main() {
	only := flag.String("only", "", "these parts, comma-separated")
	write := flag.String("write", "", "write the report to this file, too")
	command := flag.String("pastcone", "", "the command under test; empty: it is built")
	b := &bench{}
	flag.StringVar(&b.cache, "cache", "", "where pastcone keeps what it builds; empty: its default")
	flag.Uint64Var(&b.receives, "receives", 10_500_000, "of the stress program, in all its variants together, at least")
	flag.IntVar(&b.kills, "kills", 60, "how often the witness is killed")
	var alone bare
	flag.StringVar(&alone.program, "record", "", "record this program, which the pastcone command did not build, into -capture, and stop: what parts run themselves with")
	flag.StringVar(&alone.emulator, "emulator", "", "of -record: what runs it")
	flag.StringVar(&alone.functions, "functions", "", "of -record: the table of its functions")
	flag.IntVar(&alone.entries, "entries", 0, "of -record: ids are below it; 0: those of the standard library only")
	flag.StringVar(&alone.file, "capture", "", "of -record: the file to make")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b.ctx = ctx
	var err error
	if alone.program != "" {
		err = recordBare(ctx, alone, flag.Args())
	} else {
		err = b.all(*only, *command, *write)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// all runs the parts and makes the report.
func (b *bench) all(only, command, write string) (err error) {
	var report bytes.Buffer
	b.out = io.MultiWriter(os.Stdout, &report)
	if err := b.open(command); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir) //nolint:errcheck // a temporary directory
	fmt.Fprintf(b.out, "$ %s\n%s\n", strings.Join(append([]string{"go run ./acceptance/conformance"}, os.Args[1:]...), " "), b.machine())
	var broken []string
	ran := 0
	for _, p := range parts {
		if only != "" && !strings.Contains(","+only+",", ","+p.name+",") {
			continue
		}
		ran++
		began := time.Now()
		fmt.Fprintf(b.out, "\n%s: %s\n", p.name, p.does)
		err := p.run(b)
		if err != nil {
			broken = append(broken, p.name)
			fmt.Fprintf(b.out, "  FAILS: %s\n", strings.ReplaceAll(err.Error(), "\n", "\n         "))
		}
		fmt.Fprintf(b.out, "  %s\n", time.Since(began).Round(100*time.Millisecond))
		if b.ctx.Err() != nil {
			return b.ctx.Err()
		}
	}
	if ran == 0 {
		return fmt.Errorf("-only %s names no part", only)
	}
	if len(broken) == 0 {
		fmt.Fprintf(b.out, "\nall %d parts hold\n", ran)
	} else {
		fmt.Fprintf(b.out, "\n%d of %d parts fail: %s\n", len(broken), ran, strings.Join(broken, ", "))
		err = errors.New("see above")
	}
	if write != "" {
		err = errors.Join(err, os.WriteFile(write, report.Bytes(), 0o644)) // #nosec G306 -- a report for everybody
	}
	return err
}

// open finds the module, makes a place to work, and builds the command if there is none.
func (b *bench) open(command string) error {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("this module's directory: %w", err)
	}
	b.root = strings.TrimSpace(string(out))
	if b.dir, err = os.MkdirTemp("", "conformance-*"); err != nil {
		return err
	}
	if b.pastcone, err = filepath.Abs(command); err != nil || command != "" {
		return err
	}
	b.pastcone = filepath.Join(b.dir, "pastcone")
	r := b.do(command5m, b.root, nil, "go", "build", "-o", b.pastcone, "./cmd/pastcone")
	return r.failed()
}

// machine says where and on what.
func (b *bench) machine() string {
	commit := "unknown commit"
	if out, err := exec.Command("git", "-C", b.root, "describe", "--always", "--dirty").Output(); err == nil {
		commit = strings.TrimSpace(string(out))
	}
	load := ""
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = ", load " + strings.Join(strings.Fields(string(text))[:3], " ")
	}
	return fmt.Sprintf("%s, %s, %d cores, %s %s/%s%s", time.Now().Format("2006-01-02 15:04"), commit, runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, load)
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.out, "  "+format+"\n", args...) }

// Bounds of a command's time.
const (
	command1m  = time.Minute
	command5m  = 5 * time.Minute
	command20m = 20 * time.Minute
)

// result is what came of a command.
type result struct {
	command  string
	out, err string
	code     int
	trouble  error // it did not run, or not to its end
	took     time.Duration
}

// failed is an error if the command did not succeed.
func (r *result) failed() error {
	switch {
	case r.trouble != nil:
		return fmt.Errorf("%s: %w\n%s", r.command, r.trouble, tail(r.out+r.err))
	case r.code != 0:
		return fmt.Errorf("%s: exit status %d\n%s", r.command, r.code, tail(r.out+r.err))
	}
	return nil
}

// tail is the end of what a command said.
func tail(text string) string {
	const most = 3000
	if text = strings.TrimSpace(text); len(text) > most {
		text = "…" + text[len(text)-most:]
	}
	return text
}

// do runs a command to its end, or until its time is over.
func (b *bench) do(limit time.Duration, dir string, env []string, name string, args ...string) *result {
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...) // #nosec G204 -- commands of this package
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	c.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	began := time.Now()
	err := c.Run()
	r := &result{command: filepath.Base(name) + " " + strings.Join(args, " "), out: out.String(), err: errs.String(), took: time.Since(began)}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		r.trouble = fmt.Errorf("not over after %s", limit)
	case err == nil:
	case errors.As(err, &exit) && exit.Exited():
		r.code = exit.ExitCode()
	default:
		r.trouble = err
	}
	return r
}

// flags are those of every recording here, with what follows.
func (b *bench) flags(more ...string) []string {
	if b.cache != "" {
		more = append([]string{"--cache", b.cache}, more...)
	}
	return more
}

// selfRecording builds a package of this module as an executable that records itself.
func (b *bench) selfRecording(output, pkg string, flags ...string) error {
	args := append([]string{"build", "-o", output, "--quiet", "--budget", "-1"}, b.flags(flags...)...)
	return b.do(command5m, b.root, nil, b.pastcone, append(args, pkg)...).failed()
}
