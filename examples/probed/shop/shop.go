// Package shop is the checkout service of a small web shop, with the load that it runs under.
//
// An order goes from its HTTP handler through a queue to a worker, which looks up the price, takes the
// things off their shelf, asks three carriers at once, and charges the customer over one of a few
// connections to the bank. In the background the shelves are refreshed from the warehouse. Now and
// then an order fails: "sold out", although the warehouse is full, or "context deadline exceeded".
// Why, the recording tells.
package shop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/pastcone/pastcone/examples/probed/inventory"
	"github.com/pastcone/pastcone/examples/probed/payment"
	"github.com/pastcone/pastcone/examples/probed/pricing"
	"github.com/pastcone/pastcone/examples/probed/queue"
	"github.com/pastcone/pastcone/examples/probed/remote"
	"github.com/pastcone/pastcone/examples/probed/shipping"
	"github.com/pastcone/pastcone/probe"
)

// Config says how much load there is, and where the recording goes. What is zero has a default.
type Config struct {
	Requests int           // stop after so many; default 2,500
	Clients  int           // at the same time; default 16
	Duration time.Duration // stop after this time; default: none
	Seed     uint64

	Events string // record to this file of event lines
	To     string // record to the server at this address
	Wait   bool   // let the service wait when the recorder's buffers are full, in place of dropping events

	WarehouseSlowEvery int64 // one count in so many is slow, on average; default 80
	BankSlowEvery      int64 // one charge in so many is slow, on average; default 70
}

// Summary says what came of the requests.
type Summary struct {
	Requests, Fine, SoldOut, TimedOut, Broken int

	Elapsed time.Duration
	Probe   probe.Stats // zero if nothing was recorded
}

func (s Summary) String() string {
	text := fmt.Sprintf("%d requests in %.1f s: %d fine, %d sold out, %d timed out, %d broken",
		s.Requests, s.Elapsed.Seconds(), s.Fine, s.SoldOut, s.TimedOut, s.Broken)
	if s.Probe.Events > 0 {
		text += fmt.Sprintf("; %d events recorded, %d dropped", s.Probe.Written, s.Probe.Dropped)
	}
	return text
}

func (c *Config) complete() {
	set := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	set(&c.Requests, 2500)
	set(&c.Clients, 16)
	if c.WarehouseSlowEvery == 0 {
		c.WarehouseSlowEvery = 80
	}
	if c.BankSlowEvery == 0 {
		c.BankSlowEvery = 70
	}
}

// Run starts the service, puts it under load, and stops it in good order.
func Run(ctx context.Context, c Config) (summary Summary, err error) {
	c.complete()
	if c.Events != "" || c.To != "" {
		policy := probe.Drop
		if c.Wait {
			policy = probe.Wait
		}
		recorder, err := probe.Start(probe.Options{File: c.Events, Address: c.To, Source: "checkout", Policy: policy})
		if err != nil {
			return summary, err
		}
		defer func() {
			err = errors.Join(err, recorder.Close())
			summary.Probe = recorder.Stats()
		}()
	}
	ctx = probe.Attach(ctx, "main")
	defer probe.Call(ctx).End()

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return summary, err
	}
	s := newService(ctx, c)
	stop := s.start(ctx, listener)
	began := time.Now()
	summary = load(ctx, c, "http://"+listener.Addr().String()+"/checkout")
	summary.Elapsed = time.Since(began)
	return summary, stop()
}

var stock = map[string]int{"mug": 500, "lamp": 300, "chair": 120, "teapot": 400, "rug": 80, "clock": 90}

func newService(ctx context.Context, c Config) *service {
	defer probe.Call(ctx).End()
	peer := func(usual, slow time.Duration, slowEvery int64) *remote.Peer {
		return &remote.Peer{Usual: usual, Slow: slow, SlowEvery: slowEvery, Seed: c.Seed}
	}
	warehouse := &inventory.Warehouse{Stock: stock, Peer: peer(200*time.Microsecond, 50*time.Millisecond, c.WarehouseSlowEvery)}
	s := &service{
		jobs:     queue.New[job]("jobs", 32),
		stock:    inventory.NewStore(warehouse),
		prices:   pricing.NewCache(peer(300*time.Microsecond, 0, 0), 100*time.Millisecond),
		bank:     payment.Open(ctx, peer(800*time.Microsecond, 40*time.Millisecond, c.BankSlowEvery), 2),
		patience: 50 * time.Millisecond,
	}
	for i, name := range []string{"pigeon", "tortoise", "comet"} {
		s.carriers = append(s.carriers, &shipping.Carrier{Name: name, Cents: 300 + 80*i, Peer: peer(400*time.Microsecond, 0, 0)})
	}
	return s
}

// start starts what runs beside the requests. What it gives back stops all of that, upstream first.
func (s *service) start(ctx context.Context, listener net.Listener) (stop func() error) {
	defer probe.Call(ctx).End()
	var accepting, working, refreshing sync.WaitGroup
	run := func(wg *sync.WaitGroup, name string, f func(context.Context)) {
		wg.Add(1)
		probe.Go(ctx, name, func(ctx context.Context) {
			defer wg.Done()
			f(ctx)
		})
	}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	run(&accepting, "accept", func(ctx context.Context) {
		server.BaseContext = func(net.Listener) context.Context { return ctx }
		server.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { return probe.Spawn(ctx, "conn") }
		_ = server.Serve(listener) // ends by Shutdown
	})
	run(&working, "workers", func(ctx context.Context) { s.work(ctx, 8) })
	background, cancel := context.WithCancel(ctx)
	run(&refreshing, "refresh", func(ctx context.Context) {
		s.stock.Run(probe.Continue(background, ctx), 25*time.Millisecond)
	})
	return func() error {
		soon, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer done()
		err := server.Shutdown(soon)
		accepting.Wait()
		s.jobs.Close(ctx)
		working.Wait()
		cancel()
		refreshing.Wait()
		return err
	}
}
