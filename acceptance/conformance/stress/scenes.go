package main

import (
	"reflect"
	"runtime"
	"sync"
	"time"
)

// feed starts senders to a channel, which is closed behind the last of them.
func feed[T any](c chan T, count int, make func(*sender) (T, uint64)) {
	var sending sync.WaitGroup
	for range count {
		sending.Add(1)
		go func() {
			defer sending.Done()
			s := newSender()
			for range *sends {
				e, v := make(s)
				c <- e
				sent(v)
			}
		}()
	}
	go func() { sending.Wait(); close(c) }()
}

func number(s *sender) (e, v uint64) { v = s.next(); return v, v }

// shared: several senders and receivers at one channel, and each form of a receive.
func shared(capacity, count, takers int) {
	c := make(chan uint64, capacity)
	feed(c, count, number)
	var taking sync.WaitGroup
	for k := range takers {
		taking.Add(1)
		go func() {
			defer taking.Done()
			switch k % 3 {
			case 0:
				for v := range c {
					received(v)
				}
				foundClosed()
			case 1:
				for {
					v, ok := <-c
					if !ok {
						foundClosed()
						return
					}
					received(v)
				}
			case 2:
				for {
					select {
					case v, ok := <-c:
						if !ok {
							foundClosed()
							return
						}
						received(v)
					default:
						runtime.Gosched()
					}
				}
			}
		}()
	}
	taking.Wait()
}

// selects: over channels of several capacities, one of them twice, and nil ones, which never come.
func selects() {
	a, b, d := make(chan uint64), make(chan uint64, 1), make(chan uint64, 7)
	var none chan uint64
	var sending, taking sync.WaitGroup
	for range 3 {
		sending.Add(1)
		go func() {
			defer sending.Done()
			s := newSender()
			for range *sends {
				v := s.next()
				select {
				case a <- v:
				case b <- v:
				case d <- v:
				case a <- v:
				case none <- v:
					panic("sent to nil")
				case <-none:
					panic("received from nil")
				}
				sent(v)
			}
		}()
	}
	go func() { sending.Wait(); close(a); close(b); close(d) }()
	for range 2 {
		taking.Add(1)
		go func() {
			defer taking.Done()
			a, b, d := a, b, d
			for a != nil || b != nil || d != nil {
				var v uint64
				var ok bool
				from := &a
				select {
				case v, ok = <-a:
				case v, ok = <-b:
					from = &b
				case v, ok = <-d:
					from = &d
				}
				if ok {
					received(v)
					continue
				}
				foundClosed()
				*from = nil
			}
		}()
	}
	taking.Wait()
}

// bothDirections: each goroutine sends and receives on one channel, in one select.
func bothDirections() {
	var all sync.WaitGroup
	for _, capacity := range []int{0, 2} {
		c := make(chan uint64, capacity)
		over := make(chan struct{})
		var left sync.WaitGroup
		for range 4 {
			left.Add(1)
			all.Add(1)
			go func() {
				defer all.Done()
				s := newSender()
				for n := 0; n < *sends; {
					v := s.next()
					select {
					case c <- v:
						sent(v)
						n++
					case w := <-c:
						received(w)
					}
				}
				left.Done()
				for {
					select {
					case w := <-c:
						received(w)
					case <-over:
						foundClosed()
						return
					}
				}
			}()
		}
		all.Add(1)
		go func() {
			defer all.Done()
			left.Wait()
			for len(c) > 0 {
				runtime.Gosched()
			}
			close(over)
		}()
	}
	all.Wait()
}

// element is large, has a pointer, and a value that is nowhere else.
type element struct {
	value uint64
	self  *uint64
	rest  [30]uint64
}

func (e *element) check() {
	if *e.self != e.value || e.rest[29] != e.value {
		panic("an element arrived damaged")
	}
}

func newElement(s *sender) (e element, v uint64) {
	v = s.next()
	e = element{value: v, self: &v}
	e.rest[29] = v
	return e, v
}

