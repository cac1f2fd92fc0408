package symbols

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// build builds the program of the tests in a module of its own, with a toolchain that is there already, or this one. It skips the test
// if this machine can not.
func build(t *testing.T, toolchain string, env []string, flags ...string) string {
	t.Helper()
	env = append(os.Environ(), env...)
	if toolchain == "" {
		toolchain = "local"
	} else {
		out, err := exec.Command("go", "env", "GOMODCACHE").Output()
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(strings.TrimSpace(string(out)), "golang.org", "toolchain@v0.0.1-"+toolchain+"."+runtime.GOOS+"-"+runtime.GOARCH)
		if _, err := os.Stat(dir); err != nil {
			t.Skipf("%s is not installed here: %v", toolchain, err)
		}
	}
	dir := t.TempDir()
	text, err := os.ReadFile("testdata/program/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"go.mod": "module example.com/program\n\ngo 1.24\n", "main.go": string(text)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("go", append(append([]string{"build", "-o", "program"}, flags...), ".")...)
	c.Dir, c.Env = dir, append(env, "GOTOOLCHAIN="+toolchain, "GOFLAGS=", "GOWORK=off")
	if out, err := c.CombinedOutput(); err != nil {
		t.Skipf("this program can not be built here: %v\n%s", err, out)
	}
	return filepath.Join(dir, "program")
}

// entryOf gives where a function begins.
func (t *Table) entryOf(name string) (uint32, bool) {
	for i := range t.functions {
		if f, ok := t.find(uint64(t.entry(i))); ok {
			if n, _ := t.name(t.field(&f, 1)); n == name {
				return f.entry, true
			}
		}
	}
	return 0, false
}

func chain(all []Place) string {
	var names []string
	for _, p := range all {
		names = append(names, p.Func)
	}
	return strings.Join(names, " ")
}

// compare asks a program about its own counters, and the table about the same ones.
func compare(t *testing.T, path string) {
	t.Helper()
	table, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if table.inlined == nil {
		t.Fatal("the trees of inlined calls were not found")
	}
	main, ok := table.entryOf("main.main")
	if !ok {
		t.Fatal("main.main is not in the table")
	}
	first, last := int64(table.entry(0)), int64(table.entry(table.functions))
	total, inlined, entries := 0, 0, 0
	chains := map[string]bool{} // of inlined calls
	// All of the package main, and a sample of everything.
	for _, r := range [][3]int64{{first, last, 61}, {max(first, int64(main)-4096), min(last, int64(main)+4096), 1}} {
		args := []string{strconv.FormatInt(r[0]-int64(main), 10), strconv.FormatInt(r[1]-int64(main), 10), strconv.FormatInt(r[2], 10)}
		out, err := exec.Command(path, args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(out) {
			fields := strings.Split(strings.TrimSpace(string(line)), "\t")
			at, err := strconv.ParseInt(fields[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			pc := uint64(at + int64(main))
			fields = fields[1:]
			isEntry := len(fields) > 0 && fields[len(fields)-1] == "entry"
			if isEntry {
				entries++
				fields = fields[:len(fields)-1]
				p, ok := table.Look(pc, true)
				if !ok || p.Func == "" || p.Line == 0 && !strings.HasPrefix(p.Func, "go:") {
					t.Errorf("%#x is the entry of a function: got %+v, %v", pc, p, ok)
				}
			}
			n, _ := strconv.ParseUint(fields[2], 10, 32)
			want := Place{fields[0], fields[1], uint32(n)}
			if want.Func == "" || isEntry { // between functions, or no return address; the runtime does not know the first name of its table either
				continue
			}
			if want.File == "?" { // behind the end of a function
				continue
			}
			total++
			f, ok := table.find(pc - 1)
			if !ok {
				t.Fatalf("%#x: nothing, want %+v", pc, want)
			}
			all, known := table.unwind(&f, pc-1)
			if !known || len(all) == 0 || all[0] != want {
				t.Fatalf("%#x: got %+v, want %+v", pc, all, want)
			}
			got, ok := table.Look(pc, false)
			if strings.Contains(got.Func, ".deferwrap") {
				t.Errorf("%#x: the name of a wrapper: %+v", pc, got)
			}
			want.Func = unwrapped(want.Func)
			if !ok || passesOn(got.Func) && got != want {
				t.Fatalf("%#x: got %+v, want %+v", pc, got, want)
			}
			if len(all) > 1 {
				inlined++
				chains[chain(all)] = true
				if strings.HasPrefix(want.Func, "sync.(*Mutex)") && strings.HasPrefix(all[len(all)-1].Func, "main.") && !strings.HasPrefix(got.Func, "main.") {
					t.Errorf("%#x: the lock is taken in %+v, got %+v", pc, all, got)
				}
			}
		}
	}
	for _, want := range []string{"main.smaller main.small main.(*box).add", "main.smaller main.small main.main", "sync.(*Mutex).Lock main.(*box).add"} {
		if !chains[want] {
			t.Errorf("nowhere was %s seen: %v", want, slices.Sorted(maps.Keys(chains)))
		}
	}
	t.Logf("%d counters, %d in inlined calls, %d entries", total, inlined, entries)
	if total < 1000 || inlined < 100 || entries < 10 {
		t.Error("too few counters were compared")
	}
}

func TestLook_SaysWhatTheRuntimeSays(t *testing.T) {
	cgo := []string{"CGO_ENABLED=1"}
	for _, c := range []struct {
		story     string
		toolchain string
		env       []string
		flags     []string
	}{
		{"as it is", "", nil, nil},
		{"stripped", "", nil, []string{"-ldflags=-s -w"}},
		{"position-independent", "", nil, []string{"-buildmode=pie"}},
		{"position-independent and stripped", "", nil, []string{"-buildmode=pie", "-ldflags=-s -w"}},
		{"linked by the system's linker", "", cgo, []string{"-ldflags=-linkmode=external"}},
		{"linked by the system's linker, position-independent and stripped", "", cgo, []string{"-buildmode=pie", "-ldflags=-linkmode=external -s -w"}},
		{"with paths trimmed", "", nil, []string{"-trimpath"}},
		{"built by Go 1.25 and stripped", "go1.25.5", nil, []string{"-ldflags=-s -w"}},
		{"built by Go 1.27 and stripped", "go1.27.3", nil, []string{"-ldflags=-s -w"}},
	} {
		if c.toolchain != "" && !everyForm {
			continue
		}
		t.Run(c.story, func(t *testing.T) {
			compare(t, build(t, c.toolchain, c.env, c.flags...))
		})
	}
}

func TestUnwrapped(t *testing.T) {
	for name, want := range map[string]string{
		"shop.f.deferwrap1": "shop.f", "shop.f.func2.deferwrap12": "shop.f.func2", "shop.f": "shop.f", "shop.f.deferwrap1.func1": "shop.f.deferwrap1.func1",
		".deferwrap1": ".deferwrap1", "shop.f.gowrap1": "shop.f.gowrap1",
	} {
		if got := unwrapped(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// What can not be run here is looked at all the same: the same calls are inlined in it.
func TestLook_ProgramsOfOtherSystems(t *testing.T) {
	for _, c := range []struct {
		story string
		env   []string
		flags []string
	}{
		{"darwin/arm64", []string{"GOOS=darwin", "GOARCH=arm64"}, nil},
		{"darwin/arm64, stripped", []string{"GOOS=darwin", "GOARCH=arm64"}, []string{"-ldflags=-s -w"}},
		{"linux/arm64, stripped", []string{"GOOS=linux", "GOARCH=arm64"}, []string{"-ldflags=-s -w"}},
	} {
		t.Run(c.story, func(t *testing.T) {
			table, err := Open(build(t, "", append(c.env, "CGO_ENABLED=0"), c.flags...))
			if err != nil {
				t.Fatal(err)
			}
			chains := map[string]bool{}
			for i := range table.functions {
				f, ok := table.find(uint64(table.entry(i)))
				if !ok {
					continue
				}
				if p, ok := table.Look(uint64(f.entry), true); !ok || !strings.HasPrefix(p.Func, "main.") || !strings.HasSuffix(p.File, "main.go") {
					continue
				}
				for pc := f.entry; pc < table.entry(i+1); pc += 4 {
					if all, known := table.unwind(&f, uint64(pc)); known {
						chains[chain(all)] = true
					}
				}
			}
			for _, want := range []string{"main.smaller main.small main.(*box).add", "main.smaller main.small main.main"} {
				if !chains[want] {
					t.Errorf("nowhere was %s seen: %v", want, slices.Sorted(maps.Keys(chains)))
				}
			}
		})
	}
}

func TestOpen_WhatIsNoProgramOfGo(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "", "short": "\x7fEL", "text": "#!/bin/sh\nexit 0\n", "elf": "\x7fELF" + strings.Repeat("\x00", 100)} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if path, err := exec.LookPath("sleep"); err == nil {
		if _, err := Open(path); !errors.Is(err, ErrNoTable) {
			t.Errorf("a program of C: %v", err)
		}
	}
}
