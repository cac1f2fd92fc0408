package correlate

import (
	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Most of what any program does is plain: events whose context is all that they have. They are handled here, in few steps:
// plainRun takes those whose context is certain, plain the others. What the two do is what handle would do: the rules are
// those of judge.go, context.go and stream.go, for the case that nothing is met and nothing is in doubt.

func (s *stream) isPlain(r *wire.Record) bool {
	return plainKinds>>r.Kind&1 != 0 && r.ExtLen == 0 && r.Flags&wire.FlagRoot == 0 && len(s.frames) > 0
}

// plain is handle for most events: those whose context is all that they have.
func (c *Correlator) plain(src *source, s *stream, b *wire.Batch, r *wire.Record) {
	v := verdict{kind: event.EdgeContext, p: pTainted}
	if f := s.top(); len(s.taken) == int(f.from) && f.bits&(bitTainted|bitForgotten) == 0 && s.deeper == 0 {
		v.parent = &f.info // the usual case of s.context
	} else {
		context, sure := s.context()
		v.parent, v.conf = context, confOf(sure)
	}
	call := 0
	if r.Kind == event.KindReturn {
		call = c.returns(s, r, &v)
	}
	c.emit(src, s, b, r, &v).Duration = v.duration
	s.next++
	if r.Kind == event.KindCall {
		c.call(s, r, &c.made)
	} else if call > 0 {
		s.leave(call)
	}
	c.sealFull()
}

// plainRun handles the records [i, end) of a batch, up to the first that is not the next of its stream, not plain, or whose
// context is not certain, and gives the index of that one. It does what emit, call, returns and leave do in that case.
// There has to be a first event, and nothing of the stream may be parked.
func (c *Correlator) plainRun(src *source, s *stream, h *holding, i, end int) int {
	b, k := h.b, c.block
	high, low := h.high, h.low
	begin := i
	for ; i < end; i++ {
		r := &b.Records[i]
		if r.Seq != s.next || !s.isPlain(r) || (r.Seq|r.Ordinal) > event.SeqMax || r.DataLen != 0 && uint64(r.DataOff)+uint64(r.DataLen) > uint64(len(b.Arena)) {
			break
		}
		n := len(s.frames)
		f := &s.frames[n-1]
		if f.bits&bitTainted != 0 || s.deeper != 0 {
			break
		}
		p, kind, duration := &f.info, event.EdgeContext, int64(0)
		if r.Kind == event.KindReturn && n > 1 {
			kind, duration = event.EdgeReturn, max(0, r.Time-f.time)
		} else if t := len(s.taken); t > int(f.from) {
			x := &s.taken[t-1]
			if x.bits&(bitUnsure|bitMere) != 0 {
				break
			}
			p = &x.info
		} else if f.bits&bitForgotten != 0 {
			break
		}
		if r.Kind == event.KindCall && (n == cap(s.frames) || n > c.o.DepthMax || n > depthLeast && c.stateBytes > c.o.MemoryBytesMax/stateShare) {
			break
		}
		high, low = max(high, r.Time), min(low, r.Time)

		if k == nil {
			c.fresh()
			k = c.block
		}
		at := len(k.Rows)
		k.Rows = k.Rows[:at+1]
		row := &k.Rows[at]
		row.Record = *r
		row.DataOff, row.ExtOff = 0, 0
		if r.DataLen != 0 {
			row.DataOff = uint32(len(k.Arena)) // #nosec G115 -- bounded by arenaBytesMax and a batch
			k.Arena = append(k.Arena, b.Arena[r.DataOff:r.DataOff+r.DataLen]...)
		}
		row.Flags = r.Flags &^ wire.FlagBackground
		if p.bits&bitBackground != 0 {
			row.Flags |= wire.FlagBackground
		}
		row.Stream, row.Source = s.name, src.id
		row.Parent, row.ParentKind, row.ParentConf, row.ParentP = p.id, kind, event.Exact, 0
		row.Correlation, row.Position, row.CorrConf = p.corr, p.position+1, p.corrConf
		row.Duration, row.EdgeOff, row.EdgeLen = duration, 0, 0
		id := c.nextID
		c.nextID++
		s.next++

		switch {
		case r.Kind == event.KindCall:
			s.frames = s.frames[:n+1]
			g := &s.frames[n]
			g.id, g.corr, g.founder, g.position, g.corrConf, g.bits = id, p.corr, p.founder, p.position+1, p.corrConf, p.bits&bitBackground
			g.time, g.site, g.from = r.Time, r.Site, uint32(len(s.taken)) // #nosec G115 -- bounded by depth
		case kind == event.EdgeReturn:
			s.leave(n - 1)
		}
		if len(k.Rows) >= c.o.BlockRows || len(k.Arena) >= arenaBytesMax {
			if k.Arrived == 0 || b.Arrived < k.Arrived {
				k.Arrived = b.Arrived
			}
			h.last, begin = id, i+1
			c.Flush()
			k = nil
		}
	}
	if i > begin {
		if k.Arrived == 0 || b.Arrived < k.Arrived {
			k.Arrived = b.Arrived
		}
		h.last = c.nextID - 1
	}
	h.high, h.low = high, low
	return i
}
