package instrument

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheRegister(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ids")
	open := func() *register {
		t.Helper()
		r, err := openRegister(path)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	give := func(r *register, key string, want uint32) {
		t.Helper()
		if id, err := r.id(key); err != nil || id != want {
			t.Errorf("%s has id %d (%v), want %d", key, id, err, want)
		}
	}
	save := func(r *register) {
		t.Helper()
		if err := r.save(); err != nil {
			t.Fatal(err)
		}
	}
	r := open()
	give(r, "a", firstID)
	give(r, "b", firstID+1)
	give(r, "a", firstID)
	save(r)
	save(r) // nothing new

	// A line that was not finished when the machine stopped was given to nobody.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("hal")
	f.Close()
	r = open()
	give(r, "c", firstID+2)
	save(r)
	if text := read(t, "", path); text != "a\nb\nc\n" {
		t.Errorf("the file: %q", text)
	}

	// A file with a key twice is not to be trusted: everything begins anew.
	write(t, "", path, "a\nb\na\n")
	r = open()
	give(r, "b", firstID)
	save(r)
	if text := read(t, "", path); text != "b\n" {
		t.Errorf("the file: %q", text)
	}

	// When most ids are of what is gone, they begin anew.
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "k%d\n", i)
	}
	write(t, "", path, b.String())
	r = open()
	r.begin(2000)
	give(r, "k4999", firstID+4999)
	r.begin(1000)
	give(r, "k4999", firstID)
	if r.next() != firstID+1 {
		t.Errorf("next is %d", r.next())
	}

	// There is an end to it.
	for i := range uint32(idsMax) {
		r.ids[fmt.Sprint(i)] = i
	}
	if _, err := r.id("one more"); err == nil || !strings.Contains(err.Error(), "--exclude") {
		t.Errorf("too many: %v", err)
	}
	if _, err := openRegister(t.TempDir()); err == nil {
		t.Error("a directory is no register")
	}
}

func TestFlags(t *testing.T) {
	flags := []string{"-tags", "a,b", "-race", "--overlay=x.json", "-trimpath=false", "-overlay", "y.json"}
	if v, ok := flagValue(flags, "overlay"); !ok || v != "y.json" {
		t.Errorf("overlay: %q, %t", v, ok)
	}
	if v, ok := flagValue(flags, "tags"); !ok || v != "a,b" {
		t.Errorf("tags: %q, %t", v, ok)
	}
	if _, ok := flagValue(flags, "mod"); ok {
		t.Error("-mod is not there")
	}
	if !flagSet(flags, "race") || flagSet(flags, "trimpath") || flagSet(flags, "msan") {
		t.Error("flags without a value")
	}
	if got := strings.Join(withoutFlag(flags, "overlay"), " "); got != "-tags a,b -race -trimpath=false" {
		t.Errorf("without -overlay: %s", got)
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"example.com/a/...", "example.com/a", true},
		{"example.com/a/...", "example.com/a/b/c", true},
		{"example.com/a/...", "example.com/ab", false},
		{"example.com/a", "example.com/a/b", false},
		{"...", "anything/at.all", true},
		{"orders.(*Queue)...", "orders.(*Queue).Push", true},
		{"orders.(*Queue)...", "orders.Queue.Push", false},
		{"orders.(*Queue).*", "orders.(*Queue).Push", true},
		{"orders.(*Queue).*", "orders.(*Queues).Push", false},
		{"orders.(*Queue).Push", "orders.(BigQueue).Push", false},
		{"orders.*", "orders.(*Queue).Push", true},
		{"orders.*", "reorders.Push", false},
		{"orders.(...).Push", "orders.(*Queue).Push", true},
		{"orders.Get*", "orders.GetAll", true},
		{"x, example.com/b", "example.com/b", true},
		{"a.b", "aXb", false},
	} {
		if got := anyMatches(newPatterns([]string{c.pattern}), c.name); got != c.want {
			t.Errorf("%s matches %s: %t", c.pattern, c.name, got)
		}
	}
}

func TestSymbolsOfPaths(t *testing.T) {
	for path, want := range map[string]string{
		"example.com/shop":     "example.com/shop",
		"gopkg.in/yaml.v3":     "gopkg.in/yaml%2ev3",
		"example.com/a%b/\x7f": "example.com/a%25b/%7f",
	} {
		if got := symbolPath(path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}
