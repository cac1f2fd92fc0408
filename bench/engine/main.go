package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"
)

// settings are what the command line says. They are handed to the children as JSON.
type settings struct {
	Events    int           // of the recording
	Runs      int           // of everything; the table has medians
	Reference int           // events that Pebble gets
	Paced     time.Duration // at 1 M/s
	Sustained time.Duration // at the plan's 10,000/s
	Burst     time.Duration // at the plan's 20,000/s
	Lines     int           // event lines
	Procs     int
	Batch     int // events in a batch; 0: as many as the recorder asks for
	Dir       string
	Profile   string // where each measurement writes its CPU profile, with its name behind; "" is none
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	s := settings{}
	quick := flag.Bool("quick", false, "2 M events, one run, short: a smoke test")
	write := flag.Bool("write", false, "keep the table in bench/results")
	strict := flag.Bool("strict", false, "fail when a promise is not kept")
	only := flag.String("only", "", "comma-separated measurements, instead of all; see the README")
	role := flag.String("measure", "", "internal: be the process of one measurement, with its settings on standard input")
	flag.IntVar(&s.Events, "events", 20_000_000, "events of the recording")
	flag.IntVar(&s.Runs, "runs", 3, "runs of everything: the table has medians")
	flag.IntVar(&s.Reference, "reference-events", 1_000_000, "events that Pebble gets")
	flag.DurationVar(&s.Paced, "paced", 10*time.Second, "how long events come at 1 M/s")
	flag.DurationVar(&s.Sustained, "sustained", 20*time.Second, "how long events come at the plan's 10,000/s (the plan: 10m)")
	flag.DurationVar(&s.Burst, "burst", 10*time.Second, "how long events come at the plan's 20,000/s (the plan: 30s)")
	flag.IntVar(&s.Lines, "lines", 2_000_000, "event lines that are read")
	flag.IntVar(&s.Procs, "procs", min(2, runtime.NumCPU()), "cores to use")
	flag.IntVar(&s.Batch, "batch", 0, "events in a batch; 0: as many as the recorder asks for")
	flag.StringVar(&s.Dir, "dir", "", "where recordings are made; a temporary directory")
	flag.StringVar(&s.Profile, "cpuprofile", "", "profile each measurement into a file of this name and its own")
	flag.Parse()
	if *role != "" {
		return serve(*role)
	}
	if *quick {
		set := map[string]bool{}
		flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
		for name, shorten := range map[string]func(){
			"events": func() { s.Events = 2_000_000 }, "runs": func() { s.Runs = 1 },
			"reference-events": func() { s.Reference = 200_000 }, "lines": func() { s.Lines = 300_000 },
			"paced": func() { s.Paced = 3 * time.Second }, "sustained": func() { s.Sustained = 3 * time.Second },
			"burst": func() { s.Burst = 2 * time.Second },
		} {
			if !set[name] {
				shorten()
			}
		}
	}
	if s.Runs < 1 || s.Events < 100_000 {
		return errors.New("at least one run of 100,000 events")
	}
	if s.Profile != "" {
		path, err := filepath.Abs(s.Profile)
		if err != nil {
			return err
		}
		s.Profile = path
	}
	dir, err := os.MkdirTemp(s.Dir, "pastcone-bench-")
	if err != nil {
		return err
	}
	s.Dir = dir
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	begin, loadBefore := time.Now(), load()
	all := figures{}
	for n := range s.Runs {
		for _, m := range measurements {
			if *only != "" && !strings.Contains(","+*only+",", ","+m.name+",") {
				continue
			}
			fmt.Fprintf(os.Stderr, "run %d of %d: %s\n", n+1, s.Runs, m.name)
			got, err := m.run(ctx, s)
			if err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			all.add(got)
		}
	}
	t := &table{s: s, figures: all, took: time.Since(begin), machine: machine(dir), loads: [2]string{loadBefore, load()}}
	t.judge()
	fmt.Print(t.text())
	if *write {
		path := filepath.Join("bench", "results", begin.UTC().Format("2006-01-02")+"-engine.md")
		if err := os.WriteFile(path, []byte(t.text()), 0o600); err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "written to", path)
	}
	if *strict && t.short > 0 {
		return fmt.Errorf("%d of %d promises are not kept", t.short, t.promised)
	}
	return nil
}

// measurement is one step of a run.
type measurement struct {
	name  string
	run   func(ctx context.Context, s settings) (map[string]float64, error)
	child func(s settings) (map[string]float64, error) // what the process does
}

// measurements are made in this order: later ones use the recordings that earlier ones leave behind.
var measurements []measurement

func init() { // breaks the cycle through serve
	measurements = []measurement{
		{name: "generator", child: generator},
		{name: "record", child: record},
		{name: "record-one-core", child: record},
		{name: "baseline", child: baseline},
		{name: "correlate", child: correlating},
		{name: "one-stream", child: oneStream},
		{name: "short-streams", child: manyStreams},
		{name: "paced", child: paced},
		{name: "plan-rates", child: planRates},
		{name: "ask", child: ask},
		{name: "kill", run: kill},
		{name: "reopen", child: reopen},
		{name: "handoff", child: handoff},
		{name: "lines", child: lines},
		{name: "trace", child: traces},
		{name: "workers", child: workers},
		{name: "pebble", run: pebble},
	}
	for i := range measurements {
		m := &measurements[i]
		if m.run == nil {
			m.run = func(ctx context.Context, s settings) (map[string]float64, error) { return inProcess(ctx, m.name, s) }
		}
	}
}

// cores gives how many a measurement gets.
func cores(name string, s settings) int {
	if name == "record-one-core" {
		return 1
	}
	return s.Procs
}

// command is a measurement's process, its settings on its way.
func command(ctx context.Context, name string, s settings) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	given, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-measure", name) // #nosec G204 -- itself
	cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", cores(name, s)))
	cmd.Stdin, cmd.Stderr = bytes.NewReader(given), os.Stderr
	return cmd, nil
}

// inProcess has a measurement made by a process of its own.
func inProcess(ctx context.Context, name string, s settings) (map[string]float64, error) {
	cmd, err := command(ctx, name, s)
	if err != nil {
		return nil, err
	}
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var got map[string]float64
	if err := json.Unmarshal(out, &got); err != nil {
		return nil, fmt.Errorf("its answer: %w", err)
	}
	return got, nil
}

// serve is the child's side of inProcess.
func serve(name string) error {
	var s settings
	if err := json.NewDecoder(os.Stdin).Decode(&s); err != nil {
		return err
	}
	if name == killed {
		return writeUntilKilled(s)
	}
	for _, m := range measurements {
		if m.name != name {
			continue
		}
		if s.Profile != "" {
			f, err := os.Create(s.Profile + "." + name)
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			if err := pprof.StartCPUProfile(f); err != nil {
				return err
			}
			defer pprof.StopCPUProfile()
		}
		got, err := m.child(s)
		if err != nil {
			return err
		}
		if name == "record-one-core" {
			one := map[string]float64{}
			for key, v := range got {
				one["one core: "+key] = v
			}
			got = one
		}
		return json.NewEncoder(os.Stdout).Encode(got)
	}
	return fmt.Errorf("there is no measurement %q", name)
}
