package instrument

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// The tests rewrite against a runtime that only gets the probes' other side: building it does not wait for the whole patch,
// and what goes wrong is the rewriting's fault.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "instrument-std")
	if err != nil {
		panic(err)
	}
	stub, err := os.ReadFile("testdata/zpastcone.go.txt")
	if err != nil {
		panic(err)
	}
	file := filepath.Join(dir, "zpastcone.go")
	if err := os.WriteFile(file, stub, 0o666); err != nil {
		panic(err)
	}
	standardOverlay = func(goroot, _, _ string, _ bool) (map[string]string, error) {
		// What tells values apart is the patch's own.
		values, err := filepath.Abs("patch/_overlay/runtime/zpastcone_any.go")
		src := filepath.Join(goroot, "src", "runtime")
		return map[string]string{filepath.Join(src, "zpastcone.go"): file, filepath.Join(src, "zpastcone_any.go"): values}, err
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// patchedLibrary is the standard library as users get it.
var patchedLibrary = standardOverlay

// program is a module on disk.
type program struct {
	t     *testing.T
	dir   string
	cache string
}

// unpack writes a txtar archive to a directory of its own.
func unpack(t *testing.T, archive *txtar.Archive) program {
	t.Helper()
	dir := t.TempDir()
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := program{t, filepath.Join(real, "source"), filepath.Join(real, "cache")}
	for _, f := range archive.Files {
		path := filepath.Join(p.dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// ran is what came of running a command.
type ran struct {
	out, err string
	code     int
	probes   string // what the probes wrote
}

var (
	hexadecimal = regexp.MustCompile(`( \+)?0x[0-9a-f]+`)
	arguments   = regexp.MustCompile(`(?m)^([\w./*()\[\]%-]+)\(.*\)$`)
	elapsed     = regexp.MustCompile(`\t?\(?(\d+\.\d+s|cached)\)?`)
	goroutine   = regexp.MustCompile(`goroutine \d+`)
)

// comparable is a program's output without what differs from run to run: addresses and times.
func comparable(text string) string {
	text = hexadecimal.ReplaceAllString(text, "")
	text = arguments.ReplaceAllString(text, "$1(…)")
	text = goroutine.ReplaceAllString(text, "goroutine ?")
	return elapsed.ReplaceAllString(text, "")
}

func (p program) run(name string, env []string, args ...string) ran {
	p.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(name, args...)
	cmd.Dir = p.dir
	cmd.Env = append(append(os.Environ(), "PWD="+p.dir), env...)
	cmd.ExtraFiles = []*os.File{w}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	probes := make(chan string)
	go func() {
		text, _ := io.ReadAll(r)
		probes <- string(text)
	}()
	err = cmd.Run()
	w.Close()
	res := ran{out: comparable(out.String()), err: comparable(said.String()), probes: <-probes}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		res.code = exit.ExitCode()
	} else if err != nil {
		p.t.Fatalf("%s %v: %v", name, args, err)
	}
	return res
}

func (p program) prepare(o Options) *Prepared {
	p.t.Helper()
	return p.prepareWith(o, nil)
}

func (p program) prepareWith(o Options, library standardLibrary) *Prepared {
	p.t.Helper()
	o.library = library
	if o.Dir == "" {
		o.Dir = p.dir
	}
	o.CacheDir = p.cache
	done, err := Prepare(context.Background(), o)
	if err != nil {
		p.t.Fatal(err)
	}
	return done
}

// table reads the table of functions.
func (p program) table(done *Prepared) map[int]TableEntry {
	p.t.Helper()
	text, err := os.ReadFile(done.Functions)
	if err != nil {
		p.t.Fatal(err)
	}
	table := map[int]TableEntry{}
	for line := range strings.Lines(string(text)) {
		var e TableEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			p.t.Fatal(err)
		}
		table[int(e.ID)] = e
	}
	return table
}

// story is what the probes wrote, with names in place of ids.
func (p program) story(done *Prepared, probes string) string {
	p.t.Helper()
	table := p.table(done)
	var b strings.Builder
	for line := range strings.Lines(probes) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 3)
		id, err := strconv.Atoi(f[1])
		if err != nil {
			p.t.Fatalf("%q: %v", line, err)
		}
		e, ok := table[id]
		if !ok {
			p.t.Fatalf("%q: the table has no such id", line)
		}
		if e.State != "" {
			e.Func = e.State
		}
		fmt.Fprintf(&b, "%s %s", f[0], e.Func)
		if len(f) > 2 {
			fmt.Fprintf(&b, " %s", f[2])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Each archive under testdata/programs is a program. Its comment has directives, one a line:
//
//	flags …        build flags
//	every-form …   more of them, where every form is built
//	test           go test instead of go run
//	option …       Inlinable, or Include/Exclude/Args/State/Queue and a value
//	expect …       a line that the probes write, names in place of ids; the lines have to come in this order
//	never …        a line that they never write
//	needs …        a program that has to be there
func TestAProgramDoesWhatItDidAndTellsWhatItDoes(t *testing.T) {
	archives, err := filepath.Glob("testdata/programs/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no programs", err)
	}
	for _, path := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var (
				o             Options
				expect, never []string
				work          string
			)
			for line := range strings.Lines(string(archive.Comment)) {
				word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
				switch word {
				case "flags":
					o.BuildFlags = strings.Fields(rest)
				case "every-form":
					if everyForm {
						o.BuildFlags = append(o.BuildFlags, strings.Fields(rest)...)
					}
				case "test":
					o.Test = true
				case "dir":
					work = rest
				case "packages":
					o.Packages = strings.Fields(rest)
				case "option":
					name, value, _ := strings.Cut(rest, " ")
					switch name {
					case "Inlinable":
						o.Inlinable = true
					case "Include":
						o.Include = append(o.Include, value)
					case "Exclude":
						o.Exclude = append(o.Exclude, value)
					case "Args":
						o.Args = append(o.Args, value)
					case "State":
						o.State = append(o.State, value)
					case "Queue":
						o.Queue = append(o.Queue, value)
					default:
						t.Fatalf("%s: no option %s", path, name)
					}
				case "expect":
					expect = append(expect, rest)
				case "never":
					never = append(never, rest)
				case "needs":
					if _, err := exec.LookPath(rest); err != nil {
						t.Skipf("needs %s: %v", rest, err)
					}
				case "", "#":
				default:
					t.Fatalf("%s: no directive %s", path, word)
				}
			}
			p := unpack(t, archive)
			p.dir = filepath.Join(p.dir, work)
			if o.Packages == nil {
				o.Packages = []string{"."}
			}
			done := p.prepare(o)

			var plain, recorded ran
			if o.Test {
				plain = p.run("go", nil, append(append([]string{"test", "-count=1"}, o.BuildFlags...), o.Packages...)...)
				// Tests run one package at a time, so that the probes' lines do not mix.
				recorded = p.run(done.GoCommand, done.Env, append(append([]string{"test", "-count=1", "-p=1"}, done.Flags...), o.Packages...)...)
				vetted := p.run(done.GoCommand, done.Env, append(append([]string{"vet"}, withoutCoverage(done.Flags)...), o.Packages...)...)
				if vetted.code != 0 {
					t.Errorf("go vet is not content any more:\n%s", vetted.err)
				}
			} else {
				for i, flags := range [][]string{o.BuildFlags, done.Flags} {
					bin := filepath.Join(p.cache, "program"+strconv.Itoa(i))
					goCommand, env := "go", []string(nil)
					if i == 1 {
						goCommand, env = done.GoCommand, done.Env
					}
					built := p.run(goCommand, env, append(append([]string{"build", "-o", bin}, flags...), o.Packages...)...)
					if built.code != 0 {
						t.Fatalf("the program does not build (form %d):\n%s", i, built.err)
					}
					if i == 0 {
						plain = p.run(bin, nil)
					} else {
						recorded = p.run(bin, nil)
					}
				}
				vetted := p.run(done.GoCommand, done.Env, append(append([]string{"vet"}, withoutCoverage(done.Flags)...), o.Packages...)...)
				if vetted.code != 0 {
					t.Errorf("go vet is not content any more:\n%s", vetted.err)
				}
			}
			if flagSet(o.BuildFlags, "cover") {
				p.sameBlocks(done, o)
			}
			if plain.out != recorded.out || plain.err != recorded.err || plain.code != recorded.code {
				t.Errorf("plain:\n%s%s(exit %d)\n\nrecorded:\n%s%s(exit %d)", plain.out, plain.err, plain.code, recorded.out, recorded.err, recorded.code)
			}
			if t.Failed() {
				return
			}
			story := ""
			if !o.Test {
				story = p.story(done, recorded.probes)
			} else if len(expect) > 0 {
				story = p.tested(done, o)
			}
			rest := story
			for _, want := range expect {
				_, after, found := strings.Cut("\n"+rest, "\n"+want+"\n")
				if !found {
					t.Fatalf("the probes did not write %q (after what was expected before it):\n%s", want, story)
				}
				rest = after
			}
			for _, no := range never {
				if strings.Contains("\n"+story, "\n"+no) {
					t.Errorf("the probes wrote %q:\n%s", no, story)
				}
			}
			if again := p.prepare(o); !again.UsedPreviousBuild || again.Overlay != done.Overlay {
				t.Errorf("nothing has changed, and Prepare did it all again: %+v", again)
			}
		})
	}
}

