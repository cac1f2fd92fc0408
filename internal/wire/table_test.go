package wire

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func TestNamesComeBack(t *testing.T) {
	table := NewTable(1 << 20)
	for _, c := range []struct {
		name string
		text string // what is interned
		tail uint64 // one more than the number
	}{
		{"g17", "g", 18},
		{"conns", "conns", 0},
		{"0", "", 1},
		{"g0", "g", 1},
		{"007", "00", 8}, // the tail is written as strconv would
		{"x00", "x0", 1},
		{"x10", "x", 11},
		{"x010", "x0", 11},
		{"1", "", 2},
		{"999999999999", "", 1e12},
		{"x999999999999", "x", 1e12},
		{"x1234567890123", "x1", 234567890124}, // twelve digits are the most
		{"x1000000000001", "x100000000000", 2}, // and they do not begin with 0
		{"x1000000000000", "x100000000000", 1}, //
		{"1700000000000000000", "170000000000000000", 1},
		{"１２", "１２", 0}, // digits, but not of ASCII
		{"a-1", "a-", 2},
		{"\x00\xff5", "\x00\xff", 6},
	} {
		n, err := table.Name(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := table.TextOf(n.Text()); got != c.text || uint64(n)&nameTailMask != c.tail {
			t.Errorf("%q is %q and %d, want %q and %d", c.name, got, uint64(n)&nameTailMask, c.text, c.tail)
		}
		if got := table.NameOf(n); got != c.name {
			t.Errorf("%q comes back as %q", c.name, got)
		}
		fromBytes, err := table.NameBytes([]byte(c.name))
		if err != nil || fromBytes != n {
			t.Errorf("%q: %v as bytes, %v as text", c.name, fromBytes, n)
		}
		head, tail := SplitName([]byte(c.name))
		if id, ok := table.FindText(c.name[:head]); !ok || MakeName(id, tail) != n {
			t.Errorf("%q: put together it is %v, not %v", c.name, MakeName(id, tail), n)
		}
		if found, ok := table.FindName(c.name); !ok || found != n {
			t.Errorf("%q: found %v, %v", c.name, found, ok)
		}
	}
	if n, err := table.Name(""); n != 0 || err != nil || table.NameOf(0) != "" {
		t.Error("the empty name is none", n, err)
	}
	if _, ok := table.FindName("nobody5"); ok {
		t.Error("found a name that nobody added")
	}
}

func TestEachNameSplitsOneWay(t *testing.T) {
	table := NewTable(1 << 26)
	names := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z0]{0,3}[0-9]{0,15}`))
	rapid.Check(t, func(t *rapid.T) {
		a, b := names.Draw(t, "a"), names.Draw(t, "b")
		x, err := table.Name(a)
		if err != nil {
			t.Fatal(err)
		}
		y, err := table.Name(b)
		if err != nil {
			t.Fatal(err)
		}
		if table.NameOf(x) != a || (x == y) != (a == b) {
			t.Fatalf("%q is %v, %q is %v", a, x, b, y)
		}
	})
}

func TestMillionStreamsCostOneText(t *testing.T) {
	table := NewTable(100)
	for i := range 1_000_000 {
		if _, err := table.Name(fmt.Sprintf("g%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(table.Texts()); n != 2 {
		t.Errorf("%d texts", n)
	}
}

func TestTableIsBounded(t *testing.T) {
	const bytesMax = 2*textOverheadBytes + 10
	table := NewTable(bytesMax)
	if _, err := table.Intern("0123456789"); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"text":  second(table.Intern("a longer one")),
		"bytes": second(table.InternBytes(make([]byte, 5000))),
		"name":  second(table.Name("another one")),
	} {
		if !errors.Is(err, ErrTableFull) {
			t.Errorf("%s: %v", what, err)
		}
	}
	full := NewTable(textOverheadBytes)
	if _, err := full.Site(Place{Line: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := full.Site(Place{Line: 2}); !errors.Is(err, ErrTableFull) || !strings.Contains(err.Error(), "2 places, 64 of 64 bytes") {
		t.Error(err)
	}
	// What is known still has its id.
	if id, err := full.Site(Place{Line: 1}); id != 1 || err != nil {
		t.Error(id, err)
	}
	if id, err := table.Intern("0123456789"); id != 1 || err != nil {
		t.Error(id, err)
	}
	if table.Bytes() > bytesMax || full.Bytes() != textOverheadBytes {
		t.Error(table.Bytes(), full.Bytes())
	}
	for _, fails := range []error{
		second(full.SiteOf("f", "", 0)), second(full.SiteOf("", "f", 0)), second(full.SiteOf("", "", 7)),
	} {
		if !errors.Is(fails, ErrTableFull) {
			t.Error(fails)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestSites(t *testing.T) {
	table := NewTable(1 << 20)
	if s, err := table.SiteOf("", "", 0); s != 0 || err != nil {
		t.Error("no place is site 0", s, err)
	}
	a, err := table.SiteOf("f", "a.go", 17)
	if err != nil {
		t.Fatal(err)
	}
	again, err := table.SiteOf("f", "a.go", 17)
	if err != nil || again != a {
		t.Error(a, again, err)
	}
	other, err := table.SiteOf("f", "a.go", 18)
	if err != nil || other == a {
		t.Error(a, other, err)
	}
	if table.FuncOf(a) != "f" || table.TextOf(table.PlaceOf(a).File) != "a.go" || table.PlaceOf(a).Line != 17 {
		t.Error(table.PlaceOf(a))
	}
	if len(table.Places()) != 3 {
		t.Error(table.Places())
	}
	if table.PlaceOf(99) != (Place{}) || table.FuncOf(99) != "" {
		t.Error("a place that is none")
	}
	if got := table.NameOf(MakeName(99, 8)); got != "?text997" {
		t.Errorf("an unknown text is shown as %q", got)
	}
}

func TestManyInternAtOnce(t *testing.T) {
	const workers, words = 8, 500
	table := NewTable(1 << 20)
	var all sync.WaitGroup
	ids, sites := make([][]Text, workers), make([][]Site, workers)
	for w := range workers {
		all.Go(func() {
			for i := range words {
				word := fmt.Sprintf("word-%dx", i)
				id, err := table.Intern(word)
				if err != nil || table.TextOf(id) != word {
					t.Errorf("%q is %q, %v", word, table.TextOf(id), err)
				}
				fromBytes, err := table.InternBytes([]byte(word))
				if err != nil || fromBytes != id {
					t.Error(fromBytes, id, err)
				}
				site, err := table.Site(Place{Func: id, Line: 3})
				if err != nil || table.PlaceOf(site).Func != id {
					t.Error(table.PlaceOf(site), err)
				}
				ids[w], sites[w] = append(ids[w], id), append(sites[w], site)
			}
		})
	}
	all.Wait()
	for w := range workers {
		if fmt.Sprint(ids[w], sites[w]) != fmt.Sprint(ids[0], sites[0]) {
			t.Fatalf("worker %d has other ids", w)
		}
	}
	if len(table.Texts()) != words+1 || len(table.Places()) != words+1 {
		t.Error(len(table.Texts()), len(table.Places()))
	}
}
