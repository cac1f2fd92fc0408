package recorder

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/correlate"
	"github.com/pastcone/pastcone/internal/protocol"
	"github.com/pastcone/pastcone/internal/server"
)

func TestT5_ASessionThatGoesAwayComesBackAndEndsOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	from := server.Source{Name: "file", Format: "ndjson", Session: "the content of a file"}
	log := func(seq uint64) event.Event {
		return event.Event{Stream: "g1", Seq: seq, Time: int64(seq), Kind: event.KindLog} // #nosec G115 -- small
	}
	r := open(t, dir, Options{})
	for run, ended := range []bool{false, true} { // the second time it sends the end of the first again
		in, err := sessions{r}.Open(context.Background(), from)
		if err != nil {
			t.Fatal(err)
		}
		first := uint64(1 + run) // #nosec G115 -- small
		push(t, in.(sessionInput).Input, log(first), log(first+1))
		if err := in.Close(ended); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // also after a restart
		if _, err := (sessions{r}).Open(context.Background(), from); !errors.Is(err, server.ErrEnded) {
			t.Errorf("a source that has ended: %v", err)
		}
		account := sessions{r}.Account(from.Session)
		if want := (protocol.Reason{Text: correlate.Duplicate.String(), Events: 1}); account.Stored != 3 || account.Rejected != 1 || len(account.Reasons) != 1 || account.Reasons[0] != want {
			t.Errorf("whoever sent it is told %+v", account)
		}
		if nobody := (sessions{r}).Account("another"); nobody.Stored != 0 || nobody.Reasons != nil {
			t.Errorf("a source that nobody knows has %+v", nobody)
		}
		closeWell(t, r)
		r = open(t, dir, Options{})
	}
	closeWell(t, r)
	seqs := map[uint64]int{}
	for _, e := range readAll(t, dir) {
		if e.Kind == event.KindLog {
			seqs[e.Seq]++
		}
	}
	if len(seqs) != 3 || seqs[1] != 1 || seqs[2] != 1 || seqs[3] != 1 {
		t.Errorf("three events, once each, but %v", seqs)
	}
	if s := r.Sources(); len(s) != 1 || s[0].Stored != 3 || s[0].RejectedBy[correlate.Duplicate.String()] != 1 || !s[0].Complete {
		t.Errorf("sources: %+v", s)
	}
}

func TestT5_AFiniteSourceWaitsForItsCausesToItsEndOrUntilItHurries(t *testing.T) {
	for name, hurries := range map[string]bool{"to its end": false, "until it hurries": true} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "rec")
			r := open(t, dir, Options{Lateness: time.Millisecond})
			opened, err := sessions{r}.Open(context.Background(), server.Source{Name: "file", Session: "a session of a file", Finite: true})
			if err != nil {
				t.Fatal(err)
			}
			in := opened.(sessionInput)
			push(t, in.Input,
				event.Event{Stream: "g2", Seq: 1, Time: 1, Kind: event.KindStart},
				event.Event{Stream: "g2", Seq: 2, Time: 2, Kind: event.KindReceive, Key: "jobs", Ordinal: 1})
			time.Sleep(50 * time.Millisecond) // many times the lateness, in which nothing may happen
			if stored := r.Books().All.Stored; stored != 0 {
				t.Fatalf("%d events did not wait for their causes", stored)
			}
			if hurries {
				if err := in.Hurry(within(t)); err != nil {
					t.Fatal(err)
				}
				eventually(t, "what waited is stored", func() bool { return r.Books().All.Stored == 2 })
			} else {
				push(t, in.Input,
					event.Event{Stream: "g1", Seq: 1, Time: 1_000_000_000_000, Kind: event.KindSpawn, Child: "g2"},
					event.Event{Stream: "g1", Seq: 2, Time: 1_000_000_000_001, Kind: event.KindSend, Key: "jobs", Ordinal: 1})
			}
			if err := in.Close(true); err != nil {
				t.Fatal(err)
			}
			if err := in.Hurry(within(t)); err != nil { // too late, and no harm
				t.Error(err)
			}
			closeWell(t, r)
			for _, e := range readAll(t, dir) {
				if (e.Kind == event.KindStart || e.Kind == event.KindReceive) != (e.Stream == "g2") {
					continue
				}
				if e.Kind == event.KindReceive && (e.Confidence == event.Exact) == hurries {
					t.Errorf("the receive has confidence %s", e.Confidence)
				}
			}
		})
	}
}
