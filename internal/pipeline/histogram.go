package pipeline

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Histogram counts durations in buckets that are at most 1/32 of their value wide, from 1 ns on. Recording is a few
// atomic additions. The zero Histogram is ready for use; all methods are safe for concurrent use.
type Histogram struct {
	sum     atomic.Uint64
	max     atomic.Uint64
	buckets [bucketsCount]atomic.Uint64
}

// Values below 64 have a bucket each; each doubling from there has 32.
const (
	bucketBits   = 5
	bucketsCount = (64-bucketBits-1)<<bucketBits + 2<<bucketBits
)

func bucketOf(v uint64) int {
	shift := max(0, bits.Len64(v)-bucketBits-1)
	return shift<<bucketBits + int(v>>shift) // #nosec G115 -- below bucketsCount
}

// middleOf gives the middle of a bucket.
func middleOf(bucket int) uint64 {
	shift := max(0, bucket>>bucketBits-1)
	low := uint64(bucket-shift<<bucketBits) << shift // #nosec G115 -- not negative
	return low + (uint64(1)<<shift)/2
}

// Record counts one duration; a negative one, of a clock that was set back, as 0.
func (h *Histogram) Record(d time.Duration) {
	v := uint64(max(0, d)) // #nosec G115 -- not negative
	h.buckets[bucketOf(v)].Add(1)
	h.sum.Add(v)
	for {
		m := h.max.Load()
		if v <= m || h.max.CompareAndSwap(m, v) {
			return
		}
	}
}

// Summary is what a histogram has counted. All durations are 0 if Count is.
type Summary struct {
	Count uint64        `json:"count"`
	Mean  time.Duration `json:"mean_ns"`
	P50   time.Duration `json:"p50_ns"`
	P99   time.Duration `json:"p99_ns"`
	Max   time.Duration `json:"max_ns"`
}

// Summary gives mean, quantiles and maximum. The quantiles are exact to 1/64.
func (h *Histogram) Summary() Summary {
	var counts [bucketsCount]uint64
	var s Summary
	for i := range h.buckets {
		counts[i] = h.buckets[i].Load()
		s.Count += counts[i]
	}
	if s.Count == 0 {
		return s
	}
	most := h.max.Load()
	s.Max = time.Duration(most)                    // #nosec G115 -- came from a Duration
	s.Mean = time.Duration(h.sum.Load() / s.Count) // #nosec G115 -- not above the largest
	s.P50 = quantile(&counts, s.Count, most, 50)
	s.P99 = quantile(&counts, s.Count, most, 99)
	return s
}

// quantile gives the value that percent of a hundred do not exceed.
func quantile(counts *[bucketsCount]uint64, total, most, percent uint64) time.Duration {
	rank := max(1, (total*percent+99)/100)
	for i, n := range counts {
		if n >= rank {
			return time.Duration(min(middleOf(i), most)) // #nosec G115 -- came from a Duration
		}
		rank -= n
	}
	return time.Duration(most) // #nosec G115 -- came from a Duration
}
