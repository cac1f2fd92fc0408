package store

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pastcone/pastcone/internal/wire"
)

// shapedValues draws sequences of the shapes that columns have: so that each mode is the best one for
// some of them.
func shapedValues(t *rapid.T) []uint64 {
	n := rapid.IntRange(0, 1000).Draw(t, "n")
	v := make([]uint64, n)
	shape := rapid.SampledFrom([]string{"any", "constant", "small", "rising", "jumping", "runs", "sparse", "far jumps", "to and fro"}).Draw(t, "shape")
	seed := rapid.Uint64().Draw(t, "seed")
	rng := rand.New(rand.NewPCG(seed, 1))
	width := rapid.IntRange(0, 63).Draw(t, "width")
	at := rng.Uint64() >> rapid.IntRange(0, 63).Draw(t, "start")
	for i := range v {
		switch shape {
		case "any":
			v[i] = rng.Uint64()
		case "constant":
			v[i] = at
		case "small":
			v[i] = rng.Uint64N(1 << width)
		case "rising":
			at += rng.Uint64N(1 << (width % 40))
			v[i] = at
		case "jumping":
			at += rng.Uint64N(1<<(width%40)) - 1<<(width%40)/2
			v[i] = at
		case "to and fro":
			at += 10 + rng.Uint64N(8)
			v[i] = at + rng.Uint64N(30)/29<<40
		case "runs":
			if rng.IntN(20) == 0 {
				at = rng.Uint64N(1 << width)
			}
			v[i] = at
		case "sparse":
			if rng.IntN(3) == 0 {
				v[i] = rng.Uint64() >> (63 - width)
			}
		case "far jumps":
			v[i] = rng.Uint64N(64)
			if rng.IntN(30) == 0 {
				v[i] = rng.Uint64() >> (63 - width)
			}
		}
	}
	return v
}

// shapesOfModes are, for each mode, a sequence that it surely is the best for.
func shapesOfModes() map[string][]uint64 {
	rng := rand.New(rand.NewPCG(1, 2))
	fill := func(f func(i int) uint64) []uint64 {
		v := make([]uint64, 1000)
		for i := range v {
			v[i] = f(i)
		}
		return v
	}
	at, late, to := uint64(1e15), uint64(1e15), uint64(1e15)
	return map[string][]uint64{
		"one value":       fill(func(int) uint64 { return 7 }),
		"small":           fill(func(int) uint64 { return rng.Uint64N(1 << 7) }),
		"small, far":      fill(func(int) uint64 { return rng.Uint64N(64) + rng.Uint64N(30)/29<<40 }),
		"rising":          fill(func(int) uint64 { at += 150 + rng.Uint64N(100); return at }),
		"to and fro":      fill(func(int) uint64 { late += 10 + rng.Uint64N(8); return late + rng.Uint64N(30)/29<<40 }),
		"falling, rising": fill(func(int) uint64 { to += rng.Uint64N(1<<9) - 1<<8; return to }),
		"runs":            fill(func(i int) uint64 { return uint64(i) / 20 * 7919 % 1000 }),
		"sparse":          fill(func(int) uint64 { return rng.Uint64N(3) / 2 * rng.Uint64N(1<<40) }),
		"any":             fill(func(int) uint64 { return rng.Uint64() }),
	}
}

func TestEachModeIsTheBestForItsShape(t *testing.T) {
	modes := map[byte]bool{}
	for name, v := range shapesOfModes() {
		for _, ordered := range []bool{false, true} {
			var w intWriter
			enc := w.append(nil, v, ordered)
			modes[enc[0]] = true
			s, rest, err := openInts(enc, len(v))
			if err != nil || len(rest) > 0 {
				t.Fatalf("%s: rest %q, %v", name, rest, err)
			}
			got := make([]uint64, len(v))
			if err := fillInts(&s, 0, got); err != nil || !slices.Equal(got, v) {
				t.Errorf("%s: %v\n got %v\nwant %v", name, err, got, v)
			}
		}
	}
	for mode := range byte(modeEnd) {
		if !modes[mode] {
			t.Errorf("mode %d was never the best: the shapes of this test do not cover it", mode)
		}
	}
}

func TestSequencesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := shapedValues(t)
		ordered := rapid.Bool().Draw(t, "ordered")
		var w intWriter
		enc := w.append([]byte("before"), v, ordered)
		enc = append(enc, "behind"...)
		if len(v) == 0 {
			return
		}
		s, rest, err := openInts(enc[6:], len(v))
		if err != nil || string(rest) != "behind" {
			t.Fatalf("rest %q, %v", rest, err)
		}
		got := make([]uint64, len(v))
		if err := fillInts(&s, 0, got); err != nil || !slices.Equal(got, v) {
			t.Fatalf("%v\n got %v\nwant %v", err, got, v)
		}
		low := rapid.IntRange(0, len(v)-1).Draw(t, "low")
		part := got[:rapid.IntRange(1, len(v)-low).Draw(t, "len")]
		if err := fillInts(&s, low, part); err != nil || !slices.Equal(part, v[low:low+len(part)]) {
			t.Fatalf("from %d: %v\n got %v\nwant %v", low, err, part, v[low:low+len(part)])
		}
		if x, err := s.at(low); err != nil || x != v[low] {
			t.Fatalf("at %d: %d, want %d (%v)", low, x, v[low], err)
		}
	})
}

func TestASequenceIsAsShortAsItsShapeAllows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 8192
	fill := func(f func(i int) uint64) []uint64 {
		v := make([]uint64, n)
		for i := range v {
			v[i] = f(i)
		}
		return v
	}
	at := uint64(1e18)
	for name, c := range map[string]struct {
		v       []uint64
		bitsMax float64
	}{
		"one value":                       {fill(func(int) uint64 { return math.MaxUint64 }), 0.1},
		"ids":                             {fill(func(i int) uint64 { return uint64(i) + 1e15 }), 1},
		"times about 200 ns apart":        {fill(func(int) uint64 { at += 150 + rng.Uint64N(100); return at }), 8},
		"7 bits with far jumps, 1 in 100": {fill(func(int) uint64 { return rng.Uint64N(128) + rng.Uint64N(100)/99<<40 }), 8.5},
		"20 bits in one of three":         {fill(func(int) uint64 { return rng.Uint64N(3) / 2 * rng.Uint64N(1<<20) }), 8},
		"runs of 100":                     {fill(func(i int) uint64 { return uint64(i) / 100 * 7919 % 1000 }), 0.3},
	} {
		var w intWriter
		if got := float64(len(w.append(nil, c.v, true))*8) / n; got > c.bitsMax {
			t.Errorf("%s: %.2f bits a value, want at most %v", name, got, c.bitsMax)
		}
	}
}

func FuzzInts(f *testing.F) {
	var w intWriter
	rising := make([]uint64, 300)
	for i := range rising {
		rising[i] = uint64(i * i % 97)
	}
	for i, v := range [][]uint64{{1, 2, 3}, {7, 7, 7}, {0, 0, 0, 9, 0, 0, 8, 0, 0}, rising, slices.Repeat([]uint64{4, 4, 4, 4, 4, 4, 4, 4, 4, 5}, 20)} {
		seed(f, fmt.Sprintf("mode%d", i), w.append([]byte{byte(len(v)), byte(len(v) >> 8)}, v, true))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < 2 {
			return
		}
		n := int(p[0]) | int(p[1])<<8
		s, _, err := openInts(p[2:], n%9000)
		if err == nil {
			if err = fillInts(&s, 0, make([]uint64, s.n)); err == nil {
				return
			}
		} else {
			s.n = 0
		}
		if !errors.Is(err, wire.ErrCorrupt) {
			t.Fatal(err)
		}
		for _, i := range []int{0, s.n / 2, s.n - 1} {
			if i >= 0 && i < s.n {
				_, _ = s.at(i)
			}
		}
	})
}

func BenchmarkInts(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	v := make([]uint64, 8192)
	for i := range v {
		v[i] = rng.Uint64N(1 << 11)
	}
	var w intWriter
	var enc []byte
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			enc = w.append(enc[:0], v, false)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/8192, "ns/value")
	})
	b.Run("encode ordered", func(b *testing.B) {
		for b.Loop() {
			enc = w.append(enc[:0], v, true)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/8192, "ns/value")
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			s, _, _ := openInts(enc, len(v))
			_ = fillInts(&s, 0, v)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/8192, "ns/value")
	})
	b.Run("one", func(b *testing.B) {
		s, _, _ := openInts(enc, len(v))
		for b.Loop() {
			_, _ = s.at(8000)
		}
	})
}
