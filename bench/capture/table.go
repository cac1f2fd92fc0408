package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"time"
)

// row is a line of the table.
type row struct {
	name  string
	value float64
	unit  string
	least float64
	most  float64
	goal  float64 // at most; 0: nothing was promised
	aim   float64
}

// rows makes the table's lines of what was measured.
func (m *measurement) rows() (rows []row) {
	add := func(name, figure, unit string, goal, aim float64) {
		if v, ok := m.median(figure); ok {
			least, most := m.spread(figure)
			rows = append(rows, row{name, v, unit, least, most, goal, aim})
		}
	}
	derived := func(name string, v float64, unit string, goal, aim float64) {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			rows = append(rows, row{name: name, value: v, unit: unit, goal: goal, aim: aim})
		}
	}
	of := func(figure string) float64 {
		if v, ok := m.median(figure); ok {
			return v
		}
		return math.NaN()
	}
	const call = "operations: call: "
	add("enter + exit, with the call", call+"on", "ns", 30, 0)
	add("allocations of it", call+"on: allocations", "", 0.001, 0)
	derived("share of an OpenTelemetry span", of(call+"on")/of("operations: span"), "", 1.0/20, 0)
	derived("share of a runtime/trace region", of(call+"on")/of("operations: region"), "", 1.0/5, 0)
	derived("off, more than the plain call", of(call+"off")-of(call+"stock"), "ns", 12, 5)
	derived("a buffered operation, more than stock", of("operations: buffered: on")-of("operations: buffered: stock"), "ns", 25, 0)
	derived("an unbuffered operation, more than stock", of("operations: unbuffered: on")-of("operations: unbuffered: stock"), "ns", 50, 0)
	add("OpenTelemetry span, batcher, exporter that does nothing", "operations: span", "ns", 0, 0)
	add("runtime/trace region", "operations: region", "ns", 0, 0)
	for _, o := range operationsMeasured {
		for _, how := range []string{"stock", "off", "on", "drained"} {
			add(o.name+", "+how, "operations: "+o.name+": "+how, "ns", 0, 0)
		}
	}
	lost, silenced := 0.0, 0.0
	for _, w := range natsWays {
		wall, processor, n := 1.0, 1.0, 0.0
		for _, b := range natsBenchmarks {
			name := "nats: " + b.name + ": " + w.name + ": "
			if s := of(name + "slower"); !math.IsNaN(s) {
				wall, processor, n = wall*s, processor*of(name+"processor"), n+1
				_, most := m.spread(name + "lost")
				lost += most
				_, most = m.spread(name + "silenced")
				silenced = max(silenced, most)
			}
		}
		if n == 0 {
			continue
		}
		// On a machine with other work to do, who takes longer does not show in the time that passes: others wait for it.
		wall, processor = math.Pow(wall, 1/n), math.Pow(processor, 1/n)
		derived("**nats-server, "+w.name+"**: slower by time that passes or by processor time, whichever is more; geometric mean", max(wall, processor), "×", w.goal, w.aim)
		for _, b := range natsBenchmarks {
			name := "nats: " + b.name + ": " + w.name + ": "
			add(b.name+": time that passes", name+"slower", "×", 0, 0)
			add(b.name+": processor time, the recorder's too", name+"processor", "×", 0, 0)
			add(b.name+": records", name+"records", "", 0, 0)
			add(b.name+": share that the program says", name+"says", "", 0, 0)
		}
	}
	if recorded := of("nats: functions, recorded"); !math.IsNaN(recorded) {
		derived("nats-server: records lost, in all rounds", lost, "", 0.5, 0)
		derived("nats-server: functions ever silenced in a run, at most, of "+show(recorded, ""), silenced/recorded, "", 0.1, 0)
	}
	for _, name := range []string{"shop", "nats-server"} {
		add("build of "+name+", plain, empty cache", "build: "+name+": stock", "s", 0, 0)
		add("build of "+name+", to be recorded, empty cache", "build: "+name+": first", "s", 0, 0)
		add("ratio", "build: "+name+": ratio", "×", 1.25, 0)
		add("ratio of processor times", "build: "+name+": processor", "×", 0, 0)
		add("nothing changed", "build: "+name+": again", "s", 1, 0)
	}
	add("go run ./cmd/pastcone demo, fresh clone, empty caches", "demo: first", "s", 180, 0)
	add("the second time", "demo: again", "s", 10, 0)
	return rows
}

// text gives the table as Markdown.
func (m *measurement) text(loadBefore string, took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Recording Go programs, %s\n\n", time.Now().UTC().Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&b, "Command: `go run ./bench/capture %s`\n\n", strings.Join(os.Args[1:], " "))
	fmt.Fprintf(&b, "- processor: %s, %d cores; %s %s/%s\n", model(), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(&b, "- load average before %s, after %s; all of it took %v\n- medians of %d rounds in turns; %s %s\n\n",
		loadBefore, load(), took.Round(time.Second), m.rounds, natsModule, natsVersion)
	b.WriteString("| what | promised | measured | least – most | |\n|---|---|---|---|---|\n")
	kept, promised := 0, 0
	for _, r := range m.rows() {
		goal, verdict, spread := "", "", ""
		if r.goal > 0 {
			promised++
			goal, verdict = "≤ "+show(r.goal, r.unit), "**falls short**"
			if r.value <= r.goal {
				kept++
				verdict = "kept"
			}
			if r.aim > 0 {
				goal += ", aim " + show(r.aim, r.unit)
			}
		}
		if r.most > r.least {
			spread = show(r.least, r.unit) + " – " + show(r.most, r.unit)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.name, goal, show(r.value, r.unit), spread, verdict)
	}
	fmt.Fprintf(&b, "\n%d of %d promises are kept.\n", kept, promised)
	return b.String()
}

func show(v float64, unit string) string {
	text := ""
	switch {
	case math.Abs(v) >= 1e6:
		text = fmt.Sprintf("%.1f M", v/1e6)
	case math.Abs(v) >= 100:
		text = fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		text = fmt.Sprintf("%.1f", v)
	case math.Abs(v) >= 1 || v == 0 || unit != "":
		text = fmt.Sprintf("%.2f", v)
	default:
		text = fmt.Sprintf("%.4f", v)
	}
	return strings.TrimSpace(text + " " + unit)
}

// load gives the machine's load averages, model its processor.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(text)); len(f) > 2 {
		return strings.Join(f[:3], " ")
	}
	return "unknown"
}

func model() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
