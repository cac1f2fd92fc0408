package capture

import (
	"errors"
	mathbits "math/bits"

	"github.com/pastcone/pastcone/internal/source/capture/symbols"
)

// places finds out what program counters mean, each once. A nil places knows nothing.
type places struct {
	table *symbols.Table
	bound counter // beyond the text
	// seen has a bit for each counter, in pages that come into being when they are touched.
	seen   []*[placePageWords]uint64
	fresh  []counter // seen, and not in the file yet
	looked int
}

const (
	placePageBits  = 16
	placePageWords = 1 << placePageBits / 64
)

// openPlaces reads the symbols of a program's file.
func openPlaces(executable string, textBytes uint64) (*places, error) {
	if executable == "" {
		return nil, errors.New("the program's file is not known")
	}
	table, err := symbols.Open(executable)
	if err != nil {
		return nil, err
	}
	bound := counterOf(uint32(min(textBytes, placesTextBytesMax-1)), true) // #nosec G115 -- 32 bits
	return &places{table: table, bound: bound, seen: make([]*[placePageWords]uint64, bound>>placePageBits+1)}, nil
}

// see notes a program counter.
func (p *places) see(c counter) {
	if p == nil || c > p.bound {
		return
	}
	page := p.seen[c>>placePageBits]
	if page == nil {
		page = new([placePageWords]uint64)
		p.seen[c>>placePageBits] = page
	}
	word, bit := &page[c&(1<<placePageBits-1)/64], uint64(1)<<(c&63)
	if *word&bit == 0 && p.looked+len(p.fresh) < programCountersMax {
		*word |= bit
		p.fresh = append(p.fresh, c)
	}
}

// write writes what the program counters mean that were seen since the last time. What is not known is left out.
func (p *places) write(to *spool) error {
	if p == nil {
		return nil
	}
	for len(p.fresh) > 0 {
		err := to.add(framePlaces, func(dst []byte) []byte {
			from := len(dst)
			for len(p.fresh) > 0 && len(dst)-from < placesFrameBytesMax {
				c := p.fresh[0]
				p.fresh = p.fresh[1:]
				p.looked++
				if l, ok := p.table.Look(uint64(c>>1), c&1 != 0); ok {
					dst = appendLocation(dst, c, &location{l.Func, l.File, l.Line})
				}
			}
			return dst
		})
		if err != nil {
			return err
		}
	}
	p.fresh = nil
	return nil
}

func (p *places) count() int {
	if p == nil {
		return 0
	}
	return p.looked
}

// again has everything written once more that was seen: into another file.
func (p *places) again() {
	if p == nil {
		return
	}
	p.fresh = p.fresh[:0]
	for number, page := range p.seen {
		if page == nil {
			continue
		}
		for word, bits := range page {
			for ; bits != 0; bits &= bits - 1 {
				p.fresh = append(p.fresh, counter(number)<<placePageBits|counter(word*64+mathbits.TrailingZeros64(bits))) // #nosec G115 -- not negative
			}
		}
	}
	p.looked = 0
}
