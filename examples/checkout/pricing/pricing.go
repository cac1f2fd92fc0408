// Package pricing knows what things cost.
package pricing

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pastcone/pastcone/examples/checkout/remote"
)

// Cache asks for a price once in a while, and remembers it.
type Cache struct {
	list *remote.Peer
	ttl  time.Duration

	mu     sync.RWMutex
	prices map[string]price
}

type price struct {
	cents int
	until time.Time
}

// NewCache makes an empty cache of the prices in a list.
func NewCache(list *remote.Peer, ttl time.Duration) *Cache {
	return &Cache{list: list, ttl: ttl, prices: map[string]price{}}
}

// Price gives the price of a thing in cents.
func (c *Cache) Price(ctx context.Context, sku string) (int, error) {
	if p, ok := c.known(sku); ok {
		return p.cents, nil
	}
	if err := c.list.Call(ctx); err != nil {
		return 0, fmt.Errorf("price of %s: %w", sku, err)
	}
	p := price{cents: 100 + 250*len(sku), until: time.Now().Add(c.ttl)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prices[sku] = p
	return p.cents, nil
}

func (c *Cache) known(sku string) (price, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	p, ok := c.prices[sku]
	return p, ok && time.Now().Before(p.until)
}
