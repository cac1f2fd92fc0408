package pipeline

import (
	"strconv"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// What is shed at the ring, in the words of the ledger's reasons, which are followed by ": " and the kind of the event.
// The same words stand in the data of the gap that is left.
const (
	ShedLeaves = "shed under load, hot leaf calls"
	ShedCalls  = "shed under load, calls"
	ShedLogs   = "shed under load, logs and metrics"
	ShedRest   = "shed under load, everything"
	ShedSample = "sampled out under load"
)

// How a batch is made smaller, by the value of its events:
//
//  1. Calls and returns are put together within each run, like brackets. A call is a leaf if the next event of its stream is its
//     return; a function is hot if it has hotLeaves of those in the batch. Hot leaf calls go first.
//  2. Then go all calls that are over within the run: with their returns, so that no open call is left behind that
//     is over, and no return without its call. Roots stay: they found work.
//  3. Then logs and metrics.
//  4. Sends, receives, spawns, states, errors and all the rest go only where everything does.
//  5. A stretch of a stream of which all went for the same reason becomes one gap record in the place of its first event, which says how
//     many there were: so the correlator does not wait for them. At the end of a run there are two, the second for the last
//     event alone: who goes on with a recording knows a stream by the seq of its last row.
//
// Invariants: the events of a stream stay in their order; each seq of the batch is that of an event or lies in one gap; what
// was shed is booked, by kind and reason, as often as it was shed; declared gaps are no events.

// hotLeaves is how many leaf calls of a function within one batch make it hot.
const hotLeaves = 4

// shedLimits is up to where in the order of values an action sheds.
var shedReasons = [...]string{ActShedLeaves: ShedLeaves, ActShedCalls: ShedCalls, ActShedLogs: ShedLogs, ActShedRest: ShedRest}

// Shedder makes batches smaller. It is used by one goroutine at a time.
type Shedder struct {
	fate   []Action // by record; 0: it stays
	open   []int32  // calls of the run that have not returned
	leaves map[wire.Site]int
	runs   []wire.Run
	counts [len(shedReasons)][event.KindGap + 1]int
}

// Shed takes out of a batch what is worth least: what the actions up to most shed. Each reason with each kind is booked once
// with its number. It gives how many events went.
func (s *Shedder) Shed(b *wire.Batch, most Action, book func(n int, reason string)) (shed int) {
	s.judge(b, most)
	for i := range s.counts {
		s.counts[i] = [event.KindGap + 1]int{}
	}
	kept, at := b.Records[:0], 0
	s.runs = s.runs[:0]
	for _, run := range b.Runs {
		first := len(kept)
		for end := at + int(run.Len); at < end; {
			r, why := b.Records[at], s.fate[at]
			if why == 0 {
				kept = append(kept, r)
				at++
				continue
			}
			lost := 0
			for ; at < end && s.fate[at] == why && b.Records[at].Seq == r.Seq+uint64(lost); at++ { // #nosec G115 -- a count
				s.counts[why][b.Records[at].Kind]++
				lost++
			}
			shed += lost
			if at == end && lost > 1 {
				kept = append(kept, gapOf(b, &r, lost-1, shedReasons[why]))
				r, lost = b.Records[at-1], 1
			}
			kept = append(kept, gapOf(b, &r, lost, shedReasons[why]))
		}
		s.runs = append(s.runs, wire.Run{Stream: run.Stream, Len: uint32(len(kept) - first)}) // #nosec G115 -- less than before
	}
	b.Records = kept
	copy(b.Runs, s.runs)
	for why := range s.counts {
		for kind, n := range s.counts[why] {
			if n > 0 {
				book(n, shedReasons[why]+": "+event.Kind(kind).String()) // #nosec G115 -- a kind
			}
		}
	}
	return shed
}

// gapOf gives the record that stands for lost events, of which first is the first.
func gapOf(b *wire.Batch, first *wire.Record, lost int, why string) wire.Record {
	at := len(b.Arena)
	b.Arena = appendShed(b.Arena, lost, why, "")
	return wire.Record{Time: first.Time, Seq: first.Seq, Kind: event.KindGap,
		DataOff: uint32(at), DataLen: uint32(len(b.Arena) - at)} // #nosec G115 -- a batch is bounded far below 4 GiB
}

// appendShed appends the data of a gap that shedding leaves.
func appendShed(dst []byte, lost int, why, kind string) []byte {
	dst = strconv.AppendInt(append(dst, `{"lost":`...), int64(lost), 10)
	dst = append(append(append(dst, `,"shed":"`...), why...), '"')
	if kind != "" {
		dst = append(append(append(dst, `,"kind":"`...), kind...), '"')
	}
	return append(dst, '}')
}

// judge decides on each record. A batch whose runs do not add up is left alone: the correlator refuses what is wrong with it.
func (s *Shedder) judge(b *wire.Batch, most Action) {
	n := len(b.Records)
	if cap(s.fate) < n {
		s.fate = make([]Action, n)
	}
	s.fate = s.fate[:n]
	clear(s.fate)
	if s.leaves == nil {
		s.leaves = map[wire.Site]int{}
	}
	clear(s.leaves)
	total := 0
	for _, run := range b.Runs {
		total += int(run.Len)
	}
	if total != n || most < ActShedLeaves {
		return
	}
	for at := 1; at < n; at++ {
		if isLeaf(b.Records, at-1) {
			s.leaves[b.Records[at-1].Site]++
		}
	}
	at := 0
	for _, run := range b.Runs {
		end := at + int(run.Len)
		s.judgeRun(b.Records, at, end, most)
		at = end
	}
}

// isLeaf says whether a call returns with the next record. Where runs meet it may err: judgeRun does not ask there.
func isLeaf(all []wire.Record, at int) bool {
	c, r := &all[at], &all[at+1]
	return c.Kind == event.KindCall && r.Kind == event.KindReturn && r.Seq == c.Seq+1 && c.Flags&wire.FlagRoot == 0
}

func (s *Shedder) judgeRun(all []wire.Record, at, end int, most Action) {
	s.open = s.open[:0]
	for ; at < end; at++ {
		r := &all[at]
		if at > 0 && len(s.open) > 0 && r.Seq != all[at-1].Seq+1 {
			s.open = s.open[:0] // something is missing: who returns is not known
		}
		switch {
		case r.Kind == event.KindGap: // it is one already
		case most >= ActShedRest:
			s.fate[at] = ActShedRest
		case r.Kind == event.KindCall:
			s.open = append(s.open, int32(at)) // #nosec G115 -- a batch is bounded
		case r.Kind == event.KindReturn:
			n := len(s.open)
			if n == 0 {
				break
			}
			call := int(s.open[n-1])
			s.open = s.open[:n-1]
			switch {
			case all[call].Flags&wire.FlagRoot != 0:
			case call == at-1 && s.leaves[all[call].Site] >= hotLeaves:
				s.fate[call], s.fate[at] = ActShedLeaves, ActShedLeaves
			case most >= ActShedCalls:
				s.fate[call], s.fate[at] = ActShedCalls, ActShedCalls
			}
		case r.Kind == event.KindLog, r.Kind == event.KindMetric:
			if most >= ActShedLogs {
				s.fate[at] = ActShedLogs
			}
		}
	}
}
