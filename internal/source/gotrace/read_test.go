package gotrace

import (
	"context"
	"fmt"
	"net"
	"runtime/trace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

const settle = 5 * time.Millisecond // time for a goroutine to begin its wait

//go:noinline
func receiver(in chan int, done chan bool) {
	for range in {
	}
	close(done)
}

//go:noinline
func sender(to chan int) { to <- 7 }

func TestRead_AMessageToAWaitingGoroutineIsASendAndAReceive(t *testing.T) {
	text := record(t, func() {
		in, done := make(chan int), make(chan bool)
		go receiver(in, done)
		time.Sleep(settle)
		sender(in)
		time.Sleep(settle)
		close(in)
		<-done
	})
	k, stats := read(t, text, Options{})
	send := k.one(t, kind(event.KindSend), inFunc(".sender"))
	receive := k.one(t, kind(event.KindReceive), inFunc(".receiver"), func(e *event.Event) bool { return !e.Closed })
	if send.Message == "" || send.Message != receive.Message {
		t.Errorf("the send has message %q, the receive %q", send.Message, receive.Message)
	}
	if send.Peer != receive.Stream || receive.Peer != send.Stream {
		t.Errorf("the send of %s goes to %s, the receive of %s comes from %s", send.Stream, send.Peer, receive.Stream, receive.Peer)
	}
	if wait, _ := dataOf(receive, "wait_ns").(float64); time.Duration(wait) < settle/2 || dataOf(receive, "reason") != reasonReceive {
		t.Errorf("the receive tells of its wait: %s", receive.Data)
	}
	if !strings.HasSuffix(receive.File, "gotrace/read_test.go") || receive.Line == 0 {
		t.Errorf("the receive is at %s:%d", receive.File, receive.Line)
	}
	closed := k.one(t, kind(event.KindReceive), inFunc(".receiver"), func(e *event.Event) bool { return e.Closed })
	closing := k.one(t, kind(event.KindClose), func(e *event.Event) bool { return e.Key == closed.Key })
	if closing.Stream != send.Stream || closed.Stream != receive.Stream {
		t.Errorf("%s closed the channel for %s", closing.Stream, closed.Stream)
	}
	if !stats.WallClock || time.Since(time.Unix(0, send.Time)).Abs() > time.Minute {
		t.Errorf("the send was at %v", time.Unix(0, send.Time))
	}
	if stats.Version != 26 && stats.Version != 25 {
		t.Logf("format of Go 1.%d", stats.Version)
	}
}

func TestRead_AGoroutineIsSpawnedAndStartsAndExits(t *testing.T) {
	text := record(t, func() {
		var all sync.WaitGroup
		all.Add(1)
		go worker(&all)
		all.Wait()
		time.Sleep(settle)
	})
	k, _ := read(t, text, Options{})
	start := k.one(t, kind(event.KindStart), inFunc(".worker"))
	spawn := k.one(t, kind(event.KindSpawn), func(e *event.Event) bool { return e.Child == start.Stream })
	k.one(t, kind(event.KindExit), inStream(start.Stream))
	if !strings.HasSuffix(spawn.Func, "GoroutineIsSpawnedAndStartsAndExits.func1") || spawn.Line == 0 {
		t.Errorf("it was spawned in %s:%d", spawn.Func, spawn.Line)
	}
	woken := k.one(t, kind(event.KindWake), inStream(spawn.Stream), dataIs("reason", "sync"))
	waker := k.one(t, func(e *event.Event) bool { return len(woken.Cause) == 1 && e.Ref == woken.Cause[0] })
	if waker.Stream != start.Stream || waker.Kind != event.KindState || waker.Key != spawn.Stream {
		t.Errorf("%s was woken by %s", woken.Stream, event.AppendLine(nil, waker))
	}
	waited := k.one(t, kind(event.KindState), inStream(spawn.Stream), dataIs("reason", "sync"))
	if dataOf(waited, "state") != "waiting" || dataOf(waited, "stack") == nil {
		t.Errorf("the wait says %s", waited.Data)
	}
	if waited.Func != spawn.Func {
		t.Errorf("the wait is in %s, want the program's own function", waited.Func)
	}
}

//go:noinline
func worker(all *sync.WaitGroup) {
	time.Sleep(settle)
	all.Done()
}

func TestRead_StreamsFromBeforeTheTraceBeginWithAnotherKind(t *testing.T) {
	in, done := make(chan int), make(chan bool)
	go receiver(in, done)
	time.Sleep(settle)
	text := record(t, func() {
		sender(in)
		time.Sleep(settle)
	})
	close(in)
	<-done
	k, _ := read(t, text, Options{})
	send := k.one(t, kind(event.KindSend), inFunc(".sender"))
	receive := k.one(t, kind(event.KindReceive), func(e *event.Event) bool { return e.Message == send.Message })
	first := k.one(t, inStream(receive.Stream), func(e *event.Event) bool { return e.Seq == 1 })
	if first.Kind != event.KindState || dataOf(first, "state") != "waiting" {
		t.Errorf("its first event is %s", event.AppendLine(nil, first))
	}
	if dataOf(receive, "wait_ns") != nil {
		t.Errorf("nobody knows how long it waited: %s", receive.Data)
	}
}

func TestRead_ASelectReceivesOrNot(t *testing.T) {
	text := record(t, func() {
		jobs, results := make(chan int), make(chan int)
		var all sync.WaitGroup
		all.Go(func() { selecting(jobs, results) })
		time.Sleep(settle)
		sender(jobs)
		time.Sleep(settle)
		taker(results)
		all.Wait()
	})
	k, _ := read(t, text, Options{})
	k.one(t, kind(event.KindReceive), inFunc(".selecting"), dataIs("reason", reasonSelect))
	woken := k.one(t, kind(event.KindWake), inFunc(".selecting"), dataIs("reason", reasonSelect))
	waker := k.one(t, func(e *event.Event) bool { return e.Ref != "" && e.Ref == woken.Cause[0] })
	if !strings.HasSuffix(waker.Func, ".taker") || waker.Kind != event.KindState {
		t.Errorf("the select that sent was woken by %s", event.AppendLine(nil, waker))
	}
}

//go:noinline
func selecting(jobs, results chan int) {
	select {
	case <-jobs:
	case <-time.After(time.Minute):
	}
	select {
	case results <- 1:
	case <-time.After(time.Minute):
	}
}

//go:noinline
func taker(from chan int) { <-from }

func TestRead_OneCloseWakesMany(t *testing.T) {
	text := record(t, func() {
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() { <-ctx.Done() })
		}
		time.Sleep(settle)
		cancel()
		all.Wait()
	})
	k, _ := read(t, text, Options{})
	closed := k.only(kind(event.KindReceive), func(e *event.Event) bool { return e.Closed })
	if len(closed) != 5 {
		t.Fatalf("%d goroutines found the channel closed, want 5", len(closed))
	}
	for _, e := range closed {
		if e.Key != closed[0].Key {
			t.Errorf("%s found %s closed, %s found %s", e.Stream, e.Key, closed[0].Stream, closed[0].Key)
		}
	}
	k.one(t, kind(event.KindClose), func(e *event.Event) bool { return e.Key == closed[0].Key })
}

