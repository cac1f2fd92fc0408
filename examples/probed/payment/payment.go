// Package payment talks to the bank, over a few connections that all requests share.
package payment

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pastcone/pastcone/examples/probed/remote"
	"github.com/pastcone/pastcone/probe"
)

// Gateway is a pool of connections to the bank.
type Gateway struct {
	bank *remote.Peer
	idle *probe.Chan[*connection]
}

type connection struct {
	number  int
	charges int
}

// Open makes the connections.
func Open(ctx context.Context, bank *remote.Peer, connections int) *Gateway {
	defer probe.Call(ctx).End()
	g := &Gateway{bank: bank, idle: probe.NewChan[*connection]("bank.idle", connections)}
	for number := range connections {
		g.giveBack(ctx, &connection{number: number + 1})
	}
	return g
}

// Charge takes an amount from the customer's account.
func (g *Gateway) Charge(ctx context.Context, cents int) error {
	defer probe.Call(ctx, slog.Int("cents", cents)).End()
	c, err := g.idle.Receive(ctx)
	if err != nil {
		return probe.Error(ctx, fmt.Errorf("no connection to the bank is free: %w", err))
	}
	defer g.giveBack(ctx, c)
	return g.send(ctx, c, cents)
}

func (g *Gateway) send(ctx context.Context, c *connection, cents int) error {
	defer probe.Call(ctx, slog.Int("connection", c.number)).End()
	c.charges++
	if err := g.bank.Call(ctx); err != nil {
		return probe.Error(ctx, fmt.Errorf("charge %d cents on connection %d: %w", cents, c.number, err))
	}
	return nil
}

// giveBack always has room: there are no more connections than the pool takes.
func (g *Gateway) giveBack(ctx context.Context, c *connection) { g.idle.TrySend(ctx, c) }
