//go:build conformance

package patch

import (
	"encoding/json"
	"go/version"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/internal/capture"
)

// These tests build standard libraries anew, each for a minute or more of a processor: make conformance runs them.

// Programs of the other Go versions that are here are recorded as well.
func TestProgramsOfOtherGoVersionsAreRecorded(t *testing.T) {
	roots := goroots(t)
	delete(roots, goEnv(t, "GOVERSION"))
	versions := slices.Sorted(maps.Keys(roots))
	if len(versions) == 0 {
		t.Fatal("no other Go version is here: GOTOOLCHAIN=go1.25.5 go version brings one")
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			root, err := Toolchain(roots[version], work, nil)
			if err != nil {
				t.Fatal(err)
			}
			program := buildWith(t, filepath.Join(root, "bin", "go"), root, version, "stress")
			for _, env := range [][]string{nil, {"GOGC=5"}} {
				r := newRing(t, capture.PolicyBlock, 64)
				out, code := run(t, r, env, program, "-sends=2000")
				streams := r.streams(t)
				whole(t, streams)
				n := match(t, streams, true, places(t, r, program))
				goroutines(t, streams)
				want, _ := strconv.Atoi(strings.TrimSpace(out))
				if code != 3 || n.receives != want || n.unmatched != 0 || want < 10000 {
					t.Errorf("%v: status %d, %d receives recorded, of %d, %d without a send", env, code, n.receives, want, n.unmatched)
				}
			}
			calls := buildWith(t, filepath.Join(root, "bin", "go"), root, version, "calls")
			r := newRing(t, capture.PolicyBlock, 8)
			run(t, r, nil, calls, "deferred panic")
			want := "start\ncall outer\npanic in main.deferredPanic: panic(\"x\"): \"x\" of 1\ncall inner\ncall clean\nreturn clean\nreturn inner\n" +
				"recover in main.deferredPanic.func1: defer func() { recover() }()\nreturn outer"
			if got := told(r.streams(t)[1], places(t, r, calls)); got != want {
				t.Errorf("got %s", got)
			}
		})
	}
}

// What can not be run here is built: the assembly and the system calls of other processors and systems.
func TestOtherProcessorsAndSystemsAreBuilt(t *testing.T) {
	for _, target := range []string{"linux/arm64", "darwin/arm64", "darwin/amd64", "linux/riscv64", "linux/386", "windows/amd64"} {
		t.Run(target, func(t *testing.T) {
			system, processor, _ := strings.Cut(target, "/")
			t.Setenv("GOOS", system)
			t.Setenv("GOARCH", processor)
			t.Setenv("CGO_ENABLED", "0")
			buildWith(t, "go", goEnv(t, "GOROOT"), goEnv(t, "GOVERSION"), "stress", "-tags="+system+processor)
		})
	}
}

// The versions are those that the go command has downloaded; each is copied aside, a quarter of a GB.
func TestOtherVersionsOfGoHandOverAsWell(t *testing.T) {
	copies := t.TempDir()
	source, err := os.ReadFile("testdata/handover/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for name, root := range goroots(t) {
		if name == goEnv(t, "GOVERSION") || version.Compare(name, "go1.25") < 0 { // WaitGroup.Go is of Go 1.25
			continue
		}
		t.Run(name, func(t *testing.T) {
			root, err := Toolchain(root, copies, nil)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			files, err := Overlay(root, name, filepath.Join(dir, "std"))
			if err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(map[string]any{"Replace": files})
			if err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{"overlay.json": string(overlay), "main.go": string(source), "go.mod": "module handover\n\ngo 1.25\n"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(filepath.Join(root, "bin", "go"), "build", "-overlay", "overlay.json", "-o", "program", ".")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOWORK=off", "GOROOT="+root, "GOFLAGS=")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			program := filepath.Join(dir, "program")
			checkMutexes(t, program, nil)
			checkRWMutexes(t, program, nil)
			checkWaitGroups(t, program, nil)
			checkOnces(t, program, nil)
			checkConds(t, program, nil)
			checkTimers(t, program, nil)
			checkSignals(t, program)
			checkRequests(t, program)
		})
	}
}
