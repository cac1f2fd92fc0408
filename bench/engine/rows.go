package main

import (
	"fmt"
	"time"
)

// unit says how a figure is shown.
type unit uint8

const (
	plain    unit = iota
	rate          // events/s
	nanos         // a time, in ns
	perEvent      // ns an event
	size          // bytes, as MB
	small         // bytes
	percent
	times // a ratio
)

func (u unit) show(v float64) string {
	switch u {
	case rate:
		switch {
		case v >= 1e6:
			return fmt.Sprintf("%.2f M/s", v/1e6)
		case v >= 1e3:
			return fmt.Sprintf("%.1f k/s", v/1e3)
		}
		return fmt.Sprintf("%.0f /s", v)
	case nanos:
		d := time.Duration(v)
		switch {
		case d >= time.Second:
			return fmt.Sprintf("%.2f s", v/1e9)
		case d >= time.Millisecond:
			return fmt.Sprintf("%.2f ms", v/1e6)
		}
		return fmt.Sprintf("%.1f µs", v/1e3)
	case perEvent:
		return fmt.Sprintf("%.1f ns", v)
	case size:
		return fmt.Sprintf("%.0f MB", v/1e6)
	case small:
		return fmt.Sprintf("%.1f B", v)
	case percent:
		return fmt.Sprintf("%.0f %%", v)
	case times:
		return fmt.Sprintf("%.2f ×", v)
	case plain:
	}
	return fmt.Sprintf("%.0f", v)
}

// bound says on which side of the promise a figure must lie.
type bound uint8

const (
	shown   bound = iota // nothing was promised
	atLeast              // ≥
	atMost               // ≤
	below                // <
)

func (b bound) holds(v, limit float64) bool {
	switch b {
	case atLeast:
		return v >= limit
	case atMost:
		return v <= limit
	case below:
		return v < limit
	case shown:
	}
	return true
}

func (b bound) String() string { return [...]string{"", "≥ ", "≤ ", "< "}[b] }

// row is a line of the table.
type row struct {
	section string // begins one, if set
	what    string
	key     string    // of the figure; or
	over    [2]string // the ratio of two
	unit    unit
	bound   bound
	limit   float64
	aim     float64 // 0: none
	against string  // figure to compare with, from the same run
	name    string  // of what it is compared with
	orCut   string  // figure that is 1 when the answer said that it was cut off, which is as good
}

const (
	ms        = float64(time.Millisecond)
	flatBytes = 10e6 // by which memory that is called flat may grow
)

