package probe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/answer"
	"github.com/pastcone/pastcone/internal/instrument/patch"
	"github.com/pastcone/pastcone/internal/launch"
	"github.com/pastcone/pastcone/internal/recorder"
)

// builtPatched builds the program of a directory of testdata with the patched standard library.
func builtPatched(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		t.Fatal(err)
	}
	goroot, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	work := t.TempDir()
	files, err := patch.Overlay(goroot, version, work)
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(work, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": files})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(work, "program")
	build := exec.Command("go", "build", "-overlay", overlay, "-o", program, "./testdata/"+dir) // #nosec G204 -- a test's own
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// In a program whose runtime records, what is said to this package is in the same recording, in the streams of the goroutines, and
// causes and is caused there; what the runtime sees by itself is there once.
func TestRecordedProgram_HasLogLinesRootsStatesAndQueuesInItsOwnRecording(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("builds the standard library")
	}
	program := builtPatched(t, "recorded")
	dir := t.TempDir()
	functions := filepath.Join(dir, "functions")
	if err := os.WriteFile(functions, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rec, err := recorder.Open(filepath.Join(dir, "rec"), recorder.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer func() {
		if err := rec.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	in, err := rec.Source(recorder.Spec{Name: "program", Format: "capture", Finite: true})
	if err != nil {
		t.Fatal(err)
	}
	out, err := launch.Run(ctx, launch.Options{
		Path: program, Functions: functions, Entries: patch.FunctionsMax + 1, Capture: filepath.Join(dir, "capture"), Sink: in,
		Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: os.Stderr,
	})
	if err != nil || out.Ended.Code != 0 {
		t.Fatalf("%v, %+v", err, out)
	}
	if err := in.Close(ctx, true); err != nil {
		t.Fatal(err)
	}

	var answered bytes.Buffer
	q := answer.Question{Op: "find", JSON: true, Query: `{ func =~ "main\\.(order|pack|main.*)" && kind != acquire && kind != release }`}
	if err := answer.Answer(ctx, rec.Snapshot(), rec.Sources(), &q, &answered); err != nil {
		t.Fatal(err)
	}
	founders := map[uint64]string{}
	var got []string
	for line := range strings.Lines(answered.String()) {
		var e struct {
			Kind, Key, Func, Ref string
			ID, Correlation      uint64
			Background, Root     bool
			Data                 json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Root {
			founders[e.ID] = string(e.Data)
		}
		if e.Key != "" && strings.HasPrefix(e.Key, "chan") || e.Kind == "" || e.Kind == "spawn" || e.Kind == "start" || strings.Contains(string(e.Data), "program") {
			continue // what the runtime sees
		}
		got = append(got, fmt.Sprint(e.Kind, " ", strings.TrimPrefix(e.Func, "main."), " ", string(e.Data), " of ", founders[e.Correlation], e.Ref != ""))
	}
	want := []string{
		`call order {"item":"lamp"} of {"item":"lamp"}false`,
		`send order  of {"item":"lamp"}true`,
		`log order {"text":"ordered","level":"INFO","item":"lamp"} of {"item":"lamp"}false`,
		`send order  of {"item":"lamp"}false`,
		`return order  of {"item":"lamp"}false`,
		`call order {"item":"mug"} of {"item":"mug"}false`,
		`send order  of {"item":"mug"}true`,
		`log order {"text":"ordered","level":"INFO","item":"mug"} of {"item":"mug"}false`,
		`send order  of {"item":"mug"}false`,
		`return order  of {"item":"mug"}false`,
		`receive main.func1  of {"item":"lamp"}false`,
		`state pack {"item":"lamp"} of {"item":"lamp"}false`,
		`receive main.func1  of {"item":"mug"}false`,
		`state pack {"item":"mug"} of {"item":"mug"}false`,
		`error pack {"error":"context deadline exceeded","item":"mug"} of {"item":"mug"}false`,
	}
	if text := strings.Join(got, "\n"); text != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", text, strings.Join(want, "\n"))
	}
}
