package instrument

import (
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// Functions that the compiler puts into their callers are left out, whatever their form; what does nothing is recorded if its
// arguments are asked for.
func TestSmallFunctionsOfEveryFormAreLeftOut(t *testing.T) {
	p := unpack(t, txtar.Parse([]byte(`
-- go.mod --
module example.com/small

go 1.25
-- main.go --
package main

type counter struct{ n int }

func (c *counter) next() int { c.n++; return c.n }

func (c counter) value() int { return c.n }

func (
	c counter,
) below(m int) bool { return c.n < m }

type box[T any] struct{ v T }

func (b *box[T]) get() T { return b.v }

func plain(n int) int { return n + 1 }

//go:noinline
func large(n int) int { return n + 2 }

//go:noinline
func (c *counter) large() int { return c.n }

//go:noinline
func noted(n int) {}

//go:noinline
func nothing(n int) {}

func main() {
	c := &counter{}
	b := box[int]{c.next()}
	for c.below(5) {
		noted(plain(large(c.next())) + c.value() + b.get() + c.large())
		nothing(0)
	}
}
`)))
	for _, c := range []struct {
		o    Options
		want []string
		left int
	}{
		{Options{}, []string{"main.(*counter).large", "main.large", "main.main"}, 5},
		{Options{Args: []string{"main.noted"}}, []string{"main.(*counter).large", "main.large", "main.main", "main.noted"}, 5},
		{Options{Inlinable: true, Args: []string{"main.noted"}}, []string{
			"main.(*box[...]).get", "main.(*counter).large", "main.(*counter).next", "main.counter.below", "main.counter.value",
			"main.large", "main.main", "main.noted", "main.plain"}, 0},
	} {
		done := p.prepare(c.o)
		got := ids(p.table(done))
		for name, id := range got {
			if id < firstID {
				delete(got, name)
			}
		}
		for _, name := range c.want {
			if _, ok := got[name]; !ok {
				t.Errorf("%+v: %s is not recorded", c.o, name)
			}
			delete(got, name)
		}
		if len(got) > 0 || done.LeftOutInlinable != c.left {
			t.Errorf("%+v: recorded, too: %v; %d left out, want %d", c.o, got, done.LeftOutInlinable, c.left)
		}
		if len(done.Missing) > 0 {
			t.Errorf("%+v: missing %q", c.o, done.Missing)
		}
	}
}
