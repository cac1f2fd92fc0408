package correlate

import (
	"strconv"
	"strings"
	"testing"
)

// told gives what is said of an event so far, by its name, with its late edges.
func (r *rig) told(name string) string {
	r.Helper()
	r.Flush()
	for _, e := range r.k.results {
		if r.k.name(e.ID) == name {
			return r.k.tell(e)
		}
	}
	return "nothing"
}

func (r *rig) tells(name, want string) {
	r.Helper()
	if got := r.told(name); got != want {
		r.Errorf("%s: %s, should be %s", name, got, want)
	}
}

func TestAGlobalReferenceJoinsSources(t *testing.T) {
	r := newRig(t, Options{})
	r.Open(1, false)
	r.Open(2, false)
	r.MarksStarts(1)
	r.MarksStarts(2)
	r.add(2, 0, "srv#1 call serve root cause=trace:a-1 at=120", "srv#2 error x at=130", "srv#3 log y cause=own at=140")
	r.expect("") // it waits for its caller, which comes later
	r.add(1, 0, "cli#1 call main at=100", "cli#2 send ask message=trace:a-1 ref=trace:a-1 at=110", "cli#3 log z ref=own at=111")
	r.tells("srv#1", "cli#2 cli#2")
	r.tells("srv#2", "srv#1 cli#2")
	r.Finish()
	r.tells("srv#3", "srv#1? cli#2!, explicit -!") // other references are those of one source
}

func TestARequestOfAnothersBackgroundIsWorkOfItsOwn(t *testing.T) {
	r := newRig(t, Options{})
	r.MarksStarts(1)
	r.MarksStarts(2)
	r.add(1, 0, "cli#1 call main at=100", "cli#2 log asks ref=trace:a-1 at=110")
	r.add(2, 0, "srv#1 call serve root cause=trace:a-1 at=120", "srv#2 call inner root cause=trace:a-1 at=130")
	r.tells("cli#2", "cli#1 [cli#1]")
	r.tells("srv#1", "cli#2 srv#1")
	r.tells("srv#2", "cli#2 [cli#1]") // in a root nothing is founded: what its source says about its cause counts
	r.Finish()
}

func TestACallerThatNobodyRecordedIsNoLoss(t *testing.T) {
	r := newRig(t, Options{})
	r.MarksStarts(1)
	r.add(1, 0, "srv#1 log accept at=100", "srv#2 call serve root cause=trace:a-1 at=110", "srv#3 call inner root cause=trace:a-1 at=120",
		"srv#4 log x cause=trace:a-2 cause=trace:a-3 at=130", "srv#5 wake y cause=trace:a-4 at=140", "srv#6 return inner cause=trace:a-5 at=150")
	r.add(1, 0, "other#1 log x at=9999")
	r.tells("srv#2", "-? srv#2?") // not exact: it may be somebody's all the same
	r.tells("srv#3", "srv#2? srv#2?")
	r.tells("srv#4", "srv#3? srv#2?")
	r.tells("srv#5", "srv#3 srv#2?")
	r.tells("srv#6", "srv#3? srv#2?")
	if gaps := strings.Count(r.emitted(), "gap"); gaps != 0 {
		t.Errorf("%d gaps", gaps)
	}
	r.Finish()
}

func TestACallerThatComesLateGivesItsEdge(t *testing.T) {
	r := newRig(t, Options{})
	r.MarksStarts(1)
	r.add(1, 0, "srv#1 call serve root cause=trace:a-1 at=110", "srv#2 log x cause=none cause=trace:a-1 at=120")
	r.add(1, 0, "other#1 log x at=9999")
	r.End(1)
	r.tells("srv#1", "-? srv#1?")
	r.add(2, 0, "cli#1 call main ref=trace:a-1 at=100")
	r.Finish()
	r.tells("srv#1", "-? srv#1?, late explicit cli#1")
	r.tells("srv#2", "srv#1? srv#1!, explicit -!, late explicit cli#1")
}

