package recorder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pastcone/pastcone/client"
	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/answer"
	"github.com/pastcone/pastcone/internal/correlate"
	"github.com/pastcone/pastcone/internal/pipeline"
	"github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/store"
	"github.com/pastcone/pastcone/internal/wire"
)

// planPublish has the sequencer publish by another function.
func planPublish(t *testing.T, r *Recorder, f func(ctx context.Context, b *wire.Block) error) {
	t.Helper()
	if err := r.sequence(within(t), func(*correlate.Correlator) { r.seq.publish = f }); err != nil {
		t.Fatal(err)
	}
}

func TestT5_AFullDiskMakesSourcesWaitAndLosesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{Lateness: time.Millisecond})
	var full atomic.Bool
	full.Store(true)
	planPublish(t, r, func(ctx context.Context, b *wire.Block) error {
		if full.Load() {
			return store.ErrNoSpace
		}
		return r.store.Publish(ctx, b)
	})
	in := input(t, r, "one", true)
	push(t, in, handedOver(50, "jobs")...)
	closed := make(chan error, 1)
	go func() { closed <- in.Close(within(t), true) }()
	eventually(t, "the status says why nothing goes on", func() bool { return strings.Contains(r.Status().Blocked, "no space") })
	if s := r.Status(); s.Failed != "" || s.Books.All.Stored != 0 || s.Books.All.InFlight != 153 {
		t.Errorf("nothing is lost or given up: %+v", s.Books.All)
	}
	full.Store(false)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if s := r.Status(); s.Blocked != "" {
		t.Errorf("it is still blocked: %s", s.Blocked)
	}
	closeWell(t, r)
	checkHandedOver(t, readAll(t, dir), "jobs", 50)
}

func TestT5_WhoeverLeavesWhileTheDiskIsFullDoesNotWaitForRoom(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "rec"), Options{Lateness: time.Millisecond})
	planPublish(t, r, func(context.Context, *wire.Block) error { return store.ErrNoSpace })
	in := input(t, r, "one", true)
	push(t, in, handedOver(50, "jobs")...)
	ctx, interrupt := context.WithCancel(context.Background())
	ending, end := r.Ending(ctx, time.Hour, time.Hour)
	defer end()
	closed := make(chan error, 1)
	go func() { closed <- in.Close(ending, true) }()
	eventually(t, "the disk is full", r.Stuck)
	select {
	case err := <-closed:
		t.Fatalf("who is not interrupted waits, but: %v", err)
	case <-time.After(stuckDrain + 4*endingLook):
	}
	interrupt()
	if err := errors.Join(<-closed, r.Close(ending)); err == nil || !strings.Contains(err.Error(), "153 events are not") {
		t.Errorf("it says %v", err)
	}
	if all := r.Books().All; all.Stored != 0 || all.InFlight != 0 || all.RejectedBy[ReasonStore] != 153 {
		t.Errorf("the books have %+v", all)
	}
}

func TestT5_AfterACrashTheBooksHaveWhatTheBlocksHave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{Lateness: time.Millisecond})
	before := input(t, r, "closed", false)
	push(t, before, handedOver(10, "old")...)
	if err := before.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	one := input(t, r, "one", false)
	push(t, one, handedOver(50, "jobs")...)
	two := input(t, r, "two", false)
	push(t, two, logOf("g", 1), logOf("g", 5)) // with a gap between them, which is no event of the source
	eventually(t, "all of it is durable", func() bool { return r.Books().All.Stored == 33+153+2 })
	crashed := filepath.Join(t.TempDir(), "crashed") // as it is on the disk at this moment
	if err := os.CopyFS(crashed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	closeWell(t, r)
	check := func(when string, all answer.Sources) {
		t.Helper()
		for i, want := range []uint64{33, 153, 2} {
			if s := all[i]; s.Stored != want || s.Accepted != want || s.Complete != (i == 0) {
				t.Errorf("%s: %d events of %q are stored, but the books have %+v", when, want, s.Name, s)
			}
		}
	}
	rec, err := Read(crashed)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	if s := rec.Listed(); s[1].Stored != 0 {
		t.Fatalf("the manifest has %+v: this is no crash", s[1])
	}
	check("only read", sources(t, rec))
	for _, run := range []string{"opened again", "and once more"} {
		r = open(t, crashed, Options{Lateness: time.Millisecond})
		check(run, r.Sources())
		closeWell(t, r)
	}
	again, err := Read(crashed)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	check("by the manifest", again.Listed())
}

