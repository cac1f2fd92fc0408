package capture

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/capture"
	"github.com/pastcone/pastcone/internal/wire"
)

// lineOf writes an event as a line, its time left out.
func lineOf(e *event.Event) string {
	line := string(event.AppendLine(nil, e))
	before, rest, _ := strings.Cut(line, `"time":`)
	_, after, _ := strings.Cut(rest, ",")
	return before + after
}

const (
	functionTableOfStories = `{"id":1,"func":"net/http.serverHandler.ServeHTTP","file":"net/http/server.go","root":true}
{"id":2,"func":"testing.tRunner","file":"testing/testing.go","root":true}
{"id":17,"func":"shop.Order","file":"shop/order.go","line":12}
{"id":18,"func":"shop.(*Queue).Push","file":"shop/queue.go","line":30}
{"id":19,"func":"shop.(*Queue).Pop","file":"shop/queue.go","line":40}
{"id":21,"func":"shop.find","args":["ctx","_","the \"sku\""]}
{"id":20,"func":"shop.(*Order).Pay","file":"shop/order.go","line":50,"state":"shop.Order.status"}`
	pc    = 0x1000
	entry = 0x2000

	clientPC = 0x3000
)

func storyMaker() *maker {
	m := newMaker()
	m.functions(functionTableOfStories)
	m.place(pc, false, "shop.(*Queue).run", "/src/shop/queue.go", 33)
	m.place(entry, true, "shop.worker", "/src/shop/worker.go", 5)
	m.place(clientPC, false, "net/http.(*persistConn).roundTrip", "/go/src/net/http/transport.go", 2900)
	return m
}

