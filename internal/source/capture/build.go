package capture

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/capture"
	"github.com/pastcone/pastcone/internal/wire"
)

// record is a record, taken apart.
type record struct {
	w0, w1, w2, w3 uint64
	kind           uint8
	stream         uint64
	a, b           uint32
	values         []byte // the value records behind it
}

func take(from []byte) (x record) {
	x.w0, x.w1 = binary.LittleEndian.Uint64(from), binary.LittleEndian.Uint64(from[8:])
	x.w2, x.w3 = binary.LittleEndian.Uint64(from[16:]), binary.LittleEndian.Uint64(from[24:])
	x.kind, x.stream = uint8(x.w1), x.w1>>24  // #nosec G115 -- the kind is the low byte
	x.a, x.b = uint32(x.w2), uint32(x.w2>>32) // #nosec G115 -- halves
	return x
}

// entity gives the number of a channel or lock, and the ordinal.
func (x *record) entity() (number, ordinal uint64) {
	return uint64(x.a) | x.w3>>48<<32, x.w3 & (1<<48 - 1)
}

// event makes the event of the record at a place, and gives how many bytes it took.
func (r *reader) event(p *piece, at int) (n int, err error) {
	x := take(p.records[at:])
	n = capture.RecordBytes
	if x.kind == capture.KindPad {
		return n, nil
	}
	for at+n < len(p.records) {
		kind := p.records[at+n+8]
		if kind != capture.KindValue && kind != capture.KindText {
			break
		}
		n += capture.RecordBytes
	}
	if !isEvent(x.w1) {
		return n, r.reject(p, at, n, fmt.Sprintf("%d records of values without the event that they belong to", n/capture.RecordBytes))
	}
	x.values = p.records[at+capture.RecordBytes : at+n]
	r.stats.Records++
	why := r.build(&x)
	if r.err != nil {
		return n, r.err
	}
	if why != "" {
		return n, r.reject(p, at, n, why)
	}
	return n, nil
}

// mainGoroutine is the number of the goroutine that main runs in.
const mainGoroutine = 1

// sites says where the place of a kind's record comes from.
type placing uint8

const (
	atNowhere placing = iota
	atFunction
	atCounter
	atEntry
)

// form says how the events of a record kind are made.
type form struct {
	kind   event.Kind
	flags  wire.Flags
	place  placing
	entity bool // it has a channel or lock in a and c
}

var forms = [256]form{
	capture.KindCall:            {kind: event.KindCall, place: atFunction},
	capture.KindCallRoot:        {kind: event.KindCall, flags: wire.FlagRoot, place: atFunction},
	capture.KindReturn:          {kind: event.KindReturn, place: atFunction},
	capture.KindSpawn:           {kind: event.KindSpawn, place: atCounter},
	capture.KindStart:           {kind: event.KindStart, place: atEntry},
	capture.KindExit:            {kind: event.KindExit},
	capture.KindSend:            {kind: event.KindSend, place: atCounter, entity: true},
	capture.KindSendEmpty:       {kind: event.KindSend, flags: wire.FlagEmpty, place: atCounter, entity: true},
	capture.KindReceive:         {kind: event.KindReceive, place: atCounter, entity: true},
	capture.KindReceiveEmpty:    {kind: event.KindReceive, flags: wire.FlagEmpty, place: atCounter, entity: true},
	capture.KindReceiveClosed:   {kind: event.KindReceive, flags: wire.FlagClosed, place: atCounter, entity: true},
	capture.KindClose:           {kind: event.KindClose, place: atCounter, entity: true},
	capture.KindAcquire:         {kind: event.KindAcquire, place: atCounter, entity: true},
	capture.KindAcquireInferred: {kind: event.KindAcquire, flags: wire.FlagInferred, place: atCounter, entity: true},
	capture.KindAcquireRange:    {kind: event.KindAcquire, place: atCounter},
	capture.KindRelease:         {kind: event.KindRelease, place: atCounter, entity: true},
	capture.KindNotify:          {kind: event.KindLog, place: atCounter},
	capture.KindWake:            {kind: event.KindWake, place: atCounter},
	capture.KindTimerSet:        {kind: event.KindLog, place: atCounter},
	capture.KindTimerSend:       {kind: event.KindSend, entity: true},
	capture.KindTimerSpawn:      {kind: event.KindSpawn},
	capture.KindPanic:           {kind: event.KindError, place: atCounter},
	capture.KindRecover:         {kind: event.KindLog, place: atCounter},
	capture.KindError:           {kind: event.KindError, place: atFunction},
	capture.KindState:           {kind: event.KindState, place: atFunction},
	capture.KindQueueSend:       {kind: event.KindSend, place: atFunction},
	capture.KindQueueReceive:    {kind: event.KindReceive, place: atFunction},
	capture.KindSignal:          {kind: event.KindLog, place: atCounter},
	capture.KindLog:             {kind: event.KindLog, place: atCounter},
	capture.KindTraceOut:        {kind: event.KindLog, place: atCounter},
	capture.KindTraceIn:         {kind: event.KindLog, place: atCounter},
	capture.KindAcquireUnseen:   {kind: event.KindAcquire, flags: wire.FlagUnseen, place: atCounter, entity: true},
	capture.KindProbe:           {kind: event.KindLog, place: atCounter},
}