func TestT5_AStoreThatFailsStopsTheRecorderAndSaysSo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{Lateness: time.Millisecond})
	_, address := serving(t, r, nil)
	in := input(t, r, "one", false)
	push(t, in, event.Event{Stream: "g1", Seq: 1, Time: 1, Kind: event.KindLog})
	eventually(t, "the first is durable", func() bool { return r.Books().All.Stored == 1 })
	planted := errors.New("planted")
	planPublish(t, r, func(context.Context, *wire.Block) error { return planted })
	push(t, in, event.Event{Stream: "g1", Seq: 2, Time: 2, Kind: event.KindLog})
	eventually(t, "the recorder has failed", func() bool { return r.Err() != nil })
	if err := r.Err(); !errors.Is(err, planted) || !strings.Contains(err.Error(), "publishing events 2 to 2") {
		t.Errorf("it says %v", err)
	}
	if _, err := r.Source(Spec{Name: "two"}); !errors.Is(err, planted) {
		t.Errorf("another source: %v", err)
	}
	if s := r.Status(); !strings.Contains(s.Failed, "planted") || s.Books.All.RejectedBy[ReasonStore] != 1 {
		t.Errorf("%+v", s)
	}
	// Whoever sends is told.
	if _, err := client.NewSender(within(t), address, client.SenderOptions{RetryFor: 100 * time.Millisecond}); err == nil || !strings.Contains(err.Error(), "planted") {
		t.Errorf("a client is told %v", err)
	}
	// What is durable can still be read.
	if all := readAll(t, dir); len(all) != 1 {
		t.Errorf("%d events can be read", len(all))
	}
	if err := r.CheckSettled(); err != nil {
		t.Error(err)
	}
}

// The disk goes away under the store: the recorder comes to an end, with an error, and waits for nobody for ever.
func TestT5_ARecordingThatIsRemovedWhileItIsWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{Lateness: time.Millisecond, Store: store.Options{SegmentBytesMax: 1 << 20}})
	in := input(t, r, "one", false)
	push(t, in, event.Event{Stream: "g1", Seq: 1, Time: 1, Kind: event.KindLog})
	eventually(t, "the first is durable", func() bool { return r.Books().All.Stored == 1 })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	data := []byte(`{"x":"` + strings.Repeat("0123456789abcdef", 900) + `"}`)
	for seq := uint64(2); r.Err() == nil; seq++ {
		if seq > 100_000 {
			t.Fatal("it does not notice")
		}
		data[10] = byte('a' + seq%20)
		e := event.Event{Stream: "g1", Seq: seq, Time: int64(seq), Kind: event.KindLog, Data: data}
		b := &wire.Batch{}
		if err := b.AddEvent(in.Table(), &e); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		err := in.Push(ctx, b)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if err := in.Close(within(t), true); err == nil {
		t.Error("the input has ended well")
	}
	if err := r.Close(within(t)); err == nil {
		t.Error("it closes as if all was well")
	}
}

