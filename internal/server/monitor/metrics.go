package monitor

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// sourcesMax is how many sources have lines of their own; the sums have all.
const sourcesMax = 200

// page is a page of metrics in Prometheus' text format. A series has its head once, before its first sample.
type page struct {
	b    strings.Builder
	last string
}

// add appends a sample; labels are name, value, name, value, ….
func (p *page) add(name, kind, help string, value float64, labels ...string) {
	family := name
	if kind == "summary" {
		family = strings.TrimSuffix(strings.TrimSuffix(name, "_sum"), "_count")
	}
	if p.last != family {
		p.last = family
		fmt.Fprintf(&p.b, "# HELP %s %s\n# TYPE %s %s\n", family, help, family, kind)
	}
	p.b.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		p.b.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		p.b.WriteString(labels[i] + `="`)
		p.b.WriteString(escapeLabel(labels[i+1]))
		p.b.WriteByte('"')
	}
	if len(labels) > 0 {
		p.b.WriteByte('}')
	}
	p.b.WriteByte(' ')
	p.b.WriteString(strconv.FormatFloat(value, 'g', -1, 64))
	p.b.WriteByte('\n')
}

// labelBytesMax bounds what comes from clients, as the reasons of a source.
const labelBytesMax = 200

// escapeLabel makes any text a label's value.
func escapeLabel(text string) string {
	if len(text) > labelBytesMax {
		text = text[:labelBytesMax]
	}
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(text)
}

