package instrument

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// What the compiler puts into its callers has no probe: functions, methods of either kind of receiver, generic ones, literals.
func TestWhatTheCompilerInlinesIsLeftOut(t *testing.T) {
	p := unpack(t, txtar.Parse([]byte(`-- go.mod --
module example.com/small

go 1.25
-- main.go --
package main

import "os"

type flag uint8

func (f flag) isSet(bit flag) bool { return f&bit != 0 }

type client struct{ flags flag }

func (c *client) closed() bool { return c.flags.isSet(1) }

type list[T any] struct{ all []T }

func (l *list[T]) size() int { return len(l.all) }

func double(n int) int { return 2 * n }

func first[T any](a, b T) T { return a }

//go:noinline
func (c *client) close(n int) int {
	c.flags |= 1
	return double(n)
}

//go:noinline
func (l *list[T]) add(x T) int {
	l.all = append(l.all, x)
	return l.size()
}

func main() {
	var c client
	var l list[string]
	c.close(first(1, 2))
	l.add("x")
	if !c.closed() || l.size() != 1 {
		os.Exit(1)
	}
}
`)))
	names := func(done *Prepared) (names []string) {
		for _, e := range p.table(done) {
			if _, name, found := strings.Cut(e.Func, "main."); found && int(e.ID) >= firstID {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	large := p.prepare(Options{})
	if got := strings.Join(names(large), " "); got != "(*client).close (*list[...]).add main" || large.LeftOutInlinable != 5 {
		t.Errorf("recorded: %s; %d are left out", got, large.LeftOutInlinable)
	}
	all := p.prepare(Options{Inlinable: true})
	if got := names(all); len(got) != 8 || all.LeftOutInlinable != 0 {
		t.Errorf("with all: %s; %d are left out", got, all.LeftOutInlinable)
	}
}
