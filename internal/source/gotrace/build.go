package gotrace

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/exp/trace"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

// builder turns trace events into events. It is used from one goroutine.
type builder struct {
	o        Options
	sink     source.Sink
	table    *wire.Table
	stats    Stats
	err      error        // the table is full
	taskEnds []trace.Task // of the chunk's ends of tasks, those that have not been handled

	to      assembly
	pending int            // trace events since the last batch
	from    int            // where the data of the next event begins in the payload
	has     bool           // the next event has data
	more    wire.Extension // scratch
	causes  [1][]byte      // scratch
	label   []byte         // scratch: a ref or a message id

	offset int64 // what is added to a trace's time
	begun  bool  // offset is known

	goroutines map[trace.GoID]*goroutine // those that live
	tasks      map[trace.TaskID]*task    // those that have begun and not ended
	stacks     map[trace.Stack]*stackInfo
	names      map[namedSite]wire.Site
	reasons    map[string]*reason
	recent     [recentGoroutines]*goroutine // by id, to find one without the map

	textGoroutine, textClosed wire.Text
	wakings, messages, closes uint64
	regions                   uint64
}

// goroutine is the state of a stream.
type goroutine struct {
	id    trace.GoID
	name  wire.Name
	seq   uint64 // of its last event
	at    spot   // of its last event
	state trace.GoState

	// Before its first event.
	unborn  bool // it was created, and has not run yet
	spawned bool // by a goroutine
	spawnAt spot
	first   wire.Site

	// While it waits, and until it runs again.
	waits     bool
	reason    *reason
	waitStack trace.Stack // of its last wait in this generation
	waitInfo  *stackInfo
	wait      wire.Site
	waitOp    operation
	since     int64 // when it began to wait, or became runnable for the first time; noTime if before the trace
	woken     int64 // when it became runnable again; noTime if it has not
	waker     wire.Name
	wakerAt   spot
	how       waking
	wakingID  uint64
	label     [labelBytesMax]byte // of the message, or of the waker's event
	labelLen  int

	// Where it last woke another one, in this generation: most wake again there.
	wakeStack trace.Stack
	wakeInfo  *stackInfo

	// The last close of a channel in this goroutine: one close wakes many.
	closeStack trace.Stack
	closeSeq   uint64
	closeID    uint64

	frames []frame // open calls, innermost last
}

const noTime = -1 << 63

// waking is what the source makes of a waking.
type waking uint8

const (
	wokenByNobody waking = iota // a timer, the network, the runtime
	wokenPlainly
	wokenByMessage
	wokenByClose
)

func newBuilder(o Options, sink source.Sink) (*builder, error) {
	b := &builder{
		o: o, sink: sink, table: sink.Table(),
		to:         assembly{number: 1, back: make(returns, batchesBack)},
		goroutines: map[trace.GoID]*goroutine{}, tasks: map[trace.TaskID]*task{},
		stacks: map[trace.Stack]*stackInfo{}, names: map[namedSite]wire.Site{}, reasons: map[string]*reason{},
	}
	var err error
	if b.textGoroutine, err = b.table.Intern("g"); err != nil {
		return nil, err
	}
	b.textClosed, err = b.table.Intern("closed")
	return b, err
}

func (b *builder) fail(err error) {
	if err != nil && b.err == nil {
		b.err = err
	}
}

