package correlate

import (
	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// arenaBytesMax is the payload behind which a block is sealed, full of rows or not.
const arenaBytesMax = 4 << 20

// finished is a batch whose last row is in the block that is being filled.
type finished struct {
	done func(event.ID)
	last event.ID
}

// fresh begins a block.
func (c *Correlator) fresh() {
	b := c.o.NewBlock()
	if cap(b.Rows) < c.o.BlockRows {
		b.Rows = make([]wire.Row, 0, c.o.BlockRows)
	}
	b.Base, b.Rows, b.Edges, b.Arena, b.Late, b.Arrived = c.nextID, b.Rows[:0], b.Edges[:0], b.Arena[:0], b.Late[:0], 0
	c.block = b
}

// emit gives the event its id and its row, and leaves in c.made what it hands on to its effects. (It lies there,
// and is copied by fields, because to copy what has just been written in small pieces stalls the processor.)
func (c *Correlator) emit(src *source, s *stream, b *wire.Batch, r *wire.Record, v *verdict) *wire.Row {
	if c.block == nil {
		c.fresh()
	}
	k := c.block
	id := c.nextID
	c.nextID++
	n := len(k.Rows)
	k.Rows = k.Rows[:n+1]
	row := &k.Rows[n]
	row.Record = *r
	row.Flags &^= wire.FlagBackground
	row.DataOff, row.ExtOff = 0, 0
	if r.DataLen != 0 {
		row.DataOff = uint32(len(k.Arena)) // #nosec G115 -- bounded by arenaBytesMax and a batch
		k.Arena = append(k.Arena, b.Arena[r.DataOff:r.DataOff+r.DataLen]...)
	}
	if r.ExtLen != 0 {
		row.ExtOff = uint32(len(k.Arena)) // #nosec G115 -- bounded by arenaBytesMax and a batch
		k.Arena = append(k.Arena, b.Arena[r.ExtOff:r.ExtOff+r.ExtLen]...)
	}
	if k.Arrived == 0 || b.Arrived < k.Arrived {
		k.Arrived = b.Arrived
	}

	i := &c.made
	i.id, i.corr, i.founder, i.position, i.corrConf, i.bits = id, id, 0, 0, v.foundsBy, 0
	p := v.parent
	switch {
	case v.founds:
	case p == nil:
		i.bits = bitBackground // founded by an event without a parent
		i.corrConf = max(v.conf, v.foundsBy)
	case v.kind == event.EdgeSpawn && p.background():
		i.bits = bitBackground // founded by the start of a stream spawned from background
		i.corrConf = max(p.corrConf, v.conf, v.foundsBy)
	default:
		i.corr, i.position, i.bits, i.founder = p.corr, p.position+1, p.bits&bitBackground, p.founder
		i.corrConf = max(p.corrConf, v.conf, v.foundsBy)
	}
	if i.corr == id && r.Kind == event.KindSend {
		i.founder = s.serial
	}

	row.Stream, row.Source = s.name, src.id
	row.Parent = 0
	if p != nil {
		row.Parent = p.id
	}
	row.ParentKind, row.ParentConf, row.ParentP = v.kind, v.conf, 0
	if v.conf == event.Inferred {
		row.ParentP = v.p
	}
	row.Correlation, row.Position, row.CorrConf = i.corr, i.position, i.corrConf
	row.Duration, row.EdgeOff, row.EdgeLen = v.duration, 0, 0
	if i.bits&bitBackground != 0 {
		row.Flags |= wire.FlagBackground
	}
	return row
}

// edge appends a further edge of the last row.
func (c *Correlator) edge(from *info, kind event.EdgeKind, inferred bool, p float32) {
	e := wire.Edge{Cause: from.id, Kind: kind}
	if inferred {
		e.Conf, e.P = event.Inferred, p
	}
	c.block.Edges = append(c.block.Edges, e)
}

// missing appends a further edge whose cause is missing. Should it come later, the edge is given then.
func (c *Correlator) missing(k token, effect event.ID, kind event.EdgeKind) {
	c.block.Edges = append(c.block.Edges, wire.Edge{Kind: kind, Conf: event.Gap})
	c.owes(k, effect, kind)
}

// owes notes that an end owes an edge to an effect.
func (c *Correlator) owes(k token, effect event.ID, kind event.EdgeKind) {
	if k.tag == 0 {
		return
	}
	if e := c.ends.put(k); !e.open() {
		c.ends.borrow(e, effect, kind)
	}
}

// pay gives late edges.
func (c *Correlator) pay(debts uint32, cause event.ID, inferred bool) {
	for i := debts; i != 0; i = c.ends.debts[i].next {
		d := &c.ends.debts[i]
		if d.effect == cause {
			continue // it names itself
		}
		e := wire.Edge{Cause: cause, Kind: d.kind}
		if inferred {
			e.Conf, e.P = event.Inferred, pGuessed
		}
		c.block.Late = append(c.block.Late, wire.LateEdge{Effect: d.effect, Edge: e})
		c.stats.LateEdges++
	}
	c.ends.freeDebts(debts)
}

// sealFull emits the block if it is full.
func (c *Correlator) sealFull() {
	if len(c.block.Rows) >= c.o.BlockRows || len(c.block.Arena) >= arenaBytesMax {
		c.Flush()
	}
}

// Flush emits the partly filled block.
func (c *Correlator) Flush() {
	k := c.block
	if k == nil || len(k.Rows) == 0 {
		return
	}
	c.block = nil
	c.stats.Emitted += uint64(len(k.Rows))
	c.sink.Emit(k)
	for i := range c.done {
		f := c.done[i]
		c.done[i] = finished{}
		f.done(f.last)
	}
	c.done = c.done[:0]
}

// finish says that all events of a batch are emitted or rejected; its owner hears of it when the last of
// them has left with its block.
func (c *Correlator) finish(b *wire.Batch, last event.ID) {
	switch {
	case b.Done == nil:
	case c.block == nil || last < c.block.Base:
		b.Done(last)
	default:
		c.done = append(c.done, finished{b.Done, last})
	}
}
