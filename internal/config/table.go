package config

import (
	"fmt"
	"time"
)

// table names every setting, in the order in which they are documented.
var table = []entry{
	integer("ring.capacity_events", func(s *Settings) *int { return &s.Ring.CapacityEvents }, 1<<17, 1, 1<<28, fixed,
		"Events that the ring between the sources and the workers holds, in full batches."),
	choice("ring.overflow", func(s *Settings) *string { return &s.Ring.Overflow },
		[]string{OverflowBlock, OverflowDropNewest, OverflowDropOldest}, fixed,
		"What a full ring does: make the source wait, or drop and count."),

	integer("batch.events_min", func(s *Settings) *int { return &s.Batch.EventsMin }, 16, 1, 1<<16, live,
		"Events, about, that a live source puts in a batch when little happens. What has come is handed over at once, however little it is."),
	integer("batch.events_max", func(s *Settings) *int { return &s.Batch.EventsMax }, 512, 1, 1<<16, live,
		"Events, about, that a source puts in a batch under load, and that the import of a file puts in one."),

	integer("intake.workers_min", func(s *Settings) *int { return &s.Intake.WorkersMin }, 1, 1, 256, live,
		"Workers before the correlator, at least."),
	integer("intake.workers_max", func(s *Settings) *int { return &s.Intake.WorkersMax }, 4, 1, 256, live,
		"Workers before the correlator, at most."),
	size("intake.data_bytes_max", func(s *Settings) *Bytes { return &s.Intake.DataBytesMax }, 16*KiB, 256, 16*MiB, fixed,
		"A longer payload of an event is cut, visibly."),
	list("intake.redact_keys", func(s *Settings) *[]string { return &s.Intake.RedactKeys }, []string{RedactBuiltIn}, 32, fixed, checkPattern,
		"Regular expressions; the value of a key that matches one is taken out before anything is stored. `built-in` stands for the patterns that are built in; an empty list takes nothing out."),
	size("intake.rejects_bytes_max", func(s *Settings) *Bytes { return &s.Intake.RejectsBytesMax }, 16*MiB, 64*KiB, 1*TiB, fixed,
		"The file of inputs that could not be used."),

	integer("write.workers_min", func(s *Settings) *int { return &s.Write.WorkersMin }, 1, 1, 256, live,
		"Workers that encode blocks, at least."),
	integer("write.workers_max", func(s *Settings) *int { return &s.Write.WorkersMax }, 4, 1, 256, live,
		"Workers that encode blocks, at most."),

	integer("retry.tries", func(s *Settings) *int { return &s.Retry.Tries }, 3, 1, 20, live,
		"How often a batch is tried on which a worker fails, before it goes to the dead letters."),
	duration("retry.backoff_min", func(s *Settings) *time.Duration { return &s.Retry.BackoffMin }, 5*time.Millisecond, 0, 10*time.Second, live,
		"The pause before the second try. It doubles from try to try."),
	duration("retry.backoff_max", func(s *Settings) *time.Duration { return &s.Retry.BackoffMax }, 200*time.Millisecond, 0, 10*time.Second, live,
		"The longest pause before a try."),
	size("retry.dead_letters_bytes_max", func(s *Settings) *Bytes { return &s.Retry.DeadLettersBytesMax }, 64*MiB, 64*KiB, 1*TiB, fixed,
		"The file of batches on which workers failed again and again."),

	duration("correlate.lateness", func(s *Settings) *time.Duration { return &s.Correlate.Lateness }, time.Second, 0, time.Hour, fixed,
		"How far behind the highest event time an event may come and still be put in its place."),
	size("correlate.memory_bytes_max", func(s *Settings) *Bytes { return &s.Correlate.MemoryBytesMax }, 128*MiB, 1*MiB, 1*TiB, fixed,
		"What the correlator may hold of open calls, unmatched messages and waiting events. What is evicted is counted."),

	duration("store.block_interval", func(s *Settings) *time.Duration { return &s.Store.BlockInterval }, 4*time.Millisecond, 100*time.Microsecond, 10*time.Second, fixed,
		"A block that is not full is closed when it is so old."),
	duration("store.commit_interval", func(s *Settings) *time.Duration { return &s.Store.CommitInterval }, 10*time.Millisecond, 100*time.Microsecond, time.Hour, fixed,
		"Between two syncs to the disk, while there is something to sync."),
	size("store.segment_bytes_max", func(s *Settings) *Bytes { return &s.Store.SegmentBytesMax }, 256*MiB, 1*MiB, 1*GiB, fixed,
		"A segment is closed before it grows beyond."),
	size("store.undurable_bytes_max", func(s *Settings) *Bytes { return &s.Store.UndurableBytesMax }, 64*MiB, 1*MiB, 1*TiB, fixed,
		"Blocks in memory that are not on the disk yet. Beyond it the flow waits."),
	size("store.table_bytes_max", func(s *Settings) *Bytes { return &s.Store.TableBytesMax }, 64*MiB, 64*KiB, 256*MiB, fixed,
		"The string table of a recording: names of functions, files, streams, channels. Beyond it new names are refused."),

	optional(duration("retain.age_max", func(s *Settings) *time.Duration { return &s.Retain.AgeMax }, 0, time.Minute, 36500*day, fixed,
		"Segments are removed whose last event is older.")),
	optional(size("retain.bytes_max", func(s *Settings) *Bytes { return &s.Retain.BytesMax }, 0, 1*MiB, 1024*TiB, fixed,
		"The oldest segments are removed while all of them hold more.")),

	duration("query.deadline", func(s *Settings) *time.Duration { return &s.Query.Deadline }, time.Minute, time.Millisecond, 24*time.Hour, live,
		"A query that takes longer is ended; it says so."),
	size("query.memory_bytes_max", func(s *Settings) *Bytes { return &s.Query.MemoryBytesMax }, 256*MiB, 1*MiB, 1*TiB, live,
		"What one query may hold of groups, quantiles and sets."),

	choice("pressure.loss", func(s *Settings) *string { return &s.Pressure.Loss }, []string{LossNever, LossSample, LossShed}, fixed,
		"What may be lost of live sources when the flow does not keep up: nothing, they wait; whole correlations behind the correlator; or events too, at the ring, by their value. What is lost is counted and leaves gaps. Files always wait."),
	optional(size("pressure.disk_room_bytes_min", func(s *Settings) *Bytes { return &s.Pressure.DiskRoomBytesMin }, 64*MiB, 1*MiB, 1024*TiB, fixed,
		"With less room on the disk the pressure is critical, with less than twice as much high, with less than four times as much elevated.")),
	optional(size("memory.bytes_max", func(s *Settings) *Bytes { return &s.Memory.BytesMax }, 0, 64*MiB, 1024*TiB, fixed,
		"Anonymous and shared resident memory of the process. The bounds of the ring, the correlator, the store and of queries are brought down to their shares of it.")),

	list("server.listen", func(s *Settings) *[]string { return &s.Server.Listen }, []string{"127.0.0.1:7071"}, 16, fixed, checkAddress,
		"Where the server listens: host:port, or unix:path. An address that other machines can reach needs TLS and authentication."),
	list("server.http", func(s *Settings) *[]string { return &s.Server.HTTP }, nil, 4, fixed, checkHTTPAddress,
		"Where metrics, health, questions over HTTP and profiles are: host:port. Without one they are nowhere."),
	text("server.tokens", func(s *Settings) *string { return &s.Server.Tokens }, fixed,
		"The file of tokens (`pastcone token`). With one, who comes over TCP or HTTP needs a token or a certificate."),
	text("server.tls_cert", func(s *Settings) *string { return &s.Server.TLSCert }, fixed,
		"The server's certificate, PEM. With one, TCP and HTTP are TLS."),
	text("server.tls_key", func(s *Settings) *string { return &s.Server.TLSKey }, fixed,
		"The key of that certificate, PEM."),
	text("server.tls_client_ca", func(s *Settings) *string { return &s.Server.TLSClient }, fixed,
		"Certificates of those who sign the certificates that clients must show, PEM. A client's roles are its organizational units."),
	integer("server.connections_max", func(s *Settings) *int { return &s.Server.ConnectionsMax }, 64, 1, 1<<16, fixed,
		"Connections at a time; as many again over HTTP."),
	integer("server.client_connections_max", func(s *Settings) *int { return &s.Server.ClientConnectionsMax }, 64, 1, 1<<16, live,
		"Connections of one client (a token, a certificate, or an address) at a time."),
	optional(size("server.client_bytes_max", func(s *Settings) *Bytes { return &s.Server.ClientBytesMax }, 0, 64*KiB, 1*TiB, live,
		"Bytes of events that one client may send in a second. Beyond it the server does not read from it for a while.")),
	optional(integer("server.client_queries_max", func(s *Settings) *int { return &s.Server.ClientQueriesMax }, 100, 1, 1_000_000, live,
		"Questions that one client may ask in a second. Those beyond it are refused.")),

	duration("drain.deadline", func(s *Settings) *time.Duration { return &s.Drain.Deadline }, 30*time.Second, 0, 24*time.Hour, live,
		"At a stop, what was accepted is finished within this time; what is left then is counted."),

	choice("log.format", func(s *Settings) *string { return &s.Log.Format }, []string{"text", "json"}, fixed,
		"How the server writes its log."),
	choice("log.level", func(s *Settings) *string { return &s.Log.Level }, []string{"info", "debug", "warn", "error"}, live,
		"What the server writes to its log, at least."),
}

// pairs are the settings of which the first must not be more than the second.
var pairs = [][2]string{
	{"batch.events_min", "batch.events_max"},
	{"batch.events_max", "ring.capacity_events"},
	{"intake.workers_min", "intake.workers_max"},
	{"write.workers_min", "write.workers_max"},
	{"retry.backoff_min", "retry.backoff_max"},
	{"store.segment_bytes_max", "retain.bytes_max"},
}

// byKey finds an entry.
var byKey = func() map[string]*entry {
	m := make(map[string]*entry, len(table))
	for i := range table {
		e := &table[i]
		if m[e.key] != nil {
			panic(fmt.Sprintf("config: %s is in the table twice", e.key))
		}
		m[e.key] = e
	}
	return m
}()

// Defaults gives the settings that apply when nothing is set.
func Defaults() *Settings {
	s := &Settings{}
	for i := range table {
		table[i].reset(s)
	}
	return s
}
