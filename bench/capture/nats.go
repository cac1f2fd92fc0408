package main

import (
	"context"
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

const (
	natsModule  = "github.com/nats-io/nats-server/v2"
	natsVersion = "v2.15.2"
)

// natsBenchmark is one of nats-server's own, done so many times.
type natsBenchmark struct {
	name, pattern string
	times         int
}

// natsBenchmarks are of package test, which speaks the protocol itself, so that all but a few percent of what is measured is the server:
// one client that publishes and receives, two queue subscribers, fan-out to a hundred subscribers over ten connections, and messages
// over a route between two servers.
var natsBenchmarks = []natsBenchmark{
	{"publish, subscribe", "^Benchmark_____________PubSub$", 3_000_000},
	{"two queue subscribers", "^Benchmark_____PubTwoQueueSub$", 3_000_000},
	{"fan-out 8 × 10 × 100", "^Benchmark____FanOut_8x10x100$", 10_000},
	{"route, 1 KiB", "^Benchmark____RoutedPubSub_1K$", 500_000},
}

func (b natsBenchmark) arguments(share float64) []string {
	return []string{
		"-test.run=^$", "-test.bench=" + b.pattern, "-test.benchtime=" + strconv.Itoa(max(1, int(float64(b.times)*share))) + "x", "-test.timeout=5m",
	}
}

// natsWay is a way to record it.
type natsWay struct {
	name      string
	inlinable bool
	budget    int
	policy    capture.Policy
	engine    bool
	off       bool
	goal, aim float64 // how much slower
}

var natsWays = []natsWay{
	{name: "off", off: true},
	{name: "default", budget: capture.CallsPerSecondMaxDefault, goal: 1.5},
	{name: "live", budget: capture.CallsPerSecondMaxDefault, engine: true},
	{name: "every call that is not inlined", budget: -1},
	{name: "everything", inlinable: true, budget: -1, goal: 2.7, aim: 2},
	{name: "overwrite", budget: capture.CallsPerSecondMaxDefault, policy: capture.Overwrite, goal: 1.5, aim: 1.2},
}

// natsBinary is nats-server's package test, built in one way.
type natsBinary struct {
	path     string
	dir      string // where it runs
	prepared *instrument.Prepared
}

// natsCopy puts nats-server's source, as its module has it, into a directory, where it is a main module.
func natsCopy(ctx context.Context, dir string) (string, error) {
	at := filepath.Join(dir, "nats-server")
	if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
		return at, nil
	}
	download := exec.CommandContext(ctx, "go", "mod", "download", "-json", natsModule+"@"+natsVersion)
	download.Dir = dir
	out, err := download.Output()
	if err != nil {
		return "", fmt.Errorf("go mod download %s@%s: %w", natsModule, natsVersion, err)
	}
	_, rest, _ := strings.Cut(string(out), `"Dir": "`)
	from, _, found := strings.Cut(rest, `"`)
	if !found {
		return "", fmt.Errorf("go mod download %s@%s does not say where it is:\n%s", natsModule, natsVersion, out)
	}
	if err := os.CopyFS(at, os.DirFS(from)); err != nil {
		return "", err
	}
	// What comes from the module cache can not be written.
	return at, filepath.WalkDir(at, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o755) // #nosec G302 -- a source tree
		}
		return err
	})
}

func buildNats(ctx context.Context, root, scratch, name string, recorded, inlinable bool) (natsBinary, error) {
	b := natsBinary{path: filepath.Join(scratch, "nats-"+name+".test"), dir: filepath.Join(root, "test")}
	command, flags, env := "go", []string(nil), os.Environ()
	if recorded {
		var err error
		b.prepared, err = instrument.Prepare(ctx, instrument.Options{
			Dir: root, Packages: []string{"./test"}, Test: true, Inlinable: inlinable, CacheDir: filepath.Join(scratch, "cache"),
		})
		if err != nil {
			return b, err
		}
		command, flags, env = b.prepared.GoCommand, b.prepared.Flags, append(env, b.prepared.Env...)
	}
	build := exec.CommandContext(ctx, command, slices.Concat([]string{"test", "-c", "-o", b.path}, flags, []string{"./test"})...) // #nosec G204 -- the go command
	build.Dir, build.Env = root, env
	if out, err := build.CombinedOutput(); err != nil {
		return b, fmt.Errorf("building nats-server: %w\n%s", err, out)
	}
	return b, nil
}

