package ndjson

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"testing"

	"github.com/valyala/fastjson"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

// discard is a sink that keeps nothing.
type discard struct {
	table  *wire.Table
	events int
}

func (d *discard) Table() *wire.Table { return d.table }
func (d *discard) Push(_ context.Context, b *wire.Batch) error {
	d.events += b.Len()
	return nil
}
func (d *discard) Reject(r source.Rejected) error { return r }

// example gives the worked example, repeated to at least so many bytes.
func example(tb testing.TB, bytesMin int) []byte {
	tb.Helper()
	text, err := os.ReadFile("testdata/example.ndjson")
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.Repeat(text, 1+bytesMin/len(text))
}

func BenchmarkRead(b *testing.B) {
	text := example(b, 32<<20)
	lines := bytes.Count(text, newline)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		sink := &discard{table: wire.NewTable(1 << 20)}
		if _, err := Read(context.Background(), bytes.NewReader(text), "example", Options{}, sink); err != nil || sink.events != lines {
			b.Fatal(sink.events, err)
		}
	}
	b.ReportMetric(float64(lines)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mlines/s")
}

// BenchmarkDecode is one decoder on one core, beside what else could read a line.
func BenchmarkDecode(b *testing.B) {
	text := example(b, 0)
	lines := bytes.Split(bytes.TrimSpace(text), newline)
	perLine := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(lines)), "ns/line")
	}
	b.Run("this", func(b *testing.B) {
		d := newDecoder(wire.NewTable(1 << 20))
		for b.Loop() {
			for i := 0; i < len(text); i++ {
				var what outcome
				if i, what = d.line(text, i); what != lineEvent {
					b.Fatal(what)
				}
			}
			d.batch()
		}
		perLine(b)
	})
	b.Run("fastjson, parse only", func(b *testing.B) {
		var p fastjson.Parser
		for b.Loop() {
			for _, line := range lines {
				if _, err := p.ParseBytes(line); err != nil {
					b.Fatal(err)
				}
			}
		}
		perLine(b)
	})
	b.Run("fastjson, and take the fields", func(b *testing.B) {
		var p fastjson.Parser
		names := newNameCache(wire.NewTable(1 << 20))
		var sum uint64
		for b.Loop() {
			for _, line := range lines {
				v, err := p.ParseBytes(line)
				if err != nil {
					b.Fatal(err)
				}
				o, err := v.Object()
				if err != nil {
					b.Fatal(err)
				}
				o.Visit(func(key []byte, v *fastjson.Value) {
					switch string(key) {
					case "stream", "key", "child":
						text, _ := v.StringBytes()
						name, _ := names.name(text)
						sum += uint64(name)
					case "kind":
						text, _ := v.StringBytes()
						kind, _ := event.ParseKind(string(text))
						sum += uint64(kind)
					case "seq", "time", "line", "ordinal":
						n, _ := v.Int64()
						sum += uint64(n)
					case "data":
						sum += uint64(len(v.MarshalTo(nil)))
					}
				})
			}
		}
		perLine(b)
	})
	b.Run("encoding json, into a struct", func(b *testing.B) {
		for b.Loop() {
			for _, line := range lines {
				var e struct {
					Stream, Func, Key string
					Seq               uint64
					Time              int64
					Data              json.RawMessage
				}
				if err := json.Unmarshal(line, &e); err != nil {
					b.Fatal(err)
				}
			}
		}
		perLine(b)
	})
	b.Run("event.ParseLine", func(b *testing.B) {
		for b.Loop() {
			for _, line := range lines {
				if _, err := event.ParseLine(line); err != nil {
					b.Fatal(err)
				}
			}
		}
		perLine(b)
	})
}
