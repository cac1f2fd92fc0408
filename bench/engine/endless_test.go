package main

import (
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// What is measured on a hundred million events comes out whole on a few: nothing waits, nothing is lost, and the figures
// are there.
func TestStreamsWithoutAnEndComeOutWhole(t *testing.T) {
	one, err := oneStreamOf(100_003)
	if err != nil || one["one stream: events"] != 100_003 {
		t.Error(one, err)
	}
	many, err := manyStreamsOf(10_000)
	if err != nil || many["short streams: events"] != 70_001 || many["short streams: streams"] != 10_000 {
		t.Error(many, err)
	}
	for _, got := range []map[string]float64{one, many} {
		for name, v := range got {
			if v < 0 || v == 0 && name != "one stream: memory grown" && name != "short streams: memory grown" {
				t.Errorf("%s is %v", name, v)
			}
		}
	}
}

func TestAnEventThatWaitsIsNotFlatMemory(t *testing.T) {
	e := newEndless(nil)
	e.batch.Add(1, wire.Record{Seq: 2, Kind: event.KindLog}, nil, nil) // the first never comes
	e.pass()
	if _, err := e.end("waiting"); err == nil {
		t.Error("what waits went unnoticed")
	}
}