func TestRead_TimersAndTheNetworkWakeWithoutACause(t *testing.T) {
	text := record(t, func() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Error(err)
			return
		}
		defer l.Close()
		var all sync.WaitGroup
		all.Go(func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(settle)
			_, _ = c.Write([]byte("x"))
			_ = c.Close()
		})
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = c.Read(make([]byte, 1))
		reading(c, &all)
		all.Wait()
	})
	k, _ := read(t, text, Options{})
	for _, reason := range []string{reasonSleep, reasonNetwork} {
		waits := k.only(kind(event.KindWake), dataIs("reason", reason), func(e *event.Event) bool { return e.Peer == "" })
		if len(waits) == 0 {
			t.Errorf("nothing was woken from %q", reason)
		}
		for _, e := range waits {
			if len(e.Cause) > 0 {
				t.Errorf("%s has a cause without a waker", event.AppendLine(nil, e))
			}
		}
	}
	if calls := k.only(kind(event.KindCall), func(e *event.Event) bool { return e.Func == "syscall.write" }); len(calls) == 0 {
		t.Error("there is no call of syscall.write")
	} else if dataOf(calls[0], "stack") == nil || calls[0].Line == 0 {
		t.Errorf("the call is %s", event.AppendLine(nil, calls[0]))
	}
}

