package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pastcone/pastcone/examples"
	"github.com/pastcone/pastcone/internal/answer"
)

func newDemo(s *screen) *cobra.Command {
	var requests, clients int
	var seed uint64
	r := &recording{s: s}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Record a real service under load, and explain why one of its requests failed",
		Long: `Records examples/checkout as it is: an HTTP service with a worker pool behind a queue, locks, pooled connections, deadlines and an
intermittent error, in which nothing knows of Pastcone. Puts it under load, and explains why a request failed. It is

  pastcone run --args 'examples/checkout/...' --state 'inventory.shelf.stock' ./examples/checkout
  pastcone why

The first time, Go's standard library is built once with the recorder in it; the second time takes a few seconds.`,
		Example: "  pastcone demo\n  pastcone demo --requests 20000 --seed 7",
		Args:    arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if r.set, err = r.from.load(); err != nil {
				return err
			}
			return r.demo(c.Context(), []string{
				"-requests", fmt.Sprint(requests), "-clients", fmt.Sprint(clients), "-seed", fmt.Sprint(seed),
			})
		},
	}
	c.Flags().IntVar(&requests, "requests", 2500, "how many requests the load has")
	c.Flags().IntVar(&clients, "clients", 16, "how many clients send them")
	c.Flags().Uint64Var(&seed, "seed", 1, "what is ordered, and which calls are slow")
	r.bind(c)
	return c
}

func (r *recording) demo(ctx context.Context, args []string) error {
	if r.args == nil {
		r.args = []string{examples.Module + "/examples/checkout/..."}
	}
	if r.state == nil {
		r.state = []string{"inventory.shelf.stock"}
	}
	o, err := r.instrument([]string{examples.Checkout}, nil)
	if err != nil {
		return err
	}
	o.Dir = filepath.Join(o.CacheDir, "examples")
	if err := examples.Write(o.Dir); err != nil {
		return err
	}
	tell := &teller{s: r.s, quiet: r.quiet}
	tell.Say("recording examples/checkout, a service under load, as it is")
	dir, err := r.runProgram(ctx, o, args, "demo", tell)
	if err != nil {
		return r.interrupted(ctx, err)
	}
	tell.Say("now: why did the last request fail?")
	if !r.quiet {
		fmt.Fprintln(r.s.err)
	}
	a := &asking{s: r.s, q: answer.Question{Op: "why"}, timeout: r.set.Query.Deadline}
	return a.ask(context.WithoutCancel(ctx), dir)
}
