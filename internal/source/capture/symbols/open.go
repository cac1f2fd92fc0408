package symbols

import (
	"bytes"
	"cmp"
	"debug/elf"
	"debug/macho"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// ErrFormat says that a file is neither ELF nor Mach-O.
var ErrFormat = errors.New("neither ELF nor Mach-O")

// The bounds of a file.
const (
	sectionBytesMax = 1 << 30
	symbolsMax      = 1 << 23
)

// program is what is needed of a program's file.
type program struct {
	order    binary.ByteOrder
	sections []section // those with the table, with read-only data, and with data
	trees    uint64    // address by the linker's symbol; 0: none
	pointers []pointer // that the loader puts there, by address
}

// pointer is a word that the loader sets.
type pointer struct{ at, value uint64 }

// Open reads the table of a program.
func Open(path string) (*Table, error) {
	f, err := os.Open(path) // #nosec G304 -- the program that is recorded
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func read(f io.ReaderAt) (*Table, error) {
	p, err := readProgram(f)
	if err != nil {
		return nil, err
	}
	t, address, err := p.findTable()
	if err != nil {
		return nil, err
	}
	if !t.useTree(sliceAt(p.sections, p.trees)) {
		for _, trees := range p.describedTrees(t, address) {
			if t.useTree(sliceAt(p.sections, trees)) {
				break
			}
		}
	}
	return t, nil
}

func readProgram(f io.ReaderAt) (*program, error) {
	var magic [4]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if string(magic[:]) == elf.ELFMAG {
		return readELF(f)
	}
	switch m := binary.LittleEndian.Uint32(magic[:]); m {
	case macho.Magic32, macho.Magic64:
		return readMacho(f)
	}
	return nil, fmt.Errorf("%w: it begins with %x", ErrFormat, magic)
}

// wanted says whether a section can hold what is looked for.
func wanted(name string) bool {
	for _, part := range [...]string{"gopclntab", "go.module", "go_module", "rodata", "noptrdata", "data.rel.ro"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return name == ".data" || name == "__data" || name == "__const"
}

func readELF(at io.ReaderAt) (*program, error) {
	f, err := elf.NewFile(at)
	if err != nil {
		return nil, err
	}
	p := &program{order: f.ByteOrder}
	for _, s := range f.Sections {
		if s.Type == elf.SHT_RELA && s.Size < sectionBytesMax {
			if data, err := s.Data(); err == nil {
				p.relocate(data, f)
			}
		}
		if !wanted(s.Name) || s.Type == elf.SHT_NOBITS || s.Size > sectionBytesMax || s.Flags&elf.SHF_ALLOC == 0 {
			continue
		}
		data, err := s.Data()
		if err != nil {
			return nil, fmt.Errorf("section %s: %w", s.Name, err)
		}
		p.sections = append(p.sections, section{s.Name, s.Addr, data})
	}
	slices.SortFunc(p.pointers, func(a, b pointer) int { return cmp.Compare(a.at, b.at) })
	symbols, err := f.Symbols() // none: the file is stripped
	if err == nil {
		for i := range symbols[:min(len(symbols), symbolsMax)] {
			if isTreeSymbol(symbols[i].Name) {
				p.trees = symbols[i].Value
			}
		}
	}
	return p, nil
}

// relocate takes the pointers that a loader puts into a position-independent program.
func (p *program) relocate(data []byte, f *elf.File) {
	if f.Class != elf.ELFCLASS64 {
		return
	}
	relative := map[elf.Machine]uint64{elf.EM_X86_64: uint64(elf.R_X86_64_RELATIVE), elf.EM_AARCH64: uint64(elf.R_AARCH64_RELATIVE)}[f.Machine]
	const entryBytes = 24
	for ; len(data) >= entryBytes; data = data[entryBytes:] {
		if kind := f.ByteOrder.Uint64(data[8:]) & 0xffff_ffff; kind == relative && kind != 0 {
			p.pointers = append(p.pointers, pointer{f.ByteOrder.Uint64(data), f.ByteOrder.Uint64(data[16:])})
		}
	}
}

func readMacho(at io.ReaderAt) (*program, error) {
	f, err := macho.NewFile(at)
	if err != nil {
		return nil, err
	}
	p := &program{order: f.ByteOrder}
	for _, s := range f.Sections {
		if !wanted(s.Name) || s.Size > sectionBytesMax {
			continue
		}
		data, err := s.Data()
		if err != nil {
			return nil, fmt.Errorf("section %s: %w", s.Name, err)
		}
		p.sections = append(p.sections, section{s.Name, s.Addr, data})
	}
	if f.Symtab != nil {
		for i := range f.Symtab.Syms[:min(len(f.Symtab.Syms), symbolsMax)] {
			if isTreeSymbol(strings.TrimPrefix(f.Symtab.Syms[i].Name, "_")) {
				p.trees = f.Symtab.Syms[i].Value
			}
		}
	}
	return p, nil
}

func isTreeSymbol(name string) bool { return name == "go:func.*" || name == "go.func.*" }

// findTable finds the table, and its address: in the section that is named after it, else by its first bytes.
func (p *program) findTable() (*Table, uint64, error) {
	err := ErrNoTable
	for _, s := range p.sections {
		if strings.Contains(s.name, "gopclntab") {
			t, e := parse(s.data, p.order)
			if e == nil {
				return t, s.address, nil
			}
			err = e
		}
	}
	var magic [6]byte
	p.order.PutUint32(magic[:], magic120)
	for _, s := range p.sections {
		for from := 0; ; {
			i := bytes.Index(s.data[from:], magic[:])
			if i < 0 {
				break
			}
			from += i
			if t, e := parse(s.data[from:], p.order); e == nil && from%8 == 0 && t.plausible() {
				return t, s.address + uint64(from), nil // #nosec G115 -- not negative
			}
			from += len(magic)
		}
	}
	return nil, 0, err
}

// plausible says whether the functions of a table that was found by chance can be some.
func (t *Table) plausible() bool {
	for i := range min(t.functions, 64) {
		if f, ok := t.find(uint64(t.entry(i))); !ok || t.entry(i+1) < f.entry {
			return false
		}
	}
	return true
}

// word gives the pointer at an address of a section, as the loader would set it.
func (p *program) word(s *section, offset int) uint64 {
	address := s.address + uint64(offset) // #nosec G115 -- not negative
	if i, ok := slices.BinarySearchFunc(p.pointers, address, func(p pointer, at uint64) int { return cmp.Compare(p.at, at) }); ok {
		return p.pointers[i].value
	}
	return p.order.Uint64(s.data[offset:])
}

// describedTrees looks for the runtime's description of the program, by the pointers it begins with: to the table and to the names. It
// gives where the trees can be, by the versions of that description. The table checks what it is given.
func (p *program) describedTrees(t *Table, table uint64) (all []uint64) {
	if t.data[7] != 8 {
		return nil
	}
	const (
		headBytes = 40 * 8 // up to the first version's pointer to the trees
		versions  = 6      // that is what was added before it since
	)
	names := table + uint64(len(t.data)-len(t.names)) // #nosec G115 -- not negative
	units := table + uint64(len(t.data)-len(t.units)) // #nosec G115 -- not negative
	for i := range p.sections {
		s := &p.sections[i]
		if strings.Contains(s.name, "gopclntab") {
			continue
		}
		for offset := int(-s.address & 7); offset+headBytes+8*versions <= len(s.data); offset += 8 { // #nosec G115 -- below 8
			if p.order.Uint64(s.data[offset:]) != table && len(p.pointers) == 0 {
				continue
			}
			if p.word(s, offset) != table || p.word(s, offset+8) != names || p.word(s, offset+32) != units {
				continue
			}
			for version := range versions {
				all = append(all, p.word(s, offset+headBytes+8*version))
			}
		}
	}
	return all
}
