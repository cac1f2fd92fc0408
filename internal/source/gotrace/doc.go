// Package gotrace reads Go execution traces (runtime/trace, flight recorder, /debug/pprof/trace) as events.
//
//	input ──► trace reader ──chunks──► builder ──batches──► sink
//	          goroutine of its own     the caller's goroutine
//
// Every goroutine is a stream, "g17". A trace tells when a goroutine was created, ran, waited and for
// what kind of thing, who woke it, its system calls, and what the program itself noted down with
// package runtime/trace: tasks, regions, logs. It knows no channels and no messages. Where a goroutine
// waited in a channel receive or a select, and another one woke it by sending, the waker's event is a send and
// the waking a receive, joined by a message id, and flagged as inferred. docs/format/gotrace.md has
// the whole mapping, and what is left out.
//
// # How a batch is made
//
//  1. The reader goroutine cuts the trace into chunks of trace events, in the order of the trace, which never has an
//     effect before its cause. A chunk ends early with its generation: stack ids mean something else
//     in the next one.
//  2. The builder keeps, for each goroutine that lives, what it waits for, who woke it, and which calls (system calls,
//     regions, tasks) are open in it. Each trace event moves one of these on and yields
//     up to two events. A wait yields one event when it begins and one when the goroutine runs again.
//  3. An event joins the run that its stream has in the batch, even if runs of other streams have begun since: so runs
//     get long. It does not if its cause lies in a later run: so a batch, too, has every cause before
//     its effect, and the correlator never has to park a stream.
//
// In the plan's words this is a part of the Ingestor.
package gotrace
