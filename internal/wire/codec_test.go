package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
)

// randomBatch makes a batch with all kinds of fields, extreme values among them.
func randomBatch(t testing.TB, table *Table, r *rand.Rand, events int) *Batch {
	t.Helper()
	names := []string{"g1", "g2", "", "jobs", "conn-17", "17", "x007", "v000000000000", "123456789012345", "99999999999999999", "héllo"}
	pick := func() string { return names[r.IntN(len(names))] }
	numbers := []uint64{0, 1, 2, 127, 128, 1 << 20, event.SeqMax}
	times := []int64{0, -1, 1700000000000000000, math.MinInt64, math.MaxInt64}
	b := &Batch{}
	for range events {
		e := event.Event{
			Stream: names[r.IntN(2)], Seq: max(1, numbers[r.IntN(len(numbers))]), Time: times[r.IntN(len(times))],
			Kind: event.Kinds[r.IntN(len(event.Kinds)-1)].Kind, Func: pick(), File: pick(), Line: r.IntN(3) * r.IntN(1<<31),
			Key: pick(), Ordinal: numbers[r.IntN(len(numbers))], Peer: pick(), Child: pick(), Message: pick(), Ref: pick(),
			Root: r.IntN(2) == 0, Empty: r.IntN(2) == 0, Closed: r.IntN(2) == 0,
		}
		if r.IntN(3) == 0 {
			takes := r.IntN(2) == 0
			e.Takes = &takes
		}
		if r.IntN(2) == 0 {
			e.Data = []byte(fmt.Sprintf(`{"n":%d}`, r.IntN(1000)))
		}
		if r.IntN(4) == 0 {
			e.Cause = []string{"a", "b"}
		}
		if err := b.AddEvent(table, &e); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func events(t testing.TB, table *Table, b *Batch) []event.Event {
	t.Helper()
	var all []event.Event
	for i, run := 0, 0; run < len(b.Runs); run++ {
		for range b.Runs[run].Len {
			var e event.Event
			if err := b.Event(i, b.Runs[run].Stream, table, &e); err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
			i++
		}
	}
	return all
}

func mustAppend(t testing.TB, table *Table, b *Batch) []byte {
	t.Helper()
	p, err := AppendBatch(nil, table, b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestBatchCodec_WhatGoesInComesOutInAnotherTable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	from, to := NewTable(1<<20), NewTable(1<<20)
	for _, text := range []string{"other", "ids", "here", "jobs"} {
		if _, err := to.Name(text); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 300 {
		b := randomBatch(t, from, r, round%40)
		p := mustAppend(t, from, b)
		var got Batch
		if err := DecodeBatch(p, to, &got); err != nil {
			t.Fatal(err)
		}
		if want, have := events(t, from, b), events(t, to, &got); !reflect.DeepEqual(want, have) {
			t.Fatalf("round %d:\nwant %+v\nhave %+v", round, want, have)
		}
		if again := mustAppend(t, to, &got); !bytes.Equal(p, again) {
			t.Fatalf("round %d: encodes into something else after decoding", round)
		}
		for _, e := range events(t, to, &got) {
			stream, _ := to.FindName(e.Stream)
			if key, ok := to.FindName(e.Key); !ok || stream == 0 || e.Key != to.NameOf(key) {
				t.Fatalf("name %q is not what the table makes of it", e.Key)
			}
		}
	}
}

func TestBatchCodec_GoldenBytes(t *testing.T) {
	table := NewTable(1 << 16)
	b := &Batch{}
	for _, e := range []event.Event{
		{Stream: "g17", Seq: 1, Time: 1000, Kind: event.KindCall, Func: "f", Root: true},
		{Stream: "g17", Seq: 2, Time: 1003, Kind: event.KindSend, Key: "jobs", Ordinal: 7, Data: []byte(`{}`)},
		{Stream: "g18", Seq: 1, Time: 1001, Kind: event.KindReceive, Key: "jobs", Ordinal: 7, Message: "m"},
	} {
		if err := b.AddEvent(table, &e); err != nil {
			t.Fatal(err)
		}
	}
	want := strings.Join([]string{
		"01",                               // version
		"03", "0167", "046a6f6273", "0166", // texts g, jobs, f
		"01", "030000", // one place: function f, no file, line 0
		"03", "02", // records, runs
		"0112", "02", "0113", "01", // g 18-1: two records; g 19-1: one
		"0103", "d00f", "00", "01", "01", // call; flags, place; time 1000; seq 1; root; place 1
		"064c", "06", "00", "0200", "07", "02", // send; key, ordinal, data; +3; next seq; jobs; 7; two bytes
		"078c", "03", "00", "0200", "07", "03", // receive; key, ordinal, rarer fields; -2; seq 1
		"7b7d", "01016d", // {}, message m
	}, "")
	if got := hex.EncodeToString(mustAppend(t, table, b)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestBatchCodec_RefusesWhatNoEncoderWrites(t *testing.T) {
	long := strings.Repeat("a", event.TextBytesMax+1)
	u := binary.AppendUvarint
	text := func(s string) []byte { return append(u(nil, uint64(len(s))), s...) }
	join := func(parts ...any) (p []byte) {
		for _, part := range parts {
			switch part := part.(type) {
			case int:
				p = append(p, byte(part))
			case string:
				p = append(p, part...)
			case []byte:
				p = append(p, part...)
			}
		}
		return p
	}
	// One record: a call in stream g.
	head := []any{1, 1, text("g"), 0, 1, 1, 1, 0, 1}
	record := func(parts ...any) []byte { return join(append(append([]any{}, head...), parts...)...) }
	if err := DecodeBatch(record(1, 0, 0, 0), NewTable(1<<16), &Batch{}); err != nil {
		t.Fatalf("the cases below begin from a batch that is fine: %v", err)
	}
	for name, c := range map[string]struct {
		p    []byte
		says string
	}{
		"nothing":                       {nil, "ends early"},
		"a later version":               {join(2), "version 2"},
		"more texts than bytes":         {join(1, 200, 1, "a"), "number of texts"},
		"a number without an end":       {join(1, 255, 255), "no number"},
		"a text that is too long":       {join(1, 1, text(long), 0, 0, 0), "length of a text"},
		"a text without an end":         {join(1, 1, 5, "ab"), "within a text"},
		"an empty text":                 {join(1, 1, 0, 0, 0, 0), "empty or not UTF-8"},
		"a text that is no text":        {join(1, 1, 1, 0xff, 0, 0, 0), "empty or not UTF-8"},
		"more places than bytes":        {join(1, 0, 100, 0), "number of places"},
		"a place of an unknown text":    {join(1, 0, 1, 1, 0, 0, 0), "text of a place"},
		"a line beyond 32 bits":         {join(1, 0, 1, 0, 0, u(nil, 1<<32), 0, 0), "a line"},
		"more records than bytes":       {join(1, 0, 0, 100, 0), "number of records"},
		"more records than are allowed": {join(1, 0, 0, u(nil, BatchRecordsMax+1), make([]byte, 4*BatchRecordsMax+100)), "at most 65536"},
		"more runs than bytes":          {join(1, 1, text("g"), 0, 1, 9, 1, 0, 1, 1, 0, 0, 0), "number of runs"},
		"more runs than records":        {join(1, 1, text("g"), 0, 1, 2, 1, 0, 1, 1, 0, 0, 0), "2 runs of 1"},
		"a run longer than all":         {join(1, 1, text("g"), 0, 1, 1, 1, 0, 2, 1, 0, 0, 0), "length of a run"},
		"a run without records":         {join(1, 1, text("g"), 0, 1, 1, 1, 0, 0, 1, 0, 0, 0), "without records"},
		"a run without a stream":        {join(1, 1, text("g"), 0, 1, 1, 0, 0, 1, 1, 0, 0, 0), "without a stream"},
		"records in no run":             {join(1, 1, text("g"), 0, 1, 0, 1, 0, 0, 0, 0, 0, 0), "in no run"},
		"a stream of an unknown text":   {join(1, 1, text("g"), 0, 1, 1, 2, 0, 1, 1, 0, 0, 0), "a stream is 2"},
		"a number beyond 12 digits":     {record(1, hasKey, 0, 0, 1, u(nil, tailMax+1)), "number of a name"},
		"no kind":                       {record(0, 0, 0, 0), "no kind"},
		"an unknown kind":               {record(99, 0, 0, 0), "kind(99)"},
		"a gap, which is no occurrence": {record(int(event.KindGap), 0, 0, 0), "gap"},
		"seq 0":                         {record(1, 0, 0, 1), "seq is 0"},
		"seq beyond its bound":          {record(1, 0, 0, binary.AppendVarint(nil, math.MinInt64)), "seq is"},
		"a result among the flags":      {record(1, hasFlags, 0, 0, int(FlagBackground)), "flags"},
		"takes and takes not":           {record(1, hasFlags, 0, 0, int(FlagTakes|FlagTakesNot)), "flags"},
		"flags beyond all":              {record(1, hasFlags, 0, 0, u(nil, 1<<20)), "flags"},
		"an unknown place":              {record(1, hasPlace, 0, 0, 1), "a place is 1"},
		"an ordinal beyond its bound":   {record(1, hasOrdinal, 0, 0, u(nil, 1<<63)), "an ordinal"},
		"payload that does not follow":  {record(1, hasData, 0, 0, 3, "{}"), "payload"},
		"payload of nobody":             {record(1, 0, 0, 0, "{}"), "2 bytes of payload"},
		"payloads longer than all":      {join(1, 1, text("g"), 0, 2, 1, 1, 0, 2, 1, hasData, 0, 0, 3, 1, hasData, 0, 0, 2, "abc"), "do not follow"},
	} {
		b := Batch{Records: make([]Record, 3)}
		err := DecodeBatch(c.p, NewTable(1<<16), &b)
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want something about %q", name, err, c.says)
		}
		if b.Len() != 0 || len(b.Runs) != 0 || len(b.Arena) != 0 {
			t.Errorf("%s: the batch is not empty", name)
		}
	}
}

func TestBatchCodec_EveryCutIsNoticed(t *testing.T) {
	table := NewTable(1 << 20)
	p := mustAppend(t, table, randomBatch(t, table, rand.New(rand.NewPCG(3, 4)), 20))
	for cut := range p {
		if err := DecodeBatch(p[:cut], table, &Batch{}); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d of %d bytes: %v", cut, len(p), err)
		}
	}
}

func TestBatchCodec_NamesHaveOneForm(t *testing.T) {
	table := NewTable(1 << 16)
	// Stream "g1" with the number 7 behind it, and stream "g17" without one: both are g17.
	p := []byte{1, 2, 2, 'g', '1', 3, 'g', '1', '7', 0, 2, 2, 1, 8, 1, 2, 0, 1, 1, 0, 0, 0, 1, 0, 0, 2}
	var b Batch
	if err := DecodeBatch(p, table, &b); err != nil {
		t.Fatal(err)
	}
	want, err := table.Name("g17")
	if err != nil {
		t.Fatal(err)
	}
	if b.Runs[0].Stream != want || b.Runs[1].Stream != want {
		t.Errorf("%v are not the name %d", b.Runs, want)
	}
}

func TestBatchCodec_Bounds(t *testing.T) {
	table := NewTable(1 << 16)
	if _, err := AppendBatch(nil, table, &Batch{Records: make([]Record, BatchRecordsMax+1)}); !errors.Is(err, ErrBatchTooLarge) {
		t.Errorf("too many records: %v", err)
	}
	b := &Batch{}
	for i := range 5 {
		if err := b.AddEvent(table, &event.Event{Stream: "s", Seq: 1, Kind: event.KindLog, Func: fmt.Sprint("function", string(rune('a'+i))), Key: "k0"}); err != nil {
			t.Fatal(err)
		}
	}
	p := mustAppend(t, table, b)
	for bytesMax := int64(0); ; bytesMax += 64 {
		err := DecodeBatch(p, NewTable(bytesMax), &Batch{})
		if err == nil {
			break
		}
		if !errors.Is(err, ErrTableFull) {
			t.Fatalf("table of %d bytes: %v", bytesMax, err)
		}
		if bytesMax > 1<<16 {
			t.Fatal("never fits")
		}
	}
}

func FuzzDecodeBatch(f *testing.F) {
	table := NewTable(1 << 20)
	r := rand.New(rand.NewPCG(5, 6))
	for n := range 6 {
		f.Add(mustAppend(f, table, randomBatch(f, table, r, n)))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		table := NewTable(1 << 20)
		var b Batch
		if err := DecodeBatch(p, table, &b); err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTableFull) {
				t.Fatal(err)
			}
			return
		}
		if len(b.Records) > len(p) || len(b.Arena) > len(p) {
			t.Fatal("more came out than went in")
		}
		again := mustAppend(t, table, &b)
		var c Batch
		if err := DecodeBatch(again, table, &c); err != nil {
			t.Fatalf("what was decoded does not decode again: %v", err)
		}
		if !reflect.DeepEqual(b.Records, c.Records) || !reflect.DeepEqual(b.Runs, c.Runs) || !bytes.Equal(b.Arena, c.Arena) {
			t.Fatal("another batch the second time")
		}
	})
}

func BenchmarkBatchCodec(b *testing.B) {
	table := NewTable(1 << 20)
	batch := &Batch{}
	const n = 1000
	for i := range n {
		e := event.Event{Stream: fmt.Sprint("g", i/50), Seq: uint64(i%50 + 1), Time: 1700000000000000000 + int64(i)*900, // #nosec G115 -- small
			Kind: event.KindCall, Func: fmt.Sprint("f", i%30), Key: "jobs", Ordinal: uint64(i + 1)} // #nosec G115 -- small
		if err := batch.AddEvent(table, &e); err != nil {
			b.Fatal(err)
		}
	}
	p := mustAppend(b, table, batch)
	b.Run("append", func(b *testing.B) {
		for b.Loop() {
			p, _ = AppendBatch(p[:0], table, batch)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
		b.ReportMetric(float64(len(p))/n, "B/event")
	})
	b.Run("decode", func(b *testing.B) {
		var into Batch
		for b.Loop() {
			if err := DecodeBatch(p, table, &into); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
	})
}
