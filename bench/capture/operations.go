package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pastcone/pastcone/internal/instrument"
	"github.com/pastcone/pastcone/internal/source/capture"
)

// operation is one thing that program operations does, so many times.
type operation struct {
	name  string
	times int
}

var operationsMeasured = []operation{
	{"call", 2_000_000}, {"call+error", 2_000_000}, {"buffered", 2_000_000}, {"unbuffered", 500_000}, {"select", 500_000}, {"mutex", 2_000_000},
	{"rwmutex", 2_000_000}, {"go", 300_000},
}

// operations measures all of them in turns: stock, off, and recorded, into a flight recorder, which is the program's cost without the
// collector's share of the caches, and drained, with it. No function is silenced.
func (m *measurement) operations(ctx context.Context) error {
	stock, recordable := filepath.Join(m.scratch, "operations-stock"), filepath.Join(m.scratch, "operations-recorded")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", stock, "./bench/capture/operations").CombinedOutput(); err != nil { // #nosec G204 -- ours
		return fmt.Errorf("go build (run this in the root of the project): %w\n%s", err, out)
	}
	prepared, err := instrument.Prepare(ctx, instrument.Options{Packages: []string{"./bench/capture/operations"}, CacheDir: filepath.Join(m.scratch, "cache")})
	if err != nil {
		return err
	}
	build := exec.CommandContext(ctx, prepared.GoCommand, slices.Concat([]string{"build", "-o", recordable}, prepared.Flags, []string{"./bench/capture/operations"})...) // #nosec G204 -- the go command
	build.Env = append(os.Environ(), prepared.Env...)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building operations: %w\n%s", err, out)
	}
	reference := filepath.Join(m.scratch, "reference")
	if out, err := exec.CommandContext(ctx, "go", "build", "-C", filepath.Join("bench", "capture", "reference"), "-o", reference, ".").CombinedOutput(); err != nil { // #nosec G204 -- ours
		return fmt.Errorf("go build of bench/capture/reference: %w\n%s", err, out)
	}
	for round := range m.rounds {
		got, err := plain(ctx, "", reference)
		if err != nil {
			return err
		}
		var others map[string]float64
		if err := json.Unmarshal([]byte(got.Output), &others); err != nil {
			return err
		}
		for name, nanos := range others {
			m.add("operations: "+name, nanos)
		}
		for _, o := range operationsMeasured {
			for _, how := range []string{"stock", "off", "on", "drained"} {
				program := []string{stock, o.name, strconv.Itoa(o.times)}
				if how != "stock" {
					program[0] = recordable
				}
				var c cost
				if how == "stock" || how == "off" {
					c, err = plain(ctx, "", program...)
				} else {
					policy := capture.Overwrite
					if how == "drained" {
						policy = capture.Block
					}
					c, err = recorded{Program: program, Functions: prepared.Functions, Entries: prepared.FunctionsCount, Policy: policy, Budget: -1, Scratch: m.scratch}.run(ctx)
				}
				if err != nil {
					return err
				}
				// What is not recorded costs nothing: an operation leaves a record at least, locks aside.
				if how == "drained" && !strings.Contains(o.name, "mutex") && c.Records < uint64(7*o.times) { // #nosec G115 -- positive
					return fmt.Errorf("%s: only %d records", o.name, c.Records)
				}
				var r struct{ Nanos, Allocations float64 }
				if err := json.NewDecoder(strings.NewReader(c.Output)).Decode(&r); err != nil {
					return fmt.Errorf("%v printed %q: %w", program, c.Output, err)
				}
				m.add("operations: "+o.name+": "+how, r.Nanos)
				m.add("operations: "+o.name+": "+how+": allocations", r.Allocations)
			}
		}
		m.note("operations: round %d of %d", round+1, m.rounds)
	}
	return nil
}
