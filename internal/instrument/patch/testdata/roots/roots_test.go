package roots

import "testing"

func TestOne(t *testing.T) {
	t.Run("under it", func(t *testing.T) { t.Parallel() })
	t.Run("skipped", func(t *testing.T) { t.SkipNow() })
}

func TestTwo(t *testing.T) {
	defer func() { recover() }()
	panic("caught")
}

func BenchmarkThree(b *testing.B) {
	for b.Loop() {
	}
}

func FuzzFour(f *testing.F) {
	f.Add(1)
	f.Fuzz(func(t *testing.T, n int) {})
}
