package symbols

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrNoTable says that a file has no table of this kind: it is no Go program, or from before Go 1.20.
var ErrNoTable = errors.New("no table of functions of Go 1.20 or later")

// Place is where a program counter is. Func is empty where only the line is known.
type Place struct {
	Func string
	File string
	Line uint32
}

// Table tells the places of one program. It is safe for concurrent use.
//
// The layout, from Go's runtime (symtab.go), of all versions from 1.20 to 1.27:
//
//	header     magic (4), 0, 0, quantum (1), pointer size (1), functions, files, text start, and the offsets of
//	           function names, compilation units, files, pcdata, functions
//	functions  entry offset (4), offset of the function (4), for each; a last entry offset
//	function   entry offset, name, args, deferreturn, pcsp, pcfile, pcln, npcdata, compilation unit, start line (4 each),
//	           id, flag, -, nfuncdata (1 each), pcdata offsets (4 each), funcdata offsets (4 each)
type Table struct {
	data      []byte
	order     binary.ByteOrder
	quantum   uint32
	functions int

	names, units, files, pcdata, table []byte

	inlined []byte // what funcdata offsets are relative to; nil if unknown
}

const (
	magic120       = 0xfffffff1 // from Go 1.20 on
	headerWords    = 8          // behind the first eight bytes
	functionBytes  = 44
	entryBytes     = 8
	inlinedBytes   = 16
	inlineTree     = 3 // number of the tree among the funcdata
	inlineIndex    = 2 // number of the index into it among the pcdata
	inlineDepthMax = 64
	noOffset       = ^uint32(0)
)

// parse reads a table. data begins with its header, and may go on behind its end.
func parse(data []byte, order binary.ByteOrder) (*Table, error) {
	if len(data) < 8 || order.Uint32(data) != magic120 {
		return nil, ErrNoTable
	}
	size := int(data[7])
	if size != 8 && size != 4 || len(data) < 8+headerWords*size || data[6] == 0 {
		return nil, fmt.Errorf("%w: its header is damaged", ErrNoTable)
	}
	word := func(i int) uint64 {
		if size == 4 {
			return uint64(order.Uint32(data[8+4*i:]))
		}
		return order.Uint64(data[8+8*i:])
	}
	t := &Table{data: data, order: order, quantum: uint32(data[6])}
	parts := [...]*[]byte{&t.names, &t.units, &t.files, &t.pcdata, &t.table}
	for i, part := range parts {
		from := word(3 + i)
		if from > uint64(len(data)) {
			return nil, fmt.Errorf("%w: part %d begins at %d of %d bytes", ErrNoTable, i, from, len(data))
		}
		*part = data[from:]
	}
	n := word(0)
	if n == 0 || len(t.table) < 4 || n > uint64(len(t.table)-4)/entryBytes { // #nosec G115 -- not negative
		return nil, fmt.Errorf("%w: %d functions in %d bytes", ErrNoTable, n, len(t.table))
	}
	t.functions = int(n) // #nosec G115 -- fits the data
	return t, nil
}

func (t *Table) entry(i int) uint32 { return t.order.Uint32(t.table[entryBytes*i:]) }

// info is a function of the table.
type info struct {
	entry  uint32
	fields []byte
}

func (t *Table) field(f *info, i int) uint32 { return t.order.Uint32(f.fields[4*i:]) }

// find gives the function that an address, relative to the text, lies in.
func (t *Table) find(address uint64) (f info, ok bool) {
	if address >= uint64(t.entry(t.functions)) || address < uint64(t.entry(0)) {
		return f, false
	}
	low, high := 0, t.functions // entry(low) <= address < entry(high)
	for high-low > 1 {
		middle := (low + high) / 2
		if uint64(t.entry(middle)) <= address {
			low = middle
		} else {
			high = middle
		}
	}
	at := uint64(t.order.Uint32(t.table[entryBytes*low+4:]))
	if at+functionBytes > uint64(len(t.table)) {
		return f, false
	}
	f = info{t.entry(low), t.table[at:]}
	return f, t.field(&f, 0) == f.entry
}

