package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A module is one of other people's programs, of a version that is pinned here.
type module struct {
	path, version string
	about         string
	tests         []string   // arguments of go test: packages, and a selection where all would take too long
	program       string     // package of its program, if it has one that ends
	commands      [][]string // its arguments; SERVER stands for the address of an HTTP server
	input         string     // of the commands
	only          string     // the lines of the output that can be the same twice; empty: all
}

// modules are chosen for variety: a server, command lines, cgo, generics, embedded files.
var modules = []module{
	{
		path: "github.com/rakyll/hey", version: "v0.1.5", about: "load generator",
		tests: []string{"./..."}, program: ".",
		commands: [][]string{{"-n", "200", "-c", "10", "SERVER"}, {"-n", "50", "-c", "5", "-m", "POST", "-d", "x", "SERVER"}, {"-h"}},
		only:     `^\s*(\[\d+\]|Total data|Size/request|Usage|  -)`,
	},
	{
		path: "github.com/mikefarah/yq/v4", version: "v4.54.2", about: "command line, YAML",
		tests: []string{"./pkg/yqlib/...", "./cmd/..."}, program: ".",
		commands: [][]string{
			{".", "examples/data1.yaml"}, {"-o=json", ".", "examples/data2.yaml"}, {"-P", "sort_keys(..)", "examples/data1.yaml"},
			{"ea", ". as $item ireduce ({}; . * $item)", "examples/data1.yaml", "examples/data3.yaml"}, {"-p=xml", ".", "examples/mike.xml"},
			{".a.b[0] = 12 | .c = (.a | length)"}, {".", "examples/bad.yaml"}, {"--no-such-flag"},
		},
		input: "a: {b: [1, 2, 3]}\nd: x\n",
	},
	{
		path: "github.com/mattn/go-sqlite3", version: "v1.14.53", about: "cgo, callbacks from C",
		tests: []string{"."},
	},
	{
		path: "github.com/alecthomas/chroma/v2", version: "v2.27.0", about: "embedded files",
		tests: []string{".", "./formatters/...", "./lexers", "./styles", "./quick"},
	},
	{
		path: "github.com/puzpuzpuz/xsync/v4", version: "v4.5.0", about: "generics, lock-free",
		tests: []string{"-short", "-run", "Queue|Counter|RBMutex", "."},
	},
	{
		path: "github.com/sourcegraph/conc", version: "v0.3.0", about: "generics, pools, panics handed on",
		tests: []string{"./..."},
	},
	{
		path: "github.com/nats-io/nats-server/v2", version: "v2.15.2", about: "server",
		tests:   []string{"-run", "^Test(Account|Auth|Service|Split|Ping|Parse|Sublist|Config)", "./server"},
		program: ".", commands: [][]string{{"-v"}, {"--help"}, {"-t", "-c", "server/configs/basic.conf"}, {"-c", "no-such-file"}},
	},
}

// programs runs other people's programs and tests, plain and recorded.
func (b *bench) programs() error {
	var broken []error
	for _, m := range modules {
		if err := b.module(m); err != nil {
			broken = append(broken, fmt.Errorf("%s %s: %w", m.path, m.version, err))
		}
	}
	return errors.Join(broken...)
}

func (b *bench) module(m module) error {
	dir, err := b.fetch(m)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // in a temporary directory
	b.say("%s %s (%s)", m.path, m.version, m.about)
	return errors.Join(b.moduleTests(m, dir), b.moduleProgram(m, dir))
}

// fetch gives a module's source as a main module of its own.
func (b *bench) fetch(m module) (string, error) {
	c := exec.CommandContext(b.ctx, "go", "mod", "download", "-json", m.path+"@"+m.version) // #nosec G204 -- pinned above
	c.Dir = b.dir                                                                           // outside of any module
	out, err := c.Output()
	var got struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &got); err != nil || jsonErr != nil || got.Error != "" {
		return "", fmt.Errorf("it can not be fetched: %w %s", errors.Join(err, jsonErr), got.Error)
	}
	dir := filepath.Join(b.dir, "module")
	if err := os.CopyFS(dir, os.DirFS(got.Dir)); err != nil {
		return "", err
	}
	return dir, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := os.FileMode(0o600)
		if d.IsDir() {
			mode = 0o700
		}
		return os.Chmod(path, mode) // the module cache is read-only; tests write beside their sources
	})
}

