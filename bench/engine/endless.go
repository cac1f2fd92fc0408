package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/correlate"
	"github.com/pastcone/pastcone/internal/wire"
)

// What flat memory means is tried on as much as was promised, whatever else is measured on fewer events.
const (
	endlessEvents = 100_000_000
	shortStreams  = 3_000_000 // a million to fill what is bounded, and two that must find room in it
)

// endless is a correlator that gets batch after batch of a program without an end, and keeps nothing but what it must.
type endless struct {
	*correlate.Correlator
	sink  *recycled
	batch *wire.Batch
	data  []byte
	clock int64
	early int64 // highest anonymous memory in the first third: by then everything that is bounded is full
	most  int64 // and in all
	wrong error
}

func newEndless(t *wire.Table) *endless {
	sink := &recycled{}
	e := &endless{
		Correlator: correlate.New(correlate.Options{Table: t, Lateness: time.Second, NewBlock: sink.block}, sink),
		sink:       sink, batch: &wire.Batch{}, data: []byte(`{"user":12345,"path":"/orders/42"}`), clock: 1_700_000_000_000_000_000,
	}
	e.Open(1, false)
	e.MarksStarts(1)
	return e
}

// did adds an event; every third has data.
func (e *endless) did(stream wire.Name, r wire.Record) {
	e.clock += 100
	r.Time = e.clock
	var data []byte
	if r.Seq%3 == 0 {
		data = e.data
	}
	e.batch.Add(stream, r, data, nil)
	if len(e.batch.Records) >= 2048 {
		e.pass()
	}
}

// pass hands the batch over. Nothing of it may wait in the correlator, so it is filled again.
func (e *endless) pass() {
	e.batch.Source, e.batch.Arrived = 1, e.clock
	done := false
	e.batch.Done = func(event.ID) { done = true }
	e.Add(e.batch)
	e.Flush()
	if !done && e.wrong == nil {
		e.wrong = fmt.Errorf("events wait that need not: %+v", e.Stats())
	}
	e.batch.Reset()
}

// weigh notes how much memory is taken, part of all events having been handed over.
func (e *endless) weigh(part float64) {
	m := anonymousBytes()
	e.most = max(e.most, m)
	if 3*part <= 1 {
		e.early = max(e.early, m)
	}
}

// end checks that nothing was lost, and gives the figures.
func (e *endless) end(name string) (map[string]float64, error) {
	s := e.Stats()
	if e.wrong == nil && (s.Emitted != s.Accepted || s.Gaps+s.Evicted+s.Duplicates+s.TooLate+s.Ended+s.Malformed > 0) {
		e.wrong = fmt.Errorf("of %s not all came out as it should: %+v", name, s)
	}
	return map[string]float64{
		name + ": events":       float64(s.Accepted),
		name + ": ns":           float64(processorTime().Nanoseconds()) / float64(s.Accepted),
		name + ": memory":       float64(e.most),
		name + ": memory grown": float64(e.most - e.early),
	}, e.wrong
}

// oneStream correlates one stream of 100 M events: calls and returns, messages to itself by ordinal and in order, locks, logs.
func oneStream(settings) (map[string]float64, error) { return oneStreamOf(endlessEvents) }

func oneStreamOf(events uint64) (map[string]float64, error) {
	t := wire.NewTable(1 << 20)
	e := newEndless(t)
	m, err := t.Name("main")
	if err != nil {
		return nil, err
	}
	k, err := t.Name("queue")
	if err != nil {
		return nil, err
	}
	seq, turn := uint64(1), uint64(0)
	e.did(m, wire.Record{Seq: 1, Kind: event.KindLog}) // no start, so nobody spawned it
	put := func(r wire.Record) {
		seq++
		r.Seq = seq
		e.did(m, r)
	}
	for seq < events-8 {
		turn++
		put(wire.Record{Kind: event.KindCall})
		put(wire.Record{Kind: event.KindSend, Key: k, Ordinal: turn})
		put(wire.Record{Kind: event.KindLog})
		put(wire.Record{Kind: event.KindReceive, Key: k, Ordinal: turn})
		put(wire.Record{Kind: event.KindRelease, Key: k, Ordinal: turn})
		put(wire.Record{Kind: event.KindAcquire, Key: k, Ordinal: turn})
		put(wire.Record{Kind: event.KindState})
		put(wire.Record{Kind: event.KindReturn})
		if turn%100_000 == 0 {
			e.weigh(float64(seq) / float64(events))
		}
	}
	for seq < events {
		put(wire.Record{Kind: event.KindLog})
	}
	e.pass()
	e.weigh(1)
	return e.end("one stream")
}

// manyStreams correlates millions of short streams, one after the other: each is spawned, works, sends what it found to its
// parent, and exits.
func manyStreams(settings) (map[string]float64, error) { return manyStreamsOf(shortStreams) }

func manyStreamsOf(streams uint64) (map[string]float64, error) {
	t := wire.NewTable(1 << 20)
	e := newEndless(t)
	m, err := t.Name("main")
	if err != nil {
		return nil, err
	}
	k, err := t.Name("results")
	if err != nil {
		return nil, err
	}
	e.did(m, wire.Record{Seq: 1, Kind: event.KindLog}) // no start, so nobody spawned it
	seq := uint64(1)
	for i := range streams {
		s, err := t.Name("g" + strconv.FormatUint(i+1, 10))
		if err != nil {
			return nil, err
		}
		e.did(m, wire.Record{Seq: seq + 1, Kind: event.KindSpawn, Child: s})
		for n, r := range []wire.Record{
			{Kind: event.KindStart}, {Kind: event.KindCall}, {Kind: event.KindReturn},
			{Kind: event.KindSend, Key: k, Ordinal: i + 1}, {Kind: event.KindExit},
		} {
			r.Seq = uint64(n + 1) // #nosec G115 -- an index
			e.did(s, r)
		}
		e.did(m, wire.Record{Seq: seq + 2, Kind: event.KindReceive, Key: k, Ordinal: i + 1})
		seq += 2
		if i%10_000 == 0 {
			e.weigh(float64(i) / float64(streams))
		}
	}
	e.pass()
	e.weigh(1)
	got, err := e.end("short streams")
	got["short streams: streams"] = float64(streams)
	return got, err
}
