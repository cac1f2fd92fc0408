package store

import "github.com/pastcone/pastcone/internal/wire"

const dictSlots = 2 * wire.BlockRowsMax

// dict gives the distinct values of a column codes from 0, in the order of their first appearance. It
// holds as many as a block has rows.
type dict struct {
	slots  [dictSlots]uint16 // code + 1; 0 is free
	values []uint64
	last   uint32 // code of the last value looked up: stretches of equal values are common
}

func (d *dict) reset() {
	if len(d.values) > 0 {
		clear(d.slots[:])
	}
	d.values, d.last = d.values[:0], 0
}

func (d *dict) code(v uint64) uint32 {
	if len(d.values) > 0 && d.values[d.last] == v {
		return d.last
	}
	const mask = dictSlots - 1
	for at := mix64(v) & mask; ; at = (at + 1) & mask {
		s := d.slots[at]
		if s == 0 {
			d.values = append(d.values, v)
			d.slots[at] = uint16(len(d.values)) // #nosec G115 -- at most BlockRowsMax
			d.last = uint32(len(d.values) - 1)  // #nosec G115 -- at most BlockRowsMax
			return d.last
		}
		if d.values[s-1] == v {
			d.last = uint32(s - 1)
			return d.last
		}
	}
}

// has says whether v has a code.
func (d *dict) has(v uint64) bool {
	const mask = dictSlots - 1
	for at := mix64(v) & mask; d.slots[at] != 0; at = (at + 1) & mask {
		if d.values[d.slots[at]-1] == v {
			return true
		}
	}
	return false
}

// mix64 spreads the bits of v: the finalizer of MurmurHash3. It is part of the format (filter keys).
func mix64(v uint64) uint64 {
	v ^= v >> 33
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	v *= 0xc4ceb9fe1a85ec53
	return v ^ v>>33
}

// form is what repeats from event to event: a program has few places, and at each of them events of
// few kinds. Together they cost one small code a row.
type form struct {
	site       wire.Site
	source     wire.SourceID
	flags      wire.Flags
	kind       uint8
	parentKind uint8
	parentConf uint8
	corrConf   uint8
}

func (f *form) hash() uint64 {
	return mix64(uint64(f.site)<<32|uint64(f.source)) ^
		mix64(uint64(f.flags)<<32|uint64(f.kind)<<24|uint64(f.parentKind)<<16|uint64(f.parentConf)<<8|uint64(f.corrConf)+1)*3
}

// formDict is a dict of forms.
type formDict struct {
	slots  [dictSlots]uint16
	values []form
	last   uint32
}

func (d *formDict) reset() {
	if len(d.values) > 0 {
		clear(d.slots[:])
	}
	d.values, d.last = d.values[:0], 0
}

func (d *formDict) code(f form) uint32 {
	if len(d.values) > 0 && d.values[d.last] == f {
		return d.last
	}
	const mask = dictSlots - 1
	for at := f.hash() & mask; ; at = (at + 1) & mask {
		s := d.slots[at]
		if s == 0 {
			d.values = append(d.values, f)
			d.slots[at] = uint16(len(d.values)) // #nosec G115 -- at most BlockRowsMax
			d.last = uint32(len(d.values) - 1)  // #nosec G115 -- at most BlockRowsMax
			return d.last
		}
		if d.values[s-1] == f {
			d.last = uint32(s - 1)
			return d.last
		}
	}
}
