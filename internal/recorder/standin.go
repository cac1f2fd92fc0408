package recorder

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/pipeline"
	"github.com/pastcone/pastcone/internal/wire"
)

// A block on which writing fails again and again must not stop the rest, and can not be left out: its ids are given out and
// its rows published. So another one is written in its place, with the same ids and less in it, and says so. The events as
// they were are in the dead letters.

// fieldLost is the mark in the data of an event that is not all there.
const fieldLost = "pastcone.lost"

// standIns make such a block, the one that keeps more first.
var standIns = [...]struct {
	says  string
	strip func(r *wire.Row, id event.ID)
}{
	{"its data could not be written", func(*wire.Row, event.ID) {}},
	{"all but its place and its kind could not be written", func(r *wire.Row, id event.ID) {
		kept := wire.Row{Stream: r.Stream, Source: r.Source, Correlation: id,
			ParentKind: event.EdgeContext, ParentConf: event.Gap, CorrConf: event.Gap}
		kept.Seq, kept.Time, kept.Kind = r.Seq, r.Time, r.Kind
		*r = kept
	}},
}

// standIn gives a block with the same ids whose events are stripped and marked.
func standIn(b *wire.Block, says string, strip func(*wire.Row, event.ID)) *wire.Block {
	mark, err := json.Marshal(map[string]string{fieldLost: says})
	if err != nil {
		panic(err) // a text always has its JSON
	}
	s := &wire.Block{Base: b.Base, Rows: make([]wire.Row, len(b.Rows)), Edges: b.Edges, Late: b.Late, Arrived: b.Arrived, Arena: mark}
	copy(s.Rows, b.Rows)
	edges := false
	for i := range s.Rows {
		r := &s.Rows[i]
		strip(r, b.Base+event.ID(i))                                          // #nosec G115 -- an index
		r.DataOff, r.DataLen, r.ExtOff, r.ExtLen = 0, uint32(len(mark)), 0, 0 // #nosec G115 -- short
		edges = edges || r.EdgeLen > 0
	}
	if !edges {
		s.Edges = nil
	}
	return s
}

// blockGivenUp hears of a block that could not be written in several tries.
func (r *Recorder) blockGivenUp(b *wire.Block, err error) {
	last := b.Base + event.ID(len(b.Rows)) - 1 // #nosec G115 -- a count
	failed := fmt.Errorf("events %d to %d could not be written: %w", b.Base, last, err)
	if errors.Is(err, pipeline.ErrNotDrained) {
		r.fail(failed)
		return
	}
	for _, with := range standIns {
		s := standIn(b, with.says, with.strip)
		replacing := r.store.Replace(b, s)
		if replacing == nil {
			b = s
			replacing = r.writeCarefully(s)
		}
		if replacing == nil {
			r.stripped.Add(uint64(len(b.Rows)))
			r.log.Error("a block could not be written as it was: another stands in for it, and the dead letters have its events",
				"first", b.Base, "last", last, "but", with.says, "error", err)
			return
		}
		failed = errors.Join(failed, replacing)
	}
	r.fail(failed)
}

// writeCarefully writes a block, and survives the panic of that.
func (r *Recorder) writeCarefully(b *wire.Block) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("what stands in for it can not be written either: %v", p)
		}
	}()
	return r.write(b)
}