// Each kind of record, and the events that it makes.
func TestRead_WhatEachRecordBecomes(t *testing.T) {
	const at = `"func":"shop.(*Queue).run","file":"/src/shop/queue.go","line":33`
	const in17 = `"func":"shop.Order","file":"shop/order.go","line":12`
	long := strings.Repeat("é", 200)
	traceID := "0123456789abcdef" + "ABCDEFGH"
	const traced = `"trace":"30313233343536373839616263646566","span":"4142434445464748"`
	const ref = `trace:30313233343536373839616263646566-4142434445464748`
	for _, c := range []struct {
		story string
		make  func(m *maker)
		want  []string
	}{
		{"a call with arguments, and its return with a result", func(m *maker) {
			m.record(capture.KindCall, 5, 1, 17, 0, 0, value{kind: capture.ValueInt, bits: 1<<64 - 3}, value{kind: capture.ValueString, s: `a "lamp"`}, value{kind: capture.ValueUint, bits: 1<<64 - 1},
				value{kind: capture.ValueBool, bits: 1}, value{kind: capture.ValueFloat, bits: math.Float64bits(1.5)}, value{kind: capture.ValueFloat, bits: math.Float64bits(math.Inf(-1))})
			m.record(capture.KindReturn, 5, 2, 17, 0, 0, value{kind: capture.ValuePtr, bits: 0xc000012340})
			m.record(capture.KindReturn, 5, 3, 17, 0, 0)
			m.record(capture.KindReturn, 5, 4, 17, capture.ReturnError, 0, value{kind: capture.ValueNil}, value{kind: capture.ValueError, s: "sold out\n"})
			m.record(capture.KindReturn, 5, 5, 17, capture.ReturnError|capture.ReturnPanicked, 0)
		}, []string{
			`{"stream":"g5","seq":1,"kind":"call",` + in17 + `,"data":{"args":[-3,"a \"lamp\"",18446744073709551615,true,1.5,"-Inf"]}}`,
			`{"stream":"g5","seq":2,"kind":"return",` + in17 + `,"data":{"result":"0xc000012340"}}`,
			`{"stream":"g5","seq":3,"kind":"return",` + in17 + `}`,
			`{"stream":"g5","seq":4,"kind":"return",` + in17 + `,"data":{"reason":"error","result":[null,{"error":"sold out\n"}]}}`,
			`{"stream":"g5","seq":5,"kind":"return",` + in17 + `,"data":{"reason":"panic"}}`,
		}},
		{"a text that was cut, in the middle of a character, and a value of another type", func(m *maker) {
			m.record(capture.KindCall, 5, 1, 17, 0, 0, value{kind: capture.ValueString, s: "x" + long}, value{kind: capture.ValueOther, s: "shop.Order"}, value{kind: 77})
		}, []string{
			`{"stream":"g5","seq":1,"kind":"call",` + in17 + `,"data":{"args":["x` + strings.Repeat("é", 119) + `… (cut, 401 bytes)",{"type":"shop.Order"},{"unknown":77}]}}`,
		}},
		{"a request, and a test", func(m *maker) {
			m.record(capture.KindCallRoot, 5, 1, 1, 0, 0, value{kind: capture.ValueString, s: "GET"}, value{kind: capture.ValueString, s: "/order"})
			m.record(capture.KindCallRoot, 6, 1, 2, 0, 0, value{kind: capture.ValueString, s: "TestOrder/lamp"}, value{kind: capture.ValueString, s: "more than it has names"})
			m.record(capture.KindCallRoot, 7, 1, 17, 0, 0, value{kind: capture.ValueInt, bits: 4})
		}, []string{
			`{"stream":"g5","seq":1,"kind":"call","func":"net/http.serverHandler.ServeHTTP","file":"net/http/server.go","root":true,"data":{"method":"GET","path":"/order"}}`,
			`{"stream":"g6","seq":1,"kind":"call","func":"testing.tRunner","file":"testing/testing.go","root":true,"data":{"test":"TestOrder/lamp"}}`,
			`{"stream":"g7","seq":1,"kind":"call",` + in17 + `,"root":true,"data":{"args":[4]}}`,
		}},
		{"arguments with names, one without, and one more than the table knows", func(m *maker) {
			m.record(capture.KindCall, 5, 1, 21, 0, 0, value{kind: capture.ValueNil}, value{kind: capture.ValueInt, bits: 4}, value{kind: capture.ValueString, s: "lamp"}, value{kind: capture.ValueInt, bits: 9})
		}, []string{
			`{"stream":"g5","seq":1,"kind":"call","func":"shop.find","data":{"args":{"ctx":null,"arg1":4,"the \"sku\"":"lamp"}}}`,
		}},
		{"a goroutine from its spawn to its exit", func(m *maker) {
			m.record(capture.KindSpawn, 5, 1, 0, pc, 9)
			m.record(capture.KindStart, 9, 1, 0, entry, 5)
			m.record(capture.KindExit, 9, 2, 0, 0, 0)
		}, []string{
			`{"stream":"g5","seq":1,"kind":"spawn",` + at + `,"child":"g9"}`,
			`{"stream":"g9","seq":1,"kind":"start","func":"shop.worker","file":"/src/shop/worker.go","line":5}`,
			`{"stream":"g9","seq":2,"kind":"exit"}`,
		}},
		{"a client's response is no work that somebody hands it", func(m *maker) {
			m.record(capture.KindReceive, 6, 1, 3, clientPC, 7)
		}, []string{
			`{"stream":"g6","seq":1,"kind":"receive","func":"net/http.(*persistConn).roundTrip","file":"/go/src/net/http/transport.go","line":2900,"key":"chan3","ordinal":7,"takes":false}`,
		}},
		{"messages, empty ones, a close", func(m *maker) {
			m.record(capture.KindSend, 5, 1, 3, pc, 1<<48|7)
			m.record(capture.KindReceive, 6, 1, 3, pc, 1<<48|7)
			m.record(capture.KindSendEmpty, 5, 2, 4, 0x999, 1)
			m.record(capture.KindReceiveEmpty, 6, 2, 4, pc, 1)
			m.record(capture.KindClose, 5, 3, 4, pc, 0)
			m.record(capture.KindReceiveClosed, 6, 3, 4, pc, 0)
		}, []string{
			`{"stream":"g5","seq":1,"kind":"send",` + at + `,"key":"chan4294967299","ordinal":7}`,
			`{"stream":"g6","seq":1,"kind":"receive",` + at + `,"key":"chan4294967299","ordinal":7}`,
			`{"stream":"g5","seq":2,"kind":"send","key":"chan4","ordinal":1,"empty":true}`,
			`{"stream":"g6","seq":2,"kind":"receive",` + at + `,"key":"chan4","ordinal":1,"empty":true}`,
			`{"stream":"g5","seq":3,"kind":"close",` + at + `,"key":"chan4"}`,
			`{"stream":"g6","seq":3,"kind":"receive",` + at + `,"key":"chan4","closed":true}`,
		}},
		{"locks: a hand-over, one that is inferred, three releases at once, one that nobody saw", func(m *maker) {
			m.record(capture.KindRelease, 5, 1, 2, pc, 8)
			m.record(capture.KindAcquire, 6, 1, 2, pc, 8)
			m.record(capture.KindAcquireInferred, 6, 2, 2, pc, 8)
			m.record(capture.KindAcquireRange, 6, 3, 11, pc, 5<<24|3)
			m.record(capture.KindAcquireUnseen, 6, 6, 2, pc, 44, value{kind: capture.ValueUint, bits: 5}, value{kind: capture.ValueUint, bits: 99})
			m.record(capture.KindAcquireUnseen, 6, 7, 2, pc, 44, value{kind: capture.ValueUint}, value{kind: capture.ValueUint})
		}, []string{
			`{"stream":"g5","seq":1,"kind":"release",` + at + `,"key":"lock2","ordinal":8}`,
			`{"stream":"g6","seq":1,"kind":"acquire",` + at + `,"key":"lock2","ordinal":8}`,
			`{"stream":"g6","seq":2,"kind":"acquire",` + at + `,"key":"lock2","ordinal":8,"inferred":true}`,
			`{"stream":"g6","seq":3,"kind":"acquire",` + at + `,"key":"lock11","ordinal":3}`,
			`{"stream":"g6","seq":4,"kind":"acquire",` + at + `,"key":"lock11","ordinal":4}`,
			`{"stream":"g6","seq":5,"kind":"acquire",` + at + `,"key":"lock11","ordinal":5}`,
			`{"stream":"g6","seq":6,"kind":"acquire",` + at + `,"key":"lock2","ordinal":44,"peer":"g5","unseen":true,"data":{"after":99}}`,
			`{"stream":"g6","seq":7,"kind":"acquire",` + at + `,"key":"lock2","ordinal":44,"unseen":true}`,
		}},
		{"a condition, by the number of the event that woke", func(m *maker) {
			m.record(capture.KindNotify, 5, 1, 0, pc, 0)
			m.record(capture.KindWake, 6, 1, 1, pc, 5)
			m.record(capture.KindWake, 6, 2, 0, pc, 0)
		}, []string{
			`{"stream":"g5","seq":1,"kind":"log",` + at + `,"ref":"g5.1","data":{"notify":true}}`,
			`{"stream":"g6","seq":1,"kind":"wake",` + at + `,"peer":"g5","cause":["g5.1"]}`,
			`{"stream":"g6","seq":2,"kind":"wake",` + at + `}`,
		}},
		{"timers: set, and fire; the low bits of a setting are enough", func(m *maker) {
			m.record(capture.KindTimerSet, 5, 1, 0, pc, 3<<24|1)
			m.record(capture.KindTimerSend, 3, 1, 8, 1<<24|1, 1)
			m.record(capture.KindTimerSet, 5, 2, 0, pc, 4<<24|2)
			m.record(capture.KindTimerSpawn, 4, 1, 0, 2, 77)
			m.record(capture.KindStart, 77, 1, 0, entry, 0)
		}, []string{
			`{"stream":"g5","seq":1,"kind":"log",` + at + `,"ref":"timer3.1","data":{"timer":3}}`,
			`{"stream":"timer3","seq":1,"kind":"send","key":"chan8","ordinal":1,"cause":["timer3.1"]}`,
			`{"stream":"g5","seq":2,"kind":"log",` + at + `,"ref":"timer4.2","data":{"timer":4}}`,
			`{"stream":"timer4","seq":1,"kind":"spawn","child":"g77","cause":["timer4.2"]}`,
			`{"stream":"g77","seq":1,"kind":"start","func":"shop.worker","file":"/src/shop/worker.go","line":5}`,
		}},
		{"an error on its way, and a panic", func(m *maker) {
			m.record(capture.KindError, 5, 1, 17, capture.ErrorNew, 0xc0de, value{kind: capture.ValueError, s: "sold out"})
			m.record(capture.KindError, 5, 2, 17, capture.ErrorPassed, 0xc0de)
			m.record(capture.KindError, 5, 3, 17, capture.ErrorWrapped, 0xc0ff, value{kind: capture.ValueError, s: "order 7: sold out"})
			m.record(capture.KindPanic, 5, 4, 0, pc, 0, value{kind: capture.ValueString, s: "out of\x00range"})
			m.record(capture.KindRecover, 5, 5, 0, pc, 0)
			m.record(capture.KindPanic, 5, 6, 0, pc, 0)
		}, []string{
			`{"stream":"g5","seq":1,"kind":"error",` + in17 + `,"data":{"error":"sold out","identity":"c0de"}}`,
			`{"stream":"g5","seq":2,"kind":"error",` + in17 + `,"data":{"passed":true,"identity":"c0de"}}`,
			`{"stream":"g5","seq":3,"kind":"error",` + in17 + `,"data":{"error":"order 7: sold out","wraps":true,"identity":"c0ff"}}`,
			`{"stream":"g5","seq":4,"kind":"error",` + at + `,"data":{"error":"out of\u0000range","class":"panic"}}`,
			`{"stream":"g5","seq":5,"kind":"log",` + at + `,"data":{"recovered":true}}`,
			`{"stream":"g5","seq":6,"kind":"error",` + at + `,"data":{"error":null,"class":"panic"}}`,
		}},
		{"state of two orders", func(m *maker) {
			m.record(capture.KindState, 5, 1, 20, 0, 0xc000, value{kind: capture.ValueString, s: "new"}, value{kind: capture.ValueString, s: "paid"})
			m.record(capture.KindState, 5, 2, 20, 0, 0xd000, value{kind: capture.ValueInt, bits: 1}, value{kind: capture.ValueInt, bits: 2})
			m.record(capture.KindState, 5, 3, 20, 0, 0xc000)
		}, []string{
			`{"stream":"g5","seq":1,"kind":"state","func":"shop.(*Order).Pay","file":"shop/order.go","line":50,"key":"shop.Order.status#1","data":{"old":"new","new":"paid"}}`,
			`{"stream":"g5","seq":2,"kind":"state","func":"shop.(*Order).Pay","file":"shop/order.go","line":50,"key":"shop.Order.status#2","data":{"old":1,"new":2}}`,
			`{"stream":"g5","seq":3,"kind":"state","func":"shop.(*Order).Pay","file":"shop/order.go","line":50,"key":"shop.Order.status#1","data":{}}`,
		}},
		{"a queue that the same element goes through twice, and one that nobody sent", func(m *maker) {
			for i := range uint64(2) {
				m.record(capture.KindQueueSend, 5, 1+i, 18, 0, 0xe1)
				m.record(capture.KindQueueReceive, 6, 1+i, 19, 0, 0xe1)
			}
			m.record(capture.KindQueueReceive, 6, 3, 19, 0, 0xe1)
		}, []string{
			`{"stream":"g5","seq":1,"kind":"send","func":"shop.(*Queue).Push","file":"shop/queue.go","line":30,"key":"shop.(*Queue)","message":"element1"}`,
			`{"stream":"g6","seq":1,"kind":"receive","func":"shop.(*Queue).Pop","file":"shop/queue.go","line":40,"key":"shop.(*Queue)","message":"element1"}`,
			`{"stream":"g5","seq":2,"kind":"send","func":"shop.(*Queue).Push","file":"shop/queue.go","line":30,"key":"shop.(*Queue)","message":"element2"}`,
			`{"stream":"g6","seq":2,"kind":"receive","func":"shop.(*Queue).Pop","file":"shop/queue.go","line":40,"key":"shop.(*Queue)","message":"element2"}`,
			`{"stream":"g6","seq":3,"kind":"receive","func":"shop.(*Queue).Pop","file":"shop/queue.go","line":40,"key":"shop.(*Queue)","message":"unseen3"}`,
		}},
		{"the goroutine that main runs in, which nobody spawned", func(m *maker) {
			m.record(capture.KindStart, 1, 1, 0, entry, 0)
		}, []string{
			`{"stream":"g1","seq":1,"kind":"log","func":"shop.worker","file":"/src/shop/worker.go","line":5,"data":{"program":"started"}}`,
		}},
		{"a signal and a line of a log", func(m *maker) {
			m.record(capture.KindSignal, 5, 1, 0, pc, 0, value{kind: capture.ValueString, s: "interrupt"})
			m.record(capture.KindLog, 5, 2, 0, pc, 0, value{kind: capture.ValueString, s: "no \xff UTF-8"})
		}, []string{
			`{"stream":"g5","seq":1,"kind":"log",` + at + `,"data":{"signal":"interrupt"}}`,
			`{"stream":"g5","seq":2,"kind":"log",` + at + `,"data":{"text":"no ` + "\uFFFD" + ` UTF-8"}}`,
		}},
		{"what package probe has to tell, in pieces, and what it never says", func(m *maker) {
			piece := func(s string) value { return value{kind: capture.ValueString, s: s} }
			m.record(capture.KindProbe, 5, 1, 0, pc, 0, piece(`"call","cause":"trace:a-1","ro`), piece(`ot":true,"data":{"n":1}}`+"\n"))
			m.record(capture.KindProbe, 5, 2, 0, pc, 0, piece(`"send","key":"heap7","ordinal":3,"message":"m","ref":"r","empty":true}`))
			m.record(capture.KindProbe, 5, 3, 0, pc, 0, piece(`"receive","key":"heap7","closed":true}`))
			m.record(capture.KindProbe, 5, 4, 0, pc, 0, piece(`"exit"}`))
			m.record(capture.KindProbe, 5, 5, 0, pc, 0, piece(`"log","data":`))
			m.record(capture.KindProbe, 5, 6, 0, pc, 0)
		}, []string{
			`{"stream":"g5","seq":1,"kind":"call",` + at + `,"cause":["trace:a-1"],"root":true,"data":{"n":1}}`,
			`{"stream":"g5","seq":2,"kind":"send",` + at + `,"key":"heap7","ordinal":3,"message":"m","ref":"r","empty":true}`,
			`{"stream":"g5","seq":3,"kind":"receive",` + at + `,"key":"heap7","closed":true}`,
			`{"stream":"g5","seq":4,"kind":"log",` + at + `,"data":{"unreadable":"\"exit\"}"}}`,
			`{"stream":"g5","seq":5,"kind":"log",` + at + `,"data":{"unreadable":"\"log\",\"data\":"}}`,
			`{"stream":"g5","seq":6,"kind":"log",` + at + `,"data":{"unreadable":""}}`,
		}},
		{"a request to oneself, and one from a stranger", func(m *maker) {
			m.record(capture.KindTraceOut, 5, 1, 0, pc, 0, value{kind: capture.ValueString, s: traceID})
			m.record(capture.KindTraceIn, 6, 1, 0, pc, 0, value{kind: capture.ValueString, s: traceID})
			m.record(capture.KindCallRoot, 6, 2, 17, 0, 0)
			m.record(capture.KindTraceIn, 7, 1, 0, pc, 0, value{kind: capture.ValueString, s: strings.ToUpper(traceID)})
			m.record(capture.KindCallRoot, 7, 2, 17, 0, 0)
			m.record(capture.KindTraceIn, 7, 3, 0, pc, 0, value{kind: capture.ValueString, s: "short"})
		}, []string{
			`{"stream":"g5","seq":1,"kind":"log",` + at + `,"ref":"` + ref + `","data":{` + traced + `}}`,
			`{"stream":"g6","seq":1,"kind":"log",` + at + `,"cause":["` + ref + `"],"data":{` + traced + `}}`,
			`{"stream":"g6","seq":2,"kind":"call",` + in17 + `,"cause":["` + ref + `"],"root":true}`,
			`{"stream":"g7","seq":1,"kind":"log",` + at + `,"cause":["trace:30313233343536373839414243444546-4142434445464748"],"data":{"trace":"30313233343536373839414243444546","span":"4142434445464748"}}`,
			`{"stream":"g7","seq":2,"kind":"call",` + in17 + `,"cause":["trace:30313233343536373839414243444546-4142434445464748"],"root":true}`,
			`{"stream":"g7","seq":3,"kind":"log",` + at + `,"data":{"trace":null}}`,
		}},
		{"names with numbers beyond what a name holds as one", func(m *maker) {
			m.record(capture.KindSend, 1<<40-1, 1, 0xffffffff, pc, 0xffff<<48|1)
		}, []string{
			`{"stream":"g1099511627775","seq":1,"kind":"send",` + at + `,"key":"chan281474976710655","ordinal":1}`,
		}},
	} {
		t.Run(c.story, func(t *testing.T) {
			m := storyMaker()
			c.make(m)
			k, stats := readBytes(t, m.end())
			if len(k.rejects) > 0 {
				t.Errorf("rejected: %v", k.rejects)
			}
			want := append(c.want, `{"stream":"pastcone","seq":1,"kind":"exit","data":{"reason":"exit","exit_code":3}}`)
			got := lines(k)
			for i := range max(len(got), len(want)) {
				g, w := "nothing", "nothing"
				if i < len(got) {
					g = got[i]
				}
				if i < len(want) {
					w = want[i]
				}
				if sorted(g) != sorted(w) {
					t.Errorf("event %d:\n got %s\nwant %s", i, g, w)
				}
			}
			if stats.Events != int64(len(k.events)) || stats.Torn || stats.Ended != "exit" || stats.ExitCode != 3 {
				t.Errorf("%+v", stats)
			}
			for i := range k.events {
				line := event.AppendLine(nil, &k.events[i])
				if _, err := event.ParseLine(line); err != nil {
					t.Errorf("%s: %v", line, err)
				}
			}
		})
	}
}

