package query

import (
	"math"
	"math/bits"
)

// numbers is what is kept of the values of one field in one group. Whole numbers are summed exactly.
type numbers struct {
	n        uint64 // whole ones
	low      uint64 // their sum, 128 bits
	high     int64
	min, max int64

	floats     uint64 // others
	sum        float64
	fmin, fmax float64

	sketch *sketch // when quantiles are wanted
}

func (s *numbers) addWhole(x int64) {
	if s.n == 0 || x < s.min {
		s.min = x
	}
	if s.n == 0 || x > s.max {
		s.max = x
	}
	s.n++
	var carry uint64
	s.low, carry = bits.Add64(s.low, uint64(x), 0) // #nosec G115 -- two's complement
	s.high += x>>63 + int64(carry)                 // #nosec G115 -- a bit
	if s.sketch != nil {
		s.sketch.add(float64(x))
	}
}

func (s *numbers) addFloat(x float64) {
	if s.floats == 0 || x < s.fmin {
		s.fmin = x
	}
	if s.floats == 0 || x > s.fmax {
		s.fmax = x
	}
	s.floats++
	s.sum += x
	if s.sketch != nil {
		s.sketch.add(x)
	}
}

// merge adds what another has seen.
func (s *numbers) merge(o *numbers) {
	if o.n > 0 {
		if s.n == 0 || o.min < s.min {
			s.min = o.min
		}
		if s.n == 0 || o.max > s.max {
			s.max = o.max
		}
		s.n += o.n
		var carry uint64
		s.low, carry = bits.Add64(s.low, o.low, 0)
		s.high += o.high + int64(carry) // #nosec G115 -- a bit
	}
	if o.floats > 0 {
		if s.floats == 0 || o.fmin < s.fmin {
			s.fmin = o.fmin
		}
		if s.floats == 0 || o.fmax > s.fmax {
			s.fmax = o.fmax
		}
		s.floats += o.floats
		s.sum += o.sum
	}
	if o.sketch != nil && o.sketch.n > 0 {
		if s.sketch == nil {
			s.sketch = o.sketch
		} else {
			s.sketch.merge(o.sketch)
		}
	}
}

// wholeSum gives the sum of the whole ones, when it fits.
func (s *numbers) wholeSum() (int64, bool) {
	return int64(s.low), s.high == int64(s.low)>>63 // #nosec G115 -- two's complement
}

func (s *numbers) total() float64 {
	if whole, fits := s.wholeSum(); fits {
		return float64(whole) + s.sum
	}
	return float64(s.high)*(1<<64) + float64(s.low) + s.sum
}

// typed gives a whole number the type of the field that it is of.
func typed(of field, whole int64) Value {
	switch of.typ {
	case typeDuration:
		return Value{Type: Duration, Whole: whole}
	case typeTime:
		return Value{Type: Time, Whole: whole}
	case typeString, typeInteger, typeKind, typeBoolean, typeConfidence, typeSource, typeText, typeData:
	}
	return Value{Type: Integer, Whole: whole}
}

// result gives the value of an aggregate; without a number it is Nothing, a sum 0.
func (s *numbers) result(a aggregate) Value {
	if s.n+s.floats == 0 {
		if a.fn == fnSum {
			return typed(a.of, 0)
		}
		return Value{}
	}
	switch a.fn {
	case fnSum:
		if sum, fits := s.wholeSum(); fits && s.floats == 0 {
			return typed(a.of, sum)
		}
		return Value{Type: Float, Float: s.total()}
	case fnAvg:
		avg := s.total() / float64(s.n+s.floats)
		if a.of.typ == typeDuration {
			return typed(a.of, int64(math.Round(avg)))
		}
		return Value{Type: Float, Float: avg}
	case fnMin:
		return s.least(a.of, false)
	case fnMax:
		return s.least(a.of, true)
	case fnQuantile:
		return s.quantile(a)
	case fnCount:
	}
	return Value{Type: Integer, Whole: int64(s.n + s.floats)} // #nosec G115 -- a count
}

// least gives the smallest number, or the largest.
func (s *numbers) least(of field, largest bool) Value {
	whole, float := typed(of, s.min), Value{Type: Float, Float: s.fmin}
	if largest {
		whole, float = typed(of, s.max), Value{Type: Float, Float: s.fmax}
	}
	switch {
	case s.floats == 0:
		return whole
	case s.n == 0:
		return float
	case compareValues(whole, float) < 0 != largest:
		return whole
	}
	return float
}

// quantile is exact at both ends, and within QuantileError between them.
func (s *numbers) quantile(a aggregate) Value {
	n := s.n + s.floats
	low, high := s.least(a.of, false), s.least(a.of, true)
	switch rank := rankOf(a.share, n); rank {
	case 1:
		return low
	case n:
		return high
	default:
		x := min(max(s.sketch.at(rank), low.number()), high.number())
		if s.floats == 0 {
			return typed(a.of, int64(math.Floor(x)))
		}
		return Value{Type: Float, Float: x}
	}
}
