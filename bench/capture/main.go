package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// measurement is what was measured so far.
type measurement struct {
	scratch string
	rounds  int
	share   float64
	pattern string
	way     string
	figures map[string][]float64
}

func (m *measurement) add(name string, v float64) { m.figures[name] = append(m.figures[name], v) }

// note tells how it goes.
func (m *measurement) note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// spread gives the least and the most of a figure.
func (m *measurement) spread(name string) (least, most float64) {
	return slices.Min(m.figures[name]), slices.Max(m.figures[name])
}

// median gives a figure; false if it was not measured.
func (m *measurement) median(name string) (float64, bool) {
	all := slices.Sorted(slices.Values(m.figures[name]))
	if len(all) == 0 {
		return 0, false
	}
	return all[len(all)/2], true
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if len(os.Args) == 3 && os.Args[1] == recordCommand {
		err = record(ctx, os.Args[2])
	} else {
		err = run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "capture:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	m := &measurement{figures: map[string][]float64{}}
	flag.StringVar(&m.scratch, "dir", "", "work in this `DIR`, and leave there what was built")
	flag.IntVar(&m.rounds, "rounds", 5, "rounds of each comparison")
	flag.Float64Var(&m.share, "share", 1, "do this share of nats-server's benchmarks")
	flag.StringVar(&m.pattern, "bench", "", "of nats-server's benchmarks only those whose name has this in it")
	flag.StringVar(&m.way, "way", "", "record nats-server in this way only")
	only := flag.String("only", "operations,nats,builds,demo", "what to measure")
	write := flag.String("write", "", "write the table into this `FILE`, too")
	flag.Parse()
	if m.scratch == "" {
		if m.scratch, err = os.MkdirTemp("", "bench-capture"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(m.scratch)) }()
	} else if m.scratch, err = filepath.Abs(m.scratch); err != nil {
		return err
	}
	began, before := time.Now(), load()
	parts := map[string]func(context.Context) error{"operations": m.operations, "nats": m.nats, "builds": m.builds, "demo": m.demo}
	for name := range strings.SplitSeq(*only, ",") {
		part := parts[name]
		if part == nil {
			return fmt.Errorf("-only %s: it is operations, nats, builds or demo", name)
		}
		if err := part(ctx); err != nil {
			return err
		}
	}
	text := m.text(before, time.Since(began))
	fmt.Print(text)
	if *write != "" {
		return os.WriteFile(*write, []byte(text), 0o644) // #nosec G306 -- a report for everybody
	}
	return nil
}
