// Package inventory knows how many of each thing are there to be sold.
package inventory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pastcone/pastcone/examples/checkout/remote"
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
	if err := w.Peer.Call(ctx); err != nil {
		return 0, fmt.Errorf("count %s in the warehouse: %w", sku, err)
	}
	return w.Stock[sku], nil
}

// Store keeps the numbers in memory, so that an order need not wait for the warehouse.
type Store struct {
	warehouse *Warehouse
	shelves   map[string]*shelf
}

type shelf struct {
	mu    sync.Mutex
	stock int
}

// NewStore makes a store of the warehouse's things.
func NewStore(w *Warehouse) *Store {
	s := &Store{warehouse: w, shelves: map[string]*shelf{}}
	for sku, stock := range w.Stock {
		s.shelves[sku] = &shelf{stock: stock}
	}
	return s
}

// Reserve takes n of a thing off its shelf. It fails with ErrSoldOut.
func (s *Store) Reserve(sku string, n int) error {
	shelf, ok := s.shelves[sku]
	if !ok {
		return fmt.Errorf("there is no %s in this shop", sku)
	}
	shelf.mu.Lock()
	defer shelf.mu.Unlock()
	if shelf.stock < n {
		return fmt.Errorf("reserve %d of %s: %w: %d left", n, sku, ErrSoldOut, shelf.stock)
	}
	shelf.stock -= n
	return nil
}

// PutBack undoes Reserve.
func (s *Store) PutBack(sku string, n int) {
	shelf := s.shelves[sku]
	shelf.mu.Lock()
	defer shelf.mu.Unlock()
	shelf.stock += n
}

// Refresh brings all shelves up to what the warehouse has.
func (s *Store) Refresh(ctx context.Context) {
	for sku := range s.shelves {
		s.refresh(ctx, sku)
	}
}

func (s *Store) refresh(ctx context.Context, sku string) {
	patience, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	stock, _ := s.warehouse.Count(patience, sku) // That nobody looks at the error is the bug of this program.
	shelf := s.shelves[sku]
	shelf.mu.Lock()
	defer shelf.mu.Unlock()
	shelf.stock = stock
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
