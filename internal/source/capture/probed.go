package capture

import (
	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// probedKinds are those that package probe has to tell: the others the runtime sees by itself.
const probedKinds = 1<<event.KindCall | 1<<event.KindReturn | 1<<event.KindSend | 1<<event.KindReceive | 1<<event.KindState |
	1<<event.KindError | 1<<event.KindLog | 1<<event.KindMetric

// probedHead makes a whole line of the rest of one.
const probedHead = `{"stream":"g","seq":1,"time":1,"kind":`

// probed makes an event of what package probe has recorded in the program: the rest of an event line, in pieces. What is none is a
// log event that says so.
func (r *reader) probed(x *record, head *wire.Record) {
	line := append(r.label[:0], probedHead...)
	v := r.valuesOf(x)
	for v.next() {
		line = append(line, v.cut...)
	}
	r.label = line
	e, err := event.ParseLine(line)
	if err != nil || probedKinds>>e.Kind&1 == 0 {
		r.data(`{"unreadable":`)
		r.batch.Arena = appendQuoted(r.batch.Arena, line[len(probedHead):])
		r.text(`}`)
		return
	}
	head.Kind, head.Ordinal = e.Kind, e.Ordinal
	for _, f := range []struct {
		is   bool
		flag wire.Flags
	}{{e.Root, wire.FlagRoot}, {e.Empty, wire.FlagEmpty}, {e.Closed, wire.FlagClosed}} {
		if f.is {
			head.Flags |= f.flag
		}
	}
	if e.Key != "" {
		name, err := r.table.Name(e.Key)
		r.fail(err)
		head.Key = name
	}
	if e.Message != "" {
		r.ext.Message = []byte(e.Message)
	}
	if e.Ref != "" {
		r.ext.Ref = []byte(e.Ref)
	}
	for _, c := range e.Cause {
		r.cause([]byte(c))
	}
	if len(e.Data) > 0 {
		r.data(string(e.Data))
	}
}