func TestT5_AnEndWithoutTimeSaysWhatIsGivenUp(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "rec"), Options{})
	in := input(t, r, "one", true)
	hold, held := make(chan struct{}), make(chan struct{})
	go func() {
		_ = r.sequence(context.Background(), func(*correlate.Correlator) { close(held); <-hold })
	}()
	<-held
	push(t, in, event.Event{Stream: "g1", Seq: 1, Time: 1, Kind: event.KindLog})
	over, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := in.Close(over, true); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `source "one": 1 batches had not been correlated`) {
		t.Errorf("the input: %v", err)
	}
	time.AfterFunc(50*time.Millisecond, func() { close(hold) })
	err := r.Close(over)
	if err == nil || !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "1 events from id 1 on were not written") {
		t.Errorf("the recorder: %v", err)
	}
	if err := in.Close(within(t), true); err != nil {
		t.Errorf("closing an input again: %v", err)
	}
	if a := r.Books().All; a.Accepted != 1 || a.Stored+a.Shed+a.Rejected+uint64(a.InFlight) != 1 { // #nosec G115 -- one event
		t.Errorf("the event is on one side of the books: %+v", a)
	}
}

func TestT5_EndsThatAreNotWaitedFor(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "rec"), Options{Store: store.Options{CommitInterval: time.Minute, UndurableBytesMax: 1 << 30}})
	in := input(t, r, "one", true)
	push(t, in, event.Event{Stream: "g1", Seq: 1, Time: 1, Kind: event.KindLog})
	eventually(t, "it is durable: the first commit does not wait", func() bool {
		push(t, in, event.Event{Stream: "g1", Seq: uint64(r.Books().All.Accepted + 1), Time: 1, Kind: event.KindLog})
		return r.Books().All.InFlight > 0
	})
	over, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if err := in.Close(over, true); err != nil && !strings.Contains(err.Error(), "events are not durable") && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the input: %v", err)
	}
	if err := r.WaitDurable(over, 1<<40); err == nil {
		t.Error("an event that there is not is durable")
	}
	if err := r.Close(within(t)); err != nil { // the end of the store commits what is left
		t.Errorf("the recorder: %v", err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.sequence(gone, func(*correlate.Correlator) {}); err == nil {
		t.Error("a sequencer that has ended does something")
	}
}

func TestT5_ABatchThatIsNotTakenStaysWithItsSource(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "rec"), Options{RingBatches: 1})
	in := input(t, r, "one", true)
	hold, held := make(chan struct{}), make(chan struct{})
	go func() {
		_ = r.sequence(context.Background(), func(*correlate.Correlator) { close(held); <-hold })
	}()
	<-held
	last := event.ID(77)
	if err := in.Push(within(t), &wire.Batch{Done: func(id event.ID) { last = id }}); err != nil || last != 0 {
		t.Errorf("an empty batch is done at once: %v, %d", err, last)
	}
	pushed := uint64(0)
	var err error
	for err == nil { // until the flow is full
		b := &wire.Batch{}
		e := event.Event{Stream: "g1", Seq: pushed + 1, Time: 1, Kind: event.KindLog}
		if err := b.AddEvent(in.Table(), &e); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		if err = in.Push(ctx, b); err == nil {
			pushed++
		}
		cancel()
	}
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `source "one"`) {
		t.Errorf("it is not taken: %v", err)
	}
	if a := r.Books().All; a.Accepted != pushed {
		t.Errorf("%d are accepted, %d were taken", a.Accepted, pushed)
	}
	close(hold)
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	if a := r.Books().All; a.Stored != pushed {
		t.Errorf("%d of %d are stored", a.Stored, pushed)
	}
	closeWell(t, r)
}

