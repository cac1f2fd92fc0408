package probe

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
)

type end struct {
	key     string
	ordinal uint64
}

// Many goroutines at both ends: each element says by its value who sent it, and its receive must carry
// the number of just that send.
func TestChan_EachReceiveKnowsItsSend(t *testing.T) {
	for name, capacity := range map[string]int{"unbuffered": 0, "one": 1, "some": 7, "many": 1000} {
		t.Run(name, func(t *testing.T) {
			const senders, receivers, each = 4, 3, 300
			events := recorded(t, func(ctx context.Context) {
				c := NewChan[string]("c", capacity)
				var sending, receiving sync.WaitGroup
				for range receivers {
					receiving.Add(1)
					Go(ctx, "receiver", func(ctx context.Context) {
						defer receiving.Done()
						for i := 0; ; i++ {
							var v string
							var err error
							switch i % 3 {
							case 0:
								v, err = c.Receive(ctx)
							case 1:
								_, v, err = c.Take(ctx)
							case 2:
								m, ok := <-c.Out()
								v, err = c.Received(ctx, m, ok)
							}
							if err != nil {
								if !errors.Is(err, ErrClosed) {
									t.Error(err)
								}
								return
							}
							Log(ctx, v)
						}
					})
				}
				for range senders {
					sending.Add(1)
					Go(ctx, "sender", func(ctx context.Context) {
						defer sending.Done()
						for i := range each {
							v := carried(ctx).stream.name + "/" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
							Log(ctx, v)
							if i%2 == 0 && c.TrySend(ctx, v) {
								continue
							}
							if i%5 == 0 { // gives up, and tries again
								soon, cancel := context.WithTimeout(ctx, time.Microsecond)
								err := c.Send(soon, v)
								cancel()
								if err == nil {
									continue
								}
							}
							if err := c.Send(ctx, v); err != nil {
								t.Error(err)
							}
						}
					})
				}
				sending.Wait()
				c.Close(ctx)
				receiving.Wait()
			})
			sent := map[end]string{}
			last := map[string]string{}
			largest := uint64(0)
			for _, e := range events {
				switch {
				case e.Kind == event.KindLog && strings.HasPrefix(e.Stream, "sender"):
					last[e.Stream] = string(e.Data)
				case e.Kind == event.KindSend:
					at := end{e.Key, e.Ordinal}
					if sent[at] != "" {
						t.Fatalf("two sends are %v", at)
					}
					sent[at] = last[e.Stream]
					largest = max(largest, e.Ordinal)
				}
			}
			if len(sent) != senders*each || e2e(largest) > senders*each+senders {
				t.Errorf("%d sends, the largest number is %d: sends that come to nothing use numbers up", len(sent), largest)
			}
			received, closed := 0, 0
			waiting := map[string]end{}
			for _, e := range events {
				switch {
				case e.Kind == event.KindReceive && e.Closed:
					closed++
				case e.Kind == event.KindReceive:
					waiting[e.Stream] = end{e.Key, e.Ordinal}
				case e.Kind == event.KindLog && strings.HasPrefix(e.Stream, "receiver"):
					received++
					if at := waiting[e.Stream]; sent[at] != string(e.Data) {
						t.Fatalf("%s received %s, the send of %v sent %s", e.Stream, e.Data, at, sent[at])
					}
				}
			}
			if received != senders*each || closed != receivers {
				t.Errorf("%d received, %d found it closed", received, closed)
			}
		})
	}
}

func e2e(n uint64) int { return int(n) } // #nosec G115 -- small

func TestChan_WhatDoesNotHappenIsNotRecorded(t *testing.T) {
	events := recorded(t, func(ctx context.Context) {
		c := NewChan[int]("c9", 1)
		if c.Cap() != 1 || c.Len() != 0 {
			t.Errorf("length %d, capacity %d", c.Len(), c.Cap())
		}
		over, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := c.Receive(over); !errors.Is(err, context.Canceled) {
			t.Errorf("receive: %v", err)
		}
		if err := c.Send(over, 1); err != nil { // there is room, so it does not look at the context
			t.Errorf("send: %v", err)
		}
		if err := c.Send(over, 2); !errors.Is(err, context.Canceled) {
			t.Errorf("send into a full one: %v", err)
		}
		if c.TrySend(ctx, 3) {
			t.Error("sent into a full one")
		}
		if ctx, v, err := c.Take(over); v != 1 || err != nil || ctx == nil {
			t.Errorf("%d, %v", v, err)
		}
		//lint:ignore SA1012 nil is allowed
		if !c.TrySend(nil, 4) {
			t.Error("not sent")
		}
		//lint:ignore SA1012 nil is allowed
		if _, _, err := c.Take(nil); err != nil {
			t.Error(err)
		}
	})
	var got []string
	for _, e := range events {
		got = append(got, e.Kind.String()+" "+strings.TrimRight(e.Key, "0123456789")+" "+string(rune('0'+e.Ordinal)))
	}
	if s := strings.Join(got, ", "); s != "send c9- 1, receive c9- 1, send c9- 2, receive c9- 2" {
		t.Error(s)
	}
}

