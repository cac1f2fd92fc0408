// Package protocol is the language between a server that records and the programs that talk to it: event
// sources and askers, over a unix socket or loopback TCP. It knows frames and messages; what they
// bring about is the business of internal/server and of client.
//
// docs/protocol tells every byte, and a test holds that document and this package together. The package
// probe speaks the same language with an encoder of its own, since it imports only the standard library.
//
// The flow, both ways at once:
//
//	client                                server
//	Hello ─────────────────────────────►
//	       ◄───────────────────────────── Welcome
//	Batch 1, Batch 2, Lines 3 ─────────►
//	       ◄───────────────────────────── Ack 2, Ack 1       durable, in any order
//	       ◄───────────────────────────── Refused 3          with a reason; the others go on
//	Query 1 ───────────────────────────►
//	       ◄───────────────────────────── Answer 1, …, AnswerEnd 1
//	End ───────────────────────────────►
//	       ◄───────────────────────────── Ended
//
// Every number that comes from the other side is bounded before anything is allocated for it.
//
// In the plan's words this belongs to the Ingestor.
package protocol
