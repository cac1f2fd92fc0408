// Command pastcone records what concurrent programs do, and says why things happened in them.
//
// One file a command; what a command does is in the packages below internal. In the plan's words this is the Application's
// front door.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pastcone/pastcone/internal/launch"
	"github.com/pastcone/pastcone/internal/render"
)

// Exit statuses: they are part of the interface.
const (
	statusFine     = 0
	statusNoAnswer = 1 // the question has no answer, or the check failed
	statusUsage    = 2 // the command was not understood
)

// usageError is a mistake in how the command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// screen is where a command writes, and how.
type screen struct {
	out, err io.Writer
	json     bool
	style    render.Style
	progress bool // err is a terminal: show progress on it
}

// warnings gives where what goes wrong beside the answer is told, also where err is no terminal.
func (s *screen) warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), launch.Heeded(os.Interrupt, syscall.SIGTERM)...)
	carried, err := launch.OpenPayload()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pastcone:", err)
		os.Exit(statusNoAnswer)
	}
	if carried != nil {
		os.Exit(runCarried(context.WithoutCancel(ctx), carried, os.Args[1:])) // signals are the program's
	}
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is main without the process: it gives the exit status.
func run(ctx context.Context, args []string, out, errs *os.File) int {
	s := &screen{out: out, err: errs}
	root := newRoot(s, out, errs)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return statusFine
	}
	var program statusError
	if errors.As(err, &program) {
		return int(program)
	}
	var usage usageError
	fmt.Fprintln(errs, "pastcone:", strings.TrimSpace(err.Error()))
	if errors.As(err, &usage) {
		fmt.Fprintln(errs, "'pastcone help' lists the commands, 'pastcone COMMAND --help' shows examples.")
		return statusUsage
	}
	return statusNoAnswer
}

const long = `Pastcone records what a concurrent program did (calls, goroutines, messages, locks, state, errors), works out
which event caused which, keeps it durably, and answers: why did this happen, what did it lead to, who was it
waiting for?

  pastcone run ./cmd/app              build a Go program as it is, run it, and record what it does
  pastcone test ./...                 the same for tests
  pastcone demo                       record a real service under load, and explain why one of its requests failed
  pastcone import trace.out           a Go execution trace, or event lines (told apart by content)
  pastcone why                        explain the last error of the newest recording made here
  pastcone find '{ kind = error }'    events that match

REC, a recording, is a folder; by default the newest one made here. EVENT is an id, a query with exactly one answer, or
first:QUERY or last:QUERY. Exit status: 0 fine, 1 the question has no answer or the check failed, 2 wrong usage.`

func newRoot(s *screen, out, errs *os.File) *cobra.Command {
	var colour string
	root := &cobra.Command{
		Use:           "pastcone",
		Short:         "A causal recorder for concurrent programs",
		Long:          long,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				return usagef("there is no command %q; there is %s", args[0], strings.Join(near, ", "))
			}
			return usagef("there is no command %q", args[0])
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			terminal := term.IsTerminal(int(out.Fd()))
			s.progress = term.IsTerminal(int(errs.Fd()))
			s.style.Width = 100
			if width, _, err := term.GetSize(int(out.Fd())); terminal && err == nil && width > 0 {
				s.style.Width = width
			}
			switch colour {
			case "auto":
				s.style.Color = terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
			case "always":
				s.style.Color = true
			case "never":
			default:
				return usagef("--color %s: it is auto, always or never", colour)
			}
			return nil
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().BoolVar(&s.json, "json", false, "answer in JSON, one object a line, with stable names")
	root.PersistentFlags().StringVar(&colour, "color", "auto", "colour the answer: auto, always or never")
	root.AddCommand(
		newRun(s), newTest(s), newBuild(s), newRecordBinary(s), newImport(s), newServe(s), newDemo(s),
		newWhy(s), newFuture(s), newRelate(s), newFind(s), newShow(s),
		newStats(s), newVerify(s), newExport(s), newToken(s),
	)
	return root
}

// arguments checks the number of arguments, and answers a wrong one with the usage line.
func arguments(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return usagef("usage: %s", c.UseLine())
		}
		return nil
	}
}
