package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestPipeline_HealthIsGoodWhenNothingHappens(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nothing, nil)
		expect(t, "before the start", r.Health(), "{failing [it is new]}")
		r.start(t)
		expect(t, "idle", r.Health(), "{ok []}")
		time.Sleep(time.Hour)
		expect(t, "idle for an hour", r.Health(), "{ok []}")
		r.drain(t)
		expect(t, "after the drain", r.Health(), "{failing [it is stopped]}")
	})
}

func TestPipeline_HealthTellsOfACrashForAWhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		first := true
		r := newRig(t, func(context.Context, *batch) error {
			if first {
				first = false
				panic("boom")
			}
			return nil
		}, nil).start(t)
		r.push(t, 0)
		time.Sleep(time.Second)
		expect(t, "health", r.Health(), "{degraded [a worker crashed within the last 10s; 1 in all]}")
		time.Sleep(10 * time.Second)
		expect(t, "later", r.Health(), "{ok []}")
		r.drain(t)
	})
}

func TestPipeline_HealthTellsOfABatchThatWasGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(context.Context, *batch) error { return errors.New("never") }, nil).start(t)
		r.push(t, 0)
		time.Sleep(time.Second)
		expect(t, "health", r.Health(), "{degraded [a batch was given up within the last 10s; 1 in all]}")
		time.Sleep(10 * time.Second)
		expect(t, "later", r.Health(), "{ok []}")
		r.drain(t)
	})
}

func TestPipeline_HealthTellsOfALetterThatCouldNotBeWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "missing", "dead.ndjson")
		r := newRig(t, func(context.Context, *batch) error { return errors.New("never") }, func(o *Options[*batch]) {
			o.Letter = openLetters(t, path, 1<<20)
		}).start(t)
		r.push(t, 0)
		time.Sleep(time.Minute)
		if h := r.Health(); h.State != HealthDegraded || !contains(h.Reasons[0], "could not be written, 1 in all: dead letters: open "+path) {
			t.Errorf("%+v", h)
		}
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		r.push(t, 1)
		time.Sleep(time.Minute)
		expect(t, "once there is a folder", r.Health(), "{ok []}")
		r.drain(t)
		expect(t, "rejected, with or without a letter", r.ledger.Books().All.Rejected, 4)
	})
}

func TestPipeline_HealthTellsOfABatchThatIsStuck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, takes(time.Minute), nil).start(t)
		r.push(t, 0)
		time.Sleep(9 * time.Second)
		expect(t, "after 9 s", r.Health(), "{ok []}")
		time.Sleep(6 * time.Second)
		expect(t, "after 15 s", r.Health(), "{degraded [a batch is at work for 15s, more than 10s]}")
		time.Sleep(time.Minute)
		expect(t, "when it is done", r.Health(), "{ok []}")
		r.drain(t)
	})
}

func TestPipeline_HealthTellsThatNothingMoves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		free := make(chan struct{})
		r := newRig(t, nothing, func(o *Options[*batch]) { o.Window = 2 })
		r.o.Deliver = func(_ context.Context, b *batch) error { <-free; r.note(b); return nil }
		r.start(t)
		r.push(t, upTo(10)...)
		time.Sleep(6 * time.Second)
		if h := r.Health(); h.State != HealthFailing || !contains(h.Reasons[0], "no batch was finished for 6s while") {
			t.Errorf("%+v", h)
		}
		close(free)
		time.Sleep(time.Second)
		expect(t, "when it moves again", r.Health(), "{ok []}")
		r.drain(t)
	})
}

func TestPipeline_HealthIsGoodWhenWorkComesAfterALongRest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, takes(time.Millisecond), nil).start(t)
		time.Sleep(time.Hour)
		r.push(t, upTo(100)...)
		if s := r.Status(); s.Health.State != HealthOK || s.Backlog.Batches == 0 {
			t.Errorf("%+v", s)
		}
		r.drain(t)
	})
}

func TestPipeline_HealthTellsThatAllWorkersAreNotEnough(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, takes(time.Second), func(o *Options[*batch]) { o.Settings.WorkersMax = 2 }).start(t)
		r.push(t, upTo(1000)...)
		time.Sleep(2 * time.Second)
		if h := r.Health(); h.State != HealthDegraded || !contains(h.Reasons[0], "% full, with all 2 workers at work") {
			t.Errorf("%+v", h)
		}
		ctx, cancel := context.WithCancel(background)
		cancel()
		_ = r.Drain(ctx)
	})
}

