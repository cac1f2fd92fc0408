// Command stress sends values of which no two are the same through channels of every kind, and says behind each send and
// receive which value it was, by a call: sent(v), received(v). It knows nothing of Pastcone: recorded with
//
//	pastcone run --args 'main.sent,main.received' --budget -1 ./acceptance/conformance/stress
//
// the next event of a stream behind a send or a receive is that call, so whoever reads the recording can hold each receive
// that Pastcone matched against the value that came out of the channel. A value is a sender and a number: a receive that was
// matched with another send says which. Package conformance does that.
//
// At the end it prints how many operations of each sort there were.
//
// In the plan's words it is a load for Layer 1.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

var (
	sends = flag.Int("sends", 2000, "values that each sender sends")
	procs = flag.Bool("procs", false, "change GOMAXPROCS meanwhile")
	races = flag.Bool("races", true, "close channels that others send to, which the race detector rightly complains of")
)

// What happened, as the program sees it.
var values, empties, ends, tokens, senders atomic.Uint64

// sender gives out values that no other gives out.
type sender struct{ id, n uint64 }

// numberBits of a value are its number with its sender. Values stay below 14 digits: one of ten of those that are longer looks like
// the number of a credit card, which Pastcone does not keep.
const numberBits = 22

func newSender() *sender { return &sender{id: senders.Add(1)} }

func (s *sender) next() uint64 {
	s.n++
	return s.id<<numberBits | s.n
}

// The notes: the first event behind an operation on a channel is one of these calls.

//go:noinline
func sent(v uint64) {}

//go:noinline
func received(v uint64) { values.Add(1) }

//go:noinline
func sentEmpty() { tokens.Add(1) }

//go:noinline
func receivedEmpty() { empties.Add(1) } // of size zero, or nobody looked at it, or a timer's

//go:noinline
func foundClosed() { ends.Add(1) }

// scenes are what goes on at the same time, each as often as it says. A scene returns when all that it started is over.
var scenes = []struct {
	name  string
	times int
	run   func()
}{
	{"unbuffered", 1, func() { shared(0, 2, 3) }},
	{"one place", 1, func() { shared(1, 2, 3) }},
	{"a long buffer", 1, func() { shared(128, 3, 2) }},
	{"selects", 1, selects},
	{"both directions of one channel", 1, bothDirections},
	{"large elements", 1, large},
	{"channels in channels", 1, answered},
	{"reflection", 1, reflected},
	{"elements of size zero", 1, emptyElements},
	{"prefilled semaphores", 1, semaphores},
	{"goroutines by the thousand", 1, crowd},
	{"a pipeline of sieves", 1, sieve},
	{"stacks that grow while they wait", 2, growing},
	{"timers", 1, timers},
	{"what panics", 1, forbidden},
	{"threads of their own", 1, threads},
}

func main() {
	flag.Parse()
	var all, changing sync.WaitGroup
	var over atomic.Bool
	if *procs {
		changing.Add(1)
		go func() {
			defer changing.Done()
			for !over.Load() {
				time.Sleep(3 * time.Millisecond)
				runtime.GOMAXPROCS(1 + rand.IntN(6))
			}
		}()
	}
	for _, s := range scenes {
		for range s.times {
			all.Add(1)
			go func() {
				defer all.Done()
				s.run()
			}()
		}
	}
	all.Wait()
	over.Store(true)
	changing.Wait()
	fmt.Printf("values %d empty %d closed %d senders %d\n", values.Load(), empties.Load(), ends.Load(), senders.Load())
	os.Exit(3) // the status is the program's own, too
}
