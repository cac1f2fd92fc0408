package ndjson

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// decodeLine runs a line through the decoder alone.
func decodeLine(d *decoder, line []byte) (event.Event, outcome, error) {
	text := append(bytes.Clone(line), '\n')
	end, what := d.line(text, 0)
	if what != lineBad && end != len(line) {
		return event.Event{}, what, fmt.Errorf("read to %d of %d", end, len(line))
	}
	b := d.batch()
	if (b != nil) != (what == lineEvent) {
		return event.Event{}, what, fmt.Errorf("outcome %d, batch %v", what, b)
	}
	if b == nil {
		return event.Event{}, what, nil
	}
	var e event.Event
	err := b.Event(0, b.Runs[0].Stream, d.table, &e)
	return e, what, err
}

// withoutResults gives what is left of an event when it comes in.
func withoutResults(e event.Event) event.Event {
	e.ID, e.Parent, e.Correlation, e.Position, e.Background, e.Duration = 0, 0, 0, 0, false, 0
	e.Confidence, e.CorrelationConfidence, e.Causes = 0, 0, nil
	return e
}

// agree holds the decoder to event.ParseLine, the slow and obvious reader.
func agree(t *testing.T, d *decoder, line []byte) {
	t.Helper()
	if bytes.IndexByte(line, '\n') >= 0 || !utf8.Valid(line) {
		return // Read never hands that to the decoder
	}
	want, wantErr := event.ParseLine(line)
	got, what, err := decodeLine(d, line)
	if err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	var lineErr *event.LineError
	if errors.As(wantErr, &lineErr) {
		if f, known := event.FindField(lineErr.Field); known && f.Result {
			return // ignored here, whatever its type
		}
	}
	switch {
	case len(bytes.Trim(line, " \t\r")) == 0:
		if what != lineEmpty {
			t.Fatalf("empty line: outcome %d", what)
		}
	case wantErr != nil:
		if what != lineBad {
			t.Fatalf("outcome %d, but %v: %s", what, wantErr, line)
		}
		if why(line) != wantErr.Error() {
			t.Fatalf("the reason is %s, but %v", why(line), wantErr)
		}
	case want.Kind == event.KindGap:
		if what != lineGap {
			t.Fatalf("gap line: outcome %d", what)
		}
	case what == lineFull:
	case what != lineEvent:
		t.Fatalf("outcome %d, but it is fine: %s", what, line)
	case !reflect.DeepEqual(got, withoutResults(want)):
		t.Fatalf("%s\ngot  %s\nwant %s", line, event.AppendLine(nil, &got), event.AppendLine(nil, &want))
	}
}

const least = `"stream":"g1","seq":1,"time":5,"kind":"log"`

