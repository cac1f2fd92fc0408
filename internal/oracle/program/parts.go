package program

import (
	"fmt"
	"slices"

	"github.com/pastcone/pastcone/event"
)

// city is what the streams of one program share.
type city struct {
	jobs, results *channel
	express       *channel // a second queue of the same workers, nil without
	conns         *channel // pooled connections
	tokens        *channel // a semaphore of empty messages
	numbers       *channel // a semaphore of integers
	batch         *channel // to the batcher
	done          *channel // a context that is cancelled early
	config, store *lock
	mailboxes     []*channel
	busy          int // streams that may still hand out jobs
	working       int // workers that have not ended
}

// main sets everything up, hands out jobs, waits, and closes what it has opened.
func (w *world) main(s *stream) {
	c := &city{
		jobs: w.channel("jobs", w.choose(3), meetByOrdinal), results: w.channel("results", 1<<20, meetByOrdinal),
		conns: w.channel("conns", 8, meetByOrdinal), tokens: w.channel("tokens", 2, meetByOrdinal),
		numbers: w.channel("numbers", 2, meetByOrdinal), done: w.channel("ctx", 0, meetByOrdinal),
		batch:  w.channel("batch", 4, meetByOrdinal),
		config: &lock{key: "cfg", ordinals: true}, store: &lock{key: "mu", ordinals: true},
	}
	if w.has(SharedFIFO) && w.oneIn(2) {
		c.jobs.by = meetByOrder
	}
	if w.has(PlainLocks) {
		c.store.ordinals = w.oneIn(2)
	}
	if w.oneIn(2) {
		s.step(event.KindLog, "main.init")
	}
	s.in("main.main", func() {
		for range 1 + w.choose(3) {
			s.put(c.conns, "pool.new")
		}
		s.close(c.done, "main.cancel")
		w.setUp(s, c)
		for _, n := range w.rounds() {
			w.drive(s, c, n)
		}
		s.job = Anyone
		s.await(func() bool { return c.busy == 0 })
		s.close(c.jobs, "main.stop")
		if c.express != nil {
			s.close(c.express, "main.stop")
		}
		s.await(func() bool { return c.busy == 0 && c.working == 0 })
		s.close(c.batch, "main.stop")
		for _, m := range c.mailboxes {
			s.close(m, "main.stop")
		}
	})
	s.exit()
}

// put puts a connection into the pool: work that founds itself when nobody's.
func (s *stream) put(conns *channel, fn string) {
	job := s.job
	if job == "" {
		s.job = s.w.name("conn")
	}
	s.send(conns, fn, message{job: s.job}, event.Event{})
	s.job = job
}

// setUp spawns the servers of the program: more of them the more is chosen.
func (w *world) setUp(s *stream, c *city) {
	if w.oneIn(2) {
		c.express = w.channel("express", w.choose(3), meetByOrdinal)
	}
	depth := w.choose(3)
	for range w.shape.Workers {
		c.working++
		s.spawn("main.startWorkers", w.name("w"), true, func(k *stream) { w.worker(k, c, depth) })
	}
	for range w.choose(w.shape.Connections + 1) {
		c.busy++
		s.spawn("net.accept", w.name("c"), true, func(k *stream) { w.connection(k, c) })
	}
	parts := []func(*stream, *city){w.startTicker, w.startBatcher, w.startMailbox, w.startTest, w.startForeign}
	if w.has(Dangling) {
		parts = append(parts, w.startAfter)
	}
	for _, part := range parts {
		if w.oneIn(2) {
			part(s, c)
		}
	}
}

// rounds gives how many jobs main hands out before it collects their results.
func (w *world) rounds() (rounds []int) {
	for left := w.choose(w.shape.Jobs + 1); left > 0; {
		n := 1 + w.choose(left)
		rounds = append(rounds, n)
		left -= n
	}
	return rounds
}

// drive hands out n jobs and collects their results: each result is for its job.
func (w *world) drive(s *stream, c *city, n int) {
	for range n {
		q := c.jobs
		if c.express != nil && w.oneIn(3) {
			q = c.express
		}
		s.job = w.name("job")
		s.send(q, "main.submit", message{job: s.job}, event.Event{})
	}
	for range n {
		s.receive(c.results, "main.collect", 51, event.Event{}, func(m message) string { return m.job })
		s.in("main.print", func() { s.step(event.KindLog, "main.print") })
	}
	s.job = Anyone
}

// pop takes a job out of a queue through so many wrappers. Waiting is nobody's.
func (s *stream) pop(c *city, depth int) (m message, ok bool) {
	if depth > 0 {
		s.job = Anyone
		s.in(fmt.Sprintf("queue.Pop%d", depth), func() { m, ok = s.pop(c, depth-1) })
		if ok {
			s.job = m.job
		}
		return m, ok
	}
	take := func(m message) string { return m.job }
	s.job = Anyone // should there be none
	open := []*channel{c.jobs}
	if c.express != nil {
		open = append(open, c.express)
	}
	for len(open) > 0 {
		var from *channel
		from, m, ok = s.receiveFrom(open, "queue.pop", 31, take)
		if ok {
			return m, true
		}
		open = slices.DeleteFunc(open, func(c *channel) bool { return c == from })
	}
	return m, false
}

