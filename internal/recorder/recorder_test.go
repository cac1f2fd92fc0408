package recorder

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/answer"
	"github.com/pastcone/pastcone/internal/correlate"
	"github.com/pastcone/pastcone/internal/pipeline"
	"github.com/pastcone/pastcone/internal/ring"
	"github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/store"
	"github.com/pastcone/pastcone/internal/wire"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(memoryVariable); dir != "" { // this process is the one whose memory a test looks at
		if err := loadOneself(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const testTimeout = time.Minute

func open(t *testing.T, dir string, o Options) *Recorder {
	t.Helper()
	r, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// closeWell closes a recorder; its ledger must balance with nothing in flight.
func closeWell(t *testing.T, r *Recorder) {
	t.Helper()
	if err := r.Close(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := r.CheckSettled(); err != nil {
		t.Error(err)
	}
}

// eventually waits until something is so; it fails only when that takes absurdly long.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(testTimeout); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", testTimeout, what)
		}
	}
}

func input(t *testing.T, r *Recorder, name string, finite bool) *Input {
	t.Helper()
	in, err := r.Source(Spec{Name: name, Format: "test", Finite: finite})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func push(t *testing.T, in *Input, events ...event.Event) {
	t.Helper()
	b := &wire.Batch{}
	for i := range events {
		if err := b.AddEvent(in.Table(), &events[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Push(within(t), b); err != nil {
		t.Fatal(err)
	}
}

// sources gives what a recording tells of its sources.
func sources(t *testing.T, rec *Recording) answer.Sources {
	t.Helper()
	all, err := rec.Sources()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// readAll gives every event of a recording in the order of ids.
func readAll(t *testing.T, dir string) []event.Event {
	t.Helper()
	rec, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	snapshot, err := rec.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	var all []event.Event
	var c wire.Columns
	for _, b := range snapshot.Blocks(wire.Prune{}) {
		if err := snapshot.Read(b.Base, wire.ColAll, &c); err != nil {
			t.Fatal(err)
		}
		for i := range c.Len {
			var e event.Event
			if err := c.Event(i, snapshot.Table(), &e); err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
	}
	return all
}

// handedOver is a producer that hands n messages to a consumer, calls and logs between.
func handedOver(n int, key string) []event.Event {
	var events []event.Event
	seq := map[string]uint64{}
	add := func(stream string, e event.Event) {
		seq[stream]++
		e.Stream, e.Seq, e.Time = stream, seq[stream], int64(1_000_000+1000*len(events))
		events = append(events, e)
	}
	producer, consumer := "p-"+key+"-1", "c-"+key+"-1"
	add(producer, event.Event{Kind: event.KindCall, Func: "main.produce"})
	add(producer, event.Event{Kind: event.KindSpawn, Child: consumer})
	add(consumer, event.Event{Kind: event.KindStart})
	for k := 1; k <= n; k++ {
		add(producer, event.Event{Kind: event.KindSend, Func: "main.produce", Line: 7, Key: key, Ordinal: uint64(k)})
		add(consumer, event.Event{Kind: event.KindReceive, Func: "main.consume", Line: 9, Key: key, Ordinal: uint64(k)})
		add(consumer, event.Event{Kind: event.KindLog, Func: "main.consume", Data: fmt.Appendf(nil, `{"n":%d}`, k)})
	}
	return events
}

// checkHandedOver: each message has its send as the parent of its receive, exactly, and the log is the work's.
func checkHandedOver(t *testing.T, all []event.Event, key string, n int) {
	t.Helper()
	byID := map[event.ID]*event.Event{}
	receives := 0
	for i := range all {
		e := &all[i]
		byID[e.ID] = e
		if e.Kind != event.KindReceive || e.Key != key {
			continue
		}
		receives++
		parent := byID[e.Parent]
		if parent == nil || parent.Kind != event.KindSend || parent.Key != key || parent.Ordinal != e.Ordinal || e.Confidence != event.Exact {
			t.Fatalf("receive %d of %s has parent %+v, confidence %s", e.Ordinal, key, parent, e.Confidence)
		}
	}
	if receives != n {
		t.Fatalf("%d of %d receives of %s are there", receives, n, key)
	}
}

func TestT5_EventsFlowFromTheInputToTheDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{})
	in := input(t, r, "one", true)
	events := handedOver(100, "jobs")
	push(t, in, events...)
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	if a := r.Books().All; a.Stored != uint64(len(events)) || a.InFlight != 0 {
		t.Errorf("a closed input has its events durable, but the ledger says %+v", a)
	}
	closeWell(t, r)
	all := readAll(t, dir)
	if len(all) != len(events) {
		t.Fatalf("%d of %d events", len(all), len(events))
	}
	checkHandedOver(t, all, "jobs", 100)
	rec, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	if s := sources(t, rec); len(s) != 1 || s[0].Name != "one" || !s[0].Complete || s[0].Stored != uint64(len(events)) || s[0].Open {
		t.Errorf("the manifest says %+v", s)
	}
}

func TestT5_IntegrityUnderConcurrentLoad(t *testing.T) {
	const sources, messages = 8, 2000
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{RingBatches: 4, Lateness: testTimeout}) // the race detector on a busy machine is very late
	var wg sync.WaitGroup
	for s := range sources {
		wg.Go(func() {
			in := input(t, r, fmt.Sprint("source", s), false)
			random := rand.New(rand.NewPCG(uint64(s), 1))
			// Each stream's events are pushed in order by a goroutine of its own, so the streams arrive mixed.
			byStream := map[string][]event.Event{}
			for _, e := range handedOver(messages, fmt.Sprint("jobs", s)) {
				byStream[e.Stream] = append(byStream[e.Stream], e)
			}
			var inner sync.WaitGroup
			for _, events := range byStream {
				n := 1 + random.IntN(300)
				inner.Go(func() {
					for part := range slices.Chunk(events, n) {
						push(t, in, part...)
					}
				})
			}
			inner.Wait()
			if err := in.Close(within(t), true); err != nil {
				t.Error(err)
			}
		})
	}
	// The books balance at every moment, also while everything moves.
	stop, looked := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				looked <- n
				return
			default:
				b := r.Books()
				if a := b.All; b.SameMoment && int64(a.Accepted) != int64(a.Stored+a.Shed+a.Rejected)+a.InFlight || a.InFlight < 0 {
					t.Errorf("the ledger does not balance: %+v", a)
				}
				n++
			}
		}
	}()
	wg.Wait()
	close(stop)
	if n := <-looked; n == 0 {
		t.Error("the ledger was never looked at")
	}
	closeWell(t, r)
	all := readAll(t, dir)
	for s := range sources {
		checkHandedOver(t, all, fmt.Sprint("jobs", s), messages)
	}
	for i, e := range all {
		if e.ID != event.ID(i+1) || e.Parent >= e.ID {
			t.Fatalf("event %d has id %d and parent %d", i, e.ID, e.Parent)
		}
	}
}

func TestT5_AFullFlowMakesSourcesWaitAndLosesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{RingBatches: 1, Store: store.Options{UndurableBytesMax: 1, CommitInterval: 20 * time.Millisecond}})
	in := input(t, r, "slow", true)
	events := handedOver(1000, "jobs")
	for part := range slices.Chunk(events, 50) {
		push(t, in, part...)
	}
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	closeWell(t, r)
	checkHandedOver(t, readAll(t, dir), "jobs", 1000)
}

