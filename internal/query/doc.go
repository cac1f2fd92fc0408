// Package query answers questions about a recording: which events match (find), why one happened
// (why), what it led to (future), and how two are related (relate).
//
//	text ──Parse──► Query ──plan──► Prune, predicates, sets ──Run──► hits, in the order of ids
//
// A query in text borrows TraceQL's syntax (docs/query.md). [Parse] checks it wholly, so that what is
// wrong is pointed at, character by character, before anything is read. The plan turns every condition
// that all matches must satisfy into a [wire.Prune], which lets the reader leave blocks out, and the
// rest into predicates over columns, which read only the columns that they need, the cheap ones first.
// [Run] works on several blocks at a time and gives the answers in the order of ids.
//
// The causal operators (>> << > <) are exact: they take the whole closure of happens-before, which is
// one pass over the ids, because a cause's id is smaller than its effect's (see cone.go, also for the
// late edges that break this rule).
//
// Nothing here grows with the size of the answer: hits are streamed, sorts keep the best, groups are
// counted up to a bound and then together, quantiles come from a sketch with a known error. An answer
// that was cut off by a limit, a deadline or a budget says so, and why.
//
// The package reads through [Reader], which it declares itself; a recording satisfies it. In the plan's
// words it is the QueryCoordinator.
package query