// worker takes jobs out of the queue until it is closed.
func (w *world) worker(s *stream, c *city, depth int) {
	s.in("pool.worker", func() {
		for {
			m, ok := s.pop(c, depth)
			if !ok {
				s.idle()
				s.step(event.KindLog, "pool.bye")
				return
			}
			s.in("pool.handle", func() { w.steps(s, c, w.choose(w.shape.Steps+1), 1) })
			if m.reply != nil {
				s.send(m.reply, "pool.reply", message{job: s.job}, event.Event{})
			} else {
				s.send(c.results, "pool.result", message{job: s.job}, event.Event{})
			}
			s.job = Anyone
		}
	})
	s.idle()
	s.exit()
	c.working--
}

// connection serves requests, one after the other; each is a root call.
func (w *world) connection(s *stream, c *city) {
	s.in("net.serve", func() {
		var loop *channel
		for range w.choose(w.shape.Requests + 1) {
			if w.has(Wild) && w.oneIn(3) { // where a request receives, too
				s.job = Anyone
				w.receiveConnection(s, c, event.Event{})
			}
			s.job = w.name("request")
			s.inside(event.Event{Func: "app.ServeHTTP", Line: 1, Root: true}, func() {
				w.steps(s, c, w.choose(w.shape.Steps+1), 0)
				if w.oneIn(3) {
					w.roundTrip(s, &loop)
				}
				if w.oneIn(3) {
					w.enqueue(s, c)
				}
			})
			s.job = ""
		}
		if loop != nil {
			s.close(loop, "http.idle")
		}
	})
	s.exit()
	c.busy--
}

// enqueue hands a job to the pool and waits for the reply.
func (w *world) enqueue(s *stream, c *city) {
	reply := w.channel(w.name("reply"), 1, meetByOrder)
	s.send(c.jobs, "queue.Push", message{job: s.job, reply: reply}, event.Event{})
	if w.oneIn(2) {
		s.step(event.KindLog, "app.logf")
	}
	s.in("queue.wait", func() { s.receive(reply, "queue.wait", 41, event.Event{}, nil) })
}

// roundTrip speaks with a loop that is started lazily inside the first request that needs it.
func (w *world) roundTrip(s *stream, loop **channel) {
	if *loop == nil {
		wire := w.channel("wire-"+s.name, 1, meetByMessage)
		*loop = wire
		s.spawn("http.dial", w.name("l"), true, func(k *stream) {
			k.in("http.writeLoop", func() {
				for {
					m, ok := k.receive(wire, "http.writeLoop", 61, event.Event{}, func(m message) string { return m.job })
					if !ok {
						k.job = Anyone
						return
					}
					k.in("http.write", func() { k.step(event.KindMetric, "http.write") })
					k.send(m.reply, "http.reply", message{job: k.job}, event.Event{})
				}
			})
			k.exit()
		})
	}
	back := w.channel(w.name("back"), 0, meetByOrdinal)
	s.in("http.roundTrip", func() {
		s.send(*loop, "http.roundTrip", message{job: s.job, reply: back}, event.Event{})
		s.receive(back, "http.roundTrip", 63, event.Event{}, nil)
	})
}

// steps does n random things for whoever the stream works for.
func (w *world) steps(s *stream, c *city, n, depth int) {
	for range n {
		switch w.choose(17) {
		case 0:
			s.step(event.KindLog, "app.logf")
		case 1:
			s.in("app.leaf", func() {})
		case 2:
			s.step(event.KindError, "app.fail")
		case 3:
			s.turn(event.Event{Kind: event.KindState, Func: "app.set", Line: 3, Key: "total"})
		case 4:
			if depth < 4 {
				s.in("app.step", func() { w.steps(s, c, 1+w.choose(3), depth+1) })
			}
		case 5:
			if depth < 4 && len(s.job) > 7 && s.job[:7] == "request" && s.name[0] == 'c' { // middleware: a root in a root
				s.inside(event.Event{Func: "app.Middleware", Line: 1, Root: true}, func() { w.steps(s, c, 1+w.choose(3), depth+1) })
			}
		case 6:
			s.hold(c.config, "app.config", func() {})
		case 7:
			s.hold(c.store, "app.(*Store).Put", func() { s.step(event.KindState, "app.(*Store).Put") })
		case 8:
			s.send(c.tokens, "sem.acquire", message{empty: true}, event.Event{})
			s.step(event.KindState, "app.guarded")
			s.receive(c.tokens, "sem.release", 21, event.Event{}, nil)
		case 9:
			w.useConnection(s, c)
		case 10:
			w.fanOut(s, c)
		case 11:
			s.in("app.wait", func() { s.receive(c.done, "app.wait", 27, event.Event{}, nil) })
		case 12:
			w.wake(s)
		case 13:
			w.explicit(s)
		case 14:
			if c.batch.owner != "" {
				s.send(c.batch, "batch.Add", message{job: s.job}, event.Event{})
			}
		case 15:
			w.integers(s, c)
		case 16:
			w.wild(s, c)
		}
	}
}