var isLock = [256]bool{
	capture.KindAcquire: true, capture.KindAcquireInferred: true, capture.KindAcquireUnseen: true, capture.KindRelease: true,
}

// build adds the event, or the events, of a record to the batch. It gives why it can not.
func (r *reader) build(x *record) (why string) {
	f := &forms[x.kind]
	if f.kind == event.KindInvalid {
		return fmt.Sprintf("a record of the unknown kind %d: the memory was overwritten, or a newer Pastcone patched the program", x.kind)
	}
	if x.stream == 0 {
		return "a record without a stream"
	}
	count := uint64(1)
	if x.kind == capture.KindAcquireRange {
		count = x.w3 & (1<<24 - 1)
		if last := x.w3 >> 24; count == 0 || count > capture.RangeMax || count > last {
			return fmt.Sprintf("one record of %d acquires up to release %d: at least 1, at most %d, and at most as many as there were releases", count, last, capture.RangeMax)
		}
	}
	head := wire.Record{Time: r.line.unix(x.w0), Kind: f.kind, Flags: f.flags}
	switch f.place {
	case atFunction:
		if x.a == 0 || uint64(x.a) >= uint64(len(r.functions)) {
			return fmt.Sprintf("a record of function %d, which is not in the table", x.a)
		}
		head.Site = r.functions[x.a].site
	case atCounter:
		at := counterOf(x.b, false)
		head.Site = r.places[at]
		if f.kind == event.KindReceive && len(r.asked) > 0 && r.asked[at] {
			head.Flags |= wire.FlagTakesNot
		}
	case atEntry:
		head.Site = r.places[counterOf(x.b, true)]
	case atNowhere:
	}
	if f.entity {
		number, ordinal := x.entity()
		head.Ordinal = ordinal
		text := r.textChan
		if isLock[x.kind] {
			text = r.textLock
		}
		head.Key = r.name(text, number)
		if f.kind == event.KindClose || f.kind == event.KindWake || f.flags&wire.FlagClosed != 0 {
			head.Ordinal = 0
		}
	}
	seq := r.number(x.w0, x.w1, count)
	if seq == 0 {
		return fmt.Sprintf("more than %d goroutines at once: this one's events can not be numbered", streamsMax)
	}
	name := r.streamName(x)
	head.Seq = seq
	if count > 1 || x.kind == capture.KindAcquireRange {
		head.Key = r.name(r.textLock, uint64(x.a))
		for i := range count {
			head.Seq, head.Ordinal = seq+i, x.w3>>24-count+1+i
			r.add(name, &head)
		}
		return ""
	}
	r.has, r.from = false, len(r.batch.Arena)
	r.ext.Message, r.ext.Ref, r.ext.Causes = nil, nil, r.ext.Causes[:0]
	r.special(x, &head, seq)
	if r.has {
		head.DataOff, head.DataLen = uint32(r.from), uint32(len(r.batch.Arena)-r.from) // #nosec G115 -- the arena is bounded
	}
	if len(r.ext.Message)+len(r.ext.Ref)+len(r.ext.Causes) > 0 {
		off := len(r.batch.Arena)
		r.batch.Arena = wire.AppendExtension(r.batch.Arena, &r.ext)
		head.ExtOff, head.ExtLen = uint32(off), uint32(len(r.batch.Arena)-off) // #nosec G115 -- the arena is bounded
	}
	r.add(name, &head)
	if x.kind == capture.KindExit {
		r.forget(x.w1)
		delete(r.came, x.stream)
	}
	return ""
}

