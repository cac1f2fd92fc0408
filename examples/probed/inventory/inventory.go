// Package inventory knows how many of each thing are there to be sold.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/pastcone/pastcone/examples/probed/remote"
	"github.com/pastcone/pastcone/probe"
)

// ErrSoldOut says that there are not enough of a thing.
var ErrSoldOut = errors.New("sold out")

// Warehouse counts what is there, slowly.
type Warehouse struct {
	Peer  *remote.Peer
	Stock map[string]int
}

// Count gives the number of a thing in the warehouse.
func (w *Warehouse) Count(ctx context.Context, sku string) (int, error) {
	defer probe.Call(ctx, slog.String("sku", sku)).End()
	if err := w.Peer.Call(ctx); err != nil {
		return 0, probe.Error(ctx, fmt.Errorf("count %s in the warehouse: %w", sku, err))
	}
	return w.Stock[sku], nil
}

// Store keeps the numbers in memory, so that an order need not wait for the warehouse.
type Store struct {
	warehouse *Warehouse
	shelves   map[string]*shelf
}

type shelf struct {
	mu    probe.Mutex
	stock int
}

// NewStore makes a store of the warehouse's things.
func NewStore(w *Warehouse) *Store {
	s := &Store{warehouse: w, shelves: map[string]*shelf{}}
	for sku, stock := range w.Stock {
		s.shelves[sku] = &shelf{mu: probe.Mutex{Name: "shelf." + sku}, stock: stock}
	}
	return s
}

// Reserve takes n of a thing off its shelf. It fails with ErrSoldOut.
func (s *Store) Reserve(ctx context.Context, sku string, n int) error {
	defer probe.Call(ctx, slog.String("sku", sku), slog.Int("n", n)).End()
	shelf, ok := s.shelves[sku]
	if !ok {
		return probe.Error(ctx, fmt.Errorf("there is no %s in this shop", sku))
	}
	shelf.mu.Lock(ctx)
	defer shelf.mu.Unlock(ctx)
	if shelf.stock < n {
		return probe.Error(ctx, fmt.Errorf("reserve %d of %s: %w: %d left", n, sku, ErrSoldOut, shelf.stock))
	}
	shelf.set(ctx, sku, shelf.stock-n)
	return nil
}

// PutBack undoes Reserve.
func (s *Store) PutBack(ctx context.Context, sku string, n int) {
	defer probe.Call(ctx, slog.String("sku", sku), slog.Int("n", n)).End()
	shelf := s.shelves[sku]
	shelf.mu.Lock(ctx)
	defer shelf.mu.Unlock(ctx)
	shelf.set(ctx, sku, shelf.stock+n)
}

// set changes the number on a shelf. The caller holds its lock.
func (s *shelf) set(ctx context.Context, sku string, stock int) {
	s.stock = stock
	probe.State(ctx, "stock."+sku, slog.Int("stock", stock))
}

// Refresh brings all shelves up to what the warehouse has.
func (s *Store) Refresh(ctx context.Context) {
	defer probe.Call(ctx).End()
	for sku := range s.shelves {
		s.refresh(ctx, sku)
	}
}

func (s *Store) refresh(ctx context.Context, sku string) {
	patience, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	stock, err := s.warehouse.Count(patience, sku)
	if err != nil {
		probe.Log(ctx, "the warehouse does not answer", slog.String("sku", sku))
		// Here a return is missing: this is the bug of this program.
	}
	shelf := s.shelves[sku]
	shelf.mu.Lock(ctx)
	defer shelf.mu.Unlock(ctx)
	shelf.set(ctx, sku, stock)
}

// Run refreshes regularly until ctx is over.
func (s *Store) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.Refresh(ctx)
		case <-ctx.Done():
			return
		}
	}
}
