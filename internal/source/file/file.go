// Package file reads a file of any format that Pastcone knows, told apart by its content, into a sink.
//
// In the plan's words this is the Ingestor's front door for what was captured elsewhere.
package file

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/source/capture"
	"github.com/pastcone/pastcone/internal/source/detect"
	"github.com/pastcone/pastcone/internal/source/gotrace"
	"github.com/pastcone/pastcone/internal/source/ndjson"
	"github.com/pastcone/pastcone/internal/wire"
)

// StandardInput is the name that stands for the standard input.
const StandardInput = "-"

// Options say how to read.
type Options struct {
	BatchEvents func() int                          // gives how many events a batch shall hold, about; nil: the readers' own
	Strict      bool                                // stop at the first input that can not be used
	Progress    func(bytes, events, rejected int64) // called now and then; must not block
}

// Summary says what was read.
type Summary struct {
	Format   string `json:"format"`
	Bytes    int64  `json:"bytes"` // of the file as it is
	Events   int64  `json:"events"`
	Rejected int64  `json:"rejected"`
	Note     string `json:"note,omitempty"` // what a person should know about it
}

// File is an opened input.
type File struct {
	name  string
	file  *os.File
	input *detect.Input
	size  int64 // 0: unknown
}

// Open opens a file and finds out what it is. The error names the file.
func Open(name string) (*File, error) {
	f := &File{name: name, file: os.Stdin}
	if name != StandardInput {
		var err error
		if f.file, err = os.Open(name); err != nil { // #nosec G304 -- the user names it
			return nil, err
		}
		info, err := f.file.Stat()
		if err == nil && info.IsDir() {
			err = errors.New("this is a folder: name the files in it")
		}
		if err != nil {
			_ = f.file.Close()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		f.size = info.Size()
	}
	var err error
	if f.input, err = detect.Open(f.file); err != nil {
		_ = f.file.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// Name gives the name as the user wrote it.
func (f *File) Name() string { return f.name }

// Format gives what the file is.
func (f *File) Format() string { return f.input.Format.String() }

// Size gives the size in bytes, 0 if it is unknown.
func (f *File) Size() int64 { return f.size }

// Broken says of an error of Read that it lies in the content: to read the file again would bring no more.
func (f *File) Broken(err error) bool {
	return errors.Is(err, gotrace.ErrBroken) || err != nil && f.input.Damaged()
}

// Close closes it.
func (f *File) Close() error {
	f.input.Close()
	if f.name == StandardInput {
		return nil
	}
	return f.file.Close()
}

// Read reads the file to its end.
func (f *File) Read(ctx context.Context, o Options, sink source.Sink) (Summary, error) {
	s := Summary{Format: f.Format()}
	progress := func(events, rejected int64) {
		s.Events, s.Rejected, s.Bytes = events, rejected, f.input.BytesRead()
		if o.Progress != nil {
			o.Progress(s.Bytes, events, rejected)
		}
	}
	var err error
	switch f.input.Format {
	case detect.EventLines:
		var stats ndjson.Stats
		stats, err = ndjson.Read(ctx, f.input, f.name, ndjson.Options{
			Strict: o.Strict, ChunkEvents: o.BatchEvents, Progress: func(s ndjson.Stats) { progress(s.Events, s.Rejected) },
		}, sink)
		progress(stats.Events, stats.Rejected)
	case detect.GoTrace:
		var stats gotrace.Stats
		batch := 0
		if o.BatchEvents != nil {
			batch = min(max(o.BatchEvents(), 1), gotrace.BatchEventsMax)
		}
		stats, err = gotrace.Read(ctx, f.input, f.name, gotrace.Options{
			BatchEvents: batch,
			Progress:    func(s gotrace.Stats) { progress(s.Events, 0) },
		}, sink)
		progress(stats.Events, 0)
		if err == nil && !stats.WallClock {
			s.Note = "its times count from its first event: the trace does not say when it was made"
		}
	case detect.Capture:
		var stats capture.Stats
		batch := 0
		if o.BatchEvents != nil {
			batch = min(max(o.BatchEvents(), 1), capture.BatchEventsMax)
		}
		stats, err = capture.Read(ctx, f.input, f.name, capture.Options{
			BatchEvents: batch,
			Progress:    func(s capture.Stats) { progress(s.Events, s.Rejected) },
		}, sink)
		progress(stats.Events, stats.Rejected)
		s.Note = stats.Note()
	default:
		err = fmt.Errorf("%s: %s: no reader for it", f.name, f.Format())
	}
	return s, err
}

// SpawnedMax is how many streams Spawned lists at the most.
const SpawnedMax = 1 << 20

// Spawned reads a file of event lines once more, and gives every stream that one of its spawns names. The correlator then
// knows that the others were not spawned, and need not wait to the end of the file to find out. It gives nil when that
// can not be known: of the standard input, which is read once only, and of a file with over SpawnedMax of them. Names are interned
// in table.
func (f *File) Spawned(ctx context.Context, table *wire.Table) (map[wire.Name]struct{}, error) {
	if f.name == StandardInput || f.input.Format != detect.EventLines {
		return nil, nil
	}
	again, err := Open(f.name)
	if err != nil {
		return nil, err
	}
	defer again.Close()
	all := &spawned{table: table, names: map[wire.Name]struct{}{}}
	_, err = ndjson.Read(ctx, again.input, f.name, ndjson.Options{}, all)
	if errors.Is(err, errTooMany) {
		return nil, nil
	}
	return all.names, err
}

// spawned is a sink that collects the streams which spawns name.
type spawned struct {
	table *wire.Table
	names map[wire.Name]struct{}
}

var errTooMany = errors.New("too many streams")

func (s *spawned) Table() *wire.Table { return s.table }

func (s *spawned) Push(_ context.Context, b *wire.Batch) error {
	for i := range b.Records {
		if r := &b.Records[i]; r.Kind == event.KindSpawn && r.Child != 0 {
			if s.names[r.Child] = struct{}{}; len(s.names) > SpawnedMax {
				return errTooMany
			}
		}
	}
	return nil
}

// Reject leaves out what can not be read: the reading that counts reports it.
func (s *spawned) Reject(source.Rejected) error { return nil }

// Sum gives the SHA-256 of a file's content; the standard input has none.
func Sum(ctx context.Context, name string) ([]byte, error) {
	if name == StandardInput {
		return nil, nil
	}
	f, err := os.Open(name) // #nosec G304 -- the user names it
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	buffer := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := f.Read(buffer)
		sum.Write(buffer[:n])
		if errors.Is(err, io.EOF) {
			return sum.Sum(nil), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
}