func gauge(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// metrics answers with everything that is counted.
func (m *Monitor) metrics(w http.ResponseWriter, _ *http.Request) {
	p := &page{}
	m.ledger(p)
	m.flow(p)
	m.line(p)
	process(p)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = io.WriteString(w, p.b.String())
}

// ledger is accepted = stored + shed + rejected + in flight, in all and by source.
func (m *Monitor) ledger(p *page) {
	books := m.o.Status().Books
	const events, help = "pastcone_events_total", "Events by what became of them since the server began: accepted = stored + shed + rejected + in flight."
	all := &books.All
	p.add(events, "counter", help, float64(all.Accepted), "state", "accepted")
	p.add(events, "counter", help, float64(all.Stored), "state", "stored")
	p.add(events, "counter", help, float64(all.Shed), "state", "shed")
	p.add(events, "counter", help, float64(all.Rejected), "state", "rejected")
	p.add("pastcone_events_in_flight", "gauge", "Events that are accepted, and neither stored nor shed nor rejected yet.", float64(all.InFlight))
	for _, reason := range slices.Sorted(maps.Keys(all.ShedBy)) {
		p.add("pastcone_events_shed_total", "counter", "Events that were shed, by reason.", float64(all.ShedBy[reason]), "reason", reason)
	}
	for _, reason := range slices.Sorted(maps.Keys(all.RejectedBy)) {
		p.add("pastcone_events_rejected_total", "counter", "Events that were rejected, by reason.", float64(all.RejectedBy[reason]), "reason", reason)
	}
	sources := books.Sources
	hidden := max(0, len(sources)-sourcesMax)
	for i := range sources[hidden:] { // the newest
		a := &sources[hidden+i]
		for _, of := range []struct {
			state string
			n     float64
		}{{"accepted", float64(a.Accepted)}, {"stored", float64(a.Stored)}, {"shed", float64(a.Shed)}, {"rejected", float64(a.Rejected)}, {"in_flight", float64(a.InFlight)}} {
			p.add("pastcone_source_events", "gauge", "Events of a source by state, since the server began.", of.n, "source", strconv.FormatUint(uint64(a.Source), 10), "state", of.state)
		}
	}
	p.add("pastcone_sources_not_shown", "gauge", "Sources that have no lines of their own here: the newest have.", float64(hidden))
}

// flow is the stages between the ring and the disk.
func (m *Monitor) flow(p *page) {
	s := m.o.Status()
	for _, l := range []struct {
		stage              string
		count              uint64
		mean, p50, p99, hi time.Duration
	}{
		{"correlated", s.Correlated.Count, s.Correlated.Mean, s.Correlated.P50, s.Correlated.P99, s.Correlated.Max},
		{"durable", s.Committed.Count, s.Committed.Mean, s.Committed.P50, s.Committed.P99, s.Committed.Max},
	} {
		const name, help = "pastcone_latency_seconds", "From an event's acceptance until it has its cause, and until it is durable."
		p.add(name, "summary", help, l.p50.Seconds(), "stage", l.stage, "quantile", "0.5")
		p.add(name, "summary", help, l.p99.Seconds(), "stage", l.stage, "quantile", "0.99")
		p.add(name, "summary", help, l.hi.Seconds(), "stage", l.stage, "quantile", "1")
		p.add(name+"_sum", "summary", help, l.mean.Seconds()*float64(l.count), "stage", l.stage)
		p.add(name+"_count", "summary", help, float64(l.count), "stage", l.stage)
	}
	type figure struct {
		name, kind, help string
		value            float64
	}
	st := &s.Intake
	for _, pool := range [...]string{"intake", "write"} {
		for _, f := range []figure{
			{"batches_queued", "gauge", "Batches that wait for the pool.", float64(st.Backlog.Batches)},
			{"queue_capacity_batches", "gauge", "Batches that may wait for the pool.", float64(st.Backlog.Cap)},
			{"workers", "gauge", "Workers of the pool.", float64(st.Workers.Now)},
			{"worker_crashes_total", "counter", "Workers of the pool that panicked.", float64(st.Workers.Crashed)},
			{"batches_dead_total", "counter", "Batches that no worker could process: they are in the dead letters.", float64(st.Batches.Dead)},
			{"retries_total", "counter", "Batches of the pool that were tried again.", float64(st.Retries)},
		} {
			p.add("pastcone_"+pool+"_"+f.name, f.kind, f.help, f.value)
		}
		st = &s.Write
	}
	for _, f := range []figure{
		{"gaps_total", "counter", "Gaps that were marked.", float64(s.Gaps)},
		{"correlator_restarts_total", "counter", "Restarts of the correlator.", float64(s.Restarts)},
		{"store_events_durable_total", "counter", "Events that were made durable.", float64(s.Store.Events)},
		{"store_bytes_written_total", "counter", "Bytes that were made durable.", float64(s.Store.Bytes)},
		{"store_commits_total", "counter", "Commits.", float64(s.Store.Commits)},
		{"store_sync_failures_total", "counter", "Writes or syncs that failed, other than for want of room.", float64(s.Store.SyncFailures)},
		{"store_segments", "gauge", "Segments.", float64(s.Store.Segments)},
		{"store_bytes", "gauge", "Bytes of all segments.", float64(s.Store.StoredBytes)},
		{"store_undurable_bytes", "gauge", "Bytes of blocks in memory that are not on the disk yet.", float64(s.Store.UndurableBytes)},
		{"store_undurable_events", "gauge", "Events in them.", float64(s.Store.UndurableEvents)},
		{"store_full", "gauge", "1: the disk is full, sources wait.", gauge(s.Store.Full)},
		{"blocked", "gauge", "1: the store takes nothing for now.", gauge(s.Blocked != "")},
		{"failed", "gauge", "1: nothing is recorded any more.", gauge(s.Failed != "")},
		{"ready", "gauge", "1: events are taken, as /readyz says.", gauge(len(m.health.unready()) == 0)},
	} {
		p.add("pastcone_"+f.name, f.kind, f.help, f.value)
	}
	if free, ok := m.health.room(m.o.Dir); ok {
		p.add("pastcone_store_free_bytes", "gauge", "Room on the file system of the recording.", float64(free))
	}
}

// line is the connections of clients.
func (m *Monitor) line(p *page) {
	s := m.o.Server()
	p.add("pastcone_connections", "gauge", "Connections that are open.", float64(s.Connections), "line", "protocol")
	p.add("pastcone_connections", "gauge", "Connections that are open.", float64(m.connections.Load()), "line", "http")
	p.add("pastcone_connections_turned_away_total", "counter", "Connections for which there was no room.", float64(s.TurnedAway), "line", "protocol")
	p.add("pastcone_connections_turned_away_total", "counter", "Connections for which there was no room.", float64(m.turnedAway.Load()), "line", "http")
	for _, f := range []struct {
		name, help string
		n          int64
	}{
		{"connections_total", "Connections of the protocol, ever.", s.Accepted},
		{"batches_total", "Batches that came.", s.Batches},
		{"batches_durable_total", "Batches that were acknowledged.", s.Durable},
		{"batches_refused_total", "Batches that were refused.", s.Refused},
		{"batches_again_total", "Batches that had come before.", s.Again},
		{"batch_bytes_total", "Bytes of batches.", s.Bytes},
		{"queries_total", "Questions over the protocol.", s.Queries},
		{"not_allowed_total", "Connections, batches and questions without a token that allows them.", s.NotAllowed},
		{"limited_total", "Connections and questions beyond what one client may have.", s.Limited},
		{"http_requests_total", "Requests.", m.requests.Load()},
		{"http_refused_total", "Requests that were refused.", m.refused.Load()},
	} {
		p.add("pastcone_"+f.name, "counter", f.help, float64(f.n))
	}
}

// process is the process itself.
func process(p *page) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	p.add("go_goroutines", "gauge", "Goroutines.", float64(runtime.NumGoroutine()))
	p.add("go_memstats_heap_alloc_bytes", "gauge", "Bytes of live objects on the heap.", float64(mem.HeapAlloc))
	p.add("go_memstats_sys_bytes", "gauge", "Bytes that the runtime has from the system.", float64(mem.Sys))
	p.add("go_gc_cycles_total", "counter", "Garbage collections.", float64(mem.NumGC))
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		p.add("process_open_fds", "gauge", "File descriptors that are open.", float64(len(fds)))
	}
}