// sorted makes lines equal that differ in the order of their fields.
func sorted(line string) string {
	e, err := event.ParseLine([]byte(strings.Replace(line, `"kind":`, `"time":1,"kind":`, 1)))
	if err != nil {
		return line
	}
	return string(event.AppendLine(nil, &e))
}

// What can not be a record is rejected, with its place and the reason, and the rest is read.
func TestRead_RejectsWhatIsNoRecord(t *testing.T) {
	for _, c := range []struct {
		story string
		make  func(m *maker)
		says  string
	}{
		{"an unknown kind", func(m *maker) { m.record(99, 5, 2, 0, 0, 0) }, "unknown kind 99"},
		{"kind 0", func(m *maker) { m.word(1, 1<<30, 0, 0) }, "without the event"},
		{"no stream", func(m *maker) { m.record(capture.KindExit, 0, 2, 0, 0, 0) }, "without a stream"},
		{"a function that is not in the table", func(m *maker) { m.record(capture.KindCall, 5, 2, 4000, 0, 0) }, "function 4000"},
		{"values without an event", func(m *maker) {
			m.word(1, capture.KindPad, 0, 0)
			m.word(1, capture.KindValue, 0, 0)
			m.word(1, capture.KindText, 0, 0)
		}, "record 2 of chunk 2: 2 records of values"},
		{"no acquires", func(m *maker) { m.record(capture.KindAcquireRange, 5, 2, 1, 0, 9<<24) }, "0 acquires"},
		{"more acquires than releases", func(m *maker) { m.record(capture.KindAcquireRange, 5, 2, 1, 0, 2<<24|3) }, "3 acquires"},
		{"too many acquires", func(m *maker) { m.record(capture.KindAcquireRange, 5, 2, 1, 0, 1<<40|capture.RangeMax+1) }, "4097 acquires"},
	} {
		t.Run(c.story, func(t *testing.T) {
			m := storyMaker()
			m.record(capture.KindCall, 5, 1, 17, 0, 0)
			// A frame before it: its place is in the second.
			m.chunk()
			from := len(m.file) + frameHeaderBytes
			m.record(capture.KindSpawn, 6, 1, 0, 0, 9)
			c.make(m)
			m.record(capture.KindReturn, 5, 2, 17, 0, 0)
			k, stats := readBytes(t, m.end())
			if len(k.rejects) != 1 || !strings.Contains(k.rejects[0].Reason, c.says) || !strings.Contains(k.rejects[0].Reason, " of chunk 2: ") || k.rejects[0].Offset != int64(from) || k.rejects[0].File != "t.capture" {
				t.Errorf("rejected: %+v, want %q at %d", k.rejects, c.says, from)
			}
			if stats.Events != 4 || stats.Rejected != 1 {
				t.Errorf("%+v", stats)
			}
		})
	}
}