// What could come before, behind and within a line, right and wrong.
var pieces = []string{
	`"func":"f"`, `"func":null`, `"func":""`, `"func":"\u0041\n\"\\\/\b\f\r\t"`, `"func":"\ud83d\ude00"`, `"func":"\ud83d"`, `"func":"\ud83dx"`, `"func":"\ude00\ud83d"`, `"func":"\ud83d\u0041"`, `"func":"\u00g0"`, `"func":"\x"`,
	`"func":7`, `"func":true`, `"func":[]`, `"func":{}`, `"func":"` + strings.Repeat("ä", 2048) + `"`, `"func":"` + strings.Repeat("ä", 2049) + `"`,
	`"file":"a b c d e f g h i"`, `"line":17`, `"line":0`, `"line":-0`, `"line":4294967295`, `"line":4294967296`, `"line":-1`, `"line":1.0`, `"line":1e3`, `"line":01`, `"line":`, `"line":-`, `"line":null`, `"line":"1"`,
	`"line":18446744073709551617`, `"line":99999999999999999999999`,
	`"key":"chan12"`, `"key":"chan007"`, `"key":"12"`, `"key":"0"`, `"key":"x1234567890123"`, `"ordinal":1`, `"ordinal":0`, `"ordinal":9223372036854775807`, `"ordinal":9223372036854775808`, `"ordinal":-9223372036854775808`, `"ordinal":null`,
	`"message":"m"`, `"peer":"g2"`, `"child":"g3"`, `"ref":"r"`, `"message":null`, `"ref":""`,
	`"cause":"a"`, `"cause":""`, `"cause":null`, `"cause":[]`, `"cause":[ ]`, `"cause":["a"]`, `"cause":[ "a" , "b" ]`, `"cause":["a",]`, `"cause":["a" "b"]`, `"cause":["a"`, `"cause":[1]`, `"cause":[null]`, `"cause":[""]`, `"cause":{}`, `"cause":["\ud800"]`,
	`"root":true`, `"root":false`, `"root":null`, `"root":1`, `"root":tru`, `"empty":true`, `"closed":true`, `"takes":true`, `"takes":false`, `"takes":null`, `"takes":"true"`, `"inferred":true`, `"inferred":falsey`, `"unseen":true`, `"unseen":1`,
	`"data":{}`, `"data":{"a":1}`, `"data":{ "a" : [ 1 , -2.5e+3 , true , false , null , "x y" ] , "b" : { } }`, `"data":null`, `"data":nul`, `"data":[]`, `"data":"x"`, `"data":{"a":}`, `"data":{"a" 1}`, `"data":{"a":1,}`, `"data":{a:1}`, `"data":{"a":1]`, `"data":{"a":[1}}`, `"data":{"a":1.}`, `"data":{"a":.5}`, `"data":{"a":-}`, `"data":{"a":1e}`, `"data":{"a":00}`, `"data":{"a":"\ud83d"}`, `"data":{"a":1 2}`, `"data":{"a":[1 2]}`, `"data":{"a":[,]}`, `"data":{,}`, `"data":{"a":tRue}`, "\"data\":{\"a\":\"\x01\"}", `"data":{"a":"` + "\u2028" + `"}`,
	`"x":1`, `"x":null`, `"x":"\ud83d"`, `"x" : { "y" : 1 }`, `"x":[[[]]]`, `"x":+1`, `"x":NaN`, `"":1`, `"a":1`, `"b":2`, `"a":3`, `"\u0061":4`, `"x\ud83d":1`, `"Func":1`, `"` + strings.Repeat("n", 4096) + `":1`, `"` + strings.Repeat("n", 4097) + `":1`,
	`"x":` + strings.Repeat("[", 127) + strings.Repeat("]", 127), `"x":` + strings.Repeat("[", 128) + strings.Repeat("]", 128), `"data":` + strings.Repeat(`{"a":`, 127) + "1" + strings.Repeat("}", 127), `"data":` + strings.Repeat(`{"a":`, 128) + "1" + strings.Repeat("}", 128), `"x":"` + strings.Repeat("[", 300) + `"`,
	`"id":5`, `"id":"five"`, `"id":{`, `"parent":1`, `"correlation":1`, `"position":0`, `"background":true`, `"duration":5`, `"confidence":"exact"`, `"correlation_confidence":"gap"`, `"causes":[]`, `"causes":[{"id":1,"kind":"context","confidence":"exact"}]`,
	`"stream":"g1"`, `"seq":1`, `"time":1`, `"kind":"log"`, ``, ` `, `x`, `"x"`, `"x":`, `:1`, `1`, `"x`, `"x\`,
}

var wholeLines = []string{
	``, ` `, "\t\r", "\v", "\u0085", `{}`, `{ }`, `{`, `}`, `[]`, `null`, `"x"`, `7`, `{` + least, `{` + least + `}`, ` {` + least + "} \r", `{` + least + `}}`, `{` + least + `} x`, `{` + least + `},`, `{` + least + "}\r{}", `{,` + least + `}`, `{` + least + ` "x":1}`,
	`{"stream":"","seq":1,"time":5,"kind":"log"}`, `{"stream":null,"seq":1,"time":5,"kind":"log"}`, `{"stream":"007","seq":1,"time":5,"kind":"log"}`,
	`{"stream":"g1","seq":0,"time":5,"kind":"log"}`, `{"stream":"g1","seq":null,"time":5,"kind":"log"}`, `{"stream":"g1","seq":9223372036854775807,"time":5,"kind":"log"}`, `{"stream":"g1","seq":9223372036854775808,"time":5,"kind":"log"}`,
	`{"stream":"g1","seq":1,"time":9223372036854775807,"kind":"log"}`, `{"stream":"g1","seq":1,"time":9223372036854775808,"kind":"log"}`, `{"stream":"g1","seq":1,"time":-9223372036854775808,"kind":"log"}`, `{"stream":"g1","seq":1,"time":-9223372036854775809,"kind":"log"}`, `{"stream":"g1","seq":1,"time":null,"kind":"log"}`, `{"stream":"g1","seq":1,"time":-,"kind":"log"}`, `{"stream":"g1","seq":1,"time":-05,"kind":"log"}`,
	`{"stream":"g1","seq":1,"time":5,"kind":null}`, `{"stream":"g1","seq":1,"time":5,"kind":"Log"}`, `{"stream":"g1","seq":1,"time":5,"kind":""}`, `{"stream":"g1","seq":1,"time":5,"kind":5}`, `{"stream":"g1","seq":4,"time":5,"kind":"gap","data":{"lost":2},"id":9}`, `{"stream":"g1","seq":4,"time":5,"kind":"gap","x":}`,
	`{"stream":"g1","seq":1,"time":5}`, `{"seq":1,"time":5,"kind":"log"}`, `{"stream":"g1","time":5,"kind":"log"}`, `{"stream":"g1","seq":1,"kind":"log"}`,
	`{"stream":"g1","seq":1,"time":5,"kind":"log","cause":[` + strings.Repeat(`"a",`, 1023) + `"a"]}`, `{"stream":"g1","seq":1,"time":5,"kind":"log","cause":[` + strings.Repeat(`"a",`, 1024) + `"a"]}`,
}

func TestDecoderAgreesWithTheObviousReader(t *testing.T) {
	d := newDecoder(wire.NewTable(1 << 24))
	for _, line := range wholeLines {
		agree(t, d, []byte(line))
	}
	for _, p := range pieces {
		agree(t, d, []byte(`{`+least+`,`+p+`}`))
		agree(t, d, []byte(`{`+p+`,`+least+`}`))
		agree(t, d, []byte("{ "+least+" , "+p+"\t}\r"))
		agree(t, d, []byte(`{`+least+`,`+p))
		for _, q := range pieces {
			agree(t, d, []byte(`{`+least+`,`+p+`,`+q+`}`))
		}
	}
	for _, line := range exampleLines(t) {
		agree(t, d, []byte(line))
		for cut := range line { // torn anywhere
			agree(t, d, []byte(line[:cut]))
		}
	}
}

func TestDecoderAgreesOnDamage(t *testing.T) {
	d := newDecoder(wire.NewTable(1 << 22))
	random := rand.New(rand.NewPCG(1, 2))
	lines := exampleLines(t)
	const bytesOfJSON = `{}[]",:\ 0123456789-.eEtruefalsnx`
	for range 20_000 {
		line := []byte(lines[random.IntN(len(lines))])
		for range 1 + random.IntN(3) {
			line[random.IntN(len(line))] = bytesOfJSON[random.IntN(len(bytesOfJSON))]
		}
		agree(t, d, line)
	}
}

func FuzzLine(f *testing.F) {
	for _, line := range wholeLines {
		f.Add([]byte(line))
	}
	for _, p := range pieces {
		f.Add([]byte(`{` + least + `,` + p + `}`))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		agree(t, newDecoder(wire.NewTable(1<<20)), line)
	})
}

// An export that comes in again is the same recording, as named by stream and sequence number.
func TestExportComesInAgain(t *testing.T) {
	var out []byte
	lines := exampleLines(t)
	for i, line := range lines {
		e, err := event.ParseLine([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		e.ID, e.Correlation, e.Position = event.ID(i+1), 1, 7
		e.Causes = []event.Edge{{Kind: event.EdgeMessage, Confidence: event.Gap}, {ID: 1, Kind: event.EdgeWake, Confidence: event.Inferred, P: 0.5}}
		out = append(event.AppendLine(out, &e), '\n')
	}
	out = append(out, `{"stream":"main","seq":90,"time":5,"kind":"gap","data":{"lost":3},"id":900,"correlation":1,"position":0,"confidence":"gap","correlation_confidence":"gap"}`+"\n"...)
	c, stats, err := read(t, bytes.NewReader(out), Options{})
	if err != nil || stats.Gaps != 1 || len(c.rejected) > 0 {
		t.Fatal(stats, err, c.rejected)
	}
	if got := c.lines(); !reflect.DeepEqual(got, sorted(lines...)) {
		t.Error("other events than those that were exported")
	}
}

// More streams in a chunk than the grouping has slots for at first, and many chunks.
func TestManyStreams(t *testing.T) {
	var in bytes.Buffer
	var want []string
	for i := range 6000 {
		line := fmt.Sprintf(`{"stream":"s%d","seq":%d,"time":5,"kind":"log"}`, i%3000, i/3000+1)
		want = append(want, line)
		fmt.Fprintln(&in, line)
	}
	for _, chunkBytes := range []int{1 << 12, 1 << 20} {
		c, _, err := read(t, bytes.NewReader(in.Bytes()), Options{ChunkBytes: chunkBytes})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(c.lines(), sorted(want...)) {
			t.Errorf("chunks of %d: other events", chunkBytes)
		}
	}
}

func TestGroupingRoundsComeBack(t *testing.T) {
	var g grouping
	g.add(1)
	g.reset()
	g.round = ^uint32(0)
	g.add(2)
	g.add(3)
	g.reset()
	if g.round != 1 {
		t.Fatal(g.round)
	}
	g.add(3)
	if len(g.runs) != 1 || g.runs[0] != (wire.Run{Stream: 3, Len: 1}) {
		t.Error(g.runs)
	}
}

// Texts that meet in one slot of a cache are kept apart.
func TestCacheSlotsCollide(t *testing.T) {
	table := wire.NewTable(1 << 24)
	names, sites := newNameCache(table), newSiteCache(table)
	for round := range 2 {
		for i := range 3 * nameSlots {
			text := fmt.Sprintf("f%dx", i)
			id, err := names.name([]byte(text))
			if err != nil || table.NameOf(id) != text {
				t.Fatalf("round %d: %q is %q, %v", round, text, table.NameOf(id), err)
			}
			site, err := sites.site([]byte(text), []byte("a.go"), uint32(i%7))
			p := table.PlaceOf(site)
			if err != nil || table.TextOf(p.Func) != text || table.TextOf(p.File) != "a.go" || p.Line != uint32(i%7) {
				t.Fatalf("round %d: %q is at %v, %v", round, text, p, err)
			}
		}
	}
}

func TestFullTable(t *testing.T) {
	table := wire.NewTable(0)
	names, sites := newNameCache(table), newSiteCache(table)
	_, nameErr := names.name([]byte("x"))
	_, funcErr := sites.site([]byte("f"), nil, 0)
	_, fileErr := sites.site(nil, []byte("f"), 0)
	_, lineErr := sites.site(nil, nil, 1)
	for _, err := range []error{nameErr, funcErr, fileErr, lineErr} {
		if !errors.Is(err, wire.ErrTableFull) {
			t.Error(err)
		}
	}
}
