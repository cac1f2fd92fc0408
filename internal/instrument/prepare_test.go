package instrument

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/pastcone/pastcone/internal/instrument/patch"
)

const shop = `
-- go.mod --
module example.com/shop

go 1.25
-- main.go --
package main

import (
	"fmt"
	"sync/atomic"

	"example.com/shop/orders"
)

func main() { fmt.Println(orders.Sum(3), started.Load()) }

var started atomic.Int32
-- orders/orders.go --
package orders

//go:noinline
func Sum(n int) (sum int) {
	for i := range n {
		sum += add(i, 1)
	}
	return sum
}

//go:noinline
func add(a, b int) int { return a + b }

type Queue struct{ all []int }

//go:noinline
func (q *Queue) Push() {}

//go:noinline
func (q *Queue) Pop() { q.all = nil }

//go:noinline
func (q *Queue) Clear(int) int { q.all = nil; return 0 }

//go:nosplit
func (q *Queue) Low(int) { q.all = nil }
-- orders/more.go --
package orders

//go:noinline
func more(n int) error { return nil }
`

func shopProgram(t *testing.T) program { return unpack(t, txtar.Parse([]byte(shop))) }

// ids maps names to ids.
func ids(table map[int]TableEntry) map[string]int {
	m := map[string]int{}
	for id, e := range table {
		m[e.Func] = id
	}
	return m
}

