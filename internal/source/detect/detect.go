// Package detect tells the formats of inputs apart by their content, so that a user never has to name one.
//
// It looks at the first bytes, no more of them than it needs: a live input may hold back the rest for long. Compressed
// input (gzip, zstd) is decompressed, and told by what is inside. What is none of our formats, but known, is named in
// the error, with what to do about it.
//
// In the plan's words this is a part of the Ingestor.
package detect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/pastcone/pastcone/internal/source/capture"
	"github.com/pastcone/pastcone/internal/source/gotrace"
)

// Format is a format that can be read.
type Format uint8

// The formats that can be read.
const (
	EventLines Format = iota + 1
	GoTrace
	Capture
)

// String names the format for people.
func (f Format) String() string {
	switch f {
	case EventLines:
		return "event lines"
	case GoTrace:
		return "Go execution trace"
	case Capture:
		return "capture of a Go program"
	}
	return fmt.Sprintf("format(%d)", uint8(f))
}

// UnsupportedError says what an input is that can not be read, and what to do.
type UnsupportedError struct {
	What   string // "a pprof profile"
	Advice string // a sentence without its full stop
}

func (e *UnsupportedError) Error() string { return "this is " + e.What + ": " + e.Advice }

// ErrEmpty says that there is nothing in the input.
var ErrEmpty = errors.New("the input is empty")

// The bounds of what is looked at, and of the memory for decompression.
const (
	headBytesMax       = 512
	zstdWindowBytesMax = 64 << 20
	emptyReadsMax      = 100
)

// Input is an input whose format is known. It reads as what it is: decompressed, from its first byte.
type Input struct {
	Format      Format
	Compression string // "", "gzip" or "zstd"

	io.Reader
	raw    *countingReader
	zstd   *zstd.Decoder
	packed *unpacking
}

// Damaged says that what was read can not be decompressed any further, though the reader that was given to Open went on
// well: whoever tries again gets no more. It is safe to call while another goroutine reads.
func (in *Input) Damaged() bool {
	return in.packed != nil && in.packed.failed.Load() && !in.raw.failed.Load()
}

// unpacking notes that a decompressor has failed.
type unpacking struct {
	in     io.Reader
	failed atomic.Bool
}

func (u *unpacking) Read(p []byte) (int, error) {
	n, err := u.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		u.failed.Store(true)
	}
	return n, err
}

// BytesRead gives how many bytes have been read of the input as it is, compressed or not. It is safe to call while
// another goroutine reads.
func (in *Input) BytesRead() int64 { return in.raw.n.Load() }

// Close frees what decompression holds. It does not close the reader that was given to Open.
func (in *Input) Close() {
	if in.zstd != nil {
		in.zstd.Close()
	}
}

type countingReader struct {
	in     io.Reader
	n      atomic.Int64
	failed atomic.Bool
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed.Store(true)
	}
	return n, err
}

// Open looks at the first bytes of an input. It fails with an [*UnsupportedError] if it can not be read, with
// [ErrEmpty], or as reading fails. The Input must be closed.
func Open(r io.Reader) (*Input, error) {
	in := &Input{raw: &countingReader{in: r}}
	head, err := peek(in.raw, packing)
	if err != nil {
		return nil, err
	}
	in.Reader = io.MultiReader(bytes.NewReader(head), in.raw)
	switch c, _ := packing(head, true); c {
	case packedGzip:
		unzip, err := gzip.NewReader(in.Reader)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		in.Compression, in.Reader = "gzip", unzip
	case packedZstd:
		in.zstd, err = zstd.NewReader(in.Reader, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindowBytesMax))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		in.Compression, in.Reader = "zstd", in.zstd
	}
	if in.Compression != "" {
		in.packed = &unpacking{in: in.Reader}
		in.Reader = in.packed
	}
	inside := in.Reader
	head, err = peek(inside, format)
	if err == nil {
		in.Reader = io.MultiReader(bytes.NewReader(head), inside)
		in.Format, err = formatOf(head)
	} else if in.Compression != "" && !errors.Is(err, ErrEmpty) {
		err = fmt.Errorf("%s: %w", in.Compression, err)
	}
	if err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

