package recorder

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/pastcone/pastcone/internal/answer"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/store"
)

// Recording is a recording that is only read; it may be one that is being written at the moment.
type Recording struct {
	dir    string
	reader *store.Reader
}

// Read opens the recording that the user means for reading: see Find.
func Read(dir string) (*Recording, error) {
	dir, err := Find(dir)
	if err != nil {
		return nil, err
	}
	reader, err := store.OpenReader(dir)
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", dir, err)
	}
	return &Recording{dir, reader}, nil
}

// Dir gives its directory.
func (r *Recording) Dir() string { return r.dir }

// Snapshot gives everything that is committed now. Close it after use.
func (r *Recording) Snapshot() (query.Reader, error) { return r.reader.Fresh() }

// Listed tells of the recording's sources, as far as the manifest knows: of one that was not closed, not how many events it
// has.
func (r *Recording) Listed() answer.Sources { return sourcesOf(r.reader.Sources()) }

// Sources tells of the recording's sources. What became of those that are not complete is counted in the blocks, which is
// a look at all of them, and in the rejects file.
func (r *Recording) Sources() (answer.Sources, error) {
	snapshot, err := r.Snapshot() // and the sources of that moment
	if err != nil {
		return nil, err
	}
	infos, _, err := recounted(r.reader.Sources(), snapshot, filepath.Join(r.dir, rejectsName))
	return sourcesOf(infos), errors.Join(err, snapshot.Close())
}

// Close closes it.
func (r *Recording) Close() error { return r.reader.Close() }

// Verify checks every checksum and every invariant of a recording. progress is called now and then, with the bytes checked
// and in all, and the events.
func Verify(ctx context.Context, dir string, progress func(done, all int64, events uint64)) (store.Report, error) {
	return store.Verify(ctx, dir, func(p store.Progress) { progress(p.Bytes, p.BytesAll, p.Events) })
}
