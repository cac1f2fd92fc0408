package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/pastcone/pastcone/event"
)

func TestLineAsTheFormatHasIt(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		name string
		e    event.Event
		want string
	}{
		{"the least", event.Event{Stream: "g1", Seq: 1, Time: -5, Kind: event.KindCall}, `{"stream":"g1","seq":1,"time":-5,"kind":"call"}`},
		{"everything a source says", event.Event{
			Stream: "g12", Seq: 3, Time: 1700000000000000000, Kind: event.KindSend, Func: "orders.(*Queue).Push", File: "q.go", Line: 17,
			Key: "chan1", Ordinal: 7, Message: "m", Peer: "g2", Child: "g3", Ref: "m7", Cause: []string{"m6"}, Root: true, Empty: true, Closed: true,
			Takes: &yes, Inferred: true, Unseen: true, Data: json.RawMessage(`{"n":1}`), Extra: map[string]json.RawMessage{"zone": json.RawMessage(`"eu"`), "attempt": json.RawMessage("2")},
		}, `{"stream":"g12","seq":3,"time":1700000000000000000,"kind":"send","func":"orders.(*Queue).Push","file":"q.go","line":17,"key":"chan1","ordinal":7,"message":"m","peer":"g2","child":"g3","ref":"m7","cause":"m6","root":true,"empty":true,"closed":true,"takes":true,"inferred":true,"unseen":true,"data":{"n":1},"attempt":2,"zone":"eu"}`},
		{"several causes, takes not", event.Event{Stream: "s", Seq: 1, Kind: event.KindReceive, Cause: []string{"a", "b"}, Takes: &no}, `{"stream":"s","seq":1,"time":0,"kind":"receive","cause":["a","b"],"takes":false}`},
		{"results", event.Event{
			Stream: "s", Seq: 2, Kind: event.KindReceive, ID: 41, Parent: 39, Correlation: 12, Position: 3,
			Causes: []event.Edge{{ID: 39, Kind: event.EdgeMessage, P: 1}, {ID: 7, Kind: event.EdgeWake, Confidence: event.Inferred, P: float64(float32(0.9))}},
		}, `{"stream":"s","seq":2,"time":0,"kind":"receive","id":41,"parent":39,"correlation":12,"position":3,"confidence":"exact","correlation_confidence":"exact","causes":[{"id":39,"kind":"message","confidence":"exact"},{"id":7,"kind":"wake","confidence":"inferred","p":0.9}]}`},
		{"a missing parent", event.Event{
			Stream: "s", Seq: 1, Kind: event.KindStart, ID: 5, Correlation: 5, Background: true, Confidence: event.Gap, CorrelationConfidence: event.Gap,
			Causes: []event.Edge{{Kind: event.EdgeSpawn, Confidence: event.Gap}},
		}, `{"stream":"s","seq":1,"time":0,"kind":"start","id":5,"correlation":5,"position":0,"background":true,"confidence":"gap","correlation_confidence":"gap","causes":[{"id":null,"kind":"spawn","confidence":"gap"}]}`},
		{"a return", event.Event{
			Stream: "s", Seq: 9, Kind: event.KindReturn, ID: 6, Parent: 5, Correlation: 5, Position: 1, Duration: 1200,
			Causes: []event.Edge{{ID: 5, Kind: event.EdgeReturn, P: 1}},
		}, `{"stream":"s","seq":9,"time":0,"kind":"return","id":6,"parent":5,"correlation":5,"position":1,"duration":1200,"confidence":"exact","correlation_confidence":"exact","causes":[{"id":5,"kind":"return","confidence":"exact"}]}`},
		{"a return within the same nanosecond", event.Event{
			Stream: "s", Seq: 9, Kind: event.KindReturn, ID: 6, Parent: 5, Correlation: 5, Causes: []event.Edge{{ID: 5, Kind: event.EdgeReturn, P: 1}},
		}, `{"stream":"s","seq":9,"time":0,"kind":"return","id":6,"parent":5,"correlation":5,"position":0,"duration":0,"confidence":"exact","correlation_confidence":"exact","causes":[{"id":5,"kind":"return","confidence":"exact"}]}`},
		{"a gap", event.Event{
			Stream: "s", Seq: 4, Kind: event.KindGap, Data: json.RawMessage(`{"lost":3}`), ID: 8, Parent: 2, Correlation: 2, Position: 1,
		}, `{"stream":"s","seq":4,"time":0,"kind":"gap","data":{"lost":3},"id":8,"parent":2,"correlation":2,"position":1,"confidence":"exact","correlation_confidence":"exact"}`},
		{"results are left out without an id", event.Event{Stream: "s", Seq: 1, Kind: event.KindLog, Parent: 3, Correlation: 2, Duration: 5, Background: true}, `{"stream":"s","seq":1,"time":0,"kind":"log"}`},
		{"what must be escaped", event.Event{Stream: "a\"\\\n\r\t\x00\x1f\x7fä<>&\u2028", Seq: 1, Kind: event.KindLog}, `{"stream":"a\"\\\n\r\t\u0000\u001f` + "\x7fä<>&\u2028" + `","seq":1,"time":0,"kind":"log"}`},
		{"what is no text", event.Event{Stream: "a\xff\xfeb\xc3", Seq: 1, Kind: event.KindLog}, `{"stream":"a` + "\ufffd\ufffdb\ufffd" + `","seq":1,"time":0,"kind":"log"}`},
		{"data over several lines", event.Event{Stream: "s", Seq: 1, Kind: event.KindLog, Data: json.RawMessage("{\r\n\"a\":\n1}")}, `{"stream":"s","seq":1,"time":0,"kind":"log","data":{"a":1}}`},
		{"an unknown field with a known name", event.Event{Stream: "s", Seq: 1, Kind: event.KindLog, Data: json.RawMessage("null"), Extra: map[string]json.RawMessage{"seq": json.RawMessage("9"), "id": json.RawMessage("9"), "x": nil}}, `{"stream":"s","seq":1,"time":0,"kind":"log"}`},
		{"a probability that is none", event.Event{
			Stream: "s", Seq: 1, Kind: event.KindWake, ID: 9, Correlation: 9,
			Causes: []event.Edge{{ID: 1, Kind: event.EdgeWake, Confidence: event.Inferred, P: math.NaN()}, {ID: 1, Kind: event.EdgeWake, Confidence: event.Inferred, P: 7}, {ID: 1, Kind: event.EdgeWake, Confidence: event.Inferred, P: 0.1}},
		}, `{"stream":"s","seq":1,"time":0,"kind":"wake","id":9,"correlation":9,"position":0,"confidence":"exact","correlation_confidence":"exact","causes":[{"id":1,"kind":"wake","confidence":"inferred","p":0},{"id":1,"kind":"wake","confidence":"inferred","p":1},{"id":1,"kind":"wake","confidence":"inferred","p":0.1}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := string(event.AppendLine([]byte("> "), &c.e))
			if got != "> "+c.want {
				t.Errorf("got  %s\nwant > %s", got, c.want)
			}
			again, err := event.ParseLine([]byte(c.want))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(event.AppendLine(nil, &again)); got != c.want {
				t.Errorf("read and written again: %s", got)
			}
		})
	}
}

func TestLineNeedsNoMemory(t *testing.T) {
	e := event.Event{
		Stream: "g12", Seq: 3, Time: 1700000000000000000, Kind: event.KindReturn, Func: "orders.(*Queue).Push \"x\"", Cause: []string{"a", "b"},
		Data: json.RawMessage(`{"n":1}`), Extra: map[string]json.RawMessage{"b": json.RawMessage("1"), "a": json.RawMessage("1")},
		ID: 5, Duration: 3, Causes: []event.Edge{{ID: 3, Kind: event.EdgeReturn, Confidence: event.Inferred, P: 0.5}},
	}
	dst := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { dst = event.AppendLine(dst[:0], &e) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWorkedExampleComesOutAsItWentIn(t *testing.T) {
	text, err := os.ReadFile("../internal/source/ndjson/testdata/example.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		e, err := event.ParseLine(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if got := event.AppendLine(nil, &e); !bytes.Equal(got, line) {
			t.Fatalf("got  %s\nwant %s", got, line)
		}
	}
}

// Each case is the required fields of a line with something more, or a line of its own.
func TestStrictness(t *testing.T) {
	long := strings.Repeat("x", event.TextBytesMax+1)
	deep := strings.Repeat("[", event.DepthMax) + strings.Repeat("]", event.DepthMax)
	least := `"stream":"g1","seq":1,"time":5,"kind":"log"`
	for _, c := range []struct {
		line  string
		field string
		want  string // part of the reason; empty: accepted
	}{
		{`{` + least + `}`, "", ""},
		{" \t{ " + least + "\r , \"x\" : 1 } \r\n", "", ""},
		{`{` + least + `,"func":null,"line":null,"cause":null,"data":null,"takes":null,"root":null,"ordinal":null,"id":null}`, "", ""},
		{`{` + least + `,"func":"","key":"","cause":"","line":0}`, "", ""},
		{`{` + least + `,"cause":[]}`, "", ""},
		{`{"stream":"\ud83d\ude00\u0000","seq":9223372036854775807,"time":-9223372036854775808,"kind":"\u006cog"}`, "", ""},
		{`{` + least + `,"line":4294967295,"ordinal":9223372036854775807}`, "", ""},
		{`{` + least + `,"Stream":1,"x":{"a":[1,{"a":null}]},"":2}`, "", ""},
		{`{` + least + `,"x":"\ud83d"}`, "", ""},
		{`{` + least + `,"func":"` + long[1:] + `"}`, "", ""},
		{`{` + least + `,"x":` + deep[1:len(deep)-1] + `}`, "", ""},

		{``, "", "empty"},
		{" \t\n", "", "empty"},
		{`[1]`, "", "begins with '['"},
		{`ä`, "", "begins with 'ä'"},
		{"\ufeff{}", "", "begins with '\\ufeff'"},
		{"{\"stream\":\"a\xffb\"}", "", "not UTF-8 at byte 13"},
		{`{` + least + `,"x":` + deep + `}`, "", "more than 128 deep"},
		{`{` + least, "", "not JSON"},
		{`{` + least + `} {}`, "", "not JSON"},
		{`{` + least + `,}`, "", "not JSON"},
		{`{` + least + `,"x":01}`, "", "not JSON"},
		{"{" + least + ",\"x\":\"a\tb\"}", "", "not JSON"},
		{`{` + least + `,"x":"\x"}`, "", "not JSON"},
		{`{}`, "stream", `"stream" is missing`},
		{`{"stream":"g1","time":5,"kind":"log"}`, "seq", `"seq" is missing`},
		{`{"stream":"g1","seq":1,"time":null,"kind":"log"}`, "time", `"time" is missing`},
		{`{"stream":"g1","seq":1,"time":5}`, "kind", `"kind" is missing: an event line needs stream, seq, time and kind`},
		{`{` + least + `,"seq":1}`, "seq", `"seq" stands more than once`},
		{`{` + least + `,"x":1,"\u0078":1}`, "x", `"x" stands more than once`},
		{`{` + least + `,"x\ud83d":1}`, "x\ufffd", "half a character"},
		{`{` + least + `,"x\ud83d\n":1}`, "x\ufffd\n", "half a character"},
		{`{` + least + `,"x\ude00":1}`, "x\ufffd", "half a character"},
		{`{` + least + `,"` + long + `":1}`, long[:40], "4097 bytes long"},
		{`{"stream":"","seq":1,"time":5,"kind":"log"}`, "stream", `"stream" is empty`},
		{`{"stream":7,"seq":1,"time":5,"kind":"log"}`, "stream", `"stream" is a number: it must be a string`},
		{`{"stream":"g1","seq":0,"time":5,"kind":"log"}`, "seq", `"seq" is 0: it counts from 1`},
		{`{"stream":"g1","seq":-1,"time":5,"kind":"log"}`, "seq", `from 0 to 9223372036854775807`},
		{`{"stream":"g1","seq":"1","time":5,"kind":"log"}`, "seq", `"seq" is a string: it must be an integer`},
		{`{"stream":"g1","seq":1,"time":1.7e18,"kind":"log"}`, "time", `written without fraction and exponent`},
		{`{"stream":"g1","seq":1,"time":9223372036854775808,"kind":"log"}`, "time", `"time" is 9223372036854775808: it must be an integer from -9`},
		{`{"stream":"g1","seq":1,"time":1` + long + `,"kind":"log"}`, "", "not JSON"},
		{`{"stream":"g1","seq":1,"time":1` + strings.Repeat("0", 99) + `,"kind":"log"}`, "time", "…"},
		{`{"stream":"g1","seq":1,"time":5,"kind":"jump"}`, "kind", `"jump" is no kind of event: the kinds are call, return,`},
		{`{"stream":"g1","seq":1,"time":5,"kind":true}`, "kind", `"kind" is true: it must be a string`},
		{`{` + least + `,"line":4294967296}`, "line", "from 0 to 4294967295"},
		{`{` + least + `,"ordinal":0}`, "ordinal", "counts from 1"},
		{`{` + least + `,"func":"` + long + `"}`, "func", "4097 bytes long: at most 4096"},
		{`{` + least + `,"file":"\udc00"}`, "file", "half a character"},
		{`{` + least + `,"key":{}}`, "key", "is an object"},
		{`{` + least + `,"peer":[]}`, "peer", "is a list"},
		{`{` + least + `,"child":1}`, "child", "is a number"},
		{`{` + least + `,"ref":false}`, "ref", "is false"},
		{`{` + least + `,"message":1}`, "message", "a string"},
		{`{` + least + `,"cause":1}`, "cause", "a string or a list of strings"},
		{`{` + least + `,"cause":["a",null]}`, "cause", "entry 2 is no string"},
		{`{` + least + `,"cause":["a",""]}`, "cause", "entry 2 is empty"},
		{`{` + least + `,"cause":["\ud800"]}`, "cause", "half a character"},
		{`{` + least + `,"cause":"\ud800"}`, "cause", "half a character"},
		{`{` + least + `,"cause":[` + strings.Repeat(`"a",`, event.CausesMax) + `"a"]}`, "cause", "lists 1025 events: at most 1024"},
		{`{` + least + `,"root":1}`, "root", "must be true or false"},
		{`{` + least + `,"empty":"true"}`, "empty", "must be true or false"},
		{`{` + least + `,"closed":[]}`, "closed", "must be true or false"},
		{`{` + least + `,"takes":0}`, "takes", "must be true or false"},
		{`{` + least + `,"inferred":0}`, "inferred", "must be true or false"},
		{`{` + least + `,"unseen":"yes"}`, "unseen", "must be true or false"},
		{`{` + least + `,"data":[1]}`, "data", `a JSON object, like {"user":17}`},
		{`{` + least + `,"id":"x"}`, "id", "an integer"},
		{`{` + least + `,"parent":-1}`, "parent", "from 0"},
		{`{` + least + `,"correlation":1.5}`, "correlation", "without fraction"},
		{`{` + least + `,"position":4294967296}`, "position", "to 4294967295"},
		{`{` + least + `,"background":1}`, "background", "true or false"},
		{`{` + least + `,"duration":-1}`, "duration", "from 0"},
		{`{` + least + `,"confidence":"sure"}`, "confidence", "must be exact, inferred or gap"},
		{`{` + least + `,"correlation_confidence":1}`, "correlation_confidence", "a string"},
		{`{` + least + `,"causes":{}}`, "causes", "a list of edges"},
		{`{` + least + `,"causes":[{"id":1,"kind":"magic","confidence":"exact"}]}`, "causes", `"magic" is none of the kinds of edges`},
		{`{` + least + `,"causes":[{"id":1,"kind":"wake"}]}`, "causes", "needs a kind and a confidence"},
		{`{` + least + `,"causes":[{"id":1,"kind":"wake","confidence":"so"}]}`, "causes", `"so" is none of the confidences`},
		{`{` + least + `,"causes":[{"id":null,"kind":"wake","confidence":"exact"}]}`, "causes", "null and the confidence gap"},
		{`{` + least + `,"causes":[{"id":1,"kind":"wake","confidence":"inferred"}]}`, "causes", "probability p from 0 to 1"},
		{`{` + least + `,"causes":[{"id":1,"kind":"wake","confidence":"inferred","p":2}]}`, "causes", "probability p from 0 to 1"},
	} {
		_, err := event.ParseLine([]byte(c.line))
		if c.want == "" {
			if err != nil {
				t.Errorf("%.120s: %v", c.line, err)
			}
			continue
		}
		var lineErr *event.LineError
		if !errors.As(err, &lineErr) || lineErr.Field != c.field || !strings.Contains(lineErr.Reason, c.want) {
			t.Errorf("%.120s\ngot  %q, %v\nwant %q, %s", c.line, lineErrField(lineErr), err, c.field, c.want)
		}
	}
}

func lineErrField(e *event.LineError) string {
	if e == nil {
		return ""
	}
	return e.Field
}

// text is any UTF-8 text that may stand in an event.
func text(min int) *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringN(min, 20, -1),
		rapid.SampledFrom([]string{"g1", "main.(*T).F", "\"", "\\u0041", "\x00", "ä\u2028😀", "null", "x00007"}),
	)
}

func jsonValue(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kinds := 5
		if depth == 0 {
			kinds = 3
		}
		switch rapid.IntRange(0, kinds).Draw(t, "kind") {
		case 0:
			return text(0).Draw(t, "text")
		case 1:
			return rapid.Int64().Draw(t, "number")
		case 2:
			return rapid.Bool().Draw(t, "truth")
		case 3:
			return nil
		case 4:
			return rapid.SliceOfN(jsonValue(depth-1), 0, 3).Draw(t, "list")
		default:
			return rapid.MapOfN(text(0), jsonValue(depth-1), 0, 3).Draw(t, "object")
		}
	})
}

func rawJSON(t *rapid.T, v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// anyEvent is any event that a recording can hold.
func anyEvent() *rapid.Generator[event.Event] {
	return rapid.Custom(func(t *rapid.T) event.Event {
		texts, count := text(0), rapid.Uint64Range(0, event.SeqMax)
		e := event.Event{
			Stream: text(1).Draw(t, "stream"), Seq: rapid.Uint64Range(1, event.SeqMax).Draw(t, "seq"), Time: rapid.Int64().Draw(t, "time"),
			Kind: event.Kinds[rapid.IntRange(0, len(event.Kinds)-1).Draw(t, "kind")].Kind,
			Func: texts.Draw(t, "func"), File: texts.Draw(t, "file"), Line: int(rapid.Uint32().Draw(t, "line")),
			Key: texts.Draw(t, "key"), Ordinal: count.Draw(t, "ordinal"), Message: texts.Draw(t, "message"), Peer: texts.Draw(t, "peer"),
			Child: texts.Draw(t, "child"), Ref: texts.Draw(t, "ref"),
			Root: rapid.Bool().Draw(t, "root"), Empty: rapid.Bool().Draw(t, "empty"), Closed: rapid.Bool().Draw(t, "closed"), Inferred: rapid.Bool().Draw(t, "inferred"), Unseen: rapid.Bool().Draw(t, "unseen"),
		}
		if causes := rapid.SliceOfN(text(1), 0, 3).Draw(t, "cause"); len(causes) > 0 {
			e.Cause = causes
		}
		if rapid.Bool().Draw(t, "has takes") {
			takes := rapid.Bool().Draw(t, "takes")
			e.Takes = &takes
		}
		if rapid.Bool().Draw(t, "has data") {
			e.Data = rawJSON(t, rapid.MapOfN(texts, jsonValue(3), 0, 3).Draw(t, "data"))
		}
		for name, v := range rapid.MapOfN(texts, jsonValue(2), 0, 3).Draw(t, "extra") {
			if _, known := event.FindField(name); known {
				continue
			}
			if e.Extra == nil {
				e.Extra = map[string]json.RawMessage{}
			}
			e.Extra[name] = rawJSON(t, v)
		}
		if rapid.Bool().Draw(t, "has results") {
			addResults(t, &e)
		}
		return e
	})
}

func addResults(t *rapid.T, e *event.Event) {
	id := rapid.Custom(func(t *rapid.T) event.ID { return event.ID(rapid.Uint64Range(1, event.SeqMax).Draw(t, "id")) })
	confidence := rapid.Custom(func(t *rapid.T) event.Confidence {
		return event.Confidences[rapid.IntRange(0, 2).Draw(t, "confidence")].Confidence
	})
	e.ID, e.Correlation = id.Draw(t, "id"), id.Draw(t, "correlation")
	e.Position, e.Background = rapid.Uint32().Draw(t, "position"), rapid.Bool().Draw(t, "background")
	e.Confidence, e.CorrelationConfidence = confidence.Draw(t, "of parent"), confidence.Draw(t, "of correlation")
	for range rapid.IntRange(0, 3).Draw(t, "causes") {
		edge := event.Edge{Kind: event.EdgeKinds[rapid.IntRange(0, len(event.EdgeKinds)-1).Draw(t, "edge")].Kind, Confidence: confidence.Draw(t, "of edge")}
		switch edge.Confidence {
		case event.Exact:
			edge.ID, edge.P = id.Draw(t, "cause"), 1
		case event.Inferred:
			edge.ID, edge.P = id.Draw(t, "cause"), float64(rapid.IntRange(0, 1000).Draw(t, "p"))/1000
		case event.Gap:
		}
		e.Causes = append(e.Causes, edge)
	}
	if len(e.Causes) > 0 {
		e.Parent = e.Causes[0].ID
	}
	if e.Kind == event.KindReturn {
		e.Duration = 17
	}
}

func TestAnyEventComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent().Draw(t, "event")
		line := event.AppendLine(nil, &e)
		if !json.Valid(line) || !utf8.Valid(line) || bytes.ContainsAny(line, "\n\r") {
			t.Fatalf("no line: %q", line)
		}
		got, err := event.ParseLine(line)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if !reflect.DeepEqual(got, e) {
			t.Fatalf("got  %#v\nwant %#v\n%s", got, e, line)
		}
		// The same form in any Go program.
		marshalled, err := json.Marshal([]event.Event{e})
		if err != nil {
			t.Fatal(err)
		}
		var back []event.Event
		if err := json.Unmarshal(marshalled, &back); err != nil {
			t.Fatal(err)
		}
		// json.Marshal escapes < > & in the values that it gets from elsewhere.
		if a, b := event.AppendLine(nil, &back[0]), line; !sameJSON(t, a, b) {
			t.Fatalf("got  %s\nwant %s", a, b)
		}
	})
}

func sameJSON(t *rapid.T, a, b []byte) bool {
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func TestTablesAgree(t *testing.T) {
	for i, info := range event.Kinds {
		if int(info.Kind) != i+1 {
			t.Errorf("%s has number %d, stands at %d", info.Name, info.Kind, i+1)
		}
		if k, ok := event.ParseKind(info.Name); !ok || k != info.Kind || k.String() != info.Name {
			t.Errorf("%s is read as %v", info.Name, k)
		}
		for _, f := range info.Fields {
			if _, ok := event.FindField(f); !ok {
				t.Errorf("%s: no field %q", info.Name, f)
			}
		}
	}
	if _, ok := event.ParseKind("none"); ok || event.Kind(0).Valid() || event.Kind(len(event.Kinds)+1).Valid() {
		t.Error("a kind that is none")
	}
	for i, info := range event.EdgeKinds {
		if k, ok := event.ParseEdgeKind(info.Name); !ok || k != info.Kind || int(k) != i+1 || k.String() != info.Name {
			t.Errorf("%s is read as %v", info.Name, k)
		}
	}
	if _, ok := event.ParseEdgeKind("none"); ok || event.EdgeKind(0).Valid() || event.EdgeKind(len(event.EdgeKinds)+1).Valid() {
		t.Error("an edge kind that is none")
	}
	for i, info := range event.Confidences {
		if c, ok := event.ParseConfidence(info.Name); !ok || c != info.Confidence || int(c) != i || c.String() != info.Name {
			t.Errorf("%s is read as %v", info.Name, c)
		}
	}
	if _, ok := event.ParseConfidence("none"); ok || event.Confidence(3).Valid() {
		t.Error("a confidence that is none")
	}
	for v, want := range map[fmt.Stringer]string{event.Kind(99): "kind(99)", event.EdgeKind(99): "edge(99)", event.Confidence(99): "confidence(99)", event.ID(7): "7"} {
		if v.String() != want {
			t.Errorf("%q, want %q", v, want)
		}
	}
}

// Every field of the table is a field of Event, and the other way round.
func TestFieldsAreThoseOfEvent(t *testing.T) {
	inTable := map[string]bool{}
	for _, f := range event.Fields {
		inTable[f.Name] = true
		if got, ok := event.FindField(f.Name); !ok || got != f {
			t.Errorf("%s: found %v", f.Name, got)
		}
	}
	e := reflect.TypeFor[event.Event]()
	for i := range e.NumField() {
		name, _, _ := strings.Cut(e.Field(i).Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if !inTable[name] {
			t.Errorf("%s: %q is not in the table", e.Field(i).Name, name)
		}
		delete(inTable, name)
	}
	for name := range inTable {
		t.Errorf("%q is no field of Event", name)
	}
	if _, ok := event.FindField("none"); ok {
		t.Error("found a field that is none")
	}
}

func TestJSONOfThePieces(t *testing.T) {
	type pieces struct {
		Kind       event.Kind
		Edge       event.EdgeKind
		Confidence event.Confidence
		Cause      event.Edge
	}
	in := pieces{event.KindWake, event.EdgeLock, event.Gap, event.Edge{ID: 3, Kind: event.EdgeWake, Confidence: event.Inferred, P: 0.25}}
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"Kind":"wake","Edge":"lock","Confidence":"gap","Cause":{"id":3,"kind":"wake","confidence":"inferred","p":0.25}}`; string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
	var out pieces
	if err := json.Unmarshal(raw, &out); err != nil || out != in {
		t.Error(out, err)
	}
	for _, v := range []any{event.Kind(0), event.EdgeKind(77), event.Confidence(9), event.Edge{}, event.Event{}} {
		if raw, err := json.Marshal(v); err == nil {
			t.Errorf("%T: %s", v, raw)
		}
	}
	for raw, v := range map[string]any{`"x"`: new(event.Kind), `"y"`: new(event.EdgeKind), `"z"`: new(event.Confidence), `[]`: new(event.Edge), `{}`: new(event.Event)} {
		if err := json.Unmarshal([]byte(raw), v); err == nil {
			t.Errorf("%T took %s", v, raw)
		}
	}
}

// FuzzParseLine: whatever is accepted is written and read again as the same.
func FuzzParseLine(f *testing.F) {
	f.Add([]byte(`{"stream":"g12","seq":3,"time":1700000000000000000,"kind":"send","func":"orders.(*Queue).Push","key":"chan1","ordinal":7,"ref":"m7","cause":["a","b"],"child":"g3","data":{"n":[1,"\ud83d"]},"x":null}`))
	f.Add([]byte(`{"stream":"s","seq":1,"time":0,"kind":"start","id":5,"correlation":5,"position":0,"background":true,"confidence":"gap","correlation_confidence":"gap","causes":[{"id":null,"kind":"spawn","confidence":"gap"},{"id":3,"kind":"wake","confidence":"inferred","p":0.5}]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := event.ParseLine(line)
		if err != nil {
			if lineErr := (*event.LineError)(nil); !errors.As(err, &lineErr) || lineErr.Reason == "" {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		written := event.AppendLine(nil, &e)
		again, err := event.ParseLine(written)
		if err != nil {
			t.Fatalf("%v: %s became %s", err, line, written)
		}
		if twice := event.AppendLine(nil, &again); !bytes.Equal(twice, written) {
			t.Fatalf("%s\n%s", written, twice)
		}
	})
}
