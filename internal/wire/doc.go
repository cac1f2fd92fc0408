// Package wire holds the compact forms in which events travel between the stages, and their codec.
//
//	source ──Batch──► ring ──Batch──► pipeline ──Batch──► correlate ──Block──► store
//
// Text is interned once, in a [Table]: functions and places become a [Site], and the names of
// streams, channels and locks a [Name], which keeps a decimal tail as a number, so that a million
// streams "g1", "g2", … cost one entry. A [Batch] is a chunk of one source's events, in runs of one
// stream each; it is handed over whole, never event by event. A [Block] is what the correlator makes of them: rows in
// the order of their ids, each with its parent, correlation and further edges.
//
// Ownership moves with the hand-over: who has sent a Batch or a Block never touches it again.
//
// In the plan's words this is the component Events: the serialised event structures.
package wire
