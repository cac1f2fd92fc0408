package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pastcone/pastcone/client"
	"github.com/pastcone/pastcone/internal/answer"
	"github.com/pastcone/pastcone/internal/config"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/recorder"
)

// asking is what the commands that ask have in common: the question, and whom to ask.
type asking struct {
	s       *screen
	q       answer.Question
	server  string
	timeout time.Duration
	from    settings
}

func (a *asking) flags(c *cobra.Command) {
	c.Flags().StringVar(&a.server, "server", "", "ask the server at this `ADDRESS` (HOST:PORT or unix:PATH), not a recording")
	config.BindFlag(c.Flags(), "timeout", "query.deadline")
	a.from.bind(c)
}

// ask asks the server, or the recording in dir.
func (a *asking) ask(ctx context.Context, dir string) error {
	if a.from.flags != nil {
		set, err := a.from.load()
		if err != nil {
			return err
		}
		a.timeout, a.q.BytesMax = set.Query.Deadline, int64(set.Query.MemoryBytesMax)
	}
	a.q.JSON, a.q.Columns, a.q.Color = a.s.json, a.s.style.Width, a.s.style.Color
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	var err error
	if a.server != "" {
		err = a.remote(ctx)
	} else {
		err = a.local(ctx, dir)
	}
	var syntax *query.SyntaxError
	switch {
	case errors.As(err, &syntax), errors.Is(err, answer.ErrQuestion):
		return usageError{err}
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s: narrow the question, or give more time with --timeout: %w", a.timeout, err)
	}
	return err
}

func (a *asking) local(ctx context.Context, dir string) error {
	if info, err := os.Stat(dir); err == nil && info.Mode().IsRegular() {
		return usagef("%s is a file, not a recording: 'pastcone import %s' makes a recording of it", dir, dir)
	}
	if err := a.q.Check(); err != nil { // a wrong question is told before a recording is looked for
		return err
	}
	rec, err := recorder.Read(dir)
	if err != nil {
		return err
	}
	defer rec.Close()
	for _, lost := range rec.Lost() {
		fmt.Fprintln(a.s.err, "note:", lost)
	}
	snapshot, err := rec.Snapshot()
	if err != nil {
		return err
	}
	defer snapshot.Close()
	if dir != "" {
		a.q.Recording = dir
	}
	sources := rec.Listed()
	if a.q.Op == "stats" { // only its answer has the accounts
		if sources, err = rec.Sources(); err != nil {
			return err
		}
	}
	return answer.Answer(ctx, snapshot, sources, &a.q, a.s.out)
}

func (a *asking) remote(ctx context.Context) error {
	if err := a.q.Check(); err != nil {
		return err
	}
	show, err := showing()
	if err != nil {
		return err
	}
	asker, err := client.AskAs(ctx, a.server, show)
	if err != nil {
		return fmt.Errorf("the server at %s: %w", a.server, err)
	}
	defer asker.Close()
	return asker.Query(ctx, a.q.Op, a.q, func(line []byte) error {
		if !a.q.JSON {
			var text recorder.TextLine
			if err := json.Unmarshal(line, &text); err != nil {
				return fmt.Errorf("the server's answer: %w", err)
			}
			line = []byte(text.Text)
		}
		_, err := a.s.out.Write(append(bytes.Clone(line), '\n'))
		return err
	})
}

// split parts the arguments into the events (or the query) and the recording behind them. Over a server there is no recording.
func (a *asking) split(args []string, events int) (asked []string, dir string, err error) {
	if len(args) > events {
		if a.server != "" {
			return nil, "", usagef("give --server or a recording, not both")
		}
		return args[:events], args[events], nil
	}
	return args, "", nil
}

// about is the body of a command that asks about so many events, with the recording behind them.
func (a *asking) about(events int) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) (err error) {
		var dir string
		if a.q.Events, dir, err = a.split(args, events); err != nil {
			return err
		}
		return a.ask(c.Context(), dir)
	}
}

func newWhy(s *screen) *cobra.Command {
	a := &asking{s: s, q: answer.Question{Op: "why"}}
	c := &cobra.Command{
		Use:   "why [EVENT] [REC]",
		Short: "Explain an event: the chain of causes, root first",
		Long: `Explains an event: the chain of causes, root first, across streams and messages, with what each step had waited for.

EVENT is an id, a place in a stream (g12#3), a query with exactly one answer, or first:QUERY or last:QUERY. Without it, the last
error is explained, in the place where it came up; where there is none, events worth asking about are suggested.

Where somebody gave up waiting (a deadline, a cancelled context, a timer), the answer also says who was late: what the same work was
doing in other streams at that moment, and which of its messages nobody had taken. With --all that is told of any event.`,
		Example: `  pastcone why
  pastcone why 4711
  pastcone why 'last:{ kind = error && func =~ "orders\\..*" }'
  pastcone why 4711 .pastcone/20261124-110203-demo`,
		Args: arguments(0, 2),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 && a.server == "" && there(args[0]) {
				args = []string{"", args[0]} // a recording alone, or what is taken for one: explain its last error
			}
			events, dir, err := a.split(args, 1)
			if err != nil {
				return err
			}
			if len(events) == 1 && events[0] != "" {
				a.q.Events = events
			}
			return a.ask(c.Context(), dir)
		},
	}
	a.flags(c)
	c.Flags().IntVar(&a.q.Depth, "depth", 0, "show at most so many steps above the event (default 1000)")
	c.Flags().BoolVar(&a.q.All, "all", false, "leave nothing out: background steps, all waits, what the same work was doing elsewhere")
	return c
}

