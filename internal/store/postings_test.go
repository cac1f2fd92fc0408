package store

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Ids a block back, a segment back and a billion back, in several shards, each several groups: what is found of each must be
// what was put in, and nothing else.
func TestPostingsFindWhatWasPutIn(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	b := new(postingsBuilder)
	truth := map[uint64][]int{}
	const blocks = 90
	for n := range blocks {
		if n%30 == 0 {
			b.flush()
		}
		for range 100 + rng.IntN(300) {
			id := event.ID(2_000_000_000 + n*8192 - rng.IntN(20_000)) // #nosec G115 -- positive
			switch rng.IntN(20) {
			case 0:
				id = event.ID(rng.Uint64N(1_000_000))
			case 1:
				id = 2_000_000_000 // many blocks refer to it
			}
			key := postingKey(rng.IntN(2), id)
			b.pairs = append(b.pairs, key<<postingBlockBits|uint64(b.blocks))
			if list := truth[key]; len(list) == 0 || list[len(list)-1] != n {
				truth[key] = append(list, n)
			}
		}
		b.blocks++
	}
	b.flush()
	p, err := openPostings(b.shards, b.groups, b.bodies, blocks)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(b.shards) / postingShardBytes; n != 3 {
		t.Errorf("%d shards", n)
	}
	for key, want := range truth {
		got, err := p.find(int(key&1), event.ID(key>>1), new(scratch), nil)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("key %d: %v, %v, want %v", key, got, err, want)
		}
		for _, other := range []uint64{key + 2, key - 2, key ^ 1} {
			got, err := p.find(int(other&1), event.ID(other>>1), new(scratch), nil)
			if err != nil || !slices.Equal(got, truth[other]) {
				t.Fatalf("key %d: %v, %v, want %v", other, got, err, truth[other])
			}
		}
	}
	if got, err := p.find(postingCause, postingIDMax+1, new(scratch), nil); err != nil || len(got) > 0 {
		t.Errorf("an id that no postings can have: %v, %v", got, err)
	}
}

// Sorting by digits has to give what comparing gives, whatever the keys' range.
func TestPairsAreSortedWhateverTheirRange(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, span := range []uint64{1, 5, 2000, 1 << 20, 1 << 33, 1 << 46} {
		pairs := make([]uint64, 5000)
		for i := range pairs {
			pairs[i] = (1<<46+rng.Uint64N(span))<<postingBlockBits | uint64(i)/100
		}
		want := slices.Clone(pairs)
		slices.Sort(want)
		got, _ := sortPairs(pairs, nil)
		if !slices.Equal(got, want) {
			t.Errorf("span %d: not in order", span)
		}
	}
}

// A damaged group must not hide an effect: the filters are asked in its place.
func TestADamagedGroupOfPostingsHidesNothing(t *testing.T) {
	dir := newMemDir()
	r := recordIn(t, dir, Options{})
	for range 12 {
		r.add(t, 500)
	}
	r.wait(t)
	if err := r.w.Close(); err != nil {
		t.Fatal(err)
	}
	open := func() *Snapshot {
		reader, err := openReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = reader.Close() })
		s := reader.Snapshot()
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	s := open()
	checkPruning(t, s)
	found := 0
	for id := event.ID(1); id < 6000; id++ {
		if n := len(s.Blocks(wire.Prune{Causes: []event.ID{id}})); n > 1 {
			found++
		}
	}
	if found < 50 {
		t.Errorf("only %d events have effects in other blocks: this shows nothing", found)
	}

	seg := &s.view.segs[0]
	bodies := seg.postings.bodies
	if len(bodies) < 1000 {
		t.Fatalf("only %d bytes of postings", len(bodies))
	}
	f := dir.names[seg.s.name]
	at := len(f.data) - indexTrailerBytes - len(bodies) // the first group's
	f.data[at+20] ^= 1
	s = open()
	if _, ok := s.view.segs[0].candidates(newPrune(wire.Prune{Causes: []event.ID{2}})); ok {
		t.Error("the damaged group was taken for right")
	}
	checkPruning(t, s)

	// Both at once: the blocks that have a row of the correlation and one with the cause.
	both := s.Blocks(wire.Prune{Causes: []event.ID{5990}, Correlations: []event.ID{5980}})
	if len(both) > 1 {
		t.Errorf("two events of the last block: %v", both)
	}
}

func TestHostilePostingsAreErrors(t *testing.T) {
	b := new(postingsBuilder)
	for i := range uint64(3000) {
		b.pairs = append(b.pairs, i<<postingBlockBits|i%4)
	}
	b.blocks = 4
	b.flush()
	if _, err := openPostings(b.shards, b.groups, b.bodies, 5); err == nil {
		t.Error("of four blocks, taken for five")
	}
	shards := slices.Clone(b.shards)
	shards[0] = 1
	if _, err := openPostings(shards, b.groups, b.bodies, 4); err == nil {
		t.Error("a shard that begins with the second block")
	}
	groups := slices.Clone(b.groups)
	groups[10] = 0xff
	if _, err := openPostings(b.shards, groups, b.bodies, 4); err == nil {
		t.Error("a group behind the end")
	}
	// A block's number beyond the shard's: the group has its checksum, so only the number tells.
	p, err := openPostings(b.shards, b.groups, b.bodies, 4)
	if err != nil {
		t.Fatal(err)
	}
	for first, shard := range p.each {
		if _, err := p.findIn(shard.groups, postingKey(1, 1), first, 3, new(scratch), nil); err == nil {
			t.Error("the fourth block of three")
		}
	}
}
