// Package shipping finds the cheapest way to send a parcel.
package shipping

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pastcone/pastcone/examples/probed/remote"
	"github.com/pastcone/pastcone/probe"
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
	defer probe.Call(ctx, slog.Int("things", things)).End()
	quotes := probe.NewChan[Quote]("quotes", len(carriers)) // has room for all: nobody waits for us
	for _, c := range carriers {
		probe.Go(ctx, "carrier", func(ctx context.Context) { c.quote(ctx, things, quotes) })
	}
	var best Quote
	for range carriers {
		q, err := quotes.Receive(ctx)
		if err != nil {
			break
		}
		if q.Carrier != "" && (best.Carrier == "" || q.Cents < best.Cents) {
			best = q
		}
	}
	if best.Carrier == "" {
		return best, probe.Error(ctx, fmt.Errorf("no carrier gives a quote: %w", ctx.Err()))
	}
	return best, nil
}

func (c *Carrier) quote(ctx context.Context, things int, to *probe.Chan[Quote]) {
	defer probe.Call(ctx, slog.String("carrier", c.Name)).End()
	var q Quote
	if err := c.Peer.Call(ctx); err == nil {
		q = Quote{Carrier: c.Name, Cents: c.Cents * things}
	}
	to.TrySend(ctx, q)
}