// there says whether an argument is a path of something: an EVENT never is, unless a file has a number for its name.
func there(arg string) bool {
	if recorder.IsRecording(arg) {
		return true
	}
	info, err := os.Stat(arg)
	return err == nil && info.Mode().IsRegular() && strings.Trim(arg, "0123456789") != ""
}

func newFuture(s *screen) *cobra.Command {
	a := &asking{s: s, q: answer.Question{Op: "future"}}
	c := &cobra.Command{
		Use:     "future EVENT [REC]",
		Short:   "Show what an event led to",
		Long:    "Shows what an event led to, as a tree of effects; says where and how much it cuts.",
		Example: "  pastcone future 4711\n  pastcone future --depth 20 'first:{ root = true }'",
		Args:    arguments(1, 2),
		RunE:    a.about(1),
	}
	a.flags(c)
	c.Flags().IntVar(&a.q.Depth, "depth", 0, "show at most so many levels below the event (default 8)")
	c.Flags().IntVar(&a.q.Width, "width", 0, "show at most so many effects of one event (default 16)")
	return c
}

func newRelate(s *screen) *cobra.Command {
	a := &asking{s: s, q: answer.Question{Op: "relate"}}
	c := &cobra.Command{
		Use:   "relate A B [REC]",
		Short: "Say which of two events came first, or that they are concurrent",
		Long: `Says whether A happened before B, after it, or concurrently, with the path of streams and edges that shows it. Happens-before
is potential causality: the order in each stream, and all edges.`,
		Example: `  pastcone relate 17 4711`,
		Args:    arguments(2, 3),
		RunE:    a.about(2),
	}
	a.flags(c)
	return c
}

func newShow(s *screen) *cobra.Command {
	a := &asking{s: s, q: answer.Question{Op: "show"}}
	c := &cobra.Command{
		Use:     "show EVENT [REC]",
		Short:   "Show everything about an event",
		Long:    "Shows everything about an event: its fields and data, causes, effects, and its neighbours in the stream.",
		Example: "  pastcone show 4711\n  pastcone show g12#3",
		Args:    arguments(1, 2),
		RunE:    a.about(1),
	}
	a.flags(c)
	return c
}

func newFind(s *screen) *cobra.Command {
	a := &asking{s: s, q: answer.Question{Op: "find"}}
	c := &cobra.Command{
		Use:   "find QUERY [REC]",
		Short: "Find events that match",
		Long: `Finds events that match a query, in the order of ids. The syntax is TraceQL's: conditions in braces, joined by
&& and ||; >> (has in its future), << (has in its past), > and < (is the direct cause, effect) between them; and
behind a bar count(), quantile(duration, 0.99), … by (func), select(…), sort(…), limit(…). See docs/query.md.`,
		Example: `  pastcone find '{ kind = error }'
  pastcone find '{ kind = return && func =~ "orders\\..*" && duration > 50ms }'
  pastcone find '{ kind = error } << { func = "inventory.(*Store).Refresh" }'
  pastcone find '{ kind = return } | count(), quantile(duration, 0.99) by (func)'`,
		Args: arguments(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			queries, dir, err := a.split(args, 1)
			if err != nil {
				return err
			}
			a.q.Query = queries[0]
			return a.ask(c.Context(), dir)
		},
	}
	a.flags(c)
	c.Flags().IntVar(&a.q.Limit, "limit", 1000, "give at most so many events; 0: all")
	c.Flags().BoolVar(&a.q.Reverse, "reverse", false, "newest first")
	return c
}

func newStats(s *screen) *cobra.Command {
	a := &asking{s: s, q: answer.Question{Op: "stats"}}
	c := &cobra.Command{
		Use:     "stats [REC]",
		Short:   "Sum a recording up",
		Long:    "Sums a recording up: events by kind, streams, functions, correlations, confidences, gaps, time range.",
		Example: "  pastcone stats\n  pastcone stats --json",
		Args:    arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			_, dir, err := a.split(args, 0)
			if err != nil {
				return err
			}
			return a.ask(c.Context(), dir)
		},
	}
	a.flags(c)
	return c
}