func TestPipeline_RatesAreThoseOfTheLastSecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nothing, nil).start(t)
		expect(t, "before anything", r.Status().Rates, "{0 0 0 0}")
		for id := range 300 { // three seconds, a hundred batches of two events a second
			r.push(t, id)
			time.Sleep(10 * time.Millisecond)
		}
		rates := r.Status().Rates
		for what, c := range map[string][2]float64{
			"taken batches": {rates.TakenBatches, 100}, "taken": {rates.TakenEvents, 200},
			"done": {rates.DoneEvents, 200}, "arrived": {rates.Arrived, 200},
		} {
			if c[0] < 0.95*c[1] || c[0] > 1.05*c[1] {
				t.Errorf("%s: %v a second, want %v", what, c[0], c[1])
			}
		}
		time.Sleep(2 * time.Second)
		expect(t, "at rest", r.Status().Rates, "{0 0 0 0}")
		r.drain(t)
	})
}

// What arrives is more than what is taken: the difference is the backlog that grows.
func TestPipeline_RatesTellArrivalFromConsumption(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, takes(20*time.Millisecond), func(o *Options[*batch]) { o.Settings.WorkersMax = 1 }).start(t)
		for id := range 200 {
			r.push(t, id)
			time.Sleep(10 * time.Millisecond)
		}
		s := r.Status()
		if s.Rates.Arrived < 190 || s.Rates.Arrived > 210 || s.Rates.TakenEvents < 90 || s.Rates.TakenEvents > 110 {
			t.Errorf("%+v", s.Rates)
		}
		if s.Backlog.Batches < 95 || s.Backlog.Batches > 105 || s.Backlog.Events != uint64(2*s.Backlog.Batches) {
			t.Errorf("%+v", s.Backlog)
		}
		r.drain(t)
	})
}

func TestPipeline_BusyWorkersAreMeasuredWhileTheyWork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, takes(time.Hour), func(o *Options[*batch]) { o.Settings.WorkersMin = 4 }).start(t)
		r.push(t, 0, 1, 2)
		time.Sleep(time.Second)
		expect(t, "busy", r.Status().Workers.Busy, 3)
		ctx, cancel := context.WithCancel(background)
		cancel()
		_ = r.Drain(ctx)
	})
}

// recorded is a part that writes down what is done with it.
type recorded struct {
	name          string
	log           *[]string
	start, drain  error
	health        Health
	waitsForDrain chan struct{}
}

func (r *recorded) Name() string { return r.name }

func (r *recorded) Start(context.Context) error {
	*r.log = append(*r.log, "start "+r.name)
	return r.start
}

func (r *recorded) Drain(context.Context) error {
	if r.waitsForDrain != nil {
		<-r.waitsForDrain
	}
	*r.log = append(*r.log, "drain "+r.name)
	return r.drain
}

func (r *recorded) Status() Status { return Status{Name: r.name, Health: r.health} }

func threeParts(t *testing.T) (p *Pipeline, ledger *Ledger, parts []*recorded, log *[]string) {
	t.Helper()
	log, ledger = &[]string{}, &Ledger{}
	for _, name := range []string{"intake", "correlate", "store"} {
		parts = append(parts, &recorded{name: name, log: log, health: Health{State: HealthOK}})
	}
	p, err := NewPipeline(ledger, parts[0], parts[1], parts[2])
	if err != nil {
		t.Fatal(err)
	}
	return p, ledger, parts, log
}

func TestPipeline_StartsDownstreamFirstAndDrainsUpstreamFirst(t *testing.T) {
	p, _, _, log := threeParts(t)
	if err := errors.Join(p.Start(background), p.Drain(background)); err != nil {
		t.Fatal(err)
	}
	expect(t, "order", *log, "[start store start correlate start intake drain intake drain correlate drain store]")
	expect(t, "state", p.Status().State, StateStopped)
}

func TestPipeline_DrainsWhatItHadStartedWhenAPartFails(t *testing.T) {
	p, _, parts, log := threeParts(t)
	parts[0].start = errors.New("no room")
	parts[2].drain = errors.New("not empty")
	err := p.Start(background)
	if !errors.Is(err, parts[0].start) || !errors.Is(err, parts[2].drain) {
		t.Errorf("error %v", err)
	}
	expect(t, "order", *log, "[start store start correlate start intake drain correlate drain store]")
	if again := p.Drain(background); again != err {
		t.Errorf("drained after the failure: %v", again)
	}
}

