package ndjson

import (
	"bytes"
	"context"
	"fmt"

	"github.com/pastcone/pastcone/internal/source"
)

// Lines reads event lines that come in pieces, as the frames of a connection do: for a caller that has each
// piece whole. It decodes in the caller's goroutine and keeps its caches from piece to piece, where Read
// would make them anew. It is not safe for concurrent use.
type Lines struct {
	r    reading
	d    *decoder
	c    chunk
	line int
}

// NewLines makes a Lines. Of the options Workers and ChunkBytes do not matter.
func NewLines(file string, o Options, sink source.Sink) (*Lines, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Lines{r: reading{o: o, file: file, sink: sink}, d: newDecoder(sink.Table()), line: 1}, nil
}

// Add reads a piece of whole lines, of at most ChunkBytesMax; the last line feed may be missing. Lines and
// offsets are counted on from piece to piece. It hands the events over as one batch, and fails where Read would.
// It keeps nothing of the piece.
func (l *Lines) Add(ctx context.Context, piece []byte) error {
	if len(piece) > ChunkBytesMax {
		return l.r.failed(fmt.Errorf("a piece of %d bytes: at most %d", len(piece), ChunkBytesMax))
	}
	if len(piece) == 0 {
		return nil
	}
	c := &l.c
	*c = chunk{text: piece, line: l.line, offset: l.r.stats.Bytes}
	c.end = c.offset + int64(len(piece))
	c.input = c.end
	if piece[len(piece)-1] != '\n' {
		c.text = append(bytes.Clone(piece), '\n')
	}
	l.line += bytes.Count(c.text, newline)
	l.r.decodeChunk(l.d, c)
	return l.r.deliverChunk(ctx, c)
}

// Stats counts what has been read and handed over.
func (l *Lines) Stats() Stats { return l.r.stats }