// peek reads until enough says that it is, to the bound, or to the end.
func peek[T any](in io.Reader, enough func(head []byte, all bool) (T, bool)) ([]byte, error) {
	head, empty := make([]byte, 0, headBytesMax), 0
	for len(head) < headBytesMax {
		n, err := in.Read(head[len(head):headBytesMax])
		head = head[:len(head)+n]
		switch {
		case errors.Is(err, io.EOF):
			if len(head) == 0 {
				return nil, ErrEmpty
			}
			return head, nil
		case err != nil:
			return nil, err
		case n == 0:
			if empty++; empty > emptyReadsMax {
				return nil, io.ErrNoProgress
			}
			continue
		}
		if _, ok := enough(head, false); ok {
			break
		}
	}
	return head, nil
}

type packed uint8

const (
	packedNot packed = iota
	packedGzip
	packedZstd
)

var magics = []struct {
	magic string
	is    packed
}{{"\x1f\x8b", packedGzip}, {"\x28\xb5\x2f\xfd", packedZstd}}

// packing tells compressed input; ok says that head is enough for it.
func packing(head []byte, all bool) (is packed, ok bool) {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.is, true
		}
		if !all && strings.HasPrefix(m.magic, string(head)) {
			return packedNot, false
		}
	}
	return packedNot, true
}

// format says whether head is enough to tell the format.
func format(head []byte, _ bool) (struct{}, bool) {
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte(bom)), " \t\r\n")
	switch {
	case len(text) == 0:
		return struct{}{}, false
	case text[0] != '{':
		// The longest magic number is that of a trace.
		return struct{}{}, len(head) >= gotrace.HeaderBytes
	}
	_, rest, ok := firstField(text)
	return struct{}{}, ok && len(rest) > 0
}

const bom = "\xef\xbb\xbf"

// firstField gives the name of the first field of an object, and what follows behind its colon.
func firstField(text []byte) (name string, rest []byte, ok bool) {
	text = bytes.TrimLeft(text[1:], " \t\r\n")
	if len(text) == 0 {
		return "", nil, false
	}
	if text[0] != '"' {
		return "", text, true
	}
	end := bytes.IndexByte(text[1:], '"')
	if end < 0 {
		return "", nil, false
	}
	name = string(text[1 : 1+end])
	rest = bytes.TrimLeft(text[2+end:], " \t\r\n")
	return name, bytes.TrimLeft(bytes.TrimPrefix(rest, []byte(":")), " \t\r\n"), true
}

// binaries are the known beginnings of what can not be read.
var binaries = []struct{ magic, what, advice string }{
	{"\x1f\x8b", "compressed twice", "decompress it once, then import it"},
	{"\x28\xb5\x2f\xfd", "compressed twice", "decompress it once, then import it"},
	{"PAR1", "a Parquet file", "ask it with DuckDB or another reader of Parquet; what can be imported is an export with --format ndjson"},
	{"\x7fELF", "a program", "to record it, run its package with 'pastcone run'"},
	{"MZ", "a program", "to record it, run its package with 'pastcone run'"},
	{"\xcf\xfa\xed\xfe", "a program", "to record it, run its package with 'pastcone run'"},
	{"PK\x03\x04", "a zip archive", "unpack it and import the files in it"},
	{"BZh", "compressed with bzip2", "decompress it first: only gzip and zstd are read as they are"},
	{"\xfd7zXZ\x00", "compressed with xz", "decompress it first: only gzip and zstd are read as they are"},
	{"\x04\x22\x4d\x18", "compressed with lz4", "decompress it first: only gzip and zstd are read as they are"},
	{"SQLite format 3", "a SQLite database", "export what it holds as event lines"},
	{"<", "XML or HTML", "what can be imported is event lines and Go execution traces"},
}

const otlpAdvice = "OpenTelemetry data is not read yet; convert its spans to event lines (a span is a stream with a call and a return)"

