package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/examples/probed/shop"
	"github.com/pastcone/pastcone/internal/oracle"
	"github.com/pastcone/pastcone/internal/oracle/program"
	"github.com/pastcone/pastcone/internal/oracle/trial"
)

// realTimeMax bounds a run of the real program.
const realTimeMax = 2 * time.Minute

// measureReal runs the example service under load, correlates what it recorded of itself, holds the result
// against the oracle, and scores it by the request ids that the service wrote.
func measureReal(w io.Writer, requests int) error {
	dir, err := os.MkdirTemp("", "accuracy")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a directory of our own
	file := filepath.Join(dir, "events.ndjson")
	ctx, cancel := context.WithTimeout(context.Background(), realTimeMax)
	defer cancel()
	summary, err := shop.Run(ctx, shop.Config{Requests: requests, Seed: 1, Events: file, Wait: true})
	if err != nil {
		return fmt.Errorf("examples/probed: %w", err)
	}
	fmt.Fprintf(w, "\nthe real program, examples/probed: %v\n", summary)
	events, err := readLines(file)
	if err != nil {
		return err
	}
	truth, err := oracle.Correlate(events)
	if err != nil {
		return err
	}
	course := trial.Course{Order: trial.StreamWise, Lateness: time.Second, BatchMax: 256}
	out, err := trial.Correlate(course, program.Arrive(program.Seeded(1), false, course.BatchMax, events))
	if err != nil {
		return err
	}
	r := oracle.Judge(truth, out.Results, nil)
	s := newScore()
	for i := range out.Results {
		if err := s.add(&out.Results[i].Event); err != nil {
			return err
		}
	}
	if err := s.compare(); err != nil {
		return err
	}
	s.print(w)
	fmt.Fprintf(w, "against the oracle: right parents %s, correlations %s, edges %s; labelled exact: parents %s, correlations %s\n",
		percent(r.Parents), percent(r.Correlations), percent(r.AllEdges), percent(r.ExactParents), percent(r.ExactCorrelations))
	if !r.Fine() {
		return fmt.Errorf("examples/probed: %d differences from the oracle\n%v", r.Wrong, r)
	}
	return nil
}

// readLines reads event lines without results.
func readLines(path string) (events []event.Event, err error) {
	text, err := os.ReadFile(path) // #nosec G304 -- a file of our own
	if err != nil {
		return nil, err
	}
	for n, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		e, err := event.ParseLine(line)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, n+1, err)
		}
		events = append(events, e)
	}
	return events, nil
}
