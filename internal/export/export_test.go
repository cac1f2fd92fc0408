package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"go.uber.org/goleak"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/oracle"
	"github.com/pastcone/pastcone/internal/query/memory"
	"github.com/pastcone/pastcone/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// story is a recording with one event of each oddness: a missing parent, an inferred edge, an edge that came late,
// unknown fields, a return in no time.
func story() []event.Event {
	no := false
	return []event.Event{
		{ID: 1, Stream: "g1", Seq: 1, Time: 1700000000000000001, Kind: event.KindCall, Func: "main.main", File: "main.go", Line: 7,
			Root: true, Correlation: 1, Data: json.RawMessage(`{"user":"Ödön \"the\" 1st"}`)},
		{ID: 2, Stream: "g1", Seq: 2, Time: 1700000000000000002, Kind: event.KindSend, Key: "jobs", Ordinal: 1, Peer: "g2", Ref: "s",
			Parent: 1, Correlation: 1, Position: 1, Causes: []event.Edge{{ID: 1, Kind: event.EdgeContext, P: 1}}},
		{ID: 3, Stream: "g1", Seq: 3, Time: 1700000000000000002, Kind: event.KindReturn, Func: "main.main",
			Parent: 1, Correlation: 1, Position: 1, Causes: []event.Edge{{ID: 1, Kind: event.EdgeReturn, P: 1}}},
		{ID: 4, Stream: "g2", Seq: 1, Time: 1700000000000000003, Kind: event.KindStart, Correlation: 4, Background: true, Confidence: event.Gap,
			CorrelationConfidence: event.Gap, Causes: []event.Edge{
				{Kind: event.EdgeSpawn, Confidence: event.Gap},
				{ID: 6, Kind: event.EdgeSpawn, Confidence: event.Exact, P: 1}, // came later
			}},
		{ID: 5, Stream: "g2", Seq: 2, Time: 1700000000000000004, Kind: event.KindReceive, Message: "m1", Inferred: true, Takes: &no,
			Parent: 4, Correlation: 4, Position: 1, Background: true, CorrelationConfidence: event.Gap,
			Cause: []string{"a", "b"}, Extra: map[string]json.RawMessage{"color": json.RawMessage(`"red"`)},
			Causes: []event.Edge{{ID: 4, Kind: event.EdgeContext, P: 1}, {ID: 2, Kind: event.EdgeMessage, Confidence: event.Inferred, P: 0.5}}},
		{ID: 6, Stream: "main", Seq: 1, Time: -5, Kind: event.KindSpawn, Child: "g2", Correlation: 6, Background: true},
	}
}

