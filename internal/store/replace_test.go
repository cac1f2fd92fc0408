package store

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/pastcone/pastcone/internal/wire"
)

// A block on which encoding panics is replaced by one with the same ids; what comes behind it had to wait for that, and what
// was read before stays.
func TestABlockThatCanNotBeWrittenIsReplaced(t *testing.T) {
	r := recordIn(t, newMemDir(), Options{})
	ctx := context.Background()
	r.add(t, 10)
	bad := r.gen.Block(5)
	if err := r.w.Publish(ctx, bad); err != nil {
		t.Fatal(err)
	}
	behind := r.gen.Block(3)
	if err := errors.Join(r.w.Publish(ctx, behind), r.w.Write(behind)); err != nil {
		t.Fatal(err)
	}
	before := r.w.Snapshot()
	defer before.Close()

	good := &wire.Block{Base: bad.Base, Rows: slices.Clone(bad.Rows), Edges: bad.Edges, Arrived: bad.Arrived, Arena: []byte(`{"lost":1}`)}
	for i := range good.Rows {
		row := &good.Rows[i]
		row.DataOff, row.DataLen, row.ExtOff, row.ExtLen = 0, uint32(len(good.Arena)), 0, 0 // #nosec G115 -- short
	}
	for name, c := range map[string]struct {
		old, with *wire.Block
		want      error
	}{
		"one that is written":       {behind, good, ErrOrder},
		"one that is not published": {good, bad, ErrOrder},
		"one with other ids":        {bad, &wire.Block{Base: bad.Base + 1, Rows: good.Rows, Arena: good.Arena, Edges: good.Edges}, ErrOrder},
		"one with fewer rows":       {bad, &wire.Block{Base: bad.Base, Rows: good.Rows[1:], Arena: good.Arena, Edges: good.Edges}, ErrOrder},
		"one beyond its bounds":     {bad, &wire.Block{Base: bad.Base, Rows: good.Rows}, ErrTooLarge},
	} {
		if err := r.w.Replace(c.old, c.with); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.w.Replace(bad, good); err != nil {
		t.Fatal(err)
	}
	if err := r.w.Write(bad); !errors.Is(err, ErrOrder) {
		t.Errorf("the one that was replaced is written: %v", err)
	}
	data := func(s *Snapshot) []byte {
		var c wire.Columns
		if err := s.Read(bad.Base, wire.ColAll, &c); err != nil {
			t.Fatal(err)
		}
		return c.DataOf(0)
	}
	now := r.w.Snapshot()
	if got := data(now); !bytes.Equal(got, good.Arena) {
		t.Errorf("readers see %s", got)
	}
	now.Close()
	if got, want := data(before), bad.Data(&bad.Rows[0]); !bytes.Equal(got, want) {
		t.Errorf("a snapshot from before reads %s, not %s", got, want)
	}
	last := behind.Base + 2
	if err := errors.Join(r.w.Write(good), r.w.WaitDurable(ctx, last)); err != nil {
		t.Fatal(err)
	}
	if s := r.w.Stats(); s.Events != 18 {
		t.Errorf("%+v", s)
	}
	if err := r.w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.w.Replace(bad, good); !errors.Is(err, ErrOrder) {
		t.Errorf("after the end: %v", err)
	}
}