// moduleTests holds the results of its tests against each other.
func (b *bench) moduleTests(m module, dir string) error {
	plain := b.do(command20m, dir, nil, "go", append([]string{"test", "-json", "-count=1"}, m.tests...)...)
	before := testOutcomes(plain.out)
	if plain.trouble != nil || len(before) == 0 {
		return fmt.Errorf("its tests do not run plain: %v\n%s", plain.trouble, tail(plain.out+plain.err))
	}
	recorded := func(tests []string) (*result, error) {
		rec := filepath.Join(b.dir, "module.rec")
		defer os.RemoveAll(rec) //nolint:errcheck // in a temporary directory
		r := b.do(command20m, dir, nil, b.pastcone, slices.Concat([]string{"test", "-o", rec, "--quiet"}, b.flags("-json"), tests)...)
		if r.trouble != nil {
			return r, r.failed()
		}
		return r, b.do(command5m, dir, nil, b.pastcone, "verify", rec).failed()
	}
	r, err := recorded(m.tests)
	if err != nil {
		return err
	}
	h := before.against(testOutcomes(r.out))
	// On a busy machine tests that measure time fail now and then: each has two more tries by itself.
	h.differ = slices.DeleteFunc(h.differ, func(name string) bool {
		pkg, test, _ := strings.Cut(name, " ")
		for range 2 {
			again, err := recorded([]string{"-run", "^" + strings.ReplaceAll(regexp.QuoteMeta(test), "/", "$/^") + "$", pkg})
			if err == nil && testOutcomes(again.out)[name] == before[name] {
				b.say("  %s passed when it was tried again", test)
				h.passed++
				return true
			}
		}
		return false
	})
	b.say("  %4d tests pass and %d are skipped, as plain; %d fail plain, too; plain %.0f s, recorded %.0f s with the building", h.passed, h.skipped, h.failing,
		plain.took.Seconds(), r.took.Seconds())
	if len(h.differ) > 0 {
		return fmt.Errorf("tests with other results than plain: %s\n%s", strings.Join(h.differ, ", "), tail(r.err))
	}
	return nil
}

// moduleProgram holds what its program prints against each other.
func (b *bench) moduleProgram(m module, dir string) error {
	if m.program == "" {
		return nil
	}
	at, stop, err := serve()
	if err != nil {
		return err
	}
	defer stop()
	binary, input := filepath.Join(b.dir, "module.bin"), filepath.Join(b.dir, "input")
	if err := errors.Join(b.do(command5m, dir, nil, "go", "build", "-o", binary, m.program).failed(), os.WriteFile(input, []byte(m.input), 0o600)); err != nil {
		return err
	}
	for _, args := range m.commands {
		args = slices.Clone(args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "SERVER", at)
		}
		rec := filepath.Join(b.dir, "module.rec")
		plain := b.do(command1m, dir, nil, "sh", append([]string{"-c", `exec "$0" "$@" <` + input, binary}, args...)...)
		words := slices.Concat([]string{"-c", `exec "$0" "$@" <` + input, b.pastcone, "run", "-o", rec, "--quiet"}, b.flags(m.program, "--"), args)
		r := b.do(command5m, dir, nil, "sh", words...)
		verified := b.do(command1m, dir, nil, b.pastcone, "verify", rec).failed()
		if err := errors.Join(os.RemoveAll(rec), verified); err != nil {
			return err
		}
		// The program's own name is in its usage; process ids and times of day in a server's lines.
		for _, r := range []*result{plain, r} {
			r.out, r.err = steady(r.out, m.only), steady(r.err, m.only)
		}
		if err := same(plain, r); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
		}
	}
	b.say("  %d commands of its program: the same output, errors and status as plain", len(m.commands))
	return nil
}

var (
	changing = regexp.MustCompile(`\[\d+\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d+|\d{4}-\d\d-\d\dT[\d:.]+\S*`)
	ownName  = regexp.MustCompile(`/\S*/(bin/[0-9a-f]+/\S+|module\.bin)|\bmodule\.bin\b`)
)

// steady keeps what can be the same twice.
func steady(text, only string) string {
	text = ownName.ReplaceAllString(changing.ReplaceAllString(text, "TIME"), "PROGRAM")
	if only == "" {
		return text
	}
	keep := regexp.MustCompile(only)
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		if keep.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// serve answers requests on the loopback until it is stopped.
func serve() (address string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprintln(w, "hello")
	})}
	go s.Serve(l) //nolint:errcheck // it ends with Close
	return "http://" + l.Addr().String(), func() { _ = s.Close() }, nil
}
