package probe

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

type sink struct {
	table   *wire.Table
	events  []string
	rejects []source.Rejected
	err     error
}

func (s *sink) Table() *wire.Table { return s.table }

func (s *sink) Push(_ context.Context, b *wire.Batch) error {
	i := 0
	for _, run := range b.Runs {
		for range run.Len {
			s.events = append(s.events, s.table.NameOf(run.Stream)+" "+b.Records[i].Kind.String())
			i++
		}
	}
	return s.err
}

func (s *sink) Reject(r source.Rejected) error {
	s.rejects = append(s.rejects, r)
	return nil
}

const good = `{"stream":"g1","seq":1,"time":1,"kind":"call"}` + "\n"

func TestLines_FramesAreOneFileToThePersonWhoReadsOfRejects(t *testing.T) {
	s := &sink{table: wire.NewTable(1 << 16)}
	l := NewLines("billing")
	for i, frame := range []string{good + "one\n", "", "two\n" + good, strings.Repeat(good, 3) + "three"} {
		rejected, err := l.Read(context.Background(), []byte(frame), s)
		if err != nil || rejected > 1 {
			t.Fatalf("frame %d: %d rejected, %v", i, rejected, err)
		}
	}
	if len(s.events) != 5 || s.events[0] != "g1 call" {
		t.Errorf("events: %v", s.events)
	}
	var places []string
	all := good + "one\n" + "two\n" + good + strings.Repeat(good, 3) + "three"
	for _, r := range s.rejects {
		places = append(places, r.File+" "+string(r.Raw))
		lineOf := 1 + strings.Count(all[:r.Offset], "\n")
		if !strings.HasPrefix(all[r.Offset:], string(r.Raw)) || r.Line != lineOf {
			t.Errorf("%q is said to be at line %d, offset %d", r.Raw, r.Line, r.Offset)
		}
	}
	if got := strings.Join(places, ", "); got != "billing one, billing two, billing three" {
		t.Error(got)
	}
}

func TestLines_ASinkThatFailsIsNoReject(t *testing.T) {
	full := errors.New("full")
	s := &sink{table: wire.NewTable(1 << 16), err: full}
	if rejected, err := NewLines("x").Read(context.Background(), []byte(good), s); !errors.Is(err, full) || rejected != 0 {
		t.Errorf("%d rejected, %v", rejected, err)
	}
}
