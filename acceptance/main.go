// Command acceptance runs every check of the project and says what it saw: the one command that decides whether a
// change is good.
//
//	go run ./acceptance            all of it, under ten minutes on two cores
//	go run ./acceptance -only unit one step of it (see -list)
//	go run ./acceptance -only plan -ran LOG    the step plan, with the tests of a log of go test -json
//
// The steps, in order: format, vet, staticcheck, gosec, govulncheck, modules; unit and property tests with their coverage floors; the
// same under the race detector for the packages where goroutines meet; whole-program tests as text scripts (testdata/*.txtar) on
// binaries built with coverage, with floors for the packages between the components; every fuzz target for a share of two
// minutes. A skipped test is named and counted; where CI is "true" a skip is a failure.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// step is one check. run returns an error that says what failed.
type step struct {
	name string
	does string
	run  func(*tally) error
}

// tally counts tests over all steps.
type tally struct {
	passed, failed, skipped int
	skips                   []string
	ran                     map[string]bool // the tests that passed, as package.Test/subtest
	undone                  map[string]bool // those that were skipped or failed
}

func newTally() tally { return tally{ran: map[string]bool{}, undone: map[string]bool{}} }

func main() {
	only := flag.String("only", "", "run only these steps, comma-separated")
	list := flag.Bool("list", false, "list the steps and stop")
	log := flag.String("ran", "", "a log of go test -json: its tests count as run, so that the step plan can be tried alone")
	flag.Parse()
	steps := []step{
		{"lint", "gofmt, go vet, staticcheck, gosec, govulncheck, module files", lint},
		{"unit", "unit and property tests, coverage floors", unit},
		{"race", "the packages where goroutines meet, race detector on", race},
		{"scripts", "whole-program tests, coverage of what lies between the components", scripts},
		{"plan", "docs/elixirscope.md holds: every test that it names has passed, every count is met", plan},
		{"fuzz", "each fuzz target for a share of two minutes", fuzz},
	}
	if *list {
		for _, s := range steps {
			fmt.Printf("%-8s %s\n", s.name, s.does)
		}
		return
	}
	t := newTally()
	var broken []string
	begin := time.Now()
	if *log != "" {
		f, err := os.Open(*log)
		if err != nil {
			fmt.Fprintln(os.Stderr, "acceptance:", err)
			os.Exit(2)
		}
		read(&t, f)
		f.Close()
	}
	for _, s := range steps {
		if *only != "" && !strings.Contains(","+*only+",", ","+s.name+",") {
			continue
		}
		fmt.Printf("== %s: %s\n", s.name, s.does)
		at := time.Now()
		if err := s.run(&t); err != nil {
			broken = append(broken, s.name)
			fmt.Printf("!! %s: %v\n", s.name, err)
		}
		fmt.Printf("== %s took %.1f s\n", s.name, time.Since(at).Seconds())
	}
	for _, name := range t.skips {
		fmt.Println("skipped:", name)
	}
	if t.skipped > 0 && os.Getenv("CI") == "true" {
		broken = append(broken, "skips")
		fmt.Println("!! in CI a skip is a failure: install what the test needs, or mend its reason")
	}
	fmt.Printf("took %.0f s\n", time.Since(begin).Seconds())
	if len(broken) > 0 && t.failed == 0 {
		t.failed = len(broken) // a step without tests of its own counts as one
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
	if len(broken) > 0 {
		fmt.Println("broken steps:", strings.Join(broken, ", "))
		os.Exit(1)
	}
}

// output runs a command and gives its standard output; the error holds the end of what it said.
func output(env []string, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(out.String() + "\n" + errs.String())
		if len(said) > 4000 {
			said = "…" + said[len(said)-4000:]
		}
		return out.String(), fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, said)
	}
	return out.String(), nil
}

// staticcheckVersion is pinned, so that a new check never turns an old tree red.
const staticcheckVersion = "v0.8.2"

// gosecVersion is pinned for the same reason.
const gosecVersion = "v2.30.0"

// gosecArgs say what gosec looks at, and for what. Not looked for: that unsafe is used (G103; the shared ring and the patched runtime are made of
// it, and have tests of their own), errors that are dropped (G104; staticcheck and review), paths that come from a variable (G304: they are the
// user's own). Not looked at: tests, tools that only measure or judge, and programs that are recorded in tests. All else is mended, or has its reason
// in place.
var gosecArgs = []string{"-quiet", "-exclude=G103,G104,G304", "-exclude-dir=acceptance", "-exclude-dir=bench", "-exclude-dir=examples",
	"-exclude-dir=internal/oracle", "-exclude-dir=internal/store/shape", "-exclude-dir=testdata", "./..."}

// govulncheckVersion is pinned; its database is the newest that can be reached.
const govulncheckVersion = "v1.9.0"

// vulnerabilities looks for known ones in what is called. Where the database can not be reached it is skipped, by name.
func vulnerabilities() error {
	said, err := output(nil, "go", "run", "golang.org/x/vuln/cmd/govulncheck@"+govulncheckVersion, "./...")
	if err == nil {
		return nil
	}
	for line := range strings.Lines(said + "\n" + err.Error()) {
		if strings.Contains(line, "fetching vulnerabilities") {
			// Not a skipped test: what the project calls is the same, whether or not a network is there.
			fmt.Println("   skip govulncheck: its database can not be reached:", strings.TrimSpace(line))
			return nil
		}
	}
	return err
}

func lint(*tally) error {
	var broken []error
	if files, err := output(nil, "git", "ls-files", "*.go"); err != nil {
		broken = append(broken, err)
	} else if unformatted, err := output(nil, "gofmt", append([]string{"-l"}, strings.Fields(files)...)...); err != nil || unformatted != "" {
		broken = append(broken, fmt.Errorf("gofmt would change:\n%s", unformatted), err)
	}
	for _, args := range [][]string{
		{"vet", "./..."},
		{"mod", "tidy", "-diff"},
		{"run", "honnef.co/go/tools/cmd/staticcheck@" + staticcheckVersion, "./..."},
		append([]string{"run", "github.com/securego/gosec/v2/cmd/gosec@" + gosecVersion}, gosecArgs...),
	} {
		_, err := output(nil, "go", args...)
		broken = append(broken, err)
	}
	return errors.Join(append(broken, vulnerabilities())...)
}
