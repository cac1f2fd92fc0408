// A program that sends values of which no two are the same through channels of all kinds, and tells the ring behind each send and
// receive which value it was.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// element is big, and has a pointer; its value is unique.
type element struct {
	value uint64
	self  *uint64
	rest  [3]uint64
}

var (
	sends    = flag.Int("sends", 20000, "values that each producer sends")
	procs    = flag.Bool("procs", false, "change GOMAXPROCS meanwhile")
	forever  = flag.Bool("forever", false, "until killed")
	last     atomic.Uint64
	received atomic.Uint64
)

// Queue ids: what stands behind an operation.
const (
	operation = 1 // the value that was sent or received
	closed    = 2 // a receive found the channel closed
	empty     = 3 // a receive whose value was not looked at
)

func unique() uint64 { return last.Add(1) }

func sent(v uint64)  { runtime.PastconeQueueSend(operation, v) }
func got(v uint64)   { received.Add(1); runtime.PastconeQueueReceive(operation, v) }
func gotClosed()     { runtime.PastconeQueueReceive(closed, 0) }
func gotEmpty()      { received.Add(1); runtime.PastconeQueueReceive(empty, 0) }
func sentNothing()   { runtime.PastconeQueueSend(empty, 0) }
func made() *element { v := unique(); return &element{value: v, self: &v} }

func (e *element) check() uint64 {
	if *e.self != e.value {
		panic("an element arrived damaged")
	}
	return e.value
}

// plain: several producers and consumers at one channel, with receives of each form.
func plain(group *sync.WaitGroup, capacity, producers, consumers int) {
	c := make(chan uint64, capacity)
	var producing sync.WaitGroup
	for range producers {
		producing.Add(1)
		go func() {
			defer producing.Done()
			for range *sends {
				v := unique()
				c <- v
				sent(v)
			}
		}()
	}
	go func() { producing.Wait(); close(c) }()
	for k := range consumers {
		group.Add(1)
		go func() {
			defer group.Done()
			switch k % 3 {
			case 0:
				for v := range c {
					got(v)
				}
				gotClosed()
			case 1:
				for {
					v, ok := <-c
					if !ok {
						gotClosed()
						return
					}
					got(v)
				}
			case 2:
				for {
					select {
					case v, ok := <-c:
						if !ok {
							gotClosed()
							return
						}
						got(v)
					default:
						runtime.Gosched()
					}
				}
			}
		}()
	}
}

// selected: selects over channels of other capacities, a nil one, and both directions of one channel.
func selected(group *sync.WaitGroup) {
	a, b, d := make(chan *element), make(chan *element, 1), make(chan element, 7)
	back := make(chan *element, 3)
	var none chan *element
	var producing sync.WaitGroup
	for range 3 {
		producing.Add(1)
		go func() {
			defer producing.Done()
			for i := 0; i < *sends; i++ {
				e := made()
				select {
				case a <- e:
					sent(e.value)
				case b <- e:
					sent(e.value)
				case d <- *e:
					sent(e.value)
				case none <- e:
					panic("sent to nil")
				case e := <-back:
					got(e.check())
					i--
				case <-none:
					panic("received from nil")
				}
			}
		}()
	}
	go func() { producing.Wait(); close(a); close(b); close(d) }()
	for range 2 {
		group.Add(1)
		go func() {
			defer group.Done()
			a, b, d := a, b, d
			for a != nil || b != nil || d != nil {
				select {
				case e, ok := <-a:
					if !ok {
						gotClosed()
						a = nil
						continue
					}
					got(e.check())
				case e, ok := <-b:
					if !ok {
						gotClosed()
						b = nil
						continue
					}
					got(e.check())
					if e.value%7 == 0 {
						again := made()
						select {
						case back <- again:
							sent(again.value)
						default:
						}
					}
				case e, ok := <-d:
					if !ok {
						gotClosed()
						d = nil
						continue
					}
					got(e.check())
				}
			}
		}()
	}
}

// reflected: the same by package reflect.
func reflected(group *sync.WaitGroup) {
	a, b := make(chan uint64), make(chan uint64, 5)
	group.Add(2)
	go func() {
		defer group.Done()
		for i := range *sends / 4 {
			v := unique()
			switch i % 3 {
			case 0:
				reflect.ValueOf(a).Send(reflect.ValueOf(v))
				sent(v)
			case 1:
				if reflect.ValueOf(b).TrySend(reflect.ValueOf(v)) {
					sent(v)
				}
			case 2:
				reflect.Select([]reflect.SelectCase{
					{Dir: reflect.SelectSend, Chan: reflect.ValueOf(a), Send: reflect.ValueOf(v)},
					{Dir: reflect.SelectSend, Chan: reflect.ValueOf(b), Send: reflect.ValueOf(v)},
				})
				sent(v)
			}
		}
		close(a)
		close(b)
	}()
	go func() {
		defer group.Done()
		for open := 2; open > 0; {
			k, v, ok := reflect.Select([]reflect.SelectCase{
				{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(a)},
				{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(b)},
			})
			switch {
			case !ok:
				gotClosed()
				open--
				if k == 0 {
					a = nil
				} else {
					b = nil
				}
			default:
				got(v.Uint())
			}
		}
	}()
}

// emptied: elements of size zero, and receives that discard the value.
func emptied(group *sync.WaitGroup) {
	tokens, dropped := make(chan struct{}, 3), make(chan uint64, 2)
	group.Add(2)
	go func() {
		defer group.Done()
		for range *sends / 4 {
			tokens <- struct{}{}
			sentNothing()
			dropped <- 1
			sentNothing()
		}
		close(tokens)
		close(dropped)
	}()
	go func() {
		defer group.Done()
		for range *sends / 4 {
			<-dropped
			gotEmpty()
			select {
			case <-tokens:
				gotEmpty()
			case <-time.After(time.Hour):
				panic("an hour passed")
			}
		}
		<-tokens
		gotClosed()
	}()
}

// born: goroutines by the thousand, each of which hands over one value.
func born(group *sync.WaitGroup) {
	group.Add(1)
	go func() {
		defer group.Done()
		for range *sends / 64 {
			c := make(chan uint64)
			for range 8 {
				go func() {
					v := unique()
					c <- v
					sent(v)
				}()
			}
			for range 8 {
				got(<-c)
			}
		}
	}()
}

func main() {
	flag.Parse()
	var group, changing sync.WaitGroup
	done := make(chan bool)
	if *procs {
		changing.Add(1)
		go func() {
			defer changing.Done()
			for {
				select {
				case <-done:
					gotClosed()
					return
				case <-time.After(3 * time.Millisecond):
					gotEmpty()
					runtime.GOMAXPROCS(1 + rand.IntN(6))
				}
			}
		}()
	}
	for {
		plain(&group, 0, 2, 3)
		plain(&group, 1, 2, 3)
		plain(&group, 128, 3, 2)
		selected(&group)
		reflected(&group)
		emptied(&group)
		born(&group)
		group.Wait()
		if !*forever {
			break
		}
	}
	close(done)
	changing.Wait()
	fmt.Println(received.Load())
	os.Exit(3)
}
