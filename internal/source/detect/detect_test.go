package detect

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"runtime/pprof"
	"runtime/trace"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
)

const line = `{"stream":"g1","seq":1,"time":1,"kind":"log"}` + "\n"

func gzipped(tb testing.TB, text []byte) []byte {
	tb.Helper()
	var to bytes.Buffer
	w := gzip.NewWriter(&to)
	if _, err := w.Write(text); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return to.Bytes()
}

func zstandard(tb testing.TB, text []byte) []byte {
	tb.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(text, nil)
}

func realTrace(tb testing.TB) []byte {
	tb.Helper()
	var to bytes.Buffer
	if err := trace.Start(&to); err != nil {
		tb.Fatal(err)
	}
	trace.Stop()
	return to.Bytes()
}

func TestOpen_WhatCanBeRead(t *testing.T) {
	goTrace := realTrace(t)
	for _, c := range []struct {
		story string
		text  []byte
		want  Format
		in    string
	}{
		{"an event line", []byte(line), EventLines, ""},
		{"a line without its end", []byte(line[:len(line)-1]), EventLines, ""},
		{"data first", []byte(`{"data":{"a":1},"stream":"g1"}`), EventLines, ""},
		{"empty lines and a byte order mark", []byte("\xef\xbb\xbf\n \r\n" + line), EventLines, ""},
		{"nothing but lines without anything", []byte("\n\n"), EventLines, ""},
		{"a very long first name", []byte(`{"` + strings.Repeat("a", 2000) + `":1}`), EventLines, ""},
		{"UTF-16, which the reader of lines explains", utf16Of(line), EventLines, ""},
		{"a bad line, which the reader of lines explains", []byte(`{stream: 1}`), EventLines, ""},
		{"a line of zeros among good ones", []byte(line + "\x00\x00\n" + line), EventLines, ""},
		{"a broken character in the first line", []byte("{\"stream\":\"g\xff1\"}\n" + line), EventLines, ""},
		{"a character that is cut at the bound", []byte(`{"stream":"` + strings.Repeat("a", headBytesMax-12) + "ä" + `"}`), EventLines, ""},
		{"event lines in gzip", gzipped(t, []byte(line)), EventLines, "gzip"},
		{"event lines in zstd", zstandard(t, []byte(line)), EventLines, "zstd"},
		{"a Go trace", goTrace, GoTrace, ""},
		{"a Go trace in gzip", gzipped(t, goTrace), GoTrace, "gzip"},
		{"a Go trace in zstd", zstandard(t, goTrace), GoTrace, "zstd"},
		{"a trace of an old Go, which its reader explains", []byte("go 1.5 trace\x00\x00\x00\x00"), GoTrace, ""},
	} {
		t.Run(c.story, func(t *testing.T) {
			whole := c.text
			if c.in == "gzip" || c.in == "zstd" {
				whole = []byte(line)
				if c.want == GoTrace {
					whole = goTrace
				}
			}
			for name, r := range map[string]io.Reader{"at once": bytes.NewReader(c.text), "in bytes": iotest.OneByteReader(bytes.NewReader(c.text))} {
				in, err := Open(r)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if in.Format != c.want || in.Compression != c.in {
					t.Errorf("%s: it is %v in %q", name, in.Format, in.Compression)
				}
				got, err := io.ReadAll(in)
				if err != nil || !bytes.Equal(got, whole) {
					t.Errorf("%s: it reads as %d bytes, not the %d that there are: %v", name, len(got), len(whole), err)
				}
				if in.BytesRead() != int64(len(c.text)) {
					t.Errorf("%s: %d bytes were read, not %d", name, in.BytesRead(), len(c.text))
				}
				in.Close()
			}
		})
	}
}

func utf16Of(text string) []byte {
	out := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return out
}

