package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/pastcone/pastcone/examples/checkout/inventory"
	"github.com/pastcone/pastcone/examples/checkout/payment"
	"github.com/pastcone/pastcone/examples/checkout/pricing"
	"github.com/pastcone/pastcone/examples/checkout/queue"
	"github.com/pastcone/pastcone/examples/checkout/shipping"
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
	request  string // its id
	order    Order
	deadline time.Time
	reply    chan<- result
}

type result struct {
	receipt Receipt
	err     error
}

// handler is the service as seen from outside.
func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /checkout", s.serveCheckout)
	return impatient(s.patience, mux)
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
	var order Order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<12)).Decode(&order); err != nil {
		respond(w, http.StatusBadRequest, err.Error())
		return
	}
	receipt, err := s.submit(r.Context(), r.Header.Get("X-Request-Id"), order)
	switch {
	case err == nil:
		respond(w, http.StatusOK, receipt)
	case errors.Is(err, inventory.ErrSoldOut):
		respond(w, http.StatusConflict, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		respond(w, http.StatusGatewayTimeout, err.Error())
	default:
		slog.Error("an order broke", "error", err)
		respond(w, http.StatusInternalServerError, err.Error())
	}
}

func respond(w http.ResponseWriter, status int, body any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a customer who has left is none of our errors
}

// submit hands an order to the workers and waits for what comes of it.
func (s *service) submit(ctx context.Context, request string, order Order) (Receipt, error) {
	reply := make(chan result, 1) // has room for the one reply: no worker waits for us
	j := job{request: request, order: order, reply: reply}
	j.deadline, _ = ctx.Deadline()
	if err := s.jobs.Push(ctx, j); err != nil {
		return Receipt{}, fmt.Errorf("the queue is full: %w", err)
	}
	select {
	case done := <-reply:
		return done.receipt, done.err
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("no worker is done with it: %w", ctx.Err())
	}
}

// worker does jobs until the queue is closed.
func (s *service) worker() {
	for {
		j, ok := s.jobs.Pop()
		if !ok {
			return
		}
		s.process(j)
	}
}

func (s *service) process(j job) {
	ctx, cancel := context.WithDeadline(context.Background(), j.deadline)
	defer cancel()
	receipt, err := s.fulfil(ctx, j.request, j.order)
	j.reply <- result{receipt, err}
}

// fulfil does what an order takes.
func (s *service) fulfil(ctx context.Context, request string, o Order) (Receipt, error) {
	price, err := s.prices.Price(ctx, o.SKU)
	if err != nil {
		return Receipt{}, err
	}
	if err := s.stock.Reserve(o.SKU, o.N); err != nil {
		return Receipt{}, fmt.Errorf("order %s: %w", request, err)
	}
	quote, err := shipping.Cheapest(ctx, s.carriers, o.N)
	if err == nil {
		err = s.bank.Charge(ctx, price*o.N+quote.Cents)
	}
	if err != nil {
		s.stock.PutBack(o.SKU, o.N)
		return Receipt{}, err
	}
	return Receipt{Cents: price*o.N + quote.Cents, Carrier: quote.Carrier}, nil
}
