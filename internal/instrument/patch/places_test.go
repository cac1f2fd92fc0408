package patch

import (
	"debug/elf"
	"debug/gosym"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/pastcone/pastcone/internal/capture"
)

// places returns what says "function file:line" of a place in a program, a return address unless exact is set.
func places(t testing.TB, r *testRing, program string) func(place uint32, exact bool) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("reads ELF")
	}
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := f.Section(".gopclntab").Data()
	if err != nil {
		t.Fatal(err)
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, f.Section(".text").Addr))
	if err != nil {
		t.Fatal(err)
	}
	start := r.get64(capture.OffTextStart)
	return func(place uint32, exact bool) string {
		pc := start + uint64(place)
		if !exact {
			pc--
		}
		file, line, fn := table.PCToLine(pc)
		if fn == nil {
			return "?"
		}
		return fmt.Sprintf("%s %s:%d", fn.Name, filepath.Base(file), line)
	}
}