// reading waits for the network until another goroutine closes the connection.
func reading(c net.Conn, all *sync.WaitGroup) {
	all.Go(func() { _, _ = c.Read(make([]byte, 1)) })
	time.Sleep(settle)
	_ = c.Close()
}

func TestRead_TasksFoundWork(t *testing.T) {
	text := record(t, func() {
		ctx, task := trace.NewTask(context.Background(), "order")
		trace.WithRegion(ctx, "price", func() { trace.Log(ctx, "item", "a \"book\"\x01\xff") })
		child, sub := trace.NewTask(ctx, "payment")
		var all sync.WaitGroup
		all.Go(func() {
			defer trace.StartRegion(child, "pay").End()
			trace.Logf(child, "", "paid %d", 3)
			trace.Log(context.Background(), "stray", "no task")
		})
		all.Wait()
		sub.End()
		trace.Log(ctx, "", "done")
		task.End()
	})
	k, _ := read(t, text, Options{})
	order := k.one(t, kind(event.KindCall), inFunc("order"))
	if !order.Root || order.Ref == "" || len(order.Cause) > 0 {
		t.Errorf("the task begins with %s", event.AppendLine(nil, order))
	}
	k.one(t, kind(event.KindReturn), inFunc("order"), inStream(order.Stream), func(e *event.Event) bool { return len(e.Cause) == 0 })
	price := k.one(t, kind(event.KindCall), inFunc("price"))
	if price.Root || len(price.Cause) > 0 {
		t.Errorf("a region in its task's goroutine has its context: %s", event.AppendLine(nil, price))
	}
	item := k.one(t, kind(event.KindLog), dataIs("category", "item"))
	if got, want := dataOf(item, "message"), "a \"book\"\x01\ufffd"; got != want {
		t.Errorf("the log says %q, want %q", got, want)
	}
	payment := k.one(t, kind(event.KindCall), inFunc("payment"))
	if len(payment.Cause) > 0 || !payment.Root {
		t.Errorf("a subtask in its task's goroutine has its context: %s", event.AppendLine(nil, payment))
	}
	pay := k.one(t, kind(event.KindCall), inFunc("pay"))
	if pay.Stream == order.Stream || fmt.Sprint(pay.Cause) != fmt.Sprint([]string{payment.Ref}) {
		t.Errorf("a region in another goroutine is caused by its task %q: %s", payment.Ref, event.AppendLine(nil, pay))
	}
	if paid := k.one(t, kind(event.KindLog), dataIs("message", "paid 3")); len(paid.Cause) > 0 {
		t.Errorf("a log in a region of its task has its context: %s", event.AppendLine(nil, paid))
	}
	if stray := k.one(t, kind(event.KindLog), dataIs("category", "stray")); len(stray.Cause) > 0 {
		t.Errorf("a log without a task has a cause: %s", event.AppendLine(nil, stray))
	}
}

func TestRead_ADispatcherThatBeginsTasksWorksForNone(t *testing.T) {
	const jobs = 3
	text := record(t, func() {
		var all sync.WaitGroup
		for i := range jobs {
			ctx, task := trace.NewTask(context.Background(), "job")
			all.Go(func() {
				defer task.End()
				trace.WithRegion(ctx, fmt.Sprint("part", i), func() {})
			})
		}
		all.Wait()
	})
	k, _ := read(t, text, Options{})
	begun := k.only(kind(event.KindCall), inFunc("job"))
	if len(begun) != jobs {
		t.Fatalf("%d tasks have begun, want %d", len(begun), jobs)
	}
	for i, e := range begun {
		if !e.Root || len(e.Cause) > 0 {
			t.Errorf("job %d begins with %s", i, event.AppendLine(nil, e))
		}
		part := k.one(t, kind(event.KindCall), inFunc(fmt.Sprint("part", i)))
		if len(part.Cause) != 1 || part.Cause[0] != e.Ref {
			t.Errorf("part %d is caused by %q, want %q", i, part.Cause, e.Ref)
		}
		ended := k.one(t, kind(event.KindState), func(f *event.Event) bool { return f.Key == e.Ref })
		if dataOf(ended, "state") != "ended" || dataOf(ended, "duration_ns") == nil || ended.Stream != part.Stream {
			t.Errorf("job %d ends with %s", i, event.AppendLine(nil, ended))
		}
	}
	// Every call has returned, once: that of the last task when it ended, the others when the next began.
	if returned := k.only(kind(event.KindReturn), inFunc("job"), inStream(begun[0].Stream)); len(returned) != jobs {
		t.Errorf("%d calls have returned, want %d", len(returned), jobs)
	}
}

