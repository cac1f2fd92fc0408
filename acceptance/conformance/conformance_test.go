package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// shared is the work bench of all tests here: the command is built once.
var shared bench

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "conformance-test-*")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	shared.dir = dir
	return m.Run()
}

// onTheBench prepares the bench for a test that records programs.
func onTheBench(t *testing.T) *bench {
	t.Helper()
	b := shared
	b.ctx, b.out = t.Context(), t.Output()
	if b.root == "" {
		root, err := filepath.Abs("../..")
		if err != nil {
			t.Fatal(err)
		}
		b.root, b.pastcone = root, filepath.Join(b.dir, "pastcone")
		if out, err := exec.Command("go", "build", "-o", b.pastcone, "../../cmd/pastcone").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		shared.root, shared.pastcone = b.root, b.pastcone
	}
	return &b
}

// The short form of the part stress: the same program, less of it, and two variants.
func TestConformance_EachReceiveIsMatchedWithTheSendOfItsValue(t *testing.T) {
	b := onTheBench(t)
	binary := filepath.Join(t.TempDir(), "stress")
	if err := b.selfRecording(binary, "./acceptance/conformance/stress", "--args", "main.sent,main.received"); err != nil {
		t.Fatal(err)
	}
	for _, v := range []variant{
		{name: "as it is"},
		{name: "GOGC=5, GOMAXPROCS changes", env: []string{"GOGC=5"}, args: []string{"-procs"}},
	} {
		s, err := b.stressOnce(v, binary, 3000)
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		if receives := s.values + s.empties; receives < 3000*receivesPerSend*9/10 || s.matched != receives || s.wrong != 0 {
			t.Errorf("%s: %d receives, %d matched, %d wrong", v.name, receives, s.matched, s.wrong)
		}
	}
}

// The same in the recording that the engine makes: the edges lead from each receive to the send of its value.
func TestConformance_EdgesLeadToTheSendOfTheSameValue(t *testing.T) {
	b := onTheBench(t)
	e, err := b.stressRecorded(500)
	if err != nil {
		t.Fatal(err)
	}
	if e.exact != e.receives || e.receives < 500*receivesPerSend*9/10 || e.closed == 0 {
		t.Errorf("%+v", e)
	}
}

func TestConformance_WrongEdgesAreSeen(t *testing.T) {
	const before = `{"id":1,"stream":"g1","kind":"send"}
{"id":2,"stream":"g1","kind":"call","func":"main.sent","data":{"args":{"v":7}}}
{"id":3,"stream":"g1","kind":"close"}
`
	for lines, want := range map[string]string{
		`{"id":4,"stream":"g2","kind":"receive","causes":[{"id":1,"kind":"message","confidence":"exact"}]}
{"id":5,"stream":"g2","kind":"call","func":"main.received","data":{"args":{"v":7}}}`: "",
		`{"id":4,"stream":"g2","kind":"receive","causes":[{"id":9,"kind":"context"},{"id":1,"kind":"message","confidence":"exact"}]}
{"id":5,"stream":"g2","kind":"call","func":"main.received","data":{"args":{"v":8}}}`: "received number 8",
		`{"id":4,"stream":"g2","kind":"receive","causes":[{"id":3,"kind":"message","confidence":"exact"}]}
{"id":5,"stream":"g2","kind":"call","func":"main.received","data":{"args":{"v":7}}}`: `is a "close"`,
		`{"id":4,"stream":"g2","kind":"receive","causes":[{"id":1,"kind":"message","confidence":"inferred"}]}`:          "no exact edge",
		`{"id":4,"stream":"g2","kind":"receive","closed":true,"causes":[{"id":1,"kind":"close","confidence":"exact"}]}`: `is a "send"`,
	} {
		e, err := checkEdges(strings.NewReader(before + lines))
		if err != nil || !strings.Contains(strings.Join(e.wrong, "\n"), want) || want == "" && (len(e.wrong) > 0 || e.exact != 1) {
			t.Errorf("%s: %+v, %v; want %q", lines, e, err, want)
		}
	}
}

// The short form of the part kills.
func TestConformance_WhatWasCompleteIsInTheRecordingWhateverEndsTheProgram(t *testing.T) {
	b := onTheBench(t)
	binary := filepath.Join(t.TempDir(), "witness")
	if err := b.selfRecording(binary, "./acceptance/conformance/witness", "--args", "main.step"); err != nil {
		t.Fatal(err)
	}
	if err := b.kill(binary, 8); err != nil {
		t.Error(err)
	}
	if err := b.endings(binary, 1); err != nil {
		t.Error(err)
	}
}

