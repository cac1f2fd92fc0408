// Command probed is the checkout service of a small web shop that records itself: an example of how to use the
// package probe, beside examples/checkout, which is the same shop without a probe in it.
//
//	go run ./examples/probed -events events.ndjson
//	pastcone import events.ndjson
//	pastcone why
//
// It brings its own load: some clients that order things as fast as people in a hurry.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/pastcone/pastcone/examples/probed/shop"
)

func main() {
	var c shop.Config
	flag.IntVar(&c.Requests, "requests", 2500, "stop after `N` requests")
	flag.IntVar(&c.Clients, "clients", 16, "how many clients order at the same time")
	flag.DurationVar(&c.Duration, "duration", 0, "stop after this time, whatever the number of requests")
	flag.Uint64Var(&c.Seed, "seed", 1, "what is ordered, and which calls over the network are slow")
	flag.StringVar(&c.Events, "events", "", "record to this `file` of event lines")
	flag.StringVar(&c.To, "to", "", "record to the server at this `address`")
	flag.BoolVar(&c.Wait, "wait", false, "lose no event: wait when the recorder's buffers are full")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	summary, err := shop.Run(ctx, c)
	if err != nil {
		fmt.Fprintln(os.Stderr, "probed:", err)
		os.Exit(1)
	}
	fmt.Println(summary)
}
