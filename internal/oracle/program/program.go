// Package program makes up concurrent programs and runs them, so that the rules of causality can be tried
// on more than what somebody thought of.
//
//	choices ──► world (scheduler, streams, channels, locks) ──► parts (what programs do) ──► Program
//
// A program is a few hundred lines of ordinary code (parts.go) over simulated goroutines: workers behind
// queues, HTTP-like servers with middleware, timers, batchers, mailboxes, lazily started loops. Every
// decision, down to who runs next, is drawn from a [Chooser], 0 being the plainest choice, so that a
// property test can shrink a failing program to a small one.
//
// With the events comes what their author meant by them, apart from any rule: which request or job
// each one is for, and which send each receive really got.
//
// In the plan's words this makes the traced relationships that the EventCorrelator's accuracy is measured on.
package program

import (
	"fmt"
	"math/rand/v2"

	"github.com/pastcone/pastcone/event"
)

// Chooser makes the choices: one of 0 … n-1, for n > 1.
type Chooser interface{ Choose(n int) int }

// Seeded makes choices from a seed.
func Seeded(seed uint64) Chooser { return seeded{rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))} }

type seeded struct{ *rand.Rand }

func (s seeded) Choose(n int) int { return s.IntN(n) }

// Feature is something that programs may do beyond the ordinary.
type Feature uint32

// The features. None of them is in a program unless it is asked for.
const (
	// SharedFIFO: channels without ordinals or message ids, with several senders or receivers that do
	// not name each other.
	SharedFIFO Feature = 1 << iota
	// PlainLocks: locks without ordinals, with several users.
	PlainLocks
	// Dangling: causes that no event of the program is: messages of the runtime's timers, references to
	// nothing, starts that nobody recorded a spawn of.
	Dangling
	// KnownLimits: what the rules are known to put where its author did not mean it: a semaphore of
	// integers, a batcher that does not list its causes.
	KnownLimits
	// Skew: clocks that differ from stream to stream by up to SkewMax.
	Skew
	// Wild: programs without a sensible author: any receive anywhere, `takes` at will.
	Wild
	// Guessed: the source has inferred what some messages, closes and locks came from.
	Guessed
	// Unseen: some releases leave no record, and some sends are not seen by who receives from them, who says so.
	Unseen
)

// SkewMax is how far clocks differ under Skew, in ns.
const SkewMax = 5_000

// Everything is all features that go together: clocks that differ rule out what is ordered by time.
const Everything = SharedFIFO | PlainLocks | Dangling | KnownLimits | Wild | Guessed | Unseen

// Shape says how large a program is and what it may do.
type Shape struct {
	Workers     int // in the pool
	Jobs        int // that main hands out
	Connections int
	Requests    int // on each connection, at most
	Steps       int // in a request or job, at most
	EventsMax   int // the program is cut off there: streams end in the middle
	Features    Feature
}

// Small is a shape for property tests: some hundred events.
func Small(features Feature) Shape {
	return Shape{Workers: 2, Jobs: 3, Connections: 3, Requests: 2, Steps: 5, EventsMax: 2_000, Features: features}
}

// Large is a shape for the accuracy: some ten thousand events.
func Large(features Feature) Shape {
	return Shape{Workers: 8, Jobs: 120, Connections: 40, Requests: 12, Steps: 12, EventsMax: 40_000, Features: features}
}

// Anyone is the intent of an event of which nobody would say whose it is: a worker that waits for work.
const Anyone = "*"

// Program is one run of a made-up program.
type Program struct {
	Events []event.Event // in the order in which they happened
	Intent []string      // for each event the request or job that it is for; "" is background, or Anyone
	// Got is for a receive (by index) the send that it really got (by index), unless its source has not seen that.
	Got map[int]int
}

// Generate makes up a program and runs it.
func Generate(c Chooser, s Shape) *Program {
	w := newWorld(c, s)
	w.run()
	p := &Program{Events: w.events, Intent: w.intents, Got: w.got}
	if s.Features&Skew != 0 {
		w.skew(p)
	}
	return p
}

// skew moves each stream's clock by a constant.
func (w *world) skew(p *Program) {
	by := map[string]int64{}
	for i := range p.Events {
		e := &p.Events[i]
		if _, ok := by[e.Stream]; !ok {
			by[e.Stream] = int64(w.choose(SkewMax))
		}
		e.Time += by[e.Stream]
	}
}

// name numbers things: "w3".
func (w *world) name(prefix string) string {
	w.names++
	return fmt.Sprintf("%s%d", prefix, w.names)
}
