package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// builds compares the plain build with "pastcone build", each into a build cache of its own that is empty, and again with nothing changed.
func (m *measurement) builds(ctx context.Context) error {
	root, err := natsCopy(ctx, m.scratch)
	if err != nil {
		return err
	}
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	pastcone := filepath.Join(m.scratch, "pastcone")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", pastcone, "./cmd/pastcone").CombinedOutput(); err != nil { // #nosec G204 -- ours
		return fmt.Errorf("go build (run this in the root of the project): %w\n%s", err, out)
	}
	for _, p := range []struct{ name, dir, pkg string }{{"shop", here, "./examples/checkout"}, {"nats-server", root, "."}} {
		for range m.rounds {
			empty, err := os.MkdirTemp(m.scratch, "caches")
			if err != nil {
				return err
			}
			run := func(cache string, command ...string) (time.Duration, float64, error) {
				cmd := exec.CommandContext(ctx, command[0], command[1:]...) // #nosec G204 -- ours
				cmd.Dir, cmd.Env = p.dir, append(os.Environ(), "GOCACHE="+filepath.Join(empty, cache))
				began := time.Now()
				if out, err := cmd.CombinedOutput(); err != nil {
					return 0, 0, fmt.Errorf("%v: %w\n%s", command, err, out)
				}
				return time.Since(began), (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
			}
			binary := filepath.Join(empty, "binary")
			wall, used, err := run("plain", "go", "build", "-o", binary, p.pkg)
			if err != nil {
				return err
			}
			ours := []string{pastcone, "build", "--cache", filepath.Join(empty, "pastcone"), "-o", binary + "-recorded", p.pkg}
			first, firstUsed, err := run("recorded", ours...)
			if err != nil {
				return err
			}
			again, _, err := run("recorded", ours...)
			if err != nil {
				return err
			}
			m.add("build: "+p.name+": stock", wall.Seconds())
			m.add("build: "+p.name+": first", first.Seconds())
			m.add("build: "+p.name+": ratio", first.Seconds()/wall.Seconds())
			m.add("build: "+p.name+": processor", firstUsed/used)
			m.add("build: "+p.name+": again", again.Seconds())
			m.note("build of %s: plain %.1f s (processor %.1f s), recorded %.1f s (%.1f s), again %.2f s", p.name, wall.Seconds(), used, first.Seconds(), firstUsed, again.Seconds())
			if err := os.RemoveAll(empty); err != nil {
				return err
			}
		}
	}
	return nil
}

// demo runs "go run ./cmd/pastcone demo" from a clone, with empty caches, and again.
func (m *measurement) demo(ctx context.Context) error {
	home, err := os.MkdirTemp(m.scratch, "fresh")
	if err != nil {
		return err
	}
	clone := filepath.Join(home, "pastcone")
	if out, err := exec.CommandContext(ctx, "git", "clone", "-q", ".", clone).CombinedOutput(); err != nil { // #nosec G204 -- ours
		return fmt.Errorf("git clone: %w\n%s", err, out)
	}
	for _, name := range []string{"demo: first", "demo: again"} {
		cmd := exec.CommandContext(ctx, "go", "run", "./cmd/pastcone", "demo")
		cmd.Dir = clone
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME=", "XDG_DATA_HOME=", "XDG_STATE_HOME=", "GOCACHE="+filepath.Join(home, "build"),
			"GOMODCACHE="+filepath.Join(home, "modules"), "GOFLAGS=-modcacherw -buildvcs=false")
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", name, err, out)
		}
		m.add(name, time.Since(began).Seconds())
		m.note("%s: %.1f s", name, time.Since(began).Seconds())
	}
	return os.RemoveAll(home)
}
