package gotrace

import (
	"math"
	"strconv"
	"testing"
)

func TestNumbersAreWrittenAsByStrconv(t *testing.T) {
	numbers := []int64{0, math.MaxInt64, math.MinInt64, -1}
	for power := int64(1); power <= 1e12; power *= 10 {
		numbers = append(numbers, power-1, power, power+1, 2*power-1, 9*power+5)
	}
	for power := int64(1); power <= 1<<40; power *= 2 {
		numbers = append(numbers, power-1, power, power+1)
	}
	for n := range int64(12345) {
		numbers = append(numbers, n, n*7919)
	}
	for _, n := range numbers {
		if got, want := string(appendNumber([]byte("w"), n)), "w"+strconv.FormatInt(n, 10); got != want {
			t.Fatalf("%d is written as %q", n, got)
		}
	}
}
