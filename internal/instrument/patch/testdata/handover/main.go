// This program hands locks and the like from goroutine to goroutine, and notes in plain memory who came after whom. It is built
// with the patched standard library; what it was recorded to have done has to agree with its notes.
//
// Each step leaves a marker, an event that carries the step's number: PastconeQueueSend serves for that.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Step is one note.
type Step struct {
	What    string   // what kind of step it is
	ID      uint64   // its marker
	After   uint64   // the marker of the step that let this one in; 0: none did
	Others  []uint64 // more of these, in no order
	Setting uint64   // timers: the marker before the timer was set
	Text    string
}

var (
	notes sync.Mutex
	steps []Step
	last  atomic.Uint64
)

func mark() uint64 {
	id := last.Add(1)
	runtime.PastconeQueueSend(1, id)
	return id
}

func note(s ...Step) {
	notes.Lock()
	steps = append(steps, s...)
	notes.Unlock()
}

// inParallel runs f in n goroutines of their own and waits with a channel, so that nothing but f uses package sync.
func inParallel(n int, f func(i int, r *rand.Rand)) {
	done := make(chan bool)
	for i := range n {
		go func() { f(i, rand.New(rand.NewSource(int64(i)))); done <- true }()
	}
	for range n {
		<-done
	}
}

var sink atomic.Pointer[[]byte]

func dawdle(r *rand.Rand) {
	switch r.Intn(12) {
	case 0:
		runtime.Gosched()
	case 1:
		time.Sleep(time.Duration(r.Intn(30)) * time.Microsecond)
	case 2:
		garbage := make([]byte, 1<<12)
		sink.Store(&garbage)
	case 3:
		for range r.Intn(3000) {
		}
	}
}

type guarded struct {
	mu   sync.Mutex
	prev uint64
}

var static guarded // in the data segment, not in the heap

func (g *guarded) step(r *rand.Rand, local *[]Step) {
	if r.Intn(4) == 0 {
		for !g.mu.TryLock() {
			runtime.Gosched()
		}
	} else {
		g.mu.Lock()
	}
	id := mark()
	*local = append(*local, Step{What: "mutex", ID: id, After: g.prev})
	g.prev = id
	dawdle(r)
	if r.Intn(5) == 0 {
		defer g.mu.Unlock()
		return
	}
	g.mu.Unlock()
}

// mutexes: some for good, some for a moment, so that their memory is used again; goroutines that stay with one for long.
func mutexes() {
	locks := []*guarded{&static}
	for range 6 {
		locks = append(locks, new(guarded))
	}
	inParallel(12, func(i int, r *rand.Rand) {
		var local []Step
		for len(local) < 1500 {
			switch r.Intn(40) {
			case 0:
				long := locks[r.Intn(len(locks))]
				for range 90 {
					long.step(r, &local)
				}
			case 1:
				short := new(guarded)
				handed := make(chan bool)
				seed := r.Int63()
				go func() {
					var his []Step
					short.step(rand.New(rand.NewSource(seed)), &his)
					note(his...)
					handed <- true
				}()
				short.step(r, &local)
				<-handed
			case 2:
				var own guarded // perhaps on the stack
				own.step(r, &local)
				own.step(r, &local)
			default:
				locks[r.Intn(len(locks))].step(r, &local)
			}
		}
		note(local...)
	})
}

// many: more locks than can be remembered, and more than are looked at in one cycle of the collector.
func many() {
	locks := make([]*guarded, 70_000)
	for i := range locks {
		locks[i] = new(guarded)
	}
	for range 2 {
		inParallel(1, func(int, *rand.Rand) {
			local := make([]Step, 0, len(locks))
			for _, g := range locks {
				g.mu.Lock()
				id := mark()
				local = append(local, Step{What: "mutex", ID: id, After: g.prev})
				g.prev = id
				g.mu.Unlock()
			}
			note(local...)
		})
		runtime.GC()
	}
}

// shortLived: locks whose memory becomes that of other locks soon.
func shortLived() {
	inParallel(4, func(i int, r *rand.Rand) {
		var local []Step
		for k := range 1500 {
			g, other := new(guarded), make(chan []Step)
			seed := r.Int63()
			go func() {
				var his []Step
				g.step(rand.New(rand.NewSource(seed)), &his)
				other <- his
			}()
			g.step(r, &local)
			local = append(local, <-other...)
			if k%100 == 0 {
				runtime.GC()
			}
		}
		note(local...)
	})
}

