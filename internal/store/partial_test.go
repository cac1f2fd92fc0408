package store

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/export"
	"github.com/pastcone/pastcone/internal/query"
)

// A byte of one block is flipped in the file: questions and exports give all the others, and name this one.
func TestQuestionsAndExportsGoOnBehindAFlippedByte(t *testing.T) {
	ctx := context.Background()
	d, blocks := damaged(t, "sealed")
	reader, err := openReader(d)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	s := reader.Snapshot()
	defer func() { _ = s.Close() }()
	seg := s.view.segs[0]
	e := seg.entries[1]
	v := blockView{}
	if err := seg.s.open(e, &v); err != nil {
		t.Fatal(err)
	}
	kept, bad := 0, e.base
	for _, b := range blocks {
		if b.Base != bad {
			kept += len(b.Rows)
		}
	}
	file := d.names[seg.s.name]
	for at, hit := range map[string]int64{"its head": 1, "its rows": int64(v.h.length) / 2} {
		flipped := d.copyOf()
		flipped.names[seg.s.name].data = slices.Clone(file.data)
		flipped.names[seg.s.name].data[e.off+hit] ^= 0x10
		r, err := openReader(flipped)
		if err != nil {
			t.Fatalf("%s: %v", at, err)
		}
		snapshot := r.Snapshot()
		var out bytes.Buffer
		n, err := export.NDJSON(ctx, snapshot, export.Options{}, &out)
		var damage *CorruptError
		if n != int64(kept) || bytes.Count(out.Bytes(), []byte("\n")) != kept || !errors.As(err, &damage) || damage.Block != bad || damage.File != seg.s.name {
			t.Errorf("%s: %d lines of %d, %v", at, n, kept, err)
		}
		q, err := query.Parse("{} | select(time, parent)")
		if err != nil {
			t.Fatal(err)
		}
		var ids []event.ID
		sum, err := query.Run(ctx, snapshot, q, query.Options{}, func(h *query.Hit) error {
			ids = append(ids, h.Event.ID)
			return nil
		})
		if err != nil || len(ids) != kept || slices.Contains(ids, bad) || !sum.Cut || !strings.Contains(sum.Reason, damage.File+": block "+bad.String()) {
			t.Errorf("%s: %d hits of %d, %+v, %v", at, len(ids), kept, sum, err)
		}
		last := blocks[len(blocks)-1].Base
		if _, err := query.Why(ctx, snapshot, last, query.WhyOptions{}); err != nil {
			t.Errorf("%s: why: %v", at, err)
		}
		if _, err := query.Stats(ctx, snapshot, query.Options{}); err != nil {
			t.Errorf("%s: stats: %v", at, err)
		}
		if _, err := query.Suggest(ctx, snapshot, query.Options{}); err != nil {
			t.Errorf("%s: suggest: %v", at, err)
		}
		if err := errors.Join(snapshot.Close(), r.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
