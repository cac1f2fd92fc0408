package launch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/pastcone/pastcone/internal/instrument"
)

// Teller tells a person how far something has come.
type Teller interface {
	// Say tells one thing, on a line of its own.
	Say(text string)
	// Step tells how much of a step is done. all is 0 if nobody knows.
	Step(name string, done, all int)
}

// Binary is a program that records itself, ready to be run.
type Binary struct {
	Path      string // the executable
	Functions string // the table of its functions
	Entries   int    // ids of the table are below it
	Prepared  *instrument.Prepared
}

// Build instruments the program that o.Packages names, one package or files of one, and builds it. The executable goes to output; if
// that is empty, into the cache, where the next build of the same finds it. What the compiler has to say goes to errs.
func Build(ctx context.Context, o instrument.Options, output string, tell Teller, errs io.Writer) (*Binary, error) {
	if err := forThisMachine(ctx, o.Dir); err != nil {
		return nil, err
	}
	// What the go command leaves when it is interrupted at the wrong moment goes with this.
	tmp, err := os.MkdirTemp(os.Getenv("GOTMPDIR"), "pastcone-build-*")
	if err != nil {
		return nil, fmt.Errorf("a place to build in: %w; TMPDIR names another", err)
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // it is the system's to clear up
	o.TempDir = tmp
	prepared, err := prepare(ctx, o, tell)
	if err != nil {
		return nil, err
	}
	if asked := prepared.Asked; len(asked) != 1 || asked[0].Name != "main" {
		return nil, noProgram(o.Packages, asked)
	}
	b := &Binary{Path: output, Functions: prepared.Functions, Entries: prepared.FunctionsCount, Prepared: prepared}
	if b.Path == "" {
		if b.Path, err = cached(o, programName(o.Packages, prepared.Asked[0])); err != nil {
			return nil, err
		}
	}
	args := slices.Concat([]string{"build", "-v"}, prepared.Flags, []string{"-o", b.Path, "--"}, o.Packages)
	return b, compile(ctx, prepared, o, args, tell, errs)
}

// prepare instruments, and tells how it goes.
func prepare(ctx context.Context, o instrument.Options, tell Teller) (*instrument.Prepared, error) {
	o.Progress = tell.Step
	began := time.Now()
	p, err := instrument.Prepare(ctx, o)
	if err != nil && strings.Contains(err.Error(), "go.mod file not found") {
		dir, _ := filepath.Abs(o.Dir)
		return nil, fmt.Errorf("%s is in no module: change into the one that it belongs to, or make one: go mod init NAME", dir)
	}
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("to be recorded: %s of %s (looked at in %s)", count(p.Recorded, "function"), count(p.Packages, "package"), since(began))
	if p.LeftOutInlinable > 0 {
		text += fmt.Sprintf("; not %s that the compiler puts into callers (--inlinable records those, too)", count(p.LeftOutInlinable, "small function"))
	}
	tell.Say(text)
	for _, missing := range p.Missing {
		tell.Say("not recorded: " + missing)
	}
	return p, nil
}

// cached gives the executable its place in the cache: the same for the same package and flags, so that the go command
// sees that it is up to date.
func cached(o instrument.Options, name string) (string, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, text := range slices.Concat([]string{dir}, o.Packages, o.BuildFlags) {
		fmt.Fprintf(sum, "%d %s\n", len(text), text)
	}
	place := filepath.Join(o.CacheDir, "bin", hex.EncodeToString(sum.Sum(nil)[:8]))
	if err := os.MkdirAll(place, 0o700); err != nil {
		return "", err
	}
	return filepath.Join(place, name), nil
}

// majorVersion is the last element of an import path that says no more than which version of a module it is.
var majorVersion = regexp.MustCompile(`^v[0-9]+$`)

// programName is what go build would call the program.
func programName(packages []string, p instrument.AskedPackage) string {
	if strings.HasSuffix(packages[0], ".go") {
		return strings.TrimSuffix(filepath.Base(packages[0]), ".go")
	}
	name := path.Base(p.ImportPath)
	if before := path.Base(path.Dir(p.ImportPath)); majorVersion.MatchString(name) && before != "." && before != "/" {
		name = before
	}
	return name
}

// noProgram says why packages can not be run.
func noProgram(packages []string, asked []instrument.AskedPackage) error {
	if len(asked) == 1 {
		return fmt.Errorf("%s is package %s and no program: only a package main can be run; pastcone test %s records its tests", asked[0].ImportPath, asked[0].Name, packages[0])
	}
	return fmt.Errorf("%s: %s; one program is run at a time: name the directory or the import path of its package main", strings.Join(packages, " "), count(len(asked), "package"))
}

// forThisMachine refuses to build for another: a program is recorded by a Pastcone beside it, and this one is built for this machine.
func forThisMachine(ctx context.Context, dir string) error {
	c := exec.CommandContext(ctx, "go", "env", "GOOS", "GOARCH")
	c.Dir = dir
	out, err := c.Output()
	switch target := strings.Fields(string(out)); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("go env: %w: recording builds the program, so it needs Go (https://go.dev/dl)", err)
	case len(target) == 2 && (target[0] != runtime.GOOS || target[1] != runtime.GOARCH):
		return fmt.Errorf("GOOS and GOARCH ask for %s, and this is a pastcone for %s/%s: a program is recorded by a pastcone built for the same system and processor. "+
			"Unset them, or do this with a pastcone for %[1]s, where the program is to run", strings.Join(target, "/"), runtime.GOOS, runtime.GOARCH)
	}
	return nil
}

