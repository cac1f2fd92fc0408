package wire

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pastcone/pastcone/event"
)

// anyEvent is any event as a source gives it.
func anyEvent(t *rapid.T) event.Event {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"g1", "chan007", "", "12"}))
	e := event.Event{
		Stream: rapid.SampledFrom([]string{"g1", "g2", "main", "7"}).Draw(t, "stream"), Seq: rapid.Uint64Min(1).Draw(t, "seq"),
		Time: rapid.Int64().Draw(t, "time"), Kind: event.Kinds[rapid.IntRange(0, len(event.Kinds)-1).Draw(t, "kind")].Kind,
		Func: text.Draw(t, "func"), File: text.Draw(t, "file"), Line: int(rapid.Uint32().Draw(t, "line")),
		Key: text.Draw(t, "key"), Ordinal: rapid.Uint64().Draw(t, "ordinal"), Message: text.Draw(t, "message"), Peer: text.Draw(t, "peer"),
		Child: text.Draw(t, "child"), Ref: text.Draw(t, "ref"),
		Root: rapid.Bool().Draw(t, "root"), Empty: rapid.Bool().Draw(t, "empty"), Closed: rapid.Bool().Draw(t, "closed"), Inferred: rapid.Bool().Draw(t, "inferred"), Unseen: rapid.Bool().Draw(t, "unseen"),
	}
	if causes := rapid.SliceOfN(text, 0, 3).Draw(t, "cause"); len(causes) > 0 {
		e.Cause = causes
	}
	if rapid.Bool().Draw(t, "has takes") {
		takes := rapid.Bool().Draw(t, "takes")
		e.Takes = &takes
	}
	if rapid.Bool().Draw(t, "has data") {
		e.Data = json.RawMessage(rapid.SampledFrom([]string{`{}`, `{"n":1}`, `{"text":"0123456789012345678901234567890123456789"}`}).Draw(t, "data"))
	}
	for name, v := range rapid.MapOfN(text, rapid.Int(), 0, 3).Draw(t, "extra") {
		if e.Extra == nil {
			e.Extra = map[string]json.RawMessage{}
		}
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		e.Extra[name] = raw
	}
	return e
}

func TestBatchGivesEventsBack(t *testing.T) {
	table := NewTable(1 << 26)
	var b Batch
	rapid.Check(t, func(t *rapid.T) {
		b.Reset()
		if b.Len()+len(b.Runs)+len(b.Arena) != 0 {
			t.Fatal("not empty after Reset")
		}
		var events []event.Event
		for range rapid.IntRange(0, 8).Draw(t, "events") {
			e := anyEvent(t)
			events = append(events, e)
			if err := b.AddEvent(table, &e); err != nil {
				t.Fatal(err)
			}
		}
		i := 0
		for j, run := range b.Runs {
			if j > 0 && run.Stream == b.Runs[j-1].Stream {
				t.Fatalf("runs %d and %d are of one stream", j-1, j)
			}
			for range run.Len {
				var got event.Event
				if err := b.Event(i, run.Stream, table, &got); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, events[i]) {
					t.Fatalf("event %d\ngot  %+v\nwant %+v", i, got, events[i])
				}
				i++
			}
		}
		if i != len(events) || i != b.Len() {
			t.Fatalf("runs of %d events, there are %d", i, len(events))
		}
	})
}

// What a block or its columns give is the event with the results added.
func TestBlockAndColumnsGiveEventsBack(t *testing.T) {
	table := NewTable(1 << 26)
	rapid.Check(t, func(t *rapid.T) {
		var batch Batch
		block := Block{Base: event.ID(rapid.Uint32Range(1, 1000).Draw(t, "base"))}
		var want []event.Event
		for i := range rapid.IntRange(1, 8).Draw(t, "events") {
			e := anyEvent(t)
			batch.Reset()
			if err := batch.AddEvent(table, &e); err != nil {
				t.Fatal(err)
			}
			r := Row{Record: batch.Records[0], Stream: batch.Runs[0].Stream, Source: 3}
			block.Arena, r.DataOff, r.DataLen = appendArena(block.Arena, batch.Data(&batch.Records[0]))
			block.Arena, r.ExtOff, r.ExtLen = appendArena(block.Arena, batch.Ext(&batch.Records[0]))
			e.ID = block.Base + event.ID(i)
			addResults(t, &block, &r, &e)
			block.Rows = append(block.Rows, r)
			want = append(want, e)
		}
		for i := range want {
			var got event.Event
			if err := block.Event(i, table, &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want[i]) {
				t.Fatalf("row %d of the block\ngot  %+v\nwant %+v", i, got, want[i])
			}
		}
		low := rapid.IntRange(0, len(want)-1).Draw(t, "low")
		high := rapid.IntRange(low, len(want)).Draw(t, "high")
		var c Columns
		block.Columns(0, len(want), ColAll, &c) // what was in it before must not matter
		block.Columns(low, high, ColAll, &c)
		if c.Len != high-low || c.Base != block.Base+event.ID(low) {
			t.Fatalf("%d rows from %d", c.Len, c.Base)
		}
		for i := range c.Len {
			var got event.Event
			if err := c.Event(i, table, &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want[low+i]) {
				t.Fatalf("row %d of the columns\ngot  %+v\nwant %+v", i, got, want[low+i])
			}
			if c.Source[i] != 3 {
				t.Fatal(c.Source)
			}
		}
	})
}

