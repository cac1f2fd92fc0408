package correlate

import (
	"math"
	"sort"

	"github.com/pastcone/pastcone/internal/wire"
)

// What meets first in, first out: messages without an ordinal or an id, and locks without ordinals.
//
// "FIFO goes by (time, stream, seq)": so a receive can be decided when nothing earlier can come any more,
// that is, when its wait is over, in event time, arrival time, or at the end of a finite source. Waits are
// ended in that same order, so receives are decided in it. Sends enter their queue when they arrive, not when
// they are emitted; a receive that gets one which still waits in its own stream reserves it.
//
// One case is decided at once: both ends name each other, and no unnamed send could come between. The sends
// of one stream to another are emitted in the order of that stream, so the first is the first.
//
// Queues of the same key: one for each receiver that senders name, and one for the sends that name nobody. The
// latter also knows who uses the key at all: a match is exact only with one sender and one receiver, or if
// both name each other, and if nothing that the queue knows is in doubt.

type queueKey struct {
	source uint32
	lock   bool
	key    wire.Name
	to     wire.Name // the receiver that the sends name; 0: none
}

// offer is a send or a release in a queue.
type offer struct {
	info     // id 0 while it waits in its stream
	time     int64
	stream   wire.Name
	seq      uint64
	holder   uint32 // the stream that it waits in
	reserved uint32 // the stream that it is for
	lost     uint32 // not 0: this stands for so many offers that were forgotten, up to time, stream, seq
	mixed    bool   // of those: they are of more than one stream
	since    int64  // of those: the time of the first
}

// free says whether an offer may be forgotten: it is nobody's, and no promise.
func (o *offer) free() bool { return o.lost != 0 || o.id != 0 && o.reserved == 0 }

// from gives the time of an offer, the earliest if it stands for many.
func (o *offer) from() int64 {
	if o.lost != 0 {
		return o.since
	}
	return o.time
}

// swallow makes o, which is free, stand for the offer behind or before it, too.
func (o *offer) swallow(p *offer) {
	n, m := uint64(max(o.lost, 1)), uint64(max(p.lost, 1))
	*o = offer{
		lost: uint32(min(n+m, math.MaxUint32)), mixed: o.mixed || p.mixed || o.stream != p.stream, // #nosec G115 -- bounded
		since: min(o.from(), p.from()), time: o.time, stream: o.stream, seq: o.seq,
	}
}

type queue struct {
	queueKey
	offers             []offer // by time, stream, seq
	all                []offer // the memory of offers: they are taken off its front
	waiters            uint32  // streams that wait for an offer, or to hear that the lock has ordinals
	senders, receivers party   // of the key; of a lock, its users are the senders
	acquires           uint64  // of a lock, decided so far
	ordinals           bool    // of a lock: it has some
	tainted            bool    // some match was not what it should be, or may not have been
}

// party is the streams at one end of a key: none, one or many.
type party struct {
	first wire.Name
	many  bool
}

func (p *party) join(name wire.Name) {
	if p.first == 0 {
		p.first = name
	} else if p.first != name {
		p.many = true
	}
}

// search gives where an offer is, or would be.
func (c *Correlator) search(q *queue, time int64, name wire.Name, seq uint64) (at int, is bool) {
	at = sort.Search(len(q.offers), func(i int) bool {
		o := &q.offers[i]
		switch {
		case o.time != time:
			return o.time > time
		case o.stream != name:
			return c.compareNames(o.stream, name) > 0
		}
		return o.seq >= seq
	})
	if at < len(q.offers) {
		o := &q.offers[at]
		is = o.time == time && o.stream == name && o.seq == seq
	}
	return at, is
}

// queueOfSend gives the queue of a send without ordinal and id, and notes who uses the key.
func (c *Correlator) queueOfSend(src *source, s *stream, r *wire.Record) *queue {
	all := c.queues.of(queueKey{src.index, false, r.Key, 0})
	all.senders.join(s.name)
	if r.Peer == 0 {
		return all
	}
	return c.queues.of(queueKey{src.index, false, r.Key, r.Peer})
}

func (c *Correlator) lockOf(src *source, r *wire.Record) *queue {
	return c.queues.of(queueKey{src.index, true, r.Key, 0})
}

