package patch

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/internal/capture"
)

// step is a note of the program in testdata/handover.
type step struct {
	What    string
	ID      uint64
	After   uint64
	Others  []uint64
	Setting uint64
	Text    string
}

// history is what was recorded of that program, by its markers.
type history struct {
	t       testing.TB
	steps   []step
	streams map[uint64][]record
	markers map[uint64]place
	release map[lockOrdinal]place
	places  func(place uint32, exact bool) string

	forgotten uint64 // releases that there was no room for
}

type place struct {
	stream uint64
	index  int
}

type lockOrdinal struct{ lock, ordinal uint64 }

// handover runs a part of the program, and reads its notes and what was recorded.
func handover(t testing.TB, program, part string, env []string, args ...string) *history {
	t.Helper()
	r := newRing(t, capture.PolicyBlock, 64)
	out, status := run(t, r, env, program, append([]string{part}, args...)...)
	if status != 0 {
		t.Fatalf("%s ended with status %d: %.500s", part, status, out)
	}
	h := &history{t: t, streams: r.streams(t), markers: map[uint64]place{}, release: map[lockOrdinal]place{}}
	if err := json.Unmarshal([]byte(out), &h.steps); err != nil {
		t.Fatalf("%s: its notes: %v", part, err)
	}
	if n := whole(t, h.streams); n == 0 {
		t.Fatalf("%s: nothing was recorded", part)
	}
	if n := r.get64(capture.OffDropped); n != 0 {
		t.Errorf("%s: %d records were lost", part, n)
	}
	h.places = places(t, r, program)
	if h.forgotten = r.get64(capture.OffLocksForgotten); h.forgotten != 0 && part != "many" {
		t.Errorf("%s: there was no room for %d releases", part, h.forgotten)
	}
	for stream, s := range h.streams {
		for i, e := range s {
			switch e.kind {
			case capture.KindQueueSend:
				h.markers[e.c] = place{stream, i}
			case capture.KindRelease:
				k := lockOrdinal{e.key(), e.ordinal()}
				if _, twice := h.release[k]; twice {
					t.Fatalf("%s: two releases %+v", part, k)
				}
				h.release[k] = place{stream, i}
			}
		}
	}
	return h
}

// before returns the events of some kinds between a marker and the one before it in its stream.
func (h *history) before(marker uint64, kinds ...uint8) []record {
	at, ok := h.markers[marker]
	if !ok {
		h.t.Fatalf("marker %d was not recorded", marker)
	}
	var found []record
	for i := at.index - 1; i >= 0; i-- {
		e := h.streams[at.stream][i]
		if e.kind == capture.KindQueueSend {
			break
		}
		if slices.Contains(kinds, e.kind) {
			found = append(found, e)
		}
	}
	slices.Reverse(found)
	return found
}

// step returns the marker that an event's stream had passed last.
func (h *history) step(at place) uint64 {
	for i := at.index; i >= 0; i-- {
		if e := h.streams[at.stream][i]; e.kind == capture.KindQueueSend {
			return e.c
		}
	}
	return 0
}

var acquires = []uint8{capture.KindAcquire, capture.KindAcquireInferred, capture.KindAcquireUnseen}

// letIn returns the step whose release an acquire names: by the release's record or, if it has none, by the goroutine and the
// number of its last event.
func (h *history) letIn(e record) uint64 {
	if e.kind != capture.KindAcquireUnseen {
		at, ok := h.release[lockOrdinal{e.key(), e.ordinal()}]
		if !ok {
			h.t.Fatalf("release %d of lock %d has no record", e.ordinal(), e.key())
		}
		return h.step(at)
	}
	if at, ok := h.release[lockOrdinal{e.key(), e.ordinal()}]; ok {
		h.t.Fatalf("release %d of lock %d is said to have no record, but is in stream %d", e.ordinal(), e.key(), at.stream)
	}
	by, after := e.values[0].bits, e.values[1].bits
	for i, x := range h.streams[by] {
		if x.seq == after {
			return h.step(place{by, i})
		}
	}
	h.t.Fatalf("stream %d has no event %d", by, after)
	return 0
}