func addResults(t *rapid.T, b *Block, r *Row, e *event.Event) {
	conf := func(what string) event.Confidence {
		return event.Confidences[rapid.IntRange(0, 2).Draw(t, what)].Confidence
	}
	edge := func() Edge {
		x := Edge{Kind: event.EdgeKinds[rapid.IntRange(0, len(event.EdgeKinds)-1).Draw(t, "edge kind")].Kind, Conf: conf("edge confidence")}
		if x.Conf != event.Gap {
			x.Cause = event.ID(rapid.Uint32Min(1).Draw(t, "cause"))
		}
		x.P = float32(rapid.IntRange(0, 8).Draw(t, "p")) / 8 // only counts when inferred
		p := map[event.Confidence]float64{event.Exact: 1, event.Inferred: float64(x.P), event.Gap: 0}[x.Conf]
		e.Causes = append(e.Causes, event.Edge{ID: x.Cause, Kind: x.Kind, Confidence: x.Conf, P: p})
		return x
	}
	if rapid.Bool().Draw(t, "has a parent") {
		parent := edge()
		r.Parent, r.ParentP, r.ParentKind, r.ParentConf = parent.Cause, parent.P, parent.Kind, parent.Conf
	}
	r.EdgeOff = arenaEnd(len(b.Edges))
	for range rapid.IntRange(0, 2).Draw(t, "further") {
		b.Edges = append(b.Edges, edge())
		r.EdgeLen++
	}
	r.CorrConf = conf("correlation confidence")
	r.Correlation, r.Position, r.Duration = event.ID(rapid.Uint64().Draw(t, "correlation")), rapid.Uint32().Draw(t, "position"), rapid.Int64().Draw(t, "duration")
	if rapid.Bool().Draw(t, "background") {
		r.Flags |= FlagBackground
		e.Background = true
	}
	e.Parent, e.Correlation, e.Position, e.Duration = r.Parent, r.Correlation, r.Position, time.Duration(r.Duration)
	e.Confidence, e.CorrelationConfidence = r.ParentConf, r.CorrConf
}

// Each column is filled when it is asked for, and only then.
func TestColumnsAreFilledOneByOne(t *testing.T) {
	table := NewTable(1 << 20)
	var batch Batch
	if err := batch.AddEvent(table, &event.Event{Stream: "g1", Seq: 1, Kind: event.KindLog, Data: json.RawMessage(`{"a":1}`), Ref: "r"}); err != nil {
		t.Fatal(err)
	}
	row := Row{Record: batch.Records[0], Stream: batch.Runs[0].Stream, EdgeLen: 1}
	block := Block{Base: 1, Rows: []Row{row, row}, Edges: []Edge{{Cause: 1}}, Arena: batch.Arena}
	fields := map[ColumnSet][]string{
		ColTime: {"Time"}, ColSeq: {"Seq"}, ColStream: {"Stream"}, ColSource: {"Source"}, ColKind: {"Kind"}, ColFlags: {"Flags"}, ColSite: {"Site"},
		ColKey: {"Key"}, ColOrdinal: {"Ordinal"}, ColPeer: {"Peer"}, ColChild: {"Child"},
		ColParent:      {"Parent", "ParentKind", "ParentConf", "CorrConf", "ParentP"},
		ColCorrelation: {"Correlation"}, ColPosition: {"Position"}, ColDuration: {"Duration"},
		ColFurther: {"EdgeEnd", "Edges"}, ColData: {"DataEnd", "Data"}, ColExt: {"ExtEnd", "Ext"},
	}
	all := ColumnSet(0)
	for want, names := range fields {
		all |= want
		var c Columns
		block.Columns(0, 2, want, &c)
		v := reflect.ValueOf(c)
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if name == "Base" || name == "Len" {
				continue
			}
			wanted := false
			for _, n := range names {
				wanted = wanted || n == name
			}
			if filled := v.Field(i).Len() > 0; filled != wanted {
				t.Errorf("asked for %v: %s has %d entries", names, name, v.Field(i).Len())
			}
		}
		if want&(ColFurther|ColData|ColExt) == 0 && (c.FurtherOf(1) != nil || c.DataOf(1) != nil || c.ExtOf(0) != nil) {
			t.Errorf("asked for %v: got payload", names)
		}
	}
	if all != ColAll {
		t.Errorf("ColAll is %b, the columns are %b", ColAll, all)
	}
}

