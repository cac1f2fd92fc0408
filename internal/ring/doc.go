// Package ring is the bounded queue between two stages of the flow: a ring of slots that several producers and
// several consumers use without a lock.
//
//	source ──► ring ──► pipeline ──► correlate ──► store ──► query
//
// What travels through it are batches, never single events: the cost of a hand-over is paid once for some hundred
// events. A full ring does what its [Policy] says, and says what it did: [Block] makes the producer wait, which is
// how back-pressure reaches the source; [DropNewest] refuses what comes; [DropOldest] makes room for it. Whatever is
// dropped goes to the owner's callback exactly once, so that it can be put on the books and leave a gap in its stream.
//
// # How it works
//
// Positions count from 0 and only grow; position p uses slot p mod capacity. A slot's state says whose turn it is:
//
//		2p      free for the producer that claims position p
//		2p + 1  holds the value of position p
//
//	 1. A producer claims the position tail: it finds the slot free for it, and moves tail on by compare-and-swap.
//	 2. It writes the value, then publishes it by setting the state to 2p+1. Never the other way round.
//	 3. A consumer claims the positions from head that are published, and moves head on by compare-and-swap.
//	 4. It takes the values out, and frees each slot for the position one round later: 2(p+capacity).
//	 5. Who finds nothing to do puts itself on the list of the parked, looks once more, and only then sleeps. Who
//	    publishes or frees looks at the number of the parked, one load, and wakes one for each slot.
//
// Invariants:
//
//   - head ≤ tail ≤ head + capacity, at every moment: a slot is free for p only after head has passed p - capacity.
//   - So tail - head = capacity, with the head read after the tail, means full at that very moment; and tail = head,
//     with the tail read after the head, means empty. A drop happens only when the ring is really full.
//   - The oldest is evicted by moving head from exactly tail - capacity: if a consumer was faster, the ring is not full
//     any more, and nothing is evicted.
//   - Closed is a bit of tail. A claim and a close exclude each other, so a consumer that sees the ring closed and empty
//     has seen the last value.
//
// No lock is taken on the way of a value; a mutex guards the list of the parked only. As in every queue of this kind
// (it is Vyukov's, with states instead of sequence numbers, so that every capacity from 1 works), a goroutine that is
// interrupted between its claim and its publication delays those behind it: they yield the processor until it is done.
//
// In the plan's words this is the RingBuffer, and its test point T1.
package ring