// exclusive checks the acquire of one holder of a lock behind another, and returns its kind; 0 if there is none, as it should.
func (h *history) exclusive(s step, found []record) uint8 {
	if len(found) > 1 {
		h.t.Fatalf("step %d has %d acquires", s.ID, len(found))
	}
	own := s.After != 0 && h.markers[s.After].stream == h.markers[s.ID].stream
	switch {
	case len(found) == 0 && (s.After == 0 || own):
		return 0
	case len(found) == 0:
		h.t.Fatalf("step %d came after %d of another goroutine: no acquire", s.ID, s.After)
	case s.After == 0:
		h.t.Fatalf("step %d came after nobody, and has %+v", s.ID, found[0])
	}
	if by := h.letIn(found[0]); by != s.After {
		h.t.Fatalf("step %d came after %d, not after %d: %+v", s.ID, s.After, by, found[0])
	}
	return found[0].kind
}

// ranges returns the steps whose releases an acquire of a range names.
func (h *history) ranges(e record) []uint64 {
	var steps []uint64
	last, count := e.c>>24, e.c&(1<<24-1)
	for n := last - count + 1; n <= last; n++ {
		at, ok := h.release[lockOrdinal{uint64(e.a), n}]
		if !ok {
			h.t.Fatalf("release %d of lock %d has no record", n, e.a)
		}
		steps = append(steps, h.step(at))
	}
	slices.Sort(steps)
	return steps
}

// variants are the ways in which the program is built and run.
func variants(t *testing.T, test func(t *testing.T, program string, env []string)) {
	for name, v := range map[string]struct {
		flags, env []string
	}{
		"plain":      {},
		"much GC":    {env: []string{"GOGC=5"}},
		"one thread": {env: []string{"GOMAXPROCS=1"}},
		"race":       {flags: []string{"-race"}, env: []string{"GOGC=20"}},
	} {
		if len(v.flags) > 0 && !everyForm {
			continue
		}
		t.Run(name, func(t *testing.T) { test(t, build(t, "handover", v.flags...), v.env) })
	}
}

func TestEachAcquireOfAMutexNamesTheReleaseThatLetItIn(t *testing.T) { variants(t, checkMutexes) }

func checkMutexes(t *testing.T, program string, env []string) {
	h := handover(t, program, "mutexes", env)
	kinds := map[uint8]int{}
	for _, s := range h.steps {
		kinds[h.exclusive(s, h.before(s.ID, acquires...))]++
	}
	t.Logf("%d steps: %v", len(h.steps), kinds)
	if kinds[capture.KindAcquire] < 1500 || kinds[0] < 500 {
		t.Errorf("too few hand-overs to say anything: %v", kinds)
	}
	for stream, events := range h.streams {
		for _, e := range events {
			if events[len(events)-1].kind != capture.KindExit || !slices.Contains(acquires, e.kind) && e.kind != capture.KindRelease {
				continue // not of the goroutines that hand locks over
			}
			if at := h.places(e.b, false); !strings.HasPrefix(at, "main.(*guarded).step") && !strings.HasPrefix(at, "main.note main.go:") {
				t.Fatalf("stream %d: %+v is at %s, not at the user's call", stream, e, at)
			}
		}
	}
	if kinds[capture.KindAcquireInferred] != 0 {
		t.Errorf("%d acquires are inferred: none of these locks can have taken another's memory", kinds[capture.KindAcquireInferred])
	}
	if unseen := kinds[capture.KindAcquireUnseen]; unseen == 0 || unseen > kinds[capture.KindAcquire]/10 {
		t.Errorf("%d acquires behind releases without a record", unseen)
	}
}

func TestLocksThatThereIsNoRoomForAreCountedAndNoneIsTakenForAnother(t *testing.T) {
	h := handover(t, build(t, "handover"), "many", nil)
	kinds := map[uint8]int{}
	for _, s := range h.steps {
		found := h.before(s.ID, acquires...)
		if len(found) == 0 {
			kinds[0]++
			continue
		}
		kinds[h.exclusive(s, found)]++
	}
	t.Logf("%d steps: %v; no room for %d releases", len(h.steps), kinds, h.forgotten)
	if h.forgotten == 0 || uint64(kinds[0]) > uint64(len(h.steps)/2)+h.forgotten/2+1 {
		t.Errorf("%d steps have no acquire, and there was no room for %d releases", kinds[0], h.forgotten)
	}
	if kinds[capture.KindAcquire] < 1000 || kinds[capture.KindAcquireInferred] < 10_000 {
		t.Errorf("of more locks than are looked at in one cycle some are certain, most are inferred: %v", kinds)
	}
}