func TestRead_ThousandsOfGoroutines(t *testing.T) {
	const n = 3000
	text := record(t, func() {
		var mu sync.Mutex
		var all sync.WaitGroup
		sum := 0
		for range n {
			all.Go(func() {
				func() {
					defer func() { _ = recover() }()
					panic("of no consequence")
				}()
				mu.Lock()
				sum++
				mu.Unlock()
			})
		}
		all.Wait()
	})
	k, stats := read(t, text, Options{BatchEvents: 500})
	if starts := k.only(kind(event.KindStart), inFunc("WaitGroup).Go.func1")); len(starts) < n {
		t.Errorf("%d goroutines have started, want %d", len(starts), n)
	}
	if stats.Streams < n || stats.Batches < 2 {
		t.Errorf("%+v", stats)
	}
}

func TestRead_FlightRecorderSnapshot(t *testing.T) {
	recorder := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: time.Second})
	if err := recorder.Start(); err != nil {
		t.Fatal(err)
	}
	in, done := make(chan int), make(chan bool)
	go receiver(in, done)
	time.Sleep(settle)
	sender(in)
	time.Sleep(settle)
	var to strings.Builder
	if _, err := recorder.WriteTo(&to); err != nil {
		t.Fatal(err)
	}
	recorder.Stop()
	close(in)
	<-done
	k, stats := read(t, []byte(to.String()), Options{})
	send := k.one(t, kind(event.KindSend), inFunc(".sender"))
	k.one(t, kind(event.KindReceive), inFunc(".receiver"), func(e *event.Event) bool { return e.Message == send.Message })
	if !stats.WallClock {
		t.Error("a snapshot has the wall clock")
	}
}

func TestRead_SettingsChangeNothingButTheirOwn(t *testing.T) {
	text := record(t, func() {
		in, done := make(chan int), make(chan bool)
		go receiver(in, done)
		for range 200 {
			sender(in)
		}
		close(in)
		<-done
	})
	perStream := func(k *kept) map[string]string {
		all := map[string]string{}
		for i := range k.events {
			e := k.events[i]
			if e.Kind == event.KindState || e.Kind == event.KindCall {
				e.Data = nil
			}
			all[e.Stream] += string(event.AppendLine(nil, &e)) + "\n"
		}
		return all
	}
	plain, _ := read(t, text, Options{})
	want := perStream(plain)
	progress := int64(0)
	for _, o := range []Options{{BatchEvents: 1}, {BatchEvents: 7, StackFrames: -1}, {StackFrames: 1, Progress: func(s Stats) { progress = s.Events }}} {
		k, _ := read(t, text, o)
		if got := perStream(k); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("with %+v the streams are others", o)
		}
		for _, e := range k.only(kind(event.KindState), dataIs("reason", reasonReceive)) {
			stack, _ := dataOf(e, "stack").([]any)
			if max(o.StackFrames, 0) < len(stack) && o.StackFrames != 0 {
				t.Errorf("with %d frames of the stack there are %d", o.StackFrames, len(stack))
			}
		}
	}
	if progress != int64(len(plain.events)) {
		t.Errorf("progress told of %d events, there are %d", progress, len(plain.events))
	}
}

func TestRead_RunsAreLongWhereStreamsAreIndependent(t *testing.T) {
	a := assembly{number: 1}
	g, h := wire.Name(1), wire.Name(2)
	var atG, atH spot
	for range 3 {
		atG = a.place(g, atG, spot{})
		a.add(atG).Seq = 1
		atH = a.place(h, atH, spot{})
		a.add(atH).Seq = 2
	}
	atG = a.place(g, atG, atH) // h's event is its cause
	a.add(atG).Seq = 3
	b := a.batch()
	want := []wire.Run{{Stream: g, Len: 3}, {Stream: h, Len: 3}, {Stream: g, Len: 1}}
	if fmt.Sprint(b.Runs) != fmt.Sprint(want) {
		t.Errorf("runs %v, want %v", b.Runs, want)
	}
	seqs := ""
	for i := range b.Records {
		seqs += fmt.Sprint(b.Records[i].Seq)
	}
	if seqs != "1112223" {
		t.Errorf("records in the order %s", seqs)
	}
}
