// Package shape makes batches of a busy program, fast: the input of the benchmarks.
//
// The program is a server. Its streams work in threes: a front takes a request (a root call), hands a job to a
// worker, which asks a second one, which replies to the front. A request is 33 events: calls and returns three
// deep, four messages by key and ordinal, logs and metrics; 30 % of the events carry some 35 bytes of JSON. The threes take
// turns, one hop of a request at a time, so a batch holds short runs of many streams, in the order of time, as a recorded
// program gives them. With [Program.Regroup] the events of a batch come stream by stream.
//
// The program begins two seconds after its first event, so that it is certain by then that nobody spawned its main stream.
//
// In the plan's words this makes the input of the EventCorrelator's performance tests.
package shape

import (
	"math/rand/v2"
	"strconv"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// RequestEvents is the number of events of a request: the mean length of a correlation.
const RequestEvents = 33

// Program makes batches of one run.
type Program struct {
	Regroup bool // events of a batch come stream by stream, instead of in the order of time

	rng    *rand.Rand
	main   wire.Name
	seq    uint64 // of main
	groups []group
	turn   int
	clock  int64
	base   int64
	sites  [8]wire.Site
	opened bool
	spawns int // streams that main has still to spawn
	data   [256][]byte
	made   uint64
	scrap  wire.Batch
}

// group is three streams that work together, each with a queue of its own.
type group struct {
	names [3]wire.Name
	keys  [3]wire.Name
	seqs  [3]uint64
	sent  [3]uint64
	hop   int
}

// New makes a program with that many streams, at least three. The names are interned in t.
func New(seed uint64, streams int, t *wire.Table) (*Program, error) {
	p := &Program{rng: rand.New(rand.NewPCG(seed, 1)), base: 1_700_000_000_000_000_000} // #nosec G404 -- no secret
	var err error
	name := func(text string) (n wire.Name) {
		if err == nil {
			n, err = t.Name(text)
		}
		return n
	}
	p.main = name("main")
	p.groups = make([]group, max(1, streams/3))
	for i := range p.groups {
		g := &p.groups[i]
		for k := range g.names {
			g.names[k], g.keys[k] = name("g"+strconv.Itoa(3*i+k+1)), name("chan"+strconv.Itoa(3*i+k+1))
		}
	}
	for i := range p.sites {
		var s wire.Site
		if err == nil {
			s, err = t.SiteOf("shop.(*Server).step"+strconv.Itoa(i), "shop/server.go", 20+7*i)
		}
		p.sites[i] = s
	}
	for i := range p.data {
		p.data[i] = strconv.AppendInt([]byte(`{"user":`), int64(10_000+p.rng.IntN(90_000)), 10)
		p.data[i] = strconv.AppendInt(append(p.data[i], `,"path":"/orders/`...), int64(10+p.rng.IntN(90)), 10)
		p.data[i] = append(p.data[i], `"}`...)
	}
	p.spawns = 3 * len(p.groups)
	return p, err
}

// Streams gives the number of streams, main included.
func (p *Program) Streams() int { return 3*len(p.groups) + 1 }

// Fill appends at least n events to a batch: whole hops.
func (p *Program) Fill(b *wire.Batch, n int) {
	to := b
	if p.Regroup {
		p.scrap.Reset()
		to = &p.scrap
	}
	for n += len(to.Records); len(to.Records) < n; {
		if p.spawns > 0 {
			p.open(to)
			continue
		}
		g := &p.groups[p.turn]
		p.hop(to, g)
		if p.turn++; p.turn == len(p.groups) {
			p.turn = 0
		}
	}
	if p.Regroup {
		p.regroup(b)
	}
}

// add appends one event.
func (p *Program) add(b *wire.Batch, stream wire.Name, seq uint64, kind event.Kind, site int) *wire.Record {
	p.made++
	p.clock += 200
	if n := len(b.Runs); n == 0 || b.Runs[n-1].Stream != stream {
		b.Runs = append(b.Runs, wire.Run{Stream: stream})
	}
	b.Runs[len(b.Runs)-1].Len++
	b.Records = append(b.Records, wire.Record{Time: p.base + p.clock, Seq: seq, Kind: kind, Site: p.sites[site]})
	r := &b.Records[len(b.Records)-1]
	if p.made%10 < 3 {
		d := p.data[p.made*7%256]
		r.DataOff, r.DataLen = uint32(len(b.Arena)), uint32(len(d)) // #nosec G115 -- a batch is small
		b.Arena = append(b.Arena, d...)
	}
	return r
}

// open appends the beginning of the program: main, and one more stream.
func (p *Program) open(b *wire.Batch) {
	if !p.opened {
		p.opened = true
		p.seq++
		p.add(b, p.main, p.seq, event.KindCall, 0)
		p.clock += 2_000_000_000
	}
	i := 3*len(p.groups) - p.spawns
	p.spawns--
	g, k := &p.groups[i/3], i%3
	p.seq++
	p.add(b, p.main, p.seq, event.KindSpawn, 0).Child = g.names[k]
	g.seqs[k] = 1
	p.add(b, g.names[k], 1, event.KindStart, 0)
}

// hop appends one hop of a request of a group.
func (p *Program) hop(b *wire.Batch, g *group) {
	at := g.hop
	g.hop = (at + 1) & 3
	k := at % 3 // the stream that does it: front, first worker, second worker, front
	name, seq := g.names[k], g.seqs[k]
	put := func(kind event.Kind, site int) *wire.Record {
		seq++
		return p.add(b, name, seq, kind, site)
	}
	receive := func() {
		r := put(event.KindReceive, 2)
		r.Key, r.Ordinal = g.keys[k], g.sent[k]
	}
	send := func(to int) {
		g.sent[to]++
		r := put(event.KindSend, 3)
		r.Key, r.Ordinal = g.keys[to], g.sent[to]
	}
	switch at {
	case 0: // 8 events
		put(event.KindCall, 1).Flags = wire.FlagRoot
		put(event.KindLog, 1)
		put(event.KindCall, 4)
		put(event.KindState, 4)
		put(event.KindReturn, 4)
		put(event.KindCall, 5)
		put(event.KindMetric, 5)
		send(1)
	case 1: // 9
		receive()
		put(event.KindCall, 6)
		put(event.KindCall, 7)
		put(event.KindLog, 7)
		put(event.KindReturn, 7)
		put(event.KindCall, 4)
		put(event.KindReturn, 4)
		put(event.KindReturn, 6)
		send(2)
	case 2: // 9
		receive()
		put(event.KindCall, 7)
		put(event.KindState, 7)
		put(event.KindCall, 5)
		put(event.KindLog, 5)
		put(event.KindReturn, 5)
		put(event.KindMetric, 7)
		put(event.KindReturn, 7)
		send(0)
	case 3: // 7
		receive()
		put(event.KindCall, 4)
		put(event.KindLog, 4)
		put(event.KindReturn, 4)
		put(event.KindReturn, 5)
		put(event.KindMetric, 1)
		put(event.KindReturn, 1)
	}
	g.seqs[k] = seq
}

// regroup appends the scrap batch to b, stream by stream, in the order in which the streams first come.
func (p *Program) regroup(b *wire.Batch) {
	first := map[wire.Name]int{}
	var runs [][]int
	at := 0
	for _, run := range p.scrap.Runs {
		i, ok := first[run.Stream]
		if !ok {
			i = len(runs)
			first[run.Stream] = i
			runs = append(runs, nil)
		}
		for range run.Len {
			runs[i] = append(runs[i], at)
			at++
		}
	}
	names := make([]wire.Name, len(runs))
	for n, i := range first {
		names[i] = n
	}
	for i, run := range runs {
		for _, at := range run {
			r := &p.scrap.Records[at]
			b.Add(names[i], *r, p.scrap.Data(r), nil)
		}
	}
}
