// Package busy makes the events that the benchmarks record: those of a busy server, fast, without an end, and not too easy to
// compress or to search.
//
// It is [shape] (2,000 streams, 33 events a request, 30 % with some 35 bytes of JSON), with what a recorded program has beyond it:
//
//   - times that do not tick evenly, and data that does not repeat;
//   - 350 functions, so that a search for one has to look at many blocks;
//   - a few deep requests, each of a hundred events: a root call, 49 calls inside it, and their returns. Their events lie a batch
//     apart, among those of everybody else, so a chain of 50 crosses blocks.
//
// In the plan's words this makes the load of the performance tests of Layer 2.
package busy

import (
	"strconv"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/correlate/shape"
	"github.com/pastcone/pastcone/internal/wire"
)

// What a program is made of.
const (
	Streams    = 2000
	Functions  = (places - 1) * variants
	DeepCalls  = 50              // open calls at the deepest point of a deep request: the length of its chain
	DeepEvents = 2 * DeepCalls   // of a deep request: its correlation
	deepOnce   = 1024            // one event of each deep stream comes with so many others
	variants   = 50              // of each place
	places     = 8               // of shape; the first is main's, who only spawns
	bottom     = DeepCalls - 1   // the level of the deepest call
	stepNanos  = 200             // between two events of shape
	jitterMask = stepNanos/2 - 1 // less than a step, so the order stays
)

// BottomFunc is the function that is called at the bottom of each deep request, and nowhere else.
const BottomFunc = "shop.(*Report).Level49"

// Function gives the name of one of the functions that the requests call.
func Function(i int) string { return functionOf(1+i%(places-1), i/(places-1)) }

func functionOf(place, variant int) string {
	return "shop.(*Server).Step" + strconv.Itoa(place) + "of" + strconv.Itoa(variant%variants)
}

// Program makes batches of one run of the program. It is for one goroutine.
type Program struct {
	shape *shape.Program
	rng   uint64
	first bool

	base  wire.Site // shape's first place; its eight follow each other
	sites [variants * places]wire.Site

	driver wire.Name
	deep   [8]struct {
		name wire.Name
		seq  uint64
		at   int // in its request
	}
	levels [DeepCalls]wire.Site
	owed   int // events since the deep streams had their turn
}

// New makes a program. Its names are interned in t.
func New(seed uint64, t *wire.Table) (*Program, error) {
	p := &Program{rng: seed*0x9E3779B97F4A7C15 + 1, first: true}
	var err error
	if p.shape, err = shape.New(seed, Streams, t); err != nil {
		return nil, err
	}
	if p.base, err = t.SiteOf("shop.(*Server).step0", "shop/server.go", 20); err != nil {
		return nil, err
	}
	for i := range p.sites {
		if p.sites[i], err = t.SiteOf(functionOf(i%places, i/places), "shop/server"+strconv.Itoa(i%20)+".go", 10+i); err != nil {
			return nil, err
		}
	}
	if p.driver, err = t.Name("reports"); err != nil {
		return nil, err
	}
	for i := range p.deep {
		if p.deep[i].name, err = t.Name("report" + strconv.Itoa(i+1)); err != nil {
			return nil, err
		}
	}
	for i := range p.levels {
		if p.levels[i], err = t.SiteOf("shop.(*Report).Level"+strconv.Itoa(i), "shop/report.go", 30+i); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Fill appends at least n events to an empty batch.
func (p *Program) Fill(b *wire.Batch, n int) {
	p.shape.Fill(b, n)
	at := 0
	for _, run := range b.Runs {
		variant := int(uint64(run.Stream)/3%variants) * places // #nosec G115 -- below Functions
		for range run.Len {
			r := &b.Records[at]
			at++
			x := p.next()
			r.Time += int64(x & jitterMask) // #nosec G115 -- small
			if place := int(r.Site) - int(p.base); place >= 0 && place < places {
				r.Site = p.sites[variant+place]
			}
			if r.DataLen > 0 {
				vary(b.Arena[r.DataOff:r.DataOff+r.DataLen], x>>8)
			}
		}
	}
	now := b.Records[len(b.Records)-1].Time
	if p.first {
		p.first = false
		p.open(b)
	}
	for p.owed += len(b.Records); p.owed >= deepOnce; p.owed -= deepOnce {
		for i := range p.deep {
			p.step(b, i, now)
		}
	}
}

// next gives 64 random bits (xorshift64*).
func (p *Program) next() uint64 {
	p.rng ^= p.rng >> 12
	p.rng ^= p.rng << 25
	p.rng ^= p.rng >> 27
	return p.rng * 0x2545F4914F6CDD1D
}

// vary puts random digits where shape's data has digits: {"user":12345,"path":"/orders/42"}.
func vary(data []byte, x uint64) {
	for _, at := range [...]int{8, 9, 10, 11, 12, 30, 31} {
		data[at] = '1' + byte(x&7) // #nosec G115 -- a digit
		x >>= 3
	}
}

// open begins the deep streams, at the time of shape's first event: two seconds before anything else.
func (p *Program) open(b *wire.Batch) {
	begin := b.Records[0].Time
	seq := uint64(1)
	b.Add(p.driver, wire.Record{Time: begin, Seq: seq, Kind: event.KindCall, Site: p.levels[0]}, nil, nil)
	for i := range p.deep {
		seq++
		b.Add(p.driver, wire.Record{Time: begin, Seq: seq, Kind: event.KindSpawn, Child: p.deep[i].name}, nil, nil)
	}
	for i := range p.deep {
		p.deep[i].seq = 1
		b.Add(p.deep[i].name, wire.Record{Time: begin, Seq: 1, Kind: event.KindStart}, nil, nil)
	}
}

// step appends the next event of a deep request.
func (p *Program) step(b *wire.Batch, i int, now int64) {
	d := &p.deep[i]
	d.seq++
	r := wire.Record{Time: now, Seq: d.seq, Kind: event.KindCall}
	switch {
	case d.at == 0:
		r.Flags, r.Site = wire.FlagRoot, p.levels[0]
	case d.at <= bottom:
		r.Site = p.levels[d.at]
	default:
		r.Kind, r.Site = event.KindReturn, p.levels[DeepEvents-1-d.at]
	}
	if d.at++; d.at == DeepEvents {
		d.at = 0
	}
	b.Add(d.name, r, nil, nil)
}
