package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pastcone/pastcone/internal/instrument/patch"
)

// suite is a selection of one package's own tests.
type suite struct {
	pkg, run, skip string
	race           bool
}

// suites are the standard library's tests of what Pastcone patches. Skipped is what has nothing to do with it and takes long,
// and runtime's TestSizeof, which holds the size of a goroutine's descriptor that every patch of this kind makes larger.
var suites = []suite{
	{
		pkg:  "runtime",
		run:  "Chan|Select|Timer|Ticker|Goexit|Goroutine|Panic|Recover|Defer|Deadlock|Stack|Signal|GOMAXPROCS|Sema|Cgo|Synctest|Finalizer|Cleanup|Caller|Netpoll|LockOSThread",
		skip: "TestStackWrapperStackPanic|TestChanSendSelectBarrier|TestSizeof|TestVDSO|TestStackGrowth$|TestGdb|TestLldb",
	},
	{pkg: "time", skip: "Zone|LoadLocation|Format|Parse"},
	{pkg: "sync"}, {pkg: "internal/sync"},
	{pkg: "context"}, {pkg: "testing/synctest"}, {pkg: "internal/synctest"},
	{pkg: "os/signal"}, {pkg: "reflect", run: "Chan|Select|Func|Call|Method"},
	{pkg: "errors"}, {pkg: "runtime/debug"},
	{pkg: "sync", race: true}, {pkg: "context", race: true}, {pkg: "testing/synctest", race: true},
}

// addresses are in the names of some tests.
var addresses = regexp.MustCompile(`0x[0-9a-f]+`)

// outcomes are the results of tests by name.
type outcomes map[string]string

// testOutcomes reads what go test -json, or test2json, prints.
func testOutcomes(out string) outcomes {
	all := outcomes{}
	for line := range strings.Lines(out) {
		var e struct{ Action, Package, Test string }
		if json.Unmarshal([]byte(line), &e) == nil && e.Test != "" && slices.Contains([]string{"pass", "fail", "skip"}, e.Action) {
			all[strings.TrimSpace(e.Package+" "+addresses.ReplaceAllString(e.Test, "0x"))] = e.Action
		}
	}
	return all
}

// held is what came of holding two runs against each other.
type held struct {
	passed, skipped, failing int      // the same both ways; failing: also plain
	differ                   []string // tests that pass plain and not recorded
}

func (o outcomes) against(recorded outcomes) (h held) {
	for _, name := range slices.Sorted(maps.Keys(o)) {
		switch got := recorded[name]; {
		case o[name] == "fail":
			h.failing++
		case got != o[name]:
			h.differ = append(h.differ, name)
		case got == "skip":
			h.skipped++
		default:
			h.passed++
		}
	}
	return h
}

// library runs the standard library's own tests. They are built with the patched files of the standard library, as every
// recorded program is; there is no main module whose functions could be recorded, so only the runtime speaks.
func (b *bench) library() error {
	goroot, err := exec.Command("go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return err
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(goroot)), "\n")
	dir := filepath.Join(b.dir, "library")
	files, err := patch.Overlay(root, version, filepath.Join(dir, "std"))
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{"Replace": files})
	if err != nil {
		return err
	}
	overlay, functions := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "functions")
	var table strings.Builder
	for _, f := range patch.Functions() {
		fmt.Fprintf(&table, `{"id":%d,"func":%q,"file":%q,"root":%t}`+"\n", f.ID, f.Func, f.File, f.Root)
	}
	if err := errors.Join(os.WriteFile(overlay, text, 0o600), os.WriteFile(functions, []byte(table.String()), 0o600)); err != nil {
		return err
	}
	var broken []error
	for _, s := range suites {
		if err := b.suite(s, root, dir, overlay, functions); err != nil {
			broken = append(broken, fmt.Errorf("%s: %w", s.pkg, err))
		}
	}
	return errors.Join(broken...)
}

// suite runs one package's tests both ways.
func (b *bench) suite(s suite, root, dir, overlay, functions string) error {
	plain, patched := filepath.Join(dir, "plain.test"), filepath.Join(dir, "patched.test")
	var build []string
	what := s.pkg
	if s.race {
		build = append(build, "-race")
		what += " -race"
	}
	for binary, more := range map[string][]string{plain: nil, patched: {"-overlay=" + overlay}} {
		args := slices.Concat([]string{"test", "-c", "-o", binary}, build, more, []string{s.pkg})
		if err := b.do(command5m, dir, nil, "go", args...).failed(); err != nil {
			return err
		}
	}
	at := filepath.Join(root, "src", filepath.FromSlash(s.pkg))
	args := []string{"-test.short", "-test.v=test2json", "-test.timeout=4m"}
	if s.run != "" {
		args = append(args, "-test.run="+s.run)
	}
	if s.skip != "" {
		args = append(args, "-test.skip="+s.skip)
	}
	before := b.suiteOutcomes(b.do(command5m, at, nil, plain, args...))
	if len(before) == 0 {
		return errors.New("no test ran plain")
	}
	h, events, matched, err := b.suiteRecorded(at, patched, functions, args, before)
	if err == nil && len(h.differ) > 0 {
		// Many of these tests measure time, on a machine that others use: each has two more tries by itself.
		h.differ = slices.DeleteFunc(h.differ, func(name string) bool {
			alone := append(args[:3:3], "-test.run=^"+strings.ReplaceAll(strings.Fields(name)[0], "/", "$/^")+"$")
			for range 2 {
				again, _, _, err := b.suiteRecorded(at, patched, functions, alone, outcomes{name: before[name]})
				if err == nil && len(again.differ) == 0 {
					b.say("%-24s %s passed when it was tried again", what, name)
					return true
				}
			}
			return false
		})
	}
	if err != nil {
		return err
	}
	b.say("%-24s %4d tests pass, %3d are skipped, as plain; %d fail plain, too; %9d events, %9d receives matched", what, h.passed, h.skipped, h.failing, events, matched)
	if len(h.differ) > 0 {
		return fmt.Errorf("other results than plain: %s", strings.Join(h.differ, ", "))
	}
	return nil
}

// suiteOutcomes has the test2json command read what a test binary said.
func (b *bench) suiteOutcomes(r *result) outcomes {
	c := exec.CommandContext(b.ctx, "go", "tool", "test2json")
	c.Stdin = strings.NewReader(r.out)
	out, err := c.Output()
	if err != nil {
		b.say("test2json: %v", err)
	}
	return testOutcomes(string(out))
}

// suiteRecorded runs a patched test binary with a ring, and holds its results against the plain ones and its events against
// each other.
func (b *bench) suiteRecorded(at, binary, functions string, args []string, before outcomes) (h held, events, matched uint64, err error) {
	file := filepath.Join(b.dir, "suite.capture")
	defer os.Remove(file) //nolint:errcheck // in a temporary directory
	self, err := os.Executable()
	if err != nil {
		return h, 0, 0, err
	}
	r := b.do(command5m, at, nil, self, append([]string{"-record", binary, "-functions", functions, "-capture", file, "--"}, args...)...)
	if r.trouble != nil {
		return h, 0, 0, r.failed()
	}
	h = before.against(b.suiteOutcomes(r))
	l := newLedger(false)
	if _, err := checkCapture(b.ctx, file, l); err != nil {
		return h, 0, 0, fmt.Errorf("%w\n%s", err, tail(r.out+r.err))
	}
	return h, l.events, l.matched, l.err()
}
