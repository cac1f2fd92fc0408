package query

import "math"

// sketch counts numbers in buckets whose width is 1/64 of where their power of two begins: 64 to an
// octave. A quantile taken from it is off by at most half a bucket, 1/128 or 0.8 %, and whole numbers
// below 128 are exact. Octaves take memory (512 B) when they are first used.
//
// The bucket of a positive number is its exponent and the six bits behind it, which is what the upper
// bits of a float are.
type sketch struct {
	low    int // the exponent of pages[0]
	pages  []*[64]uint64
	zero   uint64
	n      uint64
	below  *sketch // of the negative numbers, by size
	budget *int64  // bytes left for this and all sketches of a worker
}

const (
	sketchShift     = 46 // leaves sign, 11 bits of exponent, 6 of fraction
	sketchPageBytes = 64*8 + 8
)

// QuantileError is the largest relative error of a quantile.
const QuantileError = 1.0 / 128

func (s *sketch) add(x float64) {
	s.n++
	switch {
	case x > 0:
		at := math.Float64bits(x) >> sketchShift
		s.page(int(at >> 6))[at&63]++
	case x < 0:
		if s.below == nil {
			s.below = &sketch{budget: s.budget}
		}
		s.below.add(-x)
	default:
		s.zero++
	}
}

// page gives the buckets of an exponent.
func (s *sketch) page(exponent int) *[64]uint64 {
	if i := exponent - s.low; i >= 0 && i < len(s.pages) && s.pages[i] != nil {
		return s.pages[i]
	}
	return s.newPage(exponent)
}

func (s *sketch) newPage(exponent int) *[64]uint64 {
	if len(s.pages) == 0 {
		s.low = exponent
	}
	if exponent < s.low {
		grown := make([]*[64]uint64, len(s.pages)+s.low-exponent)
		copy(grown[s.low-exponent:], s.pages)
		s.pages, s.low = grown, exponent
	}
	for exponent-s.low >= len(s.pages) {
		s.pages = append(s.pages, nil)
	}
	p := new([64]uint64)
	s.pages[exponent-s.low] = p
	if s.budget != nil {
		*s.budget -= sketchPageBytes
	}
	return p
}

func (s *sketch) merge(o *sketch) {
	s.n += o.n
	s.zero += o.zero
	for i, p := range o.pages {
		if p == nil {
			continue
		}
		mine := s.page(o.low + i)
		for j, n := range p {
			mine[j] += n
		}
	}
	if o.below != nil {
		if s.below == nil {
			s.below = &sketch{budget: s.budget}
		}
		s.below.merge(o.below)
	}
}

// at gives the middle of the bucket of the rank-th smallest number, from 1 to n.
func (s *sketch) at(rank uint64) float64 {
	if s.below != nil {
		if rank <= s.below.n {
			return -s.below.at(s.below.n + 1 - rank)
		}
		rank -= s.below.n
	}
	if rank <= s.zero {
		return 0
	}
	rank -= s.zero
	for i, p := range s.pages {
		if p == nil {
			continue
		}
		for j, n := range p {
			if rank <= n {
				at := uint64(s.low+i)<<6 | uint64(j) // #nosec G115 -- an exponent and an index
				low, high := math.Float64frombits(at<<sketchShift), math.Float64frombits((at+1)<<sketchShift)
				return low + (high-low)/2
			}
			rank -= n
		}
	}
	return math.Inf(1) // rank beyond n: the callers never ask
}

// rankOf gives the rank of a quantile among n numbers: the smallest that a share of them does not exceed.
func rankOf(share float64, n uint64) uint64 {
	rank := uint64(math.Ceil(share * float64(n)))
	return min(max(rank, 1), n)
}
