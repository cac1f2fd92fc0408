package gotrace

import (
	"golang.org/x/exp/trace"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Why a goroutine waits, in the words of the runtime.
const (
	reasonReceive = "chan receive"
	reasonSelect  = "select"
	reasonNetwork = "network"
	reasonSleep   = "sleep"
)

// howWoken decides what a waking is, by what the goroutine waited for and what its waker was doing.
//
// A goroutine that waits in a receive is woken by a send that hands it its value, or by a close. In a select it may
// as well be sending itself: only where its waker's stack ends in a receive is that sure. close leaves no frame
// of its own in the stack, so a stack that ends outside the runtime is one of close. The network poller and timers run in
// whatever goroutine comes along: that one is no cause, except where it closes the connection or sets its deadline.
func howWoken(g *goroutine, waker operation) waking {
	receives := g.reason.text == reasonReceive
	selects := g.reason.text == reasonSelect
	if g.reason == noReason { // it waited before the trace began: its stack may tell, else a sender does
		receives = g.waitOp == opReceive || g.waitOp == opUnknown && waker == opSend
		selects = g.waitOp == opSelect
	}
	switch {
	case receives || selects:
		switch waker {
		case opSend, opSelect, opUnknown:
			return wokenByMessage
		case opOther:
			return wokenByClose
		}
	case g.reason.text == reasonSleep:
		return wokenByNobody
	case g.reason.text == reasonNetwork && waker != opPoll:
		return wokenByNobody
	}
	return wokenPlainly
}

// unblocked handles the end of a wait: an event of the waker, and what the woken one will tell when it runs.
func (b *builder) unblocked(g *goroutine, e *trace.Event, now int64) {
	g.woken, g.how = now, wokenByNobody
	by := b.current(e)
	if by == nil || by == g {
		return
	}
	if stack := e.Stack(); by.wakeStack != stack || by.wakeInfo == nil {
		by.wakeStack, by.wakeInfo = stack, b.stackOf(stack)
	}
	info := by.wakeInfo
	g.how, g.waker = howWoken(g, info.op), by.name
	switch g.how {
	case wokenByNobody:
		return
	case wokenByMessage:
		b.messages++
		b.stats.Messages++
		g.wakingID = b.messages
		b.more = wire.Extension{Message: b.labelled('m', g.wakingID)}
		b.emit(by, event.KindSend, now, info.site, &b.more, spot{}).Peer = g.name
	case wokenByClose:
		b.stats.Wakes++
		if by.closeID == 0 || by.closeSeq != by.seq || by.closeStack != e.Stack() {
			b.closes++
			by.closeID, by.closeStack = b.closes, e.Stack()
			b.emit(by, event.KindClose, now, info.site, nil, spot{}).Key = b.closedKey(by.closeID)
			by.closeSeq = by.seq
		}
		g.wakingID = by.closeID
	case wokenPlainly:
		b.stats.Wakes++
		b.wakings++
		g.wakingID = b.wakings
		b.more = wire.Extension{Ref: b.labelled('w', g.wakingID)}
		b.data(`{"state":"runnable"}`)
		r := b.emit(by, event.KindState, now, info.site, &b.more, spot{})
		r.Key, r.Peer = g.name, g.name
	}
	g.wakerAt = by.at
}

func (b *builder) closedKey(id uint64) wire.Name { return wire.MakeName(b.textClosed, id+1) }

// awakes tells of the wait that is over, now that the goroutine runs again.
func (b *builder) awakes(g *goroutine, now int64) {
	g.waits = false
	b.data(`{`)
	sep := ""
	if g.reason != noReason {
		b.text(`"reason":`).bytes(g.reason.json)
		sep = ","
	}
	if g.since != noTime && g.woken != noTime {
		b.text(sep).text(`"wait_ns":`).number(g.woken - g.since)
		sep = ","
	}
	if g.woken != noTime {
		b.text(sep).text(`"runnable_ns":`).number(now - g.woken)
	}
	b.text(`}`)
	switch g.how {
	case wokenByNobody:
		b.emit(g, event.KindWake, now, g.wait, nil, spot{})
	case wokenPlainly:
		b.emit(g, event.KindWake, now, g.wait, b.because(b.labelled('w', g.wakingID)), g.wakerAt).Peer = g.waker
	case wokenByMessage:
		b.more = wire.Extension{Message: b.labelled('m', g.wakingID)}
		r := b.emit(g, event.KindReceive, now, g.wait, &b.more, g.wakerAt)
		r.Peer, r.Flags = g.waker, wire.FlagInferred
	case wokenByClose:
		r := b.emit(g, event.KindReceive, now, g.wait, nil, g.wakerAt)
		r.Peer, r.Flags = g.waker, wire.FlagInferred|wire.FlagClosed
		r.Key = b.closedKey(g.wakingID)
	}
}