// nats measures all ways in turns.
func (m *measurement) nats(ctx context.Context) error {
	root, err := natsCopy(ctx, m.scratch)
	if err != nil {
		return err
	}
	stock, err := buildNats(ctx, root, m.scratch, "stock", false, false)
	if err != nil {
		return err
	}
	some, err := buildNats(ctx, root, m.scratch, "recorded", true, false)
	if err != nil {
		return err
	}
	all, err := buildNats(ctx, root, m.scratch, "everything", true, true)
	if err != nil {
		return err
	}
	m.add("nats: functions, recorded", float64(some.prepared.Recorded))
	m.add("nats: functions, all", float64(all.prepared.Recorded))
	for round := range m.rounds {
		for _, b := range natsBenchmarks {
			if m.pattern != "" && !strings.Contains(b.name, m.pattern) {
				continue
			}
			plainly, err := m.patient(func() (cost, error) {
				return plain(ctx, stock.dir, append([]string{stock.path}, b.arguments(m.share)...)...)
			})
			if err != nil {
				return err
			}
			base, err := nanosPerOperation(plainly.Output)
			if err != nil {
				return err
			}
			m.add("nats: "+b.name+": stock: ns", base)
			m.note("nats round %d: %s: stock %.0f ns, processor %.2f s of %.2f s", round, b.name, base, plainly.Program.Seconds(), plainly.Wall.Seconds())
			for _, w := range natsWays {
				if m.way != "" && w.name != m.way {
					continue
				}
				of := some
				if w.inlinable {
					of = all
				}
				if err := m.natsRun(ctx, b, w, of, base, plainly); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (m *measurement) natsRun(ctx context.Context, b natsBenchmark, w natsWay, of natsBinary, base float64, stock cost) error {
	program := append([]string{of.path}, b.arguments(m.share)...)
	c, err := m.patient(func() (cost, error) {
		if w.off {
			return plain(ctx, of.dir, program...)
		}
		return recorded{
			Program: program, Dir: of.dir, Functions: of.prepared.Functions, Entries: of.prepared.FunctionsCount,
			Policy: w.policy, Budget: w.budget, Engine: w.engine, Scratch: m.scratch,
		}.run(ctx)
	})
	if err != nil {
		return err
	}
	nanos, err := nanosPerOperation(c.Output)
	if err != nil {
		return err
	}
	name := "nats: " + b.name + ": " + w.name + ": "
	m.add(name+"slower", nanos/base)
	m.add(name+"processor", c.both()/float64(stock.Program))
	m.add(name+"records", float64(c.Records))
	m.add(name+"lost", float64(c.Lost))
	m.add(name+"silenced", float64(c.Silenced))
	m.add(name+"says", c.Share)
	m.note("    %-10s %.2f × slower, %.2f × processor time (program %.2f s, recorder %.2f s, after %.2f s), %.1f M records (%.1f an operation), %.1f B each, %d silenced, waited %v, lost %d; says %.0f %%, is %.0f %%",
		w.name, nanos/base, c.both()/float64(stock.Program), c.Program.Seconds(), c.Recorder.Seconds(), c.After.Seconds(), float64(c.Records)/1e6, float64(c.Records)/(float64(b.times)*m.share),
		float64(c.Bytes)/float64(max(c.Records, 1)), c.Silenced, c.Blocked, c.Lost, 100*c.Share, 100*(1-float64(stock.Program)/float64(c.Program)))
	return nil
}

// patient runs a benchmark again that gave up waiting for messages: those over a route do so now and then, as they are, too, when they
// publish before the other server knows of the subscription.
func (m *measurement) patient(run func() (cost, error)) (c cost, err error) {
	for range 5 {
		if c, err = run(); err == nil || !strings.Contains(err.Error(), "i/o timeout") {
			break
		}
		m.note("    (it gave up waiting for messages; once more)")
	}
	return c, err
}

// nanosPerOperation reads what a benchmark printed.
func nanosPerOperation(output string) (float64, error) {
	for line := range strings.Lines(output) {
		f := strings.Fields(line)
		if at := slices.Index(f, "ns/op"); at > 0 && strings.HasPrefix(line, "Benchmark") {
			return strconv.ParseFloat(f[at-1], 64)
		}
	}
	return 0, fmt.Errorf("the benchmark printed no time:\n%s", output)
}
