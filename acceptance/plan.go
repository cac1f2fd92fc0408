package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// planFile is the map from the plan's rows to what is here.
const planFile = "docs/elixirscope.md"

var (
	// planTest is a test named in the map: `internal/ring.TestT1_…`, or one of its subtests behind a slash.
	planTest = regexp.MustCompile(`^((?:event|probe|client|cmd|bench|acceptance|examples|internal)[a-z0-9/]*)\.((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]+(?:/.+)?)$`)
	// planCount is a count that is met: `15 × internal/pipeline.^TestPipeline_`.
	planCount = regexp.MustCompile(`^([0-9]+) × ([a-z0-9/]+)\.(\^.+)$`)
	// planCommand is a command that measures: `make bench`, `go run ./bench/engine -quick`.
	planCommand = regexp.MustCompile(`^(?:make ([a-z0-9-]+)|go run \./([a-z0-9/]+)).*$`)

	codeSpan   = regexp.MustCompile("`([^`]+)`")
	linkTarget = regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)
)

// proof is what the map is held against.
type proof struct {
	ran     map[string]bool                  // the tests that passed, as package.Test/subtest
	undone  map[string]bool                  // those that were skipped or failed
	bench   func(pkg, name string) bool      // whether a benchmark is there and runs
	command func(make, program string) error // whether a command is there: a target of the Makefile, or a program
	linked  func(path string) bool           // whether a document is there, beside the map
	rows    []string                         // the plan's rows: each must stand in the first cell of exactly one row of the map
}

// plan holds docs/elixirscope.md against the tests that have run.
func plan(t *tally) error {
	text, err := os.ReadFile(planFile)
	if err != nil {
		return err
	}
	named, err := checkPlan(string(text), proof{
		ran: t.ran, undone: t.undone, rows: planRows, bench: newBenches(string(text)), command: commandThere,
		linked: func(path string) bool {
			_, err := os.Stat(filepath.Join(filepath.Dir(planFile), path))
			return err == nil
		},
	})
	fmt.Printf("   %s: %s\n", planFile, named)
	return err
}

// planTally is how much the map holds.
type planTally struct{ done, open, tests, benchmarks, counts int }

func (n planTally) String() string {
	return fmt.Sprintf("%d rows done, %d open; %d tests, %d benchmarks and %d counts named", n.done, n.open, n.tests, n.benchmarks, n.counts)
}

// checkPlan reads the map. Its tables must hold:
//
//  1. each row has one mark: ☑ for done, ☐ for open, and then it says "open";
//  2. a done row names evidence: a test, a count, a benchmark, a command, or a document; and it has its figure: it does not say
//     "not measured";
//  3. each test named passed in this run, none of its parts was skipped; a benchmark runs; each count is met; commands and
//     documents are there; whatever looks like one of these can be read as one. That goes for open rows, too;
//  4. each row of the plan is there, once.
func checkPlan(text string, p proof) (n planTally, err error) {
	var broken []error
	seen := map[string]int{}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		fail := func(format string, args ...any) {
			broken = append(broken, fmt.Errorf("%s:%d: %s", planFile, i+1, fmt.Sprintf(format, args...)))
		}
		evidence, bad := p.read(line, &n)
		for _, what := range bad {
			fail("%s", what)
		}
		for _, m := range linkTarget.FindAllStringSubmatch(line, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			evidence++
			if !p.linked(m[1]) {
				fail("there is no %s", m[1])
			}
		}
		header := i+1 < len(lines) && strings.HasPrefix(lines[i+1], "|-")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|-") || header {
			continue
		}
		seen[strings.TrimSpace(strings.Split(line, "|")[1])]++
		done, open := strings.Contains(line, "☑"), strings.Contains(line, "☐")
		switch {
		case done == open:
			fail("a row has one mark, ☑ for done or ☐ for open")
		case open:
			if n.open++; !strings.Contains(line, "open") {
				fail("a row that is not done says \"open\"")
			}
		default:
			if n.done++; evidence == 0 {
				fail("a row is ticked without evidence: it names no test, count, benchmark, command or document")
			}
			if strings.Contains(line, "not measured") {
				fail("a row is ticked, and its figure is not measured")
			}
		}
	}
	for _, row := range p.rows {
		switch seen[row] {
		case 0:
			broken = append(broken, fmt.Errorf("%s: the plan's row %q is missing", planFile, row))
		case 1:
		default:
			broken = append(broken, fmt.Errorf("%s: the plan's row %q stands there %d times", planFile, row, seen[row]))
		}
	}
	if n.tests == 0 {
		broken = append(broken, errors.New("the map names no test: its form has changed"))
	}
	return n, errors.Join(broken...)
}

