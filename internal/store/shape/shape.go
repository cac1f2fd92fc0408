// Package shape makes up blocks of correlated events, for benchmarks, fixtures and tests of the store: many
// streams at once, each with a stack of open calls, that hand each other messages over channels and
// locks, in correlations of some 33 events, three in ten with a small JSON object.
//
// What it makes is what the correlator would: causes precede their effects, and an event's correlation
// and position are those of its parent.
//
// In the plan's words this makes the input of DataAccess's performance tests.
package shape

import (
	"math/rand/v2"
	"strconv"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Shape says what to make. The zero value of a field stands for what the facts on storage were measured with.
type Shape struct {
	Streams         int     // at once; 2,000
	RunMean         int     // events of one stream one behind the other; 2
	CorrelationMean int     // events; 33
	DataShare       float64 // of events with data; 0.3. Below 0: none
	Funcs           int     // 400
	Seed            uint64
}

// Generator makes blocks, one behind the other.
type Generator struct {
	o       Shape
	rng     *rand.Rand
	streams []stream
	sites   []wire.Site
	keys    []key
	now     int64
	next    event.ID
	left    int // events that the present run still has
	at      int // the stream of the present run
	source  wire.SourceID
	scratch []byte
}

type stream struct {
	name        wire.Name
	seq         uint64
	stack       []frame
	left        int // events of its piece of work
	first       event.ID
	correlation event.ID
	position    uint32
	context     event.ID
}

type frame struct {
	id       event.ID
	site     wire.Site
	time     int64
	position uint32
}

// key is a channel or a lock.
type key struct {
	name   wire.Name
	sent   uint64
	queued []message
}

type message struct {
	id      event.ID
	ordinal uint64
	peer    wire.Name
}

// New makes a generator whose names are interned in t, and whose events are of that source, from id next
// on.
func New(t *wire.Table, source wire.SourceID, next event.ID, o Shape) (*Generator, error) {
	if o.Streams == 0 {
		o.Streams = 2000
	}
	if o.RunMean == 0 {
		o.RunMean = 2
	}
	if o.CorrelationMean == 0 {
		o.CorrelationMean = 33
	}
	if o.DataShare == 0 {
		o.DataShare = 0.3
	}
	if o.Funcs == 0 {
		o.Funcs = 400
	}
	g := &Generator{o: o, rng: rand.New(rand.NewPCG(o.Seed, 11)), source: source, next: next, now: 1_700_000_000_000_000_000}
	for i := range o.Funcs {
		s, err := t.SiteOf("example.com/shop/orders.(*Service).Step"+strconv.Itoa(i)+"x", "orders/service"+strconv.Itoa(i%20)+".go", 10+i)
		if err != nil {
			return nil, err
		}
		g.sites = append(g.sites, s)
	}
	for i := range o.Streams {
		n, err := t.Name("g" + strconv.Itoa(i+1))
		if err != nil {
			return nil, err
		}
		g.streams = append(g.streams, stream{name: n})
	}
	for i := range 64 + o.Streams/8 {
		n, err := t.Name("chan" + strconv.Itoa(i+1))
		if err != nil {
			return nil, err
		}
		g.keys = append(g.keys, key{name: n})
	}
	return g, nil
}

// Block makes the next block of that many rows.
func (g *Generator) Block(rows int) *wire.Block {
	b := &wire.Block{Base: g.next, Rows: make([]wire.Row, rows), Arrived: g.now, Edges: make([]wire.Edge, 0, rows/8), Arena: make([]byte, 0, 11*rows)}
	for i := range b.Rows {
		if g.left--; g.left <= 0 {
			g.at, g.left = g.rng.IntN(len(g.streams)), 1+int(g.rng.ExpFloat64()*float64(g.o.RunMean))
		}
		g.now += 50 + int64(g.rng.ExpFloat64()*100)
		g.event(&g.streams[g.at], b, &b.Rows[i])
		g.next++
	}
	return b
}

func (g *Generator) event(s *stream, b *wire.Block, r *wire.Row) {
	s.seq++
	r.Record = wire.Record{Time: g.now, Seq: s.seq}
	r.Stream, r.Source = s.name, g.source
	if s.seq == 1 {
		s.first, s.context, s.correlation = g.next, g.next, g.next
		r.Kind, r.Site, r.Flags = event.KindCall, g.site(), wire.FlagBackground
		r.Correlation = g.next
		return
	}
	if s.left == 0 && len(s.stack) == 0 {
		g.found(s, r)
	} else {
		s.left = max(s.left-1, 0)
		switch p := g.rng.IntN(100); {
		case len(s.stack) > 0 && (s.left == 0 || p < 38 || len(s.stack) > 8):
			g.back(s, r)
		case p < 76:
			g.call(s, r)
		case p < 90:
			g.message(s, b, r)
		default:
			r.Kind, r.Site = event.KindLog, g.sites[g.rng.IntN(20)]
			g.under(s, r)
		}
	}
	if g.rng.Float64() < g.o.DataShare {
		g.data(b, r)
	}
}

// site draws a place; some are visited far more often than others.
func (g *Generator) site() wire.Site {
	n := len(g.sites)
	return g.sites[min(g.rng.IntN(n), g.rng.IntN(n), g.rng.IntN(n))]
}

// found begins a piece of work.
func (g *Generator) found(s *stream, r *wire.Row) {
	s.left = 2 + int(g.rng.ExpFloat64()*float64(g.o.CorrelationMean-2))
	s.correlation, s.position, s.context = g.next, 0, g.next
	r.Kind, r.Site, r.Flags = event.KindCall, g.sites[g.rng.IntN(8)], wire.FlagRoot
	r.Correlation, r.Parent, r.ParentKind, r.ParentP = g.next, s.first, event.EdgeContext, 1
	s.stack = append(s.stack[:0], frame{g.next, r.Site, g.now, 0})
}

// under makes the stream's context the parent.
func (g *Generator) under(s *stream, r *wire.Row) {
	r.Parent, r.ParentKind, r.ParentP = s.context, event.EdgeContext, 1
	r.Correlation, r.Position = s.correlation, s.position+1
}

func (g *Generator) call(s *stream, r *wire.Row) {
	r.Kind, r.Site = event.KindCall, g.site()
	g.under(s, r)
	s.stack = append(s.stack, frame{g.next, r.Site, g.now, r.Position})
	s.context, s.position = g.next, r.Position
}

func (g *Generator) back(s *stream, r *wire.Row) {
	f := s.stack[len(s.stack)-1]
	s.stack = s.stack[:len(s.stack)-1]
	r.Kind, r.Site, r.Duration = event.KindReturn, f.site, g.now-f.time
	r.Parent, r.ParentKind, r.ParentP = f.id, event.EdgeReturn, 1
	r.Correlation, r.Position = s.correlation, f.position+1
	if n := len(s.stack); n > 0 {
		s.context, s.position = s.stack[n-1].id, s.stack[n-1].position
	}
}

// message sends, or receives what another stream has sent.
func (g *Generator) message(s *stream, b *wire.Block, r *wire.Row) {
	k := &g.keys[g.rng.IntN(len(g.keys))]
	g.under(s, r)
	r.Key, r.Site = k.name, g.sites[20+g.rng.IntN(min(40, len(g.sites)-20))]
	if len(k.queued) == 0 {
		k.sent++
		r.Kind, r.Ordinal = event.KindSend, k.sent
		k.queued = append(k.queued, message{g.next, k.sent, s.name})
		return
	}
	m := k.queued[0]
	k.queued = k.queued[1:]
	r.Kind, r.Ordinal, r.Peer = event.KindReceive, m.ordinal, m.peer
	r.EdgeOff, r.EdgeLen = uint32(len(b.Edges)), 1 // #nosec G115 -- below the number of rows
	b.Edges = append(b.Edges, wire.Edge{Cause: m.id, P: 1, Kind: event.EdgeMessage})
}

func (g *Generator) data(b *wire.Block, r *wire.Row) {
	p := append(g.scratch[:0], `{"order":`...)
	p = strconv.AppendInt(p, int64(100000+g.rng.IntN(900000)), 10)
	if g.rng.IntN(2) == 0 {
		p = append(p, `,"status":"ok","n":`...)
		p = strconv.AppendInt(p, int64(g.rng.IntN(100)), 10)
	} else {
		p = append(p, `,"user":"u`...)
		p = strconv.AppendInt(p, int64(g.rng.IntN(10000)), 10)
		p = append(p, '"')
	}
	p = append(p, '}')
	g.scratch = p
	r.DataOff, r.DataLen = uint32(len(b.Arena)), uint32(len(p)) // #nosec G115 -- far below 4 GiB
	b.Arena = append(b.Arena, p...)
}
