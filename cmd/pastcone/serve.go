package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pastcone/pastcone/internal/config"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/server"
)

func newServe(s *screen) *cobra.Command {
	from := &settings{}
	c := &cobra.Command{
		Use:   "serve [REC]",
		Short: "Record what programs send, and answer while recording",
		Long: `Takes event batches and event lines over a unix socket and loopback TCP, acknowledges them when they are durable, and answers
questions while it records (pastcone why --server ADDRESS). Without REC it makes a new recording here. It listens
on loopback only: this version has no authentication.

Settings (docs/settings.md) come from the file of --config, from variables, as PASTCONE_STORE_COMMIT_INTERVAL, and from flags. On
SIGHUP they are read again, and what may change while it runs does.

It stops on SIGINT or SIGTERM: what was accepted is finished first.`,
		Example: `  pastcone serve
  pastcone serve --listen 127.0.0.1:7071 --listen unix:./pastcone.sock /var/lib/pastcone/orders
  pastcone serve --config pastcone.yaml --retain-age-max 30d
  pastcone import --to 127.0.0.1:7071 events.ndjson
  pastcone find --server 127.0.0.1:7071 '{ kind = error }'`,
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := ""
			if len(args) == 1 {
				dir = args[0]
			}
			return serve(c.Context(), s, dir, from)
		},
	}
	from.bind(c)
	config.BindFlag(c.Flags(), "listen", "server.listen")
	config.BindFlag(c.Flags(), "drain", "drain.deadline")
	config.BindFlag(c.Flags(), "memory", "memory.bytes_max")
	var others []string
	for _, d := range config.Describe() {
		if d.Key != "server.listen" && d.Key != "drain.deadline" && d.Key != "memory.bytes_max" {
			others = append(others, d.Key)
		}
	}
	config.BindFlags(c.Flags(), others...)
	return c
}

// listen opens all addresses, or none.
func listen(addresses []string) (all []net.Listener, err error) {
	if len(addresses) == 0 {
		return nil, usagef("server.listen is empty: there is no address to listen at")
	}
	for _, address := range addresses {
		l, err := server.Listen(address)
		if err != nil {
			for _, l := range all {
				_ = l.Close()
			}
			return nil, usageError{err}
		}
		all = append(all, l)
	}
	return all, nil
}

func serve(ctx context.Context, s *screen, dir string, from *settings) (err error) {
	first, err := from.load()
	if err != nil {
		return err
	}
	live, err := config.NewLive(first)
	if err != nil {
		return err
	}
	if dir == "" {
		if dir, err = recorder.NewPlace("serve", time.Now()); err != nil {
			return err
		}
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	listeners, err := listen(first.Server.Listen)
	if err != nil {
		return err
	}
	options := recorder.FromSettings(first)
	options.Log = slog.New(slog.NewTextHandler(s.err, nil))
	options.LimitMemory()
	rec, err := recorder.Open(dir, options)
	if err != nil {
		for _, l := range listeners {
			_ = l.Close()
		}
		return err
	}
	drain := func() (context.Context, context.CancelFunc) {
		return rec.Ending(ctx, live.Load().Drain.Deadline, live.Load().Drain.Deadline)
	}
	defer func() {
		within, cancel := drain()
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
	for running := true; running; {
		select {
		case <-again:
			reload(s, from, live, rec)
		case err = <-failed:
			running = false
		case <-ctx.Done():
			running = false
		}
	}
	within, cancel := drain()
	defer cancel()
	if errors.Is(err, server.ErrClosed) {
		err = nil
	}
	return errors.Join(err, srv.Shutdown(within))
}

// reload reads the settings again. All that can change does, or nothing.
func reload(s *screen, from *settings, live *config.Live, rec *recorder.Recorder) {
	before := live.Load()
	next, err := from.load()
	if err == nil {
		err = live.Store(next)
	}
	if err == nil {
		err = rec.Use(next)
	}
	if err != nil {
		fmt.Fprintf(s.err, "the settings stay as they are: %v\n", err)
		return
	}
	var changed []string
	for i, v := range next.Values() {
		if v != before.Values()[i] {
			changed = append(changed, v.Key+" is "+v.Value)
		}
	}
	if len(changed) == 0 {
		changed = []string{"they are as before"}
	}
	fmt.Fprintf(s.err, "the settings were read again: %s\n", strings.Join(changed, ", "))
}
