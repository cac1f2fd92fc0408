package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/capture"
	"github.com/pastcone/pastcone/internal/wire"
)

// packed ends a frame of records as the collector writes it.
func (m *maker) packed() {
	chunk := make([]byte, capture.ChunkBytes)
	copy(chunk[capture.ChunkHeaderBytes:], m.records)
	m.order++
	binary.LittleEndian.PutUint64(chunk, m.order)
	binary.LittleEndian.PutUint32(chunk[8:], m.p)
	s := &spool{}
	if _, _, err := s.addRecords(chunk, 0, blind()); err != nil {
		panic(err)
	}
	m.file = append(m.file, s.buffer...)
	m.records = m.records[:0]
}

// blind notices nothing.
func blind() *noticing { return &noticing{budget: newBudget(&Ring{functions: 1}, -1)} }

// fixture is a capture file with every kind of frame.
func fixture() []byte {
	m := storyMaker()
	m.record(capture.KindCallRoot, 5, 1, 1, 0, 0, value{kind: capture.ValueString, s: "GET"}, value{kind: capture.ValueString, s: "/order"})
	m.record(capture.KindSpawn, 5, 2, 0, pc, 9)
	m.record(capture.KindSend, 5, 3, 3, pc, 1)
	m.record(capture.KindReturn, 5, 4, 1, capture.ReturnError, 0)
	m.packed()
	m.p = 1
	m.record(capture.KindStart, 9, 1, 0, entry, 5)
	m.record(capture.KindReceive, 9, 2, 3, pc, 1)
	m.chunk()
	m.passed(counts{})
	m.record(capture.KindError, 9, 3, 17, capture.ErrorNew, 0xc0de, value{kind: capture.ValueError, s: "sold out"})
	m.record(capture.KindExit, 9, 4, 0, 0, 0)
	m.packed()
	m.frame(frameSilence, (&silence{17, true, 100, 2000}).append(make([]byte, 8)))
	return m.end()
}

const fixtureFile = "testdata/v1.capture"

