package patch

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/capture"
)

// story runs a story of the program calls, and returns the ring and the main goroutine's events as text, of the kinds that
// the story is about: calls, returns, errors, panics, state.
func story(t *testing.T, name string, flags ...string) (*testRing, string) {
	t.Helper()
	program := build(t, "calls", flags...)
	r := newRing(t, capture.PolicyBlock, 8)
	run(t, r, nil, program, name)
	streams := r.streams(t)
	whole(t, streams)
	return r, told(streams[1], places(t, r, program))
}

var kindNames = map[uint8]string{
	capture.KindCall: "call", capture.KindCallRoot: "root", capture.KindReturn: "return", capture.KindSpawn: "spawn", capture.KindStart: "start",
	capture.KindExit: "exit", capture.KindPanic: "panic", capture.KindRecover: "recover", capture.KindError: "error", capture.KindState: "state",
	capture.KindReceive: "receive", capture.KindReceiveEmpty: "receive", capture.KindReceiveClosed: "closed",
}

var functionNames = []string{17: "outer", "inner", "read", "open", "serve", "clean", "count", "values", "site"}

func told(events []record, at func(uint32, bool) string) string {
	var lines []string
	for _, e := range events {
		var values []string
		for _, v := range e.values {
			switch v.kind {
			case capture.ValueInt:
				values = append(values, fmt.Sprint(int64(v.bits)))
			case capture.ValueUint:
				values = append(values, fmt.Sprint(v.bits, "u"))
			case capture.ValueFloat:
				values = append(values, fmt.Sprint(math.Float64frombits(v.bits), "f"))
			case capture.ValueBool:
				values = append(values, fmt.Sprint(v.bits == 1))
			case capture.ValueString:
				values = append(values, fmt.Sprintf("%q of %d", v.text, v.size))
			case capture.ValueError:
				values = append(values, fmt.Sprintf("error %q", v.text))
			case capture.ValueNil:
				values = append(values, "nil")
			case capture.ValuePtr:
				values = append(values, fmt.Sprint("pointer ", v.bits != 0))
			case capture.ValueOther:
				values = append(values, "type "+v.text)
			}
		}
		line := kindNames[e.kind]
		switch e.kind {
		case capture.KindCall, capture.KindCallRoot, capture.KindState:
			line += " " + functionNames[e.a]
		case capture.KindReturn:
			line += " " + functionNames[e.a] + []string{"", " with an error", " panicked"}[e.b]
		case capture.KindError:
			line += " " + functionNames[e.a] + []string{" new", " wrapped", " passed"}[e.b]
		case capture.KindPanic, capture.KindRecover:
			line += " in " + sourceLine(at(e.b, false))
		case capture.KindStart, capture.KindExit:
		default:
			continue
		}
		if values != nil {
			line += ": " + strings.Join(values, ", ")
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// sourceLine replaces the line number at the end of a place by what the program's source has there.
func sourceLine(place string) string {
	fn, rest, _ := strings.Cut(place, " ")
	_, number, _ := strings.Cut(rest, ":")
	text, err := os.ReadFile("testdata/calls/main.go")
	if err != nil {
		return err.Error()
	}
	n, _ := strconv.Atoi(number)
	lines := strings.Split(string(text), "\n")
	if n < 1 || n > len(lines) {
		return place
	}
	return fn + ": " + strings.TrimSpace(lines[n-1])
}

var initFunction = regexp.MustCompile(`main\.init\.func[0-9.]+`)

func TestWhatProbesRecord(t *testing.T) {
	digits := strings.Repeat("0123456789", 24)
	serve := "call serve\ncall open\ncall read\nerror read new: error \"out of paper\"\nreturn read with an error\ncall clean\nreturn clean\ncall read\nreturn read\n" +
		"error open wrapped: error \"open: out of paper\"\nreturn open with an error\nerror serve passed\nreturn serve with an error\n"
	again := "call read\nerror read new: error \"out of paper\"\nreturn read with an error\n"
	for name, want := range map[string]string{
		"calls": "root outer\ncall clean\nreturn clean\ncall inner\ncall clean\nreturn clean\nreturn inner\nreturn outer",
		"errors": serve + again + again + "call outer\n" + serve + "return outer\n" +
			"call serve\ncall open\ncall read\nreturn read\nreturn open\nreturn serve",
		"loop defers": strings.Replace(serve, "error serve passed", "call clean\nreturn clean\ncall clean\nreturn clean\nerror serve passed", 1),
		"errno": "call outer\ncall inner\nerror inner new: error \"no such file or directory\"\nreturn inner with an error\nerror outer passed\n" +
			"return outer with an error",
		"joined": "call serve\n" + again + "error serve wrapped: error \"other\\nwrapped: out of paper\"\nreturn serve with an error",
		"lying error": "call values: -5, 9223372036854775808u, 1.5f, true, \"abc\" of 3, error \"I lie\", pointer true, type main.lying\n" +
			"error values new: error \"I lie\"\nreturn values with an error: \"abc\" of 3, error \"I lie\"\n" +
			"call values: -5, 9223372036854775808u, 1.5f, true, \"abc\" of 3, error \"its Error method panicked\", pointer true, type main.lying\n" +
			"error values new: error \"its Error method panicked\"\nreturn values with an error: \"abc\" of 3, error \"its Error method panicked\"",
		"recovered": "call outer\ncall inner\npanic in main.panicking: panic(v): \"boom\" of 4\nreturn inner panicked\nrecover in main.recovering.func1: defer func() { recover() }()\nreturn outer\n" +
			"call outer\ncall inner\npanic in main.panicking: panic(v): error \"out of paper\"\nreturn inner panicked\nrecover in main.recovering.func1: defer func() { recover() }()\nreturn outer\n" +
			"call outer\ncall inner\npanic in main.panicking: panic(v): 7\nreturn inner panicked\nrecover in main.recovering.func1: defer func() { recover() }()\nreturn outer\n" +
			"call outer\ncall inner\npanic in main.panicking: panic(v): type []int\nreturn inner panicked\nrecover in main.recovering.func1: defer func() { recover() }()\nreturn outer",
		"values": "call values: -5, 9223372036854775808u, 1.5f, true, \"" + digits + "\" of 300, nil, pointer true, type main.lying\nreturn values: \"012\" of 3, nil\n" +
			"call values: -5, 9223372036854775808u, 1.5f, true, \"short\" of 5, nil, pointer true, type main.lying\nreturn values: \"sho\" of 3, nil\n" +
			"call values: -5, 9223372036854775808u, 1.5f, true, \"\" of 0, error \"out of paper\", pointer true, type main.lying\n" +
			"error values new: error \"out of paper\"\nreturn values with an error: \"\" of 0, error \"out of paper\"",
		"root":           "root outer: \"GET\" of 3, \"/orders/xxxxxxxxxxxxxxxxxx\" of 26\nreturn outer",
		"deferred panic": "call outer\npanic in main.deferredPanic: panic(\"x\"): \"x\" of 1\ncall inner\ncall clean\nreturn clean\nreturn inner\nrecover in main.deferredPanic.func1: defer func() { recover() }()\nreturn outer",
		"nil fault": "call inner\npanic in main.faulting: return *p // the fault: error \"runtime error: invalid memory address or nil pointer dereference\"\n" +
			"return inner panicked\nrecover in main.init.func*: \"nil fault\":   func() { defer func() { recover() }(); faulting(nil) },",
		"bounds": "panic in main.bounds: s[len(os.Args)+3]++ // out of range: error \"runtime error: index out of range [5] with length 0\"\n" +
			"recover in main.bounds.func1: defer func() { recover() }()",
		"state": "state site: \"new\" of 3, \"paid\" of 4",
	} {
		forms := [][]string{nil}
		if everyForm {
			forms = append(forms, []string{"-race"}, []string{"-gcflags=all=-N -l"})
		}
		for _, flags := range forms {
			_, got := story(t, name, flags...)
			got = initFunction.ReplaceAllString(got, "main.init.func*")
			if strings.TrimSpace(got) != "start\n"+strings.TrimSpace(want) {
				t.Errorf("%s %v: got\n%s\n\nwant\n%s\n", name, flags, got, want)
			}
		}
	}
}

func TestGoroutinesThatEndInOtherWays(t *testing.T) {
	at := func(r *testRing) func(uint32, bool) string { return places(t, r, build(t, "calls")) }
	r, _ := story(t, "goexit")
	for stream, s := range r.streams(t) {
		if stream == 1 || stream>>63 != 0 {
			continue
		}
		if got := told(s, at(r)); !strings.Contains(got, "start\ncall inner\nreturn inner panicked\nexit") {
			t.Errorf("a goroutine that ends by Goexit: %s", got)
		}
	}
	r, _ = story(t, "coroutine")
	found := false
	for stream, s := range r.streams(t) {
		if stream == 1 || stream>>63 != 0 {
			continue
		}
		if got := told(s, at(r)); got == "start\ncall clean\nreturn clean\ncall clean\nreturn clean\nexit" {
			found = true
		}
	}
	if !found {
		t.Errorf("the coroutine of an iterator is not there: %v", r.streams(t))
	}
	r, _ = story(t, "nested goroutines")
	streams := r.streams(t)
	if n := goroutines(t, streams); n != 2 {
		t.Errorf("%d spawns, of 2", n)
	}
	if n := r.get64(capture.OffGoroutines); n != 3 {
		t.Errorf("the ring says %d goroutines, of 3", n)
	}
}

func TestASilentFunctionLeavesCountsAndItsErrors(t *testing.T) {
	program := build(t, "calls")
	r := newRing(t, capture.PolicyBlock, 8)
	const count = 23
	r.memory[int(r.get64(capture.OffFunctionStates))+count] = capture.FunctionSilent
	run(t, r, nil, program, "silent")
	streams := r.streams(t)
	if got, want := told(streams[1], places(t, r, program)), "start\nerror count new: error \"out of paper\""; got != want {
		t.Errorf("got %s", got)
	}
	calls, ticks := r.silenced(count)
	if calls != 1601 {
		t.Errorf("%d calls counted, of 1601", calls)
	}
	// A call that is counted takes some nanoseconds; a hundred of them were timed, and stand for all.
	if ticks < 1600 || ticks > 1601*100_000 {
		t.Errorf("%d ticks for 1600 calls", ticks)
	}
}

func TestTheRingTellsHowTheProgramEnded(t *testing.T) {
	for _, c := range []struct {
		name              string
		end, code, signal uint32
		status            int
	}{
		{"calls", capture.EndExit, 0, 0, 0},
		{"exit", capture.EndExit, 7, 0, 7},
		{"panic", capture.EndPanic, 2, 0, 2},
		{"fatal", capture.EndFatal, 2, 0, 2},
		{"throw", capture.EndFatal, 2, 0, 2},
		{"quit", capture.EndFatal, 2, 0, 2},
		{"killed", 0, 0, 15, -1},
	} {
		r := newRing(t, capture.PolicyBlock, 8)
		_, status := run(t, r, nil, build(t, "calls"), c.name)
		if end, code, signal := r.get32(capture.OffEnd32), r.get32(capture.OffExitCode32), r.get32(capture.OffEndSignal32); end != c.end || code != c.code ||
			signal != c.signal || status != c.status {
			t.Errorf("%s: end %d, code %d, signal %d, status %d", c.name, end, code, signal, status)
		}
		whole(t, r.streams(t))
	}
}

func TestOnlyTheFirstProgramTakesTheRing(t *testing.T) {
	program := build(t, "calls")
	r := newRing(t, capture.PolicyBlock, 8)
	out, status := run(t, r, nil, program, "child")
	if out != "<nil>\n" || status != 0 {
		t.Errorf("the parent of a child: %q, %d", out, status)
	}
	for stream, s := range r.streams(t) {
		for _, e := range s {
			if e.kind == capture.KindCallRoot {
				t.Errorf("the child wrote into its parent's ring: stream %d", stream)
			}
		}
	}
	if r.get32(capture.OffClock32) == 0 || r.get64(capture.OffStartTicks) == 0 || r.get64(capture.OffTextStart) >= r.get64(capture.OffTextEnd) {
		t.Error("the header is not complete")
	}
	if start := time.Unix(0, int64(r.get64(capture.OffStartUnix))); time.Since(start).Abs() > time.Minute {
		t.Errorf("the program began at %v", start)
	}
	before := r.get64(capture.OffCursor)
	if _, status := run(t, r, nil, program, "calls"); status != 0 || r.get64(capture.OffCursor) != before {
		t.Errorf("a second program: status %d, %d chunks taken", status, r.get64(capture.OffCursor)-before)
	}
}

func TestAProgramWithoutAFittingRingRunsAsBefore(t *testing.T) {
	program := build(t, "calls")
	for name, c := range map[string]struct {
		change func(r *testRing)
		stderr string
	}{
		"no file":         {func(r *testRing) { os.Remove(r.path) }, ""},
		"another version": {func(r *testRing) { *r.at32(capture.OffVersion32) = 99 }, "another version of Pastcone; this program is not recorded\n"},
		"no ring":         {func(r *testRing) { r.set64(0, 1) }, "is no ring; this program is not recorded\n"},
		"damaged":         {func(r *testRing) { r.set64(capture.OffChunkStates, 1<<60) }, "is a damaged ring; this program is not recorded\n"},
		"a long name":     {func(r *testRing) { r.path += strings.Repeat("/x", 600) }, "is too long a name; this program is not recorded\n"},
		"empty name":      {func(r *testRing) { r.path = "" }, ""},
	} {
		r := newRing(t, capture.PolicyBlock, 2)
		c.change(r)
		cmd := exec.Command(program, "child")
		cmd.Env = append(os.Environ(), capture.EnvRing+"="+r.path)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil || !strings.HasSuffix(string(out), "<nil>\n") || !strings.HasSuffix(stderr.String(), c.stderr) || (c.stderr == "") != (stderr.Len() == 0) ||
			strings.Count(stderr.String(), "\n") > 1 {
			t.Errorf("%s: %v, %q, %q", name, err, out, stderr.String())
		}
	}
}

func TestTheCollectorSwitchesTheRecordingOffAndOn(t *testing.T) {
	r := newRing(t, capture.PolicyBlock, 8)
	cmd := exec.Command(build(t, "calls"), "switched")
	cmd.Env = append(os.Environ(), capture.EnvRing+"="+r.path)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil || cmd.Start() != nil {
		t.Fatal(err1, err2)
	}
	for i := range 3 {
		if _, err := out.Read(make([]byte, 16)); err != nil {
			t.Fatal(err)
		}
		*r.at32(capture.OffOn32) = uint32(i) & 1 // off, on, off
		in.Write([]byte{'\n'})
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	r.end()
	streams := r.streams(t)
	whole(t, streams)
	if got, want := told(streams[1], nil), "start\ncall clean\nreturn clean\ncall clean\nreturn clean"; got != want {
		t.Errorf("on, off, on: got %s", got)
	}
}
