package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// planFile is the map from the plan's rows to what is here.
const planFile = "docs/elixirscope.md"

var (
	// planTest finds a test named in the map: `internal/ring.TestT1_…`.
	planTest = regexp.MustCompile("`((?:event|probe|client|cmd|bench|acceptance|examples|internal)[a-z/]*)\\.((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]+)`")
	// planCount finds a promised count: `15 × internal/pipeline.^TestPipeline_`.
	planCount = regexp.MustCompile("`([0-9]+) × ([a-z/]+)\\.(\\^[^`]+)`")
)

// plan holds docs/elixirscope.md against the tests that have run: each test that it names exists and passed, and each count
// that it gives is met. What is not done yet has to say "open" in the map itself; a row that names nothing at all fails.
func plan(t *tally) error {
	text, err := os.ReadFile(planFile)
	if err != nil {
		return err
	}
	var broken []error
	named, counted := 0, 0
	for n, line := range strings.Split(string(text), "\n") {
		at := fmt.Sprintf("%s:%d", planFile, n+1)
		row := strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|--")
		tests, counts := planTest.FindAllStringSubmatch(line, -1), planCount.FindAllStringSubmatch(line, -1)
		if row && strings.Contains(line, "☐") && !strings.Contains(line, "open") {
			broken = append(broken, fmt.Errorf("%s: a row that is not ticked must say \"open\"", at))
		}
		if row && strings.Contains(line, "☑") && len(tests)+len(counts) == 0 && !strings.Contains(line, "`make ") && !strings.Contains(line, "](") {
			broken = append(broken, fmt.Errorf("%s: a ticked row must name a test, a count, a command or a document", at))
		}
		for _, m := range tests {
			named++
			if name := m[1] + "." + m[2]; !t.ran[name] && !(strings.HasPrefix(m[2], "Benchmark") && declared(m[1], m[2])) {
				broken = append(broken, fmt.Errorf("%s: %s did not pass in this run: it is missing, skipped, or failed", at, name))
			}
		}
		for _, m := range counts {
			counted++
			want, _ := strconv.Atoi(m[1])
			pattern, err := regexp.Compile(m[3])
			if err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			if got := len(leaves(t.ran, m[2]+".", pattern)); got < want {
				broken = append(broken, fmt.Errorf("%s: %d tests of %s match %s, %d are promised", at, got, m[2], m[3], want))
			}
		}
	}
	fmt.Printf("   %s names %d tests and %d counts\n", planFile, named, counted)
	if named == 0 {
		broken = append(broken, errors.New("the map names no test: its form has changed"))
	}
	return errors.Join(broken...)
}

// leaves gives the tests of a package that match and have no subtests of their own.
func leaves(ran map[string]bool, prefix string, pattern *regexp.Regexp) []string {
	var names []string
	for name := range ran {
		if short, ok := strings.CutPrefix(name, prefix); ok && pattern.MatchString(short) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	var kept []string
	for i, name := range names {
		if i+1 == len(names) || !strings.HasPrefix(names[i+1], name+"/") {
			kept = append(kept, name)
		}
	}
	return kept
}

// declared says whether a package's test files declare that function; benchmarks do not run with the tests.
func declared(pkg, name string) bool {
	entries, err := os.ReadDir(pkg)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		if text, err := os.ReadFile(pkg + "/" + e.Name()); err == nil && strings.Contains(string(text), "func "+name+"(") {
			return true
		}
	}
	return false
}
