package pipeline

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

func TestPool_HistogramAgreesWithASortedList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) int64 {
			return rapid.Int64Range(0, 1<<rapid.IntRange(0, 62).Draw(t, "bits")).Draw(t, "value")
		}), 1, 200).Draw(t, "values")
		var h Histogram
		var sum uint64
		for _, v := range values {
			h.Record(time.Duration(v))
			sum += uint64(v)
		}
		slices.Sort(values)
		s := h.Summary()
		if s.Count != uint64(len(values)) || int64(s.Max) != values[len(values)-1] || sum < 1<<63 && uint64(s.Mean) != sum/s.Count {
			t.Fatalf("%+v of %v", s, values)
		}
		for percent, got := range map[int]time.Duration{50: s.P50, 99: s.P99} {
			want := values[(len(values)*percent+99)/100-1]
			if off := int64(got) - want; off > want/64+1 || -off > want/64+1 {
				t.Fatalf("p%d is %d, want %d", percent, got, want)
			}
		}
	})
}

func TestPool_HistogramWithoutValuesSaysNothing(t *testing.T) {
	if s := new(Histogram).Summary(); s != (Summary{}) {
		t.Errorf("%+v", s)
	}
}

func TestPool_HistogramTakesAClockThatWasSetBackAsNothing(t *testing.T) {
	var h Histogram
	h.Record(-time.Hour)
	if s := h.Summary(); s.Count != 1 || s.Max != 0 || s.P99 != 0 {
		t.Errorf("%+v", s)
	}
}

func TestPool_HistogramCountsFromManyGoroutines(t *testing.T) {
	var h Histogram
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for n := range 1000 {
				h.Record(time.Duration(1000*g + n))
			}
		})
	}
	wg.Wait()
	if s := h.Summary(); s.Count != 4000 || s.Max != 3999 || s.Mean != 1999 {
		t.Errorf("%+v", s)
	}
}

func TestPool_HistogramBucketsAreOrderedAndNarrow(t *testing.T) {
	last := -1
	for shift := range 64 {
		for _, v := range []uint64{1 << shift, 1<<shift + 1<<shift/3, 2<<shift - 1} {
			b := bucketOf(v)
			if b < last || b >= bucketsCount {
				t.Fatalf("%d is in bucket %d after %d of %d", v, b, last, bucketsCount)
			}
			last = b
			if m := middleOf(b); max(m, v)-min(m, v) > v/64+1 {
				t.Errorf("%d is told as %d", v, m)
			}
		}
	}
}

func TestPool_MeterGivesTheRateOfTheWindow(t *testing.T) {
	m := meter{window: time.Second}
	at := time.Unix(0, 0)
	if r := m.perSecond(meterTakenEvents); r != 0 {
		t.Errorf("%v before anything", r)
	}
	var counts [metered]uint64
	rate := func(perSample uint64, samples int) {
		for range samples {
			at = at.Add(100 * time.Millisecond)
			counts[meterTakenEvents] += perSample
			m.add(at, counts)
		}
	}
	rate(5, 1)
	if r := m.perSecond(meterTakenEvents); r != 0 {
		t.Errorf("%v after one sample", r)
	}
	rate(5, 5)
	if r := m.perSecond(meterTakenEvents); r != 50 {
		t.Errorf("%v after half a window", r)
	}
	rate(20, 10)
	if r := m.perSecond(meterTakenEvents); r != 200 {
		t.Errorf("%v: what is behind the window still counts", r)
	}
	rate(0, 1000)
	if r := m.perSecond(meterTakenEvents); r != 0 || len(m.samples) > 12 {
		t.Errorf("%v at rest, %d samples kept", r, len(m.samples))
	}
	m.add(at, counts)
	m.samples = m.samples[len(m.samples)-2:]
	if r := m.perSecond(meterTakenEvents); r != 0 {
		t.Errorf("%v within no time", r)
	}
}
