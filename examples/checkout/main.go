// Command checkout is the checkout service of a small web shop, under load. There is nothing in it that knows of Pastcone:
//
//	pastcone run --args 'checkout/...' --state 'inventory.shelf.stock' ./examples/checkout
//	pastcone why
//
// Now and then an order fails: "sold out", although the warehouse is full, or "context deadline exceeded". Why, the
// recording tells. The customers are a process of their own, which the service starts: they stand for people elsewhere.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/pastcone/pastcone/examples/checkout/shop"
)

func main() {
	c := shop.Defaults()
	flag.IntVar(&c.Requests, "requests", c.Requests, "stop after `N` requests")
	flag.IntVar(&c.Clients, "clients", c.Clients, "how many customers order at the same time")
	flag.Uint64Var(&c.Seed, "seed", c.Seed, "what is ordered, and which calls over the network are slow")
	customersOf := flag.String("customers-of", "", "be the customers of the service at this `URL`")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, c, *customersOf); err != nil {
		fmt.Fprintln(os.Stderr, "checkout:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c shop.Config, customersOf string) error {
	if customersOf != "" {
		return shop.Customers(ctx, c, customersOf, os.Stdout)
	}
	summary, err := shop.Run(ctx, c)
	if err == nil {
		fmt.Println(summary)
	}
	return err
}
