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
		ext := len(b.to.arena)
		b.to.arena = wire.AppendMessage(b.to.arena, g.labelled('m'))
		b.put(by, event.KindSend, now, info.site, ext, ext, spot{}).Peer = g.name
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
		from := len(b.to.arena)
		b.text(`{"state":"runnable"}`)
		ext := len(b.to.arena)
		b.to.arena = wire.AppendRef(b.to.arena, g.labelled('w'))
		r := b.put(by, event.KindState, now, info.site, from, ext, spot{})
		r.Key, r.Peer = g.name, g.name
	}
	g.wakerAt = by.at
}

// labelBytesMax has room for a letter and any number.
const labelBytesMax = 24

// labelled names the message or the event that wakes g: a letter and its number. Both ends of the edge are named so.
func (g *goroutine) labelled(letter byte) []byte {
	label := appendNumber(append(g.label[:0], letter), int64(g.wakingID)) // #nosec G115 -- a count
	g.labelLen = len(label)
	return label
}

func (b *builder) closedKey(id uint64) wire.Name { return wire.MakeName(b.textClosed, id+1) }

// awakes tells of the wait that is over, now that the goroutine runs again.
func (b *builder) awakes(g *goroutine, now int64) {
	g.waits = false
	text := b.to.arena
	from := len(text)
	if g.reason != noReason && g.since != noTime && g.woken != noTime { // nearly all of them
		text = appendNumber(append(text, g.reason.awake...), g.woken-g.since)
		text = append(text, `,"runnable_ns":`...)
		text = append(appendNumber(text, now-g.woken), '}')
	} else {
		text = g.appendAwake(text, now)
	}
	ext := len(text)
	cause := g.wakerAt
	switch g.how {
	case wokenByNobody:
		cause = spot{}
	case wokenPlainly:
		text = wire.AppendCause(text, g.label[:g.labelLen])
	case wokenByMessage:
		text = wire.AppendMessage(text, g.label[:g.labelLen])
	}
	b.to.arena = text
	switch g.how {
	case wokenByNobody:
		b.put(g, event.KindWake, now, g.wait, from, ext, cause)
	case wokenPlainly:
		b.put(g, event.KindWake, now, g.wait, from, ext, cause).Peer = g.waker
	case wokenByMessage:
		r := b.put(g, event.KindReceive, now, g.wait, from, ext, cause)
		r.Peer, r.Flags = g.waker, wire.FlagInferred
	case wokenByClose:
		r := b.put(g, event.KindReceive, now, g.wait, from, ext, cause)
		r.Peer, r.Flags = g.waker, wire.FlagInferred|wire.FlagClosed
		r.Key = b.closedKey(g.wakingID)
	}
}

// appendAwake appends the data of the end of a wait of which not everything is known.
func (g *goroutine) appendAwake(text []byte, now int64) []byte {
	text = append(text, '{')
	if g.reason != noReason {
		text = append(append(text, `"reason":`...), g.reason.json...)
		text = append(text, ',')
	}
	if g.since != noTime && g.woken != noTime {
		text = append(appendNumber(append(text, `"wait_ns":`...), g.woken-g.since), ',')
	}
	if g.woken != noTime {
		text = append(appendNumber(append(text, `"runnable_ns":`...), now-g.woken), ',')
	}
	if last := len(text) - 1; text[last] == ',' {
		text = text[:last]
	}
	return append(text, '}')
}