// add appends a record to the batch.
func (r *reader) add(stream wire.Name, x *wire.Record) {
	b := r.batch
	if n := len(b.Runs); n == 0 || b.Runs[n-1].Stream != stream {
		b.Runs = append(b.Runs, wire.Run{Stream: stream})
	}
	b.Runs[len(b.Runs)-1].Len++
	b.Records = append(b.Records, *x)
	r.stats.Events++
}

// tailEnd is beyond the largest decimal tail of a name.
const tailEnd = 1_000_000_000_000

// name puts a name together: a text and a number.
func (r *reader) name(text wire.Text, number uint64) wire.Name {
	if number < tailEnd {
		return wire.MakeName(text, number+1)
	}
	r.label = strconv.AppendUint(append(r.label[:0], r.table.TextOf(text)...), number, 10)
	name, err := r.table.NameBytes(r.label)
	r.fail(err)
	return name
}

func (r *reader) streamName(x *record) wire.Name {
	if x.kind == capture.KindTimerSend || x.kind == capture.KindTimerSpawn {
		return r.name(r.textTimer, x.stream)
	}
	return r.name(r.textGoroutine, x.stream)
}

// special fills in what only some kinds have.
func (r *reader) special(x *record, head *wire.Record, seq uint64) {
	switch x.kind {
	case capture.KindCall, capture.KindCallRoot:
		if len(x.values) > 0 {
			r.arguments(x)
		}
		if len(r.came) > 0 && x.kind == capture.KindCallRoot {
			if c, ok := r.came[x.stream]; ok {
				delete(r.came, x.stream)
				r.cause(r.contextRef(&c))
			}
		}
	case capture.KindStart:
		// Nobody spawns a program's first goroutine, so no spawn is missing: its first event is no start.
		if x.stream == mainGoroutine {
			head.Kind = event.KindLog
			r.data(`{"program":"started"}`)
		}
	case capture.KindReturn:
		if x.b != 0 || len(x.values) > 0 {
			r.results(x)
		}
	case capture.KindSpawn, capture.KindTimerSpawn:
		if x.w3 < 1<<40 {
			head.Child = r.name(r.textGoroutine, x.w3)
		}
		if x.kind == capture.KindTimerSpawn {
			r.cause(r.timerRef(x.stream, uint64(x.b)))
		}
	case capture.KindTimerSend:
		r.cause(r.timerRef(x.stream, uint64(x.b)))
	case capture.KindTimerSet:
		timer, setting := x.w3>>24, x.w3&(1<<24-1)
		r.ext.Ref = r.timerRef(timer, setting)
		r.data(`{"timer":`).number64(timer).text(`}`)
	case capture.KindNotify:
		r.ext.Ref = r.goroutineRef(x.stream, seq)
		r.data(`{"notify":true}`)
	case capture.KindWake:
		if x.w3 != 0 {
			r.cause(r.goroutineRef(x.w3, uint64(x.a)))
			if x.w3 < 1<<40 {
				head.Peer = r.name(r.textGoroutine, x.w3)
			}
		}
	case capture.KindPanic:
		r.data(`{"error":`).firstText(x).text(`,"class":"panic"}`)
	case capture.KindRecover:
		r.data(`{"recovered":true}`)
	case capture.KindError:
		r.failure(x)
	case capture.KindState:
		r.state(x, head)
	case capture.KindQueueSend, capture.KindQueueReceive:
		r.queue(x, head)
	case capture.KindSignal:
		r.data(`{"signal":`).firstText(x).text(`}`)
	case capture.KindLog:
		r.data(`{"text":`).firstText(x).text(`}`)
	case capture.KindTraceOut, capture.KindTraceIn:
		r.traced(x)
	case capture.KindAcquireUnseen:
		r.unseen(x, head)
	case capture.KindProbe:
		r.probed(x, head)
	}
}

