package correlate

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// FuzzExtension: what is let in can be decoded, and what the encoder writes is let in.
func FuzzExtension(f *testing.F) {
	f.Add([]byte{})
	f.Add(wire.AppendExtension(nil, &wire.Extension{
		Message: []byte("m1"), Ref: []byte("r"), Causes: [][]byte{[]byte("a"), []byte("b")},
		Extra: []wire.ExtraField{{Name: []byte("x"), Value: []byte("1")}},
	}))
	f.Add([]byte{1, 200})
	f.Add([]byte{4, 2, 9, 9})
	f.Add([]byte{0, 0})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, ext []byte) {
		var x wire.Extension
		if good := x.Decode(ext) == nil; wellEncoded(ext) != good {
			t.Errorf("%x: decoder says %v", ext, good)
		}
	})
}

// FuzzBatches: whatever comes, nothing panics, every event is emitted or rejected, ids are dense, and the
// books balance.
func FuzzBatches(f *testing.F) {
	f.Add([]byte("a call and a return, a send and a receive, all at once, more or less"))
	f.Add([]byte{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3})
	f.Add([]byte{0, 255, 0, 255, 7, 7, 9, 200, 200, 13, 40, 77, 1, 0, 0, 0, 5, 5, 5, 5, 5, 18, 19, 20, 21, 22, 23, 24, 25, 99, 98, 97, 96})
	f.Fuzz(func(t *testing.T, data []byte) {
		watch := time.AfterFunc(3*time.Second, func() { panic("an input that does not end") })
		defer watch.Stop()
		table := wire.NewTable(1 << 20)
		k := collect(t, table)
		c := New(Options{Table: table, Lateness: 20, MemoryBytesMax: 1, BlockRows: 5, DepthMax: 4}, k)
		var names [8]wire.Name
		for i := range names {
			names[i], _ = table.Name(string(rune('a' + i)))
		}
		next := func() byte {
			if len(data) == 0 {
				return 0
			}
			b := data[0]
			data = data[1:]
			return b
		}
		batches, done, events := 0, 0, 0
		for len(data) > 0 {
			b := &wire.Batch{Source: wire.SourceID(1 + next()%2), Arrived: int64(next())}
			b.Done = func(event.ID) { done++ }
			batches++
			for n := 1 + next()%8; n > 0; n-- {
				what, who, more := next(), next(), next()
				r := wire.Record{
					Kind: event.Kind(what%18) % 18, Seq: uint64(next() % 24), Time: int64(next()), Key: names[who>>3%4],
					Ordinal: uint64(more % 4), Peer: names[more>>2%8] * wire.Name(more>>5&1), Child: names[more>>3%8], Flags: wire.Flags(more) & 0x5f,
					Site: wire.Site(what >> 6),
				}
				var x wire.Extension
				if more&0x80 != 0 {
					x.Message = []byte{'0' + more&3}
				}
				if what&0x40 != 0 {
					x.Ref = []byte{'a' + who&7}
				}
				if what&0x80 != 0 {
					x.Causes = [][]byte{{'a' + more&7}, {'a' + more>>3&7}}
				}
				b.Add(names[who%8], r, []byte(`{"lost":2}`), wire.AppendExtension(nil, &x))
			}
			if next() == 255 && len(b.Records) > 0 { // cut short
				b.Arena = b.Arena[:len(b.Arena)/2]
			}
			if next() == 254 {
				b.Runs[0].Len += uint32(binary.BigEndian.Uint16([]byte{next(), next()}))
			}
			events += len(b.Records)
			c.Open(b.Source, b.Source == 2)
			c.Add(b)
			switch next() {
			case 1:
				c.Tick(int64(next()) * 2)
			case 2:
				c.End(1)
			case 3:
				c.Flush()
			case 4:
				c.Resume(wire.Tail{Source: 1, Stream: names[next()%8], Seq: uint64(next() % 24), Exited: true})
			case 5:
				for range 4 {
					c.putAway()
				}
			}
		}
		c.Finish()
		s := c.Stats()
		if s.Waiting != 0 || s.Streams != 0 || c.heldBytes != 0 || done != batches {
			t.Errorf("%+v, %d bytes held, %d of %d batches done", s, c.heldBytes, done, batches)
		}
		if int(s.Emitted) != len(k.results) || s.Accepted != uint64(events) || int(s.Accepted) > len(k.results)+len(k.rejected) ||
			len(k.results)+len(k.rejected)-events > int(s.Gaps) {
			t.Errorf("%d events, %d results, %d rejected: %+v", events, len(k.results), len(k.rejected), s)
		}
		for _, r := range k.results {
			for _, cause := range r.Causes {
				if (cause.ID == 0) != (cause.Confidence == event.Gap) || cause.Confidence == event.Inferred && (cause.P <= 0 || cause.P >= 1) {
					t.Errorf("%s: %+v", k.name(r.ID), cause)
				}
			}
			if r.Correlation == 0 || r.Confidence > r.CorrelationConfidence && r.Correlation != r.ID {
				t.Errorf("%+v", r.Event)
			}
		}
	})
}
