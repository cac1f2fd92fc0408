// Package servertest has a small flow to put behind a server, for tests of both ends of the protocol: it
// records in memory, tells events that come twice, and lets the test say what is durable and when.
//
// In the plan's words this stands for everything behind the Ingestor.
package servertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/protocol"
	"github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

// Serve starts a server on that address. The function that it gives shuts it down at once; so does the end of the test.
func Serve(t testing.TB, address string, o server.Options) (at string, stop func()) {
	t.Helper()
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	Eventually(t, "the address is free", func() bool {
		l, err = server.Listen(address)
		return err == nil
	})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		_ = s.Shutdown(ctx)
		<-served
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// Recorder is a small flow behind the server: one goroutine gives out ids, as the correlator does; what
// is durable moves on by itself, or when the test says so.
type Recorder struct {
	Names *wire.Table // change it before the first source comes

	queue  chan *wire.Batch
	over   chan struct{}
	cancel context.CancelFunc

	mu      sync.Mutex
	changed chan struct{}
	waiting []func()
	next    event.ID
	durable event.ID
	seen    map[string]int // "stream#seq" → how often it came

	// What the test decides: change it by Set.

	Held     bool // nothing becomes durable
	HoldDone bool // Dones wait for the input's Close
	OpenErr  error
	PushErr  error
	WaitErr  error
	OnClose  func() // called by each Close of an input

	// What has happened: read it when nothing goes on.

	Duplicates int // events that came again
	Rejects    []source.Rejected
	Opened     []string // name/format/session, finite
	Closes     int
	Ends       int // of the closes, those with everything there
	Hurries    int
}

// New makes a recorder, which lasts as long as the test.
func New(t testing.TB) *Recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &Recorder{
		Names: wire.NewTable(1 << 20), queue: make(chan *wire.Batch, 4), over: make(chan struct{}), cancel: cancel,
		changed: make(chan struct{}), seen: map[string]int{}, next: 1,
	}
	go r.correlate(ctx)
	t.Cleanup(func() {
		cancel()
		<-r.over
	})
	return r
}

func (r *Recorder) correlate(ctx context.Context) {
	defer close(r.over)
	for {
		var b *wire.Batch
		select {
		case b = <-r.queue:
		case <-ctx.Done():
			return
		}
		r.mu.Lock()
		last := event.ID(0)
		i := 0
		for _, run := range b.Runs {
			for range run.Len {
				at := fmt.Sprintf("%s#%d", r.Names.NameOf(run.Stream), b.Records[i].Seq)
				if r.seen[at]++; r.seen[at] > 1 {
					r.Duplicates++
				} else {
					last = r.next
					r.next++
				}
				i++
			}
		}
		if !r.Held {
			r.durable = r.next
		}
		done := func() { b.Done(last) }
		if r.HoldDone {
			r.waiting = append(r.waiting, done)
			done = func() {}
		}
		r.notify()
		r.mu.Unlock()
		done()
	}
}

func (r *Recorder) notify() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Set lets the test decide, and wakes whoever waits for that.
func (r *Recorder) Set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	if !r.Held {
		r.durable = r.next
	}
	r.notify()
}

func (r *Recorder) releaseDones() {
	r.mu.Lock()
	waiting := r.waiting
	r.waiting, r.HoldDone = nil, false
	r.mu.Unlock()
	for _, f := range waiting {
		f()
	}
}

// Account is what the server calls: every event that has come is stored.
func (r *Recorder) Account(string) protocol.Ended {
	return protocol.Ended{Stored: uint64(r.Count())} // #nosec G115 -- a count
}

// Open is what the server calls.
func (r *Recorder) Open(_ context.Context, s server.Source) (server.Input, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.OpenErr != nil {
		return nil, r.OpenErr
	}
	opened := s.Name + "/" + s.Format + "/" + s.Session
	if s.Finite {
		opened += ", finite"
	}
	r.Opened = append(r.Opened, opened)
	return &input{r}, nil
}

type input struct{ r *Recorder }

func (in *input) Table() *wire.Table { return in.r.Names }

func (in *input) Push(ctx context.Context, b *wire.Batch) error {
	in.r.mu.Lock()
	err := in.r.PushErr
	in.r.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case in.r.queue <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (in *input) Reject(rejected source.Rejected) error {
	in.r.mu.Lock()
	defer in.r.mu.Unlock()
	in.r.Rejects = append(in.r.Rejects, rejected)
	return nil
}

func (in *input) WaitDurable(ctx context.Context, last event.ID) error {
	for {
		in.r.mu.Lock()
		ok, err, changed := in.r.durable > last, in.r.WaitErr, in.r.changed
		in.r.mu.Unlock()
		switch {
		case err != nil:
			return err
		case ok:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Hurry lets Dones come that are held.
func (in *input) Hurry(context.Context) error {
	in.r.Set(func() { in.r.Hurries++ })
	in.r.releaseDones()
	return nil
}

func (in *input) Close(ended bool) error {
	in.r.Set(func() {
		if in.r.Closes++; ended {
			in.r.Ends++
		}
	})
	in.r.releaseDones()
	if f := in.r.OnClose; f != nil {
		f()
	}
	return errors.New("a close that fails is only logged")
}

// Events gives what was recorded, once each.
func (r *Recorder) Events() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for at := range r.seen {
		all = append(all, at)
	}
	sort.Strings(all)
	return strings.Join(all, " ")
}

// Count gives the number of events that were recorded.
func (r *Recorder) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// Answerer knows a few operations.
type Answerer struct{}

// Answer is what the server calls.
func (Answerer) Answer(ctx context.Context, op string, args json.RawMessage, w func([]byte) error) error {
	switch op {
	case "echo":
		return w(args)
	case "count":
		var n int
		if err := json.Unmarshal(args, &n); err != nil {
			return err
		}
		for i := range n {
			if err := w(fmt.Append(nil, i)); err != nil {
				return err
			}
		}
		return nil
	case "wait":
		<-ctx.Done()
		return ctx.Err()
	case "huge":
		return w(make([]byte, 17<<20))
	case "panic":
		panic("on purpose")
	}
	return fmt.Errorf("no operation %q", op)
}

// Eventually waits until is says so.
func Eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// Closed gives how many inputs were closed.
func (r *Recorder) Closed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Closes
}
