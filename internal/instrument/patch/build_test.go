package patch

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// goEnv asks the go command.
func goEnv(t testing.TB, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatalf("go env %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// work is where the tests of this process keep the overlay and the programs that they build; TestMain removes it.
var work string

func TestMain(m *testing.M) {
	var err error
	if work, err = os.MkdirTemp("", "pastcone-patch-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(work)
	os.Exit(code)
}

// built are the programs that were built, by directory and flags, so that each is built once.
var built struct {
	sync.Mutex
	programs map[string]string
	overlays map[string]string
}

// overlayFile writes the overlay for the Go that runs the tests, and returns the JSON file for go build.
func overlayFile(t testing.TB) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	return overlayFileLocked(t, goEnv(t, "GOROOT"), goEnv(t, "GOVERSION"))
}

func overlayFileLocked(t testing.TB, goroot, version string) string {
	t.Helper()
	if file := built.overlays[goroot]; file != "" {
		return file
	}
	files, err := Overlay(goroot, version, filepath.Join(work, version))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"Replace": files})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(work, version+".json")
	if err := os.WriteFile(file, text, 0o666); err != nil {
		t.Fatal(err)
	}
	if built.overlays == nil {
		built.overlays = map[string]string{}
	}
	built.overlays[goroot] = file
	return file
}

// build builds the program of a directory under testdata with the patched standard library, and returns its file. The first
// build with given flags compiles the standard library anew, which the go command keeps in its cache.
func build(t testing.TB, dir string, flags ...string) string {
	t.Helper()
	return buildWith(t, "go", goEnv(t, "GOROOT"), goEnv(t, "GOVERSION"), dir, flags...)
}

func buildWith(t testing.TB, command, goroot, version, dir string, flags ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the standard library anew")
	}
	built.Lock()
	defer built.Unlock()
	key := strings.Join(append([]string{version, dir}, flags...), " ")
	if program := built.programs[key]; program != "" {
		return program
	}
	program := filepath.Join(work, fmt.Sprintf("program%d", len(built.programs)))
	args := append([]string{"build", "-overlay", overlayFileLocked(t, goroot, version), "-o", program}, flags...)
	cmd := exec.Command(command, append(args, "./testdata/"+dir)...)
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOWORK=off", "GOFLAGS=-mod=mod")
	if command != "go" {
		// A module of its own, which asks for no newer Go.
		cmd.Args[len(cmd.Args)-1] = "."
		cmd.Dir = filepath.Join(work, version+"-"+dir)
		if err := os.CopyFS(cmd.Dir, os.DirFS("testdata/"+dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(cmd.Dir, "go.mod"), []byte("module program\n\ngo 1.24\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	if built.programs == nil {
		built.programs = map[string]string{}
	}
	built.programs[key] = program
	return program
}
