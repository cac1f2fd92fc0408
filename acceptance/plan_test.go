package main

import (
	"errors"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// smallProof is a run of a small project: one test with two parts, one that was skipped, one with a part that was.
func smallProof() proof {
	return proof{
		ran: map[string]bool{
			"internal/ring.TestFull":           true,
			"internal/ring.TestFull/blocks":    true,
			"internal/ring.TestFull/drops":     true,
			"internal/ring.TestEmpty":          true,
			"internal/ring.TestHalf":           true,
			"internal/ring.TestHalf/done":      true,
			"internal/ring/gate.TestFullGate":  true,
			"internal/store.TestFull":          true,
			"internal/store.TestOnlySkips":     true,
			"internal/ring.TestMany":           true,
			"internal/ring.TestMany/a|b":       true,
			"internal/ring.TestPassedAndBroke": true,
		},
		undone: map[string]bool{
			"internal/ring.TestSkipped":            true,
			"internal/ring.TestHalf/skipped":       true,
			"internal/store.TestOnlySkips/skipped": true,
			"internal/ring.TestPassedAndBroke":     true,
		},
		bench: func(pkg, name string) bool { return pkg+"."+name == "internal/ring.BenchmarkHandOff" },
		command: func(target, program string) error {
			if target == "bench" || program == "bench/engine" {
				return nil
			}
			return errors.New("no such command")
		},
		linked: func(path string) bool { return path == "format/event-lines.md" },
	}
}

// A map is the header of a table, and a row or more. The check of it complains with these words, or not at all.
func TestPlan_FailsWhenItShould(t *testing.T) {
	const good = "\n| y | ☑ | `internal/ring.TestEmpty` |"
	for _, c := range []struct {
		tells, row, complaint string
	}{
		{"a done row with its test", "| x | ☑ | `internal/ring.TestFull` |", ""},
		{"with a part of a test", "| x | ☑ | `internal/ring.TestFull/blocks` |", ""},
		{"with a part whose name has a pipe", "| x | ☑ | `internal/ring.TestMany/a\\|b` |", ""},
		{"with a benchmark", "| x | ☑ | `internal/ring.BenchmarkHandOff` |", ""},
		{"with a command", "| x | ☑ | `make bench` |", ""},
		{"with a program", "| x | ☑ | `go run ./bench/engine -quick` |", ""},
		{"with a document", "| x | ☑ | [lines](format/event-lines.md#fields) |", ""},
		{"with a count that is met", "| x | ☑ | `3 × internal/ring.^Test(Full\\|Empty)` |", ""},
		{"an open row", "| x | ☐ open | later |", ""},
		{"an open row with what there is so far", "| x | ☐ open | `internal/ring.TestEmpty`; not measured |", ""},

		{"a test that does not exist", "| x | ☑ | `internal/ring.TestNever` |", "TestNever did not pass"},
		{"a test of another package", "| x | ☑ | `internal/pipeline.TestFull` |", "internal/pipeline.TestFull did not pass"},
		{"a part that does not exist", "| x | ☑ | `internal/ring.TestFull/waits` |", "TestFull/waits did not pass"},
		{"a test that was skipped", "| x | ☑ | `internal/ring.TestSkipped` |", "TestSkipped did not pass"},
		{"a test of which a part was skipped", "| x | ☑ | `internal/ring.TestHalf` |", "TestHalf/skipped, a part of internal/ring.TestHalf, was skipped"},
		{"a test that passed once and failed once", "| x | ☑ | `internal/ring.TestPassedAndBroke` |", "was skipped or failed"},
		{"one good test beside a missing one", "| x | ☑ | `internal/ring.TestFull` `internal/ring.TestNever` |", "TestNever did not pass"},
		{"a missing test of an open row", "| x | ☐ open | `internal/ring.TestNever` |", "TestNever did not pass"},
		{"a missing test in the text between tables", "\nSee `internal/ring.TestNever`.", "TestNever did not pass"},
		{"a benchmark that does not run", "| x | ☑ | `internal/ring.BenchmarkGone` |", "BenchmarkGone is not there"},
		{"a command that does not exist", "| x | ☑ | `make miracles` |", "no such command"},
		{"a program that does not exist", "| x | ☑ | `go run ./bench/miracles` |", "no such command"},
		{"a document that does not exist", "| x | ☑ | [more](format/more.md) |", "there is no format/more.md"},
		{"an address elsewhere is no evidence", "| x | ☑ | [more](https://example.org/x) |", "without evidence"},

		{"a count that is not met", "| x | ☑ | `4 × internal/ring.^Test(Full\\|Empty)` |", "3 tests of internal/ring match"},
		{"a parent does not count beside its parts", "| x | ☑ | `3 × internal/ring.^TestFull` |", "2 tests of internal/ring match"},
		{"tests of a package below do not count", "| x | ☑ | `3 × internal/ring.^TestFull(Gate)?` |", "2 tests of internal/ring match"},
		{"a test all of whose parts were skipped does not count", "| x | ☑ | `2 × internal/store.^Test` |", "1 tests of internal/store match"},
		{"a count of nothing", "| x | ☑ | `0 × internal/ring.^Test` |", "0 are promised"},
		{"a count of an unknown package", "| x | ☑ | `1 × internal/rings.^Test` |", "0 tests of internal/rings match"},
		{"a pattern that is none", "| x | ☑ | `1 × internal/ring.^Test(` |", "missing closing"},

		{"a tick without evidence", "| x | ☑ | all of it |", "without evidence"},
		{"a tick with words in backticks", "| x | ☑ | `internal/ring` does it |", "without evidence"},
		{"a tick whose figure is missing", "| x | ☑ | not measured yet | `make bench` |", "its figure is not measured"},
		{"an empty box without a word", "| x | ☐ | later |", "says \"open\""},
		{"neither mark", "| x | soon | `internal/ring.TestFull` |", "one mark"},
		{"both marks", "| x | ☑ ☐ open | `internal/ring.TestFull` |", "one mark"},
		{"a test in a form that is not read", "| x | ☑ | `ring.TestFull` `make bench` |", "looks like a test or a count, and is none"},
		{"a count in a form that is not read", "| x | ☑ | `3 × ring/Test` `make bench` |", "looks like a test or a count, and is none"},
		{"a row that stands there twice", "| y | ☑ | `make bench` |", "\"y\" stands there 2 times"},
	} {
		t.Run(c.tells, func(t *testing.T) {
			p := smallProof()
			p.rows = []string{"y"}
			_, err := checkPlan("| row | | shown by |\n|---|---|---|\n"+c.row+"\n\n| row | | by |\n|---|---|---|"+good+"\n", p)
			switch {
			case c.complaint == "" && err != nil:
				t.Errorf("it should hold, but: %v", err)
			case c.complaint != "" && (err == nil || !strings.Contains(err.Error(), c.complaint)):
				t.Errorf("it should complain with %q, but says: %v", c.complaint, err)
			case c.complaint != "" && strings.Contains(err.Error(), "\n"):
				t.Errorf("one thing is wrong, but it says: %v", err)
			}
		})
	}
}

func TestPlan_MissesRowsAndTests(t *testing.T) {
	p := smallProof()
	p.rows = []string{"here", "gone"}
	n, err := checkPlan("| row | | by |\n|---|---|---|\n| here | ☑ | `make bench` |\n| there | ☐ open | |\n", p)
	if err == nil || !strings.Contains(err.Error(), `the plan's row "gone" is missing`) || !strings.Contains(err.Error(), "names no test") || strings.Contains(err.Error(), `"here"`) {
		t.Error(err)
	}
	if n.done != 1 || n.open != 1 || n.tests != 0 {
		t.Error(n)
	}
}

// The logs of go test are read as what passed, and what did not.
func TestPlan_LogsAreReadAsTheyAre(t *testing.T) {
	tests := newTally()
	read(&tests, strings.NewReader(`{"Action":"pass","Package":"github.com/pastcone/pastcone/internal/ring","Test":"TestA"}
{"Action":"skip","Package":"github.com/pastcone/pastcone/internal/ring","Test":"TestB/x"}
{"Action":"fail","Package":"github.com/pastcone/pastcone/internal/ring","Test":"TestC"}
`))
	if !tests.ran["internal/ring.TestA"] || len(tests.ran) != 1 || !tests.undone["internal/ring.TestB/x"] || !tests.undone["internal/ring.TestC"] || len(tests.undone) != 2 {
		t.Error(tests.ran, tests.undone)
	}
}

// Every package's comment says which of the plan's components it is, or which it serves.
func TestPlan_PackagesNameTheirComponent(t *testing.T) {
	for name, p := range listPackages(t) {
		if name == "" || name == "acceptance" || strings.HasPrefix(name, "examples/") {
			continue
		}
		said := false
		for _, file := range p.GoFiles {
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			said = said || strings.Contains(strings.Join(strings.Fields(parsed.Doc.Text()), " "), "the plan's words")
		}
		if !said {
			t.Errorf("%s: the package comment does not say what it is \"in the plan's words\"", name)
		}
	}
}
