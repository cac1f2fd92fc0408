package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// pebble has the reference program put the same events into a key-value store. It is a module of its own (bench/reference), so that the
// project does not depend on that store.
func pebble(ctx context.Context, s settings) (map[string]float64, error) {
	program := filepath.Join(s.Dir, "reference")
	if _, err := os.Stat(program); err != nil {
		build := exec.CommandContext(ctx, "go", "build", "-C", filepath.Join("bench", "reference"), "-o", program, ".") // #nosec G204 -- ours
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("go build of bench/reference (run this in the root of the project): %w\n%s", err, out)
		}
	}
	run := exec.CommandContext(ctx, program, "-events", strconv.Itoa(s.Reference), "-dir", s.Dir) // #nosec G204 -- ours
	run.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", s.Procs))
	run.Stderr = os.Stderr
	out, err := run.Output()
	if err != nil {
		return nil, err
	}
	var got map[string]float64
	return got, json.Unmarshal(out, &got)
}
