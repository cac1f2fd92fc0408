package capture

import "github.com/pastcone/pastcone/internal/capture"

// Numbers in a stream. A record has the low 16 bits of its number. Nearly always that is the next number; if not, records were lost,
// or come a little early or late since the clocks of two processors differ.
//
// Rules, in this order:
//
//  1. The first record of a stream has the number that its low bits say; where a flight recorder has overwritten what was before,
//     a number that would claim that nothing was gets 65,536 more: that there is a gap is certain, how long it is is not.
//  2. The next number, if the bits fit. If 65,536 or more records have been lost anywhere since the stream's last, it may be as many
//     more: then it gets them, so that a gap shows.
//  3. A number up to lateMax before the next, if its time is not later than the stream's last by more than skew: it comes late.
//  4. Otherwise a later number, the next that fits: what is between was lost.
//
// Invariant: of two records of a stream, the one with the larger number was written later, unless 65,536 or more were lost between
// them, which the program counts.

const (
	lateMax    = 1024
	streamsMax = 1 << 22
	numberBits = 1 << 16
	skewNanos  = 200_000
)

// stream is what is known of a stream that has not ended.
type stream struct {
	next uint64 // its next number
	time uint64 // of its last record, in ticks
	lost uint64 // records lost anywhere, when its last was merged
}

// streamOf gives the key of a record's stream: its id, and whether it is a timer.
func streamOf(w1 uint64) uint64 {
	key := w1 >> 24
	if kind := uint8(w1); kind == capture.KindTimerSend || kind == capture.KindTimerSpawn { // #nosec G115 -- the kind is the low byte
		key |= timerBit
	}
	return key
}

const timerBit = 1 << 40

// find gives the state of a stream; nil if it is not known.
func (r *reader) find(key uint64) *stream {
	if r.lastKey == key && r.last != nil {
		return r.last
	}
	s := r.streams[key]
	if s != nil {
		r.lastKey, r.last = key, s
	}
	return s
}

// continues says that a record is the next of its stream.
func (r *reader) continues(w1 uint64) bool {
	s := r.find(streamOf(w1))
	return s != nil && uint16(s.next) == uint16(w1>>8) // #nosec G115 -- the low bits
}

// number gives the full number of a record, and counts it and the count-1 that it stands for beside. It is 0 if there are too many streams.
func (r *reader) number(w0, w1, count uint64) uint64 {
	key := streamOf(w1)
	low := w1 >> 8 & (numberBits - 1)
	s := r.find(key)
	if s == nil {
		if len(r.streams) >= streamsMax {
			return 0
		}
		s = r.newStream()
		n := low
		kind := uint8(w1) // #nosec G115 -- the kind is the low byte
		if n == 0 || n == 1 && kind != capture.KindStart && r.lostBefore {
			n += numberBits
		}
		*s = stream{n + count, w0, r.lost}
		r.streams[key] = s
		r.lastKey, r.last = key, s
		return n
	}
	ahead := (low - s.next) & (numberBits - 1)
	switch {
	case ahead == 0:
		if r.lost-s.lost >= numberBits {
			s.next += numberBits
		}
	case ahead > numberBits-lateMax && s.next > numberBits-ahead && w0 < s.time+r.skewTicks:
		return s.next - (numberBits - ahead)
	default:
		s.next += ahead
	}
	n := s.next
	s.next += count
	s.time, s.lost = max(s.time, w0), r.lost
	return n
}

func (r *reader) newStream() *stream {
	if n := len(r.streamsFree); n > 0 {
		s := r.streamsFree[n-1]
		r.streamsFree = r.streamsFree[:n-1]
		return s
	}
	const slab = 256
	many := make([]stream, slab)
	for i := 1; i < slab; i++ {
		r.streamsFree = append(r.streamsFree, &many[i])
	}
	return &many[0]
}

// forget ends a stream.
func (r *reader) forget(w1 uint64) {
	key := streamOf(w1)
	if s := r.streams[key]; s != nil {
		delete(r.streams, key)
		r.streamsFree = append(r.streamsFree, s)
		r.last = nil
	}
}
