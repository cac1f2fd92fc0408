package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"
)

// pack FORM FROM TO writes a file in another form: gzip, zstd, utf16, with a byte order mark (bom), or with CR LF at the ends of
// its lines (crlf).
func pack(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: pack gzip|zstd|utf16|bom|crlf FROM TO")
	}
	text, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	var out bytes.Buffer
	var packed io.WriteCloser
	switch args[0] {
	case "gzip":
		packed = gzip.NewWriter(&out)
	case "zstd":
		packed, err = zstd.NewWriter(&out)
		ts.Check(err)
	case "utf16":
		ts.Check(binary.Write(&out, binary.LittleEndian, utf16.Encode([]rune("\ufeff"+string(text)))))
	case "bom":
		out.WriteString("\ufeff" + string(text))
	case "crlf":
		out.WriteString(strings.ReplaceAll(string(text), "\n", "\r\n"))
	default:
		ts.Fatalf("pack: no form %s", args[0])
	}
	if packed != nil {
		_, err = packed.Write(text)
		ts.Check(err)
		ts.Check(packed.Close())
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), out.Bytes(), 0o600))
}

// literal (bytes TO TEXT [TIMES]) writes a text with the escapes of Go's strings, so that a script can show binary files and long ones.
func literal(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 && len(args) != 3 {
		ts.Fatalf("usage: bytes TO TEXT [TIMES]")
	}
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	times := 1
	if len(args) == 3 {
		times, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Repeat(text, times)), 0o600))
}
