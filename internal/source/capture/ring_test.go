package capture

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/capture"
	"github.com/pastcone/pastcone/internal/source/capture/symbols"
)

func TestNewRing_WhatItIsAndWhatItRefuses(t *testing.T) {
	dir := t.TempDir()
	r, err := NewRing(dir, RingOptions{Bytes: RingBytesMin, Policy: Drop, Functions: 5000})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(r.Path())
	if err != nil || info.Mode().Perm() != 0o600 || filepath.Dir(r.Path()) != dir || r.Env() != "PASTCONE_RING="+r.Path() || r.Policy() != Drop {
		t.Errorf("%v, %v, %s", info, err, r.Env())
	}
	if calls, ticks := r.silenced(4999); calls != 0 || ticks != 0 || r.data+r.chunks*capture.ChunkBytes != len(r.memory) {
		t.Error("its parts are not as long as they should be")
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, o := range []RingOptions{{Bytes: 1}, {Bytes: RingBytesMax + 1}, {Policy: 3}, {Functions: -1}, {Functions: FunctionsMax + 1}} {
		if _, err := NewRing(dir, o); err == nil || !strings.HasPrefix(err.Error(), "ring: ") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := NewRing(filepath.Join(dir, "none"), RingOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if got := Block.String() + Drop.String() + Overwrite.String() + Policy(9).String(); got != "blockdropoverwritepolicy(9)" {
		t.Error(got)
	}
}

func TestNewCollector_WhatItRefuses(t *testing.T) {
	ring, err := NewRing(t.TempDir(), RingOptions{Bytes: RingBytesMin})
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	spool := filepath.Join(t.TempDir(), "spool")
	for _, o := range []CollectOptions{{}, {Spool: spool, SpoolBytesMax: 1}, {Spool: spool, FlightBytes: -1}, {Spool: "/no/such/dir/spool"}} {
		if _, err := Collect(context.Background(), ring, o); err == nil {
			t.Errorf("%+v is no error", o)
		}
	}
	long := filepath.Join(t.TempDir(), "table")
	if err := os.WriteFile(long, bytes.Repeat([]byte("x"), functionLineBytesMax+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewCollector(ring, CollectOptions{Spool: spool, Functions: long}); err == nil || !strings.Contains(err.Error(), long+":1") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(spool); err == nil {
		t.Error("what was begun is left")
	}
	ring.store32(capture.OffOwner32, uint32(os.Getpid()))
	ring.store32(capture.OffClock32, 77)
	if _, err := Collect(context.Background(), ring, CollectOptions{Spool: spool}); err == nil || !strings.Contains(err.Error(), "clock 77") {
		t.Errorf("%v", err)
	}
	if err := ring.Close(); err != nil {
		t.Error(err)
	}
}

// Program counters are looked up in the program's file, while it is recorded: the capture file stands alone.
func TestCollect_PlacesOfTheProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	table, err := symbols.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	const step = 997 // bytes
	for _, policy := range []Policy{Block, Overwrite} {
		r, cancel := collecting(t, RingOptions{Policy: policy, Bytes: RingBytesMin}, CollectOptions{Executable: self, FlightBytes: 4 * capture.ChunkBytes}, 1)
		p := r.program.ps[0]
		seq := uint64(0)
		emit := func(kind uint8, pc uint32) {
			seq++
			p.emit(kind, 2, seq, 0, pc, 0)
		}
		for pc := uint32(0x1000); pc < 1<<20; pc += step {
			emit(capture.KindRecover, pc)
			emit(capture.KindStart, pc)
		}
		emit(capture.KindRecover, 1<<31) // beyond the text
		time.Sleep(20 * time.Millisecond)
		if policy == Overwrite { // what was seen for a dump is written to the last file again
			if err := r.collector.Dump(filepath.Join(t.TempDir(), "dump")); err != nil {
				t.Error(err)
			}
			if err := r.collector.Dump("/no/such/dir/dump"); err == nil {
				t.Error("a dump to nowhere is no error")
			}
		} else if err := r.collector.Dump(filepath.Join(t.TempDir(), "dump")); !errors.Is(err, ErrNotFlying) {
			t.Errorf("%v", err)
		}
		r.finish(t, cancel)
		k, _ := readFile(t, r.spool)
		known := 0
		for i := range k.events {
			e := &k.events[i]
			if e.Stream == "pastcone" || e.Seq == seq {
				continue
			}
			pc := 0x1000 + step*((e.Seq-1)/2)
			place, ok := table.Look(pc, e.Kind == event.KindStart)
			if e.Func != place.Func || e.File != place.File || e.Line != int(place.Line) {
				t.Fatalf("%v at %#x: got %s %s:%d, want %+v", e.Kind, pc, e.Func, e.File, e.Line, place)
			}
			if ok {
				known++
			}
		}
		if known < 300 || len(k.events) != int(seq)+1 || policy == Block && r.stats.Places < known {
			t.Errorf("%v: %d events, %d places are known, %+v", policy, len(k.events), known, r.stats)
		}
	}
}

// A file that nobody keeps is given back to the disk while it is read.
func TestFollow_GivesBackWhatItHasRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 3*discardBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	close(done)
	f, err := Follow(context.Background(), path, done, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buffer, total := make([]byte, 1<<20), 0
	for {
		n, err := f.Read(buffer)
		total += n
		if err != nil {
			break
		}
	}
	if total != 3*discardBytes {
		t.Errorf("%d bytes", total)
	}
	text, err := os.ReadFile(path)
	if err != nil || text[0] != 'x' || f.discard && text[2*discardBytes] != 0 {
		t.Errorf("%v: nothing was given back", err)
	}
	if _, err := Follow(context.Background(), path+"none", done, false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g, err := Follow(ctx, path, make(chan struct{}), false)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if _, err := g.file.Seek(0, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Read(buffer); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
