package ndjson

import (
	"hash/maphash"

	"github.com/pastcone/pastcone/internal/wire"
)

// The caches in front of the table. Most lines name what a line shortly before has named; a lookup
// here costs no lock and is not shared between workers. Each is direct-mapped: a slot holds the last that
// fell into it. So they are bounded, and whatever the input, a miss costs but the table's lookup.

const (
	nameSlots = 1 << 12
	siteSlots = 1 << 12
)

type nameSlot struct {
	text string // as the table keeps it
	id   wire.Text
	used bool
}

type nameCache struct {
	table *wire.Table
	seed  maphash.Seed
	slots []nameSlot
}

func newNameCache(t *wire.Table) nameCache {
	return nameCache{table: t, seed: maphash.MakeSeed(), slots: make([]nameSlot, nameSlots)}
}

// text interns a text.
func (c *nameCache) text(text []byte) (wire.Text, error) {
	if len(text) == 0 {
		return 0, nil
	}
	slot := &c.slots[maphash.Bytes(c.seed, text)%nameSlots]
	if slot.used && string(text) == slot.text {
		return slot.id, nil
	}
	id, err := c.table.InternBytes(text)
	if err != nil {
		return 0, err
	}
	*slot = nameSlot{c.table.TextOf(id), id, true}
	return id, nil
}

// name interns a name.
func (c *nameCache) name(name []byte) (wire.Name, error) {
	head, tail := wire.SplitName(name)
	id, err := c.text(name[:head])
	return wire.MakeName(id, tail), err
}

type siteSlot struct {
	fn, file string
	line     uint32
	id       wire.Site
}

type siteCache struct {
	names nameCache
	seed  maphash.Seed
	slots []siteSlot
}

func newSiteCache(t *wire.Table) siteCache {
	return siteCache{names: newNameCache(t), seed: maphash.MakeSeed(), slots: make([]siteSlot, siteSlots)}
}

// site interns a place.
func (c *siteCache) site(fn, file []byte, line uint32) (wire.Site, error) {
	if len(fn)+len(file) == 0 && line == 0 {
		return 0, nil
	}
	h := maphash.Bytes(c.seed, fn) + uint64(line)*0x9e3779b97f4a7c15
	if len(file) > 0 {
		h ^= maphash.Bytes(c.seed, file) * 0x9e3779b97f4a7c15
	}
	slot := &c.slots[h%siteSlots]
	if slot.id != 0 && slot.line == line && string(fn) == slot.fn && string(file) == slot.file {
		return slot.id, nil
	}
	fnID, err := c.names.text(fn)
	if err != nil {
		return 0, err
	}
	fileID, err := c.names.text(file)
	if err != nil {
		return 0, err
	}
	id, err := c.names.table.Site(wire.Place{Func: fnID, File: fileID, Line: line})
	if err != nil {
		return 0, err
	}
	*slot = siteSlot{c.names.table.TextOf(fnID), c.names.table.TextOf(fileID), line, id}
	return id, nil
}

// grouping sorts the events of a chunk by stream. It counts as they come; starts and a walk over of
// then put each in its place (a counting sort: stable, so a stream's events keep their order).
type grouping struct {
	runs []wire.Run
	of   []uint32 // for each event the index of its run

	// Open addressing from stream to run. Slots of earlier chunks have another round.
	slots []groupSlot
	round uint32
	last  uint32 // the run of the last event
	next  []uint32
}

type groupSlot struct {
	stream wire.Name
	run    uint32
	round  uint32
}

const groupSlotsMin = 1 << 10

func (g *grouping) add(stream wire.Name) {
	if n := len(g.runs); n == 0 || g.runs[g.last].Stream != stream {
		g.last = g.find(stream)
	}
	g.runs[g.last].Len++
	g.of = append(g.of, g.last)
}

// find gives the run of a stream, a new one if need be.
func (g *grouping) find(stream wire.Name) uint32 {
	if len(g.runs)*2 >= len(g.slots) {
		g.grow()
	}
	slot := g.slot(stream)
	if slot.round != g.round {
		*slot = groupSlot{stream, uint32(len(g.runs)), g.round} // #nosec G115 -- bounded by the chunk
		g.runs = append(g.runs, wire.Run{Stream: stream})
	}
	return slot.run
}

// slot gives the slot that holds the stream, or the free one that it belongs into.
func (g *grouping) slot(stream wire.Name) *groupSlot {
	mask := uint64(len(g.slots) - 1) // #nosec G115 -- not negative
	h := uint64(stream) * 0x9e3779b97f4a7c15
	for i := h >> 32; ; i++ {
		if slot := &g.slots[i&mask]; slot.round != g.round || slot.stream == stream {
			return slot
		}
	}
}

func (g *grouping) grow() {
	g.slots = make([]groupSlot, max(groupSlotsMin, 2*len(g.slots)))
	if g.round == 0 {
		g.round = 1
	}
	for i, run := range g.runs {
		*g.slot(run.Stream) = groupSlot{run.Stream, uint32(i), g.round} // #nosec G115
	}
}

// starts gives for each run the place of its first event.
func (g *grouping) starts() []uint32 {
	g.next = g.next[:0]
	at := uint32(0)
	for _, run := range g.runs {
		g.next = append(g.next, at)
		at += run.Len
	}
	return g.next
}

func (g *grouping) reset() {
	g.runs, g.of, g.last = g.runs[:0], g.of[:0], 0
	if g.round++; g.round == 0 { // the rounds of old slots could come back
		clear(g.slots)
		g.round = 1
	}
}
