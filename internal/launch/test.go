package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pastcone/pastcone/internal/instrument"
	"github.com/pastcone/pastcone/internal/source/capture"
)

// The processes of "go test" are recorded each by a process of its own: the go command runs Pastcone in place of the test
// binary (-exec), which runs the binary with a ring and leaves a capture file in a directory. Whoever called go test takes
// the files from there. A file that is not complete has another name.

// Plan tells the recorder of a test binary what to do.
type Plan struct {
	Dir           string // where capture files go
	Functions     string
	Entries       int
	OnFull        capture.Policy
	RingBytes     int64
	Budget        int
	SpoolBytesMax int64
}

const (
	captureSuffix = ".capture"
	partSuffix    = ".part"
	planFile      = "plan.json"
)

// Tests is a run of go test whose test binaries are recorded.
type Tests struct {
	dir     string
	command *exec.Cmd
	process *process
	seen    map[string]bool
}

// StartTests instruments the packages and starts go test on them; binaryArgs stand behind the packages. self is the command
// line that runs RecordBinary: the plan, the binary and its arguments are appended.
func StartTests(ctx context.Context, o instrument.Options, plan Plan, self, binaryArgs []string, tell Teller) (*Tests, error) {
	if err := forThisMachine(ctx, o.Dir); err != nil {
		return nil, err
	}
	o.Test = true
	build, test := splitTestFlags(o.BuildFlags)
	if slices.ContainsFunc(test, func(f string) bool { return strings.HasPrefix(strings.TrimLeft(f, "-"), "exec") }) {
		return nil, errors.New("-exec can not be given: Pastcone is what go test runs the test binaries with")
	}
	o.BuildFlags = build
	prepared, err := prepare(ctx, o, tell)
	if err != nil {
		return nil, err
	}
	plan.Functions, plan.Entries = prepared.Functions, prepared.FunctionsCount
	if plan.Dir, err = filepath.Abs(plan.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(plan.Dir, 0o700); err != nil {
		return nil, err
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	planned := filepath.Join(plan.Dir, planFile)
	if err := os.WriteFile(planned, text, 0o600); err != nil {
		return nil, err
	}
	var quoted []string
	for _, word := range append(slices.Clone(self), planned) {
		if strings.ContainsAny(word, `'"`) {
			return nil, fmt.Errorf("%s: the go command takes no program with quotation marks in its name", word)
		}
		quoted = append(quoted, "'"+word+"'")
	}
	args := slices.Concat([]string{"test"}, prepared.Flags, test, []string{"-exec", strings.Join(quoted, " ")})
	if !slices.ContainsFunc(test, func(f string) bool { return strings.HasPrefix(strings.TrimLeft(f, "-"), "count") }) {
		args = append(args, "-count=1") // a result from the cache would be a test that did not run
	}
	t := &Tests{dir: plan.Dir, seen: map[string]bool{}}
	t.command = exec.Command(prepared.GoCommand, slices.Concat(args, o.Packages, binaryArgs)...) // #nosec G204 -- the go command, with the user's own flags
	t.command.Dir, t.command.Env = o.Dir, append(os.Environ(), prepared.Env...)
	t.command.Stdin, t.command.Stdout, t.command.Stderr = os.Stdin, os.Stdout, os.Stderr
	if t.process, err = start(ctx, t.command, nil, nil); err != nil {
		return nil, fmt.Errorf("%s: %w: is Go installed?", prepared.GoCommand, err)
	}
	return t, nil
}

// Next gives the next complete capture file, as soon as there is one; "" when go test has ended and there is no more.
func (t *Tests) Next() (string, error) {
	for {
		over := false
		select {
		case <-t.process.done: // asked before the look
			over = true
		default:
		}
		files, err := os.ReadDir(t.dir)
		if err != nil {
			return "", err
		}
		for _, f := range files {
			if strings.HasSuffix(f.Name(), captureSuffix) && !t.seen[f.Name()] {
				t.seen[f.Name()] = true
				return filepath.Join(t.dir, f.Name()), nil
			}
		}
		if over {
			return "", nil
		}
		select {
		case <-t.process.done:
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Ended says how go test ended. It waits for that.
func (t *Tests) Ended() (Ended, error) {
	<-t.process.done
	return t.process.ended, t.process.err
}

// RecordBinary runs a test binary as a plan says, and leaves its capture file.
func RecordBinary(ctx context.Context, planned string, command []string) (Ended, error) {
	text, err := os.ReadFile(planned) // #nosec G304 -- made by StartTests
	if err != nil {
		return Ended{}, err
	}
	var plan Plan
	if err := json.Unmarshal(text, &plan); err != nil {
		return Ended{}, fmt.Errorf("%s: %w", planned, err)
	}
	name := strings.TrimSuffix(filepath.Base(command[0]), ".test")
	file := filepath.Join(plan.Dir, fmt.Sprintf("%s-%d%s", name, os.Getpid(), captureSuffix))
	out, err := Run(ctx, Options{
		Path: command[0], Args: command[1:], Functions: plan.Functions, Entries: plan.Entries, Policy: plan.OnFull,
		RingBytes: plan.RingBytes, CallsPerSecondMax: plan.Budget, SpoolBytesMax: plan.SpoolBytesMax, Capture: file + partSuffix,
	})
	if err != nil {
		return out.Ended, err
	}
	return out.Ended, os.Rename(file+partSuffix, file)
}
