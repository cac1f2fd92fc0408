package program

import "github.com/pastcone/pastcone/event"

// startTicker makes a timer whose firings are work of their own, and a poller that does it.
func (w *world) startTicker(s *stream, c *city) {
	ticks := w.channel("ticks", 1, meetByOrdinal)
	ticker := s.named(s.turn(event.Event{Kind: event.KindLog, Func: "main.NewTicker", Line: 15}))
	s.spawn("main.ticker", w.name("t"), true, func(k *stream) {
		for range 1 + w.choose(3) {
			k.job = w.name("tick")
			k.send(ticks, "time.fire", message{job: k.job}, event.Event{Cause: []string{ticker}})
		}
		k.job = ""
		k.close(ticks, "time.stop")
		k.exit()
	})
	c.busy++
	s.spawn("main.poller", w.name("p"), true, func(k *stream) {
		k.in("main.poll", func() {
			for {
				_, ok := k.receive(ticks, "main.poll", 71, event.Event{}, func(m message) string { return m.job })
				if !ok {
					break
				}
				k.in("main.refresh", func() { w.steps(k, c, w.choose(3), 3) })
			}
			k.idle()
			k.in("main.abandoned", func() { k.step(event.KindLog, "main.abandoned") })
		})
		k.idle()
		k.exit()
		c.busy--
	})
}

// startBatcher makes a stream that collects what others add and flushes several at once. Its source lists
// the causes, first the one on whose behalf it flushes; without that list the flush is a known limit.
func (w *world) startBatcher(s *stream, c *city) {
	c.batch.owner = "batcher"
	s.spawn("main.batcher", w.name("b"), true, func(k *stream) {
		k.in("batch.loop", func() {
			size := 1 + w.choose(3)
			var refs []string
			var first string
			for {
				var at string
				_, ok := k.receive(c.batch, "batch.loop", 75, event.Event{}, func(m message) string { return m.job })
				if ok {
					at = k.named(len(w.events) - 1)
					if len(refs) == 0 {
						first = k.job
					}
					refs = append(refs, at)
				}
				if len(refs) == size || !ok && len(refs) > 0 {
					w.flush(k, refs, first)
					refs = nil
				}
				if !ok {
					k.job = Anyone
					break
				}
				k.job = Anyone
			}
		})
		k.exit()
	})
}

func (w *world) flush(k *stream, refs []string, first string) {
	k.job = first
	e := event.Event{Func: "batch.flush", Line: 1, Cause: refs}
	if w.has(KnownLimits) && w.oneIn(2) {
		e.Cause = nil
	}
	k.inside(e, func() { k.step(event.KindState, "batch.flush") })
}

// startMailbox makes an Erlang-like process: its mailbox takes nothing on, the callback has the message as
// its explicit cause. Some of its senders wait for an answer in a mailbox of their own.
func (w *world) startMailbox(s *stream, c *city) {
	by := meetByPeers
	if w.oneIn(2) {
		by = meetByMessage
	}
	server := w.name("e")
	box := w.channel("mailbox:"+server, 1<<20, by)
	box.owner = server
	c.mailboxes = append(c.mailboxes, box)
	s.spawn("gen.start", server, true, func(k *stream) {
		k.in("gen.loop", func() {
			for {
				k.job = ""
				m, ok := k.receive(box, "gen.loop", 91, event.Event{Takes: new(bool)}, nil)
				if !ok {
					return
				}
				k.job = m.job
				k.inside(event.Event{Func: "counter.handle_call", Line: 1, Cause: []string{m.ref}}, func() {
					k.step(event.KindState, "counter.handle_call")
					if m.reply != nil {
						k.send(m.reply, "gen.reply", message{job: k.job}, event.Event{})
					}
				})
			}
		})
		k.exit()
	})
	for range 1 + w.choose(3) {
		client := w.name("e")
		own := w.channel("mailbox:"+client, 1<<20, meetByPeers)
		own.owner = client
		c.busy++
		s.spawn("gen.start", client, true, func(k *stream) {
			for range 1 + w.choose(3) {
				k.job = w.name("call")
				m := message{job: k.job}
				if w.oneIn(2) {
					m.reply = own
				}
				k.send(box, "gen.call", m, event.Event{})
				if m.reply != nil {
					k.job = ""
					k.receive(own, "gen.call", 93, event.Event{Takes: new(bool)}, nil)
				}
			}
			k.job = ""
			k.exit()
			c.busy--
		})
	}
}

// startTest makes a test: a root call. One kind works through jobs of its own; its source says that
// what it receives is work, root call or not.
func (w *world) startTest(s *stream, c *city) {
	starts := !w.oneIn(3)
	c.busy++
	s.spawn("testing.Run", w.name("test"), starts, func(k *stream) {
		k.job = k.name
		k.inside(event.Event{Func: "orders.TestPlace", Line: 1, Root: true}, func() {
			w.steps(k, c, w.choose(4), 3)
			if !w.oneIn(2) {
				return
			}
			queue := w.channel(w.name("cases"), 4, meetByOrdinal)
			yes := true
			for range 2 {
				k.send(queue, "orders.add", message{job: k.job}, event.Event{})
			}
			for range 2 {
				k.receive(queue, "orders.run", 95, event.Event{Takes: &yes}, func(m message) string { return m.job })
				k.step(event.KindLog, "orders.run")
			}
		})
		if starts {
			k.job = ""
		}
		k.exit()
		c.busy--
	})
}

// startForeign makes a stream that nobody spawned: a thread of another runtime that calls in, or what was
// there before the recording began.
func (w *world) startForeign(_ *stream, c *city) {
	name := w.name("x")
	kind := w.choose(3)
	c.busy++
	w.begin(name, "", func(k *stream) {
		switch kind {
		case 0:
			k.step(event.KindLog, "cgo.attach")
			for range 1 + w.choose(2) {
				k.job = w.name("callback")
				k.inside(event.Event{Func: "cgo.callback", Line: 1, Root: true}, func() { w.steps(k, c, w.choose(3), 3) })
				k.job = ""
			}
		case 1:
			k.turn(event.Event{Kind: event.KindReturn, Func: "net.read"}) // of a call before the recording
			k.in("net.write", func() { k.step(event.KindMetric, "net.write") })
		case 2:
			k.in("sys.main", func() {
				k.step(event.KindLog, "sys.main")
				k.job = w.name("job")
				k.send(c.jobs, "sys.submit", message{job: k.job, reply: w.channel(w.name("reply"), 1, meetByOrder)}, event.Event{})
				k.job = ""
				k.step(event.KindLog, "sys.main")
			})
		}
		k.exit()
		c.busy--
	})
}

// startAfter makes a stream whose messages come from the runtime itself: no event of the program sends
// them, and nobody recorded its spawn.
func (w *world) startAfter(_ *stream, c *city) {
	c.busy++
	w.begin(w.name("a"), "", func(k *stream) {
		k.turn(event.Event{Kind: event.KindStart})
		k.in("main.watch", func() {
			for i := range 1 + w.choose(3) {
				k.job = w.name("alarm")
				e := event.Event{Kind: event.KindReceive, Func: "main.watch", Line: 97, Key: "alarms", Ordinal: uint64(i + 1)}
				e.Empty = w.oneIn(3)
				k.turn(e)
				if e.Empty {
					k.job = Anyone
				}
				w.steps(k, c, w.choose(3), 3)
			}
		})
		k.job = ""
		k.exit()
		c.busy--
	})
}