// read follows up what a line names in backticks, and counts what is evidence.
func (p *proof) read(line string, n *planTally) (evidence int, bad []string) {
	for _, span := range codeSpan.FindAllStringSubmatch(line, -1) {
		text := strings.ReplaceAll(span[1], `\|`, "|") // as a table wants it
		if m := planCommand.FindStringSubmatch(text); m != nil {
			evidence++
			if err := p.command(m[1], m[2]); err != nil {
				bad = append(bad, err.Error())
			}
			continue
		}
		if m := planCount.FindStringSubmatch(text); m != nil {
			evidence++
			n.counts++
			want, _ := strconv.Atoi(m[1])
			pattern, err := regexp.Compile(m[3])
			if err != nil {
				bad = append(bad, err.Error())
			} else if got := p.leaves(m[2]+".", pattern); want == 0 || got < want {
				bad = append(bad, fmt.Sprintf("%d tests of %s match %s and passed whole, %d are promised", got, m[2], m[3], want))
			}
			continue
		}
		m := planTest.FindStringSubmatch(text)
		switch {
		case m == nil:
			if strings.Contains(text, "×") || strings.Contains(text, ".Test") || strings.Contains(text, ".Fuzz") || strings.Contains(text, ".Benchmark") {
				bad = append(bad, fmt.Sprintf("%q looks like a test or a count, and is none", text))
			}
		case strings.HasPrefix(m[2], "Benchmark"):
			evidence++
			if n.benchmarks++; !p.bench(m[1], m[2]) {
				bad = append(bad, text+" is not there, or does not run")
			}
		default:
			evidence++
			n.tests++
			if !p.ran[text] {
				bad = append(bad, text+" did not pass in this run: it is missing, skipped, or failed")
			} else if part := p.partUndone(text); part != "" {
				bad = append(bad, part+", a part of "+text+", was skipped or failed")
			}
		}
	}
	return evidence, bad
}

// partUndone gives a subtest of a test that was skipped or failed.
func (p *proof) partUndone(name string) string {
	if p.undone[name] {
		return name
	}
	for part := range p.undone {
		if strings.HasPrefix(part, name+"/") {
			return part
		}
	}
	return ""
}

// leaves counts the tests of a package that match, passed whole, and have no subtests of their own.
func (p *proof) leaves(prefix string, pattern *regexp.Regexp) (n int) {
	parents := map[string]bool{}
	for _, names := range []map[string]bool{p.ran, p.undone} {
		for name := range names {
			for {
				i := strings.LastIndexByte(name, '/')
				if i < len(prefix) {
					break
				}
				name = name[:i]
				parents[name] = true
			}
		}
	}
	for name := range p.ran {
		if short, ok := strings.CutPrefix(name, prefix); ok && !p.undone[name] && !parents[name] && pattern.MatchString(short) {
			n++
		}
	}
	return n
}

// commandThere says whether a command of the map can be given.
func commandThere(target, program string) error {
	if program != "" {
		if files, _ := filepath.Glob(filepath.Join(program, "*.go")); len(files) == 0 {
			return fmt.Errorf("there is no program ./%s", program)
		}
		return nil
	}
	text, err := os.ReadFile("Makefile")
	if err != nil {
		return err
	}
	if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:`).Match(text) {
		return fmt.Errorf("the Makefile has no target %s", target)
	}
	return nil
}

// newBenches runs every benchmark that a text names, once each, and says which of them ran.
func newBenches(text string) func(pkg, name string) bool {
	wanted := map[string][]string{}
	for _, span := range codeSpan.FindAllStringSubmatch(text, -1) {
		if m := planTest.FindStringSubmatch(span[1]); m != nil && strings.HasPrefix(m[2], "Benchmark") && !slices.Contains(wanted[m[1]], m[2]) {
			wanted[m[1]] = append(wanted[m[1]], m[2])
		}
	}
	ran := map[string]bool{}
	for _, pkg := range slices.Sorted(maps.Keys(wanted)) {
		sort.Strings(wanted[pkg])
		out, err := output(nil, "go", "test", "-run", "^$", "-bench", "^("+strings.Join(wanted[pkg], "|")+")$", "-benchtime", "1x", "./"+pkg)
		if err != nil {
			fmt.Printf("   %v\n", err)
			continue
		}
		for _, name := range wanted[pkg] {
			ran[pkg+"."+name] = regexp.MustCompile(`(?m)^` + name + `\b`).MatchString(out)
		}
	}
	return func(pkg, name string) bool { return ran[pkg+"."+name] }
}
