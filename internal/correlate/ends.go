package correlate

import (
	"bytes"
	"hash/maphash"
	"math/bits"
	"slices"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Ends are where causes and effects meet: the table of everything that an event can wait for.
//
// An end is found by a token: two 64-bit words and a tag. For what meets by names the words are the names
// themselves (key and ordinal, child), so nothing can be mistaken for anything else; texts (references,
// message ids) become 128 bits of two seeded hashes. The tag tells kinds and sources apart. The table is
// open addressing over slots of one cache line without pointers.
//
// An end is in one of these states:
//
//	open      its event is emitted: what holds info about it (id != 0)
//	promised  its event is here, and waits in the stream holder
//	awaited   streams wait for it, in a list that begins with waiters
//	owed      effects were emitted without it: debts; it still owes them their edges
//
// The last three go together in any way, and end when it opens.
//
// Invariants: at most two generations of slotsMax slots, and as many debts. When the young one is full, the old one is
// forgotten, except for what streams wait for or have promised; what is used moves to the young one. So
// nothing is kept for ever, and what is used again and again is not forgotten.

type endKind uint8

const (
	endSend    endKind = iota + 1 // by key and ordinal
	endMessage                    // by message id
	endClose                      // by key
	endRelease                    // by key and ordinal
	endSpawn                      // by child stream
	endRef                        // by reference
)

// token names an end.
type token struct {
	a, b uint64
	tag  uint32 // the source's index and the kind
}

const tagKindBits = 4

var globalRef = []byte(event.GlobalRef)

// global says that an end is of no source.
func (k token) global() bool { return k.tag != 0 && k.tag>>tagKindBits == 0 }

func (s *source) token(kind endKind, a, b uint64) token {
	return token{a, b, s.index<<tagKindBits | uint32(kind)}
}

// textToken names an end by a text. A reference that begins with event.GlobalRef is of no source: it meets those of all of them.
func (c *Correlator) textToken(s *source, kind endKind, text []byte) token {
	if kind == endRef && bytes.HasPrefix(text, globalRef) {
		s = c.world
	}
	return s.token(kind, maphash.Bytes(c.seeds[0], text), maphash.Bytes(c.seeds[1], text))
}

// end is a slot of the table: 64 bytes.
type end struct {
	a, b    uint64
	tag     uint32
	waiters uint32 // the first stream that waits for it
	info           // if open
	time    int64  // of the event, if open
}

func (e *end) token() token { return token{e.a, e.b, e.tag} }

func (e *end) open() bool { return e.id != 0 }

// While an end is not open its info is empty, and two of its fields are used for other things.
func (e *end) holder() uint32     { return e.founder }
func (e *end) hold(by uint32)     { e.founder = by }
func (e *end) debts() uint32      { return e.position }
func (e *end) owe(first uint32)   { e.position = first }
func (e *end) keepsStreams() bool { return e.id == 0 && (e.waiters != 0 || e.founder != 0) }

// slots is one generation.
type slots struct {
	all  []end // its length is a power of two, or 0
	used int
}

const slotsMin = 1024

// ends is the table.
type ends struct {
	young, old slots
	slotsMax   int
	seed       [2]uint64
	forgotten  uint64              // open ends that were dropped with a generation
	spawns     map[uint32]*nameSet // by source, the children whose spawns were among them
	debts      []debt
	debtFree   uint32
}

// debt is an edge that an end still owes: its effect was emitted without it.
type debt struct {
	effect event.ID
	kind   event.EdgeKind
	next   uint32
}

func newEnds(seed [2]uint64, slotsMax int) ends {
	return ends{seed: seed, slotsMax: slotsMax, debts: make([]debt, 1), spawns: map[uint32]*nameSet{}}
}

func (t *ends) hash(k token) uint64 {
	hi, lo := bits.Mul64(k.a^t.seed[0], k.b^t.seed[1]^uint64(k.tag)<<32)
	return hi ^ lo
}

// find gives the slot of k, or -1.
func (g *slots) find(h uint64, k token) int {
	if len(g.all) == 0 {
		return -1
	}
	mask := uint64(len(g.all) - 1) // #nosec G115 -- a length
	for i := h & mask; ; i = (i + 1) & mask {
		e := &g.all[i]
		if e.tag == 0 {
			return -1
		}
		if e.a == k.a && e.b == k.b && e.tag == k.tag {
			return int(i) // #nosec G115 -- below a length
		}
	}
}

// place gives a free slot for a hash; there has to be one.
func (g *slots) place(h uint64) *end {
	mask := uint64(len(g.all) - 1) // #nosec G115 -- a length
	i := h & mask
	for g.all[i].tag != 0 {
		i = (i + 1) & mask
	}
	g.used++
	return &g.all[i]
}

// remove frees slot i, and moves those that had to make way for it.
func (t *ends) remove(g *slots, i int) {
	mask := len(g.all) - 1
	for j := i; ; {
		j = (j + 1) & mask
		e := &g.all[j]
		if e.tag == 0 {
			break
		}
		home := int(t.hash(e.token()) & uint64(mask)) // #nosec G115 -- below a length
		if (j-home)&mask >= (j-i)&mask {
			g.all[i] = *e
			i = j
		}
	}
	g.all[i] = end{}
	g.used--
}

// get gives the end of k if it is known. The pointer is good until the table is used again.
func (t *ends) get(k token) *end {
	if i := t.at(k); i >= 0 {
		return &t.young.all[i]
	}
	return nil
}

// at gives the slot of the end of k in the young generation, -1 if it is not known. It is good until the table
// is used again.
func (t *ends) at(k token) int {
	h := t.hash(k)
	if i := t.young.find(h, k); i >= 0 {
		return i
	}
	i := t.old.find(h, k)
	if i < 0 {
		return -1
	}
	e := t.old.all[i]
	t.remove(&t.old, i)
	t.insert(h, e)
	return t.young.find(h, k)
}

// put gives the end of k, a new and empty one if need be. The pointer is good until the table is used again.
func (t *ends) put(k token) *end {
	h := t.hash(k)
	if g := &t.young; len(g.all) > 0 {
		mask := uint64(len(g.all) - 1) // #nosec G115 -- a length
		i := h & mask
		for g.all[i].tag != 0 {
			if e := &g.all[i]; e.a == k.a && e.b == k.b && e.tag == k.tag {
				return e
			}
			i = (i + 1) & mask
		}
		if t.old.used == 0 && !t.full() { // the usual case: where it is not is where it belongs
			g.used++
			e := &g.all[i]
			e.a, e.b, e.tag = k.a, k.b, k.tag
			return e
		}
	}
	e := end{a: k.a, b: k.b, tag: k.tag}
	if i := t.old.find(h, k); i >= 0 {
		e = t.old.all[i]
		t.remove(&t.old, i)
	}
	return t.insert(h, e)
}

// drop forgets the end of k.
func (t *ends) drop(k token) {
	h := t.hash(k)
	if i := t.young.find(h, k); i >= 0 {
		t.remove(&t.young, i)
	} else if i := t.old.find(h, k); i >= 0 {
		t.remove(&t.old, i)
	}
}

// insert puts an end that is not there into the young generation.
func (t *ends) insert(h uint64, e end) *end {
	if t.full() {
		t.room()
	}
	slot := t.young.place(h)
	*slot = e
	return slot
}

// full says that there is no room for one more in the young generation. While it can grow, half of its slots are used, so
// that little has to make way for others; then three quarters.
func (t *ends) full() bool {
	n := len(t.young.all)
	return 2*(t.young.used+1) > n && (2*n <= t.slotsMax || 4*(t.young.used+1) > 3*n)
}

// room makes room in the young generation: it grows, or begins anew.
func (t *ends) room() {
	young := t.young
	if n := max(slotsMin, 2*len(young.all)); n <= t.slotsMax {
		t.young = slots{all: make([]end, n)}
		for i := range young.all {
			if e := &young.all[i]; e.tag != 0 {
				*t.young.place(t.hash(e.token())) = *e
			}
		}
		return
	}
	fresh := t.old // its memory is used again
	t.old = young
	t.young = slots{}
	kept := t.forget(&fresh)
	if len(fresh.all) < len(young.all) {
		fresh.all = make([]end, len(young.all))
	}
	// What streams wait for or have promised must not be lost. There can be more of it than fits: it is
	// bounded by what waits, not here.
	for 2*len(kept) > len(fresh.all) {
		fresh.all = make([]end, 2*len(fresh.all))
	}
	t.young = fresh
	for i := range kept {
		*t.young.place(t.hash(kept[i].token())) = kept[i]
	}
}

// forget empties a generation, and gives what must not be lost.
func (t *ends) forget(g *slots) (kept []end) {
	children := map[uint32][]wire.Name{}
	for i := range g.all {
		e := &g.all[i]
		switch {
		case e.tag == 0:
			continue
		case e.keepsStreams():
			kept = append(kept, *e)
		default:
			if e.open() {
				t.forgotten++
				if e.token().kind() == endSpawn {
					src := e.tag >> tagKindBits
					children[src] = append(children[src], wire.Name(e.a))
				}
			}
			t.forgive(e)
		}
		*e = end{}
	}
	g.used = 0
	for src, names := range children {
		if t.spawns[src] == nil {
			t.spawns[src] = &nameSet{}
		}
		slices.Sort(names)
		t.spawns[src].add(names)
	}
	return kept
}

// forgotSpawn says whether the spawn of a stream may have been forgotten.
func (t *ends) forgotSpawn(s *source, child wire.Name) bool {
	names := t.spawns[s.index]
	return names != nil && (names.lost || names.has(child))
}

// forgetSource drops everything of a source that is over.
func (t *ends) forgetSource(s *source) {
	delete(t.spawns, s.index)
	for _, g := range []*slots{&t.young, &t.old} {
		for i := 0; i < len(g.all); {
			e := &g.all[i]
			if e.tag != 0 && e.tag>>tagKindBits == s.index {
				t.forgive(e)
				t.remove(g, i) // and look again at what has moved here
				continue
			}
			i++
		}
	}
}

// borrow notes that an effect was emitted without e.
func (t *ends) borrow(e *end, effect event.ID, kind event.EdgeKind) {
	i := t.debtFree
	switch {
	case i != 0:
		t.debtFree = t.debts[i].next
	case len(t.debts) < t.slotsMax:
		i = uint32(len(t.debts)) // #nosec G115 -- bounded by slotsMax
		t.debts = append(t.debts, debt{})
	default:
		t.forgotten++ // should its cause come, the edge will not be given
		return
	}
	t.debts[i] = debt{effect, kind, e.debts()}
	e.owe(i)
}

// forgive drops the debts of an end that is not open.
func (t *ends) forgive(e *end) {
	if e.open() {
		return
	}
	t.freeDebts(e.debts())
	e.owe(0)
}

func (t *ends) freeDebts(first uint32) {
	for i := first; i != 0; {
		next := t.debts[i].next
		t.debts[i].next, t.debtFree = t.debtFree, i
		i = next
	}
}

func (t *ends) bytes() int64 {
	n := int64(len(t.young.all)+len(t.old.all))*endSize + int64(cap(t.debts))*24
	for _, s := range t.spawns {
		n += int64(cap(s.all)) * 16
	}
	return n
}
