package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/server"
)

func newServe(s *screen) *cobra.Command {
	var listen []string
	var drain time.Duration
	c := &cobra.Command{
		Use:   "serve [REC]",
		Short: "Record what programs send, and answer while recording",
		Long: `Takes event batches and event lines over a unix socket and loopback TCP, acknowledges them when they are durable, and answers
questions while it records (pastcone why --server ADDRESS). Without REC it makes a new recording here. It listens
on loopback only: this version has no authentication.

It stops on SIGINT or SIGTERM: what was accepted is finished first.`,
		Example: `  pastcone serve
  pastcone serve --listen 127.0.0.1:7071 --listen unix:./pastcone.sock /var/lib/pastcone/orders
  pastcone import --to 127.0.0.1:7071 events.ndjson
  pastcone find --server 127.0.0.1:7071 '{ kind = error }'`,
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := ""
			if len(args) == 1 {
				dir = args[0]
			}
			return serve(c.Context(), s, dir, listen, drain)
		},
	}
	c.Flags().StringSliceVar(&listen, "listen", []string{"127.0.0.1:7071"}, "listen at this `ADDRESS`: HOST:PORT on loopback, or unix:PATH (can be given several times)")
	c.Flags().DurationVar(&drain, "drain", 30*time.Second, "on a stop, finish what was accepted within this time")
	return c
}

func serve(ctx context.Context, s *screen, dir string, listen []string, drain time.Duration) (err error) {
	if dir == "" {
		if dir, err = recorder.NewPlace("serve", time.Now()); err != nil {
			return err
		}
	}
	var listeners []net.Listener
	for _, address := range listen {
		l, err := server.Listen(address)
		if err != nil {
			for _, l := range listeners {
				_ = l.Close()
			}
			return usageError{err}
		}
		listeners = append(listeners, l)
	}
	log := slog.New(slog.NewTextHandler(s.err, nil))
	rec, err := recorder.Open(dir, recorder.Options{Log: log})
	if err != nil {
		return err
	}
	defer func() {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		err = errors.Join(err, rec.Close(within))
		if err == nil {
			fmt.Fprintf(s.err, "stopped; recorded in %s; ask: pastcone why %s\n", dir, dir)
		}
	}()
	srv, err := server.New(rec.ServerOptions())
	if err != nil {
		return err
	}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		fmt.Fprintf(s.err, "recording to %s, listening at %s\n", filepath.Clean(dir), l.Addr())
		go func() { failed <- srv.Serve(l) }()
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if errors.Is(err, server.ErrClosed) {
		err = nil
	}
	return errors.Join(err, srv.Shutdown(within))
}