// offers puts an event into its queue: when it arrives, if it has to wait (id 0), and when it is emitted.
func (c *Correlator) offer(q *queue, s *stream, r *wire.Record, i *info) {
	at, is := c.search(q, r.Time, s.name, r.Seq)
	if !is {
		o := offer{time: r.Time, stream: s.name, seq: r.Seq}
		switch {
		case at < len(q.offers) && q.offers[at].lost != 0: // among those that were forgotten
			if i.id != 0 {
				q.offers[at].swallow(&o)
				c.queues.forgotten++
			}
			return
		case i.id != 0 && c.queues.offers >= c.queues.offersMax && !c.queues.squeeze(q):
			c.queues.lose(q, at, &o)
			return
		}
		c.queues.insert(q, at, &o)
	} else if i.id != 0 && c.queues.offers > c.queues.offersMax && q.offers[at].reserved == 0 && !c.queues.squeeze(q) {
		// A promise is kept however many there are: what waits is bounded. Once it is none, it is one of too many.
		o := offer{time: r.Time, stream: s.name, seq: r.Seq}
		q.take(c, at)
		c.queues.lose(q, at, &o)
		return
	}
	o := &q.offers[at]
	o.info, o.holder = *i, 0
	if i.id == 0 {
		o.holder = s.index
		return
	}
	if s.has(gapped) {
		q.tainted = true
	}
	switch {
	case o.reserved != 0:
		c.wake(c.at(o.reserved))
	case q.to != 0:
		c.wakeAll(&q.waiters)
	}
}

func (t *queues) insert(q *queue, at int, o *offer) {
	t.room(q)
	q.offers = append(q.offers, offer{})
	copy(q.offers[at+1:], q.offers[at:])
	q.offers[at] = *o
	t.offers++
}

// When there are too many offers, some are forgotten, but not how many they were, and where: what stands for
// them lies in the queue in their place, and as many receives find nothing. So those behind meet whom they
// should.

// lose forgets a new offer, which belongs at that place: what lies beside it comes to stand for both.
func (t *queues) lose(q *queue, at int, o *offer) {
	q.tainted = true
	t.forgotten++
	t.looked++
	t.lastLost++
	switch {
	case at > 0 && q.offers[at-1].free():
		p := &q.offers[at-1]
		if p.lost == 0 {
			t.forgotten++
		}
		o.swallow(p)
		*p = *o
	case at < len(q.offers) && q.offers[at].free():
		t.forgotten++
		q.offers[at].swallow(o)
	default: // only between promises, or in a queue that is empty: there are not many of these
		o.lost, o.since = 1, o.time
		t.insert(q, at, o)
	}
}

// squeeze makes room for a queue that is not long itself: the longest forgets what it may. It is false if
// there is no room. It looks for the longest only once in as many calls as there are queues.
func (t *queues) squeeze(q *queue) bool {
	if len(q.offers) >= t.offersMax/4 || t.lastLost < len(t.young)+len(t.old) {
		return false
	}
	t.lastLost = 0
	var longest *queue
	for _, m := range []map[queueKey]*queue{t.young, t.old} {
		for _, p := range m {
			if longest == nil || len(p.offers) > len(longest.offers) || len(p.offers) == len(longest.offers) && p.before(longest) {
				longest = p
			}
		}
		t.looked += uint64(len(m))
	}
	if longest == nil || longest == q {
		return false
	}
	t.looked += uint64(len(longest.offers))
	kept := longest.offers[:0]
	for i := range longest.offers {
		o := longest.offers[i]
		if n := len(kept); n > 0 && o.free() && kept[n-1].free() {
			if o.swallow(&kept[n-1]); kept[n-1].lost == 0 {
				t.forgotten++
			}
			if longest.offers[i].lost == 0 {
				t.forgotten++
			}
			kept[n-1] = o
			continue
		}
		kept = append(kept, o)
	}
	longest.tainted = true
	t.offers -= len(longest.offers) - len(kept)
	longest.offers = kept
	return t.offers < t.offersMax
}

func (q *queue) before(o *queue) bool {
	if q.key != o.key {
		return q.key < o.key
	}
	return q.source < o.source || q.source == o.source && (q.to < o.to || q.to == o.to && q.lock && !o.lock)
}

// missed notes that somebody met what was forgotten: one less is to be met. Whether a certain stream's was
// among those of many is not known.
func (q *queue) missed(c *Correlator, at int, from wire.Name) {
	q.tainted = true
	o := &q.offers[at]
	if o.lost == math.MaxUint32 || o.mixed && from != 0 {
		return
	}
	if o.lost--; o.lost == 0 {
		q.take(c, at)
	}
}

