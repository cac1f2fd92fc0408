package recorder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/correlate"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/store"
	"github.com/pastcone/pastcone/internal/wire"
)

// A file whose import was broken off, by an interrupt or a crash, is gone on with like this:
//
//  1. An import that is broken off is left, not ended: nothing that waits in the correlator is judged as if no more came, and
//     what has no row yet is given back to the source. So the rows that are there are those of an import that went through.
//  2. To go on, the file is read from its beginning, through a correlator of its own that counts its ids from 1. It comes to
//     know everything that it would have known.
//  3. What it emits is looked for among the stored rows of the source, by stream and seq. A row that is stored is left out,
//     and its events are given back to the source: they were accepted by the import before. The others get the next ids of
//     the recording. Parents, correlations and edges are translated from the correlator's ids to the recording's.
//
// The result is that of an import that was never broken off, by stream and seq; only ids may lie otherwise where another
// source was recorded in between.
//
// The same file in the same batches comes out in the same order, so the next stored row is the one that is looked for, and the
// translation is a handful of stretches. Where the order is another (other settings), stored rows that were passed on the way
// are remembered, up to a bound.
//
// Invariants: every id that the correlator gave out is in exactly one stretch, stretches rise in those ids without a hole;
// a stored row is found at most once; what is neither passed nor ahead of the reader is not stored.

// ErrGoesDifferently says that what is stored of a source and what its file gives now do not fit.
var ErrGoesDifferently = errors.New("its events come in too different an order from the import that was broken off: import it into a new recording")

// The bounds of what going on may remember: some 200 MB at worst, and a few stretches in the ordinary case.
const (
	replayPassedMax    = 1 << 21
	replayStretchesMax = 1 << 22
)

// replay translates what a correlator emits that goes through a source a second time. It is the sequencer's.
type replay struct {
	src      wire.SourceID
	snapshot query.Reader
	blocks   []wire.BlockInfo // that have not been read
	rows     wire.Columns     // of the block that is being read
	at       int              // the next of them

	passed    map[place]event.ID // stored rows that the reader has passed, and nothing has asked for
	passedMax int
	stretches []idStretch
	last      int      // the stretch that was asked for last
	firstNew  event.ID // of the recording, when this began
	err       error
}

// place names a row of a source.
type place struct {
	stream wire.Name
	seq    uint64
	gap    bool
}

// idStretch maps ids of the correlator to ids of the recording.
type idStretch struct {
	from, to event.ID
	n        uint64
}

func newReplay(src wire.SourceID, snapshot query.Reader, next event.ID) *replay {
	return &replay{src: src, snapshot: snapshot, blocks: snapshot.Blocks(wire.Prune{}), passed: map[place]event.ID{}, passedMax: replayPassedMax, firstNew: next}
}

// close gives back what it reads from.
func (p *replay) close() error { return p.snapshot.Close() }

// next gives the next stored row of the source; the id is 0 if there is none any more.
func (p *replay) next() (place, event.ID, error) {
	for {
		for ; p.at < p.rows.Len; p.at++ {
			if p.rows.Source[p.at] == p.src {
				return place{p.rows.Stream[p.at], p.rows.Seq[p.at], p.rows.Kind[p.at] == event.KindGap}, p.rows.Base + event.ID(p.at), nil // #nosec G115 -- an index
			}
		}
		if len(p.blocks) == 0 {
			return place{}, 0, nil
		}
		base := p.blocks[0].Base
		p.blocks, p.at = p.blocks[1:], 0
		if err := p.snapshot.Read(base, wire.ColSource|wire.ColStream|wire.ColSeq|wire.ColKind, &p.rows); err != nil {
			p.rows.Len = 0
			return place{}, 0, fmt.Errorf("what is stored of it: the block at event %d: %w", base, err)
		}
	}
}

// stored gives the id of a row that is stored, 0 if it is not.
func (p *replay) stored(of place) (event.ID, error) {
	if id, is := p.passed[of]; is {
		delete(p.passed, of)
		return id, nil
	}
	for {
		at, id, err := p.next()
		if err != nil || id == 0 {
			return 0, err
		}
		p.at++
		if at == of {
			return id, nil
		}
		if len(p.passed) >= p.passedMax {
			return 0, ErrGoesDifferently
		}
		p.passed[at] = id
	}
}

// maps notes that the correlator's next id is that one of the recording.
func (p *replay) maps(from, to event.ID) error {
	if n := len(p.stretches); n > 0 {
		if s := &p.stretches[n-1]; to == s.to+event.ID(s.n) {
			s.n++
			return nil
		}
		if n >= replayStretchesMax {
			return ErrGoesDifferently
		}
	}
	p.stretches = append(p.stretches, idStretch{from, to, 1})
	return nil
}

// of translates an id of the correlator; 0 is 0.
func (p *replay) of(v event.ID) event.ID {
	if v == 0 {
		return 0
	}
	if s := &p.stretches[p.last]; v < s.from || uint64(v-s.from) >= s.n {
		low, high := 0, len(p.stretches)
		for low+1 < high {
			if mid := (low + high) / 2; p.stretches[mid].from <= v {
				low = mid
			} else {
				high = mid
			}
		}
		p.last = low
	}
	s := &p.stretches[p.last]
	return s.to + (v - s.from)
}

