package config

import "time"

// Settings is everything that can be set. Its fields are those of the table; units come last in names. A *Settings that
// came from Live.Load is never changed.
type Settings struct {
	Ring      Ring
	Batch     Batch
	Intake    Intake
	Write     Workers
	Retry     Retry
	Correlate Correlate
	Store     Store
	Retain    Retain
	Query     Query
	Pressure  Pressure
	Memory    Memory
	Server    Server
	Drain     Drain
	Log       Log
}

// Ring is the queue between the sources and the workers.
type Ring struct {
	CapacityEvents int
	Overflow       string // OverflowBlock, OverflowDropNewest or OverflowDropOldest
}

// What a full ring does.
const (
	OverflowBlock      = "block"
	OverflowDropNewest = "drop-newest"
	OverflowDropOldest = "drop-oldest"
)

// Batch is what sources put together.
type Batch struct {
	EventsMin int
	EventsMax int
}

// Workers are the bounds of a pool.
type Workers struct {
	WorkersMin int
	WorkersMax int
}

// Intake is the work before correlation.
type Intake struct {
	Workers
	DataBytesMax    Bytes
	RedactKeys      []string // regular expressions; RedactBuiltIn stands for those that are built in
	RejectsBytesMax Bytes
}

// RedactBuiltIn stands, in Intake.RedactKeys, for the patterns that are built in.
const RedactBuiltIn = "built-in"

// Redact gives the patterns, with those that are built in where they are asked for.
func (i Intake) Redact(builtIn []string) []string {
	all := []string{} // not nil: no patterns is an answer too
	for _, p := range i.RedactKeys {
		if p == RedactBuiltIn {
			all = append(all, builtIn...)
		} else {
			all = append(all, p)
		}
	}
	return all
}

// Retry is what workers do with a batch that fails.
type Retry struct {
	Tries               int
	BackoffMin          time.Duration
	BackoffMax          time.Duration
	DeadLettersBytesMax Bytes
}

// Correlate is how causes are looked for.
type Correlate struct {
	Lateness       time.Duration
	MemoryBytesMax Bytes
}

// Store is how a recording is written.
type Store struct {
	BlockInterval     time.Duration
	CommitInterval    time.Duration
	SegmentBytesMax   Bytes
	UndurableBytesMax Bytes
	TableBytesMax     Bytes
}

// Retain is what is kept; 0 is no bound.
type Retain struct {
	AgeMax   time.Duration
	BytesMax Bytes
}

// Query bounds an answer.
type Query struct {
	Deadline       time.Duration
	MemoryBytesMax Bytes
}

// Pressure is what is done when the flow does not keep up.
type Pressure struct {
	Loss             string // LossNever, LossSample or LossShed
	DiskRoomBytesMin Bytes
}

// What may be lost under pressure.
const (
	LossNever  = "never"
	LossSample = "sample"
	LossShed   = "shed"
)

// Memory is what the process may use; 0 is no bound.
type Memory struct {
	BytesMax Bytes
}

// Server is where events and questions are taken.
type Server struct {
	Listen    []string
	HTTP      []string // of metrics, health and profiles
	Tokens    string   // file of tokens
	TLSCert   string
	TLSKey    string
	TLSClient string // who signs the certificates of clients

	ConnectionsMax       int   // in all
	ClientConnectionsMax int   // of one client
	ClientBytesMax       Bytes // of one client in a second; 0: no bound
	ClientQueriesMax     int   // of one client in a second; 0: no bound
}

// Log is what the process says about itself.
type Log struct {
	Format string
	Level  string
}

// Drain is the end.
type Drain struct {
	Deadline time.Duration
}

// RingBatches gives how many batches the ring holds, so that full batches are as many events as were asked for.
func (s *Settings) RingBatches() int { return max(1, s.Ring.CapacityEvents/s.Batch.EventsMax) }