// compile runs the go command. Its -v names each package on a line of its own when it compiles it: that is the progress,
// the rest is for the user.
func compile(ctx context.Context, p *instrument.Prepared, o instrument.Options, args []string, tell Teller, errs io.Writer) error {
	began := time.Now()
	c := exec.CommandContext(ctx, p.GoCommand, args...) // #nosec G204 -- the go command, with the user's own flags
	instrument.EndGently(c)
	c.Dir, c.Env = o.Dir, append(os.Environ(), p.Env...)
	if o.TempDir != "" {
		c.Env = append(c.Env, "GOTMPDIR="+o.TempDir)
	}
	out := &compilerOutput{tell: tell, rest: errs}
	c.Stdout, c.Stderr = out, out // one pipe, so that one line is written at a time
	if err := c.Start(); err != nil {
		return fmt.Errorf("%s: %w: is Go installed?", p.GoCommand, err)
	}
	err := c.Wait()
	if len(out.line) > 0 {
		out.take(false)
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errors.New("the program does not build (see above); if it builds without us, please report it")
	}
	if out.compiled > 0 {
		tell.Say(fmt.Sprintf("built %s in %s", count(out.compiled, "package"), since(began)))
	}
	return nil
}

// compilerOutput tells the names of packages from all else that the go command says.
type compilerOutput struct {
	tell     Teller
	rest     io.Writer
	compiled int
	line     []byte // its beginning
	long     bool   // the line's beginning was too long to be kept
}

// Write takes a part of what is said.
func (o *compilerOutput) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		part, after, ended := bytes.Cut(rest, []byte{'\n'})
		o.line, rest = append(o.line, part...), after
		if ended {
			o.line = append(o.line, '\n')
		}
		if ended || len(o.line) > lineBytesMax {
			o.take(ended)
		}
	}
	return len(p), nil
}

func (o *compilerOutput) take(ended bool) {
	name := string(bytes.TrimSpace(o.line))
	if ended && !o.long && importPath.MatchString(name) {
		o.compiled++
		if name == "runtime" {
			o.tell.Say("building the standard library with the recorder in it: once for each Go version and set of flags; it is kept in Go's build cache, beside the plain one")
		}
		o.tell.Step("building: "+name, o.compiled, 0)
	} else {
		_, _ = o.rest.Write(o.line) // who does not want to hear it does not stop the build
	}
	o.line, o.long = o.line[:0], !ended
}

// lineBytesMax bounds what is looked at as a line.
const lineBytesMax = 64 << 10

// importPath is what -v says: nothing that the compiler has to complain of looks like it.
var importPath = regexp.MustCompile(`^[\w.~/@+-]+$`)

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}

func since(began time.Time) string {
	took := time.Since(began)
	if took < time.Second {
		return fmt.Sprintf("%d ms", took.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", took.Seconds())
}
