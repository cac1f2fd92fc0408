package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// binaries is where TestMain has put the program under test.
var binaries string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

// buildAndRun builds pastcone as users run it, but with coverage counters.
func buildAndRun(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "pastcone-bin-*")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	binaries = dir
	build := exec.Command("go", "build", "-cover", "-coverpkg=github.com/pastcone/pastcone/...", "-o", filepath.Join(dir, "pastcone"), "../cmd/pastcone")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return 1, fmt.Errorf("building pastcone: %w", err)
	}
	return m.Run(), nil
}

// TestScripts runs every testdata/*.txtar: each tells what a person types and what they see.
func TestScripts(t *testing.T) {
	counters := os.Getenv("PASTCONE_COVERDIR")
	if counters == "" {
		counters = t.TempDir()
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", binaries+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("GOCOVERDIR", counters)
			return nil
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}
