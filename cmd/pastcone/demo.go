package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/pastcone/pastcone/examples/probed/shop"
	"github.com/pastcone/pastcone/internal/answer"
	"github.com/pastcone/pastcone/internal/config"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/server"
)

func newDemo(s *screen) *cobra.Command {
	var requests, clients int
	var seed uint64
	var serviceOf string
	var from settings
	c := &cobra.Command{
		Use:   "demo",
		Short: "Record a real service under load, and explain why one of its requests failed",
		Long: `Starts the engine, runs examples/probed as a process of its own (an HTTP service with a worker pool behind a queue, locks, pooled
connections and an intermittent error), puts it under load, records what it does, and explains why a request failed.`,
		Example: "  pastcone demo\n  pastcone demo --requests 20000 --seed 7",
		Args:    arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			load := shop.Config{Requests: requests, Clients: clients, Seed: seed, To: serviceOf, Wait: true}
			if serviceOf != "" {
				summary, err := shop.Run(c.Context(), load)
				if err != nil {
					return err
				}
				fmt.Fprintln(s.out, summary)
				return nil
			}
			set, err := from.load()
			if err != nil {
				return err
			}
			return demo(c.Context(), s, load, set)
		},
	}
	c.Flags().IntVar(&requests, "requests", 2500, "how many requests the load has")
	c.Flags().IntVar(&clients, "clients", 16, "how many clients send them")
	c.Flags().Uint64Var(&seed, "seed", 1, "what is ordered, and which calls are slow")
	c.Flags().StringVar(&serviceOf, "service-of", "", "be the service, and record to the engine at this address")
	_ = c.Flags().MarkHidden("service-of")
	from.bind(c)
	return c
}

// demoDrain bounds how long the engine may take to finish.
const demoDrain = 30 * time.Second

func demo(ctx context.Context, s *screen, load shop.Config, set *config.Settings) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := recorder.NewPlace("demo", time.Now())
	if err != nil {
		return err
	}
	options := recorder.FromSettings(set)
	options.Log = s.warnings()
	rec, err := recorder.Open(dir, options)
	if err != nil {
		return err
	}
	closed := false
	closeRec := func() error {
		if closed {
			return nil
		}
		closed = true
		within, cancel := rec.Ending(ctx, demoDrain, demoDrain)
		defer cancel()
		return rec.Close(within)
	}
	defer func() { err = errors.Join(err, closeRec()) }()

	sockets, err := os.MkdirTemp("", "pastcone-demo-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(sockets)
	address := "unix:" + filepath.Join(sockets, "engine.sock")
	listener, err := server.Listen(address)
	if err != nil {
		return err
	}
	srv, err := server.New(rec.ServerOptions())
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()

	fmt.Fprintf(s.err, "recording a checkout service under load: %d requests of %d clients, to %s\n", load.Requests, load.Clients, dir)
	began := time.Now()
	service := exec.CommandContext(ctx, self, "demo", "--service-of", address, // #nosec G204 -- ourselves
		"--requests", fmt.Sprint(load.Requests), "--clients", fmt.Sprint(load.Clients), "--seed", fmt.Sprint(load.Seed))
	service.Stderr = s.err
	said, err := service.Output()
	if err != nil {
		return fmt.Errorf("the service: %w", err)
	}
	fmt.Fprintf(s.err, "the service: %s", said)
	within, cancel := context.WithTimeout(ctx, demoDrain)
	defer cancel()
	err = srv.Shutdown(within)
	if serving := <-served; !errors.Is(serving, server.ErrClosed) {
		err = errors.Join(err, serving)
	}
	if err := errors.Join(err, closeRec()); err != nil {
		return err
	}
	books := rec.Books().All
	fmt.Fprintf(s.err, "recorded %d events in %.1f s, all durable; now: why did the last request fail?\n\n", books.Stored, time.Since(began).Seconds())

	a := &asking{s: s, q: answer.Question{Op: "why", Events: []string{"last:{ kind = error && background = false }"}}, timeout: set.Query.Deadline}
	return a.ask(ctx, dir)
}
