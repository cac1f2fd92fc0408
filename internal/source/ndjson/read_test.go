package ndjson

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collector is a sink that keeps what it gets, in the public form.
type collector struct {
	t        *testing.T
	table    *wire.Table
	events   []event.Event
	batches  []int // their lengths
	rejected []source.Rejected
	pushErr  error
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	return &collector{t: t, table: wire.NewTable(1 << 20)}
}

func (c *collector) Table() *wire.Table { return c.table }

func (c *collector) Push(_ context.Context, b *wire.Batch) error {
	if c.pushErr != nil {
		return c.pushErr
	}
	i := 0
	for _, run := range b.Runs {
		if run.Len == 0 {
			c.t.Errorf("batch %d has an empty run", len(c.batches))
		}
		for range run.Len {
			var e event.Event
			if err := b.Event(i, run.Stream, c.table, &e); err != nil {
				c.t.Errorf("batch %d, record %d: %v", len(c.batches), i, err)
			}
			c.events = append(c.events, e)
			i++
		}
	}
	if i != b.Len() {
		c.t.Errorf("batch %d: runs cover %d of %d records", len(c.batches), i, b.Len())
	}
	c.batches = append(c.batches, b.Len())
	return nil
}

func (c *collector) Reject(r source.Rejected) error {
	c.rejected = append(c.rejected, r)
	return nil
}

// lines gives what was collected as event lines, in an order of their own.
func (c *collector) lines() []string {
	var lines []string
	for i := range c.events {
		lines = append(lines, string(event.AppendLine(nil, &c.events[i])))
	}
	slices.Sort(lines)
	return lines
}

func read(t *testing.T, in io.Reader, o Options) (*collector, Stats, error) {
	t.Helper()
	c := newCollector(t)
	stats, err := Read(t.Context(), in, "some.ndjson", o, c)
	if got := stats.Events + stats.Rejected + stats.Empty + stats.Gaps; got != stats.Lines && err == nil {
		t.Errorf("the books do not balance: %+v", stats)
	}
	if err == nil && (stats.Events != int64(len(c.events)) || stats.Rejected != int64(len(c.rejected)) || stats.Batches != int64(len(c.batches))) {
		t.Errorf("%+v, but the sink got %d events in %d batches, %d rejects", stats, len(c.events), len(c.batches), len(c.rejected))
	}
	return c, stats, err
}

func sorted(lines ...string) []string {
	lines = slices.Clone(lines)
	slices.Sort(lines)
	return lines
}

