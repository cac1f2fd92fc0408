// Package capture is what a recorded Go program and its collector agree on: the bytes of the ring in the memory that they
// share, and the records in it.
//
//	recorded program ──records──► ring (shared memory) ──chunks──► collector ──► capture file ──► source/capture
//
// The ring is a file that the launcher makes and maps, and that the program maps at its start. It has a header, a state for
// each chunk, a state for each function, a table of what was silenced, and the chunks. Each P of the program writes into a
// chunk of its own, without a lock; the collector empties chunks and frees them. Since the memory is the kernel's, nothing
// that was written is lost when the program is killed.
//
// A record is 32 bytes, four words. Its second word, which says what it is, is stored last, so that a record that was not
// finished reads as absent. Each record belongs to one stream (a goroutine, or a timer) and carries the low bits of its
// sequence number there: order within a stream never rests on clocks, and what was lost shows.
//
// The other half of the agreement is Go source that is added to the program's runtime (internal/instrument/patch); a test
// there holds the constants of both equal. docs/format/ring.md describes every byte.
//
// In the plan's words the ring is the RingBuffer of Layer 1.
package capture

// Magic begins a ring, in the byte order of all of it: little-endian.
const Magic = 0x01_474e_4952_4350 // "PCRING\0" and a 1, read as a number

// Version is the version of this layout.
const Version = 1

// The header's fields, as offsets. All are of 8 bytes unless the name says 32.
const (
	OffMagic          = 0
	OffVersion32      = 8
	OffPolicy32       = 12
	OffChunkBytes32   = 16
	OffChunks32       = 20
	OffFunctions32    = 24 // number of entries in the function tables; function ids are below it
	OffPs32           = 28 // number of rows in the silence table: Ps beyond it share the last one
	OffChunkStates    = 32 // offset of the chunk states, 4 bytes each
	OffFunctionStates = 40 // offset of the function states, 1 byte each
	OffSilence        = 48 // offset of the silence table: Ps rows of Functions entries of 16 bytes: calls, ticks
	OffChunkData      = 56 // offset of the first chunk
	OffOwner32        = 64 // process id of the program; set by compare-and-swap from 0: the first process to come owns the ring
	OffCollector32    = 68 // process id of the collector
	OffBeat           = 72 // CLOCK_MONOTONIC ns, stored by the collector at least every 100 ms; the program takes a beat older than BeatStaleNanos for the collector's death
	OffOn32           = 80 // not 0: record; the collector can switch it off and on. Each time that it is on again it has another number, so that the program knows what it did not see
	OffEnd32          = 84 // how the program ended: the End constants; 0 while it runs, and after SIGKILL
	OffExitCode32     = 88
	OffClock32        = 92 // Clock constants; set by the program
	OffTextStart      = 96 // address of the program's first instruction (runtime.text): places are relative to it
	OffTextEnd        = 104
	OffStartTicks     = 112 // the program's clock at its start,
	OffStartUnix      = 120 // and the time then, ns since the Unix epoch
	OffCursor         = 128 // chunks taken so far: the order of a chunk is the value after its taking
	OffDropped        = 136 // records that policy drop lost, or that had no P to write with
	OffOverwritten    = 144 // records in chunks that policy overwrite took again (collector never saw them)
	OffBlockedNanos   = 152 // time that the program waited for a free chunk
	OffGoroutines     = 160 // goroutines started so far
	OffLocksForgotten = 168 // releases that left no record and no trace for want of room in the lock table: acquires behind them are not recorded, either
	OffEndSignal32    = 176 // signal that ended it, if the runtime saw it
	OffAcquiresLeft   = 184 // acquires that were left out of a range longer than RangeMax
	OffTimedTicks     = 192 // ticks that the program took for what it timed of its own recording: one of TimedEvery records, and of TimedEvery silent calls
	OffTimed          = 200 // how many it timed
	HeaderBytes       = 4096
)

// What the program does when no chunk is free.
const (
	PolicyBlock     = 0 // wait: lossless; if the collector dies the program goes on without recording
	PolicyDrop      = 1 // lose the record, count it; the stream's sequence number goes on, so the gap shows
	PolicyOverwrite = 2 // take the oldest full chunk again: the flight recorder
)

// States of a chunk.
const (
	ChunkFree    = 0 // all zero; set by the collector (the program zeroes what it overwrites)
	ChunkWriting = 1 // a P writes in it; what is complete can be read
	ChunkFull    = 2 // the program will not touch it again
)

// States of a function, set by the collector.
const (
	FunctionOn     = 0
	FunctionSilent = 1 // calls are counted in the silence table and leave no record; every 16th is timed, its ticks times 16 added
)

// How a program ended.
const (
	EndExit  = 1
	EndPanic = 2
	EndFatal = 3
)

// Clocks.
const (
	ClockTSC    = 1
	ClockCNTVCT = 2
	ClockNanos  = 3 // nanotime of the runtime, where there is no counter to read
)

// BeatStaleNanos is how old the collector's beat gets before the program goes on without it.
const BeatStaleNanos = 2_000_000_000

// TimedEvery is of how many records, and calls that are counted only, the program times one, so that one can say what it costs to be
// recorded: OffTimedTicks times this. Where time is not read from the processor's counter nothing is timed.
const TimedEvery = 1024

