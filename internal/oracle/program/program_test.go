package program_test

import (
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/oracle"
	"github.com/pastcone/pastcone/internal/oracle/program"
)

func at(e event.Event) oracle.At { return oracle.At{Source: 1, Stream: e.Stream, Seq: e.Seq} }

func TestMadeUpProgramsAreComplete(t *testing.T) {
	for seed := range uint64(200) {
		for _, features := range []program.Feature{0, program.Everything, program.Skew} {
			p := program.Generate(program.Seeded(seed), program.Small(features))
			truth, err := oracle.Correlate(p.Events)
			if err != nil {
				t.Fatalf("seed %d, features %b: %v", seed, features, err)
			}
			last := map[string]event.Kind{}
			for _, e := range p.Events {
				last[e.Stream] = e.Kind
			}
			for stream, kind := range last {
				if kind != event.KindExit && len(p.Events) < program.Small(0).EventsMax {
					t.Errorf("seed %d, features %b: stream %s ends with a %v: the program hangs", seed, features, stream, kind)
				}
			}
			for i, from := range p.Got {
				v := truth.Of(at(p.Events[i]))
				found := false
				for _, c := range v.Edges {
					found = found || c.Kind == event.EdgeMessage && c.From == at(p.Events[from])
				}
				if !found {
					t.Errorf("seed %d, features %b: %s got the message of %s, the oracle says %v", seed, features, v.At, at(p.Events[from]), v.Edges)
				}
			}
		}
	}
}

func TestRulesPutEveryEventWhereItsAuthorMeantIt(t *testing.T) {
	wrong := 0
	for seed := range uint64(300) {
		p := program.Generate(program.Seeded(seed), program.Small(program.SharedFIFO|program.PlainLocks))
		truth, err := oracle.Correlate(p.Events)
		if err != nil {
			t.Fatal(err)
		}
		intent := map[oracle.At]string{}
		for i, e := range p.Events {
			intent[at(e)] = p.Intent[i]
		}
		for i, e := range p.Events {
			v := truth.Of(at(e))
			got := ""
			if !v.Background {
				got = intent[v.Founder]
			}
			if p.Intent[i] != program.Anyone && got != p.Intent[i] {
				if wrong++; wrong < 10 {
					t.Errorf("seed %d: %s (%v %s) is meant for %q, the rules give %q (founder %s, parent %s)", seed, v.At, e.Kind, e.Func, p.Intent[i], got, v.Founder, v.Parent)
				}
			}
		}
	}
}
