// A program that measures one thing as often as it is told, and prints nanoseconds for each time, and bytes allocated in all.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

var measured = map[string]func(n int){
	"unbuffered": func(n int) {
		a, b := make(chan int), make(chan int)
		go func() {
			for v := range a {
				b <- v
			}
		}()
		for i := range n / 2 { // two operations at each end
			a <- i
			<-b
		}
	},
	"buffered": func(n int) {
		c := make(chan int, 1)
		for i := range n / 2 {
			c <- i
			_ = <-c
		}
	},
	"buffered 128": func(n int) {
		c := make(chan int, 128)
		go func() {
			for i := range n {
				c <- i
			}
			close(c)
		}()
		for range c {
		}
	},
	"select": func(n int) {
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
	},
	"go": func(n int) {
		var group sync.WaitGroup
		for range n {
			group.Add(1)
			go group.Done()
			group.Wait()
		}
	},
}

func main() {
	n, err := strconv.Atoi(os.Args[2])
	f := measured[os.Args[1]]
	if err != nil || f == nil {
		fmt.Fprintln(os.Stderr, "what, and how often?")
		os.Exit(2)
	}
	f(1000)
	best := 0.0
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 5 {
		began := time.Now()
		f(n)
		took := float64(time.Since(began).Nanoseconds()) / float64(n)
		if best == 0 || took < best {
			best = took
		}
	}
	runtime.ReadMemStats(&after)
	fmt.Println(best, (after.Mallocs-before.Mallocs)/uint64(5))
}
