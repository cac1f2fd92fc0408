package capture

import (
	"cmp"
	"context"
	"encoding/binary"
	"slices"

	"github.com/pastcone/pastcone/internal/capture"
)

// Merging the records of several Ps into about one order.
//
//  1. A piece is the records of one frame. The pieces of a P, by the order of their chunk and their place in it, are its records in
//     the order in which they were written.
//  2. The end of a pass has a watermark: up to it, nothing more will come. Up to it the Ps are merged: the one whose next record is
//     the earliest goes on.
//  3. It goes on until a record would need a cause that another P may still have, or until it is too far ahead. A record that needs
//     no cause, and is the next of its stream, is as good now as later: so a stream's records come in long runs.
//
// The time that counts is the latest of its P so far: within a P the order is the order of writing, whatever the clock says.

// piece is the records of one frame.
type piece struct {
	order   uint64
	first   uint32
	records []byte
	offset  int64 // of the frame's content in the file
}

func (p *piece) compare(o *piece) int {
	return cmp.Or(cmp.Compare(p.order, o.order), cmp.Compare(p.first, o.first))
}

// lane is what has come of one P and is not merged yet.
type lane struct {
	p      uint32
	pieces []*piece
	at     int    // in the first piece
	time   uint64 // of its next record, or of the last one, whichever is later
	floor  uint64 // of the last record that was merged: times do not go back
	sorted bool
}

// look takes the time of the next record.
func (l *lane) look() {
	if len(l.pieces) > 0 {
		l.time = max(l.floor, binary.LittleEndian.Uint64(l.pieces[0].records[l.at:]))
	}
}

const (
	piecesFreeMax = 64
	heldBytesMax  = 1 << 30 // of records that wait for a watermark
	lanesMax      = 1 << 16 // a P is one of these
)

// merger holds what waits for a watermark.
type merger struct {
	lanes []*lane
	byP   map[uint32]*lane
	held  int64 // bytes
	free  []*piece
}

// add takes the records of a frame: order, P and number of the first, and the records, which are unpacked. It is false if they can not
// be.
func (m *merger) add(f *frame) bool {
	records := (f.raw - chunkFrameHeader) / capture.RecordBytes
	if records == 0 {
		return true
	}
	content := f.content[chunkFrameHeader:]
	x := m.newPiece(records * capture.RecordBytes)
	x.order, x.first, x.offset = binary.LittleEndian.Uint64(f.content), binary.LittleEndian.Uint32(f.content[12:]), f.offset
	if f.codec == codecPacked {
		var ok bool
		if x.records, ok = unpackRecords(x.records[:0], content, records); !ok {
			m.free = append(m.free, x)
			return false
		}
	} else {
		x.records = append(x.records[:0], content...)
	}
	p := binary.LittleEndian.Uint32(f.content[8:])
	l := m.byP[p]
	if l == nil {
		l = &lane{p: p, sorted: true}
		m.byP[p] = l
		m.lanes = append(m.lanes, l)
	}
	if n := len(l.pieces); n > 0 && l.pieces[n-1].compare(x) > 0 {
		l.sorted = false
	}
	l.pieces = append(l.pieces, x)
	m.held += int64(len(x.records))
	return true
}

// newPiece gives a piece with that much room, one that was used before if it can.
func (m *merger) newPiece(bytes int) *piece {
	if n := len(m.free); n > 0 {
		x := m.free[n-1]
		m.free = m.free[:n-1]
		return x
	}
	return &piece{records: make([]byte, 0, bytes)}
}

// sort brings the pieces of all lanes into their order. The first piece of a lane may be partly used: a piece that should be before
// the rest of it comes next.
func (m *merger) sort() {
	for _, l := range m.lanes {
		if !l.sorted {
			if l.at > 0 {
				p := l.pieces[0]
				p.first += uint32(l.at / capture.RecordBytes) // #nosec G115 -- at most a chunk
				p.records = append(p.records[:0], p.records[l.at:]...)
				l.at = 0
			}
			slices.SortStableFunc(l.pieces, (*piece).compare)
			l.sorted = true
		}
		l.look()
	}
}

// done gives the lane's first piece back.
func (m *merger) done(l *lane) {
	x := l.pieces[0]
	m.held -= int64(len(x.records))
	l.pieces = slices.Delete(l.pieces, 0, 1)
	l.at = 0
	if len(m.free) < piecesFreeMax {
		m.free = append(m.free, x)
	}
}

// drop forgets what is not merged.
func (m *merger) drop() {
	for _, l := range m.lanes {
		l.pieces, l.at = nil, 0
	}
	m.held = 0
}

// release merges what is before the watermark, and hands record by record to the builder.
func (r *reader) release(ctx context.Context, watermark uint64) error {
	m := &r.merger
	m.sort()
	for {
		var first *lane
		second := watermark
		for _, l := range m.lanes {
			switch {
			case len(l.pieces) == 0:
			case first == nil || l.time < first.time:
				if first != nil {
					second = min(second, first.time)
				}
				first = l
			default:
				second = min(second, l.time)
			}
		}
		if first == nil || first.time >= watermark {
			return nil
		}
		if err := r.run(ctx, first, second, watermark); err != nil {
			return err
		}
	}
}

// run goes on with one lane while it may: others is the time of the next record of any other.
func (r *reader) run(ctx context.Context, l *lane, others, watermark uint64) error {
	ahead := min(watermark, others+min(r.aheadTicks, ^uint64(0)-others))
	begun := false
	for len(l.pieces) > 0 {
		p := l.pieces[0]
		for l.at < len(p.records) {
			w0 := binary.LittleEndian.Uint64(p.records[l.at:])
			w1 := binary.LittleEndian.Uint64(p.records[l.at+8:])
			if isEvent(w1) {
				l.time = max(l.floor, w0)
				if l.time >= watermark || begun && l.time >= others && (l.time >= ahead || waits[uint8(w1)] || !r.continues(w1)) { // #nosec G115 -- the kind is the low byte
					return nil
				}
			}
			begun, l.floor = true, l.time
			n, err := r.event(p, l.at)
			if err != nil {
				return err
			}
			l.at += n
			if len(r.batch.Records) >= r.o.BatchEvents || len(r.batch.Arena) >= arenaBytesMax {
				if err := r.push(ctx); err != nil {
					return err
				}
			}
		}
		r.merger.done(l)
	}
	return nil
}

// waits says which kinds have a cause in another stream, that another P may still have.
var waits = [256]bool{
	capture.KindStart: true, capture.KindReceive: true, capture.KindReceiveEmpty: true, capture.KindReceiveClosed: true,
	capture.KindAcquire: true, capture.KindAcquireInferred: true, capture.KindAcquireRange: true, capture.KindWake: true,
	capture.KindTimerSend: true, capture.KindTimerSpawn: true, capture.KindQueueSend: true, capture.KindQueueReceive: true, capture.KindTraceIn: true,
	capture.KindProbe: true,
}

// isEvent says that a record begins an event: it is no value, and no padding. A record of kind 0 is none.
func isEvent(w1 uint64) bool {
	kind := uint8(w1) // #nosec G115 -- the kind is the low byte
	return kind < capture.KindText && kind != 0
}