func TestFullTableAddsNothing(t *testing.T) {
	fits := func(texts int) *Table { return NewTable(int64(texts)*(textOverheadBytes+1) + textOverheadBytes/2) }
	e := event.Event{Stream: "a", Key: "b", Peer: "c", Child: "d", Func: "e", File: "f", Line: 1, Seq: 1, Kind: event.KindLog}
	for texts := range 6 {
		var b Batch
		if err := b.AddEvent(fits(texts), &e); !errors.Is(err, ErrTableFull) || b.Len() != 0 {
			t.Errorf("room for %d texts: %v, %d events", texts, err, b.Len())
		}
	}
}

func TestCorruptExtensionIsAnError(t *testing.T) {
	table := NewTable(1 << 20)
	stream, err := table.Name("g1")
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	b.Add(stream, Record{Seq: 1, Kind: event.KindLog}, nil, []byte{99, 0})
	var e event.Event
	if err := b.Event(0, stream, table, &e); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	row := Row{Record: b.Records[0], Stream: stream}
	block := Block{Base: 4, Rows: []Row{row}, Arena: b.Arena}
	if err := block.Event(0, table, &e); !errors.Is(err, ErrCorrupt) || e.ID != 4 {
		t.Error(err, e.ID)
	}
	var c Columns
	block.Columns(0, 1, ColAll, &c)
	if err := c.Event(0, table, &e); !errors.Is(err, ErrCorrupt) || e.ID != 4 {
		t.Error(err, e.ID)
	}
	for _, ext := range [][]byte{{extMessage}, {extMessage, 2, 'x'}, {extMessage, 0xff}, {extExtra, 0}, {extExtra, 2, 5, 'x'}, {0, 0}, {extRef, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}} {
		var x Extension
		if err := x.Decode(ext); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%v: %v", ext, err)
		}
	}
}

func TestArenaBeyondFourGigabytes(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an offset was cut off silently")
		}
	}()
	arenaEnd(1 << 32)
}

// FuzzExtension: no bytes make Decode panic, and what it accepts comes back the same.
func FuzzExtension(f *testing.F) {
	f.Add([]byte{})
	f.Add(AppendExtension(nil, &Extension{
		Message: []byte("m"), Ref: []byte("r"), Causes: [][]byte{[]byte("a"), []byte("b")},
		Extra: []ExtraField{{[]byte("zone"), []byte(`"eu"`)}, {[]byte(""), []byte(`1`)}},
	}))
	f.Add([]byte{extExtra, 3, 1, 'x', '1', extMessage, 0x80, 0x01})
	f.Add([]byte{extMessage, 1, 'a', extMessage, 1, 'b'})
	f.Fuzz(func(t *testing.T, ext []byte) {
		var e Extension
		if err := e.Decode(ext); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again := AppendExtension(nil, &e)
		var twice Extension
		if err := twice.Decode(again); err != nil {
			t.Fatalf("%v became %v: %v", ext, again, err)
		}
		if string(e.Message) != string(twice.Message) || string(e.Ref) != string(twice.Ref) || len(e.Causes) != len(twice.Causes) || len(e.Extra) != len(twice.Extra) {
			t.Fatalf("%+v became %+v", e, twice)
		}
		for i, x := range e.Extra {
			if string(x.Name) != string(twice.Extra[i].Name) || string(x.Value) != string(twice.Extra[i].Value) {
				t.Fatalf("%+v became %+v", e, twice)
			}
		}
	})
}