func exampleLines(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/example.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func TestExampleComesOutAsItWentIn(t *testing.T) {
	lines := exampleLines(t)
	text := strings.Join(lines, "\n") + "\n"
	for name, c := range map[string]struct {
		in io.Reader
		o  Options
	}{
		"as it is":             {strings.NewReader(text), Options{}},
		"one decoder":          {strings.NewReader(text), Options{Workers: 1}},
		"many small chunks":    {strings.NewReader(text), Options{Workers: 4, ChunkBytes: 200}},
		"chunks below a line":  {strings.NewReader(text), Options{ChunkBytes: 1}},
		"a byte at a time":     {iotest.OneByteReader(strings.NewReader(text)), Options{ChunkBytes: 4096}},
		"half of what fits":    {iotest.HalfReader(strings.NewReader(text)), Options{ChunkBytes: 1000}},
		"data with the end":    {iotest.DataErrReader(strings.NewReader(text)), Options{}},
		"no line feed at end":  {strings.NewReader(strings.TrimSpace(text)), Options{}},
		"CR LF":                {strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n")), Options{}},
		"a byte order mark":    {strings.NewReader("\ufeff" + text), Options{}},
		"gzip":                 {bytes.NewReader(gzipped(t, text)), Options{ChunkBytes: 1000}},
		"gzip, mark":           {bytes.NewReader(gzipped(t, "\ufeff"+text)), Options{}},
		"zstd":                 {bytes.NewReader(zstdCompressed(t, text)), Options{ChunkBytes: 1000}},
		"zstd, byte by byte":   {iotest.OneByteReader(bytes.NewReader(zstdCompressed(t, text))), Options{}},
		"lines near the bound": {strings.NewReader(text), Options{LineBytesMax: 147, ChunkBytes: 300}},
	} {
		t.Run(name, func(t *testing.T) {
			got, stats, err := read(t, c.in, c.o)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.rejected) > 0 {
				t.Fatal(got.rejected[0])
			}
			if stats.Lines != int64(len(lines)) {
				t.Errorf("%d lines, want %d", stats.Lines, len(lines))
			}
			if !slices.Equal(got.lines(), sorted(lines...)) {
				t.Error("other events than in the file")
			}
			next := map[string]uint64{}
			for i := range got.events {
				e := &got.events[i]
				if e.Seq != next[e.Stream]+1 {
					t.Fatalf("%s#%d follows %d", e.Stream, e.Seq, next[e.Stream])
				}
				next[e.Stream] = e.Seq
			}
		})
	}
}

func TestSameFileGivesSameBatches(t *testing.T) {
	text := strings.Join(exampleLines(t), "\n")
	one, _, err := read(t, strings.NewReader(text), Options{Workers: 1, ChunkBytes: 3000})
	if err != nil {
		t.Fatal(err)
	}
	many, _, err := read(t, strings.NewReader(text), Options{Workers: 7, ChunkBytes: 3000})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(one.batches, many.batches) || !reflect.DeepEqual(one.events, many.events) {
		t.Error("the number of decoders shows in the result")
	}
	if len(one.batches) < 10 {
		t.Errorf("%d batches only: the test shows nothing", len(one.batches))
	}
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstdCompressed(t *testing.T, text string) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll([]byte(text), nil)
}

const good = `{"stream":"g1","seq":%d,"time":5,"kind":"log"}`

func TestBadLineCostsNoGoodOne(t *testing.T) {
	text := fmt.Sprintf(good, 1) + "\n" +
		"garbage\n" +
		"\n \t\r\n" +
		fmt.Sprintf(good, 2) + "\n" +
		"{\"stream\":\"g1\",\"seq\":3,\"time\":5,\"kind\":\"log\",\"func\":\"\xff\"}\n" +
		`{"stream":"g1","seq":3,"time":5,"kind":"gap","data":{"lost":2}}` + "\n" +
		strings.Repeat("x", 5000) + "\n" +
		fmt.Sprintf(good, 5) + "\n" +
		`{"stream":"g1","seq":6,`
	for _, chunkBytes := range []int{1, 100, 5 << 10, 1 << 20} {
		t.Run(fmt.Sprint(chunkBytes), func(t *testing.T) {
			c, stats, err := read(t, strings.NewReader(text), Options{ChunkBytes: chunkBytes, LineBytesMax: 1000})
			if err != nil {
				t.Fatal(err)
			}
			if want := sorted(fmt.Sprintf(good, 1), fmt.Sprintf(good, 2), fmt.Sprintf(good, 5)); !slices.Equal(c.lines(), want) {
				t.Errorf("got %q", c.lines())
			}
			var at []string
			for _, r := range c.rejected {
				reason, _, _ := strings.Cut(r.Reason, ":")
				at = append(at, fmt.Sprintf("%s:%d@%d %s", r.File, r.Line, r.Offset, reason))
				if !strings.HasPrefix(text[r.Offset:], string(r.Raw)) || len(r.Raw) == 0 {
					t.Errorf("line %d: kept %.20q", r.Line, r.Raw)
				}
			}
			want := []string{
				"some.ndjson:2@46 begins with 'g'",
				"some.ndjson:6@105 not UTF-8 at byte 54",
				"some.ndjson:8@226 longer than 1000 bytes",
				"some.ndjson:10@5273 not JSON, near byte 23",
			}
			if !slices.Equal(at, want) {
				t.Errorf("rejected\n%s\nwant\n%s", strings.Join(at, "\n"), strings.Join(want, "\n"))
			}
			if stats.Lines != 10 || stats.Gaps != 1 || stats.Empty != 2 || stats.Bytes != int64(len(text)) {
				t.Errorf("%+v, of %d bytes", stats, len(text))
			}
		})
	}
}

func TestStrictStopsAtTheFirst(t *testing.T) {
	text := fmt.Sprintf(good, 1) + "\n" + fmt.Sprintf(good, 2) + "\nnonsense\n" + fmt.Sprintf(good, 3) + "\nmore\n"
	for _, chunkBytes := range []int{10, 1 << 16} {
		c, stats, err := read(t, strings.NewReader(text), Options{Strict: true, ChunkBytes: chunkBytes})
		var r source.Rejected
		if !errors.As(err, &r) || r.Line != 3 || !strings.HasPrefix(err.Error(), "some.ndjson:3: begins with 'n'") {
			t.Fatalf("chunks of %d: %v", chunkBytes, err)
		}
		if len(c.events) != 2 || len(c.rejected) != 1 || stats.Rejected != 1 {
			t.Errorf("chunks of %d: %d events, %d rejected, %+v", chunkBytes, len(c.events), len(c.rejected), stats)
		}
	}
}

func TestInputFails(t *testing.T) {
	broken := errors.New("disk on fire")
	for name, c := range map[string]struct {
		in     io.Reader
		o      Options
		events int
		want   string
	}{
		"a read error": {
			io.MultiReader(strings.NewReader(fmt.Sprintf(good, 1)+"\n"+fmt.Sprintf(good, 2)), iotest.ErrReader(broken)),
			Options{}, 1, "event lines of some.ndjson: line 2, offset 46: disk on fire",
		},
		"a read error at once":  {iotest.ErrReader(broken), Options{}, 0, "event lines of some.ndjson: at the beginning: disk on fire"},
		"UTF-16":                {strings.NewReader("\xff\xfe{\x00"), Options{}, 0, "convert it first"},
		"UTF-16, big end first": {strings.NewReader("\xfe\xff\x00{"), Options{}, 0, "convert it first"},
		"gzip cut off":          {bytes.NewReader(gzipped(t, fmt.Sprintf(good, 1))[:40]), Options{}, 0, "unexpected EOF"},
		"gzip, head only":       {strings.NewReader("\x1f\x8b\x08\x00"), Options{}, 0, "gzip: "},
		"zstd, broken":          {strings.NewReader("\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff"), Options{}, 0, "reserved bit set"},
		"reader that stalls":    {stalled{}, Options{}, 0, "multiple Read calls return no data or error"},
		"no workers":            {strings.NewReader(""), Options{Workers: -1}, 0, "workers is -1: it must be from 1 to 1024"},
		"huge chunks":           {strings.NewReader(""), Options{ChunkBytes: 1 << 30}, 0, "chunk size in bytes"},
		"huge lines":            {strings.NewReader(""), Options{LineBytesMax: 1 << 30}, 0, "line length in bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := read(t, c.in, c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
			if len(got.events) != c.events {
				t.Errorf("%d events before it", len(got.events))
			}
		})
	}
}