// withdraw takes an offer back that turned out to be a duplicate.
func (c *Correlator) withdraw(q *queue, s *stream, r *wire.Record) {
	at, is := c.search(q, r.Time, s.name, r.Seq)
	if !is || q.offers[at].id != 0 || q.offers[at].holder != s.index {
		return
	}
	if by := q.offers[at].reserved; by != 0 {
		c.wake(c.at(by))
	}
	q.take(c, at)
}

// room makes room for one more offer, where there is most: in front of them or behind.
func (t *queues) room(q *queue) {
	if len(q.offers) == cap(q.offers) {
		if n := cap(q.all); 2*len(q.offers) > n || n == 0 {
			t.resize(q, max(offersLeast, 2*len(q.offers)))
		} else {
			q.offers = q.all[:copy(q.all, q.offers)]
		}
	}
}

// resize gives a queue memory for so many offers.
func (t *queues) resize(q *queue, n int) {
	t.arrays += n - cap(q.all)
	q.all = make([]offer, n)
	q.offers = q.all[:copy(q.all, q.offers)]
}

func (q *queue) take(c *Correlator, i int) (o offer) {
	o = q.offers[i]
	if i == 0 { // the usual case: no copying
		q.offers = q.offers[1:]
	} else {
		q.offers = append(q.offers[:i], q.offers[i+1:]...)
	}
	c.queues.offers--
	// Memory for more is kept for those to come, unless it is dear.
	if n := cap(q.all); c.queues.arrays > c.queues.offersMax && n > offersKept && 8*len(q.offers) < n {
		c.queues.resize(q, n/2)
	}
	return o
}

// reserved gives what a stream has reserved.
func (q *queue) reserved(stream uint32) *offer {
	for i := range q.offers {
		if q.offers[i].reserved == stream {
			return &q.offers[i]
		}
	}
	return nil
}

// from gives the first offer that is nobody's, of that stream if it is given, and not after that time; -1 if
// there is none.
func (q *queue) from(name wire.Name, until int64) int {
	if q == nil {
		return -1
	}
	for i := range q.offers {
		if o := &q.offers[i]; o.from() > until {
			return -1
		} else if o.reserved == 0 && (name == 0 || o.stream == name || o.mixed) {
			return i
		}
	}
	return -1
}

// until gives up to which time an offer can be the cause of an event: clocks differ, so it may seem to be
// after it, but not beyond what would come while the event waits.
func (c *Correlator) until(src *source, r *wire.Record) int64 {
	if src.finite && !c.early || r.Time > math.MaxInt64-c.lateness {
		return math.MaxInt64
	}
	return r.Time + c.lateness
}

// meetFIFO finds the send of a receive that has neither ordinal nor id. It is false if the receive has to
// wait.
func (c *Correlator) meetFIFO(src *source, s *stream, b *wire.Batch, r *wire.Record) bool {
	all := c.queues.of(queueKey{src.index, false, r.Key, 0})
	all.receivers.join(s.name)
	mine := c.queues.find(queueKey{src.index, false, r.Key, s.name})
	if s.has(gapped) {
		all.tainted = true
		if mine != nil {
			mine.tainted = true
		}
	}
	q, at := c.reservation(s, mine, all)
	switch {
	case q != nil:
		// While it waited for this one, an earlier one of the same sender may have come, too late but in its place.
		if i := q.from(q.offers[at].stream, math.MaxInt64); i >= 0 && i < at && !q.offers[i].mixed {
			q.offers[at].reserved = 0
			s.flags &^= reserves
			at = i
		}
	case r.Peer != 0 && c.pair(mine, all, r.Peer) >= 0:
		q, at = mine, c.pair(mine, all, r.Peer)
	case !s.has(overdue):
		if r.Peer != 0 {
			mine = c.queues.of(queueKey{src.index, false, r.Key, s.name})
			c.awaitsQueue(src, s, b, r, mine)
			return false
		}
		s.wait.queue = all
		c.awaits(src, s, b, r, waitTime)
		return false
	default:
		q, at = c.earliest(mine, all, r.Peer, c.until(src, r))
	}
	c.want(meetSend, token{})
	if q == nil {
		all.tainted = true
		if mine != nil {
			mine.tainted = true
		}
		return true
	}
	if q.offers[at].lost != 0 {
		all.tainted = true
		q.missed(c, at, r.Peer)
		return true
	}
	if q.offers[at].id == 0 {
		return c.reserve(src, s, b, r, q, at)
	}
	if c.evicting {
		q.tainted, all.tainted = true, true
	}
	s.flags &^= reserves
	named := r.Peer != 0 && q.to != 0
	o := q.take(c, at)
	exact := !q.tainted && (named || !all.tainted && !all.senders.many && !all.receivers.many)
	c.met(meetSend, &o.info, !exact)
	c.queues.tidy(q)
	c.queues.tidy(all)
	return true
}

