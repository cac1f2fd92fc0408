package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is where the commands run: the project's root.
func root(t *testing.T) {
	t.Helper()
	t.Chdir(filepath.Join("..", ".."))
}

func TestEachMutationFindsItsPlaceInTheSource(t *testing.T) {
	root(t)
	names := map[string]bool{}
	for _, m := range mutations {
		source, err := os.ReadFile(filepath.Join(folder, m.file))
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		if n := strings.Count(string(source), m.old); n != 1 {
			t.Errorf("%s: %s has %d times %q, it should stand there exactly once", m.name, m.file, n, m.old)
		}
		if m.old == m.new || names[m.name] {
			t.Errorf("%s: changes nothing, or is there twice", m.name)
		}
		names[m.name] = true
	}
	if len(mutations) < 20 {
		t.Errorf("%d mutations; there are more rules than that", len(mutations))
	}
}

func TestAMutationWithoutItsPlaceIsAFailure(t *testing.T) {
	root(t)
	for _, m := range []mutation{
		{"nowhere", mutations[0].file, "no such text in the source", ""},
		{"everywhere", mutations[0].file, "\n", ""},
	} {
		if _, err := m.try(context.Background(), t.TempDir()); !errors.Is(err, errAnchor) {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	if _, err := (mutation{"no file", "nowhere.go", "a", "b"}).try(context.Background(), t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestTheTestThatNoticedIsNamed(t *testing.T) {
	for out, want := range map[string]string{
		"ok  \tx\n--- FAIL: TestA (0.1s)\n    --- FAIL: TestA/b (0.1s)\nFAIL": "TestA",
		"panic: index out of range\n--- FAIL: TestB (0s)":                     "panic: index out of range",
		"signal: killed": "a test that did not end",
	} {
		if got := failed(out); got != want {
			t.Errorf("%q: %q, should be %q", out, got, want)
		}
	}
	if got := tail("a\nb\nc\n", 2); got != "b\nc" {
		t.Error(got)
	}
}
