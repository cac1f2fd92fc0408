package symbols

import (
	"encoding/binary"
	"fmt"
	"os"
	"testing"
)

// smallTable is a table of two functions: the second has a call inlined in it.
func smallTable() []byte {
	le := binary.LittleEndian
	names := []byte("main.a\x00main.b\x00main.c\x00")
	units := []byte{0, 0, 0, 0}
	files := []byte("main.go\x00")
	// Values begin at -1: a difference of +4 is 3, of +1 is 0; each for 16 bytes.
	pcdata := []byte{0, 8, 16, 0, 2, 16, 0}
	le16 := func(values ...uint32) (b []byte) {
		for _, v := range values {
			b = le.AppendUint32(b, v)
		}
		return b
	}
	function := func(entry, name, trees uint32) []byte {
		b := le16(entry, name, 0, 0, 0, 4, 1, 3, 0, 7)
		b = append(b, 0, 0, 0, 4)
		b = append(b, le16(0, 0, 4)...)
		return append(b, le16(noOffset, noOffset, noOffset, trees)...)
	}
	first := function(0, 0, noOffset)
	table := le16(0, 20, 16, uint32(20+len(first)), 32)
	table = append(append(table, first...), function(16, 7, 0)...)
	trees := append([]byte{0, 0, 0, 0}, le16(14, 3, 1)...)

	head := le16(magic120)
	head = append(head, 0, 0, 1, 8)
	at := uint64(8 + headerWords*8)
	for _, v := range []uint64{2, 1, 0} {
		head = le.AppendUint64(head, v)
	}
	for _, part := range [][]byte{names, units, files, pcdata, table} {
		head = le.AppendUint64(head, at)
		at += uint64(len(part))
	}
	all := head
	for _, part := range [][]byte{names, units, files, pcdata, table, trees} {
		all = append(all, part...)
	}
	return all
}

func TestParse_ASmallTable(t *testing.T) {
	data := smallTable()
	table, err := parse(data, binary.LittleEndian)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := table.Look(5, false); !ok || p != (Place{"main.a", "main.go", 3}) {
		t.Errorf("%+v, %v", p, ok)
	}
	if p, ok := table.Look(20, false); !ok || p != (Place{"", "main.go", 3}) {
		t.Errorf("a place whose function is not known: %+v, %v", p, ok)
	}
	if !table.useTree(data[len(data)-inlinedBytes:]) {
		t.Fatal("its tree is none")
	}
	if p, ok := table.Look(20, false); !ok || p != (Place{"main.c", "main.go", 3}) {
		t.Errorf("an inlined call: %+v, %v", p, ok)
	}
	if p, ok := table.Look(16, true); !ok || p != (Place{"main.b", "main.go", 7}) {
		t.Errorf("an entry: %+v, %v", p, ok)
	}
	for _, pc := range []uint64{0, 33, 1 << 40} {
		if p, ok := table.Look(pc, false); ok {
			t.Errorf("%d is no place: %+v", pc, p)
		}
	}
}

// FuzzParse: whatever the table, nothing goes beyond it, and it ends.
func FuzzParse(f *testing.F) {
	f.Add(smallTable(), uint32(20))
	f.Add(smallTable()[:100], uint32(5))
	f.Fuzz(func(t *testing.T, data []byte, pc uint32) {
		table, err := parse(data, binary.LittleEndian)
		if err != nil {
			return
		}
		table.useTree(data[len(data)/2:])
		table.inlined = data
		for _, entry := range []bool{false, true} {
			if p, ok := table.Look(uint64(pc), entry); ok && p == (Place{}) {
				t.Error("it is known, and nothing")
			}
		}
		table.plausible()
	})
}

// TestWriteSeeds makes the seed anew where PASTCONE_WRITE_SEEDS is set.
func TestWriteSeeds(t *testing.T) {
	const path = "testdata/fuzz/FuzzParse/small"
	if os.Getenv("PASTCONE_WRITE_SEEDS") != "" {
		if err := os.WriteFile(path, fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\nuint32(20)\n", smallTable()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