func recording(t testing.TB, events []event.Event, blockRows int) *memory.Reader {
	t.Helper()
	r, err := memory.FromEvents(events, nil, blockRows)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNDJSON_GivesEveryEventBackWithItsResults(t *testing.T) {
	want := story()
	for _, blockRows := range []int{1, 2, 100} {
		var to bytes.Buffer
		var told []string
		o := Options{Progress: func(done, all uint64) { told = append(told, fmt.Sprint(done, "/", all)) }}
		n, err := NDJSON(context.Background(), recording(t, want, blockRows), o, &to)
		if err != nil || n != int64(len(want)) {
			t.Fatalf("%d events, %v", n, err)
		}
		for i, line := range strings.Split(strings.TrimSuffix(to.String(), "\n"), "\n") {
			got, err := event.ParseLine([]byte(line))
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if !reflect.DeepEqual(got, want[i]) {
				t.Errorf("event %d comes back as\n%+v, was\n%+v", want[i].ID, got, want[i])
			}
		}
		if told[len(told)-1] != "6/6" {
			t.Errorf("progress was %v", told)
		}
	}
}

func TestExports_OnlyWhatIsKept(t *testing.T) {
	keep := Options{Keep: func(id event.ID) bool { return id%2 == 0 }}
	var to bytes.Buffer
	if n, err := NDJSON(context.Background(), recording(t, story(), 2), keep, &to); err != nil || n != 3 || strings.Count(to.String(), "\n") != 3 {
		t.Errorf("%d events, %v", n, err)
	}
	to.Reset()
	n, err := Parquet(context.Background(), recording(t, story(), 2), keep, &to)
	if rows := readBack(t, to.Bytes()); err != nil || n != 3 || len(rows) != 3 || rows[2].ID != 6 {
		t.Errorf("%d events, %v", n, err)
	}
}

func readBack(t *testing.T, file []byte) []parquetRow {
	t.Helper()
	rows, err := parquet.Read[parquetRow](bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestParquet_HoldsEveryField(t *testing.T) {
	want := story()
	var to bytes.Buffer
	if n, err := Parquet(context.Background(), recording(t, want, 2), Options{}, &to); err != nil || n != int64(len(want)) {
		t.Fatalf("%d events, %v", n, err)
	}
	rows := readBack(t, to.Bytes())
	for i := range rows {
		if got := eventOf(t, &rows[i]); !reflect.DeepEqual(got, want[i]) {
			t.Errorf("event %d comes back as\n%+v, was\n%+v", want[i].ID, got, want[i])
		}
	}
	if d := rows[2].Duration; d == nil || *d != 0 {
		t.Error("a return in no time has a duration, of 0")
	}
	if rows[1].Duration != nil {
		t.Error("only returns have durations")
	}
	if rows[3].ParentKind != "spawn" || rows[3].Parent != 0 || rows[5].ParentKind != "" {
		t.Errorf("a missing parent has a kind, %q; no parent has none, %q", rows[3].ParentKind, rows[5].ParentKind)
	}
}

// eventOf is the inverse of parquetRow.set.
func eventOf(t *testing.T, row *parquetRow) event.Event {
	t.Helper()
	k, ok := event.ParseKind(row.Kind)
	if !ok {
		t.Fatalf("kind %q", row.Kind)
	}
	confidence := func(name string) event.Confidence {
		c, ok := event.ParseConfidence(name)
		if !ok {
			t.Fatalf("confidence %q", name)
		}
		return c
	}
	e := event.Event{
		ID: event.ID(row.ID), Stream: row.Stream, Seq: uint64(row.Seq), Time: row.Time, Kind: k, Func: row.Func, File: row.File, Line: int(row.Line),
		Key: row.Key, Ordinal: uint64(row.Ordinal), Message: row.Message, Peer: row.Peer, Child: row.Child, Ref: row.Ref,
		Root: row.Root, Empty: row.Empty, Closed: row.Closed, Inferred: row.Inferred, Unseen: row.Unseen, Takes: row.Takes,
		Parent: event.ID(row.Parent), Confidence: confidence(row.Confidence), Correlation: event.ID(row.Correlation),
		CorrelationConfidence: confidence(row.CorrelationConfidence), Position: uint32(row.Position), Background: row.Background,
	}
	if len(row.Cause) > 0 {
		e.Cause = row.Cause
	}
	if row.Data != "" {
		e.Data = json.RawMessage(row.Data)
	}
	if row.Extra != "" {
		if err := json.Unmarshal([]byte(row.Extra), &e.Extra); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range row.Causes {
		kind, ok := event.ParseEdgeKind(c.Kind)
		if !ok {
			t.Fatalf("edge kind %q", c.Kind)
		}
		edge := event.Edge{Kind: kind, Confidence: confidence(c.Confidence)}
		if c.ID != nil {
			edge.ID = event.ID(*c.ID)
		}
		switch {
		case c.P != nil:
			edge.P = *c.P
		case edge.Confidence == event.Exact:
			edge.P = 1
		}
		e.Causes = append(e.Causes, edge)
	}
	return e
}

func TestParquet_TextThatIsNoUTF8IsMended(t *testing.T) {
	events := story()[:1]
	events[0].Func = "bad\xffname"
	var to bytes.Buffer
	if _, err := Parquet(context.Background(), recording(t, events, 2), Options{}, &to); err != nil {
		t.Fatal(err)
	}
	if got := readBack(t, to.Bytes())[0].Func; got != "bad\ufffdname" {
		t.Errorf("%q", got)
	}
}

func TestParquet_RowGroupsAreBounded(t *testing.T) {
	const n = rowGroupRowsMax + 5000
	events := make([]event.Event, n)
	for i := range events {
		events[i] = event.Event{ID: event.ID(i + 1), Stream: "g1", Seq: uint64(i + 1), Time: int64(i), Kind: event.KindLog, Correlation: 1}
	}
	large := json.RawMessage(`{"a":"` + strings.Repeat("x", rowGroupBytesMax/4) + `"}`)
	for i := range 5 {
		events[i].Data = large
	}
	var to bytes.Buffer
	if _, err := Parquet(context.Background(), recording(t, events, 8192), Options{}, &to); err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(to.Bytes()), int64(to.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int64
	total := int64(0)
	for _, g := range f.RowGroups() {
		sizes = append(sizes, g.NumRows())
		total += g.NumRows()
		if g.NumRows() > rowGroupRowsMax {
			t.Errorf("a row group has %d rows", g.NumRows())
		}
	}
	if len(sizes) < 3 || sizes[0] > 5 || total != n {
		t.Errorf("row groups of %v rows; large events fill a group early", sizes)
	}
}

// failing is a recording whose blocks can not be read, or a writer that is full.
type failing struct {
	*memory.Reader
	err error
}

func (f failing) Read(event.ID, wire.ColumnSet, *wire.Columns) error { return f.err }

type full struct{ err error }

func (f full) Write([]byte) (int, error) { return 0, f.err }

func TestExports_Failures(t *testing.T) {
	broken := errors.New("segment 3, block 7: the checksum is wrong")
	r := recording(t, story(), 2)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for name, write := range map[string]func(context.Context, *memory.Reader, error) error{
		"NDJSON, unreadable": func(ctx context.Context, r *memory.Reader, err error) error {
			_, err = NDJSON(ctx, failing{r, err}, Options{}, &bytes.Buffer{})
			return err
		},
		"Parquet, unreadable": func(ctx context.Context, r *memory.Reader, err error) error {
			_, err = Parquet(ctx, failing{r, err}, Options{}, &bytes.Buffer{})
			return err
		},
		"NDJSON, disk full": func(ctx context.Context, r *memory.Reader, err error) error {
			_, err = NDJSON(ctx, r, Options{}, full{err})
			return err
		},
		"Parquet, disk full": func(ctx context.Context, r *memory.Reader, err error) error {
			_, err = Parquet(ctx, r, Options{}, full{err})
			return err
		},
	} {
		if err := write(context.Background(), r, broken); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "exporting ") {
			t.Errorf("%s: %v", name, err)
		}
		if err := write(over, r, broken); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, interrupted: %v", name, err)
		}
	}
}

// example is the worked example of the rules, judged by the oracle.
func example(t testing.TB) *oracle.Truth {
	t.Helper()
	text, err := os.ReadFile("../oracle/testdata/example.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	truth, err := oracle.Correlate(parsed(t, string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return truth
}

func parsed(t testing.TB, text string) (events []event.Event) {
	t.Helper()
	for line := range strings.Lines(text) {
		e, err := event.ParseLine([]byte(strings.TrimSuffix(line, "\n")))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

// TestNDJSON_ImportsAgain: an export of the worked example is an input again, and judged anew it has the same results.
func TestNDJSON_ImportsAgain(t *testing.T) {
	truth := example(t)
	r, _, err := memory.FromTruth(truth, 50)
	if err != nil {
		t.Fatal(err)
	}
	var to bytes.Buffer
	if n, err := NDJSON(context.Background(), r, Options{}, &to); err != nil || n != int64(truth.Len()) || n < 100 {
		t.Fatalf("%d events, %v", n, err)
	}
	again, err := oracle.Correlate(parsed(t, to.String()))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range truth.Verdicts {
		w := again.Of(v.At)
		if w == nil || w.Parent != v.Parent || w.Founder != v.Founder || fmt.Sprint(w.Edges) != fmt.Sprint(v.Edges) || w.Duration != v.Duration {
			t.Errorf("%v: judged anew %+v, was %+v", v.At, w, v)
		}
	}
}

func BenchmarkExport(b *testing.B) {
	truth := example(b)
	one, events, err := memory.FromTruth(truth, 8192)
	if err != nil {
		b.Fatal(err)
	}
	_ = one
	var many []event.Event
	for len(many) < 100_000 {
		for _, e := range events {
			shift := event.ID(len(many)) - (e.ID - 1)
			e.ID += shift
			e.Seq += uint64(shift)
			e.Causes = append([]event.Edge(nil), e.Causes...)
			for i := range e.Causes {
				if e.Causes[i].ID != 0 {
					e.Causes[i].ID += shift
				}
			}
			if e.Parent != 0 {
				e.Parent += shift
			}
			e.Correlation += shift
			many = append(many, e)
		}
	}
	r := recording(b, many, 8192)
	for name, write := range map[string]func(io.Writer) (int64, error){
		"ndjson":  func(w io.Writer) (int64, error) { return NDJSON(context.Background(), r, Options{}, w) },
		"parquet": func(w io.Writer) (int64, error) { return Parquet(context.Background(), r, Options{}, w) },
	} {
		b.Run(name, func(b *testing.B) {
			var size counter
			total := int64(0)
			for b.Loop() {
				n, err := write(&size)
				if err != nil {
					b.Fatal(err)
				}
				total += n
			}
			b.ReportMetric(float64(total)/b.Elapsed().Seconds()/1e6, "M-events/s")
			b.ReportMetric(float64(size)/float64(total), "B/event")
		})
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// damage is an error of a reader that has the rest.
type damage struct{ error }

func (damage) Damaged() bool { return true }

// holed is a recording with a block that is damaged.
type holed struct {
	*memory.Reader
	base event.ID
	err  error
}

func (h holed) Read(base event.ID, want wire.ColumnSet, into *wire.Columns) error {
	if base == h.base || h.base == 0 {
		return h.err
	}
	return h.Reader.Read(base, want, into)
}

func TestExports_WhatIsDamagedIsLeftOutAndNamed(t *testing.T) {
	err := damage{errors.New("segment 3, block 3: the checksum is wrong")}
	r := holed{recording(t, story(), 2), 3, err}
	var partial *PartialError
	var out, file bytes.Buffer
	n, got := NDJSON(context.Background(), r, Options{}, &out)
	if n != 4 || !errors.As(got, &partial) || !errors.Is(got, err) || !strings.Contains(got.Error(), "events 3 to 4 are left out: segment 3, block 3") {
		t.Errorf("event lines: %d, %v", n, got)
	}
	var ids []event.ID
	for _, e := range parsed(t, out.String()) {
		ids = append(ids, e.ID)
	}
	if fmt.Sprint(ids) != "[1 2 5 6]" {
		t.Errorf("event lines of %v", ids)
	}
	if n, got := Parquet(context.Background(), r, Options{}, &file); n != 4 || !errors.As(got, &partial) || len(readBack(t, file.Bytes())) != 4 {
		t.Errorf("Parquet: %d, %v", n, got)
	}
	// A disk that is full as well is told as well.
	disk := errors.New("no space")
	if _, got := NDJSON(context.Background(), r, Options{}, full{disk}); !errors.Is(got, disk) || !errors.Is(got, err) {
		t.Errorf("disk full: %v", got)
	}
	// Only the first are named.
	all := holed{recording(t, story(), 1), 0, err}
	if n, got := NDJSON(context.Background(), all, Options{}, &out); n != 0 || !strings.Contains(got.Error(), "and 1 more block") {
		t.Errorf("all damaged: %d, %v", n, got)
	}
}