// unseen completes the event of an acquire whose release left no record: who released, if that is known, and what its last event
// before that was.
func (r *reader) unseen(x *record, head *wire.Record) {
	var by, after uint64
	v := r.valuesOf(x)
	for v.next() {
		switch v.index {
		case 0:
			by = v.words[0]
		case 1:
			after = v.words[0]
		}
	}
	if by != 0 && by < 1<<40 {
		head.Peer = r.name(r.textGoroutine, by)
		r.data(`{"after":`).number64(after).text(`}`)
	}
}

// cause names the event's cause.
func (r *reader) cause(ref []byte) { r.ext.Causes = append(r.ext.Causes, ref) }

// timerRef names a setting of a timer: the record of the firing has the number's low bits only.
func (r *reader) timerRef(timer, setting uint64) []byte {
	b := strconv.AppendUint(append(r.ref[:0], "timer"...), timer, 10)
	r.ref = strconv.AppendUint(append(b, '.'), setting&(1<<24-1), 10)
	return r.ref
}

// goroutineRef names an event of a goroutine by the low bits of its number.
func (r *reader) goroutineRef(id, seq uint64) []byte {
	b := strconv.AppendUint(append(r.ref[:0], 'g'), id, 10)
	r.ref = strconv.AppendUint(append(b, '.'), seq&(1<<32-1), 10)
	return r.ref
}

// state names the entity whose value changed: the field, and which of its kind.
func (r *reader) state(x *record, head *wire.Record) {
	f := &r.functions[x.a]
	key := entityKey{f.state, x.w3}
	n, ok := r.entities[key]
	if !ok {
		if len(r.entities) >= entitiesMax {
			clear(r.entities) // numbers go on: none is used for two
		}
		r.entityLast++
		n = r.entityLast
		r.entities[key] = n
	}
	head.Key = r.name(f.state, n)
	v := r.valuesOf(x)
	r.data(`{`)
	for i := 0; v.next(); i++ {
		switch v.index {
		case 0:
			r.comma(i).text(`"old":`).value(v)
		case 1:
			r.comma(i).text(`"new":`).value(v)
		}
	}
	r.text(`}`)
}

// entitiesMax bounds what is remembered of state and of queues.
const entitiesMax = 1 << 20

type entityKey struct {
	text wire.Text
	word uint64
}

// queue matches what is sent into a queue and received from it by the element's identity. The same element can go through a queue
// again and again: so its sends are counted.
func (r *reader) queue(x *record, head *wire.Record) {
	f := &r.functions[x.a]
	head.Key = wire.MakeName(f.queue, f.queueTail)
	key := entityKey{f.queue, x.w3}
	n := r.elements[key]
	if x.kind == capture.KindQueueSend {
		if n == 0 && len(r.elements) >= entitiesMax {
			clear(r.elements)
		}
		r.elementLast++
		n = r.elementLast
		r.elements[key] = n
	} else {
		delete(r.elements, key)
	}
	b := append(r.label[:0], "element"...)
	if n == 0 { // nobody was seen to send it
		r.elementLast++
		b, n = append(b[:0], "unseen"...), r.elementLast
	}
	r.label = strconv.AppendUint(b, n, 10)
	r.ext.Message = r.label
}
