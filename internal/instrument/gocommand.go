package instrument

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// goCommand runs the go command as the user would: in his directory, with his environment and flags.
type goCommand struct {
	path  string
	dir   string
	env   []string // set beside the user's own
	tmp   string   // where it builds; "" is its own choice
	flags []string // build flags: the user's, without those that we set ourselves
}

// goEnvironment is what we need of "go env".
type goEnvironment struct {
	GOROOT, GOVERSION, GOMODCACHE, GOFLAGS, GOWORK, GOMOD, GOOS, GOARCH, CGO_ENABLED string
}

// outputBytesMax bounds what is kept of a go command's error output.
const outputBytesMax = 64 << 10

func (g *goCommand) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, g.path, args...) // #nosec G204 -- the go command, with the user's own flags
	EndGently(cmd)
	cmd.Dir = g.dir
	cmd.Env = append(os.Environ(), g.env...)
	if g.dir != "" {
		cmd.Env = append(cmd.Env, "PWD="+g.dir)
	}
	if g.tmp != "" {
		cmd.Env = append(cmd.Env, "GOTMPDIR="+g.tmp)
	}
	return cmd
}

// endsWithin is how long a command that is interrupted has until it is killed.
const endsWithin = 10 * time.Second

// EndGently makes the end of a command's context an interrupt, as if it was typed: the go command removes what it has begun, which
// it could not do when it was killed.
func EndGently(cmd *exec.Cmd) {
	cmd.WaitDelay = endsWithin
	cmd.Cancel = func() error {
		if err := cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return cmd.Process.Kill() // a system that can not interrupt
		}
		return nil
	}
}

// output runs a command and returns its standard output. The error has what it said on the other.
func (g *goCommand) output(ctx context.Context, args ...string) ([]byte, error) {
	cmd := g.command(ctx, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, g.failed(ctx, args, err, said.Bytes())
	}
	return out.Bytes(), nil
}

func (g *goCommand) failed(ctx context.Context, args []string, err error, said []byte) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text := strings.TrimSpace(string(said))
	if len(text) > outputBytesMax {
		text = text[:outputBytesMax] + " …"
	}
	if _, ran := errors.AsType[*exec.ExitError](err); ran && text != "" {
		return fmt.Errorf("go %s: %s", args[0], text)
	}
	return fmt.Errorf("go %s: %w: is Go installed, and %s its command?", args[0], err, g.path)
}

func (g *goCommand) environment(ctx context.Context) (goEnvironment, error) {
	var env goEnvironment
	out, err := g.output(ctx, "env", "-json", "GOROOT", "GOVERSION", "GOMODCACHE", "GOFLAGS", "GOWORK", "GOMOD", "GOOS", "GOARCH", "CGO_ENABLED")
	if err != nil {
		return env, err
	}
	if err := json.Unmarshal(out, &env); err != nil {
		return env, fmt.Errorf("go env: %w", err)
	}
	return env, nil
}

// cutFlag splits -name=value and --name=value; of anything else that is no flag the name is empty.
func cutFlag(f string) (name, value string, has bool) {
	rest, ok := strings.CutPrefix(f, "-")
	if !ok {
		return "", "", false
	}
	return strings.Cut(strings.TrimPrefix(rest, "-"), "=")
}

// withoutCoverage returns the flags without those that ask for coverage.
func withoutCoverage(flags []string) []string {
	flags = slices.DeleteFunc(slices.Clone(flags), func(f string) bool { n, _, _ := cutFlag(f); return n == "cover" })
	return withoutFlag(withoutFlag(flags, "covermode"), "coverpkg")
}

// flagValue finds the value of a flag that takes one: the last counts. It takes -name=value and -name value.
func flagValue(flags []string, name string) (string, bool) {
	value, found := "", false
	for i, f := range flags {
		switch n, v, has := cutFlag(f); {
		case n != name:
		case has:
			value, found = v, true
		case i+1 < len(flags):
			value, found = flags[i+1], true
		}
	}
	return value, found
}

// flagSet says whether a flag without a value is set.
func flagSet(flags []string, name string) bool {
	return slices.ContainsFunc(flags, func(f string) bool {
		n, v, has := cutFlag(f)
		return n == name && (!has || v != "false" && v != "0")
	})
}

// withoutFlag returns the flags without one that takes a value.
func withoutFlag(flags []string, name string) []string {
	var rest []string
	for i := 0; i < len(flags); i++ {
		n, _, has := cutFlag(flags[i])
		if n == name {
			if !has {
				i++
			}
			continue
		}
		rest = append(rest, flags[i])
	}
	return rest
}