func TestPipeline_DrainTellsWhatEachPartCouldNotFinish(t *testing.T) {
	p, _, parts, _ := threeParts(t)
	parts[0].drain = &Undrained{Name: "intake", Queued: 3, Events: 9, Because: context.DeadlineExceeded}
	parts[2].drain = errors.New("the disk is full")
	if err := p.Start(background); err != nil {
		t.Fatal(err)
	}
	err := p.Drain(background)
	if !errors.Is(err, ErrNotDrained) || !errors.Is(err, parts[2].drain) || !contains(err.Error(), "9 events in 3 batches") {
		t.Errorf("error %v", err)
	}
}

func TestPipeline_IsStartedOnceAndDrainedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, _, parts, log := threeParts(t)
		parts[0].waitsForDrain = make(chan struct{})
		if err := p.Start(background); err != nil {
			t.Fatal(err)
		}
		if err := p.Start(background); !errors.Is(err, ErrState) {
			t.Errorf("started twice: %v", err)
		}
		errs := make(chan error)
		for range 2 {
			go func() { errs <- p.Drain(background) }()
		}
		synctest.Wait()
		expect(t, "state", p.Status().State, StateDraining)
		close(parts[0].waitsForDrain)
		if err := errors.Join(<-errs, <-errs); err != nil {
			t.Error(err)
		}
		expect(t, "calls", len(*log), 6)
	})
}

func TestPipeline_HealthIsThatOfItsWorstPart(t *testing.T) {
	p, ledger, parts, _ := threeParts(t)
	expect(t, "all well", p.Status().Health, "{ok []}")
	parts[1].health = Health{HealthDegraded, []string{"a gap"}}
	expect(t, "one degraded", p.Status().Health, "{degraded [correlate: a gap]}")
	parts[0].health = Health{HealthFailing, []string{"no workers", "full"}}
	expect(t, "one failing", p.Status().Health, "{failing [intake: no workers intake: full correlate: a gap]}")
	parts[0].health, parts[1].health = Health{State: HealthOK}, Health{State: HealthOK}
	ledger.Store(3, 2)
	expect(t, "unbalanced", p.Status().Health, "{failing [source 3: 2 events more were settled than accepted]}")
}

func TestPipeline_RefusesPartsItCanNotTellApart(t *testing.T) {
	a := &recorded{name: "a"}
	for story, make := range map[string]func() (*Pipeline, error){
		"no ledger":      func() (*Pipeline, error) { return NewPipeline(nil, a) },
		"no parts":       func() (*Pipeline, error) { return NewPipeline(&Ledger{}) },
		"the same twice": func() (*Pipeline, error) { return NewPipeline(&Ledger{}, a, a) },
	} {
		if _, err := make(); err == nil {
			t.Errorf("%s: it was made", story)
		}
	}
}

func TestPipeline_StatusHasStableNamesInJSON(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nothing, nil)
		p, err := NewPipeline(&r.ledger, r.Pool)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(p.Status())
		if err != nil {
			t.Fatal(err)
		}
		none := `{"count":0,"mean_ns":0,"p50_ns":0,"p99_ns":0,"max_ns":0}`
		counts := `{"taken":0,"done":0,"dead":0,"undrained":0,"in_hand":0}`
		want := fmt.Sprintf(`{"state":"new","health":{"state":"failing","reasons":["test: it is new"]},`+
			`"ledger":{"all":{"accepted":0,"stored":0,"shed":0,"rejected":0,"in_flight":0},"sources":[],"same_moment":true},`+
			`"parts":[{"name":"test","state":"new","health":{"state":"failing","reasons":["it is new"]},`+
			`"workers":{"now":0,"wanted":0,"min":1,"max":4,"busy":0,"started":0,"crashed":0,"retired":0},`+
			`"backlog":{"batches":0,"cap":1024,"events":0},"batches":%[2]s,"events":%[2]s,`+
			`"rates":{"taken_batches_per_second":0,"taken_events_per_second":0,"done_events_per_second":0,"arrived_events_per_second":0},`+
			`"latency":{"wait":%[1]s,"process":%[1]s,"total":%[1]s,"start":%[1]s,"recovery":%[1]s},"batch_events":1,"retries":0}]}`, none, counts)
		if string(text) != want {
			t.Errorf("got  %s\nwant %s", text, want)
		}
		_ = p.Drain(background)
	})
}