type stalled struct{}

func (stalled) Read([]byte) (int, error) { return 0, nil }

func TestEmptyInputs(t *testing.T) {
	for _, text := range []string{"", "\n", "\ufeff", "\r\n\r\n", " "} {
		c, _, err := read(t, strings.NewReader(text), Options{})
		if err != nil || len(c.events)+len(c.rejected) > 0 {
			t.Errorf("%q: %v, %v", text, err, c.rejected)
		}
	}
}

func TestSinkFails(t *testing.T) {
	text := strings.Repeat(fmt.Sprintf(good, 1)+"\n", 1000)
	c := newCollector(t)
	c.pushErr = errors.New("disk full")
	_, err := Read(t.Context(), strings.NewReader(text), "f", Options{ChunkBytes: 460}, c)
	if !errors.Is(err, c.pushErr) || !strings.Contains(err.Error(), "f: handing over lines 1 to ") {
		t.Error(err)
	}
	_, err = Read(t.Context(), strings.NewReader("x"), "f", Options{}, &discard{table: wire.NewTable(1000)})
	if err == nil || !strings.Contains(err.Error(), "rejecting line 1") {
		t.Error(err)
	}
}

// A live input: lines are passed on as they come, and the end of ctx ends Read while in.Read waits.
func TestLiveInput(t *testing.T) {
	in, out := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan Stats, 10)
	ended := make(chan error, 1)
	go func() {
		_, err := Read(ctx, in, "pipe", Options{Progress: func(s Stats) { got <- s }}, newCollector(t))
		ended <- err
	}()
	for seq := range 3 {
		if _, err := fmt.Fprintf(out, good+"\n", seq+1); err != nil {
			t.Fatal(err)
		}
		select {
		case s := <-got:
			if s.Events != int64(seq)+1 {
				t.Fatalf("%+v after line %d", s, seq+1)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("line %d was not passed on", seq+1)
		}
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Read waits for its input")
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
}

func TestFullTableRejectsWhatIsNew(t *testing.T) {
	table := wire.NewTable(150)
	c := &collector{t: t, table: table}
	text := fmt.Sprintf(good, 1) + "\n" + `{"stream":"a stream with quite a long name that fits no more, whatever one does about it","seq":1,"time":5,"kind":"log"}` + "\n" + fmt.Sprintf(good, 2)
	stats, err := Read(t.Context(), strings.NewReader(text), "f", Options{}, c)
	if err != nil || stats.Events != 2 || stats.Rejected != 1 {
		t.Fatal(stats, err)
	}
	if !strings.HasPrefix(c.rejected[0].Reason, wire.ErrTableFull.Error()) {
		t.Error(c.rejected[0])
	}
}

func TestChunksHoldAsManyEventsAsTheLoadAsksFor(t *testing.T) {
	var text strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&text, `{"stream":"g1","seq":%d,"time":%d,"kind":"log"}`+"\n", i+1, i)
	}
	asked := 0
	c := newCollector(t)
	_, err := Read(context.Background(), strings.NewReader(text.String()), "x", Options{Workers: 1, ChunkEvents: func() int {
		asked++
		return map[bool]int{true: 1, false: 1000}[asked < 4] // little first, then much
	}}, c)
	if err != nil || len(c.events) != 4000 {
		t.Fatalf("%d events: %v", len(c.events), err)
	}
	for i, n := range c.batches[:len(c.batches)-1] {
		if small := i < 3; small != (n < 120) || n > 2000 {
			t.Errorf("batch %d of %d has %d events", i, len(c.batches), n)
			break
		}
	}
}