// add builds the events of a chunk, and hands over the batches that are full.
func (b *builder) add(ctx context.Context, c *chunk) error {
	b.taskEnds = c.ended
	broken := b.addEvents(ctx, c.events)
	b.stats.InputBytes = c.input
	if broken != nil || c.err != nil { // what came before a broken place is good
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	return broken
}

func (b *builder) addEvents(ctx context.Context, events []trace.Event) (err error) {
	defer func() {
		if p := recover(); p != nil { // an old trace is not checked as a whole by its reader
			err = fmt.Errorf("%w: the trace contradicts itself: %v", ErrBroken, p)
		}
	}()
	for i := range events {
		e := &events[i]
		kind := e.Kind()
		if b.addEvent(e, kind) {
			b.stats.Used++
		} else {
			b.stats.Skipped++
		}
		b.stats.TraceEvents++
		if b.err != nil {
			return b.err
		}
		b.pending++
		if b.pending >= b.o.BatchEvents || len(b.to.arena) > arenaBytesMax || kind == trace.EventSync {
			if err := b.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// addEvent builds the events that one trace event makes, and says whether it is of use.
func (b *builder) addEvent(e *trace.Event, kind trace.EventKind) bool {
	if kind == trace.EventSync {
		b.synchronize(e)
		return false
	}
	if !b.begun { // no clock snapshot came: the trace's first event is at 0
		b.begun, b.offset = true, -int64(e.Time())
	}
	now := int64(e.Time()) + b.offset
	switch kind {
	case trace.EventStateTransition:
		if t := e.StateTransition(); t.Resource.Kind == trace.ResourceGoroutine {
			return b.transition(e, &t, now)
		}
	case trace.EventRangeBegin, trace.EventRangeEnd:
		return b.span(e, now)
	case trace.EventRegionBegin:
		return b.regionBegin(e, now)
	case trace.EventRegionEnd:
		return b.regionEnd(e, now)
	case trace.EventTaskBegin:
		return b.taskBegin(e, now)
	case trace.EventTaskEnd:
		return b.taskEnd(e, now)
	case trace.EventLog:
		return b.log(e, now)
	case trace.EventLabel:
		if g := b.current(e); g != nil {
			b.data(`{"label":`).quote(e.Label().Label).text(`}`).emit(g, event.KindLog, now, 0, nil, spot{})
			return true
		}
	}
	return false
}

// synchronize begins a generation: stack ids mean something else from here on.
func (b *builder) synchronize(e *trace.Event) {
	b.stats.Generations = int64(e.Sync().N)
	clear(b.stacks)
	clear(b.names)
	for _, g := range b.goroutines { // a stack keeps all stacks of its generation in memory
		g.waitStack, g.waitInfo, g.closeStack = trace.NoStack, nil, trace.NoStack
		g.wakeStack, g.wakeInfo = trace.NoStack, nil
		g.closeID = 0
	}
	if clock := e.Sync().ClockSnapshot; clock != nil && !b.begun {
		b.begun, b.stats.WallClock = true, true
		b.offset = clock.Wall.UnixNano() - int64(clock.Trace)
	}
}

// recentGoroutines is a power of two.
const recentGoroutines = 256

// of gives the state of a goroutine, new if need be.
func (b *builder) of(id trace.GoID) *goroutine {
	recent := &b.recent[uint64(id)%recentGoroutines] // #nosec G115 -- any number will do
	if g := *recent; g != nil && g.id == id {
		return g
	}
	g := b.goroutines[id]
	if g == nil {
		g = &goroutine{id: id, name: b.nameOf(id), reason: noReason, since: noTime, woken: noTime}
		b.goroutines[id] = g
		b.stats.Streams++
	}
	*recent = g
	return g
}

func (b *builder) nameOf(id trace.GoID) wire.Name {
	if id >= 0 && id < 1e12 {
		return wire.MakeName(b.textGoroutine, uint64(id)+1)
	}
	name, err := b.table.Name("g" + strconv.FormatInt(int64(id), 10))
	b.fail(err)
	return name
}

// current gives the goroutine that did e, nil if none did.
func (b *builder) current(e *trace.Event) *goroutine {
	if id := e.Goroutine(); id != trace.NoGoroutine {
		return b.of(id)
	}
	return nil
}

// transition moves a goroutine from one state to the next.
func (b *builder) transition(e *trace.Event, t *trace.StateTransition, now int64) bool {
	id := t.Resource.Goroutine()
	from, to := t.Goroutine()
	if from == trace.GoNotExist {
		return b.created(e, t, id, to, now)
	}
	g := b.of(id)
	used := true
	switch {
	case from == to: // a generation begins by naming all states
		used = false
	case from == trace.GoUndetermined:
		b.found(g, t, to, now)
	case to == trace.GoNotExist:
		used = b.ended(g, from, now)
	case from == trace.GoRunning && to == trace.GoWaiting:
		b.blocked(g, t, now)
	case from == trace.GoWaiting && to == trace.GoRunnable:
		b.unblocked(g, e, now)
	case from == trace.GoRunnable && to == trace.GoRunning:
		used = b.runs(g, now)
	case from == trace.GoRunning && to == trace.GoSyscall:
		info := b.stackOf(t.Stack)
		site := info.call
		if site == 0 {
			site = b.site("syscall", "", 0)
		}
		g.frames = append(g.frames, frame{what: frameSyscall, site: site})
		if len(info.json) > 0 {
			b.data(`{`).bytes(info.json[1:]).text(`}`)
		}
		b.emit(g, event.KindCall, now, site, nil, spot{})
	case from == trace.GoSyscall:
		b.leftSyscall(g, now)
	default: // preempted, or yielded
		used = false
	}
	g.state = to
	return used
}

// created handles a goroutine that begins to exist.
func (b *builder) created(e *trace.Event, t *trace.StateTransition, id trace.GoID, to trace.GoState, now int64) bool {
	by := b.current(e)
	g := b.of(id)
	if g.seq > 0 && to == trace.GoSyscall { // a thread of C calls into Go once more
		b.stateEvent(g, "syscall", 0, now)
		g.state = to
		return true
	}
	g.unborn, g.since, g.state = true, now, to
	g.first = b.stackOf(t.Stack).call
	g.waits = to == trace.GoWaiting // a coroutine: its creator wakes it
	if by != nil && by != g {
		g.spawned = true
		b.emit(by, event.KindSpawn, now, b.stackOf(e.Stack()).site, nil, spot{}).Child = g.name
		g.spawnAt = by.at
		return true
	}
	if to == trace.GoSyscall { // by a thread of C that calls into Go
		g.unborn = false
		b.stateEvent(g, "syscall", g.first, now)
	}
	return true
}

// found handles a goroutine that was there when the trace began: nobody spawned it.
func (b *builder) found(g *goroutine, t *trace.StateTransition, to trace.GoState, now int64) {
	info := b.stackOf(t.Stack)
	switch to {
	case trace.GoWaiting:
		g.waits, g.wait, g.waitOp, g.reason = true, info.site, info.op, noReason
		g.since, g.woken, g.how = noTime, noTime, wokenByNobody
		b.stateEvent(g, "waiting", info.site, now)
	case trace.GoRunnable:
		b.stateEvent(g, "runnable", info.site, now)
	case trace.GoRunning:
		b.stateEvent(g, "running", info.site, now)
	case trace.GoSyscall:
		b.stateEvent(g, "syscall", info.site, now)
	}
}

func (b *builder) stateEvent(g *goroutine, state string, site wire.Site, now int64) {
	b.data(`{"state":"`).text(state).text(`"}`)
	b.emit(g, event.KindState, now, site, nil, spot{}).Key = g.name
}

// ended handles the end of a goroutine. One of a thread of C that has called into Go may come back.
func (b *builder) ended(g *goroutine, from trace.GoState, now int64) bool {
	if from == trace.GoSyscall {
		return b.leave(g, frame{what: frameSyscall}, now)
	}
	b.emit(g, event.KindExit, now, 0, nil, spot{})
	b.forget(g.frames)
	delete(b.goroutines, g.id)
	b.recent[uint64(g.id)%recentGoroutines] = nil // #nosec G115 -- as in of
	return true
}

// blocked handles the beginning of a wait.
func (b *builder) blocked(g *goroutine, t *trace.StateTransition, now int64) {
	if g.waitStack != t.Stack || g.waitInfo == nil { // most goroutines wait again where they waited before
		g.waitStack, g.waitInfo = t.Stack, b.stackOf(t.Stack)
	}
	info := g.waitInfo
	g.waits, g.wait, g.waitOp = true, info.site, info.op
	g.since, g.woken, g.how = now, noTime, wokenByNobody
	if info.reason == nil || info.reason.text != t.Reason {
		info = b.withReason(info, t.Reason)
		g.waitInfo = info
	}
	g.reason = info.reason
	from := len(b.to.arena)
	b.bytes(info.waiting)
	b.put(g, event.KindState, now, info.site, from, len(b.to.arena), spot{}).Key = g.name
}

// reason is why a goroutine waits, in the words of the runtime, and as JSON.
type reason struct {
	text  string
	json  []byte
	awake []byte // the data of the end of such a wait, up to the number of ns that it took
}

// noReason is that of a wait which began before the trace.
var noReason = &reason{}

// withReason gives what there is to know of a stack that ends in a wait for that reason.
func (b *builder) withReason(info *stackInfo, text string) *stackInfo {
	r := b.reasons[text]
	if r == nil {
		json := appendQuoted(nil, bounded(text))
		r = &reason{strings.Clone(text), json, fmt.Appendf(nil, `{"reason":%s,"wait_ns":`, json)}
		if len(b.reasons) < reasonsMax {
			b.reasons[r.text] = r
		}
	}
	if info.reason != nil || info == &noStack {
		copied := *info // the stack is one of waits for different things
		info = &copied
	}
	info.reason = r
	info.waiting = append(append([]byte(`{"state":"waiting","reason":`), r.json...), info.json...)
	info.waiting = append(info.waiting, '}')
	return info
}

// reasonsMax bounds what is kept of reasons: the runtime has some twenty.
const reasonsMax = 256

// runs handles a goroutine that gets a processor: for the first time, after a wait, or after it was preempted.
func (b *builder) runs(g *goroutine, now int64) bool {
	switch {
	case g.unborn:
		g.unborn = false
		b.data(`{"runnable_ns":`).number(now - max(g.since, g.woken))
		if g.spawned {
			b.text(`}`).emit(g, event.KindStart, now, g.first, nil, g.spawnAt)
		} else {
			b.text(`,"state":"running"}`).emit(g, event.KindState, now, g.first, nil, spot{}).Key = g.name
		}
		if g.waits {
			b.awakes(g, now)
		}
		return true
	case g.waits:
		b.awakes(g, now)
		return true
	}
	return false
}

// leftSyscall handles the end of a system call.
func (b *builder) leftSyscall(g *goroutine, now int64) {
	if !b.leave(g, frame{what: frameSyscall}, now) {
		b.stateEvent(g, "running", 0, now) // it began before the trace
	}
}
