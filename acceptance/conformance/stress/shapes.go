package main

import (
	"runtime"
	"sync"
	"time"
)

// crowd: goroutines by the thousand, each of which hands over one value; thousands wait at the same time.
func crowd() {
	const most = 4000
	for left := *sends; left > 0; left -= most {
		c, begin := make(chan uint64), make(chan struct{})
		n := min(left, most)
		var all sync.WaitGroup
		for range n {
			all.Add(1)
			go func() {
				defer all.Done()
				<-begin
				foundClosed()
				v := newSender().next()
				c <- v
				sent(v)
			}()
		}
		close(begin)
		for range n {
			received(<-c)
		}
		all.Wait()
	}
}

// sieve: a chain of goroutines, each of which hands on what it does not keep.
func sieve() {
	first := make(chan uint64)
	go func() {
		s := newSender()
		for range *sends / 8 {
			v := s.next()
			first <- v
			sent(v)
		}
		close(first)
	}()
	from := first
	for k := range 16 {
		in, out := from, make(chan uint64, k%3)
		go func() {
			defer close(out)
			s := newSender()
			for v := range in {
				received(v)
				if w := s.next(); w%16 != 0 { // one of 16 goes no further
					out <- w
					sent(w)
				}
			}
			foundClosed()
		}()
		from = out
	}
	for v := range from {
		received(v)
	}
	foundClosed()
}

// growing: who waits with an element on its stack, while the stack is moved: by growth before it waits, and by the garbage
// collector, which shrinks it meanwhile.
func growing() {
	c := make(chan element)
	go func() {
		s := newSender()
		for i := range *sends / 16 {
			deep(1+i%40, func() {
				e, v := newElement(s)
				c <- e
				sent(v)
			})
			if i%64 == 0 {
				runtime.GC()
			}
		}
		close(c)
	}()
	for i, open := 0, true; open; i++ {
		deep(1+i*7%40, func() {
			e, ok := <-c
			if open = ok; ok {
				received(e.value)
				e.check()
			} else {
				foundClosed()
			}
		})
	}
}

//go:noinline
func deep(n int, f func()) (sum byte) {
	var room [512]byte
	room[n%len(room)] = 1
	if n == 0 {
		f()
		return room[0]
	}
	return deep(n-1, f) + room[n]
}

// timers: all forms of them, set, stopped and set again. Their values are times, so nobody looks at those; that they come from
// the right setting is asked elsewhere.
func timers() {
	n := min(*sends/8, 400)
	tick := time.NewTicker(200 * time.Microsecond)
	timer := time.NewTimer(time.Hour)
	values := make(chan uint64, 1)
	s := newSender()
	var over sync.WaitGroup
	for i := range n {
		switch i % 4 {
		case 0:
			<-time.After(50 * time.Microsecond)
			receivedEmpty()
		case 1:
			<-tick.C
			receivedEmpty()
		case 2:
			timer.Stop()
			timer.Reset(20 * time.Microsecond)
			<-timer.C
			receivedEmpty()
		case 3:
			// v is captured by the function that the timer runs, in a goroutine of its own.
			v := s.next()
			over.Add(1)
			time.AfterFunc(10*time.Microsecond, func() {
				defer over.Done()
				values <- v
				sent(v)
			})
			received(<-values)
		}
	}
	tick.Stop()
	over.Wait()
}

// forbidden: what panics, and what comes after a panic; none of it may leave an operation behind that did not happen.
func forbidden() {
	try := func(f func()) {
		defer func() {
			if recover() == nil {
				panic("no panic")
			}
		}()
		f()
	}
	s := newSender()
	for range *sends / 16 {
		c := make(chan uint64, 1)
		v := s.next()
		c <- v
		sent(v)
		if *races {
			waiting := make(chan bool)
			full := make(chan uint64)
			go func() {
				defer close(waiting)
				try(func() { full <- 1 }) // while it waits the channel is closed
			}()
			runtime.Gosched()
			close(full)
			<-waiting
			foundClosed()
		}
		close(c)
		try(func() { c <- 2 })
		try(func() { close(c) })
		try(func() {
			select {
			case c <- 3:
			default:
			}
		})
		try(func() { var none chan uint64; close(none) })
		received(<-c) // what is in a closed channel still comes
		<-c
		foundClosed()
	}
}

// threads: goroutines that have a thread for themselves, and one that ends by Goexit with a send in a deferred call.
func threads() {
	c := make(chan uint64)
	var sending sync.WaitGroup
	for range 2 {
		sending.Add(1)
		go func() {
			defer sending.Done()
			runtime.LockOSThread()
			s := newSender()
			defer func() {
				v := s.next()
				c <- v
				sent(v)
			}()
			for range *sends / 8 {
				v := s.next()
				c <- v
				sent(v)
			}
			runtime.Goexit()
		}()
	}
	go func() { sending.Wait(); close(c) }()
	runtime.LockOSThread()
	for v := range c {
		received(v)
	}
	foundClosed()
	runtime.UnlockOSThread()
}