// translate leaves out of a block what is stored, and gives the rest the ids of the recording from next on. known is how many
// accepted events it has left out, all of them after an error.
func (p *replay) translate(b *wire.Block, next event.ID) (known int) {
	fresh := b.Rows[:0]
	base := next
	edges := b.Edges[:0]
	for i := range b.Rows {
		row := b.Rows[i]
		id := event.ID(0)
		if p.err == nil {
			id, p.err = p.stored(place{row.Stream, row.Seq, row.Kind == event.KindGap})
		}
		isStored := id != 0
		if !isStored {
			id = next
		}
		if p.err == nil {
			p.err = p.maps(b.Base+event.ID(i), id) // #nosec G115 -- an index
		}
		if p.err != nil || isStored {
			if row.Kind != event.KindGap { // made by the correlator, never accepted
				known++
			}
			continue
		}
		next++
		further := b.Edges[row.EdgeOff : row.EdgeOff+row.EdgeLen]
		row.Parent, row.Correlation, row.EdgeOff = p.of(row.Parent), p.of(row.Correlation), uint32(len(edges)) // #nosec G115 -- bounded by a block
		for _, e := range further {                                                                            // never ahead of what is still to be read
			e.Cause = p.of(e.Cause)
			edges = append(edges, e)
		}
		fresh = append(fresh, row)
	}
	late := b.Late[:0]
	for _, l := range b.Late {
		if p.err != nil {
			break
		}
		// An edge whose cause is stored was stored with it.
		if l.Effect, l.Edge.Cause = p.of(l.Effect), p.of(l.Edge.Cause); l.Edge.Cause >= p.firstNew {
			late = append(late, l)
		}
	}
	b.Base, b.Rows, b.Edges, b.Late = base, fresh, edges, late
	return known
}

// What the manifest says of a source that could not be read beyond some place: to read it again would bring no more.
const brokenDetail = "broken"

// Earlier gives what the recording has of that fingerprint: a source that was read to its end or as far as it can be read,
// and one whose import was broken off, which GoOn takes up. Either may be missing.
func (r *Recorder) Earlier(fingerprint string) (ended, brokenOff *store.SourceInfo) {
	if fingerprint == "" {
		return nil, nil
	}
	for _, s := range r.store.Sources() {
		if s.Fingerprint != fingerprint {
			continue
		}
		if s.Complete || s.Detail[brokenDetail] != "" {
			ended = &s
		} else {
			brokenOff = &s
		}
	}
	return ended, brokenOff
}

// Broken says whether a source ended where it could not be read any further, and why.
func Broken(info *store.SourceInfo) (why string, is bool) {
	why, is = info.Detail[brokenDetail]
	return why, is
}

// GoOn opens an input for the source of a file whose import was broken off: the file has to be pushed from its beginning. What
// is stored of it is recognised, by stream and seq. No other source may be open.
func (r *Recorder) GoOn(ctx context.Context, info store.SourceInfo) (*Input, error) {
	in := &Input{r: r, finite: true}
	// The rejects come again, and so does what was shed: they are counted by this import.
	info.Detail = maps.Clone(info.Detail)
	maps.DeleteFunc(info.Detail, func(name, _ string) bool {
		return strings.HasPrefix(name, shedDetail) || strings.HasPrefix(name, rejectedDetail)
	})
	info.Rejected = 0
	in.info = info
	in.base = r.ledger.Account(info.ID)
	in.settled.L = &in.mu
	r.mu.Lock()
	_, open := r.inputs[info.ID]
	switch {
	case r.closed:
		r.mu.Unlock()
		return nil, ErrClosed
	case open || len(r.inputs) > 0:
		r.mu.Unlock()
		return nil, fmt.Errorf("source %q: an import that was broken off goes on only while nothing else is recorded", info.Name)
	}
	r.inputs[info.ID] = in
	r.mu.Unlock()
	give := func(err error) (*Input, error) {
		r.mu.Lock()
		delete(r.inputs, info.ID)
		r.mu.Unlock()
		return nil, err
	}
	if err := r.rejects.Forget(info.ID); err != nil {
		return give(err)
	}
	if err := r.store.UpdateSource(info); err != nil {
		return give(err)
	}
	err := r.sequence(ctx, func(c *correlate.Correlator) {
		c.Flush()
		r.seq.sampler.Flush()
		in.replay = newReplay(info.ID, r.store.Snapshot(), r.store.NextID())
		r.seq.begin(info, true)
		r.seq.replayAll(in.replay)
	})
	if err != nil {
		return give(err)
	}
	return in, nil
}

// replayAll has what is emitted from now on translated, by a correlator that knows nothing yet.
func (s *sequencer) replayAll(p *replay) {
	s.replay = p
	s.c = correlate.New(s.options(1), s)
	s.r.correlator.Store(s.c)
	s.tellAll()
}

// endReplay goes back to emitting with the recording's own ids.
func (s *sequencer) endReplay() {
	if s.replay == nil {
		return
	}
	if err := s.replay.close(); err != nil {
		s.r.log.Warn("what was read again is not given back", "error", err)
	}
	s.replay = nil
}

// leave takes a source off the correlator as if it had never got what has no row yet: that goes back to the source, which
// will come again from its beginning. While other sources are open too, the source is ended instead, and what
// waits in it is judged as if no more came.
func (s *sequencer) leave(c *correlate.Correlator, src wire.SourceID) {
	delete(s.open, src)
	if len(s.open) > 0 {
		c.End(src)
		c.Flush()
		return
	}
	c.Flush()
	if n := s.inside[src]; n > 0 {
		s.r.ledger.Withdraw(src, n)
	}
	delete(s.inside, src)
	s.endReplay()
	s.start()
}