func TestT5_ADroppingRingCountsWhatItDropsAndLeavesGaps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{RingBatches: 2, Policy: ring.DropNewest})
	in := input(t, r, "flood", true)
	hold := make(chan struct{})
	held := make(chan struct{})
	go func() { // the sequencer stands still, so the ring fills
		_ = r.sequence(context.Background(), func(*correlate.Correlator) { close(held); <-hold })
	}()
	<-held
	var events []event.Event
	for i := range 4000 {
		events = append(events, event.Event{Stream: "g1", Seq: uint64(i + 1), Time: int64(i), Kind: event.KindLog})
	}
	for part := range slices.Chunk(events, 20) {
		push(t, in, part...)
	}
	close(hold)
	eventually(t, "the ring is empty", func() bool { return r.ring.Len() == 0 })
	push(t, in, event.Event{Stream: "g1", Seq: 4001, Time: 4001, Kind: event.KindLog})
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	books := r.Books().All
	closeWell(t, r)
	if books.Shed == 0 || books.ShedBy[ReasonRingFull] != books.Shed {
		t.Fatalf("nothing was shed by a full ring: %+v", books)
	}
	lost := 0
	for _, e := range readAll(t, dir) {
		if e.Kind == event.KindGap {
			var n int
			if _, err := fmt.Sscanf(string(e.Data), `{"lost":%d}`, &n); err != nil {
				t.Fatalf("gap with data %s", e.Data)
			}
			lost += n
		}
	}
	if lost == 0 || uint64(lost) != books.Shed {
		t.Errorf("%d events were shed, the gaps say %d", books.Shed, lost)
	}
}

