// Command operations does one thing very often and prints what each time took, as JSON: nanoseconds and allocations. It is an ordinary
// program: the benchmark builds it as it is, and once more to be recorded, and compares.
//
// In the plan's words it is a load for the performance tests of Layer 1.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"
)

// measured are the operations; each is done n times.
var measured = map[string]func(n int){
	"call":       calls,
	"call+error": callsWithError,
	"buffered":   buffered,
	"unbuffered": unbuffered,
	"select":     selects,
	"mutex":      mutex,
	"rwmutex":    rwmutex,
	"go":         spawns,
}

const rounds = 7

// result is what is printed.
type result struct {
	Nanos       float64 `json:"nanos"` // of one time, in the quickest round: whatever else the machine does only adds to it
	Allocations float64 `json:"allocations"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: operations WHAT TIMES")
		os.Exit(2)
	}
	n, err := strconv.Atoi(os.Args[2])
	f := measured[os.Args[1]]
	if err != nil || n <= 0 || f == nil {
		fmt.Fprintln(os.Stderr, "operations: what, and how often?")
		os.Exit(2)
	}
	f(min(n, 10_000)) // what is made once is made
	var took []float64
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		began := time.Now()
		f(n)
		took = append(took, float64(time.Since(began).Nanoseconds())/float64(n))
	}
	runtime.ReadMemStats(&after)
	r := result{slices.Min(took), float64(after.Mallocs-before.Mallocs) / float64(rounds*n)}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		fmt.Fprintln(os.Stderr, "operations:", err)
		os.Exit(1)
	}
}

// callee does next to nothing: a function that is empty would have no probe.
//
//go:noinline
func callee() { called++ }

//lint:ignore U1000 it is what callee does, and nobody needs to know it
var called int

func calls(n int) {
	for range n {
		callee()
	}
}

//go:noinline
func calleeWithError() error { return nil }

func callsWithError(n int) {
	for range n {
		_ = calleeWithError()
	}
}

// buffered counts a send and a receive as two operations, as the others do.
func buffered(n int) {
	c := make(chan int, 1)
	for i := range n / 2 {
		c <- i
		<-c
	}
}

func unbuffered(n int) {
	ping, pong := make(chan int), make(chan int)
	go func() {
		for v := range ping {
			pong <- v
		}
		close(pong)
	}()
	for i := range n / 2 { // each of the two goroutines sends and receives once
		ping <- i
		<-pong
	}
	close(ping)
	<-pong
}

func selects(n int) {
	a, b := make(chan int, 1), make(chan int, 1)
	for i := range n / 2 {
		select {
		case a <- i:
		case b <- i:
		}
		select {
		case <-a:
		case <-b:
		}
	}
}

var (
	lock   sync.Mutex
	shared sync.RWMutex
	number int
)

func mutex(n int) {
	for range n {
		lock.Lock()
		number++
		lock.Unlock()
	}
}

func rwmutex(n int) {
	for range n {
		shared.RLock()
		_ = number
		shared.RUnlock()
	}
}

func spawns(n int) {
	var group sync.WaitGroup
	for range n {
		group.Add(1)
		go group.Done()
		group.Wait()
	}
}
