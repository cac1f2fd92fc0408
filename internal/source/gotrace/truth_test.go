package gotrace

import (
	"context"
	"runtime"
	"runtime/trace"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pastcone/pastcone/event"
)

// told is a message that names itself: its sender and its receiver note down its number in the trace.
type told struct {
	id    int64
	reply chan told
}

// tellingProgram sends messages in all the ways in which goroutines wait for them, and notes down each one.
func tellingProgram(rounds int) {
	ctx := context.Background()
	var ids atomic.Int64
	sending := func(m told) told {
		m.id = ids.Add(1)
		trace.Log(ctx, "sends", strconv.FormatInt(m.id, 10))
		return m
	}
	received := func(m told) { trace.Log(ctx, "receives", strconv.FormatInt(m.id, 10)) }
	unbuffered, buffered, quit := make(chan told), make(chan told, 8), make(chan bool)
	var workers, clients sync.WaitGroup
	for range 3 {
		workers.Go(func() { // waits in a receive, answers with a send
			for m := range unbuffered {
				received(m)
				m.reply <- sending(told{})
			}
		})
		workers.Go(func() { // waits in a select that may send as well as receive
			var answer told
			var out chan told
			for {
				select {
				case m := <-buffered:
					received(m)
					answer, out = sending(told{}), m.reply
				case out <- answer:
					out = nil
				case <-quit:
					return
				}
				for out != nil { // the reply before the next job
					select {
					case out <- answer:
						out = nil
					case <-quit:
						return
					}
				}
			}
		})
	}
	for i := range 6 {
		clients.Go(func() {
			replies := make(chan told)
			for n := range rounds {
				to := unbuffered
				if (i+n)%2 == 0 {
					to = buffered
				}
				to <- sending(told{reply: replies})
				if n%3 == 0 {
					runtime.Gosched()
				}
				if i < 3 {
					received(<-replies)
					continue
				}
				select { // may meet a select that sends
				case m := <-replies:
					received(m)
				case <-quit:
				}
			}
		})
	}
	clients.Wait()
	close(unbuffered)
	close(quit)
	workers.Wait()
}

// TestRead_InferredSendersAreTheTrueOnes measures how often the waker that the source makes the sender of a message is the
// one that sent it. Where both sides are in a select, nothing in a trace tells who of them sends: here a third of the replies
// are such, a client that sends and receives in plain operations has none.
func TestRead_InferredSendersAreTheTrueOnes(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	text := record(t, func() { tellingProgram(rounds) })
	k, _ := read(t, text, Options{})
	sender := map[string]string{} // by number of the message
	for _, e := range k.only(kind(event.KindLog), dataIs("category", "sends")) {
		sender[dataOf(e, "message").(string)] = e.Stream
	}
	type share struct{ right, all int }
	shares := map[string]*share{}
	waiting := map[string]*event.Event{} // the receive that the stream did last, until it notes the message down
	count := func(r *event.Event, right bool) {
		reason := dataOf(r, "reason").(string)
		if shares[reason] == nil {
			shares[reason] = &share{}
		}
		shares[reason].all++
		if right {
			shares[reason].right++
		}
	}
	messages := 0
	for i := range k.events {
		e := &k.events[i]
		switch {
		case e.Kind == event.KindReceive && !e.Closed:
			waiting[e.Stream] = e
		case e.Kind == event.KindLog && dataOf(e, "category") == "receives":
			messages++
			r := waiting[e.Stream]
			delete(waiting, e.Stream)
			if r == nil {
				continue
			}
			count(r, r.Peer == sender[dataOf(e, "message").(string)])
		case e.Kind == event.KindState && dataOf(e, "state") == "waiting":
			if r := waiting[e.Stream]; r != nil { // it noted nothing down: it was not receiving, but sending
				delete(waiting, e.Stream)
				count(r, false)
			}
		}
	}
	for reason, least := range map[string]float64{reasonReceive: 99, reasonSelect: 75} {
		s := shares[reason]
		if s == nil || s.all < 50 {
			t.Errorf("too few messages were waited for in a %s: %+v", reason, s)
			continue
		}
		percent := 100 * float64(s.right) / float64(s.all)
		t.Logf("%-12s %6d inferred, %.2f %% of them from the true sender; %d messages in all", reason, s.all, percent, messages)
		if percent < least {
			t.Errorf("in a %s %.2f %% of the inferred senders are right, want %.0f %%", reason, percent, least)
		}
	}
}