// Chunks.
const (
	ChunkBytes       = 64 << 10
	ChunkHeaderBytes = 32 // order (8), P (4), reserved (20)
	RecordBytes      = 32
	ChunkRecords     = (ChunkBytes - ChunkHeaderBytes) / RecordBytes
)

// A record is four words:
//
//	w0  time, in ticks of the program's clock
//	w1  kind:8 | seq:16 | stream:40    (kind in the low byte; stored last)
//	w2  a:32 | b:32                    (a in the low half)
//	w3  c:64
//
// seq is the low 16 bits of the event's number in its stream, from 1. stream is the goroutine's id, or for KindTimer… the
// timer's. pc is relative to TextStart, 0 if unknown; it is a return address. A channel or lock is a 48-bit number: its low
// 32 bits in a, its high 16 bits in the high 16 bits of c, above a 48-bit ordinal.
//
// A record with values is followed by value records in the same chunk:
//
//	w1  KindValue:8 | type:8 | index:8 | more:8 | size:32   w0, w2, w3: the value, or the first 24 bytes of a text
//	w1  KindText:8 | …0                                      w0, w2, w3: the next 24 bytes of the text
//
// size is the text's size before it was cut to TextBytesMax; more is the number of value records that follow this value
// (texts' own continuations not counted). Values have no number in the stream. The event's own w1 is stored after theirs.
const (
	KindCall            = 1  // a function; values: arguments
	KindCallRoot        = 2  // the same, a root; values: method and path of a request, name of a test
	KindReturn          = 3  // a function; b: Return flags; values: results
	KindSpawn           = 4  // b pc of the go statement; c the child
	KindStart           = 5  // b pc of the function's entry; c the parent goroutine (0: none, or a timer's)
	KindExit            = 6  //
	KindSend            = 7  // channel, b pc, ordinal
	KindSendEmpty       = 8  // the same, of an element of size zero
	KindReceive         = 9  // channel, b pc, ordinal
	KindReceiveEmpty    = 10 // the same, of size zero or discarded
	KindReceiveClosed   = 11 // channel, b pc
	KindClose           = 12 // channel, b pc
	KindAcquire         = 13 // lock, b pc, ordinal of the release that let it in
	KindAcquireInferred = 14 // the same, where the lock's memory may have been another's since that release
	KindAcquireRange    = 15 // a lock (32 bits), b pc, c last ordinal:40 | count:24 (low 24 bits): one acquire for each of the count releases up to last; takes count numbers in the stream, the record has that of the first
	KindRelease         = 16 // lock, b pc, ordinal
	KindNotify          = 17 // b pc; wakes waiters of a condition: has a ref
	KindWake            = 18 // a low 32 bits of the full number of the waker's event, b pc, c the waker goroutine
	KindTimerSet        = 19 // stream: the goroutine that sets it. b pc, c timer:40 | number of this setting:24 (low 24 bits)
	KindTimerSend       = 20 // stream: the timer. channel, b number of the setting that it follows (its low 24 bits are those of KindTimerSet), ordinal
	KindTimerSpawn      = 21 // stream: the timer. b number of the setting that it follows, c the child
	KindPanic           = 22 // b pc; values: the text
	KindRecover         = 23 // b pc
	KindError           = 24 // a function, b ErrorNew, ErrorWrapped or ErrorPassed, c identity of the error; values: the text (not of ErrorPassed)
	KindState           = 25 // a site, c address of the value; values: old, new
	KindQueueSend       = 26 // a function, c identity of the element
	KindQueueReceive    = 27 // a function, c identity of the element
	KindSignal          = 28 // b pc; values: the signal's name; a signal was delivered to the program
	KindLog             = 29 // b pc; values: the text
	KindTraceOut        = 30 // b pc; values: one text of 24 bytes, trace id (16) and span id (8) as they are written; a request left with this causal context
	KindTraceIn         = 31 // the same; a request came with this causal context. The root call that serves it is the next event of the stream
	KindAcquireUnseen   = 32 // as KindAcquire, but the release (of a range: some) left no record, and will not come. values: the goroutine that released (0: unknown), and the number of the last event that it had left then
	KindProbe           = 33 // b pc; values: pieces of one text, an event of package probe: what its event line has from its kind on
	KindValue           = 0xFE
	KindText            = 0xFD
	KindPad             = 0xFF // the rest of the chunk is not used
)

// Flags of a return.
const (
	ReturnError    = 1 // the last result was an error that is not nil
	ReturnPanicked = 2 // the function was unwound by a panic or by runtime.Goexit
)

// What happened to an error.
const (
	ErrorNew     = 0 // seen for the first time in this goroutine's present chain of returns
	ErrorWrapped = 1 // another error, whose chain holds the one seen before
	ErrorPassed  = 2 // the same again, one caller up
)

// Types of a value.
const (
	ValueInt    = 1
	ValueUint   = 2
	ValueFloat  = 3
	ValueBool   = 4
	ValueString = 5
	ValueError  = 6 // the error's text
	ValueNil    = 7
	ValuePtr    = 8 // address only
	ValueOther  = 9 // the type's name as text
)

// RangeMax bounds the acquires of one KindAcquireRange: those of the last releases.
const RangeMax = 4096

// TextBytesMax bounds each text.
const TextBytesMax = 240

// Environment variable that names the ring's file to the program.
const EnvRing = "PASTCONE_RING"