// useConnection takes a connection out of the pool and puts it back: a root call keeps it from being
// mistaken for work, elsewhere the source says so.
func (w *world) useConnection(s *stream, c *city) {
	e := event.Event{}
	if s.name[0] != 'c' {
		e.Takes = new(bool)
	}
	w.receiveConnection(s, c, e)
}

func (w *world) receiveConnection(s *stream, c *city, e event.Event) {
	s.receive(c.conns, "pool.get", 25, e, nil)
	s.step(event.KindMetric, "pool.use")
	s.put(c.conns, "pool.put")
}

// integers uses a semaphore made of a channel of integers; outside of a root call that is a known limit,
// unless the source says that it is no work.
func (w *world) integers(s *stream, c *city) {
	e := event.Event{}
	if !w.has(KnownLimits) {
		e.Takes = new(bool)
	}
	s.send(c.numbers, "isem.acquire", message{}, event.Event{})
	s.step(event.KindState, "app.guarded")
	s.receive(c.numbers, "isem.release", 23, e, nil)
}

// fanOut starts helpers and, now and then, waits for them; some end inside a call.
func (w *world) fanOut(s *stream, c *city) {
	n := 1 + w.choose(2)
	wait := w.oneIn(2)
	ready := w.channel(w.name("ready"), n, meetByOrdinal)
	content := w.oneIn(2) // results, or mere signals
	for range n {
		starts := !w.oneIn(6)
		c.busy++
		s.spawn("app.fanout", w.name("h"), starts, func(k *stream) {
			k.in("app.helper", func() { k.step(event.KindState, "app.helper") })
			if w.oneIn(4) {
				k.hold(c.config, "app.config", func() {})
			}
			if wait {
				k.send(ready, "app.done", message{job: k.job, empty: !content}, event.Event{})
			}
			switch w.choose(4) {
			case 1:
				k.turn(event.Event{Kind: event.KindCall, Func: "app.goexit", Line: 1})
			case 2:
				k.turn(event.Event{Kind: event.KindReturn, Func: "app.unseen"}) // of a call that was not recorded
			}
			k.exit()
			c.busy--
		})
	}
	if wait {
		for range n {
			s.receive(ready, "app.join", 45, event.Event{}, nil)
		}
	}
}

// wake refers to some event that made this stream go on.
func (w *world) wake(s *stream) {
	if len(w.events) == 0 {
		return
	}
	recent := w.events[max(0, len(w.events)-40):]
	i := len(w.events) - 1 - w.choose(len(recent))
	e := event.Event{Kind: event.KindWake, Func: "app.woken", Line: 29, Cause: []string{s.named(i)}}
	if w.has(Dangling) && w.oneIn(6) {
		e.Cause = []string{"nowhere"}
	}
	s.turn(e)
}

// explicit does something that the source knows the causes of: one or several, of this same work.
func (w *world) explicit(s *stream) {
	var own []int
	for i := len(w.events) - 1; i >= 0 && len(own) < 5; i-- {
		if w.intents[i] == s.job && w.events[i].Kind != event.KindReturn {
			own = append(own, i)
		}
	}
	e := event.Event{Kind: event.KindLog, Func: "app.noted", Line: 31}
	for range 1 + w.choose(2) {
		if len(own) > 0 {
			e.Cause = append(e.Cause, s.named(own[w.choose(len(own))]))
		}
	}
	if w.has(Dangling) && w.oneIn(6) {
		e.Cause = append(e.Cause, "nowhere")
		if w.oneIn(2) {
			e.Cause = []string{"nowhere"}
		}
	}
	if w.oneIn(2) {
		e.Kind = event.KindCall
		s.turn(e)
		s.step(event.KindLog, "app.noted")
		s.turn(event.Event{Kind: event.KindReturn, Func: "app.noted"})
		return
	}
	s.turn(e)
}

// wild does what no author would: receives wherever they come, with and without `takes`.
func (w *world) wild(s *stream, c *city) {
	if !w.has(Wild) {
		return
	}
	e := event.Event{}
	switch w.choose(3) {
	case 1:
		e.Takes = new(bool)
	case 2:
		yes := true
		e.Takes = &yes
	}
	line := 81 + w.choose(2)
	if q := c.conns; w.oneIn(2) && len(q.queue) > 0 {
		s.receive(q, "wild.get", line, e, nil)
		s.job = Anyone
		s.send(q, "wild.put", message{job: s.job}, event.Event{})
		return
	}
	loop := w.channel(w.name("loop"), 2, meetBy(w.choose(3)))
	s.send(loop, "wild.send", message{job: s.job, empty: w.oneIn(4)}, event.Event{})
	s.receive(loop, "wild.receive", line, e, nil)
}