func TestT4_TheSameByStreamAndSeqWithOneWorkerAndWithMany(t *testing.T) {
	var events []event.Event
	for k := range 5 {
		events = append(events, handedOver(300, fmt.Sprint("queue", k))...)
	}
	record := func(workers int, seed uint64) map[string]string {
		dir := filepath.Join(t.TempDir(), "rec")
		settings := pipeline.DefaultSettings()
		settings.WorkersMin, settings.WorkersMax = workers, workers
		r := open(t, dir, Options{Intake: settings, Write: settings})
		in := input(t, r, "shuffled", true)
		shuffled := slices.Clone(events)
		rand.New(rand.NewPCG(seed, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for part := range slices.Chunk(shuffled, 37) {
			push(t, in, part...)
		}
		if err := in.Close(within(t), true); err != nil {
			t.Fatal(err)
		}
		closeWell(t, r)
		return named(readAll(t, dir))
	}
	want := record(1, 1)
	if len(want) != len(events) {
		t.Fatalf("%d of %d events", len(want), len(events))
	}
	for seed := range uint64(4) {
		got := record(4, seed)
		for name, line := range want {
			if got[name] != line {
				t.Fatalf("with four workers %s is\n%s\nwith one\n%s", name, got[name], line)
			}
		}
	}
}

// named writes each event's results with (stream, seq) in place of ids.
func named(all []event.Event) map[string]string {
	names := map[event.ID]string{}
	for _, e := range all {
		names[e.ID] = fmt.Sprintf("%s#%d", e.Stream, e.Seq)
	}
	lines := map[string]string{}
	for _, e := range all {
		var b strings.Builder
		fmt.Fprintf(&b, "%s parent %s founder %s position %d %v %v", e.Kind, names[e.Parent], names[e.Correlation], e.Position, e.Duration, e.Background)
		for _, c := range e.Causes {
			fmt.Fprintf(&b, " %s(%s,%s)", c.Kind, names[c.ID], c.Confidence)
		}
		lines[names[e.ID]] = b.String()
	}
	return lines
}

func TestT5_AReopenedRecordingGoesOnWithItsStreams(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	first := []event.Event{
		{Stream: "g1", Seq: 1, Time: 1, Kind: event.KindCall, Func: "main.main"},
		{Stream: "g1", Seq: 2, Time: 2, Kind: event.KindLog},
	}
	second := []event.Event{
		{Stream: "g1", Seq: 2, Time: 2, Kind: event.KindLog}, // the end of the first run, sent again
		{Stream: "g1", Seq: 3, Time: 3, Kind: event.KindLog},
	}
	for i, events := range [][]event.Event{first, second} {
		r := open(t, dir, Options{})
		opened, err := sessions{r}.Open(context.Background(), server.Source{Name: "service", Format: "probe", Session: "session-1"})
		if err != nil {
			t.Fatal(err)
		}
		in := opened.(sessionInput)
		if in.ID() != 1 {
			t.Fatalf("run %d: the session is source %d", i, in.ID())
		}
		push(t, in.Input, events...)
		if err := in.Close(false); err != nil {
			t.Fatal(err)
		}
		closeWell(t, r)
	}
	all := readAll(t, dir)
	var seqs []string
	for _, e := range all {
		seqs = append(seqs, fmt.Sprintf("%s%d", e.Kind, e.Seq))
	}
	if got, want := strings.Join(seqs, " "), "call1 log2 gap3 log3"; got != want && got != "call1 log2 log3" {
		t.Errorf("the recording has %s, not %s", got, want)
	}
	rec, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	if s := sources(t, rec); len(s) != 1 || s[0].Stored != 3 || s[0].Rejected != 1 || s[0].RejectedBy[correlate.Duplicate.String()] != 1 {
		t.Errorf("both runs together stored 3 events and refused a duplicate, but %+v", s)
	}
}

func TestT5_APanicOfTheCorrelatorCostsItsBatchAndNothingElse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{Lateness: time.Millisecond})
	in := input(t, r, "one", false)
	push(t, in, event.Event{Stream: "g1", Seq: 1, Time: 1, Kind: event.KindLog}, event.Event{Stream: "g1", Seq: 2, Time: 2, Kind: event.KindLog})
	eventually(t, "both events are durable", func() bool { return r.Books().All.Stored == 2 })
	bad := errors.New("planted")
	var crashed atomic.Bool
	if err := r.sequence(within(t), func(c *correlate.Correlator) {
		r.seq.add = func(c *correlate.Correlator, b *wire.Batch) {
			if crashed.CompareAndSwap(false, true) {
				panic(bad)
			}
			c.Add(b)
		}
	}); err != nil {
		t.Fatal(err)
	}
	push(t, in, event.Event{Stream: "g1", Seq: 3, Time: 3, Kind: event.KindLog}, event.Event{Stream: "g1", Seq: 4, Time: 4, Kind: event.KindLog})
	push(t, in, event.Event{Stream: "g1", Seq: 5, Time: 5, Kind: event.KindLog})
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	status := r.Status()
	closeWell(t, r)
	if status.Restarts != 1 || status.Books.All.Stored != 3 || status.Books.All.RejectedBy[ReasonCorrelator] != 2 {
		t.Errorf("one restart, three events stored and two rejected are expected: %+v", status.Books.All)
	}
	var kinds []string
	for _, e := range readAll(t, dir) {
		kinds = append(kinds, fmt.Sprintf("%s%d", e.Kind, e.Seq))
	}
	if !slices.Contains(kinds, "gap3") || !slices.Contains(kinds, "log5") {
		t.Errorf("the hole is a gap and the rest goes on, but the recording has %v", kinds)
	}
	letters, err := os.ReadFile(filepath.Join(dir, "dead-letters.ndjson"))
	if err != nil || !strings.Contains(string(letters), "planted") || !strings.Contains(string(letters), `"seq":4`) {
		t.Errorf("the batch is in the dead letters: %v %s", err, letters)
	}
}