func TestMemoryThatBecomesAnotherLocksIsNotTakenForTheOldOne(t *testing.T) {
	variants(t, func(t *testing.T, program string, env []string) {
		h := handover(t, program, "shortlived", env)
		kinds := map[uint8]int{}
		for _, s := range h.steps {
			kinds[h.exclusive(s, h.before(s.ID, acquires...))]++
		}
		if len(h.steps) != 12_000 || kinds[0] != 6000 || kinds[capture.KindAcquire] != 6000 {
			t.Errorf("%d steps: %v", len(h.steps), kinds)
		}
	})
}

func TestWhatHappensToALockWhileNothingIsRecordedIsNotGuessed(t *testing.T) {
	h := handover(t, build(t, "handover"), "periods", nil)
	for _, s := range h.steps {
		found := h.before(s.ID, acquires...)
		switch s.What {
		case "first":
			if len(found) != 0 {
				t.Errorf("the first one follows %+v", found)
			}
		case "seen":
			if len(found) != 1 || found[0].kind != capture.KindAcquire || h.letIn(found[0]) != s.After {
				t.Errorf("the last one follows %+v", found)
			}
		default: // the mutex and the readers' lock; the writer's lock, and that of the readers
			ordinary := 0
			for _, e := range found {
				if e.kind != capture.KindAcquireUnseen || e.values[0].bits != 0 {
					ordinary++
				}
			}
			if len(found) == 0 || ordinary != 0 {
				t.Errorf("%s follows %+v", s.What, found)
			}
		}
	}
	if len(h.steps) != 4 {
		t.Errorf("%d steps", len(h.steps))
	}
}

func TestReleasesBetweenWhichNothingHappenedAreOne(t *testing.T) {
	h := handover(t, build(t, "handover"), "nothing", nil)
	s := h.steps[0]
	found := h.before(s.ID, acquires...)
	if len(found) != 2 || found[0].key() == found[1].key() {
		t.Fatalf("the acquires are %+v", found)
	}
	for _, e := range found {
		if e.kind != capture.KindAcquire || h.letIn(e) != s.After {
			t.Errorf("the acquire %+v follows %d, not %d", e, h.letIn(e), s.After)
		}
	}
	releases := 0
	at := h.markers[s.After]
	for _, e := range h.streams[at.stream][at.index+1:] {
		if e.kind == capture.KindRelease {
			releases++
		} else {
			break
		}
	}
	if releases != 2 {
		t.Errorf("%d releases", releases)
	}
}

func TestWritersFollowTheReadersBeforeThemAndReadersTheirWriter(t *testing.T) {
	variants(t, checkRWMutexes)
}

func checkRWMutexes(t *testing.T, program string, env []string) {
	h := handover(t, program, "rwmutexes", env)
	readers := map[uint64]bool{} // locks that readers release
	for _, s := range h.steps {
		if s.What != "reader" {
			continue
		}
		at := h.markers[s.ID]
		for _, e := range h.streams[at.stream][at.index+1:] {
			if e.kind == capture.KindQueueSend {
				break
			}
			if e.kind == capture.KindRelease {
				readers[e.key()] = true
			}
		}
	}
	saw := map[place]bool{} // (stream, writer) pairs
	exact, unseen, passed, ordered := 0, 0, 0, slices.Clone(h.steps)
	slices.SortFunc(ordered, func(a, b step) int { return int(h.markers[a.ID].index - h.markers[b.ID].index) })
	for _, s := range ordered {
		var own, theirs []record
		for _, e := range h.before(s.ID, acquires...) {
			if readers[e.key()] {
				theirs = append(theirs, e)
			} else {
				own = append(own, e)
			}
		}
		if s.What == "reader" {
			seen := place{h.markers[s.ID].stream, int(s.After)}
			if len(own) == 0 && saw[seen] {
				passed++
				continue
			}
			if saw[seen] && h.letIn(own[0]) != s.After {
				t.Fatalf("reader %d came after writer %d, not %d", s.ID, s.After, h.letIn(own[0]))
			}
			if !saw[seen] {
				h.exclusive(s, own)
			}
			saw[seen] = true
			continue
		}
		h.exclusive(s, own)
		var found []uint64
		for _, e := range h.before(s.ID, capture.KindAcquireRange) {
			found = append(found, h.ranges(e)...)
		}
		slices.Sort(s.Others)
		if len(theirs) == 0 {
			if exact++; !slices.Equal(found, s.Others) {
				t.Fatalf("writer %d came after the readers %v, not %v", s.ID, s.Others, found)
			}
			continue
		}
		unseen++
		for _, reader := range found {
			if !slices.Contains(s.Others, reader) {
				t.Fatalf("writer %d came after the readers %v, not after %d", s.ID, s.Others, reader)
			}
		}
		if len(found) < 64 || len(found) == len(s.Others) {
			t.Errorf("writer %d: %d of %d readers, and said that some have no record", s.ID, len(found), len(s.Others))
		}
	}
	t.Logf("%d writers exact, %d behind readers without a record, %d readers that had been let in before", exact, unseen, passed)
	if exact < 500 {
		t.Errorf("too few writers: %d", exact)
	}
}

