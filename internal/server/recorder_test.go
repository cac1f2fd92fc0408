package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a small flow behind the server: one goroutine gives out ids, as the correlator does; what
// is durable moves on by itself, or when the test says so.
type recorder struct {
	t      *testing.T
	table  *wire.Table
	queue  chan *wire.Batch
	over   chan struct{}
	cancel context.CancelFunc

	mu         sync.Mutex
	changed    chan struct{}
	held       bool // nothing becomes durable
	holdDone   bool // Dones wait for the input's Close, or for release
	waiting    []func()
	next       event.ID
	durable    event.ID
	seen       map[string]int // "stream#seq" → how often it was emitted
	duplicates int
	rejects    []source.Rejected
	opened     []string
	closed     int

	openErr, pushErr, waitErr error
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &recorder{
		t: t, table: wire.NewTable(1 << 20), queue: make(chan *wire.Batch, 4), over: make(chan struct{}), cancel: cancel,
		changed: make(chan struct{}), seen: map[string]int{}, next: 1,
	}
	go r.correlate(ctx)
	t.Cleanup(func() {
		cancel()
		<-r.over
	})
	return r
}

func (r *recorder) correlate(ctx context.Context) {
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
				at := fmt.Sprintf("%s#%d", r.table.NameOf(run.Stream), b.Records[i].Seq)
				if r.seen[at]++; r.seen[at] > 1 {
					r.duplicates++
				} else {
					last = r.next
					r.next++
				}
				i++
			}
		}
		if !r.held {
			r.durable = r.next
		}
		done := func() { b.Done(last) }
		if r.holdDone {
			r.waiting = append(r.waiting, done)
			done = func() {}
		}
		r.notify()
		r.mu.Unlock()
		done()
	}
}

func (r *recorder) notify() {
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	if !r.held {
		r.durable = r.next
	}
	r.notify()
}

func (r *recorder) releaseDones() {
	r.mu.Lock()
	waiting := r.waiting
	r.waiting, r.holdDone = nil, false
	r.mu.Unlock()
	for _, f := range waiting {
		f()
	}
}

func (r *recorder) Open(_ context.Context, name, format, session string) (Input, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.openErr != nil {
		return nil, r.openErr
	}
	r.opened = append(r.opened, name+"/"+format+"/"+session)
	return &input{r}, nil
}

type input struct{ r *recorder }

func (in *input) Table() *wire.Table { return in.r.table }

func (in *input) Push(ctx context.Context, b *wire.Batch) error {
	in.r.mu.Lock()
	err := in.r.pushErr
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
	in.r.rejects = append(in.r.rejects, rejected)
	return nil
}

func (in *input) WaitDurable(ctx context.Context, last event.ID) error {
	for {
		in.r.mu.Lock()
		ok, err, changed := in.r.durable > last, in.r.waitErr, in.r.changed
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

func (in *input) Close() error {
	in.r.set(func() { in.r.closed++ })
	in.r.releaseDones()
	return errors.New("a close that fails is only logged")
}

// events gives what was recorded, once each.
func (r *recorder) events() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for at := range r.seen {
		all = append(all, at)
	}
	sort.Strings(all)
	return strings.Join(all, " ")
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// answerer knows a few operations.
type answerer struct{}

func (answerer) Answer(ctx context.Context, op string, args json.RawMessage, w func([]byte) error) error {
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

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