// The ledger finds what it is there to find.
func TestConformance_TheLedgerSeesFaults(t *testing.T) {
	const send, receive, call = event.KindSend, event.KindReceive, event.KindCall
	for _, c := range []struct {
		name, want string
		events     []told
	}{
		{"all is well", "", []told{{1, 1, send, 1, "", 0}, {1, 2, call, 0, "main.sent", 7}, {2, 1, receive, 1, "", 0}, {2, 2, call, 0, "main.received", 7}}},
		{"the receive comes first", "", []told{{2, 1, receive, 1, "", 0}, {2, 2, call, 0, "main.received", 7}, {1, 1, send, 1, "", 0}, {1, 2, call, 0, "main.sent", 7}}},
		{"another value", "number 7, but number 8", []told{{1, 1, send, 1, "", 0}, {1, 2, call, 0, "main.sent", 7}, {2, 1, receive, 1, "", 0}, {2, 2, call, 0, "main.received", 8}}},
		{"no send", "ordinal 1 has no send", []told{{2, 1, receive, 1, "", 0}, {2, 2, call, 0, "main.received", 8}}},
		{"a hole", "number 3 stands behind 1", []told{{1, 1, call, 0, "main.sent", 7}, {1, 3, call, 0, "main.sent", 7}}},
		{"an ordinal twice", "two sends", []told{{1, 1, send, 1, "", 0}, {1, 2, call, 0, "main.sent", 7}, {1, 3, send, 1, "", 0}, {1, 4, call, 0, "main.sent", 8}}},
		{"no note", "is not its note", []told{{1, 1, send, 1, "", 0}, {1, 2, call, 0, "main.other", 7}}},
		{"no note at the end", "note is missing", []told{{1, 1, send, 1, "", 0}}},
		{"a step without numbers", "without its two numbers", []told{{1, 1, call, 0, "main.step", 7}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLedger(true)
			for _, e := range c.events {
				if err := l.Push(t.Context(), e.batch(t, l.table)); err != nil {
					t.Fatal(err)
				}
			}
			err := l.finish()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v", err)
			}
			if c.want == "" && l.matched != 1 {
				t.Errorf("%d receives matched", l.matched)
			}
		})
	}
}

// told is an event of a made-up capture.
type told struct {
	stream  int
	seq     uint64
	kind    event.Kind
	ordinal uint64 // of the only channel
	call    string
	value   byte
}

func (e told) batch(t *testing.T, table *wire.Table) *wire.Batch {
	t.Helper()
	must := func(n wire.Name, err error) wire.Name {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	r := wire.Record{Seq: e.seq, Kind: e.kind, Ordinal: e.ordinal}
	if e.ordinal > 0 {
		r.Key = must(table.Name("chan1"))
	}
	var data []byte
	if e.call != "" {
		name, err := table.Intern(e.call)
		if err != nil {
			t.Fatal(err)
		}
		if r.Site, err = table.Site(wire.Place{Func: name}); err != nil {
			t.Fatal(err)
		}
		data = []byte(`{"args":{"v":` + string('0'+rune(e.value)) + `}}`)
	}
	b := &wire.Batch{}
	b.Add(must(table.Name("g"+string('0'+rune(e.stream)))), r, data, nil)
	return b
}

func TestConformance_ArgumentsAreRead(t *testing.T) {
	for text, want := range map[string]int{
		`{"args":{"v":12}}`: 1, `{"args":{"goroutine":3,"number":4}}`: 2, `{"args":[5,6]}`: 2, `{}`: 0, `{"args":{"v":"x"}}`: 0,
	} {
		if got, err := numbers([]byte(text)); err != nil || len(got) != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if _, err := numbers([]byte(`[99999999999999999999]`)); err == nil {
		t.Error("a number beyond 64 bits is read")
	}
}

// Results are held against each other by name, and what fails plain is no argument.
func TestConformance_OutcomesOfTests(t *testing.T) {
	plain := testOutcomes(`{"Action":"run","Package":"p","Test":"A"}
{"Action":"pass","Package":"p","Test":"A"}
not JSON
{"Action":"fail","Package":"p","Test":"B"}
{"Action":"skip","Package":"p","Test":"C"}
{"Action":"pass","Package":"p","Test":"D"}
{"Action":"pass","Package":"p","Test":"E"}
{"Action":"pass","Package":"p"}`)
	h := plain.against(outcomes{"p A": "pass", "p B": "pass", "p C": "skip", "p D": "fail"})
	if h.passed != 1 || h.skipped != 1 || h.failing != 1 || strings.Join(h.differ, ",") != "p D,p E" {
		t.Errorf("%+v", h)
	}
}