func TestT5_ARecorderThatCanNotBeOpenedLeavesNothingBehind(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	letters := filepath.Join(root, "letters")
	if err := os.MkdirAll(filepath.Join(letters, "dead-letters.ndjson"), 0o700); err != nil {
		t.Fatal(err)
	}
	few := pipeline.DefaultSettings()
	few.WorkersMin = -1
	for name, c := range map[string]struct {
		dir  string
		o    Options
		want string
	}{
		"below a file":            {filepath.Join(file, "sub", "rec"), Options{}, "not a directory"},
		"a file":                  {file, Options{}, "file"},
		"a pattern that is none":  {filepath.Join(root, "a"), Options{RedactKeys: []string{"("}}, "key pattern"},
		"letters in a folder":     {letters, Options{}, "dead-letters.ndjson"},
		"no workers for intake":   {filepath.Join(root, "b"), Options{Intake: few}, "WorkersMin"},
		"no workers for writing":  {filepath.Join(root, "c"), Options{Write: few}, "WorkersMin"},
		"a segment without bound": {filepath.Join(root, "d"), Options{Store: store.Options{SegmentBytesMax: 1 << 40}}, "SegmentBytesMax"},
	} {
		r, err := Open(c.dir, c.o)
		if err == nil || r != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The lock was let go.
	closeWell(t, open(t, filepath.Join(root, "a"), Options{}))
}

func TestT5_AFileIsKnownByItsContent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	sum := Fingerprint([]byte{1, 2, 3})
	for run := range 2 {
		r := open(t, dir, Options{})
		known, brokenOff := r.Earlier(sum)
		if (known != nil) != (run == 1) || brokenOff != nil || known != nil && (!known.Complete || known.Events != 1 || known.Name != "file") {
			t.Errorf("run %d: %+v, %+v", run, known, brokenOff)
		}
		for _, other := range []string{"", Fingerprint([]byte{9})} {
			if known, brokenOff := r.Earlier(other); known != nil || brokenOff != nil {
				t.Errorf("run %d: %q is known", run, other)
			}
		}
		if run == 0 {
			in, err := r.Source(Spec{Name: "file", Fingerprint: sum, Finite: true})
			if err != nil {
				t.Fatal(err)
			}
			push(t, in, event.Event{Stream: "g1", Seq: 1, Time: 1, Kind: event.KindLog})
			if err := in.Close(within(t), true); err != nil {
				t.Fatal(err)
			}
		}
		closeWell(t, r)
	}
}

// An account while its source is being recorded is that of the manifest and what has come since.
func TestT5_SourcesAreToldWhileTheyAreOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	from := server.Source{Name: "service", Format: "probe", Session: "a session of a service"}
	for run := uint64(1); run <= 2; run++ {
		r := open(t, dir, Options{Lateness: time.Millisecond})
		opened, err := sessions{r}.Open(context.Background(), from)
		if err != nil {
			t.Fatal(err)
		}
		in := opened.(sessionInput)
		push(t, in.Input, event.Event{Stream: "g1", Seq: run, Time: int64(run), Kind: event.KindLog}) // #nosec G115 -- small
		push(t, in.Input, event.Event{Stream: "g1", Seq: run, Time: int64(run), Kind: event.KindLog}) // #nosec G115 -- small
		eventually(t, "one is stored, the other a duplicate", func() bool { s := r.Sources()[0]; return s.Stored == run && s.Rejected == run && s.InFlight == 0 })
		s := r.Sources()[0]
		if !s.Open || s.Complete || s.Accepted != 2*run || s.Name != "service" {
			t.Errorf("run %d: %+v", run, s)
		}
		if err := in.Close(false); err != nil {
			t.Fatal(err)
		}
		if s := r.Sources()[0]; s.Open || s.Complete || s.Stored != run || s.RejectedBy[correlate.Duplicate.String()] != run {
			t.Errorf("run %d, closed: %+v", run, s)
		}
		closeWell(t, r)
	}
}

func TestLinesOfAnAnswer(t *testing.T) {
	var got []string
	w := &lineWriter{text: true, to: func(line []byte) error {
		got = append(got, string(line))
		return nil
	}}
	for _, part := range []string{"one", " line\ntwo\n", "\nand the ", "rest"} {
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	if want := `{"text":"one line"}|{"text":"two"}|{"text":""}|{"text":"and the rest"}`; strings.Join(got, "|") != want {
		t.Errorf("got %q", got)
	}
	gone := errors.New("gone")
	w = &lineWriter{to: func([]byte) error { return gone }}
	if _, err := w.Write([]byte("a\n")); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	w = &lineWriter{to: func([]byte) error { return nil }}
	if _, err := w.Write(make([]byte, lineBytesMax+1)); err == nil {
		t.Error("a line without end is kept")
	}
}
