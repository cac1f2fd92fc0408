package correlate

import (
	"strconv"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// acrossHole brings a stream across the seqs that are missing in front of a record: with a gap event, once
// they have been waited for. It is false while they are.
func (c *Correlator) acrossHole(src *source, s *stream, b *wire.Batch, r *wire.Record) bool {
	if !s.has(overdue) {
		c.awaits(src, s, b, r, waitHole)
		return false
	}
	if !c.gatherForGap(src, s, b, r) {
		return false
	}
	c.gap(src, s, b, r, r.Seq-s.next)
	s.next = r.Seq
	return true
}

// gatherForGap finds the spawn of a stream that begins with a gap.
func (c *Correlator) gatherForGap(src *source, s *stream, b *wire.Batch, r *wire.Record) bool {
	g := &c.got
	g.wanted, g.there, g.doubtful, g.sendAt = 0, 0, 0, -1
	g.refs = g.refs[:0]
	return len(s.frames) > 0 || s.next > 1 || c.gatherSpawn(src, s, b, r)
}

// declaredGap takes a gap that the source itself declares: so many events, from this one on, were lost before
// they came here.
func (c *Correlator) declaredGap(src *source, s *stream, b *wire.Batch, r *wire.Record) bool {
	if !c.gatherForGap(src, s, b, r) {
		return false
	}
	lost := min(lostOf(b.Data(r)), event.SeqMax-r.Seq)
	c.gapRow(src, s, b, r, lost)
	s.next += lost
	c.offers(src, s, b, r, &c.made) // it may have a name
	c.sealFull()
	return true
}

// lostOf gives the number behind "lost" in a gap's data, 0 if there is none.
func lostOf(data []byte) (n uint64) {
	const name = `"lost"`
	for i := 0; i+len(name) < len(data); i++ {
		if string(data[i:i+len(name)]) != name {
			continue
		}
		i += len(name)
		for i < len(data) && (data[i] == ' ' || data[i] == ':' || data[i] == '\t' || data[i] == '\n' || data[i] == '\r') {
			i++
		}
		for ; i < len(data) && '0' <= data[i] && data[i] <= '9'; i++ {
			if n = n*10 + uint64(data[i]-'0'); n > event.SeqMax {
				return event.SeqMax
			}
		}
		return n
	}
	return 0
}

// gap emits a gap event in front of a record: so many events are missing from s.next on. When they happened
// nobody knows; the time is that of the record, the earliest that is known not to be before them.
func (c *Correlator) gap(src *source, s *stream, b *wire.Batch, r *wire.Record, lost uint64) {
	c.gapData = append(c.gapData[:0], `{"lost":`...)
	c.gapData = append(strconv.AppendUint(c.gapData, lost, 10), '}')
	c.gapBatch.Arrived, c.gapBatch.Arena = b.Arrived, c.gapData
	c.gapRow(src, s, &c.gapBatch, &wire.Record{
		Time: r.Time, Seq: s.next, Kind: event.KindGap, DataLen: uint32(len(c.gapData)), // #nosec G115 -- short
	}, lost)
	c.sealFull()
}

// gapRow emits a gap event, and notes what it leaves in doubt: "a gap taints the calls open at it, and the
// stream's first event, until they return".
func (c *Correlator) gapRow(src *source, s *stream, b *wire.Batch, r *wire.Record, lost uint64) {
	v := verdict{p: pTainted, conf: event.Inferred, kind: event.EdgeContext, foundsBy: event.Inferred}
	first := len(s.frames) == 0
	switch spawn := c.got.of(meetSpawn); {
	case !first:
		v.parent, _ = s.context()
	case spawn != nil:
		v.parent, v.kind = spawn, event.EdgeSpawn
	default:
		v.kind, v.conf, v.foundsBy = event.EdgeInvalid, event.Gap, event.Gap
	}
	c.emit(src, s, b, r, &v)
	i := &c.made
	c.stats.Gaps++
	c.stats.Lost += lost
	if first {
		if c.got.has(meetSpawn) {
			c.ends.drop(c.got.ends[meetSpawn])
		} else if c.got.wants(meetSpawn) {
			c.owes(c.got.ends[meetSpawn], i.id, event.EdgeSpawn)
		}
		c.push(s, i, 0, r)
	}
	s.taint()
	if lost > 0 {
		s.odd().noteGap(seqRange{s.next, s.next + lost})
		c.weigh(s)
	}
}

// taint says that anything may have happened in a stream.
func (s *stream) taint() {
	s.flags |= gapped | placesOpen
	for i := len(s.frames) - 1; i >= 0 && !s.frames[i].tainted(); i-- {
		s.frames[i].bits |= bitTainted
	}
	s.frames[0].bits |= bitTainted
	s.sure = 0
}

func (x *rare) noteGap(g seqRange) {
	if len(x.gaps) == gapsMax {
		copy(x.gaps, x.gaps[1:])
		x.gaps = x.gaps[:gapsMax-1]
	}
	x.gaps = append(x.gaps, g)
}

// before gives the reason why an event whose place is behind its stream is not emitted.
func (s *stream) before(seq uint64) Reason {
	if s.rare != nil {
		for _, g := range s.rare.gaps {
			if g.low <= seq && seq < g.high {
				return TooLate
			}
		}
	}
	return Duplicate
}

// Resume tells of a stream that a recording already holds: it goes on behind t.Seq. What it did is not known
// here: that is a gap that has lost nothing.
func (c *Correlator) Resume(t wire.Tail) {
	src := c.open(t.Source)
	if c.streamOf.find(src.index, t.Stream) == 0 {
		c.ended.add(endedStream{name: t.Stream, src: src.index, seq: t.Seq, exited: t.Exited})
	}
}
