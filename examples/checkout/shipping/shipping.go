// Package shipping finds the cheapest way to send a parcel.
package shipping

import (
	"context"
	"fmt"

	"github.com/pastcone/pastcone/examples/checkout/remote"
)

// Carrier delivers parcels.
type Carrier struct {
	Name  string
	Cents int // for one thing
	Peer  *remote.Peer
}

// Quote is what a carrier asks for.
type Quote struct {
	Carrier string
	Cents   int
}

// Cheapest asks all carriers at once. It is content with those that answer before ctx is over.
func Cheapest(ctx context.Context, carriers []*Carrier, things int) (Quote, error) {
	quotes := make(chan Quote, len(carriers)) // has room for all: nobody waits for us
	for _, c := range carriers {
		go c.quote(ctx, things, quotes)
	}
	var best Quote
	for range carriers {
		select {
		case q := <-quotes:
			if q.Carrier != "" && (best.Carrier == "" || q.Cents < best.Cents) {
				best = q
			}
		case <-ctx.Done():
			return best, enough(ctx, best)
		}
	}
	return best, enough(ctx, best)
}

func enough(ctx context.Context, best Quote) error {
	if best.Carrier == "" {
		return fmt.Errorf("no carrier gives a quote: %w", ctx.Err())
	}
	return nil
}

func (c *Carrier) quote(ctx context.Context, things int, to chan<- Quote) {
	var q Quote
	if err := c.Peer.Call(ctx); err == nil {
		q = Quote{Carrier: c.Name, Cents: c.Cents * things}
	}
	to <- q
}