// Look gives the place of a program counter, relative to the beginning of the program's text. If it is an entry, the place is the
// function's; else it is a return address, and the place is that of the call before it: the innermost function, inlined ones
// included, that is not the runtime's or one that only passes operations on (sync, internal/...), where there is one.
func (t *Table) Look(pc uint64, entry bool) (Place, bool) {
	if entry {
		f, ok := t.find(pc)
		if !ok || uint64(f.entry) != pc {
			return Place{}, false
		}
		return t.begin(&f)
	}
	if pc == 0 {
		return Place{}, false
	}
	pc--
	f, ok := t.find(pc)
	if !ok {
		return Place{}, false
	}
	all, known := t.unwind(&f, pc)
	if len(all) == 0 {
		return Place{}, false
	}
	if !known {
		return Place{File: all[0].File, Line: all[0].Line}, all[0].File != ""
	}
	p := all[max(slices.IndexFunc(all, func(p Place) bool { return !passesOn(p.Func) }), 0)]
	p.Func = unwrapped(p.Func)
	return p, true
}

// unwrapped takes off the name what the compiler added for a call that is deferred: the line is one of the function around it, and so
// is the name then.
func unwrapped(name string) string {
	const wrapper = ".deferwrap"
	if i := strings.LastIndex(name, wrapper); i > 0 && strings.Trim(name[i+len(wrapper):], "0123456789") == "" {
		return name[:i]
	}
	return name
}

// begin gives the place where a function begins.
func (t *Table) begin(f *info) (Place, bool) {
	name, ok := t.name(t.field(f, 1))
	if !ok {
		return Place{}, false
	}
	p := Place{Func: name, Line: t.field(f, 9)}
	if file, ok := t.value(f, t.field(f, 5), f.entry); ok {
		p.File, _ = t.fileName(f, file)
	}
	return p, true
}