func TestOpen_WhatCanNotBeReadIsNamed(t *testing.T) {
	var heap bytes.Buffer
	if err := pprof.WriteHeapProfile(&heap); err != nil {
		t.Fatal(err)
	}
	var cpu bytes.Buffer
	if err := pprof.StartCPUProfile(&cpu); err != nil {
		t.Fatal(err)
	}
	pprof.StopCPUProfile()
	for _, c := range []struct {
		story string
		text  []byte
		says  string
	}{
		{"a CPU profile", cpu.Bytes(), "pprof profile"},
		{"a heap profile", heap.Bytes(), "pprof profile"},
		{"OTLP JSON", []byte("{\n  \"resourceSpans\": []}"), "OTLP JSON (spans)"},
		{"OTLP JSON in gzip", gzipped(t, []byte(`{"resourceSpans":[]}`)), "OTLP JSON (spans)"},
		{"Jaeger JSON", []byte(`{"data": [{"traceID":"1"}]}`), "Jaeger"},
		{"a Chrome trace", []byte(`{"traceEvents":[]}`), "Chrome"},
		{"a JSON list", []byte(` [{"stream":"g1"}]`), "jq -c"},
		{"a Perfetto trace", []byte("\n\x85\x02\x5a\x10abc\x00\x01more and more"), "Perfetto"},
		{"Parquet", []byte("PAR1\x15\x04"), "DuckDB"},
		{"a program", []byte("\x7fELF\x02\x01\x01"), "pastcone run"},
		{"a zip archive", []byte("PK\x03\x04"), "unpack"},
		{"xz", []byte("\xfd7zXZ\x00\x00"), "decompress"},
		{"gzip in gzip", gzipped(t, gzipped(t, []byte(line))), "twice"},
		{"some log", []byte("2024-01-01 something happened\n"), "text that begins with \"2024-01-01 something hap"},
		{"noise", []byte{0x80, 1, 2, 3, 4}, "binary data that begins with"},
	} {
		t.Run(c.story, func(t *testing.T) {
			in, err := Open(bytes.NewReader(c.text))
			var unsupported *UnsupportedError
			if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), c.says) || unsupported.Advice == "" {
				t.Errorf("%+v, %v\nwant it to say %q", in, err, c.says)
			}
		})
	}
}

func TestOpen_Failures(t *testing.T) {
	broken := errors.New("the cable is out")
	for _, c := range []struct {
		story string
		in    io.Reader
		want  error
	}{
		{"nothing", strings.NewReader(""), ErrEmpty},
		{"nothing in gzip", bytes.NewReader(gzipped(t, nil)), ErrEmpty},
		{"the input fails", iotest.ErrReader(broken), broken},
		{"it fails within the decompression", io.MultiReader(bytes.NewReader(gzipped(t, []byte(line))[:12]), iotest.ErrReader(broken)), broken},
		{"gzip that ends in its header", strings.NewReader("\x1f\x8b\x08"), io.ErrUnexpectedEOF},
		{"gzip that is none", strings.NewReader("\x1f\x8b\xff\xff\xff\xff\xff\xff\xff\xff\xff"), gzip.ErrHeader},
		{"zstd that is none", strings.NewReader("\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff"), nil},
		{"it gives nothing and does not end", silent{}, io.ErrNoProgress},
	} {
		in, err := Open(c.in)
		if err == nil {
			t.Errorf("%s: no error, but %v", c.story, in.Format)
		} else if c.want != nil && !errors.Is(err, c.want) && !strings.Contains(err.Error(), c.want.Error()) {
			t.Errorf("%s: %v, want %v", c.story, err, c.want)
		}
	}
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

func TestOpen_DoesNotWaitForMoreThanItNeeds(t *testing.T) {
	r, w := io.Pipe()
	go func() { _, _ = w.Write([]byte(line)) }() // and the pipe stays open
	done := make(chan error, 1)
	go func() {
		in, err := Open(r)
		if err == nil && in.Format != EventLines {
			err = errors.New(in.Format.String())
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for a second line")
	}
	w.Close()
}

func FuzzOpen(f *testing.F) {
	for _, seed := range [][]byte{[]byte(line), []byte("go 1.26 trace\x00\x00\x00"), gzipped(f, []byte(line)), zstandard(f, []byte(line)),
		[]byte(`{"data":[`), []byte("\n\x04\x08\x01\x10\x02"), []byte("\xef\xbb\xbf{"), nil} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := Open(bytes.NewReader(text))
		if err != nil {
			return
		}
		defer in.Close()
		if in.Compression != "" {
			return
		}
		if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("it reads as %q: %v", got, err)
		}
	})
}
