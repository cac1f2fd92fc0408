package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// treePrograms are programs of the Go tree's test directory beside those in chan: goroutines, channels, panics, recovery,
// deferred calls, moving stacks. Those that a Go version does not have are left out; the report says how many ran.
var treePrograms = []string{
	"chan/*.go", "ken/chan.go", "ken/chan1.go", "chancap.go", "chanlinear.go", "closedchan.go", "makechan.go", "peano.go", "gc*.go",
	"defer*.go", "recover*.go", "range*.go", "stack.go", "stackobj*.go", "mallocfin.go", "nilptr.go", "sigchld.go", "tinyfin.go", "uintptrescapes*.go",
}

// program is one of them.
type program struct {
	name string
	text []byte
	args []string
}

// tree runs the Go tree's programs, plain and recorded.
func (b *bench) tree() error {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	test := filepath.Join(strings.TrimSpace(string(out)), "test")
	if _, err := os.Stat(filepath.Join(test, "chan")); err != nil {
		b.say("this toolchain comes without its test directory (%v): nothing is run", err)
		return nil
	}
	all, err := b.treePrograms(test)
	if err != nil {
		return err
	}
	if len(all) < 17 {
		return fmt.Errorf("only %d programs in %s", len(all), test)
	}
	same, failing, channels := 0, 0, 0
	for i, p := range all {
		passed, err := b.treeProgram(i, p)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", p.name, err)
		case !passed:
			failing++
			continue
		}
		same++
		if strings.HasPrefix(p.name, "chan/") {
			channels++
		}
	}
	b.say("%d programs, %d of them of test/chan: the same output, errors and status as plain; %d more fail plain on this machine, and were left out", same, channels, failing)
	return nil
}

// treePrograms reads what is to be run: files that begin with "// run", with arguments perhaps, and the programs that those
// with "// runoutput" print.
func (b *bench) treePrograms(test string) (all []program, err error) {
	for _, pattern := range treePrograms {
		names, err := filepath.Glob(filepath.Join(test, filepath.FromSlash(pattern)))
		if err != nil {
			return nil, err
		}
		for _, file := range names {
			name, err := filepath.Rel(test, file)
			if err != nil {
				return nil, err
			}
			text, err := os.ReadFile(file) // #nosec G304 -- of the toolchain
			if err != nil {
				return nil, err
			}
			first, _, _ := bytes.Cut(text, []byte("\n"))
			words := strings.Fields(strings.TrimPrefix(string(first), "//"))
			if len(words) == 0 || bytes.Contains(text, []byte("\n//go:build")) {
				continue
			}
			p := program{name: filepath.ToSlash(name), text: text}
			switch {
			case words[0] == "runoutput" && len(words) == 1:
				r := b.do(command5m, b.dir, nil, "go", "run", file)
				if err := r.failed(); err != nil {
					return nil, err
				}
				p.text = []byte(r.out)
			case words[0] == "run" && !slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "-") }):
				p.args = words[1:]
			default:
				continue
			}
			all = append(all, p)
		}
	}
	return all, nil
}

// treeProgram runs one program both ways. passed is false if it fails plain.
func (b *bench) treeProgram(i int, p program) (passed bool, err error) {
	dir := filepath.Join(b.dir, "tree", fmt.Sprint(i))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // in a temporary directory
	name := filepath.Base(p.name)
	if err := os.WriteFile(filepath.Join(dir, name), p.text, 0o600); err != nil {
		return false, err
	}
	binary := filepath.Join(dir, "plain")
	if r := b.do(command5m, dir, nil, "go", "build", "-o", binary, name); r.failed() != nil {
		return false, nil // of another Go version, or of another machine
	}
	plain := b.do(command1m, dir, nil, binary, p.args...)
	if plain.failed() != nil {
		return false, nil
	}
	var differs error
	for range 3 { // a few of them measure time, on a machine that others use
		rec := filepath.Join(dir, "rec")
		args := append([]string{"run", "-o", rec, "--quiet"}, b.flags(name, "--")...)
		recorded := b.do(command5m, dir, nil, b.pastcone, append(args, p.args...)...)
		if differs = same(plain, recorded); differs == nil {
			break
		}
		if err := os.RemoveAll(rec); err != nil {
			return true, err
		}
	}
	return true, differs
}

// same says how a command that was recorded differs from the plain one.
func same(plain, recorded *result) error {
	switch {
	case recorded.trouble != nil:
		return recorded.failed()
	case plain.code != recorded.code:
		return fmt.Errorf("status %d, recorded %d\n%s", plain.code, recorded.code, tail(recorded.out+recorded.err))
	case plain.out != recorded.out:
		return errors.New("the output differs: " + difference(plain.out, recorded.out))
	case plain.err != recorded.err:
		return errors.New("what it says on standard error differs: " + difference(plain.err, recorded.err))
	}
	return nil
}

// difference shows where two texts differ first.
func difference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(x), len(y)) {
		line := func(of []string) string {
			if i < len(of) {
				return fmt.Sprintf("%.200q", of[i])
			}
			return "nothing"
		}
		if line(x) != line(y) {
			return fmt.Sprintf("line %d is %s, recorded %s", i+1, line(x), line(y))
		}
	}
	return "not at all"
}