// "the wait for a global cause follows the lateness also in finite sources: the other process may never be recorded"
func TestAFiniteSourceWaitsToItsEndForItsOwnAndNotForOthers(t *testing.T) {
	r := newRig(t, Options{})
	r.Open(1, true)
	r.MarksStarts(1)
	r.add(1, 0, "a#1 call serve root cause=trace:a-1 at=100", "b#1 log x cause=own at=100", "c#1 call serve root cause=trace:a-2 cause=own at=100")
	r.expect("")
	r.add(1, 0, "d#1 log x at=1101")
	r.expect("d#1 a#1")
	r.tells("a#1", "-? a#1?")
	r.Tick(5_000_000) // in arrival time, too
	r.add(1, 5_000_000, "e#1 call serve root cause=trace:a-3 at=1100")
	r.expect("d#1 a#1")
	r.Tick(5_001_001)
	r.expect("d#1 a#1 e#1")
	r.add(1, 0, "d#2 log x ref=own at=102")
	r.tells("b#1", "d#2 [d#1]")
	r.tells("c#1", "-? c#1?, explicit d#2") // its own was waited for, after the wait for others was over
	r.Finish()
}

func TestASourceThatEndsWaitsNoMore(t *testing.T) {
	r := newRig(t, Options{})
	r.Open(1, false)
	r.Open(2, false)
	r.MarksStarts(1)
	r.MarksStarts(2)
	if r.Drains(1) || r.Drains(7) {
		t.Error("a source drains in which nothing waits, or that is none")
	}
	// What source 1 waits for is here, behind a hole of source 2, whose clock is ahead.
	r.add(2, 0, "cli#2 send ask ref=trace:a-1 at=500")
	r.add(1, 0, "srv#1 call serve root cause=trace:a-1 at=100", "srv#2 log x cause=trace:a-2 at=101")
	r.add(2, 0, "other#1 log x at=1200")
	r.expect("other#1")
	if !r.Drains(1) || r.Drains(2) {
		t.Error("source 1 waits for source 2, which asks for nothing")
	}
	r.End(1)
	r.expect("other#1 srv#1 srv#2")
	r.End(2)
	r.tells("srv#1", "-? srv#1?, late explicit cli#2")
	r.Open(1, false) // what it waited for is not counted a second time
	r.add(1, 0, "new#1 call serve root cause=trace:a-1 at=1300")
	r.tells("new#1", "cli#2 cli#2?")
	if r.Drains(1) {
		t.Error("nothing waits")
	}
	r.Finish()
}

// Two sources wait for each other, which no program that really ran does.
func TestCirclesAcrossSourcesEnd(t *testing.T) {
	r := newRig(t, Options{})
	r.MarksStarts(1)
	r.MarksStarts(2)
	r.add(1, 0, "a#1 log x cause=trace:b ref=trace:a at=100")
	r.add(2, 0, "b#1 log x cause=trace:a ref=trace:b at=100")
	r.add(2, 0, "c#1 log x at=5000")
	if got := r.emitted(); strings.Count(got, "#1") != 3 {
		t.Errorf("emitted %q", got)
	}
	r.Finish()
}

func TestGlobalWaitsAreEndedForWantOfMemory(t *testing.T) {
	r := newRig(t, Options{MemoryBytesMax: memoryBytesMin})
	r.Open(1, true)
	r.MarksStarts(1)
	const streams = 20_000
	for i := range streams {
		r.add(1, 0, "s"+strings.Repeat("x", 1+i%7)+strconv.Itoa(i)+"#1 call serve root cause=trace:"+strconv.Itoa(i)+" at=100")
	}
	if s := r.Correlator.Stats(); s.Evicted == 0 || s.MemoryBytes > 3*memoryBytesMin {
		t.Errorf("%+v", s)
	}
	r.Finish()
	if n := len(r.k.results); n != streams {
		t.Errorf("%d events", n)
	}
}
