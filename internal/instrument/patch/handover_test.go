package patch

import (
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"go/version"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	if n := r.get64(capture.OffDropped) + r.get64(capture.OffLocksForgotten); n != 0 {
		t.Errorf("%s: %d records were lost", part, n)
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
	if kinds[capture.KindAcquireInferred] != 0 {
		t.Errorf("%d acquires are inferred: none of these locks can have taken another's memory", kinds[capture.KindAcquireInferred])
	}
	if unseen := kinds[capture.KindAcquireUnseen]; unseen == 0 || unseen > kinds[capture.KindAcquire]/10 {
		t.Errorf("%d acquires behind releases without a record", unseen)
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

func TestAWaitFollowsTheDonesSinceTheCounterWasZero(t *testing.T) { variants(t, checkWaitGroups) }

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

func TestWhatATimerSendsOrStartsFollowsTheSettingOfThatTimer(t *testing.T) { variants(t, checkTimers) }

func checkTimers(t *testing.T, program string, env []string) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"sync", "async"} {
		if mode == "async" && version.Compare(info.GoVersion, "go1.27") >= 0 {
			continue // it is gone
		}
		env := env
		if mode == "async" {
			env = append(slices.Clone(env), "GODEBUG=asynctimerchan=1")
		}
		h := handover(t, program, "timers", env, mode)
		sends := map[lockOrdinal]record{}
		spawns := map[uint64]record{}
		type setting struct{ timer, number uint64 }
		settings := map[setting]uint64{}
		for stream, s := range h.streams {
			for i, e := range s {
				switch e.kind {
				case capture.KindTimerSend:
					k := lockOrdinal{e.key(), e.ordinal()}
					if _, twice := sends[k]; twice {
						t.Fatalf("two sends %+v", k)
					}
					sends[k] = e
				case capture.KindTimerSpawn:
					spawns[e.c] = e
				case capture.KindTimerSet:
					settings[setting{e.c >> 24, e.c & (1<<24 - 1)}] = h.step(place{stream, i})
				}
			}
		}
		set := func(s step, e record) {
			t.Helper()
			by, ok := settings[setting{e.stream &^ (1 << 63), uint64(e.b) & (1<<24 - 1)}]
			if !ok || by != s.Setting {
				t.Fatalf("%s: step %d followed the setting behind %d, not behind %d: %+v", mode, s.ID, s.Setting, by, e)
			}
		}
		seen := map[string]int{}
		for _, s := range h.steps {
			seen[s.What]++
			switch s.What {
			case "timer":
				receives := h.before(s.ID, capture.KindReceive, capture.KindReceiveEmpty)
				if len(receives) == 0 {
					t.Fatalf("%s: no receive before %d", mode, s.ID)
				}
				r := receives[len(receives)-1]
				e, ok := sends[lockOrdinal{r.key(), r.ordinal()}]
				if !ok {
					t.Fatalf("%s: the receive before %d has no send: %+v", mode, s.ID, r)
				}
				set(s, e)
			case "after":
				at := h.markers[s.ID]
				e, ok := spawns[at.stream]
				if !ok {
					t.Fatalf("%s: nothing started goroutine %d", mode, at.stream)
				}
				if start := h.streams[at.stream][0]; start.kind != capture.KindStart || start.c != 0 {
					t.Errorf("%s: goroutine %d begins with %+v", mode, at.stream, start)
				}
				set(s, e)
			case "context":
				if len(h.before(s.ID, capture.KindReceiveClosed)) == 0 {
					t.Errorf("%s: step %d: the end of the context was not recorded", mode, s.ID)
				}
			}
		}
		t.Logf("%s: %v, %d settings, %d sends, %d starts", mode, seen, len(settings), len(sends), len(spawns))
		if seen["timer"] < 300 || seen["after"] < 40 || seen["context"] < 40 {
			t.Errorf("%s: too few to say anything: %v", mode, seen)
		}
	}
}

func TestASignalIsRecordedWhereItIsDelivered(t *testing.T) { checkSignals(t, build(t, "handover")) }

func checkSignals(t *testing.T, program string) {
	h := handover(t, program, "signals", nil)
	for _, s := range h.steps {
		receives := h.before(s.ID, capture.KindReceive)
		if len(receives) != 1 {
			t.Fatalf("%d receives before %d", len(receives), s.ID)
		}
		var text string
		for _, events := range h.streams {
			for i, e := range events {
				if e.kind == capture.KindSend && e.key() == receives[0].key() && e.ordinal() == receives[0].ordinal() {
					for ; i >= 0 && text == ""; i-- {
						if events[i].kind == capture.KindSignal {
							text = events[i].values[0].text
						}
					}
				}
			}
		}
		if text != s.Text || text != "user defined signal 1" {
			t.Errorf("the signal before %d is %q, not %q", s.ID, text, s.Text)
		}
	}
	if len(h.steps) != 3 {
		t.Errorf("%d signals", len(h.steps))
	}
}

func TestARequestIsARootAndKnowsTheRequestThatItCameFrom(t *testing.T) {
	checkRequests(t, build(t, "handover"))
}

func checkRequests(t *testing.T, program string) {
	h := handover(t, program, "requests", nil)
	left := map[string]bool{}
	for _, s := range h.streams {
		for _, e := range s {
			if e.kind == capture.KindTraceOut {
				left[e.values[0].text] = true
			}
		}
	}
	handlers := 0
	for _, s := range h.steps {
		handlers++
		at := h.markers[s.ID]
		events := h.streams[at.stream]
		i := at.index
		for i >= 0 && events[i].kind != capture.KindCallRoot {
			i--
		}
		if i < 1 {
			t.Fatalf("handler %d has no root", s.ID)
		}
		root, in := events[i], events[i-1]
		if root.a != Functions()[0].ID || len(root.values) != 2 || root.values[0].text != "POST" || root.values[1].text != "/orders/7" {
			t.Errorf("the root of handler %d: %+v", s.ID, root)
		}
		if in.kind != capture.KindTraceIn || len(in.values) != 1 || len(in.values[0].text) != 24 || !left[in.values[0].text] {
			t.Fatalf("handler %d came with %+v, which did not leave", s.ID, in)
		}
		id := hex.EncodeToString([]byte(in.values[0].text))
		if want := id[:32] + "-" + id[32:]; len(s.Text) != 55 || s.Text[3:52] != want {
			t.Errorf("handler %d saw the header %q, and %s was recorded", s.ID, s.Text, want)
		}
		returned := slices.ContainsFunc(events[at.index:], func(e record) bool { return e.kind == capture.KindReturn && e.a == root.a })
		if !returned {
			t.Errorf("handler %d does not return", s.ID)
		}
	}
	if handlers != 4 || len(left) != 4 {
		t.Errorf("%d handlers, %d requests: %v", handlers, len(left), slices.Collect(maps.Keys(left)))
	}
	if !left[unhex(t, "0af7651916cd43dd8448eb211c80319c"+"b7ad6b7169203331")] {
		t.Error("the context that a caller gave was not kept")
	}
}

func unhex(t testing.TB, s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFunctionsOfTheStandardLibraryHaveReservedNumbers(t *testing.T) {
	seen := map[uint32]bool{}
	for _, f := range Functions() {
		if f.ID == 0 || f.ID > FunctionsMax || seen[f.ID] || f.Func == "" || f.File == "" {
			t.Errorf("%+v", f)
		}
		seen[f.ID] = true
	}
}

// TestOtherVersionsOfGoHandOverAsWell needs a directory for copies of whole toolchains (a quarter of a GB each), named by the
// environment; the versions are those that the go command has downloaded.
func TestOtherVersionsOfGoHandOverAsWell(t *testing.T) {
	copies := os.Getenv("PASTCONE_TEST_TOOLCHAINS")
	if copies == "" {
		t.Skip("PASTCONE_TEST_TOOLCHAINS names no directory for copies of toolchains")
	}
	source, err := os.ReadFile("testdata/handover/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for name, root := range goroots(t) {
		if name == goEnv(t, "GOVERSION") || version.Compare(name, "go1.25") < 0 { // WaitGroup.Go is of Go 1.25
			continue
		}
		t.Run(name, func(t *testing.T) {
			root, err := Toolchain(root, copies, nil)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			files, err := Overlay(root, name, filepath.Join(dir, "std"))
			if err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(map[string]any{"Replace": files})
			if err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{"overlay.json": string(overlay), "main.go": string(source), "go.mod": "module handover\n\ngo 1.25\n"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(filepath.Join(root, "bin", "go"), "build", "-overlay", "overlay.json", "-o", "program", ".")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOWORK=off", "GOROOT="+root, "GOFLAGS=")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			program := filepath.Join(dir, "program")
			checkMutexes(t, program, nil)
			checkRWMutexes(t, program, nil)
			checkWaitGroups(t, program, nil)
			checkOnces(t, program, nil)
			checkConds(t, program, nil)
			checkTimers(t, program, nil)
			checkSignals(t, program)
			checkRequests(t, program)
		})
	}
}

// The standard library's own tests of what is patched pass while they are recorded.
func TestTheStandardLibrarysOwnTestsPassWhileTheyAreRecorded(t *testing.T) {
	overlay, root := overlayFile(t), goEnv(t, "GOROOT")
	for pkg, left := range map[string]string{
		"sync": "", "internal/sync": "", "context": "", "os/signal": "",
		"time": "TestSleep|TestZoneinfo|TestLoadLocation", // slow, and of no timers of ours
	} {
		t.Run(pkg, func(t *testing.T) {
			if testing.Short() {
				t.Skip("builds the standard library anew")
			}
			program := filepath.Join(t.TempDir(), "test")
			cmd := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", program, pkg)
			cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOFLAGS=")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Chdir(filepath.Join(root, "src", filepath.FromSlash(pkg)))
			r := newRing(t, capture.PolicyDrop, 512)
			args := []string{"-test.short"}
			if left != "" {
				args = append(args, "-test.skip", left)
			}
			out, status := run(t, r, nil, program, args...)
			if status != 0 {
				t.Errorf("status %d: %.5000s", status, out)
			}
			streams, tests := r.streams(t), 0
			if r.get64(capture.OffDropped) == 0 {
				whole(t, streams)
			}
			for _, s := range streams {
				for _, e := range s {
					if e.kind == capture.KindCallRoot && e.a == Functions()[1].ID && len(e.values) == 1 && e.values[0].text != "" {
						tests++
					}
				}
			}
			t.Logf("%d tests are roots; %d streams in %d chunks, %d records lost", tests, len(streams), r.get64(capture.OffCursor), r.get64(capture.OffDropped))
			if tests == 0 {
				t.Error("no test is a root")
			}
		})
	}
}
