package patch

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/internal/capture"
)

// BenchmarkLocks prints what operations of package sync and time cost in a stock program, patched but off, and recorded.
func BenchmarkLocks(b *testing.B) {
	stock := filepath.Join(b.TempDir(), "stock")
	if out, err := exec.Command("go", "build", "-o", stock, "./testdata/lockcost").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	patched := build(b, "lockcost")
	times := func(out string) (names []string, ns map[string]float64) {
		ns = map[string]float64{}
		for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
			name, text, _ := strings.Cut(line, "\t")
			x, err := strconv.ParseFloat(text, 64)
			if err != nil {
				b.Fatal(err)
			}
			names = append(names, name)
			ns[name] = x
		}
		return names, ns
	}
	plain := func(program string) map[string]float64 {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), capture.EnvRing+"=")
		out, err := cmd.Output()
		if err != nil {
			b.Fatal(err)
		}
		_, ns := times(string(out))
		return ns
	}
	for b.Loop() {
		r := newRing(b, capture.PolicyOverwrite, 64)
		before, off := plain(stock), plain(patched)
		out, _ := run(b, r, nil, patched)
		names, on := times(out)
		for _, name := range names {
			b.Logf("%-34s stock %7.1f  off %7.1f  on %7.1f", name, before[name], off[name], on[name])
		}
	}
}
