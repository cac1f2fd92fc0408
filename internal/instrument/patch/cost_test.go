package patch

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/internal/capture"
)

// measure runs the program that measures, and returns nanoseconds for each time and allocations in all.
func measure(t testing.TB, program, what string, n int, r *testRing) (nanos float64, allocations int) {
	t.Helper()
	cmd := exec.Command(program, what, fmt.Sprint(n))
	cmd.Env = os.Environ()
	if r != nil {
		cmd.Env = append(cmd.Env, capture.EnvRing+"="+r.path)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", what, err, out)
	}
	if _, err := fmt.Sscan(string(out), &nanos, &allocations); err != nil {
		t.Fatalf("%s: %q: %v", what, out, err)
	}
	return nanos, allocations
}

func buildStock(t testing.TB) string {
	t.Helper()
	program := work + "/stock"
	if _, err := os.Stat(program); err == nil {
		return program
	}
	if out, err := exec.Command("go", "build", "-o", program, "./testdata/cost").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// BenchmarkCost is the best of five rounds, in nanoseconds: of the stock runtime, of the patched one without a ring, with one that
// is switched off, and recording into one that overwrites.
func BenchmarkCost(b *testing.B) {
	for _, what := range []string{"bare defer", "enter+exit", "enter+exit, no error", "enter+exit, error", "enter+exit, values", "buffered", "buffered 128",
		"unbuffered", "select", "go"} {
		probe := strings.HasPrefix(what, "enter") || what == "bare defer"
		for _, how := range []string{"stock", "off", "on"} {
			if probe && how == "stock" {
				continue
			}
			b.Run(what+"/"+how, func(b *testing.B) {
				program := ""
				if how == "stock" {
					program = buildStock(b)
				} else {
					program = build(b, "cost", "-tags=patched")
				}
				var r *testRing
				if how == "on" {
					r = newRing(b, capture.PolicyOverwrite, 128)
				}
				nanos, _ := measure(b, program, what, max(b.N, 1000), r)
				b.ReportMetric(nanos, "ns/op")
			})
		}
	}
}

func TestProbesDoNotAllocate(t *testing.T) {
	program := build(t, "cost", "-tags=patched")
	for _, what := range []string{"enter+exit", "enter+exit, no error", "enter+exit, error", "enter+exit, values", "buffered", "select"} {
		for _, ring := range []bool{false, true} {
			var r *testRing
			if ring {
				r = newRing(t, capture.PolicyOverwrite, 16)
			}
			if _, allocations := measure(t, program, what, 100_000, r); allocations > 100 {
				t.Errorf("%s, ring %t: %d allocations in 100,000 times", what, ring, allocations)
			}
		}
	}
}
