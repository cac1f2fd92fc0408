package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/pastcone/pastcone/examples/probed/inventory"
	"github.com/pastcone/pastcone/examples/probed/payment"
	"github.com/pastcone/pastcone/examples/probed/pricing"
	"github.com/pastcone/pastcone/examples/probed/queue"
	"github.com/pastcone/pastcone/examples/probed/shipping"
	"github.com/pastcone/pastcone/probe"
)

// Order is what a customer sends.
type Order struct {
	SKU string `json:"sku"`
	N   int    `json:"n"`
}

// Receipt is what the customer gets.
type Receipt struct {
	Cents   int    `json:"cents"`
	Carrier string `json:"carrier"`
}

// service takes orders over HTTP and lets a few workers see to them.
type service struct {
	jobs     *queue.Queue[job]
	stock    *inventory.Store
	prices   *pricing.Cache
	bank     *payment.Gateway
	carriers []*shipping.Carrier
	patience time.Duration // of a customer
}

type job struct {
	order    Order
	deadline time.Time
	reply    *probe.Chan[result]
}

type result struct {
	receipt Receipt
	err     error
}

// handler is the service as seen from outside.
func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /checkout", s.serveCheckout)
	return recorded(impatient(s.patience, mux))
}

// recorded makes each request a piece of work of its own, and puts its id on all that happens for it.
func recorded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := probe.With(r.Context(), slog.String("request", r.Header.Get("X-Request-Id")))
		defer probe.Root(ctx, slog.String("path", r.URL.Path)).End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// impatient gives each request a deadline.
func impatient(patience time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func (s *service) serveCheckout(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	defer probe.Call(ctx).End()
	var order Order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<12)).Decode(&order); err != nil {
		respond(ctx, w, http.StatusBadRequest, err.Error())
		return
	}
	receipt, err := s.submit(ctx, order)
	switch {
	case err == nil:
		respond(ctx, w, http.StatusOK, receipt)
	case errors.Is(err, inventory.ErrSoldOut):
		respond(ctx, w, http.StatusConflict, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		respond(ctx, w, http.StatusGatewayTimeout, err.Error())
	default:
		respond(ctx, w, http.StatusInternalServerError, err.Error())
	}
}

func respond(ctx context.Context, w http.ResponseWriter, status int, body any) {
	probe.Log(ctx, "respond", slog.Int("status", status))
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a customer who has left is none of our errors
}

// submit hands an order to the workers and waits for what comes of it.
func (s *service) submit(ctx context.Context, order Order) (Receipt, error) {
	defer probe.Call(ctx).End()
	j := job{order: order, reply: probe.NewChan[result]("reply", 1)}
	j.deadline, _ = ctx.Deadline()
	if err := s.jobs.Push(ctx, j); err != nil {
		return Receipt{}, probe.Error(ctx, fmt.Errorf("the queue is full: %w", err))
	}
	done, err := j.reply.Receive(ctx)
	if err != nil {
		return Receipt{}, probe.Error(ctx, fmt.Errorf("no worker is done with it: %w", err))
	}
	return done.receipt, done.err
}

// work starts the workers and waits until the queue is closed and they are done.
func (s *service) work(ctx context.Context, workers int) {
	var wg sync.WaitGroup
	for range workers {
		wg.Add(1)
		probe.Go(ctx, "worker", func(ctx context.Context) {
			defer wg.Done()
			s.worker(ctx)
		})
	}
	wg.Wait()
}

func (s *service) worker(ctx context.Context) {
	defer probe.Call(ctx).End()
	for {
		ctx, j, err := s.jobs.Pop(ctx)
		if err != nil {
			return // closed
		}
		s.process(ctx, j)
	}
}

func (s *service) process(ctx context.Context, j job) {
	defer probe.Call(ctx).End()
	ctx, cancel := context.WithDeadline(ctx, j.deadline)
	defer cancel()
	receipt, err := s.fulfil(ctx, j.order)
	j.reply.TrySend(ctx, result{receipt, err}) // has room for the one reply
}

// fulfil does what an order takes.
func (s *service) fulfil(ctx context.Context, o Order) (Receipt, error) {
	defer probe.Call(ctx, slog.String("sku", o.SKU), slog.Int("n", o.N)).End()
	price, err := s.prices.Price(ctx, o.SKU)
	if err != nil {
		return Receipt{}, err
	}
	if err := s.stock.Reserve(ctx, o.SKU, o.N); err != nil {
		return Receipt{}, err
	}
	quote, err := shipping.Cheapest(ctx, s.carriers, o.N)
	if err == nil {
		err = s.bank.Charge(ctx, price*o.N+quote.Cents)
	}
	if err != nil {
		s.stock.PutBack(ctx, o.SKU, o.N)
		return Receipt{}, err
	}
	return Receipt{Cents: price*o.N + quote.Cents, Carrier: quote.Carrier}, nil
}