// tested builds the test program of the one package and runs it: go test passes no files on to it.
func (p program) tested(done *Prepared, o Options) string {
	p.t.Helper()
	bin := filepath.Join(p.cache, "test")
	built := p.run(done.GoCommand, done.Env, append(append([]string{"test", "-c", "-o", bin}, done.Flags...), o.Packages...)...)
	if built.code != 0 {
		p.t.Fatalf("the tests do not build:\n%s", built.err)
	}
	return p.story(done, p.run(bin, nil).probes)
}

// sameBlocks checks that coverage counts the same blocks at the same places, as often.
func (p program) sameBlocks(done *Prepared, o Options) {
	p.t.Helper()
	profile := func(name string, r ran) string {
		if r.code != 0 {
			p.t.Fatal(r.out, r.err)
		}
		text, err := os.ReadFile(filepath.Join(p.cache, name))
		if err != nil {
			p.t.Fatal(err)
		}
		return string(text)
	}
	plain := profile("plain", p.run("go", nil, append(append([]string{"test", "-coverprofile", filepath.Join(p.cache, "plain")}, o.BuildFlags...), o.Packages...)...))
	recorded := profile("recorded", p.run(done.GoCommand, done.Env, append(append([]string{"test", "-coverprofile", filepath.Join(p.cache, "recorded")}, done.Flags...), o.Packages...)...))
	if plain != recorded {
		p.t.Errorf("coverage of the plain program:\n%s\nof the recorded one:\n%s", plain, recorded)
	}
}