// A function keeps its id when others come and go, and what has not changed is not rewritten: the go command's cache holds.
func TestAnIDStaysWithItsFunction(t *testing.T) {
	p := shopProgram(t)
	first := p.prepare(Options{})
	before := ids(p.table(first))
	if before["example.com/shop/orders.Sum"] < firstID || before["main.main"] < firstID || before["testing.tRunner"] >= firstID {
		t.Fatalf("ids: %v", before)
	}
	for id := firstID; id < first.FunctionsCount; id++ {
		if _, ok := p.table(first)[id]; !ok {
			t.Errorf("ids have a hole at %d", id)
		}
	}
	// A new file, whose functions come before the others by name, and lines above those of a file.
	write(t, p.dir, "orders/a.go", "package orders\n\n//go:noinline\nfunc aaa(n int) error { return nil }\n")
	main := read(t, p.dir, "main.go")
	write(t, p.dir, "main.go", strings.Replace(main, "func main", "\n\nfunc main", 1))
	second := p.prepare(Options{})
	if second.UsedPreviousBuild {
		t.Fatal("a changed program is taken for the same")
	}
	after := ids(p.table(second))
	for name, id := range before {
		if after[name] != id {
			t.Errorf("%s had id %d and has %d", name, id, after[name])
		}
	}
	if after["example.com/shop/orders.aaa"] != first.FunctionsCount {
		t.Errorf("the new function has id %d, not the next, %d", after["example.com/shop/orders.aaa"], first.FunctionsCount)
	}
	one, two := overlayOf(t, first), overlayOf(t, second)
	for _, file := range []string{"orders/orders.go", "orders/more.go"} {
		path := filepath.Join(p.dir, file)
		if one[path] == "" || one[path] != two[path] {
			t.Errorf("%s has not changed, but its copy has: %s, %s", file, one[path], two[path])
		}
	}
	// The same sources give the same result, wherever it begins.
	other := p
	other.cache += "2"
	write(t, p.dir, "main.go", main)
	if err := os.Remove(filepath.Join(p.dir, "orders/a.go")); err != nil {
		t.Fatal(err)
	}
	if fresh := ids(p.table(other.prepare(Options{}))); !maps.Equal(fresh, before) {
		t.Errorf("ids from nothing: %v, and before: %v", fresh, before)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func overlayOf(t *testing.T, p *Prepared) map[string]string {
	t.Helper()
	files, err := readOverlay("", p.Overlay)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// What is missing from the cache is made again, not missed by the build.
func TestACacheThatLostAFile(t *testing.T) {
	p := shopProgram(t)
	first := p.prepare(Options{Inlinable: true})
	for _, lose := range []string{overlayOf(t, first)[filepath.Join(p.dir, "main.go")], first.Functions, first.Overlay} {
		if err := os.Remove(lose); err != nil {
			t.Fatal(err)
		}
		if again := p.prepare(Options{Inlinable: true}); again.UsedPreviousBuild || !exists(lose) {
			t.Errorf("%s was lost and is not made again", lose)
		}
	}
}

// Several at once for one program wait for each other; for the same program they find what the first has done.
func TestSeveralAtOnce(t *testing.T) {
	p := shopProgram(t)
	var wg sync.WaitGroup
	done := make([]*Prepared, 4)
	errs := make([]error, 4)
	for i := range done {
		wg.Go(func() {
			done[i], errs[i] = Prepare(context.Background(), Options{Dir: p.dir, CacheDir: p.cache, Inlinable: i%2 == 0})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if done[0].Functions != done[2].Functions || done[1].Overlay != done[3].Overlay {
		t.Errorf("the same options gave different results: %+v, %+v", done[0], done[2])
	}
	unlock, err := lock(t.Context(), filepath.Join(p.cache, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, filepath.Join(p.cache, "lock")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a lock that is held: %v", err)
	}
}

// A user's own overlay is what is rewritten, and the rest of it stays.
func TestAnOverlayOfTheUsersOwn(t *testing.T) {
	p := shopProgram(t)
	write(t, p.dir, "other.txt", strings.ReplaceAll(read(t, p.dir, "orders/orders.go"), "a + b", "a * 100"))
	write(t, p.dir, "mine.json", `{"Replace": {"orders/orders.go": "other.txt", "orders/more.go": ""}}`)
	flags := []string{"-overlay", "mine.json"}
	done := p.prepare(Options{BuildFlags: flags})
	plain := p.run("go", nil, append(append([]string{"run"}, flags...), ".")...)
	recorded := p.run(done.GoCommand, done.Env, append(append([]string{"run"}, done.Flags...), ".")...)
	if plain.out != "300 0\n" || recorded.out != plain.out {
		t.Errorf("plain: %q %s, recorded: %q %s", plain.out, plain.err, recorded.out, recorded.err)
	}
	if _, there := ids(p.table(done))["example.com/shop/orders.more"]; there {
		t.Error("a file that the overlay takes away is recorded")
	}
}

// What can not be done is said in a sentence that names it.
func TestWhatCanNotBePrepared(t *testing.T) {
	p := shopProgram(t)
	write(t, p.dir, "bad.json", "{")
	for _, c := range []struct {
		name    string
		o       Options
		library standardLibrary
		want    []string
	}{
		{"no such package", Options{Packages: []string{"./nowhere"}}, nil, []string{"go list", "nowhere"}},
		{"nothing left", Options{Exclude: []string{"example.com/..."}}, nil, []string{"no package to record", "--include"}},
		{"a change of directory", Options{BuildFlags: []string{"-C=x"}}, nil, []string{"-C"}},
		{"an overlay that is none", Options{BuildFlags: []string{"-overlay=bad.json"}}, nil, []string{"-overlay", "bad.json"}},
		{"an overlay that is not there", Options{BuildFlags: []string{"-overlay=not.json"}}, nil, []string{"-overlay", "not.json"}},
		{"half a queue", Options{Queue: []string{"orders.(*Queue).Push"}}, nil, []string{"--queue orders.(*Queue).Push", "want"}},
		{"a queue that is not there", Options{Queue: []string{"orders.(*Queue).Clear,orders.Nowhere"}}, nil, []string{"no function orders.Nowhere"}},
		{"nothing to send", Options{Queue: []string{"orders.(*Queue).Pop,orders.(*Queue).Clear"}}, nil, []string{"(*Queue).Pop", "no parameter"}},
		{"nothing to receive", Options{Queue: []string{"orders.(*Queue).Clear,orders.(*Queue).Pop"}}, nil, []string{"(*Queue).Pop", "no result"}},
		{"a queue where no probe may be", Options{Queue: []string{"orders.(*Queue).Low,orders.Sum"}}, nil, []string{"(*Queue).Low", "no probe may"}},
		{"no field", Options{State: []string{"orders"}}, nil, []string{"--state orders", "package.Type.field"}},
		{"a field without assignments", Options{State: []string{"orders.Queue.none"}}, nil, []string{"--state orders.Queue.none", "no assignment"}},
		{"an anchor that is not there", Options{}, func(string, string, string, bool) (map[string]string, error) {
			return nil, fmt.Errorf("the runtime: %w", &patch.AnchorError{GoVersion: "go1.99", File: "runtime/chan.go", Func: "chansend", Anchor: "lock(&c.lock)", Want: 1})
		}, []string{"go1.99", "chansend", "--no-runtime"}},
		{"a file of the library that the user replaces too", Options{BuildFlags: []string{"-overlay=std.json"}}, nil, []string{"zpastcone.go", "record without it"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(t, p.dir, "runtime.txt", "package runtime\n")
			text, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(goroot(t), "src", "runtime", "zpastcone.go"): "runtime.txt"}})
			if err != nil {
				t.Fatal(err)
			}
			write(t, p.dir, "std.json", string(text))
			c.o.Dir, c.o.CacheDir, c.o.library = p.dir, p.cache, c.library
			_, err = Prepare(t.Context(), c.o)
			if err == nil {
				t.Fatal("it was prepared")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\ndoes not say %q", err, want)
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Prepare(ctx, Options{Dir: p.dir, CacheDir: p.cache}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func goroot(t *testing.T) string {
	t.Helper()
	env, err := (&goCommand{path: "go"}).environment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return env.GOROOT
}

// A program that does not build says so as the go command does, of its own sources.
func TestAProgramThatDoesNotBuild(t *testing.T) {
	p := shopProgram(t)
	write(t, p.dir, "orders/wrong.go", "package orders\n\nfunc wrong() int { return \"text\" }\n")
	_, err := Prepare(t.Context(), Options{Dir: p.dir, CacheDir: p.cache})
	if err == nil || !strings.Contains(err.Error(), "orders/wrong.go:3:27") {
		t.Errorf("a wrong type: %v", err)
	}
	write(t, p.dir, "orders/wrong.go", "package orders\n\nfunc wrong( {\n")
	_, err = Prepare(t.Context(), Options{Dir: p.dir, CacheDir: p.cache})
	if err == nil || !strings.Contains(err.Error(), "wrong.go:3") {
		t.Errorf("no Go: %v", err)
	}
}

// Progress says what is being done; what was asked for and is not there is said too.
func TestProgressAndWhatIsMissing(t *testing.T) {
	p := shopProgram(t)
	var steps []string
	done := p.prepare(Options{
		Include: []string{"example.com/not/..."}, Args: []string{"orders.nothing"}, BuildFlags: []string{"-cover"}, State: []string{"orders.Queue.all"},
		Progress: func(step string, _, _ int) {
			if len(steps) == 0 || steps[len(steps)-1] != step {
				steps = append(steps, step)
			}
		},
	})
	said := strings.Join(done.Missing, "\n")
	for _, want := range []string{"--include example.com/not/...", "--args orders.nothing", "packages that it covers are not recorded", "composite literals", "runs where no probe may"} {
		if !strings.Contains(said, want) {
			t.Errorf("missing does not say %q:\n%s", want, said)
		}
	}
	if got := strings.Join(steps, ", "); !strings.HasPrefix(got, "looking for the packages of the program, patching the standard library, reading sources, asking the compiler what it inlines, looking for assignments, rewriting sources") {
		t.Errorf("steps: %s", got)
	}
}
