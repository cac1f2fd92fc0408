// Package capture takes what a recorded Go program writes into shared memory, and makes events of it.
//
//	recorded program ──► [Ring] ──[Collect]──► capture file ──[Read]──► wire.Batch ──► source.Sink
//	                     shared     drains,      frames, each             numbers, names,
//	                     memory     beats        with a checksum          times, data
//
// The two halves are joined by a file alone. [Collect] does as little as it can, since it shares the processors with the
// program: it empties the chunks of the ring into the capture file as they are, and adds what one needs to understand them
// later without the program: the table of functions, what the program counters mean (package symbols), readings of the clock,
// counts. [Read] does the rest, while the program runs or years later: it follows a capture file that grows as well as one
// that is complete, or that is torn, since its writer was killed.
//
// Whatever is in the ring comes from another process and is not trusted: what can not be a record is rejected with its place
// and the reason, and the rest goes on. docs/format/ring.md describes the ring, docs/format/capture.md the file.
//
// # What keeps the order right
//
// Clocks are no authority. A record carries the low bits of its number in its stream, and those of one processor (a P of Go's
// scheduler) lie in the order in which they were written. Times are used for one thing, to put the records of several Ps into about
// one order, so that causes come before their effects and the missing bits of the numbers can be found; a time that is wrong by
// less than a few ten thousand events of one goroutine changes nothing.
//
//  1. The collector empties the ring in passes. It reads the program's clock before a pass, and writes that reading behind it: the
//     watermark. A record with an earlier time whose stream went on before the watermark is in the file by then, since it was
//     complete in memory before its successor could read the clock.
//  2. The reader holds what it has read by P, and merges it up to each watermark.
//  3. A record that has no cause elsewhere, and continues its stream, need not wait for the other Ps: so runs of one stream get longer.
//
// In the plan's words this is the Ingestor for Layer 1, and the reading half of its RingBuffer.
package capture
