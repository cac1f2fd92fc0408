//go:build linux

package launch

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/instrument"
)

// silently keeps what go test prints from the terminal of this test.
func silently(t *testing.T) (said *os.File) {
	t.Helper()
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	out, errs := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = said, said
	t.Cleanup(func() { os.Stdout, os.Stderr = out, errs; said.Close() })
	return said
}

func tests(t *testing.T, o instrument.Options, flags ...string) (files []string, ended Ended, said string) {
	t.Helper()
	o.BuildFlags = flags
	text := silently(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	running, err := StartTests(context.Background(), o, Plan{Dir: filepath.Join(t.TempDir(), "captures"), RingBytes: 4 << 20}, []string{self, "record-binary"}, nil, &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		file, err := running.Next()
		if err != nil {
			t.Fatal(err)
		}
		if file == "" {
			break
		}
		files = append(files, file)
	}
	if ended, err = running.Ended(); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadFile(text.Name())
	if err != nil {
		t.Fatal(err)
	}
	return files, ended, string(all)
}

func TestEachTestBinaryLeavesACapture(t *testing.T) {
	files, ended, said := tests(t, asUsual(), "-run", "Half|Odd", "-v")
	if ended.Code != 1 || !strings.Contains(said, "--- PASS: TestHalf") || !strings.Contains(said, "some numbers are odd") {
		t.Errorf("%v: %s", ended, said)
	}
	if len(files) != 1 || !strings.HasPrefix(filepath.Base(files[0]), "works-") {
		t.Fatalf("%v", files)
	}
	k, _ := imported(t, files[0])
	if k.kinds[event.KindError] < 5 || k.kinds[event.KindSend] < 20 {
		t.Errorf("%v", k.kinds)
	}
}

// Two binaries are recorded at the same time, each into a file of its own; what one of them has not recorded is there all the same.
func TestTwoTestBinaries(t *testing.T) {
	test := "import \"testing\"\n\nfunc Test(t *testing.T) { c := make(chan int, 1); c <- 1; <-c }\n"
	o := asUsual()
	o.Dir, o.Packages = module(t, map[string]string{
		"go.mod": "module example.com/two\n", "a/a_test.go": "package a\n\n" + test, "b/b_test.go": "package b\n\n" + test, "c/c.go": "package c\n",
	}), []string{"./..."}
	files, ended, said := tests(t, o, "-count=1")
	if ended.Code != 0 || len(files) != 2 || files[0] == files[1] || !strings.Contains(said, "no test files") {
		t.Fatalf("%v, %v: %s", files, ended, said)
	}
	for _, f := range files {
		if k, _ := imported(t, f); k.kinds[event.KindSend] == 0 || k.kinds[event.KindReceive] == 0 {
			t.Errorf("%s: %v", f, k.kinds)
		}
	}
}

func TestTestsThatAreNotStarted(t *testing.T) {
	for name, c := range map[string]struct {
		flags, self []string
		dir, want   string
	}{
		"an -exec of the user's":         {[]string{"-exec", "x"}, nil, t.TempDir(), "-exec can not be given"},
		"a name with quotes":             {nil, []string{"/it's/pastcone"}, t.TempDir(), "no program with quotation marks"},
		"a directory that is a file":     {nil, nil, "/dev/null/x", "not a directory"},
		"a plan that can not be written": {nil, nil, "/proc/self", "plan.json"},
		"no such flag":                   {[]string{"-nosuch"}, nil, t.TempDir(), "nosuch"},
	} {
		o := asUsual()
		o.BuildFlags = c.flags
		_, err := StartTests(t.Context(), o, Plan{Dir: c.dir}, c.self, nil, &quiet{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := StartTests(over, asUsual(), Plan{Dir: t.TempDir()}, nil, nil, &quiet{}); err == nil {
		t.Error("interrupted, and started")
	}
}

func TestNextTellsOfCompleteFilesOnceEach(t *testing.T) {
	dir := t.TempDir()
	running := &Tests{dir: dir, process: &process{done: make(chan struct{})}, seen: map[string]bool{}}
	put := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Error(err)
		}
	}
	put("plan.json")
	put("a.capture.part")
	put("b.capture")
	if f, err := running.Next(); filepath.Base(f) != "b.capture" || err != nil {
		t.Error(f, err)
	}
	go func() { // while it waits
		put("c.capture")
		close(running.process.done)
	}()
	if f, err := running.Next(); filepath.Base(f) != "c.capture" || err != nil {
		t.Error(f, err)
	}
	if f, err := running.Next(); f != "" || err != nil {
		t.Error(f, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := running.Next(); err == nil {
		t.Error("the directory is gone, and nobody is told")
	}
}

func TestARecorderOfABinaryThatCanNotRecord(t *testing.T) {
	if _, err := RecordBinary(t.Context(), filepath.Join(t.TempDir(), "none"), []string{"x"}); err == nil {
		t.Error("no plan, no error")
	}
	dir := t.TempDir()
	planned := filepath.Join(dir, planFile)
	if err := os.WriteFile(planned, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := RecordBinary(t.Context(), planned, []string{"x"}); err == nil || !strings.Contains(err.Error(), planned) {
		t.Error(err)
	}
	text, _ := json.Marshal(Plan{Dir: dir, RingBytes: 1 << 20})
	if err := os.WriteFile(planned, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := RecordBinary(t.Context(), planned, []string{filepath.Join(dir, "none")}); err == nil || !strings.Contains(err.Error(), "does not start") {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.capture*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
