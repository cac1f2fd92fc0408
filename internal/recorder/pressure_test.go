package recorder

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/answer"
	"github.com/pastcone/pastcone/internal/correlate"
	"github.com/pastcone/pastcone/internal/pipeline"
	"github.com/pastcone/pastcone/internal/store"
)

// weather is what a recorder under test reads instead of what is measured: how long events have waited.
type weather struct{ age atomic.Int64 }

func (w *weather) is(age time.Duration) { w.age.Store(int64(age)) }

func (w *weather) read(time.Time) pipeline.Readings {
	return pipeline.Readings{BacklogAge: time.Duration(w.age.Load()), DiskFreeBytes: -1}
}

const (
	calm    = time.Duration(0)
	heavy   = 2 * time.Second // high: sampling
	violent = time.Minute     // critical: everything
)

// under gives a recorder in some weather.
func under(t *testing.T, loss Loss, change func(*Options)) (*Recorder, *weather, string) {
	t.Helper()
	w := &weather{}
	o := Options{Loss: loss, readings: w.read, Lateness: 50 * time.Millisecond}
	if change != nil {
		change(&o)
	}
	dir := filepath.Join(t.TempDir(), "rec")
	return open(t, dir, o), w, dir
}

func untilOn(t *testing.T, r *Recorder, a pipeline.Action, on bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("%v is %v", a, on), func() bool { return r.pressure.On(a) == on })
}

// requests makes whole requests, each a root call in a stream of its own, with leaf calls, a log line and a send in it.
func requests(from, n int) (all []event.Event) {
	for i := range n {
		stream, at := fmt.Sprintf("req%d", from+i), int64(1_700_000_000_000_000_000)+int64(from+i)*1000
		add := func(e event.Event) {
			e.Stream, e.Time = stream, at
			e.Seq = uint64(len(all)%16 + 1)
			at++
			all = append(all, e)
		}
		add(event.Event{Kind: event.KindCall, Func: "shop.Order", Root: true})
		for range 5 {
			add(event.Event{Kind: event.KindCall, Func: "shop.price"})
			add(event.Event{Kind: event.KindReturn, Func: "shop.price"})
		}
		add(event.Event{Kind: event.KindLog, Data: []byte(`{"message":"ordered"}`)})
		add(event.Event{Kind: event.KindSend, Key: fmt.Sprintf("out%d", from+i), Ordinal: 1})
		add(event.Event{Kind: event.KindMetric, Data: []byte(`{"name":"orders","value":1}`)})
		add(event.Event{Kind: event.KindReturn, Func: "shop.Order"})
		add(event.Event{Kind: event.KindExit})
	}
	return all
}

// finish closes an input and the recorder, and gives the account of the first and what is stored. The recording is verified.
func finish(t *testing.T, r *Recorder, in *Input, dir string) (pipeline.Account, []event.Event) {
	t.Helper()
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	a := in.Account()
	closeWell(t, r)
	rec, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	for _, s := range sources(t, rec) {
		if s.ID == in.ID() && (s.Stored != a.Stored || s.Shed != a.Shed || s.Accepted != a.Accepted) {
			t.Errorf("the manifest has %+v, the ledger had %+v", s, a)
		}
	}
	report, err := store.Verify(within(t), dir, nil)
	if err != nil || !report.OK() {
		t.Errorf("verify: %v, %+v", err, report)
	}
	return a, readAll(t, dir)
}

// tally gives how many events are there and how many gaps stand for, by the reason for these.
func tally(all []event.Event) (there int, gone map[string]int) {
	gone = map[string]int{}
	for _, e := range all {
		if e.Kind != event.KindGap {
			there++
			continue
		}
		var n int
		_, _ = fmt.Sscanf(string(e.Data), `{"lost":%d`, &n)
		_, why, _ := strings.Cut(string(e.Data), `"shed":"`)
		why, _, _ = strings.Cut(why, `"`)
		gone[why] += n
	}
	return there, gone
}

func byReason(a pipeline.Account) map[string]int {
	by := map[string]int{}
	for reason, n := range a.ShedBy {
		why, _, _ := strings.Cut(reason, ":")
		by[why] += int(n)
	}
	return by
}

func TestT5_Load_WhatIsShedAtTheRingIsCountedAndLeavesGaps(t *testing.T) {
	r, w, dir := under(t, LossShed, nil)
	in := input(t, r, "live", false)
	push(t, in, requests(0, 50)...)
	w.is(violent)
	untilOn(t, r, pipeline.ActShedLogs, true)
	push(t, in, requests(50, 50)...)
	w.is(calm)
	untilOn(t, r, pipeline.ActLargerBatches, false)
	push(t, in, requests(100, 50)...)
	a, all := finish(t, r, in, dir)
	there, gone := tally(all)
	if got := fmt.Sprint(gone); got != fmt.Sprint(byReason(a)) || uint64(there) != a.Stored || a.Accepted != 150*16 {
		t.Errorf("%d events and gaps %v are stored; the ledger has %+v", there, got, a)
	}
	// Ten leaf calls and returns, a log and a metric of each of 50 requests may go; nothing else.
	if a.ShedBy[pipeline.ShedLeaves+": call"] == 0 || a.ShedBy[pipeline.ShedLogs+": log"] == 0 {
		t.Errorf("shed: %v", a.ShedBy)
	}
	for reason := range a.ShedBy {
		for _, kind := range []string{"send", "exit", "error"} {
			if strings.HasPrefix(reason, "shed") && strings.HasSuffix(reason, ": "+kind) {
				t.Errorf("shed: %s", reason)
			}
		}
	}
	for _, e := range all {
		if e.Kind == event.KindReturn && e.Func == "shop.Order" && e.Parent == 0 {
			t.Errorf("the return %+v has lost its call", e)
		}
	}
}