// A stream's numbers, from the 16 bits of them that a record has.
func TestRead_NumbersOfAStream(t *testing.T) {
	seqs := func(k *kept, name string) (all []uint64) {
		for i := range k.events {
			if k.events[i].Stream == name {
				all = append(all, k.events[i].Seq)
			}
		}
		return all
	}
	same := func(t *testing.T, got []uint64, want ...uint64) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	exit := func(m *maker, seq uint64) { m.record(capture.KindNotify, 5, seq, 0, 0, 0) }
	t.Run("over 65,536, and over it again", func(t *testing.T) {
		m := storyMaker()
		for i := range uint64(140_000) {
			exit(m, i+1)
			if len(m.records) > 1<<15 {
				m.chunk()
			}
		}
		k, _ := readBytes(t, m.end())
		got := seqs(k, "g5")
		for i := range got {
			if got[i] != uint64(i+1) {
				t.Fatalf("event %d has number %d", i, got[i])
			}
		}
	})
	t.Run("some were lost", func(t *testing.T) {
		m := storyMaker()
		exit(m, 1)
		exit(m, 60_000)
		exit(m, 60_001)
		exit(m, 120_000)
		k, _ := readBytes(t, m.end())
		same(t, seqs(k, "g5"), 1, 60_000, 60_001, 120_000)
	})
	t.Run("so many may have been lost that the bits begin anew", func(t *testing.T) {
		m := storyMaker()
		exit(m, 1)
		m.passed(counts{})
		exit(m, 2)
		m.passed(counts{dropped: 65_535})
		exit(m, 3)
		m.passed(counts{dropped: 65_535 + 65_536})
		exit(m, 4)
		k, _ := readBytes(t, m.end())
		same(t, seqs(k, "g5"), 1, 2, 65_536+3, 65_536+4)
	})
	t.Run("a clock that goes differently brings a later one first", func(t *testing.T) {
		m := storyMaker()
		exit(m, 1)
		exit(m, 3)
		m.ticks -= 2500
		exit(m, 2)
		exit(m, 4)
		k, _ := readBytes(t, m.end())
		same(t, seqs(k, "g5"), 1, 3, 2, 4)
	})
	t.Run("a flight recorder begins in the middle: that something was before shows", func(t *testing.T) {
		m := storyMaker()
		exit(m, 65_536)
		m.record(capture.KindNotify, 6, 1, 0, 0, 0)
		m.record(capture.KindStart, 7, 1, 0, 0, 0)
		m.record(capture.KindNotify, 8, 500, 0, 0, 0)
		m.passed(counts{overwritten: 1})
		k, stats := readBytes(t, m.end())
		same(t, seqs(k, "g5"), 65_536)
		same(t, seqs(k, "g6"), 65_537)
		same(t, seqs(k, "g7"), 1)
		same(t, seqs(k, "g8"), 500)
		if note := stats.Note(); note != "" { // the last pass has no losses: it is the newest
			t.Error(note)
		}
	})
	t.Run("a goroutine's number is given again after its exit", func(t *testing.T) {
		m := storyMaker()
		m.record(capture.KindStart, 5, 1, 0, 0, 0)
		m.record(capture.KindExit, 5, 2, 0, 0, 0)
		m.record(capture.KindStart, 5, 1, 0, 0, 0)
		k, _ := readBytes(t, m.end())
		same(t, seqs(k, "g5"), 1, 2, 1)
	})
}

