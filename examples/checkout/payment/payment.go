// Package payment talks to the bank, over a few connections that all requests share.
package payment

import (
	"context"
	"fmt"

	"github.com/pastcone/pastcone/examples/checkout/remote"
)

// Gateway is a pool of connections to the bank.
type Gateway struct {
	bank *remote.Peer
	idle chan *connection
}

type connection struct {
	number  int
	charges int
}

// Open makes the connections.
func Open(bank *remote.Peer, connections int) *Gateway {
	g := &Gateway{bank: bank, idle: make(chan *connection, connections)}
	for number := range connections {
		g.giveBack(&connection{number: number + 1})
	}
	return g
}

// Charge takes an amount from the customer's account.
func (g *Gateway) Charge(ctx context.Context, cents int) error {
	select {
	case c := <-g.idle:
		defer g.giveBack(c)
		return g.send(ctx, c, cents)
	case <-ctx.Done():
		return fmt.Errorf("no connection to the bank is free: %w", ctx.Err())
	}
}

func (g *Gateway) send(ctx context.Context, c *connection, cents int) error {
	c.charges++
	if err := g.bank.Call(ctx); err != nil {
		return fmt.Errorf("charge %d cents on connection %d: %w", cents, c.number, err)
	}
	return nil
}

// giveBack never waits: there are no more connections than the pool takes.
func (g *Gateway) giveBack(c *connection) { g.idle <- c }
