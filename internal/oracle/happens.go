package oracle

import "math/bits"

// Order answers happens-before for a small program: "the order within each stream plus all edges, closed
// transitively". It takes memory for the square of the number of events.
type Order struct {
	index map[At]int
	past  [][]uint64 // for each event, a bit for each event before it
}

// HappensBefore makes the transitive closure of a program.
func HappensBefore(t *Truth) *Order {
	o := &Order{index: make(map[At]int, t.Len()), past: make([][]uint64, t.Len())}
	words := (t.Len() + 63) / 64
	for i, v := range t.Verdicts {
		o.index[v.At] = i
		o.past[i] = make([]uint64, words)
		add := func(a At) {
			c := o.index[a]
			for w, all := range o.past[c] {
				o.past[i][w] |= all
			}
			o.past[i][c/64] |= 1 << (c % 64)
		}
		if v.At.Seq > 1 {
			add(At{v.At.Source, v.At.Stream, v.At.Seq - 1})
		}
		for _, c := range v.Edges {
			if !c.Missing {
				add(c.From)
			}
		}
	}
	return o
}

// Before says whether a happened before b. An event did not happen before itself.
func (o *Order) Before(a, b At) bool {
	i, ok := o.index[a]
	j, also := o.index[b]
	return ok && also && o.past[j][i/64]&(1<<(i%64)) != 0
}

// Concurrent says that neither of two different events happened before the other.
func (o *Order) Concurrent(a, b At) bool { return a != b && !o.Before(a, b) && !o.Before(b, a) }

// Past gives how many events happened before a.
func (o *Order) Past(a At) int {
	n := 0
	if i, ok := o.index[a]; ok {
		for _, w := range o.past[i] {
			n += bits.OnesCount64(w)
		}
	}
	return n
}