// Times are between the readings of the clocks, and do not go back.
func TestRead_TimesFollowTheClock(t *testing.T) {
	m := newMaker()
	m.functions(functionTableOfStories)
	m.record(capture.KindNotify, 5, 1, 0, 0, 0)
	first := m.ticks
	m.passed(counts{})
	m.record(capture.KindNotify, 5, 2, 0, 0, 0)
	k, _ := readBytes(t, m.end())
	if k.events[0].Time != madeUnix+int64(first)-madeStart || k.events[1].Time <= k.events[0].Time {
		t.Errorf("%d, then %d", k.events[0].Time, k.events[1].Time)
	}
	line := newTimeline(clockReading{100, 1000})
	line.reach(clockReading{100_100, 51_000}) // half a nanosecond a tick
	if got := line.unix(200_100); got != 101_000 {
		t.Errorf("%d", got)
	}
	line.reach(clockReading{90_000, 99_000}) // backward: left out
	line.reach(clockReading{200_100, 51_000})
	if got := line.unix(200_100); got != 101_000 {
		t.Errorf("%d", got)
	}
	if got := line.unix(1 << 63); got != line.to.unix && got > 0 && got < 0 {
		t.Errorf("%d", got)
	}
	if got := line.nanos(1 << 63); got != math.MaxInt64/4 {
		t.Errorf("%d", got)
	}
}