// rows are the table. The promises are those of the project's first issue and of the plan.
var rows = []row{
	{section: "Record: batches → correlated → durable, group commit of 10 ms", what: "events/s on %d cores", key: "events/s", unit: rate, bound: atLeast, limit: 5e6, aim: 9e6, against: "pebble events/s", name: "Pebble"},
	{what: "events/s on 1 core", key: "one core: events/s", unit: rate},
	{what: "1 → %d cores", over: [2]string{"events/s", "one core: events/s"}, unit: times, bound: atLeast, limit: 1.6},
	{what: "processor time an event", key: "cpu ns", unit: perEvent, against: "pebble cpu ns", name: "Pebble"},
	{what: "events/s that this processor time allows on %d cores that are free", key: "cpu events/s", unit: rate},
	{what: "of it, making the events", key: "generator ns", unit: perEvent},
	{what: "on disk, an event (everything in the directory)", key: "bytes", unit: small, bound: atMost, limit: 20, against: "pebble bytes", name: "Pebble"},
	{what: "anonymous memory, highest (batches under way included)", key: "memory", unit: size, bound: atMost, limit: 250e6},
	{what: "events lost", key: "loss", bound: atMost},

	{section: "At 1 M events/s", what: "rate that was kept", key: "paced rate", unit: rate, bound: atLeast, limit: 0.99e6},
	{what: "accepted → durable, p50", key: "paced durable p50", unit: nanos, bound: below, limit: 10 * ms},
	{what: "accepted → durable, p99", key: "paced durable p99", unit: nanos, bound: below, limit: 30 * ms},
	{what: "accepted → readable from the head, p50", key: "paced queryable p50", unit: nanos},
	{what: "accepted → readable from the head, p99", key: "paced queryable p99", unit: nanos, bound: below, limit: 10 * ms},
	{what: "ring → correlated, mean", key: "paced correlated mean", unit: nanos},
	{what: "ring → correlated, p50", key: "paced correlated p50", unit: nanos},
	{what: "ring → correlated, p99", key: "paced correlated p99", unit: nanos},
	{what: "anonymous memory, highest", key: "paced memory", unit: size},

	{section: "Ask: the recording of above, reopened", what: "open", key: "open", unit: nanos},
	{what: "by id, p50", key: "by id p50", unit: nanos},
	{what: "by id, p99", key: "by id p99", unit: nanos, bound: below, limit: 0.3 * ms},
	{what: "`{ id = … }`, p50", key: "query by id p50", unit: nanos},
	{what: "`{ id = … }`, p99", key: "query by id p99", unit: nanos},
	{what: "why, a chain of 50 with rows, p50", key: "why of 50 p50", unit: nanos},
	{what: "why, a chain of 50 with rows, p99", key: "why of 50 p99", unit: nanos, bound: below, limit: 5 * ms},
	{what: "a correlation of 100, p50", key: "correlation of 100 p50", unit: nanos},
	{what: "a correlation of 100, p99", key: "correlation of 100 p99", unit: nanos, bound: below, limit: 1 * ms},
	{what: "children, p50", key: "children p50", unit: nanos},
	{what: "children, p99", key: "children p99", unit: nanos, bound: below, limit: 0.5 * ms},
	{what: "time + function, 1,000 found, p50", key: "time and function p50", unit: nanos},
	{what: "time + function, 1,000 found, p99", key: "time and function p99", unit: nanos, bound: below, limit: 25 * ms},
	{what: "count and p99 by function, over all, p50", key: "aggregate p50", unit: nanos},
	{what: "count and p99 by function, over all, p99", key: "aggregate p99", unit: nanos, bound: below, limit: 400 * ms},
	{what: "`>>` one event, p99", key: ">> p99", unit: nanos, bound: below, limit: 1000 * ms, orCut: ">> cut"},
	{what: "`<<` one event, p99", key: "<< p99", unit: nanos, bound: below, limit: 1000 * ms, orCut: "<< cut"},
	{what: "`>>` of two large sets, p99", key: ">> of all p99", unit: nanos, bound: below, limit: 1000 * ms, orCut: ">> of all cut"},
	{what: "`<<` of two large sets, p99", key: "<< of all p99", unit: nanos, bound: below, limit: 1000 * ms, orCut: "<< of all cut"},

	{section: "Open after kill -9 of a process at full speed", what: "for writing (recovery), nothing in the page cache", key: "open after kill, cold", unit: nanos, bound: below, limit: 1000 * ms},
	{what: "for reading, nothing in the page cache", key: "read after kill, cold", unit: nanos, bound: below, limit: 1000 * ms},
	{what: "for reading, from the page cache", key: "read after kill", unit: nanos, bound: below, limit: 1000 * ms},
	{what: "acknowledged events that were missing", key: "lost after kill", bound: atMost},

	{section: "Parts", what: "ring hand-off, 4 producers, chunks of 256 filled and read, an event", key: "ring ns", unit: perEvent, bound: below, limit: 10, against: "channel ns", name: "Go channel"},
	{what: "Go channel, 4 producers, an event at a time", key: "channel ns", unit: perEvent},
	{what: "correlator alone, processor time an event", key: "correlate ns", unit: perEvent, bound: below, limit: 25},
	{what: "one stream without an end: events", key: "one stream: events", bound: atLeast, limit: endlessEvents},
	{what: "one stream: processor time an event, made and correlated", key: "one stream: ns", unit: perEvent},
	{what: "one stream: anonymous memory, highest", key: "one stream: memory", unit: size},
	{what: "one stream: above the highest of its first third", key: "one stream: memory grown", unit: size, bound: atMost, limit: flatBytes},
	{what: "short streams: streams", key: "short streams: streams", bound: atLeast, limit: 1_000_000},
	{what: "short streams: processor time an event, made and correlated", key: "short streams: ns", unit: perEvent},
	{what: "short streams: anonymous memory, highest", key: "short streams: memory", unit: size},
	{what: "short streams: above the highest of the first third", key: "short streams: memory grown", unit: size, bound: atMost, limit: flatBytes},
	{what: "baseline: ring → store without the correlator", key: "baseline events/s", unit: rate},
	{what: "share of the baseline with the correlator", over: [2]string{"events/s", "baseline events/s"}, unit: times},
	{what: "an intake worker (check, redact), while it works", key: "intake events/s a worker", unit: rate},
	{what: "a write worker (encode a block), while it works", key: "write events/s a worker", unit: rate},
	{what: "worker start, slowest of 320", key: "worker start max", unit: nanos, bound: below, limit: 1 * ms},
	{what: "recovery of a crashed worker, slowest of 15", key: "recovery max", unit: nanos, bound: below, limit: 1000 * ms},

	{section: "Sources", what: "event lines, file → durable", key: "lines/s", unit: rate, bound: atLeast, limit: 1e6},
	{what: "event lines, reader alone", key: "lines/s, reader alone", unit: rate},
	{what: "processor time a line, file → durable", key: "lines cpu ns", unit: perEvent},
	{what: "bytes a line", key: "bytes a line", unit: small},
	{what: "Go trace, share of the bare x/exp/trace reader's speed", key: "trace share", unit: percent, bound: atLeast, limit: 60},
	{what: "Go trace events/s, read", key: "trace events/s", unit: rate, against: "trace bare events/s", name: "x/exp/trace"},
	{what: "Go trace, processor time an event (two goroutines: reading, building)", key: "trace cpu ns", unit: perEvent, against: "trace bare cpu ns", name: "x/exp/trace"},
	{what: "Go trace events/s, read → durable", key: "trace whole events/s", unit: rate},

	{section: "References, in the same run", what: "Pebble, three indexes, events/s", key: "pebble events/s", unit: rate},
	{what: "Pebble, processor time an event", key: "pebble cpu ns", unit: perEvent},
	{what: "Pebble, on disk, an event", key: "pebble bytes", unit: small},

	{section: "The plan's own targets", what: "sustained: rate that was kept", key: "sustained rate", unit: rate, bound: atLeast, limit: 9_900},
	{what: "sustained: accepted → readable, mean", key: "sustained queryable mean", unit: nanos, bound: below, limit: 10 * ms},
	{what: "sustained: accepted → durable, mean", key: "sustained durable mean", unit: nanos},
	{what: "sustained: anonymous memory", key: "sustained memory", unit: size, bound: below, limit: 500e6},
	{what: "sustained: events lost", key: "sustained loss", bound: atMost},
	{what: "peak: rate that was kept", key: "burst rate", unit: rate, bound: atLeast, limit: 19_800},
	{what: "peak: accepted → readable, mean", key: "burst queryable mean", unit: nanos, bound: below, limit: 10 * ms},
	{what: "peak: events lost", key: "burst loss", bound: atMost},
	{what: "correlation query (why of 50), p99", key: "why of 50 p99", unit: nanos, bound: below, limit: 10 * ms},
	{what: "correlation time an event", key: "correlate ns", unit: perEvent, bound: below, limit: 5e6},
	{what: "worker start", key: "worker start max", unit: nanos, bound: below, limit: 100 * ms},
	{what: "events/s a worker (the slower kind)", key: "write events/s a worker", unit: rate, bound: atLeast, limit: 1000},
	{what: "memory at full speed", key: "memory", unit: size, bound: below, limit: 500e6},
}
