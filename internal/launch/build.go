package launch

import (
	"bufio"
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

// Build instruments the one package of o.Packages and builds it. The executable goes to output; if that is empty, into
// the cache, where the next build of the same finds it. What the compiler has to say goes to errs.
func Build(ctx context.Context, o instrument.Options, output string, tell Teller, errs io.Writer) (*Binary, error) {
	if len(o.Packages) != 1 {
		return nil, fmt.Errorf("run and build take one package, not %d", len(o.Packages))
	}
	prepared, err := prepare(ctx, o, tell)
	if err != nil {
		return nil, err
	}
	b := &Binary{Path: output, Functions: prepared.Functions, Entries: prepared.FunctionsCount, Prepared: prepared}
	if b.Path == "" {
		if b.Path, err = cached(o); err != nil {
			return nil, err
		}
	}
	args := slices.Concat([]string{"build", "-v"}, prepared.Flags, []string{"-o", b.Path, "--"}, o.Packages)
	return b, compile(ctx, prepared, o.Dir, args, tell, errs)
}

// prepare instruments, and tells how it goes.
func prepare(ctx context.Context, o instrument.Options, tell Teller) (*instrument.Prepared, error) {
	o.Progress = tell.Step
	began := time.Now()
	p, err := instrument.Prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("%d functions of %d packages are recorded (looked at in %s)", p.Recorded, p.Packages, since(began))
	if p.LeftOutInlinable > 0 {
		text += fmt.Sprintf("; %d small ones are not, since the compiler puts them into their callers (--inlinable records them)", p.LeftOutInlinable)
	}
	tell.Say(text)
	for _, missing := range p.Missing {
		tell.Say("not recorded: " + missing)
	}
	return p, nil
}

// cached gives the executable its place in the cache: the same for the same package and flags, so that the go command
// sees that it is up to date.
func cached(o instrument.Options) (string, error) {
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
	name := path.Base(filepath.ToSlash(o.Packages[0]))
	if name == "." || name == ".." || name == "/" {
		name = filepath.Base(dir)
	}
	return filepath.Join(place, strings.TrimSuffix(name, ".go")), nil
}

// compile runs the go command. Its -v names each package on a line of its own when it compiles it: that is the progress,
// the rest is for the user.
func compile(ctx context.Context, p *instrument.Prepared, dir string, args []string, tell Teller, errs io.Writer) error {
	began := time.Now()
	c := exec.CommandContext(ctx, p.GoCommand, args...) // #nosec G204 -- the go command, with the user's own flags
	c.Dir, c.Env = dir, append(os.Environ(), p.Env...)
	c.Stdout = errs
	said, err := c.StderrPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return fmt.Errorf("%s: %w: is Go installed?", p.GoCommand, err)
	}
	compiled := 0
	lines := bufio.NewScanner(said)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !importPath.MatchString(lines.Text()) {
			fmt.Fprintln(errs, lines.Text())
			continue
		}
		compiled++
		if lines.Text() == "runtime" {
			tell.Say("building the standard library with the recorder in it: once for each Go version and set of flags; it is kept in Go's build cache, beside the plain one")
		}
		tell.Step("building: "+lines.Text(), compiled, 0)
	}
	_, _ = io.Copy(errs, said) // after a line that was too long
	if err := c.Wait(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errors.New("the program does not build (see above); if it builds without us, please report it")
	}
	if compiled > 0 {
		tell.Say(fmt.Sprintf("built %d packages in %s", compiled, since(began)))
	}
	return nil
}

// importPath is what -v says: nothing that the compiler has to complain of looks like it.
var importPath = regexp.MustCompile(`^[\w.~/@+-]+$`)

func since(began time.Time) string {
	took := time.Since(began)
	if took < time.Second {
		return fmt.Sprintf("%d ms", took.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", took.Seconds())
}
