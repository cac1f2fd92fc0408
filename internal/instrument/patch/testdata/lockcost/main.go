// This program prints what an operation of package sync or time costs, in ns of CPU time: the least of several runs, since
// other programs make it more and nothing makes it less.
package main

import (
	"fmt"
	"math"
	"sync"
	"syscall"
	"time"
)

var counter int

//go:noinline
func work() { counter++ }

func measure(name string, n int, f func(n int)) {
	least := math.Inf(1)
	for range 15 {
		began := cpu()
		f(n)
		least = min(least, float64(cpu()-began)/float64(n))
	}
	fmt.Printf("%s\t%.1f\n", name, least)
}

func cpu() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

type account struct {
	mu      sync.Mutex
	rw      sync.RWMutex
	balance int
}

func main() {
	a := new(account)
	measure("Mutex: Lock, Unlock", 1_000_000, func(n int) {
		for range n {
			a.mu.Lock()
			a.balance++
			a.mu.Unlock()
		}
	})
	measure("RWMutex: RLock, RUnlock", 1_000_000, func(n int) {
		for range n {
			a.rw.RLock()
			work()
			a.rw.RUnlock()
		}
	})
	measure("RWMutex: Lock, Unlock", 1_000_000, func(n int) {
		for range n {
			a.rw.Lock()
			a.balance++
			a.rw.Unlock()
		}
	})
	c := make(chan int, 1)
	measure("channel: send, receive", 500_000, func(n int) {
		for i := range n {
			c <- i
			<-c
		}
	})
	measure("the same, under a Mutex", 500_000, func(n int) {
		for i := range n {
			a.mu.Lock()
			c <- i
			<-c
			a.mu.Unlock()
		}
	})
	measure("Mutex: handed over each time", 50_000, func(n int) {
		mine, yours := make(chan bool), make(chan bool)
		go func() {
			for range n / 2 {
				<-yours
				a.mu.Lock()
				a.balance++
				a.mu.Unlock()
				mine <- true
			}
		}()
		for range n / 2 {
			a.mu.Lock()
			a.balance++
			a.mu.Unlock()
			yours <- true
			<-mine
		}
	})
	measure("the same, without the Mutex", 50_000, func(n int) {
		mine, yours := make(chan bool), make(chan bool)
		go func() {
			for range n / 2 {
				<-yours
				mine <- true
			}
		}()
		for range n / 2 {
			yours <- true
			<-mine
		}
	})
	measure("WaitGroup: Add, Done, Wait", 300_000, func(n int) {
		var wg sync.WaitGroup
		for range n {
			wg.Add(1)
			wg.Done()
			wg.Wait()
		}
	})
	measure("Timer: Reset", 200_000, func(n int) {
		t := time.NewTimer(time.Hour)
		for range n {
			t.Reset(time.Hour)
		}
		t.Stop()
	})
	measure("Once: done", 1_000_000, func(n int) {
		var once sync.Once
		for range n {
			once.Do(work)
		}
	})
}
