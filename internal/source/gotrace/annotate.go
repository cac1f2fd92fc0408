package gotrace

import (
	"slices"
	"strconv"

	"golang.org/x/exp/trace"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// frame is an open call of a goroutine.
type frame struct {
	what frameKind
	site wire.Site
	id   uint64       // a region's number; a task's id
	task trace.TaskID // of a region or a task
	name string       // of a region or a range
}

type frameKind uint8

const (
	frameSyscall frameKind = iota
	frameRange             // of the runtime: stopping the world, assisting the garbage collector
	frameRegion
	frameTask
)

// task is one that has begun and not ended.
type task struct {
	in    *goroutine // where its call is open; nil if nowhere any more
	begun int64
	at    spot
	site  wire.Site
}

// isTask says whether id is that of a task that somebody began.
func isTask(id trace.TaskID) bool { return id != trace.NoTask && id != trace.BackgroundTask }

// taskOf gives the task that the goroutine works for, by the calls that are open in it.
func (g *goroutine) taskOf() trace.TaskID {
	for i := len(g.frames) - 1; i >= 0; i-- {
		if f := &g.frames[i]; f.what == frameRegion || f.what == frameTask {
			return f.task
		}
	}
	return trace.BackgroundTask
}

// matches says whether f is the frame that what ends.
func (f *frame) matches(what *frame) bool {
	switch what.what {
	case frameTask:
		return f.what == frameTask && f.id == what.id
	case frameRegion:
		return f.what == frameRegion && f.task == what.task && f.name == what.name
	case frameRange:
		return f.what == frameRange && f.name == what.name
	}
	return f.what == what.what
}

// leave ends the innermost open call that matches, and says whether there is one. What is open inside ends with it.
func (b *builder) leave(g *goroutine, what frame, now int64) bool {
	i := len(g.frames) - 1
	for i >= 0 && !g.frames[i].matches(&what) {
		i--
	}
	if i < 0 {
		return false
	}
	f := g.frames[i]
	if i == len(g.frames)-1 {
		b.emit(g, event.KindReturn, now, f.site, nil, spot{})
	} else if ref := b.ref(&f); ref != nil {
		b.emit(g, event.KindReturn, now, f.site, b.because(ref), spot{})
	} else { // it has no name that a return could refer to: the inner ones return first
		for j := len(g.frames) - 1; j >= i; j-- {
			b.emit(g, event.KindReturn, now, g.frames[j].site, nil, spot{})
		}
	}
	b.forget(g.frames[i:])
	g.frames = slices.Delete(g.frames, i, len(g.frames))
	return true
}

// forget notes that calls of tasks are not open any more, without their task having ended.
func (b *builder) forget(frames []frame) {
	for i := range frames {
		if f := &frames[i]; f.what == frameTask {
			if t := b.tasks[f.task]; t != nil {
				t.in = nil
			}
		}
	}
}

// ref gives the name of a call that has one.
func (b *builder) ref(f *frame) []byte {
	switch f.what {
	case frameRegion:
		return b.labelled('r', f.id)
	case frameTask:
		return b.taskRef(f.task)
	}
	return nil
}

func (b *builder) taskRef(id trace.TaskID) []byte {
	b.label = strconv.AppendUint(append(b.label[:0], "task"...), uint64(id), 10)
	return b.label
}

// because gives the fields of an event with an explicit cause.
func (b *builder) because(ref []byte) *wire.Extension {
	b.causes[0] = ref
	b.more = wire.Extension{Causes: b.causes[:]}
	return &b.more
}

// ofTask gives the cause of an event that belongs to a task which its goroutine does not work for, and where it lies.
func (b *builder) ofTask(g *goroutine, id trace.TaskID) (*wire.Extension, spot) {
	if !isTask(id) || g.taskOf() == id {
		return nil, spot{}
	}
	at := spot{}
	if t := b.tasks[id]; t != nil {
		at = t.at
	}
	return b.because(b.taskRef(id)), at
}

// taskBegin founds a piece of work. It is the call of whatever the task is, and open until the task ends or
// its goroutine goes on to something else: to a task that is no part of this one.
func (b *builder) taskBegin(e *trace.Event, now int64) bool {
	g := b.current(e)
	if g == nil {
		return false
	}
	t := e.Task()
	if !isTask(t.Parent) {
		for len(g.frames) > 0 && g.frames[len(g.frames)-1].what == frameTask {
			last := &g.frames[len(g.frames)-1]
			b.forget(g.frames[len(g.frames)-1:])
			b.data(`{"detached":true}`).emit(g, event.KindReturn, now, last.site, nil, spot{})
			g.frames = g.frames[:len(g.frames)-1]
		}
	}
	site := b.named(t.Type, e.Stack())
	more, at := b.ofTask(g, t.Parent)
	if more == nil {
		b.more = wire.Extension{}
		more = &b.more
	}
	// The cause, if any, lies in b.label; the name must be elsewhere.
	more.Ref = strconv.AppendUint([]byte("task"), uint64(t.ID), 10)
	b.emit(g, event.KindCall, now, site, more, at).Flags = wire.FlagRoot
	g.frames = append(g.frames, frame{what: frameTask, site: site, id: uint64(t.ID), task: t.ID})
	b.tasks[t.ID] = &task{in: g, begun: now, at: g.at, site: site}
	return true
}

// taskEnd is the return of the task's call, in the goroutine where that is open, and a change of state in the one that
// ends it, if that is another one.
func (b *builder) taskEnd(e *trace.Event, now int64) bool {
	t := b.taskEnds[0]
	b.taskEnds = b.taskEnds[1:]
	g := b.current(e)
	if g == nil {
		return false
	}
	open := b.tasks[t.ID]
	delete(b.tasks, t.ID)
	if open == nil || open.in != g {
		at := spot{}
		b.data(`{"state":"ended"`)
		if open != nil {
			at = open.at
			b.text(`,"duration_ns":`).number(now - open.begun)
		}
		b.text(`}`)
		key, err := b.table.NameBytes(b.taskRef(t.ID))
		b.fail(err)
		site := b.named(t.Type, e.Stack())
		b.emit(g, event.KindState, now, site, b.because(b.taskRef(t.ID)), at).Key = key
	}
	if open != nil && open.in != nil {
		b.leave(open.in, frame{what: frameTask, id: uint64(t.ID)}, now)
	}
	return true
}

func (b *builder) regionBegin(e *trace.Event, now int64) bool {
	g := b.current(e)
	if g == nil {
		return false
	}
	r := e.Region()
	b.regions++
	site := b.named(r.Type, e.Stack())
	more, at := b.ofTask(g, r.Task)
	if more == nil {
		b.more = wire.Extension{}
		more = &b.more
	}
	more.Ref = strconv.AppendUint([]byte("r"), b.regions, 10)
	b.emit(g, event.KindCall, now, site, more, at)
	g.frames = append(g.frames, frame{what: frameRegion, site: site, id: b.regions, task: r.Task, name: r.Type})
	return true
}

func (b *builder) regionEnd(e *trace.Event, now int64) bool {
	g := b.current(e)
	if g == nil {
		return false
	}
	r := e.Region()
	if !b.leave(g, frame{what: frameRegion, task: r.Task, name: r.Type}, now) {
		// It began before the trace. A cause that is missing keeps it from ending a call that is open.
		site := b.named(r.Type, e.Stack())
		b.emit(g, event.KindReturn, now, site, b.because([]byte("region before the trace")), spot{})
	}
	return true
}

// span handles what the runtime does in a goroutine: stopping the world, assisting the garbage collector.
func (b *builder) span(e *trace.Event, now int64) bool {
	r := e.Range()
	if r.Scope.Kind != trace.ResourceGoroutine || r.Scope.Goroutine() == trace.NoGoroutine {
		return false
	}
	g := b.of(r.Scope.Goroutine())
	if e.Kind() == trace.EventRangeEnd {
		return b.leave(g, frame{what: frameRange, name: r.Name}, now)
	}
	site := b.named(r.Name, e.Stack())
	g.frames = append(g.frames, frame{what: frameRange, site: site, name: r.Name})
	b.emit(g, event.KindCall, now, site, nil, spot{})
	return true
}

func (b *builder) log(e *trace.Event, now int64) bool {
	g := b.current(e)
	if g == nil {
		return false
	}
	l := e.Log()
	b.data(`{`)
	if l.Category != "" {
		b.text(`"category":`).quote(l.Category).text(`,`)
	}
	b.text(`"message":`).quote(l.Message).text(`}`)
	more, at := b.ofTask(g, l.Task)
	b.emit(g, event.KindLog, now, b.stackOf(e.Stack()).site, more, at)
	return true
}
