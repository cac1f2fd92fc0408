// Command mutation breaks the rules of causality, one at a time, and demands that a test fails for each.
//
//	go run ./bench/mutation            all of them; exit status 1 if one goes unnoticed
//	go run ./bench/mutation -only NAME those whose name contains that
//	go run ./bench/mutation -by ./internal/oracle/trial   noticed by these packages' tests
//
// Each mutation (mutations.go) is a small edit of internal/correlate: a piece of source that stands
// there exactly once, and what it is replaced with. The tests run on the edited file by way of the go
// command's overlay, so the tree is never touched. A piece that is not found, or found twice, or an edit
// that does not compile, is a failure too: the list has to be kept current with the code.
//
// In the plan's words this tests the tests of the EventCorrelator.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// mutation breaks one rule.
type mutation struct {
	name string // of the rule that it breaks
	file string // in internal/correlate
	old  string // stands there exactly once
	new  string
}

const folder = "internal/correlate"

var tested []string // the packages whose tests have to notice

const timeLimit = 3 * time.Minute // for the tests of one mutation

func main() {
	only := flag.String("only", "", "those whose name contains this")
	by := flag.String("by", "./internal/correlate/... ./internal/oracle/trial", "the packages whose tests have to notice")
	flag.Parse()
	tested = strings.Fields(*by)
	if err := run(context.Background(), *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string) error {
	dir, err := os.MkdirTemp("", "mutation")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if out, err := test(ctx, ""); err != nil {
		return fmt.Errorf("the tests fail without any mutation:\n%s", tail(out, 40))
	}
	const row = "%-75s  %-50s  %s\n"
	fmt.Printf(row, "rule broken", "noticed by", "seconds")
	unnoticed, unusable, count := 0, 0, 0
	for _, m := range mutations {
		if !strings.Contains(m.name, only) {
			continue
		}
		count++
		begin := time.Now()
		by, err := m.try(ctx, dir)
		switch {
		case err != nil:
			by = "UNUSABLE: " + err.Error()
			unusable++
		case by == "":
			by = "NOBODY"
			unnoticed++
		}
		fmt.Printf(row, m.name, by, fmt.Sprintf("%7.1f", time.Since(begin).Seconds()))
	}
	fmt.Printf("%d rules broken, %d noticed\n", count, count-unnoticed-unusable)
	if unnoticed > 0 || unusable > 0 {
		return fmt.Errorf("%d broken rules go unnoticed: a test is missing for each; %d edits are to be kept current with the code", unnoticed, unusable)
	}
	return nil
}

var (
	errAnchor  = errors.New("the piece of source that it edits has to stand there exactly once")
	errCompile = errors.New("the edited source does not compile")
)

// try runs the tests on the edited source, and gives the test that failed; empty if none did.
func (m mutation) try(ctx context.Context, dir string) (by string, err error) {
	path, err := filepath.Abs(filepath.Join(folder, m.file))
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile(path) // #nosec G304 -- a file of this project
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		return "", fmt.Errorf("%s: %d times %q: %w", m.file, n, m.old, errAnchor)
	}
	edited := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(edited, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: edited}})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return "", err
	}
	out, err := test(ctx, file)
	if err == nil {
		return "", nil
	}
	if strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]") {
		return "", fmt.Errorf("%w:\n%s", errCompile, tail(out, 15))
	}
	return failed(out), nil
}

// test runs the tests, with an overlay if there is one.
func test(ctx context.Context, overlay string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	// -short: the properties are checked on fewer programs. Vet does not know of overlays.
	args := []string{"test", "-count=1", "-short", "-failfast", "-vet=off", "-timeout", "2m"}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	command := exec.CommandContext(ctx, "go", append(args, tested...)...) // #nosec G204 -- fixed arguments
	command.WaitDelay = time.Second
	out, err := command.CombinedOutput()
	return string(out), err
}

// failed gives the first test that failed, as package.Test.
func failed(out string) string {
	first := "a test that did not end"
	found := false
	for _, line := range strings.Split(out, "\n") {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok && !found {
			first, _, _ = strings.Cut(name, " (")
			found = true
		}
		if strings.HasPrefix(line, "panic: ") && !found {
			first, found = line, true
		}
	}
	return first
}

// tail gives the last lines of a text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
