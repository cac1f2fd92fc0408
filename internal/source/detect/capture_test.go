package detect

import (
	"bytes"
	"io"
	"testing"

	"github.com/pastcone/pastcone/internal/source/capture"
)

// A capture of a program is told by its first bytes, plain or compressed.
func TestOpen_CaptureOfAProgram(t *testing.T) {
	text := []byte(capture.Magic + "\x01\x00\x00\x00\x00\x00\x00\x00")
	for _, in := range [][]byte{text, gzipped(t, text), zstandard(t, text)} {
		got, err := Open(bytes.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		if all, err := io.ReadAll(got); got.Format != Capture || got.Format.String() != "capture of a Go program" || err != nil || !bytes.Equal(all, text) {
			t.Errorf("%v, %q, %v", got.Format, all, err)
		}
		got.Close()
	}
}