func TestChan_LabelsTravelToTake(t *testing.T) {
	events := recorded(t, func(ctx context.Context) {
		c := NewChan[int]("c", 3)
		sender := With(ctx, slog.String("request", "r1"))
		worker := With(Attach(ctx, "worker"), slog.String("who", "me"))
		for range 2 {
			if err := c.Send(sender, 1); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Receive(worker); err != nil {
			t.Fatal(err)
		}
		work, _, err := c.Take(worker)
		if err != nil {
			t.Fatal(err)
		}
		Log(work, "at work")
		Log(worker, "idle")
	})
	var got []string
	for _, e := range events {
		if strings.HasPrefix(e.Stream, "worker") {
			got = append(got, string(e.Data))
		}
	}
	want := `{"who":"me"} {"request":"r1"} {"request":"r1","text":"at work"} {"who":"me","text":"idle"}`
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

func TestChan_SentBeforeRecordingBegan(t *testing.T) {
	c := NewChan[int]("c", 2)
	if err := c.Send(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	events := recorded(t, func(ctx context.Context) {
		_ = c.Send(ctx, 2)
		for range 2 {
			if _, err := c.Receive(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	if e := events[1]; e.Ordinal != 0 || e.Message == "" {
		t.Errorf("%+v would be matched with a send that it is not from", e)
	}
	if e := events[2]; e.Ordinal != 1 || e.Message != "" {
		t.Errorf("%+v", e)
	}
}

// The number of an acquire is that of the release before it in the order of the lock, and the value
// under the lock proves that order.
func TestMutex_EachAcquireKnowsTheReleaseBeforeIt(t *testing.T) {
	const goroutines, each = 5, 200
	counter := 0
	events := recorded(t, func(ctx context.Context) {
		var mu Mutex
		var wg sync.WaitGroup
		for range goroutines {
			wg.Add(1)
			Go(ctx, "g", func(ctx context.Context) {
				defer wg.Done()
				for i := range each {
					if i%4 > 0 || !mu.TryLock(ctx) {
						mu.Lock(ctx)
					}
					State(ctx, "counter", slog.Int("n", counter))
					counter++
					mu.Unlock(ctx)
				}
			})
		}
		wg.Wait()
	})
	if counter != goroutines*each {
		t.Fatal("the lock does not lock")
	}
	held := map[string]uint64{} // by stream: the number of its acquire
	for _, e := range events {
		switch e.Kind {
		case event.KindAcquire:
			held[e.Stream] = e.Ordinal
		case event.KindState:
			if want := `{"n":` + itoa(held[e.Stream]) + `}`; string(e.Data) != want {
				t.Fatalf("acquire %d is followed by %s", held[e.Stream], e.Data)
			}
		case event.KindRelease:
			if e.Ordinal != held[e.Stream]+1 {
				t.Fatalf("release %d behind acquire %d", e.Ordinal, held[e.Stream])
			}
		}
	}
}

func itoa(n uint64) string { return strings.TrimPrefix(numbered("x", n), "x") }

func TestMutex_AReleaseThatNobodyRecordedIsNoCause(t *testing.T) {
	mu := Mutex{Name: "m"}
	ctx := context.Background()
	first := recorded(t, func(ctx context.Context) {
		mu.Lock(ctx)
		mu.Unlock(ctx)
	})
	if mu.TryLock(ctx) {
		if mu.TryLock(ctx) {
			t.Error("locked twice")
		}
		mu.Unlock(ctx)
	}
	second := recorded(t, func(ctx context.Context) {
		mu.Lock(ctx)
		mu.Unlock(ctx)
	})
	if first[0].Ordinal != 0 || first[1].Ordinal != 1 || second[0].Ordinal != 0 || second[1].Ordinal != 2 {
		t.Errorf("%+v %+v", first, second)
	}
	if first[0].Key != second[0].Key {
		t.Error("the lock has two names")
	}
}
