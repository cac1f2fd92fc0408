package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// table is the result.
type table struct {
	s       settings
	figures figures
	took    time.Duration
	machine []string
	loads   [2]string // before and after

	lines           []string
	promised, short int
}

// judge makes the lines out of the figures.
func (t *table) judge() {
	for _, r := range rows {
		line, ok := t.line(r)
		if r.section != "" {
			t.lines = append(t.lines, "| **"+r.section+"** | | | | | |")
		}
		if ok {
			t.lines = append(t.lines, line)
		}
	}
}

// line gives the line of a row, if its figure was measured.
func (t *table) line(r row) (string, bool) {
	v, least, most, ok := t.figures.of(r.key)
	if r.key == "" {
		a, _, _, okA := t.figures.of(r.over[0])
		b, _, _, okB := t.figures.of(r.over[1])
		if ok = okA && okB && b > 0; ok {
			v, least, most = a/b, a/b, a/b
		}
	}
	if !ok {
		return "", false
	}
	what := r.what
	if strings.Contains(what, "%d") {
		what = fmt.Sprintf(what, t.s.Procs)
	}
	promise, verdict := "", ""
	if r.bound != shown {
		t.promised++
		promise = r.bound.String() + r.unit.show(r.limit)
		if r.aim > 0 {
			promise += ", aim " + r.unit.show(r.aim)
		}
		verdict = "kept"
		cut, _, _, _ := t.figures.of(r.orCut)
		switch {
		case r.bound.holds(v, r.limit):
		case cut > 0:
			verdict = "kept: says that it was cut off"
		default:
			verdict = "**falls short**"
			t.short++
		}
	}
	spread := ""
	if most > least {
		spread = r.unit.show(least) + " – " + r.unit.show(most)
	}
	compared := ""
	if other, _, _, ok := t.figures.of(r.against); ok && other > 0 && v > 0 {
		if r.unit == rate || v > other {
			compared = fmt.Sprintf("%.2g × %s", v/other, r.name)
		} else {
			compared = fmt.Sprintf("1/%.1f of %s", other/v, r.name)
		}
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |", what, promise, r.unit.show(v), spread, compared, verdict), true
}

// text gives the table as Markdown.
func (t *table) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Engine, %s\n\n", time.Now().UTC().Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&b, "Command: `go run ./bench/engine %s`\n\n", strings.Join(os.Args[1:], " "))
	for _, line := range t.machine {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	fmt.Fprintf(&b, "- load average before %s, after %s; all of it took %v\n", t.loads[0], t.loads[1], t.took.Round(time.Second))
	fmt.Fprintf(&b, "- %d M events, medians of %d runs, GOMAXPROCS %d; 1 M/s for %v, 10,000/s for %v, 20,000/s for %v\n\n",
		t.s.Events/1_000_000, t.s.Runs, t.s.Procs, t.s.Paced, t.s.Sustained, t.s.Burst)
	b.WriteString("| what | promised | measured (median) | least – most | against | |\n|---|---|---|---|---|---|\n")
	for _, line := range t.lines {
		b.WriteString(line + "\n")
	}
	fmt.Fprintf(&b, "\n%d of %d promises are kept.\n", t.promised-t.short, t.promised)
	return b.String()
}