// large: elements that are copied from stack to stack, and interfaces that lead to one.
func large() {
	var all sync.WaitGroup
	for _, capacity := range []int{0, 5} {
		c := make(chan element, capacity)
		feed(c, 2, newElement)
		i := make(chan any, capacity)
		feed(i, 2, func(s *sender) (any, uint64) { e, v := newElement(s); return &e, v })
		all.Add(2)
		go func() {
			defer all.Done()
			for e := range c {
				received(e.value)
				e.check()
			}
			foundClosed()
		}()
		go func() {
			defer all.Done()
			for e := range i {
				e := e.(*element)
				received(e.value)
				e.check()
			}
			foundClosed()
		}()
	}
	all.Wait()
}

// answered: requests with a channel for the answer in them; the channels' memory is used again and again.
func answered() {
	type request struct {
		v      uint64
		answer chan uint64
	}
	c := make(chan request)
	feed := make(chan struct{})
	go func() {
		defer close(feed)
		s := newSender()
		for r := range c {
			received(r.v)
			v := s.next()
			r.answer <- v
			sent(v)
		}
		foundClosed()
	}()
	s := newSender()
	for i := range *sends {
		r := request{s.next(), make(chan uint64, i%2)}
		c <- r
		sent(r.v)
		received(<-r.answer)
	}
	close(c)
	<-feed
	foundClosed()
}

// reflected: the same by package reflect, whose receives and selects of its own take other ways through the runtime.
func reflected() {
	a, b := make(chan uint64), make(chan uint64, 5)
	go func() {
		s := newSender()
		for i := range *sends {
			v := s.next()
			e := reflect.ValueOf(v)
			switch i % 4 {
			case 0:
				reflect.ValueOf(a).Send(e)
			case 1:
				for !reflect.ValueOf(b).TrySend(e) {
					runtime.Gosched()
				}
			case 2:
				reflect.Select([]reflect.SelectCase{
					{Dir: reflect.SelectSend, Chan: reflect.ValueOf(a), Send: e},
					{Dir: reflect.SelectSend, Chan: reflect.ValueOf(b), Send: e},
				})
			case 3:
				a <- v
			}
			sent(v)
		}
		close(a)
		close(b)
	}()
	var none chan uint64
	for open := 2; open > 0; {
		if a != nil {
			if v, ok := reflect.ValueOf(a).TryRecv(); ok {
				received(v.Uint())
				continue
			} else if v.IsValid() {
				foundClosed()
				a = nil
				open--
				continue
			}
		}
		k, v, ok := reflect.Select([]reflect.SelectCase{
			{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(a)},
			{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(b)},
			{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(none)},
			{Dir: reflect.SelectRecv},
		})
		if ok {
			received(v.Uint())
			continue
		}
		foundClosed()
		open--
		if k == 0 {
			a = nil
		} else {
			b = nil
		}
	}
}

// emptyElements: elements of size zero, and values that nobody looks at.
func emptyElements() {
	tokens, dropped, arrays := make(chan struct{}, 3), make(chan uint64, 2), make(chan [0]uint64)
	go func() {
		for range *sends {
			tokens <- struct{}{}
			sentEmpty()
			dropped <- 1
			sent(0)
			arrays <- [0]uint64{}
			sentEmpty()
		}
		close(tokens)
	}()
	for range *sends {
		<-dropped
		receivedEmpty()
		select {
		case <-tokens:
			receivedEmpty()
		case <-time.After(time.Hour):
			panic("an hour passed")
		}
		<-arrays
		receivedEmpty()
	}
	<-tokens
	foundClosed()
}

// semaphores: a channel that is full of tokens.
func semaphores() {
	places := make(chan struct{}, 4)
	for range cap(places) {
		places <- struct{}{}
		sentEmpty()
	}
	var all sync.WaitGroup
	for range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			for range *sends / 4 {
				<-places
				receivedEmpty()
				places <- struct{}{}
				sentEmpty()
			}
		}()
	}
	all.Wait()
}