// A file of this version stays readable. PASTCONE_WRITE_SEEDS makes it, and the seeds, anew: for a new version only.
func TestRead_TheFileOfVersion1(t *testing.T) {
	if os.Getenv("PASTCONE_WRITE_SEEDS") != "" {
		k, _ := readBytes(t, fixture())
		for name, text := range map[string][]byte{fixtureFile: fixture(), "testdata/v1.txt": []byte(strings.Join(linesOf(k), "\n") + "\n")} {
			if err := os.WriteFile(name, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	k, stats := readFile(t, fixtureFile)
	want, err := os.ReadFile("testdata/v1.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(linesOf(k), "\n") + "\n"; got != string(want) || len(k.rejects) > 0 || stats.Torn {
		t.Errorf("got\n%swant\n%s%v", got, want, k.rejects)
	}
}

func linesOf(k *kept) (all []string) {
	for i := range k.events {
		all = append(all, string(event.AppendLine(nil, &k.events[i])))
	}
	return all
}

// A file that ends anywhere: what is before is read.
func TestRead_TornAnywhere(t *testing.T) {
	text := fixture()
	all, _ := readBytes(t, text)
	want := ofProgram(all)
	for n := range len(text) - frameAlign {
		k := newKept()
		stats, err := Read(context.Background(), bytes.NewReader(text[:n]), "torn.capture", Options{}, k)
		if n < len(Magic) {
			if !errors.Is(err, ErrNoCapture) {
				t.Fatalf("%d bytes: %v", n, err)
			}
			continue
		}
		if err != nil || !stats.Torn || !strings.Contains(stats.Note(), "not whole") || len(k.rejects) > 1 {
			t.Fatalf("%d bytes: %v, %+v, %v", n, err, stats, k.rejects)
		}
		got := ofProgram(k)
		for i := range got {
			// Without the clocks that come later times are not the same.
			if seqOf(got[i]) != seqOf(want[i]) {
				t.Fatalf("%d bytes: event %d is %s, want %s", n, i, got[i], want[i])
			}
		}
	}
}

// ofProgram gives the events that are not Pastcone's own.
func ofProgram(k *kept) []string {
	return slices.DeleteFunc(linesOf(k), func(line string) bool { return strings.HasPrefix(line, `{"stream":"pastcone"`) })
}

func seqOf(line string) string {
	before, _, _ := strings.Cut(line, `,"time"`)
	return before
}

// One byte that is changed costs the frame that it is in, and is reported.
func TestRead_AByteThatWasChanged(t *testing.T) {
	text := fixture()
	all, _ := readBytes(t, text)
	for i := fileHeaderBytes; i < len(text); i++ {
		damaged := bytes.Clone(text)
		damaged[i] ^= 0x41
		k := newKept()
		stats, err := Read(context.Background(), bytes.NewReader(damaged), "bad.capture", Options{}, k)
		if err != nil {
			t.Fatalf("byte %d: %v", i, err)
		}
		if len(k.rejects) == 0 && len(k.events) != len(all.events) {
			t.Fatalf("byte %d: %d of %d events, and nothing was rejected", i, len(k.events), len(all.events))
		}
		for _, r := range k.rejects {
			if r.Offset < fileHeaderBytes || r.Offset >= int64(len(text)) || r.Reason == "" {
				t.Fatalf("byte %d: %+v", i, r)
			}
		}
		if len(k.events) < 2 || stats.Rejected != int64(len(k.rejects)) {
			t.Fatalf("byte %d: %d events, %+v", i, len(k.events), stats)
		}
	}
}

func TestRead_WhatIsNoCapture(t *testing.T) {
	version2 := append([]byte(Magic), 2, 0, 0, 0, 0, 0, 0, 0)
	for _, c := range []struct {
		story string
		in    io.Reader
		want  error
	}{
		{"nothing", strings.NewReader(""), ErrNoCapture},
		{"something else", strings.NewReader(`{"stream":"g1"}`), ErrNoCapture},
		{"a newer version", bytes.NewReader(version2), ErrVersion},
		{"an input that fails at once", iotest.ErrReader(io.ErrClosedPipe), io.ErrClosedPipe},
		{"an input that fails in the middle", io.MultiReader(bytes.NewReader(fixture()[:500]), iotest.ErrReader(io.ErrClosedPipe)), io.ErrClosedPipe},
		{"an input that fails in garbage", io.MultiReader(bytes.NewReader(append(fixture()[:24], make([]byte, 100)...)), iotest.ErrReader(io.ErrClosedPipe)), io.ErrClosedPipe},
		{"an input that gives nothing", io.MultiReader(bytes.NewReader(fixture()[:500]), idle{}), io.ErrNoProgress},
	} {
		t.Run(c.story, func(t *testing.T) {
			if _, err := Read(context.Background(), c.in, "x", Options{}, newKept()); !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "x: ") {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// idle reads nothing, without an error.
type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// Frames that are whole and make no sense are reported, one by one.
func TestRead_FramesThatMakeNoSense(t *testing.T) {
	for _, c := range []struct {
		story string
		make  func(m *maker)
		says  string
	}{
		{"a kind to come", func(m *maker) { m.frame(99, []byte("x")) }, "unknown kind 99"},
		{"a start that is no JSON", func(m *maker) { m.frame(frameStart, []byte("{")) }, "what the program is"},
		{"an end that is no JSON", func(m *maker) { m.frame(frameEnd, []byte("[]")) }, "how the program ended"},
		{"a short pass", func(m *maker) { m.frame(framePass, []byte("x")) }, "a pass of 1 bytes"},
		{"half a record", func(m *maker) { m.frame(frameChunk, make([]byte, chunkFrameHeader+5)) }, "no whole records"},
		{"a P beyond all", func(m *maker) { m.frame(frameChunk, append(bytes.Repeat([]byte{0xff}, 16), make([]byte, 32)...)) }, "records of P"},
		{"a place without its texts", func(m *maker) { m.frame(framePlaces, make([]byte, 12)) }, "without texts"},
		{"a place that is cut", func(m *maker) { m.frame(framePlaces, make([]byte, 3)) }, "a place of 3"},
		{"a place that is no UTF-8", func(m *maker) { m.frame(framePlaces, append(make([]byte, 12), 1, 0, 0xff, 0, 0)) }, "no UTF-8"},
		{"a function without an id", func(m *maker) { m.functions(`{"func":"x"}`) }, "id is 0"},
		{"a function with a long name", func(m *maker) { m.functions(`{"id":3,"func":"` + strings.Repeat("x", 5000) + `"}`) }, "longer than"},
		{"a line that is no function", func(m *maker) { m.functions(`{`, "", `{"id":40,"func":"x"}`) }, "table of functions"},
		{"packed records that are none", func(m *maker) {
			m.frame(frameChunk, append(make([]byte, chunkFrameHeader), 0x99, 0x99))
			h := frameHeader{}
			from := len(m.file) - frameHeaderBytes - 24
			h.get(m.file[from:])
			h.codec, h.raw = codecPacked, chunkFrameHeader+64
			h.put(m.file[from:])
		}, "unpacked"},
		{"a codec to come", func(m *maker) {
			m.frame(frameChunk, make([]byte, chunkFrameHeader))
			h := frameHeader{}
			from := len(m.file) - frameHeaderBytes - chunkFrameHeader
			h.get(m.file[from:])
			h.codec = 7
			h.put(m.file[from:])
		}, "stored as 7"},
	} {
		t.Run(c.story, func(t *testing.T) {
			m := storyMaker()
			c.make(m)
			m.record(capture.KindCall, 5, 1, 17, 0, 0)
			k, _ := readBytes(t, m.end())
			if len(k.rejects) != 1 || !strings.Contains(k.rejects[0].Reason, c.says) || len(k.events) != 2 {
				t.Errorf("%d events, rejected %v, want %q", len(k.events), k.rejects, c.says)
			}
		})
	}
}

// Whatever records there are, they are the same when they have been packed and unpacked.
func TestPack_GivesBackWhatItTook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 300), rapid.Just(uint64(0)))
		n := rapid.IntRange(0, 50).Draw(t, "records")
		chunk := make([]byte, capture.ChunkBytes)
		var want []byte
		for i := range n {
			r := chunk[offsetOf(i):]
			for w := range 4 {
				binary.LittleEndian.PutUint64(r[8*w:], word.Draw(t, "word"))
			}
			if w1 := binary.LittleEndian.Uint64(r[8:]); w1 == 0 || uint8(w1) == capture.KindPad {
				r[8], r[9] = byte(rapid.SampledFrom([]int{1, 7, capture.KindValue, capture.KindText}).Draw(t, "kind")), 1
			}
			want = append(want, r[:capture.RecordBytes]...)
		}
		from := rapid.IntRange(0, n).Draw(t, "from")
		packed, next, records := packRecords(nil, chunk, from, blind())
		if next != n || records != n-from {
			t.Fatalf("%d records, the next is %d: want %d of %d", records, next, n-from, n)
		}
		got, ok := unpackRecords(nil, packed, records)
		if !ok || !bytes.Equal(got, want[from*capture.RecordBytes:]) {
			t.Fatalf("%x\nwant %x", got, want)
		}
		if _, ok := unpackRecords(nil, packed, records+1); ok {
			t.Fatal("one record more is no error")
		}
		if records > 0 {
			if _, ok := unpackRecords(nil, packed[:len(packed)-1], records); ok && packed[len(packed)-1] != 0 {
				t.Fatal("one byte less is no error")
			}
		}
	})
}

// Any schedule: goroutines on any P, passes at any moment, any policy. What was not lost is there once, in order, with its number.
func TestCollect_AnySchedule(t *testing.T) {
	table := functionTable(t)
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		policy := rapid.SampledFrom([]Policy{Block, Drop}).Draw(rt, "policy")
		ps := rapid.IntRange(1, 4).Draw(rt, "Ps")
		ring, err := NewRing(dir, RingOptions{Bytes: RingBytesMin, Policy: policy, Functions: simulatedFunctions + 1})
		if err != nil {
			rt.Fatal(err)
		}
		defer ring.Close()
		s, err := startProgram(ring.Path(), ps, testClock())
		if err != nil {
			rt.Fatal(err)
		}
		defer s.close()
		spool := filepath.Join(dir, "spool")
		defer os.Remove(spool)
		c, err := NewCollector(ring, CollectOptions{Spool: spool, Functions: table, CallsPerSecondMax: -1})
		if err != nil {
			rt.Fatal(err)
		}
		turn := func(last bool) {
			if _, err := c.turn(last); err != nil {
				rt.Fatal(err)
			}
		}
		gs := []*simulatedG{{id: 2}, {id: 3}, {id: 4}}
		sent := uint64(0)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			p, g := s.ps[rapid.IntRange(0, ps-1).Draw(rt, "P")], gs[rapid.IntRange(0, 2).Draw(rt, "G")]
			many := rapid.SampledFrom([]int{1, 3, 50, 3000}).Draw(rt, "many")
			for range many {
				if policy == Block && ring.load64(capture.OffCursor)%4 == 3 && p.at == capture.ChunkRecords {
					turn(false) // before the program waits
				}
				switch rapid.IntRange(0, 3).Draw(rt, "what") {
				case 0:
					g.emit(p, capture.KindCall, 3, 0, 0, text{capture.ValueString, "some text that is longer than one record"})
				case 1:
					sent++
					g.emit(p, capture.KindSend, 0, 7, sent)
				default:
					g.emit(p, capture.KindReturn, 3, 0, 0)
				}
				if many == 3000 {
					break
				}
			}
			if rapid.Bool().Draw(rt, "pass") {
				turn(false)
			}
		}
		turn(true)
		if err := errors.Join(c.finish(""), c.spool.close()); err != nil {
			rt.Fatal(err)
		}
		c.process.close()
		file, err := os.ReadFile(spool)
		if err != nil {
			rt.Fatal(err)
		}
		k := newKept()
		if _, err := Read(context.Background(), bytes.NewReader(file), "t", Options{BatchEvents: rapid.IntRange(1, 100).Draw(rt, "batch")}, k); err != nil || len(k.rejects) > 0 {
			rt.Fatalf("%v, rejected %v", err, k.rejects)
		}
		compareEvents(t, k, gs)
		if t.Failed() {
			rt.Fatal("see above")
		}
	})
}

