// Package shop is the checkout service of a small web shop, with the customers that it runs under.
//
// An order goes from its HTTP handler through a queue to a worker, which looks up the price, takes the
// things off their shelf, asks three carriers at once, and charges the customer over one of a few
// connections to the bank. In the background the shelves are refreshed from the warehouse.
package shop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/pastcone/pastcone/examples/checkout/inventory"
	"github.com/pastcone/pastcone/examples/checkout/payment"
	"github.com/pastcone/pastcone/examples/checkout/pricing"
	"github.com/pastcone/pastcone/examples/checkout/queue"
	"github.com/pastcone/pastcone/examples/checkout/remote"
	"github.com/pastcone/pastcone/examples/checkout/shipping"
)

// Config says how much load there is.
type Config struct {
	Requests int // stop after so many
	Clients  int // at the same time
	Seed     uint64

	WarehouseSlowEvery int64 // one count in so many is slow, on average
	BankSlowEvery      int64 // one charge in so many is slow, on average
}

// Defaults gives a load of some seconds, with a few failures in it.
func Defaults() Config {
	return Config{Requests: 2500, Clients: 16, Seed: 1, WarehouseSlowEvery: 80, BankSlowEvery: 70}
}

// Run starts the service, lets customers come, and stops it in good order. It gives what the customers say.
func Run(ctx context.Context, c Config) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	stop := newService(c).start(ctx, listener)
	said, err := invite(ctx, c, "http://"+listener.Addr().String()+"/checkout")
	return strings.TrimSpace(said), errors.Join(err, stop())
}

// invite lets the customers come, as a process of their own.
func invite(ctx context.Context, c Config, url string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	customers := exec.CommandContext(ctx, self, "-customers-of", url, // #nosec G204 -- ourselves
		"-requests", fmt.Sprint(c.Requests), "-clients", fmt.Sprint(c.Clients), "-seed", fmt.Sprint(c.Seed))
	customers.Stderr = os.Stderr
	said, err := customers.Output()
	if err != nil {
		err = fmt.Errorf("the customers: %w", err)
	}
	return string(said), err
}

var stock = map[string]int{"mug": 500, "lamp": 300, "chair": 120, "teapot": 400, "rug": 80, "clock": 90}

func newService(c Config) *service {
	peer := func(usual, slow time.Duration, slowEvery int64) *remote.Peer {
		return &remote.Peer{Usual: usual, Slow: slow, SlowEvery: slowEvery, Seed: c.Seed}
	}
	warehouse := &inventory.Warehouse{Stock: stock, Peer: peer(200*time.Microsecond, 50*time.Millisecond, c.WarehouseSlowEvery)}
	s := &service{
		jobs:     queue.New[job](32),
		stock:    inventory.NewStore(warehouse),
		prices:   pricing.NewCache(peer(300*time.Microsecond, 0, 0), 100*time.Millisecond),
		bank:     payment.Open(peer(800*time.Microsecond, 40*time.Millisecond, c.BankSlowEvery), 2),
		patience: 50 * time.Millisecond,
	}
	for i, name := range []string{"pigeon", "tortoise", "comet"} {
		s.carriers = append(s.carriers, &shipping.Carrier{Name: name, Cents: 300 + 80*i, Peer: peer(400*time.Microsecond, 0, 0)})
	}
	return s
}

// start starts what runs beside the requests. What it gives back stops all of that, upstream first.
func (s *service) start(ctx context.Context, listener net.Listener) (stop func() error) {
	var accepting, working, refreshing sync.WaitGroup
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	accepting.Go(func() { _ = server.Serve(listener) }) // ends by Shutdown
	for range 8 {
		working.Go(s.worker)
	}
	background, cancel := context.WithCancel(ctx)
	refreshing.Go(func() { s.stock.Run(background, 25*time.Millisecond) })
	return func() error {
		soon, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer done()
		err := server.Shutdown(soon)
		accepting.Wait()
		s.jobs.Close()
		working.Wait()
		cancel()
		refreshing.Wait()
		return err
	}
}