func TestAWaitFollowsTheDonesSinceTheWaitBefore(t *testing.T) { variants(t, checkWaitGroups) }

func checkWaitGroups(t *testing.T, program string, env []string) {
	h := handover(t, program, "waitgroups", env)
	repeated := 0
	for _, s := range h.steps {
		found := h.before(s.ID, capture.KindAcquireRange)
		if len(found) != 1 {
			t.Fatalf("the wait before %d has %d acquires", s.ID, len(found))
		}
		if s.What == "long wait" {
			if count := found[0].c & (1<<24 - 1); count != capture.RangeMax {
				t.Errorf("a wait for 5000 Dones names %d of them", count)
			}
			repeated++
			continue
		}
		slices.Sort(s.Others)
		if steps := h.ranges(found[0]); !slices.Equal(steps, s.Others) {
			t.Fatalf("the wait before %d was for %v, not %v", s.ID, s.Others, steps)
		}
	}
	if len(h.steps) != 601 || repeated != 1 {
		t.Errorf("%d waits", len(h.steps))
	}
}

func TestTheGoroutinesThatWaitForAOnceFollowTheOneThatDidIt(t *testing.T) { variants(t, checkOnces) }

func checkOnces(t *testing.T, program string, env []string) {
	h := handover(t, program, "onces", env)
	waited := 0
	for _, s := range h.steps {
		found := h.before(s.ID, acquires...)
		if s.After == 0 && len(found) != 0 {
			t.Fatalf("the one that did it waited for %+v", found)
		}
		for _, e := range found {
			waited++
			// Several may have waited: each goes through the mutex behind the one before.
			for at := h.release[lockOrdinal{e.key(), e.ordinal()}]; h.step(at) != s.After; {
				behind := h.before(h.step(at), acquires...)
				if at.index == 0 || len(h.streams[at.stream]) == 0 {
					t.Fatalf("step %d waited for %d, not %+v (%v)", s.ID, s.After, e, behind)
				}
				var let *record
				for i := at.index - 1; i >= 0 && h.streams[at.stream][i].kind != capture.KindQueueSend; i-- {
					if x := h.streams[at.stream][i]; slices.Contains(acquires, x.kind) && x.key() == e.key() {
						let = &x
					}
				}
				if let == nil {
					t.Fatalf("step %d waited for %d: no way there from %+v", s.ID, s.After, e)
				}
				at = h.release[lockOrdinal{let.key(), let.ordinal()}]
			}
		}
	}
	if waited < 100 {
		t.Errorf("%d goroutines waited", waited)
	}
}

func TestAWakeNamesWhoNotified(t *testing.T) { variants(t, checkConds) }

func checkConds(t *testing.T, program string, env []string) {
	h := handover(t, program, "conds", env)
	named := 0
	for _, s := range h.steps {
		wakes := h.before(s.ID, capture.KindWake)
		if len(wakes) == 0 {
			continue // notified before it slept
		}
		named++
		w := wakes[len(wakes)-1]
		by := h.streams[w.c]
		i := slices.IndexFunc(by, func(e record) bool { return uint32(e.seq) == w.a })
		if i < 0 || by[i].kind != capture.KindNotify {
			t.Fatalf("the wake before %d names event %d of goroutine %d, which is none", s.ID, w.a, w.c)
		}
		if got := h.step(place{w.c, i}); got != s.After {
			t.Fatalf("the wait before %d was ended by %d, not %d", s.ID, s.After, got)
		}
	}
	t.Logf("%d of %d wakes named", named, len(h.steps))
	if named*100 < len(h.steps)*95 {
		t.Errorf("%d of %d wakes are named", named, len(h.steps))
	}
}