// periods: the recording is off for a while, in which locks go on.
func periods() {
	ring, err := os.OpenFile(os.Getenv("PASTCONE_RING"), os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	recording := func(period byte) {
		if _, err := ring.WriteAt([]byte{period, 0, 0, 0}, 80); err != nil {
			panic(err)
		}
	}
	elsewhere := func(f func()) {
		done := make(chan bool)
		go func() { f(); done <- true }()
		<-done
	}
	var mu sync.Mutex
	var rw sync.RWMutex
	step := func(what string, after uint64) uint64 {
		mu.Lock()
		rw.RLock()
		id := mark()
		rw.RUnlock()
		mu.Unlock()
		note(Step{What: what, ID: id, After: after})
		return id
	}
	step("first", 0)
	recording(0)
	elsewhere(func() {
		mu.Lock()
		rw.Lock()
		rw.Unlock()
		rw.RLock()
		rw.RUnlock()
		mu.Unlock()
	})
	recording(2)
	last := step("unseen", 0)
	elsewhere(func() { step("seen", last) })
	recording(0)
	elsewhere(func() { rw.RLock(); rw.RUnlock() })
	recording(3)
	rw.Lock()
	note(Step{What: "unseen reader", ID: mark()})
	rw.Unlock()
}

// nothing: two locks are released by turns, and nothing else happens.
func nothing() {
	var a, b sync.Mutex
	id, done := mark(), make(chan bool)
	for range 100 {
		a.Lock()
		a.Unlock()
		b.Lock()
		b.Unlock()
	}
	go func() {
		a.Lock()
		b.Lock()
		note(Step{What: "mutexes", ID: mark(), After: id})
		done <- true
	}()
	<-done
}

type shared struct {
	mu      sync.RWMutex
	writer  uint64
	readers [1 << 12]uint64
	reads   atomic.Int64
}

func (s *shared) read(r *rand.Rand, local *[]Step) {
	if r.Intn(4) == 0 {
		for !s.mu.TryRLock() {
			runtime.Gosched()
		}
	} else {
		s.mu.RLock()
	}
	id := mark()
	s.readers[s.reads.Add(1)-1] = id
	*local = append(*local, Step{What: "reader", ID: id, After: s.writer})
	dawdle(r)
	s.mu.RUnlock()
}

func (s *shared) write(r *rand.Rand, local *[]Step) {
	if r.Intn(4) == 0 {
		for !s.mu.TryLock() {
			runtime.Gosched()
		}
	} else {
		s.mu.Lock()
	}
	id := mark()
	readers := append([]uint64(nil), s.readers[:s.reads.Load()]...)
	s.reads.Store(0)
	*local = append(*local, Step{What: "writer", ID: id, After: s.writer, Others: readers})
	s.writer = id
	dawdle(r)
	s.mu.Unlock()
}

func rwMutexes() {
	locks := []*shared{new(shared), new(shared), new(shared)}
	inParallel(10, func(i int, r *rand.Rand) {
		var local []Step
		for range 1200 {
			s := locks[r.Intn(len(locks))]
			if r.Intn(6) == 0 {
				s.write(r, &local)
			} else {
				s.read(r, &local)
			}
		}
		if i == 0 { // many readers in a row
			for range 200 {
				locks[0].read(r, &local)
			}
		}
		note(local...)
	})
}

func waitGroups() {
	var wg sync.WaitGroup
	r := rand.New(rand.NewSource(1))
	for round := range 300 {
		n := 1 + r.Intn(8)
		ids := make([]uint64, n)
		for i := range n {
			if round%2 == 0 {
				wg.Go(func() { ids[i] = mark() })
				continue
			}
			wg.Add(1)
			go func() { defer wg.Done(); ids[i] = mark() }()
		}
		second := make(chan uint64)
		go func() { wg.Wait(); second <- mark() }()
		wg.Wait()
		id := mark()
		note(Step{What: "wait", ID: id, Others: ids}, Step{What: "wait", ID: <-second, Others: ids})
	}
	// More Dones than one Wait may name.
	wg.Add(5000)
	for range 5000 {
		mark()
		wg.Done()
	}
	wg.Wait()
	note(Step{What: "long wait", ID: mark()})
}

func onces() {
	for range 100 {
		var once sync.Once
		var doer uint64
		var ran atomic.Int64
		inParallel(6, func(i int, r *rand.Rand) {
			mark()
			did := false
			once.Do(func() {
				doer = mark()
				did = true
				ran.Add(1)
				time.Sleep(time.Duration(r.Intn(200)) * time.Microsecond)
			})
			s := Step{What: "once", ID: mark(), After: doer}
			if did {
				s.After = 0
			}
			note(s)
		})
	}
}

func conds() {
	type waiter struct {
		woken bool
		by    uint64
	}
	var mu sync.Mutex
	c := sync.NewCond(&mu)
	var queue []*waiter
	const waiters, rounds = 6, 150
	left := waiters * rounds
	inParallel(waiters+2, func(i int, r *rand.Rand) {
		if i >= waiters {
			for {
				mu.Lock()
				if left == 0 {
					mu.Unlock()
					return
				}
				if len(queue) > 0 {
					id := mark()
					if r.Intn(3) == 0 {
						for _, w := range queue {
							w.woken, w.by = true, id
						}
						left -= len(queue)
						queue = nil
						c.Broadcast()
					} else {
						queue[0].woken, queue[0].by = true, id
						queue = queue[1:]
						left--
						c.Signal()
					}
				}
				mu.Unlock()
				dawdle(r)
			}
		}
		for range rounds {
			w := new(waiter)
			mu.Lock()
			mark()
			queue = append(queue, w)
			c.Wait()
			if !w.woken {
				panic("woken out of turn")
			}
			by := w.by
			mu.Unlock()
			note(Step{What: "cond", ID: mark(), After: by})
			dawdle(r)
		}
	})
}

func timers() {
	inParallel(8, func(i int, r *rand.Rand) {
		short := func() time.Duration { return time.Duration(r.Intn(300)) * time.Microsecond }
		again := time.NewTimer(time.Hour)
		for range 60 {
			switch r.Intn(6) {
			case 0:
				set := mark()
				<-time.After(short())
				note(Step{What: "timer", ID: mark(), Setting: set})
			case 1: // set again before, or while, it fires: what it had sent is drained
				if asynchronous() {
					continue // it is not: nobody can know which setting a receive is of
				}
				mark()
				again.Reset(short())
				time.Sleep(short())
				set := mark()
				again.Reset(short())
				<-again.C
				note(Step{What: "timer", ID: mark(), Setting: set})
			case 2:
				mark()
				t := time.NewTimer(short())
				time.Sleep(short())
				if t.Stop() {
					select {
					case <-t.C:
						panic("a stopped timer fired")
					default:
					}
				}
			case 3:
				set := mark()
				done := make(chan bool)
				time.AfterFunc(short(), func() {
					note(Step{What: "after", ID: mark(), Setting: set})
					done <- true
				})
				<-done
			case 4:
				set := mark()
				t := time.NewTicker(50*time.Microsecond + short())
				for range 4 {
					<-t.C
					note(Step{What: "timer", ID: mark(), Setting: set})
				}
				t.Stop()
			case 5:
				set := mark()
				ctx, cancel := context.WithTimeout(context.Background(), short())
				<-ctx.Done()
				cancel()
				note(Step{What: "context", ID: mark(), Setting: set})
			}
		}
	})
}

func asynchronous() bool { return len(os.Args) > 2 && os.Args[2] == "async" }

func signals() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	for range 3 {
		syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		s := <-c
		note(Step{What: "signal", ID: mark(), Text: s.String()})
	}
}

func requests() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note(Step{What: "handler", ID: mark(), Text: r.Header.Get("Traceparent")})
		io.WriteString(w, r.Proto)
	})
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		server := httptest.NewUnstartedServer(handler)
		server.EnableHTTP2 = proto == "HTTP/2.0"
		server.StartTLS()
		for i := range 4 {
			r, _ := http.NewRequest("POST", server.URL+"/orders/7?token=secret", nil)
			if i == 3 {
				r.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			}
			before := len(r.Header)
			mark()
			response, err := server.Client().Do(r)
			if err != nil {
				panic(err)
			}
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if string(body) != proto {
				panic("the request came as " + string(body))
			}
			if len(r.Header) != before {
				panic("the caller's request was changed")
			}
			mark()
		}
		server.Close()
	}
}

func main() {
	map[string]func(){
		"mutexes": mutexes, "many": many, "shortlived": shortLived, "periods": periods, "nothing": nothing, "rwmutexes": rwMutexes, "waitgroups": waitGroups, "onces": onces, "conds": conds, "timers": timers,
		"signals": signals, "requests": requests,
	}[os.Args[1]]()
	if err := json.NewEncoder(os.Stdout).Encode(steps); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