// pair gives the offer that can be decided at once: both ends name each other, it is emitted, and the sender
// has sent nothing to anyone. -1 if there is none.
func (c *Correlator) pair(mine, all *queue, from wire.Name) int {
	if all.from(from, math.MaxInt64) >= 0 {
		return -1
	}
	if i := mine.from(from, math.MaxInt64); i >= 0 && mine.offers[i].id != 0 {
		return i
	}
	return -1
}

// earliest gives the first offer of two queues that is nobody's.
func (c *Correlator) earliest(mine, all *queue, from wire.Name, until int64) (q *queue, at int) {
	i, j := mine.from(from, until), all.from(from, until)
	switch {
	case i < 0 && j < 0:
		return nil, 0
	case i < 0:
		return all, j
	case j < 0:
		return mine, i
	}
	a := &mine.offers[i]
	if at, _ := c.search(all, a.time, a.stream, a.seq); at > j {
		return all, j
	}
	return mine, i
}

func (c *Correlator) reservation(s *stream, both ...*queue) (*queue, int) {
	if !s.has(reserves) {
		return nil, 0
	}
	for _, q := range both {
		if q == nil {
			continue
		}
		for i := range q.offers {
			if q.offers[i].reserved == s.index {
				return q, i
			}
		}
	}
	return nil, 0
}

// reserve makes an offer that still waits in its stream this stream's. It is false: the stream has to wait.
// Where the two wait for one another it is true, and the offer is missing.
func (c *Correlator) reserve(src *source, s *stream, b *wire.Batch, r *wire.Record, q *queue, at int) bool {
	q.offers[at].reserved = s.index
	s.flags |= reserves
	s.wait.queue = q
	c.awaits(src, s, b, r, waitTime)
	if c.circle(s, q.offers[at].holder) {
		q.offers[at].reserved = 0
		s.flags &^= reserves
		q.tainted = true
		c.unwait(s)
		return true
	}
	c.unheap(s)
	return false
}

// meetLock finds the release that let in an acquire without an ordinal: "where a lock uses none, the k-th
// acquire follows the release k-1". It is false if the acquire has to wait.
func (c *Correlator) meetLock(src *source, s *stream, b *wire.Batch, r *wire.Record) bool {
	q := c.lockOf(src, r)
	if q.ordinals {
		return true // it waited for nobody
	}
	q.senders.join(s.name)
	q.tainted = q.tainted || s.has(gapped)
	own, at := c.reservation(s, q)
	if own == nil {
		if !s.has(overdue) {
			c.awaitsQueue(src, s, b, r, q)
			return false
		}
		q.tainted = q.tainted || c.evicting
		if q.acquires++; q.acquires == 1 {
			return true
		}
		if at = q.from(0, c.until(src, r)); at < 0 {
			q.tainted = true
			c.want(meetRelease, token{})
			return true
		}
	}
	c.want(meetRelease, token{})
	if q.offers[at].lost != 0 {
		q.missed(c, at, 0)
		return true
	}
	if q.offers[at].id == 0 {
		return c.reserve(src, s, b, r, q, at)
	}
	s.flags &^= reserves
	o := q.take(c, at)
	c.met(meetRelease, &o.info, q.tainted || q.senders.many)
	return true
}

// awaitsQueue makes a stream wait until it is woken by a queue.
func (c *Correlator) awaitsQueue(src *source, s *stream, b *wire.Batch, r *wire.Record, q *queue) {
	s.wait.queue, s.wait.before, s.wait.after = q, 0, q.waiters
	if q.waiters != 0 {
		c.at(q.waiters).wait.before = s.index
	}
	q.waiters = s.index
	c.awaits(src, s, b, r, waitQueue)
}

// usesOrdinals notes that a lock has ordinals: those of its acquires that have none waited for nobody.
func (c *Correlator) usesOrdinals(src *source, r *wire.Record) {
	if q := c.lockOf(src, r); !q.ordinals {
		q.ordinals = true
		for i := range q.offers {
			if by := q.offers[i].reserved; by != 0 {
				c.wake(c.at(by))
			}
		}
		c.queues.offers -= len(q.offers)
		c.queues.resize(q, 0)
		c.wakeAll(&q.waiters)
	}
}
