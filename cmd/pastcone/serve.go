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
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pastcone/pastcone/internal/access"
	"github.com/pastcone/pastcone/internal/config"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/server/monitor"
)

func newServe(s *screen) *cobra.Command {
	from := &settings{}
	c := &cobra.Command{
		Use:   "serve [REC]",
		Short: "Record what programs send, and answer while recording",
		Long: `Takes event batches and event lines over a unix socket, loopback TCP or TLS, acknowledges them when they are durable, and answers
questions while it records (pastcone why --server ADDRESS). Without REC it makes a new recording here. It listens on
loopback, and elsewhere only with TLS and authentication (docs/security.md). With --http it serves metrics, health and profiles.

Settings (docs/settings.md) come from the file of --config, from variables, as PASTCONE_STORE_COMMIT_INTERVAL, and from flags. On
SIGHUP they are read again, and what may change while it runs does.

It stops on SIGINT or SIGTERM: what was accepted is finished first.`,
		Example: `  pastcone serve
  pastcone serve --listen 127.0.0.1:7071 --listen unix:./pastcone.sock /var/lib/pastcone/orders
  pastcone serve --config pastcone.yaml --retain-age-max 30d --http 127.0.0.1:7072
  pastcone serve --listen 0.0.0.0:7071 --server-tokens tokens --server-tls-cert cert.pem --server-tls-key key.pem
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
	config.BindFlag(c.Flags(), "http", "server.http")
	config.BindFlag(c.Flags(), "drain", "drain.deadline")
	config.BindFlag(c.Flags(), "memory", "memory.bytes_max")
	var others []string
	for _, d := range config.Describe() {
		if d.Key != "server.listen" && d.Key != "server.http" && d.Key != "drain.deadline" && d.Key != "memory.bytes_max" {
			others = append(others, d.Key)
		}
	}
	config.BindFlags(c.Flags(), others...)
	return c
}

// listen opens all addresses with open, or none.
func listen(addresses []string, open func(string) (net.Listener, error)) (all []net.Listener, err error) {
	for _, address := range addresses {
		l, err := open(address)
		if err != nil {
			shut(all)
			return nil, usageError{err}
		}
		all = append(all, l)
	}
	return all, nil
}

func shut(all []net.Listener) {
	for _, l := range all {
		_ = l.Close()
	}
}

// gate makes who gets in of the settings.
func gate(live *config.Live, log *slog.Logger) (*server.Gate, error) {
	s := live.Load().Server
	g := &server.Gate{Limits: func() server.ClientLimits {
		now := live.Load().Server
		return server.ClientLimits{Connections: now.ClientConnectionsMax, BytesPerSecond: int64(now.ClientBytesMax), QueriesPerSecond: now.ClientQueriesMax}
	}}
	tell := func(what string) func(error) {
		return func(err error) {
			if err != nil {
				log.Error(what+" can not be read", "error", err)
			} else {
				log.Info(what + " can be read again")
			}
		}
	}
	var err error
	if s.Tokens != "" {
		if g.Tokens, err = access.Open(s.Tokens, tell("the file of tokens, without which nobody gets in,")); err != nil {
			return nil, usageError{err}
		}
	}
	if s.TLSCert != "" || s.TLSKey != "" || s.TLSClient != "" {
		if g.TLS, err = access.OpenTLS(access.Files{Cert: s.TLSCert, Key: s.TLSKey, ClientCA: s.TLSClient}, tell("a file of TLS")); err != nil {
			return nil, usageError{err}
		}
	}
	return g, nil
}

// logger makes the log of the settings. Its level can change while it is used.
func logger(s *screen, live *config.Live) *slog.Logger {
	level := &slog.LevelVar{}
	set := func(_, now *config.Settings) { _ = level.UnmarshalText([]byte(now.Log.Level)) }
	set(nil, live.Load())
	live.Subscribe(set)
	o := &slog.HandlerOptions{Level: level}
	if live.Load().Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(s.err, o))
	}
	return slog.New(slog.NewTextHandler(s.err, o))
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
	if len(first.Server.Listen) == 0 {
		return usagef("server.listen is empty: there is no address to listen at")
	}
	if dir == "" {
		if dir, err = recorder.NewPlace("serve", time.Now()); err != nil {
			return err
		}
	}
	log := logger(s, live)
	g, err := gate(live, log)
	if err != nil {
		return err
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	listeners, err := listen(first.Server.Listen, func(a string) (net.Listener, error) { return server.ListenBehind(a, g) })
	if err != nil {
		return err
	}
	web, err := listen(first.Server.HTTP, func(a string) (net.Listener, error) { return server.Bind(a, g) })
	if err != nil {
		shut(listeners)
		return err
	}
	options := recorder.FromSettings(first)
	options.Log = log
	options.LimitMemory()
	rec, err := recorder.Open(dir, options)
	if err != nil {
		shut(append(listeners, web...))
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
	line := rec.ServerOptions()
	lines := 1
	if len(web) > 0 {
		lines = 2
	}
	connections := connectionsFor(first.Server.ConnectionsMax, lines, log)
	line.Gate, line.ConnectionsMax = g, connections
	srv, err := server.New(line)
	if err != nil {
		shut(append(listeners, web...))
		return err
	}
	var reloading sync.Mutex
	reread := func() ([]string, error) {
		reloading.Lock()
		defer reloading.Unlock()
		return reload(s, from, live, rec)
	}
	mon, err := monitor.New(monitor.Options{
		Status: rec.Status, Server: srv.Stats, Settings: live.Load, Reload: reread, Dir: dir, Answerer: line.Answerer,
		QueryTimeout: line.QueryTimeout, Gate: g, Log: log, ConnectionsMax: connections,
	})
	if err != nil {
		shut(append(listeners, web...))
		return err
	}
	failed := make(chan error, len(listeners)+len(web))
	for _, l := range listeners {
		fmt.Fprintf(s.err, "recording to %s, listening at %s\n", filepath.Clean(dir), l.Addr())
		go func() { failed <- srv.Serve(l) }()
	}
	for _, l := range web {
		fmt.Fprintf(s.err, "metrics and health at %s\n", l.Addr())
		go func() { failed <- mon.Serve(l) }()
	}
	for running := true; running; {
		select {
		case <-again:
			_, _ = reread()
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
	err = errors.Join(err, srv.Shutdown(within))
	// Health is told while the rest drains, and not much longer.
	soon, cancelSoon := context.WithTimeout(context.WithoutCancel(ctx), httpEnds)
	defer cancelSoon()
	if wrong := mon.Shutdown(soon); wrong != nil {
		log.Warn("answers over HTTP were cut off", "error", wrong)
	}
	return err
}

// httpEnds is how long answers over HTTP may take at the end.
const httpEnds = 2 * time.Second

// reload reads the settings again. All that can change does, or nothing. It gives what has changed.
func reload(s *screen, from *settings, live *config.Live, rec *recorder.Recorder) (changed []string, err error) {
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
		return nil, err
	}
	for i, v := range next.Values() {
		if v != before.Values()[i] {
			changed = append(changed, v.Key+" is "+v.Value)
		}
	}
	told := strings.Join(changed, ", ")
	if len(changed) == 0 {
		told = "they are as before"
	}
	fmt.Fprintf(s.err, "the settings were read again: %s\n", told)
	return changed, nil
}
