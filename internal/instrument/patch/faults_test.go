package patch

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// goroot makes a standard library of the given files.
func goroot(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, "src", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestMethodsOfAllReceiversAreFound(t *testing.T) {
	s, err := parseSource("go1.26.8", "x.go", `package x
func (a one) m() { _ = 1 }
func (a *two[K]) m() { _ = 2 }
func (a *three[K, V]) m() { _ = 3 }
func (*(four)) m() { _ = 4 }
func five()
`)
	if err != nil {
		t.Fatal(err)
	}
	for in, anchor := range map[string]string{"one.m": "1", "two.m": "2", "three.m": "3", "m": "4"} {
		if err := s.apply(Edit{In: in, Anchor: anchor, Text: "0"}); err != nil {
			t.Error(err)
		}
	}
	if err := s.apply(Edit{In: "five", Place: Entry, Text: "x"}); err == nil || !strings.Contains(err.Error(), "the body") {
		t.Errorf("a function without a body: %v", err)
	}
	if got, err := s.edited(); err != nil || strings.Count(got, "0") != 4 {
		t.Errorf("%v, %s", err, got)
	}
}

func TestWhatIsWrongWithAStandardLibraryIsSaid(t *testing.T) {
	root := goroot(t, map[string]string{"a/a.go": "package a\nfunc f() { g() }\n", "a/bad.go": "package", "a/dir.go/x": ""})
	out := t.TempDir()
	for name, c := range map[string]struct {
		area Area
		want string
	}{
		"no such file":        {Area{Edits: []Edit{{File: "b/b.go", In: "f", Anchor: "x"}}}, "b/b.go: not found"},
		"a file that is none": {Area{Edits: []Edit{{File: "a/dir.go", In: "f", Anchor: "x"}}}, "a file of the standard library to patch"},
		"no Go":               {Area{Edits: []Edit{{File: "a/bad.go", In: "f", Anchor: "x"}}}, "a/bad.go: can not be parsed"},
		"two at one place": {Area{Edits: []Edit{{File: "a/a.go", In: "f", Place: Instead, Anchor: "g()", Text: "h()"},
			{File: "a/a.go", In: "f", Place: Instead, Anchor: "g()", Text: "i()"}}}, "two edits change the same text"},
		"nothing to add": {Area{Name: "odd", Added: []string{"no/file.go"}}, "area odd"},
	} {
		if _, err := overlay([]Area{c.area}, root, "go1.26.8", out); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What an older version has and this one has not.
	files, err := overlay([]Area{{Edits: []Edit{{File: "b/b.go", In: "f", Anchor: "x", Optional: true}, {File: "a/a.go", In: "gone", Anchor: "x", Optional: true}}}},
		root, "go1.26.8", out)
	if err != nil || len(files) != 0 {
		t.Errorf("optional edits: %v, %v", files, err)
	}
}

func TestADirectoryThatCanNotBeWrittenIsAnError(t *testing.T) {
	root := goroot(t, map[string]string{"a/a.go": "package a\nfunc f() { g() }\n"})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	area := Area{Edits: []Edit{{File: "a/a.go", In: "f", Anchor: "g()", Text: "; h()"}}}
	if _, err := overlay([]Area{area}, root, "go1.26.8", file); err == nil || !strings.Contains(err.Error(), "the patched a/a.go") {
		t.Errorf("an overlay into a file: %v", err)
	}
	if _, err := Alone(root, file); err == nil || !strings.Contains(err.Error(), "the added zpastcone") {
		t.Errorf("added files into a file: %v", err)
	}
	toolchain := filepath.Join(t.TempDir(), "golang.org", "toolchain@v1")
	if err := os.MkdirAll(toolchain, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Toolchain(toolchain, file, nil); err == nil || !strings.Contains(err.Error(), "a copy of the toolchain toolchain@v1") {
		t.Errorf("a toolchain into a file: %v", err)
	}
	if err := copyFile(filepath.Join(root, "gone"), file); err == nil {
		t.Error("a file that does not exist was copied")
	}
	if err := copyFile(filepath.Join(root, "src/a/a.go"), file); err == nil {
		t.Error("a file was copied onto another")
	}
}

func TestFilesThatAreAddedAloneNeedNoFieldOfThePatch(t *testing.T) {
	root := goroot(t, nil)
	files, err := Alone(root, t.TempDir())
	if err != nil || len(files) < 10 || len(AloneMisses()) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for from, to := range files {
		if filepath.Dir(from) != filepath.Join(root, "src", "runtime") {
			t.Errorf("%s is not in package runtime", from)
		}
		text, err := os.ReadFile(to)
		if err != nil || gField.Match(text) || pField.Match(text) {
			t.Errorf("%s: uses a field that only a patched runtime has (%v)", to, err)
		}
		if strings.HasSuffix(to, ".go") {
			if _, err := parser.ParseFile(token.NewFileSet(), to, text, 0); err != nil {
				t.Error(err)
			}
		}
	}
}