// What silent functions did becomes metrics.
func TestRead_SilentFunctions(t *testing.T) {
	m := storyMaker()
	frame := func(entries ...silence) {
		content := []byte{1, 0, 0, 0, 0, 0, 0, 0}
		for i := range entries {
			content = entries[i].append(content)
		}
		m.frame(frameSilence, content)
	}
	frame(silence{17, true, 1000, 5000}, silence{18, false, 7, 70})
	frame(silence{4000, true, 1, 1})
	m.frame(frameSilence, []byte("short"))
	k, _ := readBytes(t, m.end())
	want := []string{
		`{"stream":"pastcone","seq":1,"kind":"metric","func":"shop.Order","file":"shop/order.go","line":12,"data":{"name":"calls without a record","value":1000,"calls":1000,"nanoseconds":5000,"silenced":true}}`,
		`{"stream":"pastcone","seq":2,"kind":"metric","func":"shop.(*Queue).Push","file":"shop/queue.go","line":30,"data":{"name":"calls without a record","value":7,"calls":7,"nanoseconds":70,"silenced":false}}`,
	}
	got := lines(k)
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || len(k.rejects) != 2 {
		t.Errorf("got %s\nrejected %v", strings.Join(got, "\n"), k.rejects)
	}
}

func TestRead_SinksThatFail(t *testing.T) {
	m := storyMaker()
	m.record(capture.KindCall, 5, 1, 17, 0, 0)
	m.record(99, 5, 2, 17, 0, 0)
	text := m.end()
	broken := fmt.Errorf("the disk is on fire")
	k := newKept()
	k.pushErr = broken
	if _, err := Read(context.Background(), bytes.NewReader(text), "x.capture", Options{}, k); err == nil || !strings.Contains(err.Error(), "on fire") {
		t.Errorf("%v", err)
	}
	if _, err := Read(context.Background(), bytes.NewReader(text), "x.capture", Options{}, &counted{table: wire.NewTable(1 << 20)}); err == nil || !strings.Contains(err.Error(), "unknown kind") {
		t.Errorf("%v", err)
	}
	for bytesMax := int64(10); bytesMax < 3000; bytesMax += 100 {
		k := newKept()
		k.table = wire.NewTable(bytesMax)
		if _, err := Read(context.Background(), bytes.NewReader(text), "x.capture", Options{}, k); err == nil && bytesMax < 500 || err != nil && !strings.Contains(err.Error(), "table is full") {
			t.Errorf("with %d bytes: %v", bytesMax, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Read(ctx, bytes.NewReader(text), "x.capture", Options{}, newKept()); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("%v", err)
	}
	for _, n := range []int{-1, BatchEventsMax + 1} {
		if _, err := Read(context.Background(), bytes.NewReader(text), "x.capture", Options{BatchEvents: n}, newKept()); err == nil {
			t.Errorf("%d events a batch are no error", n)
		}
	}
}
