package query_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
)

// understood are queries and their canonical form; they are also the seeds of the fuzzer.
var understood = []struct{ text, canonical string }{
	{`{}`, `{}`},
	{`{ kind = error && func =~ "orders\\..*" && duration > 50ms }`, `{ kind = error && func =~ "orders\\..*" && duration > 50ms }`},
	{"{func=~`orders\\..*`}", `{ func =~ "orders\\..*" }`},
	{`{ 50ms < duration }`, `{ duration > 50ms }`},
	{`{ error = kind }`, `{ kind = error }`},
	{`{ kind = "error" }`, `{ kind = error }`},
	{`{ root }`, `{ root = true }`},
	{`{ !background && !(closed || empty = false) }`, `{ !(background = true) && !(closed = true || empty = false) }`},
	{`{ duration >= 1h30m || duration < 1.5s || duration = 0 }`, `{ duration >= 1h30m0s || duration < 1.5s || duration = 0s }`},
	{`{ time > 2026-01-02T03:04:05.5Z && time <= "2026-01-03" }`, `{ time > 2026-01-02T03:04:05.5Z && time <= 2026-01-03T00:00:00Z }`},
	{`{ time > -5m }`, `{ time > -5m0s }`},
	{`{ data.bytes > 4KiB && data.bytes < 1.5MB }`, `{ data.bytes > 4096B && data.bytes < 1500000B }`},
	{`{ data.user."e-mail".0 != nil }`, `{ data.user."e-mail".0 != nil }`},
	{`{ data.ok }`, `{ data.ok = true }`},
	{`{ data.n = -1.5e3 || data.n = 1e300 || data.n = .5 }`, ``},
	{`{ data.n = -1.5e3 || data.n = 1e300 }`, `{ data.n = -1500 || data.n = 1e+300 }`},
	{`{ source = 2 || source = "demo" }`, `{ source = 2 || source = "demo" }`},
	{`{kind=send} >> {kind=error} << {root}`, `{ kind = send } >> { kind = error } << { root = true }`},
	{`({kind=send} >> {kind=error}) << {root}`, `({ kind = send } >> { kind = error }) << { root = true }`},
	{`{kind=send} !> {kind=receive} || {} && !{kind=gap} !<< {}`, `{ kind = send } !> { kind = receive } || {} && !{ kind = gap } !<< {}`},
	{`({} || {}) && !({} && {})`, `({} || {}) && !({} && {})`},
	{`{ id = 1 || (id = 2 && !(id = 3)) }`, `{ id = 1 || id = 2 && !(id = 3) }`},
	{`{ (id = 1 || id = 2) && !!root }`, `{ (id = 1 || id = 2) && !!(root = true) }`},
	{"{} | count()", "{} | count()"},
	{"{}|count(),quantile( duration,.99)by(func)", ``},
	{"{}|count(),quantile( duration,0.99)by(func)|sort(count desc)|limit(10)", "{} | count(), quantile(duration, 0.99) by (func) | sort(count() desc) | limit(10)"},
	{"{} | sum(data.bytes), avg(data.bytes), min(time), max(time) by (stream, data.user) | sort(stream)", "{} | sum(data.bytes), avg(data.bytes), min(time), max(time) by (stream, data.user) | sort(stream)"},
	{"{} | max(duration), max(seq) | sort(max(seq) asc)", "{} | max(duration), max(seq) | sort(max(seq))"},
	{"{} | sort(duration desc) | limit(3) | select(id, func, data.a)", "{} | sort(duration desc) | limit(3) | select(id, func, data.a)"},
	{"{ func = \"\\u00e4\\x41\\n\" }", `{ func = "äA\n" }`},
	{"{ duration < 3d && duration > 10µs && duration > 10μs }", "{ duration < 72h0m0s && duration > 10µs && duration > 10µs }"},
	{"  {\n  kind = error\n}\t", "{ kind = error }"},
}

