package query

import (
	"math/bits"

	"github.com/pastcone/pastcone/event"
)

// idSet is a set of ids of a range, one bit each.
type idSet struct {
	first event.ID
	words []uint64
}

func newIDSet(first, end event.ID) *idSet {
	n := uint64(0)
	if end > first {
		n = (uint64(end-first) + 63) / 64
	}
	return &idSet{first: first, words: make([]uint64, n)}
}

// idSetBytes is what a set over that many ids takes.
func idSetBytes(first, end event.ID) int64 {
	return int64((end-first)/8) + 8 // #nosec G115 -- ids are far below 2^63
}

func (s *idSet) has(id event.ID) bool {
	i := uint64(id - s.first)
	return i>>6 < uint64(len(s.words)) && s.words[i>>6]>>(i&63)&1 != 0
}

// covers says whether id is in the range.
func (s *idSet) covers(id event.ID) bool { return uint64(id-s.first)>>6 < uint64(len(s.words)) }

// add puts id into the set; one out of the range is ignored.
func (s *idSet) add(id event.ID) {
	if i := uint64(id - s.first); i>>6 < uint64(len(s.words)) {
		s.words[i>>6] |= 1 << (i & 63)
	}
}

// bounds gives the smallest and the largest member; ok is false for an empty set.
func (s *idSet) bounds() (low, high event.ID, ok bool) {
	for i, w := range s.words {
		if w != 0 {
			low = s.first + event.ID(i*64+bits.TrailingZeros64(w)) // #nosec G115 -- an index
			ok = true
			break
		}
	}
	if !ok {
		return 0, 0, false
	}
	for i := len(s.words) - 1; ; i-- {
		if w := s.words[i]; w != 0 {
			return low, s.first + event.ID(i*64+63-bits.LeadingZeros64(w)), true // #nosec G115 -- an index
		}
	}
}
