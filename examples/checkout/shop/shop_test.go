package shop

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// The customers are a process of their own: in tests, this binary once more.
func TestMain(m *testing.M) {
	at := slices.Index(os.Args, "-customers-of")
	if at < 0 {
		os.Exit(m.Run())
	}
	c := Defaults()
	c.Requests, c.Clients = 400, 16
	if err := Customers(context.Background(), c, os.Args[at+1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestRun_SomeOrdersFailAndNoneGetsLost(t *testing.T) {
	c := Defaults()
	c.WarehouseSlowEvery, c.BankSlowEvery = 10, 12
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	said, err := Run(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	var requests, fine, soldOut, late, broken int
	var seconds float64
	if _, err := fmt.Sscanf(said, "%d requests in %f s: %d fine, %d sold out, %d timed out, %d broken", &requests, &seconds, &fine, &soldOut, &late, &broken); err != nil {
		t.Fatalf("%q: %v", said, err)
	}
	if requests != 400 || broken != 0 || fine+soldOut+late != requests {
		t.Errorf("the answers do not add up: %s", said)
	}
	if fine == 0 || soldOut == 0 || late == 0 {
		t.Errorf("some requests are to succeed, some to be sold out, some to time out: %s", said)
	}
}

func TestRun_SaysThatTheCustomersDidNotCome(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := Run(ctx, Defaults()); err == nil {
		t.Error("cancelled, and no error")
	}
}