func TestT5_Load_WhatIsSampledOutLeavesItsPlacesAndWhyTellsOfIt(t *testing.T) {
	r, w, dir := under(t, LossSample, nil)
	in := input(t, r, "live", false)
	push(t, in, requests(0, 50)...)
	w.is(violent)
	eventually(t, "few are kept", func() bool { return r.pressure.Kept() <= 1.0/16 })
	push(t, in, requests(50, 200)...)
	push(t, in, event.Event{Stream: "req1000", Seq: 1, Time: 1_700_000_000_001_000_000, Kind: event.KindCall, Func: "shop.Order", Root: true},
		event.Event{Stream: "req1000", Seq: 2, Time: 1_700_000_000_001_000_001, Kind: event.KindError, Data: []byte(`{"error":"no such room"}`)})
	a, all := finish(t, r, in, dir)
	there, gone := tally(all)
	if len(gone) != 1 || gone[pipeline.ShedSample] != int(a.Shed) || uint64(there) != a.Stored || there+int(a.Shed) != 250*16+2 {
		t.Errorf("%d events and gaps %v are stored; the ledger has %+v", there, gone, a)
	}
	if a.Shed < 50*15 {
		t.Errorf("only %d are sampled out", a.Shed)
	}
	whole := map[string]map[bool]int{}
	cut := event.ID(0)
	for i, e := range all {
		if e.ID != event.ID(i+1) {
			t.Fatalf("event %d has the id %d", i+1, e.ID)
		}
		if e.Kind == event.KindExit {
			cut = e.ID
			continue // it stays in any case
		}
		if whole[e.Stream] == nil {
			whole[e.Stream] = map[bool]int{}
		}
		whole[e.Stream][e.Kind == event.KindGap]++
	}
	for stream, n := range whole {
		if len(n) != 1 {
			t.Errorf("%s is kept in part: %v", stream, n)
		}
	}
	if whole["req0"][false] == 0 || whole["req1000"][false] != 2 {
		t.Errorf("what came before the load, %v, or the error, %v, is not there", whole["req0"], whole["req1000"])
	}
	for ; cut > 0; cut-- { // an exit of a chain that is gone
		if e := all[cut-1]; e.Kind == event.KindExit && whole[e.Stream][true] > 0 {
			break
		}
	}
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
	var told bytes.Buffer
	if err := answer.Answer(within(t), snapshot, sources(t, rec), &answer.Question{Op: "why", Events: []string{fmt.Sprint(cut)}}, &told); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(told.String(), "1 event is missing here: call "+pipeline.ShedSample) {
		t.Errorf("why does not say where the chain is cut:\n%s", told.String())
	}
}

func TestT5_Load_NothingIsLostByDefault(t *testing.T) {
	r, w, dir := under(t, LossNever, nil)
	w.is(violent)
	untilOn(t, r, pipeline.ActWait, true)
	time.Sleep(300 * time.Millisecond) // it would have gone on by now
	in := input(t, r, "live", false)
	push(t, in, requests(0, 100)...)
	s := r.Status().Pressure
	if s.Level != pipeline.LevelCritical || len(s.Actions) != 3 || len(s.Reasons) == 0 {
		t.Errorf("%+v", s)
	}
	a, all := finish(t, r, in, dir)
	if a.Shed != 0 || a.Stored != 1600 || len(all) != 1600 {
		t.Errorf("%+v, %d events", a, len(all))
	}
}

func TestT5_Load_AFileLosesNothingWhateverTheLoad(t *testing.T) {
	r, w, dir := under(t, LossShed, nil)
	w.is(violent)
	untilOn(t, r, pipeline.ActShedRest, true)
	in := input(t, r, "file", true)
	for i := range 20 {
		push(t, in, requests(i*10, 10)...)
	}
	a, all := finish(t, r, in, dir)
	if a.Shed != 0 || a.Stored != 3200 || len(all) != 3200 {
		t.Errorf("%+v, %d events", a, len(all))
	}
}

func TestT5_Load_AFileLeavesTheRingToThoseWhoCanNotWait(t *testing.T) {
	hold := make(chan struct{})
	r, w, dir := under(t, LossNever, func(o *Options) { o.RingBatches = 16 })
	live, file := input(t, r, "live", false), input(t, r, "file", true)
	r.seq.jobs <- job{do: func(*correlate.Correlator) { <-hold }} // nothing leaves the ring for now, but for what the stages hold
	w.is(heavy)
	untilOn(t, r, pipeline.ActWait, true)
	var pushed atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 200 {
			push(t, file, requests(i*2, 2)...)
			pushed.Add(1)
		}
	}()
	settled := func() int64 {
		last := int64(-1)
		eventually(t, "the file waits", func() bool {
			now := pushed.Load()
			time.Sleep(100 * time.Millisecond)
			last = pushed.Load()
			return now == last && last > 0
		})
		return last
	}
	if settled() == 200 || r.ring.Len() > 9 {
		t.Errorf("the file has pushed all, or has filled the ring: %d of %d", r.ring.Len(), r.ring.Cap())
	}
	push(t, live, requests(1000, 1)...) // has room
	close(hold)
	<-done
	if err := live.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	a, _ := finish(t, r, file, dir)
	if a.Stored != 200*32 || a.Shed != 0 {
		t.Errorf("%+v", a)
	}
}
