// Package correlate works out which event caused which: batches go in, blocks of correlated events come out.
//
//	wire.Batch ──► order ──► match ──► judge ──► emit ──► wire.Block
//	               waits     who met   parent,   ids,
//	                         whom      founder   rows
//
// In the plan's words it is the component EventCorrelator. The rules of causality that it follows are in
// ARCHITECTURE.md and, sentence by sentence, in testdata/*.txt; the worked example in testdata settles what words leave
// open. Package oracle says the same slowly, and judges this package on made-up programs.
//
// # Outline
//
// A [Correlator] belongs to one goroutine, and is the only place that gives out ids.
//
//  1. [Correlator.Add] takes a batch, run by run. A record whose turn it is in its stream is handled at once; others are
//     parked in their stream, by seq (order.go), and what they promise to others is noted, so that who waits for it need
//     not give up (match.go).
//  2. To handle an event is to gather what it meets: the spawn of its stream, its send, the close, the release, what it
//     refers to (match.go; what meets first in, first out: queue.go). If something has not come, the stream waits for
//     that one thing, in the list of the end where the two would meet (ends.go); nothing is ever looked for again.
//  3. Then the rules give its parent, its founder and its further edges (judge.go), from what its stream is doing: a stack
//     of open calls (stream.go) with the work taken on in them (context.go). It gets its id and its row (emit.go).
//  4. What the event is to others (a send, a close, a release, a spawn, a name) opens its end. Who waits there goes on; who was
//     emitted without it gets a late edge.
//  5. Behind the batch the high-water mark of event time moves on, and the waits that are over are ended, the earliest
//     first. What has not come by then is missing: a hole in a stream becomes a gap event (loss.go), a cause a gap edge.
//  6. If more is held than the bound of memory allows, the earliest waits are ended early, and idle streams are put away
//     (memory.go). Both are counted.
//
// # Invariants
//
//   - Ids are dense, ascend in the order of emission, and a cause's is smaller than its effect's, late edges aside.
//   - The events of a stream are emitted in the order of their seqs; a hole between two is one gap event.
//   - Each event that came is emitted once or rejected once; a batch is done when all of its events are, and its last row
//     has left with its block.
//   - A stream waits for one thing at a time. It has a limit in the heap of its source, or what it waits for is parked in a
//     stream that has one, directly or through others. So nothing waits for ever, not even in a circle.
//   - What is emitted does not depend on the order of arrival within the lateness, nor on how the input is cut into batches:
//     an event is handled when everything that it meets has been, or can not come any more.
//   - Nothing that is labelled exact is wrong. Facts about a stream that a loss has made doubtful are beliefs, with
//     three-valued logic (info.go): only what holds whichever way they are is exact.
//   - Memory is bounded: by Options.MemoryBytesMax, whatever comes.
//
// # Waiting
//
// A wait of a live source is over when the high-water mark of all sources is more than the lateness beyond the time of the
// event that waits, or when that event arrived longer ago than that; of a finite source, when the source ends. All
// that one event needs has the same limit, and so has the hole in front of it. What is parked elsewhere is not missing: it is
// waited for beyond the limit, since its own stream has one.
//
// A global reference (event.GlobalRef) is waited for up to the lateness by a finite source, too: the process that has it may never
// be recorded. Who ends a source asks [Correlator.Drains] before. Once some source refers to others, the waits of all live sources
// are ended in one order, since who goes on late takes part in its source's order of time.
//
// Who meets in the order of time (time, stream, seq) is known when nothing earlier can come any more: so a receive without
// ordinal and message id, and an acquire without ordinal, are decided when their wait is over, in that same order. Two cases are
// decided at once: both ends of a message name each other, and a lock is known to have ordinals. Where both are named there is but one
// sender and one receiver, each in an order of its own: whatever else may come, the first send that is left is the one, and
// that is exact. Where one end is not named it can not be known yet: of a receive that names its sender another stream's receive,
// which comes later and was earlier, may have had that send; of a send that names its receiver another stream's send may have
// been before it. That only one stream has used an end so far says nothing about who will. So these wait, and are exact when the wait is
// over, if there was but one sender and one receiver till then. Clocks differ, so a send that
// seems to be later than its receive, by no more than the lateness, can be the one.
//
// A finite source can have more to meet in order than fits until it ends. If its events have come in the order of time so far,
// but for the lateness, what is behind is then decided early, as of a live source, and inferred. What must be forgotten all the same
// is counted in its place: as many receives are gaps, and none gets what is another's. So it is with whole queues, when there are too
// many keys; and when there are too many to count even that, everybody who meets in order at a key that was forgotten finds a gap.
//
// Any first event may turn out to be spawned, also one that is no start: so it waits for a spawn, and a stream that nobody
// spawned begins late by the lateness. [Correlator.MarksStarts] spares sources that always mark starts that wait, and [Correlator.Spawns] those whose spawns are all
// known before.
//
// # Readings
//
// Where the rules can be read in several ways, this is how they are read here.
//
//   - A gap event's parent is the context of its stream, inferred; at the beginning of a stream it is the spawn, and it takes the
//     place of the first event. Its time is that of the event behind it: the earliest that is known not to be before what was lost.
//   - A source may declare a gap itself: an event of kind gap, with data.lost. Its time is the source's.
//   - A stream that goes on after its state is gone (resumed, put away, or gone on after its exit) begins with a gap that has
//     lost nothing; what it was doing is unknown.
//   - The first event that opens an end keeps it: of two closes of a channel, two names, two spawns of a stream the first counts. A
//     send with an ordinal is used up by its receive; a message id, a close, a release or a name can be met by many.
//   - The message of a missing send may be of the correlation that the stream is in: so a receive that would not take it on by
//     rule 2 or 3 keeps its context, but inferred, until the next message that is surely taken on, or in calls opened later.
//   - In the same way a receive that perhaps took on work leaves a doubt in its call, and in its callers when it returns, which the
//     close of that channel takes away again.
//   - An explicit cause that is not found makes the parent, which is then the context, inferred and the correlation a gap: the
//     event may belong elsewhere. A first event that was not spawned is taken for a span: it has no parent, as has a root.
//   - A global reference that no source has is no loss, since the other side need not be recorded: no gap edge. A root has no
//     parent then, and founds work, unless a root call is open in its stream; any other event has its context. Both are inferred: the
//     other side may be recorded, and late or lost. Of two events with the same global name the first that is emitted keeps it.
//   - A root whose global cause is background founds work, unless a root call is open: another process asks for it.
//   - What a receive or an acquire came from left no record, if its source says so (unseen): that is a gap at once, also if something
//     with its ordinal or id is there. It takes part in no order: it neither uses up a send nor counts as an acquire of a lock
//     without ordinals. Its stream is one of those that use the lock all the same.
//   - A root call behind a gap may be inside a root call that was lost: that it founds work is inferred. Inside one that was
//     opened behind the gap it is certain that a root call is open.
//   - A return that refers to its call has it as parent wherever it is; it closes it if it is open in its own stream, with all that
//     is open inside.
//   - Calls beyond Options.DepthMax are emitted, but not tracked: what happens inside them is inferred, and they are counted.
//   - An event that comes again is a duplicate; one whose place was declared a gap is too late. Of the last 64 gaps of a stream
//     the places are known, also when it is over or was put away; what comes for an older one counts as a duplicate. Streams that are
//     over are known by their last seq, and, when there are too many, only by name: then every event of theirs is rejected as one
//     of a stream that was over. So is what comes for a stream that was over if the places of its gaps are known no more.
//   - Late edges are given whenever the cause comes while its end still knows that it owes them. They are not checked for circles: in
//     a program that really ran there are none.
package correlate
