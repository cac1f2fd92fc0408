// Package probe reads what a program that records itself (the public package probe) sends to a server:
// event lines, in frames of whole lines.
//
// Each frame is read by itself, so that it can be acknowledged by itself; the number and offset of a
// rejected line are those in all that the source has sent, as if it were one file.
//
// In the plan's words this belongs to the Ingestor.
package probe

import (
	"bytes"
	"context"

	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/source/ndjson"
)

// Lines reads the frames of one source. It is not safe for concurrent use.
type Lines struct {
	name   string
	lines  int64
	offset int64
}

// NewLines makes a reader. The name is that of the source, for messages about rejected lines.
func NewLines(name string) *Lines { return &Lines{name: name} }

// Read hands the events of a frame to the sink, and gives the number of lines that were rejected.
func (l *Lines) Read(ctx context.Context, frame []byte, sink source.Sink) (rejected int64, err error) {
	o := ndjson.Options{Workers: 1, ChunkBytes: max(1, min(len(frame), ndjson.ChunkBytesMax))}
	stats, err := ndjson.Read(ctx, bytes.NewReader(frame), l.name, o, &shifted{sink, l.lines, l.offset})
	l.lines += stats.Lines
	l.offset += int64(len(frame))
	return stats.Rejected, err
}

// shifted moves the places of rejected lines behind what came before.
type shifted struct {
	source.Sink
	lines  int64
	offset int64
}

func (s *shifted) Reject(r source.Rejected) error {
	r.Line += int(s.lines)
	r.Offset += s.offset
	return s.Sink.Reject(r)
}
