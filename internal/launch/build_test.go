//go:build linux

package launch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/instrument"
)

// module makes a module of files in a directory of its own.
func module(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "folder")
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A second build of the same is the same file, and compiles nothing.
func TestAProgramIsBuiltOnce(t *testing.T) {
	b := recorded(t)
	if filepath.Base(b.Path) != "works" || b.Entries < 3 || b.Prepared.Recorded != 4 {
		t.Errorf("%+v: its import path is example.com/works, and it has four functions", b)
	}
	tell := &quiet{}
	again, err := Build(t.Context(), asUsual(), "", tell, io.Discard)
	if err != nil || again.Path != b.Path {
		t.Fatal(again, err)
	}
	if strings.Contains(tell.String(), "built ") {
		t.Errorf("it was built again: %s", tell)
	}
	if !strings.Contains(tell.String(), "4 functions of 1 package") {
		t.Errorf("nobody was told what is recorded: %s", tell)
	}
	elsewhere := filepath.Join(t.TempDir(), "it")
	if b, err := Build(t.Context(), asUsual(), elsewhere, tell, io.Discard); err != nil || b.Path != elsewhere {
		t.Errorf("%+v, %v", b, err)
	}
	if info, err := os.Stat(elsewhere); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestTheNamesOfPrograms(t *testing.T) {
	for _, c := range []struct{ named, path, want string }{
		{".", "example.com/shop/orders", "orders"},
		{"./cmd/app", "example.com/shop/cmd/app", "app"},
		{".", "example.com/tool/v2", "tool"},
		{"./v3", "v3", "v3"},
		{"sub/main.go", "command-line-arguments", "main"},
		{"x.go", "command-line-arguments", "x"},
	} {
		if got := programName([]string{c.named}, instrument.AskedPackage{ImportPath: c.path, Name: "main"}); got != c.want {
			t.Errorf("%s: %s is called %s, want %s", c.named, c.path, got, c.want)
		}
	}
}

const (
	aMain = "package main\n\nfunc main() { println(half(8)) }\n"
	aHalf = "package main\n\nfunc half(n int) int { return n / 2 }\n"
)

func TestFilesOfOnePackageAreAProgram(t *testing.T) {
	o := asUsual()
	o.Dir = module(t, map[string]string{"go.mod": "module example.com/files\n", "main.go": aMain, "half.go": aHalf})
	o.Packages = []string{"main.go", "half.go"}
	b, err := Build(t.Context(), o, "", &quiet{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	out, err := Run(t.Context(), Options{Path: b.Path, Functions: b.Functions, Entries: b.Entries, Capture: filepath.Join(t.TempDir(), "c"), RingBytes: 1 << 20, Stderr: &said})
	if err != nil || out.Ended.Code != 0 || said.String() != "4\n" || filepath.Base(b.Path) != "main" {
		t.Errorf("%v, %v, %s, %s", err, out.Ended, &said, b.Path)
	}
}

// What can not be run is said in a sentence that tells what to do.
func TestWhatIsNoProgram(t *testing.T) {
	files := map[string]string{
		"go.mod": "module example.com/shop\n", "a/main.go": aMain + aHalf[len("package main\n"):], "b/main.go": "package main\n\nfunc main() {}\n",
		"orders/orders.go": "package orders\n\nfunc F() {}\n", "broken/main.go": "package main\n\nfunc main() { undefined() }\n",
	}
	shop := module(t, files)
	for name, c := range map[string]struct {
		dir      string
		packages []string
		want     string
	}{
		"a library":        {shop, []string{"./orders"}, "example.com/shop/orders is package orders and no program: only a package main can be run; pastcone test ./orders records its tests"},
		"several":          {shop, []string{"./..."}, "./...: 4 packages; one program is run at a time"},
		"nothing":          {shop, []string{"./none"}, "none"},
		"no module":        {filepath.Join(module(t, map[string]string{"main.go": aMain}), "."), []string{"."}, "is in no module: change into the one that it belongs to, or make one: go mod init NAME"},
		"does not build":   {shop, []string{"./broken"}, "the program does not build"},
		"is not there":     {filepath.Join(shop, "none"), []string{"."}, "no such file or directory"},
		"a flag of no use": {shop, []string{"-x"}, "-x"},
	} {
		t.Run(name, func(t *testing.T) {
			o := asUsual()
			o.Dir, o.Packages = c.dir, c.packages
			var said bytes.Buffer
			b, err := Build(t.Context(), o, "", &quiet{}, &said)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v", b, err)
			}
			if name == "does not build" && !strings.Contains(said.String(), "undefined: undefined") {
				t.Errorf("the compiler has said: %s", &said)
			}
		})
	}
}

func TestAnotherMachinesProgram(t *testing.T) {
	t.Setenv("GOARCH", "riscv64")
	_, err := Build(t.Context(), asUsual(), "", &quiet{}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), runtime.GOOS+"/riscv64, and this is a pastcone for "+runtime.GOOS+"/"+runtime.GOARCH) || !strings.Contains(err.Error(), "Unset them") {
		t.Error(err)
	}
	if _, err := StartTests(t.Context(), asUsual(), Plan{Dir: t.TempDir()}, nil, nil, &quiet{}); err == nil || !strings.Contains(err.Error(), "riscv64") {
		t.Error(err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := Build(t.Context(), asUsual(), "", &quiet{}, io.Discard); err == nil || !strings.Contains(err.Error(), "needs Go") {
		t.Errorf("without Go: %v", err)
	}
}

// An interrupt ends the build at once, and the go command clears up behind itself.
func TestABuildThatIsInterrupted(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("GOTMPDIR", tmp)
	many := map[string]string{"go.mod": "module example.com/many\n", "main.go": "package main\n\nfunc main() {}\n"}
	for i := range 40 { // something to compile that is in no cache
		name := string(rune('a'+i%20)) + string(rune('a'+i/20))
		many[name+".go"] = "package main\n\nimport \"fmt\"\n\nfunc f" + name + "() { fmt.Println(`" + tmp + "`) }\n"
	}
	o := asUsual()
	o.Dir = module(t, many)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(over, o, "", &quiet{}, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted before the beginning: %v", err)
	}
	interrupted := 0
	for moment := 5 * time.Millisecond; moment < patience; moment = moment * 9 / 5 { // until it has come to its end
		ctx, cancel := context.WithTimeout(t.Context(), moment)
		began := time.Now()
		_, err := Build(ctx, o, "", &quiet{}, io.Discard)
		cancel()
		if left, _ := os.ReadDir(tmp); len(left) > 0 {
			t.Errorf("interrupted after %v it left behind %v", moment, left)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: %v", moment, err)
		}
		if took := time.Since(began); took > moment+20*time.Second {
			t.Errorf("interrupted after %v, it ended after %v", moment, took)
		}
		interrupted++
	}
	if interrupted < 5 {
		t.Errorf("it was interrupted %d times only", interrupted)
	}
}

// What the compiler says is for the user, unless it is only which packages it compiles.
func TestWhatTheCompilerSays(t *testing.T) {
	dir := t.TempDir()
	loud := filepath.Join(dir, "go")
	text := "#!/bin/sh\necho runtime >&2\necho example.com/a/b >&2\necho '# example.com/a/b' >&2\necho './x.go:1:2: odd' >&2\n" +
		"head -c 2000000 /dev/zero | tr '\\0' y >&2\nprintf end >&2\nexit $1\n"
	if err := os.WriteFile(loud, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	for status, want := range map[string]string{"0": "", "1": "does not build"} {
		tell, said := &quiet{}, &bytes.Buffer{}
		err := compile(t.Context(), &instrument.Prepared{GoCommand: loud}, instrument.Options{Dir: dir}, []string{status}, tell, said)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Error(status, err)
		}
		if !strings.HasPrefix(said.String(), "# example.com/a/b\n./x.go:1:2: odd\n") || said.Len() < 2_000_000 || !strings.HasSuffix(said.String(), "yend") {
			t.Errorf("%d bytes: %.100s", said.Len(), said)
		}
		if !strings.Contains(tell.String(), "building the standard library with the recorder in it") || tell.steps < 2 {
			t.Errorf("%s, %d steps", tell, tell.steps)
		}
	}
	if err := compile(t.Context(), &instrument.Prepared{GoCommand: filepath.Join(dir, "none")}, instrument.Options{Dir: dir}, nil, &quiet{}, io.Discard); err == nil || !strings.Contains(err.Error(), "is Go installed?") {
		t.Error(err)
	}
}

func TestTimesInWords(t *testing.T) {
	if got := since(time.Now()); got != "0 ms" {
		t.Error(got)
	}
	if got := since(time.Now().Add(-2500 * time.Millisecond)); got != "2.5 s" {
		t.Error(got)
	}
}