// documents are the first fields of known JSON documents that are no event lines.
var documents = map[string]UnsupportedError{
	"resourceSpans":     {"OTLP JSON (spans)", otlpAdvice},
	"resourceLogs":      {"OTLP JSON (logs)", otlpAdvice},
	"resourceMetrics":   {"OTLP JSON (metrics)", otlpAdvice},
	"traceEvents":       {"a trace in the Chrome format (also written by Perfetto)", "it tells no causes; record the program anew, or convert it to event lines"},
	"displayTimeUnit":   {"a trace in the Chrome format (also written by Perfetto)", "it tells no causes; record the program anew, or convert it to event lines"},
	"systemTraceEvents": {"a trace in the Chrome format (also written by Perfetto)", "it tells no causes; record the program anew, or convert it to event lines"},
}

// formatOf tells the format by the first bytes of the decompressed input.
func formatOf(head []byte) (Format, error) {
	if bytes.HasPrefix(head, []byte("go 1.")) {
		return GoTrace, nil
	}
	if bytes.HasPrefix(head, []byte(capture.Magic)) {
		return Capture, nil
	}
	for _, b := range binaries {
		if bytes.HasPrefix(head, []byte(b.magic)) {
			return 0, &UnsupportedError{b.what, b.advice}
		}
	}
	if isUTF16(head) {
		return EventLines, nil // its reader says what to do
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte(bom)), " \t\r\n")
	// What begins as a line goes to the reader of lines, whatever follows: a bad line costs none of the good ones.
	if !isText(head) && !bytes.HasPrefix(text, []byte("{\"")) {
		return 0, unknownBinary(head)
	}
	switch {
	case len(text) == 0:
		return EventLines, nil // lines with nothing in them
	case text[0] == '[':
		return 0, &UnsupportedError{"a JSON list", "event lines are one JSON object a line; 'jq -c .[]' makes lines of a list, if its objects have the fields of events"}
	case text[0] != '{':
		return 0, &UnsupportedError{fmt.Sprintf("text that begins with %q", clip(text)), "what can be imported is event lines (one JSON object a line) and Go execution traces"}
	}
	name, rest, _ := firstField(text)
	if doc, ok := documents[name]; ok {
		return 0, &doc
	}
	if name == "data" && bytes.HasPrefix(rest, []byte("[")) { // an event's data is an object
		return 0, &UnsupportedError{"Jaeger JSON", "Jaeger traces are not read yet; convert their spans to event lines (a span is a stream with a call and a return)"}
	}
	return EventLines, nil
}

func isUTF16(head []byte) bool {
	return bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff"))
}

// isText says whether head is UTF-8 text, apart from a character that may be cut at its end.
func isText(head []byte) bool {
	for i := 0; i < len(head); {
		r, width := utf8.DecodeRune(head[i:])
		if r == utf8.RuneError && width == 1 {
			return !utf8.FullRune(head[i:])
		}
		if r < ' ' && r != '\t' && r != '\r' && r != '\n' {
			return false
		}
		i += width
	}
	return true
}

// pprofUnit is in the head of every profile, whatever field it begins with: four bytes that say "the type that string 1
// names, in the unit that string 2 names".
const pprofUnit = "\x04\x08\x01\x10\x02"

// unknownBinary tells protocol buffers apart. Most that one meets begin with field 1, of the kind that has a length.
func unknownBinary(head []byte) error {
	if bytes.Contains(head, []byte(pprofUnit)) {
		return &UnsupportedError{"a pprof profile", "it holds sums, no events; record an execution trace in its place: /debug/pprof/trace, runtime/trace or 'go test -trace'"}
	}
	if head[0] == 0x0a && len(head) > 3 {
		return &UnsupportedError{"binary protocol buffers (a Perfetto trace, or OTLP)", "neither is read yet; " + strings.TrimPrefix(otlpAdvice, "OpenTelemetry data is not read yet; ")}
	}
	return &UnsupportedError{fmt.Sprintf("binary data that begins with %q", clip(head)), "what can be imported is event lines (one JSON object a line), Go execution traces and captures of Go programs, plain or compressed with gzip or zstd"}
}

func clip(p []byte) []byte { return p[:min(len(p), 24)] }