// A reader that follows gets every event while the file grows, lets the collector go on when the file is full, and gives the disk back what it has read.
func TestFollow_AFileThatGrowsAndIsBounded(t *testing.T) {
	ring, err := NewRing("", RingOptions{Bytes: 1 << 20, Functions: simulatedFunctions + 1})
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	s, err := startProgram(ring.Path(), 2, testClock())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	spool := filepath.Join(t.TempDir(), "spool")
	o := CollectOptions{Spool: spool, SpoolBytesMax: 4 * frameBytesMax, Functions: functionTable(t), CallsPerSecondMax: -1}
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	var used atomic.Int64
	o.Consumed = &used
	c, err := NewCollector(ring, o)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Follow(context.Background(), spool, done, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	collected := make(chan error, 1)
	go func() {
		err := c.Run(ctx)
		close(done)
		collected <- err
	}()
	k := &counted{table: wire.NewTable(64 << 20)}
	read := make(chan error, 1)
	go func() {
		_, err := Read(context.Background(), f, "spool", Options{Progress: func(s Stats) { used.Store(s.InputBytes) }}, k)
		read <- err
	}()
	w := newWork(s, 20, 5)
	for seed := range uint64(4) {
		w.run(seed, 4000)
	}
	cancel()
	for _, ch := range []chan error{collected, read} {
		select {
		case err := <-ch:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("it does not end")
		}
	}
	total, lost := 1, 0
	for _, g := range w.gs {
		total += len(g.notes) - g.lost
		lost += g.lost
	}
	if k.events != total || lost > 0 {
		t.Errorf("%d of %d events, %d lost; %+v", k.events, total, lost, c.Stats())
	}
	t.Logf("%d events, %d bytes, the program waited %v", k.events, c.Stats().Bytes, c.Stats().Blocked)
}

// A file that is full, and that nobody reads on: the recording ends there, and says so; the program goes on.
func TestCollect_AFileThatIsFull(t *testing.T) {
	r, cancel := collecting(t, RingOptions{Bytes: 1 << 20}, CollectOptions{SpoolBytesMax: 4 * frameBytesMax, CallsPerSecondMax: -1}, 2)
	w := newWork(r.program, 20, 5)
	for seed := range uint64(6) {
		w.run(seed, 4000)
	}
	r.finish(t, cancel)
	_, stats := readFile(t, r.spool)
	if !strings.Contains(stats.Note(), "bound of 4194304 bytes") || stats.Torn || r.stats.Bytes > 6*frameBytesMax {
		t.Errorf("%+v", stats)
	}
}

// FuzzRead: whatever the file, Read ends, and each event is a valid one.
func FuzzRead(f *testing.F) {
	f.Add(fixture())
	f.Add(fixture()[:400])
	f.Fuzz(func(t *testing.T, file []byte) {
		k := newKept()
		_, err := Read(context.Background(), bytes.NewReader(file), "fuzz", Options{}, k)
		if err != nil && !errors.Is(err, ErrNoCapture) && !errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
		valid(t, k)
	})
}

// FuzzRecords: whatever the records in a frame that is whole, each event is a valid one.
func FuzzRecords(f *testing.F) {
	m := storyMaker()
	m.record(capture.KindCall, 5, 1, 17, 0, 0, value{kind: capture.ValueString, s: strings.Repeat("x", 300)})
	m.record(capture.KindAcquireRange, 5, 2, 1, pc, 9<<24|3)
	f.Add(m.records)
	f.Fuzz(func(t *testing.T, records []byte) {
		if len(records) > 1<<16 {
			return
		}
		m := storyMaker()
		m.records = append(m.records, records[:len(records)/capture.RecordBytes*capture.RecordBytes]...)
		k, _ := readBytes(t, m.end())
		valid(t, k)
	})
}

func valid(t *testing.T, k *kept) {
	t.Helper()
	for i := range k.events {
		line := event.AppendLine(nil, &k.events[i])
		if _, err := event.ParseLine(line); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}
