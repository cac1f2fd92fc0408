package ndjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// splitter cuts an input into chunks of whole lines.
//
// Invariants: a chunk ends with a line feed; line and offset are those of the first byte that has not
// been given out; what has been read and not given out is in rest, and holds no line feed.
type splitter struct {
	in           io.Reader
	counted      *countingReader
	zstd         *zstd.Decoder
	patient      bool // wait for whole chunks: the input is no live one
	chunkBytes   int
	lineBytesMax int

	rest     []byte
	line     int
	offset   int64
	skipping bool  // within a line that is too long, and has been reported
	err      error // the input's end
}

// zstdWindowBytesMax bounds the memory for decompression.
const zstdWindowBytesMax = 64 << 20

// emptyReadsMax is how often in a row a Read may give nothing, and no error either.
const emptyReadsMax = 100

var (
	errUTF16 = errors.New("the text is UTF-16: event lines are UTF-8; convert it first, for example with iconv -f UTF-16 -t UTF-8")

	magicGzip = []byte{0x1f, 0x8b}
	magicZstd = []byte{0x28, 0xb5, 0x2f, 0xfd}
	newline   = []byte{'\n'}
	bom       = []byte{0xef, 0xbb, 0xbf}
	bomLittle = []byte{0xff, 0xfe}
	bomBig    = []byte{0xfe, 0xff}
)

type countingReader struct {
	in io.Reader
	n  int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	return n, err
}

// open looks at the first bytes: compressed or not, and a byte order mark, which it skips. It waits for
// four bytes, less than a line: a live input may hold back its second line for long.
func (s *splitter) open(in io.Reader) error {
	s.counted = &countingReader{in: in}
	s.in = s.counted
	if err := s.peek(len(magicZstd)); err != nil {
		return err
	}
	compressed := io.MultiReader(bytes.NewReader(s.rest), s.counted)
	switch {
	case bytes.HasPrefix(s.rest, magicGzip):
		unzip, err := gzip.NewReader(compressed)
		if err != nil {
			return fmt.Errorf("gzip: %w", err)
		}
		s.in = unzip
	case bytes.HasPrefix(s.rest, magicZstd):
		var err error
		s.zstd, err = zstd.NewReader(compressed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindowBytesMax))
		if err != nil {
			return fmt.Errorf("zstd: %w", err)
		}
		s.in = s.zstd
	}
	if s.in != s.counted {
		s.patient, s.rest, s.err = true, nil, nil
		if err := s.peek(len(bom)); err != nil {
			return err
		}
	}
	switch {
	case bytes.HasPrefix(s.rest, bom):
		s.rest = s.rest[len(bom):]
		s.offset = int64(len(bom))
	case bytes.HasPrefix(s.rest, bomLittle), bytes.HasPrefix(s.rest, bomBig):
		return errUTF16
	}
	return nil
}

// peek reads n bytes into rest, fewer only if there are no more.
func (s *splitter) peek(n int) error {
	s.rest = make([]byte, 0, n)
	for len(s.rest) < n {
		got, err := s.read(s.rest[len(s.rest):n])
		s.rest = s.rest[:len(s.rest)+got]
		if errors.Is(err, io.EOF) {
			s.err = err
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *splitter) close() {
	if s.zstd != nil {
		s.zstd.Close()
	}
}

// next fills c with the next lines. With an error, io.EOF if all is well, c still holds the last lines
// before it, or none.
//
// A chunk is cut when it is full, and, of a live input, as soon as a Read has given less than asked
// for: whatever came is passed on without waiting for more.
func (s *splitter) next(c *chunk) error {
	if cap(c.text) < s.chunkBytes || cap(c.text) > 4*s.chunkBytes {
		c.text = make([]byte, 0, s.chunkBytes)
	}
	text := append(c.text[:0], s.rest...)
	s.rest = s.rest[:0]
	short := true // the peeked bytes may hold lines
	for {
		if s.skipping {
			text = s.skip(text)
		}
		cut := bytes.LastIndexByte(text, '\n') + 1
		ended := s.err != nil
		unended := ended && errors.Is(s.err, io.EOF) && len(text) > cut
		if unended {
			text = append(text, '\n') // the last line need not end
			cut = len(text)
		}
		c.line, c.offset, c.long = s.line, s.offset, false
		switch {
		case cut == 0 && len(text) > s.lineBytesMax:
			// Too long already, and the end is not in sight: report the beginning, skip the rest.
			s.skipping = true
			c.long = true
			s.give(c, text, len(text), 1)
			return nil
		case cut > 0 && (len(text) == cap(text) || ended || short):
			s.rest = append(s.rest, text[cut:]...)
			s.give(c, text, cut, bytes.Count(text[:cut], newline))
			if unended {
				c.end--
			}
			return s.err
		case ended:
			s.give(c, text, 0, 0)
			return s.err
		case len(text) == cap(text):
			text = slices.Grow(text, len(text))
		}
		asked := cap(text) - len(text)
		n, err := s.read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		s.err = err
		short = n < asked && !s.patient
	}
}

// give ends a chunk with the first n bytes of text.
func (s *splitter) give(c *chunk, text []byte, n, lines int) {
	c.text = text[:n]
	s.line += lines
	s.offset += int64(n)
	c.end, c.input = s.offset, s.counted.n
}

// skip drops what belongs to a line that is too long.
func (s *splitter) skip(text []byte) []byte {
	end := bytes.IndexByte(text, '\n') + 1
	s.skipping = end == 0
	if s.skipping {
		end = len(text)
	}
	s.offset += int64(end)
	return text[:copy(text, text[end:])]
}

// read is a Read that gives something, or an error.
func (s *splitter) read(p []byte) (int, error) {
	for range emptyReadsMax {
		if n, err := s.in.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}