func TestParseUnderstands(t *testing.T) {
	for _, c := range understood {
		if c.canonical == "" {
			continue // a seed that is wrong
		}
		q, err := query.Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := q.String(); got != c.canonical {
			t.Errorf("%s\nprints   %s\nexpected %s", c.text, got, c.canonical)
		}
		if q.Text() != c.text {
			t.Errorf("%s is not kept as it was written", c.text)
		}
	}
}

// TestParsePointsAtWhatIsWrong reads testdata/errors.txt: a query, and below it, as an error shows it, what is wrong.
func TestParsePointsAtWhatIsWrong(t *testing.T) {
	text, err := os.ReadFile("testdata/errors.txt")
	if err != nil {
		t.Fatal(err)
	}
	var fresh strings.Builder
	for _, c := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		lines := strings.SplitN(c, "\n", 2)
		asked := strings.TrimPrefix(lines[0], "> ")
		_, err := query.Parse(asked)
		var wrong *query.SyntaxError
		if !errors.As(err, &wrong) {
			t.Errorf("%s: no syntax error: %v", asked, err)
			continue
		}
		fresh.WriteString("> " + asked + "\n" + err.Error() + "\n\n")
		if len(lines) < 2 || lines[1] != err.Error() {
			t.Errorf("%s\ngives\n%v", asked, err)
		}
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile("testdata/errors.txt", []byte(strings.TrimSpace(fresh.String())+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestParseIsBounded(t *testing.T) {
	for name, text := range map[string]string{
		"a long text":              "{ func = \"" + strings.Repeat("x", 17<<10) + "\" }",
		"deep sets":                strings.Repeat("(", 3000) + "{}" + strings.Repeat(")", 3000),
		"deep conditions":          "{ " + strings.Repeat("(", 3000) + "root" + strings.Repeat(")", 3000) + " }",
		"many bangs":               strings.Repeat("!", 3000) + "{}",
		"many bangs in braces":     "{ " + strings.Repeat("!", 3000) + "root }",
		"a long chain":             "{}" + strings.Repeat(" << {}", 1500),
		"a long path":              "{ data" + strings.Repeat(".a", 100) + " = 1 }",
		"many aggregates":          "{} | count()" + strings.Repeat(", count()", 100),
		"many groups":              "{} | count() by (id, seq, time, kind, func, file, line, key, peer)",
		"a long line with a fault": "{ " + strings.Repeat("root && ", 100) + "rooot && " + strings.Repeat("root && ", 100) + " root }",
	} {
		if _, err := query.Parse(text); err == nil {
			t.Errorf("%s is accepted", name)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}

func TestEveryFieldOfAnEventLineCanBeAskedFor(t *testing.T) {
	for _, f := range event.Fields {
		name := f.Name
		switch name {
		case "data":
			name = "data.x"
		case "causes": // the relations ask for them
			continue
		}
		if _, err := query.Parse("{} | select(" + name + ")"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range understood {
		f.Add(c.text)
	}
	if text, err := os.ReadFile("testdata/errors.txt"); err == nil {
		for _, line := range strings.Split(string(text), "\n") {
			if asked, ok := strings.CutPrefix(line, "> "); ok {
				f.Add(asked)
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := query.Parse(text)
		if err != nil {
			var wrong *query.SyntaxError
			if errors.As(err, &wrong) && (wrong.Offset < 0 || wrong.Offset > len(text) || wrong.Width < 1) {
				t.Fatalf("%q: the place is %d, %d wide", text, wrong.Offset, wrong.Width)
			}
			_ = err.Error()
			return
		}
		printed := q.String()
		again, err := query.Parse(printed)
		if err != nil {
			t.Fatalf("%q prints %q, which is wrong: %v", text, printed, err)
		}
		if again.String() != printed {
			t.Fatalf("%q prints %q and then %q", text, printed, again.String())
		}
	})
}
