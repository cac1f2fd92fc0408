// Package pricing knows what things cost.
package pricing

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/pastcone/pastcone/examples/probed/remote"
	"github.com/pastcone/pastcone/probe"
)

// Cache asks for a price once in a while, and remembers it.
type Cache struct {
	list *remote.Peer
	ttl  time.Duration

	mu     probe.Mutex
	prices map[string]price
}

type price struct {
	cents int
	until time.Time
}

// NewCache makes an empty cache of the prices in a list.
func NewCache(list *remote.Peer, ttl time.Duration) *Cache {
	return &Cache{list: list, ttl: ttl, mu: probe.Mutex{Name: "prices"}, prices: map[string]price{}}
}

// Price gives the price of a thing in cents.
func (c *Cache) Price(ctx context.Context, sku string) (int, error) {
	defer probe.Call(ctx, slog.String("sku", sku)).End()
	if p, ok := c.known(ctx, sku); ok {
		return p.cents, nil
	}
	if err := c.list.Call(ctx); err != nil {
		return 0, probe.Error(ctx, fmt.Errorf("price of %s: %w", sku, err))
	}
	p := price{cents: 100 + 250*len(sku), until: time.Now().Add(c.ttl)}
	c.mu.Lock(ctx)
	defer c.mu.Unlock(ctx)
	c.prices[sku] = p
	probe.State(ctx, "price."+sku, slog.Int("cents", p.cents))
	return p.cents, nil
}

func (c *Cache) known(ctx context.Context, sku string) (price, bool) {
	c.mu.Lock(ctx)
	defer c.mu.Unlock(ctx)
	p, ok := c.prices[sku]
	return p, ok && time.Now().Before(p.until)
}