// passesOn says whether a function belongs to what carries out operations for others.
func passesOn(name string) bool {
	for _, prefix := range [...]string{"runtime.", "sync.", "internal/", "runtime/internal/", "reflect."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// unwind gives the place of an address and those of the calls that it was inlined by, innermost first. known is false if there are
// inlined calls there that can not be read: then there is one place, without its function.
func (t *Table) unwind(f *info, pc uint64) (all []Place, known bool) {
	npcdata, nfuncdata := t.field(f, 7), uint32(f.fields[functionBytes-1])
	arrays := uint64(npcdata)*4 + uint64(nfuncdata)*4
	if functionBytes+arrays > uint64(len(f.fields)) {
		return nil, false
	}
	var tree []byte
	hasTree := false
	if nfuncdata > inlineTree {
		if at := t.order.Uint32(f.fields[functionBytes+4*uint64(npcdata)+4*inlineTree:]); at != noOffset {
			hasTree = true
			if uint64(at) < uint64(len(t.inlined)) {
				tree = t.inlined[at:]
			}
		}
	}
	for range inlineDepthMax {
		p := Place{}
		line, ok := t.value(f, t.field(f, 6), uint32(pc)) // #nosec G115 -- it lies in the text
		if !ok {
			return all, len(all) > 0
		}
		p.Line = uint32(line)                                      // #nosec G115 -- a line
		if file, ok := t.value(f, t.field(f, 5), uint32(pc)); ok { // #nosec G115 -- as above
			p.File, _ = t.fileName(f, file)
		}
		index := int32(-1)
		if hasTree && npcdata > inlineIndex {
			if i, ok := t.value(f, t.order.Uint32(f.fields[functionBytes+4*inlineIndex:]), uint32(pc)); ok { // #nosec G115 -- as above
				index = i
			}
		}
		if index < 0 {
			p.Func, ok = t.name(t.field(f, 1))
			return append(all, p), ok
		}
		at := uint64(index) * inlinedBytes
		if at+inlinedBytes > uint64(len(tree)) {
			return append(all[:0], p), false
		}
		call := tree[at:]
		if p.Func, ok = t.name(t.order.Uint32(call[4:])); !ok {
			return append(all[:0], p), false
		}
		all = append(all, p)
		pc = uint64(f.entry) + uint64(t.order.Uint32(call[8:]))
		if owner, ok := t.find(pc); !ok || owner.entry != f.entry {
			return []Place{{File: all[0].File, Line: all[0].Line}}, false
		}
	}
	return all, true
}

// value reads a table of values by program counter: pairs of differences, the value's and the counter's.
func (t *Table) value(f *info, offset, pc uint32) (value int32, ok bool) {
	if offset == 0 || uint64(offset) >= uint64(len(t.pcdata)) {
		return 0, false
	}
	p := t.pcdata[offset:]
	at := f.entry
	value = -1
	for first := true; ; first = false {
		step, n := uvarint32(p)
		if n == 0 || step == 0 && !first {
			return 0, false
		}
		p = p[n:]
		if step&1 != 0 {
			value += int32(^(step >> 1)) // #nosec G115 -- zigzag
		} else {
			value += int32(step >> 1) // #nosec G115 -- zigzag
		}
		length, n := uvarint32(p)
		if n == 0 {
			return 0, false
		}
		p = p[n:]
		next := at + length*t.quantum
		if next < at {
			return 0, false
		}
		if at = next; pc < at {
			return value, value >= 0
		}
	}
}

func uvarint32(p []byte) (v uint32, n int) {
	for shift := uint(0); n < len(p) && n < 5; shift += 7 {
		b := p[n]
		n++
		v |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return v, n
		}
	}
	return 0, 0
}

// fileName gives the name of a file by its number in the function's compilation unit.
func (t *Table) fileName(f *info, number int32) (string, bool) {
	at := 4 * (uint64(t.field(f, 8)) + uint64(number)) // #nosec G115 -- not negative
	if number < 0 || at+4 > uint64(len(t.units)) {
		return "", false
	}
	offset := t.order.Uint32(t.units[at:])
	if offset == noOffset {
		return "", false
	}
	return text(t.files, offset)
}

// textBytesMax bounds a name.
const textBytesMax = 4096

// text reads a text that ends with a zero.
func text(from []byte, offset uint32) (string, bool) {
	if uint64(offset) >= uint64(len(from)) {
		return "", false
	}
	from = from[offset:]
	end := bytes.IndexByte(from[:min(len(from), textBytesMax+1)], 0)
	if end <= 0 {
		return "", false
	}
	return string(from[:end]), true
}

// name reads a function's name, as runtime.FuncForPC gives it: the type arguments of a generic function are left out.
func (t *Table) name(offset uint32) (string, bool) {
	s, ok := text(t.names, offset)
	if i := strings.IndexByte(s, '['); ok && i >= 0 {
		if j := strings.LastIndexByte(s, ']'); j > i {
			s = s[:i] + "[...]" + s[j+1:]
		}
	}
	return s, ok
}

// section is a part of a program in its memory.
type section struct {
	name    string
	address uint64
	data    []byte
}

// slice gives what lies at an address, to the end of its section.
func sliceAt(all []section, address uint64) []byte {
	i := slices.IndexFunc(all, func(s section) bool {
		return address >= s.address && address-s.address < uint64(len(s.data))
	})
	if i < 0 || address == 0 {
		return nil
	}
	return all[i].data[address-all[i].address:]
}

// useTree looks for the trees of inlined calls there, and says whether they are there: every function that has one is held against
// what a tree must look like.
func (t *Table) useTree(at []byte) bool {
	if len(at) == 0 {
		return false
	}
	checked := 0
	for i := 0; i < t.functions && checked < treesChecked; i++ {
		f, ok := t.find(uint64(t.entry(i)))
		if !ok {
			continue
		}
		npcdata, nfuncdata := t.field(&f, 7), f.fields[functionBytes-1]
		tree := functionBytes + 4*uint64(npcdata) + 4*inlineTree
		if nfuncdata <= inlineTree || tree+4 > uint64(len(f.fields)) {
			continue
		}
		offset := t.order.Uint32(f.fields[tree:])
		if offset == noOffset {
			continue
		}
		checked++
		if uint64(offset)+inlinedBytes > uint64(len(at)) || !t.looksInlined(at[offset:], t.entry(i+1)-f.entry) {
			return false
		}
	}
	if checked > 0 {
		t.inlined = at
	}
	return checked > 0
}

const treesChecked = 4096

// looksInlined says whether this can be the first entry of a tree: its name begins behind the end of another one, and it was
// inlined within the function.
func (t *Table) looksInlined(call []byte, bytes uint32) bool {
	name := t.order.Uint32(call[4:])
	if call[1]|call[2]|call[3] != 0 || uint64(name) >= uint64(len(t.names)) || name > 0 && t.names[name-1] != 0 || t.names[name] == 0 {
		return false
	}
	return t.order.Uint32(call[8:]) < bytes
}
