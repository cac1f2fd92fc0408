package patch

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/internal/capture"
)

// Programs of the other Go versions that are here are recorded as well. One of them is tried always, and all if the environment has
// PASTCONE_TEST_TOOLCHAINS: each builds a standard library.
func TestProgramsOfOtherGoVersionsAreRecorded(t *testing.T) {
	if testing.Short() {
		t.Skip("builds standard libraries anew")
	}
	roots := goroots(t)
	delete(roots, goEnv(t, "GOVERSION"))
	versions := slices.Sorted(maps.Keys(roots))
	if os.Getenv("PASTCONE_TEST_TOOLCHAINS") == "" {
		versions = slices.DeleteFunc(versions, func(v string) bool { return !strings.HasPrefix(v, "go1.25") })
		versions = versions[max(0, len(versions)-1):]
	}
	if len(versions) == 0 {
		t.Skip("no other Go version is here")
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
	if testing.Short() || os.Getenv("PASTCONE_TEST_TOOLCHAINS") == "" {
		t.Skip("builds standard libraries anew")
	}
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
