package patch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const small = `package runtime

import "unsafe"

// send(c) is not this one.
type hchan struct {
	qcount   uint // count
	lock     mutex
}

func (c *hchan) send(v int) bool {
	if v == 0 {
		return true // return true
	}
	/* return true */ return true
}

func other() bool { return true }
`

func edit(t *testing.T, edits ...Edit) (string, error) {
	t.Helper()
	s, err := parseSource("go1.26.8", "runtime/small.go", small)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range edits {
		if err := s.apply(e); err != nil {
			return "", err
		}
	}
	return s.edited()
}

func TestAnEditIsMadeInItsFunctionAloneAndMovesNoLine(t *testing.T) {
	got, err := edit(t,
		Edit{In: "hchan.send", Place: Instead, Anchor: "return true", Times: 2, Text: "sent(); return true"},
		Edit{In: "hchan.send", Place: Entry, Text: "begin()"},
		Edit{In: "hchan", Place: End, Text: "id uint64"},
		Edit{In: "hchan", Place: After, Anchor: "qcount uint", Text: "; k int"},
		Edit{In: "other", Place: End, Text: "panic(1)"},
		Edit{Place: Package, Text: `import x "internal/x"`},
	)
	if err != nil {
		t.Fatal(err)
	}
	want := `package runtime; import x "internal/x"

import "unsafe"

// send(c) is not this one.
type hchan struct {
	qcount   uint; k int // count
	lock     mutex
id uint64}

func (c *hchan) send(v int) bool { begin();
	if v == 0 {
		sent(); return true // return true
	}
	/* return true */ sent(); return true
}

func other() bool { return true ; panic(1)}
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestAnAnchorThatIsNotThereAsOftenAsExpectedIsAnErrorThatSaysAllOfIt(t *testing.T) {
	for name, c := range map[string]struct {
		edit    Edit
		matches int
		text    string
	}{
		"once too often": {Edit{In: "hchan.send", Anchor: "return true"}, 2, `go1.26.8: runtime/small.go, hchan.send: "return true" is there 2 times, not 1`},
		"in comments":    {Edit{In: "hchan", Anchor: "count"}, 0, `"count" is there 0 times`},
		"half a word":    {Edit{In: "hchan", Anchor: "qcoun"}, 0, `"qcoun" is there 0 times`},
		"no function":    {Edit{In: "receive", Anchor: "return"}, -1, `receive: not found`},
		"no type's body": {Edit{In: "other2", Place: End, Text: "x"}, -1, `other2: not found`},
	} {
		_, err := edit(t, c.edit)
		var anchor *AnchorError
		if !errors.As(err, &anchor) || anchor.Matches != c.matches || !strings.Contains(err.Error(), c.text) || anchor.GoVersion != "go1.26.8" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnotherWayToWriteTheAnchorIsTried(t *testing.T) {
	got, err := edit(t, Edit{In: "other", Place: Before, Anchor: "return 1", Text: "x();", Or: &Edit{Place: Before, Anchor: "return 2", Text: "y();",
		Or: &Edit{Place: Before, Anchor: "return true", Text: "z();"}}})
	if err != nil || !strings.Contains(got, "{ z();return true }") {
		t.Errorf("%v, got\n%s", err, got)
	}
	if _, err := edit(t, Edit{In: "gone", Anchor: "x", Optional: true}); err != nil {
		t.Errorf("an optional edit of a function that does not exist: %v", err)
	}
	if _, err := edit(t, Edit{In: "other", Anchor: "x", Optional: true}); err == nil {
		t.Error("an optional edit whose function is there without its anchor passed")
	}
}

func TestEditsThatWouldBreakTheFileAreRefused(t *testing.T) {
	for name, e := range map[string][]Edit{
		"a line more":      {{In: "other", Anchor: "return true", Text: "\nx()"}},
		"no anchor":        {{In: "other", Text: "x()"}},
		"no longer Go":     {{In: "other", Anchor: "return true", Text: " }}"}},
		"the same twice":   {{In: "other", Place: Instead, Anchor: "return true", Text: "x"}, {In: "other", Place: Instead, Anchor: "true", Text: "x"}},
		"a body of a word": {{In: "mutex", Place: Entry, Text: "x"}},
	} {
		if got, err := edit(t, e...); err == nil {
			t.Errorf("%s: no error, got\n%s", name, got)
		}
	}
}

// goroots are the Go distributions that are here: the one that runs the test, and those that the go command has downloaded.
func goroots(t *testing.T) map[string]string {
	t.Helper()
	roots := map[string]string{goEnv(t, "GOVERSION"): goEnv(t, "GOROOT")}
	downloaded, err := filepath.Glob(filepath.Join(goEnv(t, "GOMODCACHE"), "golang.org", "toolchain@*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range downloaded {
		version, err := os.ReadFile(filepath.Join(root, "VERSION"))
		if err != nil {
			continue
		}
		name, _, _ := strings.Cut(string(version), "\n")
		roots[name] = root
	}
	return roots
}

func TestEveryGoVersionThatIsHereHasAllAnchors(t *testing.T) {
	for version, root := range goroots(t) {
		out := t.TempDir()
		files, err := Overlay(root, version, out)
		if err != nil {
			t.Error(err)
			continue
		}
		for from, to := range files {
			if filepath.Base(from) != filepath.Base(to) {
				t.Errorf("%s: %s is replaced by a file of another name, %s", version, from, to)
			}
			before, err := os.ReadFile(from)
			if errors.Is(err, os.ErrNotExist) {
				continue // added
			}
			after, err2 := os.ReadFile(to)
			if err != nil || err2 != nil || string(before) == string(after) || strings.Count(string(before), "\n") != strings.Count(string(after), "\n") {
				t.Errorf("%s: %s: not edited, or its lines moved (%v, %v)", version, from, err, err2)
			}
		}
		if again, err := Overlay(root, version, out); err != nil || len(again) != len(files) {
			t.Errorf("%s: a second time: %d files of %d, %v", version, len(again), len(files), err)
		}
	}
}

func TestAGoVersionThatIsNotKnownIsRefused(t *testing.T) {
	root := t.TempDir()
	var anchor *AnchorError
	if _, err := Overlay(root, "go9.9", t.TempDir()); !errors.As(err, &anchor) || anchor.GoVersion != "go9.9" || anchor.Matches != -1 {
		t.Errorf("no files: %v", err)
	}
	for _, path := range Files() {
		if strings.Contains(path, "zpastcone") {
			continue
		}
		name := filepath.Join(root, "src", path)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("package runtime\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Overlay(root, "go9.9", t.TempDir()); !errors.As(err, &anchor) {
		t.Errorf("empty files: %v", err)
	}
}

func TestAToolchainOfTheModuleCacheIsCopiedOnce(t *testing.T) {
	root := filepath.Join(t.TempDir(), "golang.org", "toolchain@v0.0.1-go1.25.5.linux-amd64")
	for name, mode := range map[string]os.FileMode{"bin/go": 0o555, "src/runtime/chan.go": 0o444, "VERSION": 0o444} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	cache, copied := t.TempDir(), 0
	for range 2 {
		to, err := Toolchain(root, cache, func(n int) { copied++ })
		if err != nil || to != filepath.Join(cache, "toolchains", "v0.0.1-go1.25.5.linux-amd64") {
			t.Fatal(to, err)
		}
		info, err := os.Stat(filepath.Join(to, "bin/go"))
		if err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("the go command of the copy: %v, %v", info, err)
		}
	}
	if copied != 3 {
		t.Errorf("%d files copied in two calls, of 3", copied)
	}
	left, _ := filepath.Glob(filepath.Join(cache, "toolchains", ".*"))
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if to, err := Toolchain("/usr/local/go", cache, nil); err != nil || to != "/usr/local/go" {
		t.Errorf("a goroot that is not in the module cache: %s, %v", to, err)
	}
	if _, err := Toolchain(filepath.Join(t.TempDir(), "golang.org", "toolchain@gone"), cache, nil); err == nil {
		t.Error("a goroot that does not exist was copied")
	}
	if err := copyFile(filepath.Join(root, "VERSION"), filepath.Join(cache, "VERSION")); err != nil {
		t.Error(err)
	}
}