func TestT5_ABadBatchGoesToTheDeadLettersAndTheRestGoesOn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	settings := pipeline.DefaultSettings()
	settings.BackoffMin, settings.BackoffMax = time.Millisecond, time.Millisecond
	r := open(t, dir, Options{Intake: settings})
	in := input(t, r, "one", true)
	done := make(chan event.ID, 1)
	bad := &wire.Batch{Records: []wire.Record{{Seq: 1, Kind: event.KindLog, DataOff: 5, DataLen: 99}}, Runs: []wire.Run{{Stream: 1, Len: 1}}}
	bad.Done = func(last event.ID) { done <- last }
	if err := in.Push(within(t), bad); err != nil {
		t.Fatal(err)
	}
	push(t, in, event.Event{Stream: "g1", Seq: 1, Time: 1, Kind: event.KindLog})
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	if last := <-done; last != 0 {
		t.Errorf("a batch of which nothing was stored is done with id %d", last)
	}
	if a := r.Books().All; a.Stored != 1 || a.Rejected != 1 {
		t.Errorf("one is stored and one rejected, but %+v", a)
	}
	closeWell(t, r)
	letters, err := os.ReadFile(filepath.Join(dir, "dead-letters.ndjson"))
	if err != nil || !strings.Contains(string(letters), `"stage":"intake"`) {
		t.Errorf("dead letters: %v %s", err, letters)
	}
}

func TestT5_WhatASourceCanNotUseIsKeptWithItsPlace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{})
	in := input(t, r, "lines", true)
	if err := in.Reject(source.Rejected{File: "a.ndjson", Line: 7, Raw: []byte(`{"password":"hunter2"`), Reason: "it ends too early"}); err != nil {
		t.Fatal(err)
	}
	if n := in.Rejects(); n != 1 {
		t.Errorf("%d rejects", n)
	}
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	closeWell(t, r)
	text, err := os.ReadFile(filepath.Join(dir, "rejects.ndjson"))
	if err != nil || !strings.Contains(string(text), `"line":7`) || strings.Contains(string(text), "hunter2") {
		t.Errorf("the reject stands there with its place and without its secret: %v %s", err, text)
	}
}

func TestT5_SecretsAreGoneBeforeTheDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{Store: store.Options{NoCompression: true}})
	in := input(t, r, "one", true)
	push(t, in, event.Event{Stream: "g1", Seq: 1, Time: 1, Kind: event.KindLog, Data: []byte(`{"user":"ann","password":"correct horse"}`)})
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	closeWell(t, r)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	seen := false
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "correct horse") {
			t.Errorf("the secret is in %s", name)
		}
		seen = seen || strings.Contains(string(text), "ann")
	}
	if !seen {
		t.Error("the rest of the payload is nowhere: the test would see nothing")
	}
}

func TestT5_SettingsChangeWhileEventsFlow(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "rec"), Options{})
	in := input(t, r, "one", true)
	settings := pipeline.DefaultSettings()
	for i, part := range slices.Collect(slices.Chunk(handedOver(500, "jobs"), 30)) {
		settings.WorkersMax = 1 + i%4
		settings.BatchEventsMin = 8 + i
		if err := r.Apply(settings, settings); err != nil {
			t.Fatal(err)
		}
		push(t, in, part...)
	}
	eventually(t, "sources are told to make larger batches", func() bool { return r.BatchEvents() >= settings.BatchEventsMin })
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	closeWell(t, r)
	bad := settings
	bad.WorkersMin = 0
	if err := r.Apply(bad, settings); !errors.Is(err, pipeline.ErrSettings) {
		t.Errorf("settings out of bounds are refused, but: %v", err)
	}
}

func TestT5_NothingIsTakenAfterTheEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{})
	in := input(t, r, "one", false)
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("a second writer was let in")
	}
	closeWell(t, r)
	b := &wire.Batch{Records: make([]wire.Record, 1), Runs: []wire.Run{{Len: 1}}}
	if err := in.Push(within(t), b); !errors.Is(err, ErrClosed) {
		t.Errorf("pushing: %v", err)
	}
	if _, err := r.Source(Spec{Name: "two"}); !errors.Is(err, ErrClosed) {
		t.Errorf("a new source: %v", err)
	}
	if err := r.Close(within(t)); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func TestT5_TheLatencyOfAnIdleFlowIsMeasured(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "rec"), Options{})
	in := input(t, r, "one", false)
	for i := range 20 {
		push(t, in, event.Event{Stream: "g1", Seq: uint64(i + 1), Time: int64(i), Kind: event.KindLog})
		time.Sleep(5 * time.Millisecond)
	}
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	s := r.Status()
	closeWell(t, r)
	if s.Correlated.Count != 20 || s.Committed.Count == 0 || s.Committed.Mean < s.Correlated.Mean || s.Store.Events != 20 {
		t.Errorf("correlated %+v, committed %+v, store %+v", s.Correlated, s.Committed, s.Store)
	}
}

func TestT5_RecordingsAreFoundWhereTheyWereMade(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := Find(""); !errors.Is(err, ErrNoRecording) || !strings.Contains(err.Error(), "pastcone import") {
		t.Errorf("without a recording the error says how to make one: %v", err)
	}
	now := time.Date(2026, 11, 24, 11, 2, 3, 0, time.UTC)
	var dirs []string
	for range 2 {
		dir, err := NewPlace("demo", now)
		if err != nil {
			t.Fatal(err)
		}
		closeWell(t, open(t, dir, Options{}))
		dirs = append(dirs, dir)
	}
	if dirs[0] != filepath.Join(HomeDir, "20261124-110203-demo") || dirs[1] != dirs[0]+"-2" {
		t.Errorf("places: %v", dirs)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dirs[1], manifestFile), old, old); err != nil {
		t.Fatal(err)
	}
	if dir, err := Find(""); err != nil || dir != dirs[0] {
		t.Errorf("the newest is %s: %v", dir, err)
	}
	if dir, err := Find(dirs[1]); err != nil || dir != dirs[1] {
		t.Errorf("named: %s: %v", dir, err)
	}
	for _, no := range []string{"nowhere", "."} {
		if _, err := Find(no); !errors.Is(err, ErrNoRecording) {
			t.Errorf("Find(%q): %v", no, err)
		}
	}
}
