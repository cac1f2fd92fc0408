package correlate

import (
	"fmt"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// met counts what receives met: the send that has the same data, another one, or none.
type met struct{ right, wrong, gap, exact int }

// jobs is programs of senders and receivers that say nothing but who sends and who receives, far more often than
// offers fit. A job's time is its number, so that it can be told which send is right.
type jobs struct {
	*rig
	b    *wire.Batch
	seqs map[wire.Name]uint64
}

func newJobs(t *testing.T, finite bool, lateness time.Duration) *jobs {
	j := &jobs{newRig(t, Options{MemoryBytesMax: 1 << 20, Lateness: lateness}), &wire.Batch{Source: 1}, map[wire.Name]uint64{}}
	j.Open(1, finite)
	j.MarksStarts(1)
	return j
}

func (j *jobs) did(stream string, kind event.Kind, key string, at int64) {
	m, _ := j.table.Name(stream)
	k, _ := j.table.Name(key)
	j.seqs[m]++
	j.b.Add(m, wire.Record{Kind: kind, Seq: j.seqs[m], Time: at, Key: k, Flags: wire.FlagEmpty}, nil, nil)
	if len(j.b.Records) >= 100 {
		j.Add(j.b)
		j.b = &wire.Batch{Source: 1}
	}
}

// count ends the source, and says what the receives of a key met. Of each, right is the send with the time that
// sent gives.
func (j *jobs) count(key string, sent func(receive int64) int64) (m met) {
	j.Add(j.b)
	j.Finish()
	times := map[event.ID]int64{}
	for _, e := range j.k.results {
		times[e.ID] = e.Time
		if e.Key != key || e.Kind != event.KindReceive && e.Kind != event.KindAcquire {
			continue
		}
		for _, c := range e.Causes {
			switch {
			case c.Kind != event.EdgeMessage && c.Kind != event.EdgeLock:
			case c.Confidence == event.Gap:
				m.gap++
			case times[c.ID] == sent(e.Time):
				m.right++
			default:
				m.wrong++
				j.Logf("%s: %s", j.k.name(e.ID), j.k.tell(e))
			}
			if (c.Kind == event.EdgeMessage || c.Kind == event.EdgeLock) && c.Confidence == event.Exact {
				m.exact++
			}
		}
	}
	return m
}

func ten(receive int64) int64 { return receive - 10 }

// A finite source in the order of time, with far more messages than can be kept to its end: they are decided as
// those of a live one, all rightly.
func TestAFiniteSourceInOrderOutgrowsItsQueues(t *testing.T) {
	const n = 20_000 // less than a thousand offers fit
	for _, lateness := range []time.Duration{1000, 1 << 40} {
		for _, shift := range []int64{0, 40} { // receives come that many jobs later than they were
			j := newJobs(t, true, lateness*time.Duration(1+shift))
			for i := range n + shift {
				if w := i % 16; i < n {
					j.did("main", event.KindSend, fmt.Sprint("jobs", w), 100*i)
				}
				if i := i - shift; i >= 0 {
					w := i % 16
					j.did(fmt.Sprint("w", w), event.KindReceive, fmt.Sprint("jobs", w), 100*i+10)
				}
			}
			j.Add(j.b)
			j.b = &wire.Batch{Source: 1}
			if s := j.Correlator.Stats(); s.Forgotten != 0 || s.MemoryBytes > 1<<20 {
				t.Errorf("lateness %d, shift %d: %+v", lateness, shift, s)
			}
			for w := range 16 {
				if m := j.count(fmt.Sprint("jobs", w), ten); m != (met{right: n / 16}) {
					t.Errorf("lateness %d, shift %d: w%d: %+v", lateness, shift, w, m)
				}
			}
		}
	}
}

// Where the order of a source does not tell what can not come any more, sends are forgotten: as many receives find
// nothing, and not one a send that is another's.
func TestWhatIsForgottenInAQueueShiftsNothing(t *testing.T) {
	const n = 5000
	for _, finite := range []bool{true, false} {
		j := newJobs(t, finite, 1<<40)
		for i := range int64(n) {
			j.did("main", event.KindSend, "q", 100*i)
		}
		for i := range int64(n) {
			j.did("w", event.KindReceive, "q", 100*i+10)
		}
		for i := range int64(100) {
			j.did("main", event.KindSend, "q", 100*(n+i))
			j.did("w", event.KindReceive, "q", 100*(n+i)+10)
		}
		m := j.count("q", ten)
		if m.wrong != 0 || m.exact != 0 || m.right < 100 || m.right+m.gap != n+100 {
			t.Errorf("finite %v: %+v", finite, m)
		}
		if s := j.Correlator.Stats(); s.Forgotten == 0 {
			t.Errorf("%+v", s)
		}
	}
}

// One that hoards does not take the room of all others for ever.
func TestTheLongestQueueMakesRoom(t *testing.T) {
	j := newJobs(t, false, 1000)
	for i := range int64(5000) {
		j.did("main", event.KindSend, "hoard", i)
	}
	for i := int64(100); i < 2100; i++ {
		j.did("main", event.KindSend, "q", 100*i)
		j.did("w", event.KindReceive, "q", 100*i+10)
	}
	if m := j.count("q", ten); m.wrong != 0 || m.right < 1900 || m.right+m.gap != 2000 {
		t.Errorf("%+v", m)
	}
}

// However full the queues are, what it takes to make room does not grow with what lies in them.
func TestRoomIsMadeInAFewSteps(t *testing.T) {
	looked := func(n int64) uint64 {
		j := newJobs(t, true, 1<<40)
		for i := range n {
			j.did("main", event.KindSend, fmt.Sprint("q", i%3), i)
		}
		j.Add(j.b)
		return j.queues.looked
	}
	few, many := looked(5000), looked(50_000)
	if many > 4*50_000 || many > 16*few {
		t.Errorf("%d offers looked at for 5000 sends, %d for 50000", few, many)
	}
}

// What is forgotten with a whole queue shifts nothing either: of more keys than queues are kept for, as many receives find
// nothing as sends were forgotten, if that many are still known, and else all of that key. Keys of which nothing was
// forgotten are not in doubt.
func TestAQueueThatIsForgottenShiftsNothing(t *testing.T) {
	for _, c := range []struct {
		story string
		keys  int64 // before the queues of the first ones are asked again
		right bool  // these are counted still
	}{{"counted", 250, true}, {"not counted any more", 3000, false}} {
		for _, finite := range []bool{true, false} {
			j := newJobs(t, finite, 1000)
			const asked = 40
			at := int64(0)
			for range 3 { // three jobs wait in each
				for k := range asked {
					at += 10
					j.did("main", event.KindSend, fmt.Sprint("k", k), at)
				}
			}
			for k := range c.keys {
				at += 10
				j.did("main", event.KindSend, fmt.Sprint("other", k), at)
			}
			at += 100_000
			last := map[int]int64{}
			for k := range asked {
				at += 10
				j.did("main", event.KindSend, fmt.Sprint("k", k), at)
				last[k] = at
			}
			at += 10
			j.did("main", event.KindSend, "fresh", at)
			begin := at
			for range 4 {
				for k := range asked {
					at += 10
					j.did("w", event.KindReceive, fmt.Sprint("k", k), at)
				}
			}
			j.did("w", event.KindReceive, "fresh", begin+100_000)
			j.did("main", event.KindLog, "", begin+1_000_000)
			if fresh := j.count("fresh", func(int64) int64 { return begin }); fresh.right != 1 {
				t.Errorf("%s, finite %v: %+v of a key that nobody forgot", c.story, finite, fresh)
			}
			for k := range asked {
				m := j.count(fmt.Sprint("k", k), func(receive int64) int64 {
					if receive > begin+3*asked*10 {
						return last[k]
					}
					return -1
				})
				if m.wrong != 0 || m.exact != 0 || c.right && (m.gap != 3 || m.right != 1) || m.gap+m.right != 4 {
					t.Errorf("%s, finite %v: k%d: %+v, should be three gaps and then the last send", c.story, finite, k, m)
				}
			}
		}
	}
}

// The same for locks: the next acquire of one whose releases have been forgotten did not come first.
func TestALockThatIsForgottenWasTakenBefore(t *testing.T) {
	for _, others := range []int{250, 3000} {
		j := newJobs(t, false, 1000)
		j.did("a", event.KindAcquire, "l", 10)
		j.did("a", event.KindRelease, "l", 20)
		for k := range others {
			j.did("b", event.KindAcquire, fmt.Sprint("other", k), int64(5000+k*10))
			j.did("b", event.KindRelease, fmt.Sprint("other", k), int64(5001+k*10))
		}
		j.did("c", event.KindAcquire, "l", 1_000_000)
		j.did("a", event.KindLog, "", 2_000_000)
		if m := j.count("l", func(int64) int64 { return 20 }); m.wrong != 0 || m.gap != 1 {
			t.Errorf("%d others: %+v", others, m)
		}
	}
}
