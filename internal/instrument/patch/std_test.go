package patch

import (
	"debug/buildinfo"
	"encoding/hex"
	"go/version"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pastcone/pastcone/internal/capture"
)

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
	if handlers != 8 || len(left) != 7 { // one context was the caller's own, twice
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

func TestTestsBenchmarksAndFuzzTargetsAreRootsWithTheirNames(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the standard library anew")
	}
	program := filepath.Join(t.TempDir(), "roots")
	cmd := exec.Command("go", "test", "-c", "-overlay", overlayFile(t), "-o", program, "./testdata/roots")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r := newRing(t, capture.PolicyBlock, 64)
	out, status := run(t, r, nil, program, "-test.bench=.", "-test.benchtime=1x")
	if status != 0 {
		t.Fatalf("status %d: %s", status, out)
	}
	names := map[uint32]string{}
	for _, f := range Functions() {
		names[f.ID] = f.Func
	}
	roots, open := map[string]bool{}, 0
	streams := r.streams(t)
	whole(t, streams)
	for _, s := range streams {
		for _, e := range s {
			switch e.kind {
			case capture.KindCallRoot:
				roots[names[e.a]+" "+e.values[0].text] = true
				open++
			case capture.KindReturn:
				open--
			}
		}
	}
	for _, want := range []string{
		"testing.tRunner TestOne", "testing.tRunner TestOne/under_it", "testing.tRunner TestOne/skipped", "testing.tRunner TestTwo",
		"testing.(*B).runN BenchmarkThree", "testing.fRunner FuzzFour", "testing.tRunner FuzzFour/seed#0",
	} {
		if !roots[want] {
			t.Errorf("%s is no root: %v", want, slices.Sorted(maps.Keys(roots)))
		}
	}
	if open != 0 {
		t.Errorf("%d roots do not return", open)
	}
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
