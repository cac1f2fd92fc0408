package store

import (
	"encoding/binary"
	"sort"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// lateIndex finds the late edges of a sealed segment: the edges by effect, and their numbers by cause,
// both in the segment's index. It allocates only what it finds.
type lateIndex struct {
	n        int
	byEffect []byte // of each edge, lateEdgeBytes
	byCause  []byte // of each edge, its number in byEffect: 4 bytes
}

func (l *lateIndex) edge(i int) wire.LateEdge { return parseLateEdge(l.byEffect[i*lateEdgeBytes:]) }

func (l *lateIndex) effects(cause event.ID, to []wire.LateEdge) []wire.LateEdge {
	number := func(i int) int { return int(binary.LittleEndian.Uint32(l.byCause[4*i:])) }
	i := sort.Search(l.n, func(i int) bool { return l.edge(number(i)).Edge.Cause >= cause })
	for ; i < l.n; i++ {
		e := l.edge(number(i))
		if e.Edge.Cause != cause {
			break
		}
		to = append(to, e)
	}
	return to
}

func (l *lateIndex) causes(effect event.ID, to []wire.Edge) []wire.Edge {
	i := sort.Search(l.n, func(i int) bool { return l.edge(i).Effect >= effect })
	for ; i < l.n; i++ {
		e := l.edge(i)
		if e.Effect != effect {
			break
		}
		to = append(to, e.Edge)
	}
	return to
}

// sortLate puts late edges in the order of the index, and gives their numbers in the order of causes.
func sortLate(late []wire.LateEdge) (byCause []uint32) {
	sort.SliceStable(late, func(i, k int) bool { return late[i].Effect < late[k].Effect })
	byCause = make([]uint32, len(late))
	for i := range byCause {
		byCause[i] = uint32(i) // #nosec G115 -- bounded by segmentLateMax
	}
	sort.SliceStable(byCause, func(i, k int) bool { return late[byCause[i]].Edge.Cause < late[byCause[k]].Edge.Cause })
	return byCause
}

// lateOf gives the late edges of a block, none if they can not be read.
func (s *segment) lateOf(e *blockEntry) (late []wire.LateEdge, err error) {
	if e.late == 0 || e.lost {
		return nil, nil
	}
	err = s.guard(e, func() error {
		var v blockView
		if err := s.open(e, &v); err != nil {
			return err
		}
		if late, err = v.lateEdges(); err != nil {
			return s.corrupt(e, err)
		}
		return nil
	})
	return late, err
}
