package query

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Who gave up waiting knows whose clock ran out, not who was late. That is told by what the other streams were doing for the
// same work at that moment:
//
//  1. The moment is when the last long wait of the error's stream, in the call that it came up in, was over; else the event's time.
//  2. The rows of the correlation, as far as they lie near the event, are read in the order of ids, a few columns of each. For
//     each stream that keeps a stack of the calls open at the moment, the first row behind it, and its waits until then.
//  3. Messages sent up to the moment from calls that are still open at it, and not received up to it, lie around: for the latest
//     of them it is asked who took them after all, and how many messages were ahead of them.
//
// Ids do not follow time across streams: rows behind the event, too, can have happened before the moment.

// Meanwhile is what a piece of work was doing at a moment in other streams than the one that is asked about.
type Meanwhile struct {
	Of       *Row          // the event at whose moment: where an error came up
	At       int64         // the moment: when the wait before it was over, else its own time
	Age      time.Duration // of the work then
	Timer    *Row          // the event that had set the timer which ended that wait; nil: no timer did, as far as is known
	TimerIn  *Row          // the call in which it did; nil: unknown
	Streams  []Doing       // those with open calls, in the order in which they took part; what waits for Of last
	More     int           // further ones
	Messages []Untaken     // what was sent and not received, that of Of's stream first
	Cut      string        // what was not looked at
}

// Doing is what one stream was doing.
type Doing struct {
	Calls   []*Row        // open calls of the work, innermost first; the last can be the start of the stream
	For     time.Duration // since when the innermost one was open
	Above   bool          // its innermost call is on the way to Of: it waited for what Of's stream was doing
	Took    *Row          // the receive by which the stream took the work on; nil: it began with it
	Queued  time.Duration // how long that message had been on its way
	Waits   []Wait        // its long waits in the work until then, the longest first
	Next    *Row          // its next event; nil: none is recorded
	After   time.Duration // how much later that came
	Because *Cause        // what Next had waited for; nil: Next ended no wait
}

// Untaken is a message that nobody had received.
type Untaken struct {
	Row   *Row          // its send
	For   time.Duration // since when
	Taken *Row          // its receive after all; nil: none is known
	After time.Duration // how much later than the moment that came
	Ahead int           // messages sent to the same channel before it that nobody had received either; -1: unknown
}

const (
	meanwhileBefore   = 48 // most blocks of the correlation that are read up to the event
	meanwhileAfter    = 16 // and behind it
	meanwhileRowsMost = 200_000
	doingMost         = 4
	doingCallsMost    = 8
	doingWaitsMost    = 2
	doingWaitsShare   = 10 // a wait is long when it took a tenth of the work's time
	untakenMost       = 3
	untakenTried      = 8
	aheadBlocks       = 8 // blocks read to find how far a channel's receivers were
)

// gaveUpWords are in the texts of errors of those who gave up waiting.
var gaveUpWords = []string{"deadline", "timeout", "timed out", "time out", "canceled", "cancelled", "gave up"}

// gaveUp says whether the chain ends because somebody stopped waiting: an error that says so, the end of a channel, a timer's message.
func (c *Chain) gaveUp() bool {
	e := &c.Event().Event
	switch e.Kind {
	case event.KindError:
		text := strings.ToLower(c.Text())
		return slices.ContainsFunc(gaveUpWords, func(word string) bool { return strings.Contains(text, word) })
	case event.KindReceive:
		steps := c.Steps
		for _, w := range steps[len(steps)-1].Waits {
			if w.Row == c.Event() && w.For.Row != nil && (w.For.Edge.Kind == event.EdgeClose || w.For.Row.Timer()) {
				return true
			}
		}
	}
	return false
}

// Timer says whether an event is a timer's: those of a recorded Go program have streams of their own.
func (r *Row) Timer() bool {
	n, ok := strings.CutPrefix(r.Event.Stream, "timer")
	return ok && n != "" && strings.Trim(n, "0123456789") == ""
}

// addMeanwhile tells what the same work was doing, where that was asked or somebody gave up. The background is no piece of work.
func (w *whyScan) addMeanwhile() error {
	of := w.c.Origin()
	if !w.o.Meanwhile && (!w.c.gaveUp() || of.Event.Background) {
		return nil
	}
	m := &work{whyScan: w, of: of, ofKey: w.l.keyOf(of), at: of.Event.Time, doers: map[streamKey]*doer{}}
	if err := m.read(); err != nil {
		return err
	}
	return m.tell()
}

// glance is a row as a look at the work needs it.
type glance struct {
	id     event.ID
	time   int64
	stream streamKey
	key    wire.Name
	kind   event.Kind
	parent event.ID
	edge   event.EdgeKind // to the parent
	flags  wire.Flags
	causes []event.ID // further ones
}

// wait says whether a row ended a wait.
func (g *glance) wait() bool {
	return waitKinds>>g.kind&1 != 0 && (len(g.causes) > 0 || g.edge == event.EdgeMessage)
}

// work is the correlation of an event, around it.
type work struct {
	*whyScan
	of    *Row
	ofKey streamKey
	at    int64
	ended event.ID // the event that ended the wait; 0: it did not wait
	cut   string
	rows  []glance
	doers map[streamKey]*doer
	order []streamKey // by their first rows
}

// doer is a stream while the rows are gone through.
type doer struct {
	start event.ID           // of the stream
	open  []glance           // calls
	took  event.ID           // the receive that brought what is open
	sends []glance           // since the outermost of the calls that are open
	from  map[wire.Name]bool // the keys that it received from
	waits []foundWait
	last  *glance
	next  *glance
}

const glanceColumns = wire.ColTime | wire.ColKey | wire.ColStream | wire.ColSource | wire.ColKind | wire.ColFlags | wire.ColParent | wire.ColFurther

// read reads the rows of the correlation that lie near the event.
func (m *work) read() error {
	correlation := m.of.Event.Correlation
	infos := m.r.Blocks(wire.Prune{IDMin: correlation, Correlations: []event.ID{correlation}})
	at, _ := slices.BinarySearchFunc(infos, m.of.Event.ID, func(b wire.BlockInfo, id event.ID) int { return cmp.Compare(b.Base, id+1) })
	if at > meanwhileBefore {
		infos, at = infos[at-meanwhileBefore:], meanwhileBefore
		m.cut = "of this work only what happened from event " + infos[0].Base.String() + " on is looked at"
	}
	infos = infos[:min(len(infos), at+meanwhileAfter)]
	var c wire.Columns
	var rows []uint16
	for _, info := range infos {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		var err error
		if rows, err = m.r.Find(info.Base, wire.ColCorrelation, []uint64{uint64(correlation)}, rows[:0]); err == nil {
			err = m.r.ReadRows(info.Base, rows, glanceColumns, &c)
		}
		if IsDamage(err) && m.l.damaged.skip(blockError(info.Base, info.Rows, err)) {
			continue
		}
		if err != nil {
			return err
		}
		for i, row := range rows {
			g := glance{
				id: info.Base + event.ID(row), time: c.Time[i], stream: streamKey{c.Source[i], c.Stream[i]}, key: c.Key[i], kind: c.Kind[i],
				parent: c.Parent[i], edge: c.ParentKind[i], flags: c.Flags[i],
			}
			for _, e := range c.FurtherOf(i) {
				if e.Cause != 0 {
					g.causes = append(g.causes, e.Cause)
				}
			}
			m.rows = append(m.rows, g)
		}
		if len(m.rows) > meanwhileRowsMost {
			m.cut = "this work is looked at up to event " + m.rows[len(m.rows)-1].id.String() + " only"
			break
		}
	}
	return nil
}

// moment finds when the wait was over that the event came of: the last one in its stream, within what it happened on behalf of, that
// took longer than what was done since. A callee may have waited, and its error come up to here.
func (m *work) moment() {
	var end *glance // of the wait that is being measured
	over := false
	for i := len(m.rows) - 1; i >= 0; i-- {
		g := &m.rows[i]
		if g.stream != m.ofKey || g.id > m.of.Event.ID {
			continue
		}
		if end != nil && end.time-g.time >= m.of.Event.Time-end.time {
			m.at, m.ended = end.time, end.id
			return
		}
		if over {
			return
		}
		if end = nil; g.wait() {
			end = g
		}
		over = g.id == m.of.Event.Parent
	}
}

// tell goes through the rows and makes the answer of them.
func (m *work) tell() error {
	m.moment()
	received := map[event.ID]*glance{}
	for i := range m.rows {
		g := &m.rows[i]
		if g.kind == event.KindReceive {
			for _, cause := range append(g.causes, g.parent) {
				if received[cause] == nil {
					received[cause] = g
				}
			}
		}
		d := m.doers[g.stream]
		if d == nil {
			d = &doer{}
			m.doers[g.stream] = d
			m.order = append(m.order, g.stream)
		}
		if g.time > m.at {
			if d.next == nil {
				d.next = g
			}
			continue
		}
		if d.next == nil { // else clocks disagree with the order of the stream: its order holds
			d.see(g)
		}
	}
	a := &Meanwhile{Of: m.of, At: m.at, Cut: m.cut}
	if founder := m.of.Event.Correlation; founder >= m.l.first {
		row, err := m.l.row(founder)
		if err != nil && !m.l.damaged.skip(err) {
			return err
		}
		if err == nil {
			a.Age = max(0, time.Duration(m.at-row.Event.Time))
		}
	}
	if err := m.timer(a); err != nil {
		return err
	}
	if err := m.streams(a); err != nil {
		return err
	}
	if err := m.messages(a, received); err != nil {
		return err
	}
	m.c.Meanwhile = a
	return nil
}

// timerWay is how many parents up from what ended a wait a timer is looked for: it starts a goroutine that closes a channel.
const timerWay = 8

// timer finds who had set the timer that ended the wait.
func (m *work) timer(a *Meanwhile) error {
	if m.ended == 0 {
		return nil
	}
	row, err := m.rowOf(m.ended)
	if err != nil || row == nil {
		return err
	}
	cause, err := m.because(row)
	if err != nil || cause == nil {
		return err
	}
	row = cause.Row
	for fired, n := false, 0; row != nil && n < timerWay; n++ {
		if a.Timer != nil {
			if row.Event.Kind == event.KindCall {
				a.TimerIn = row
				return nil
			}
		} else if row.Timer() {
			fired = true
		} else if fired {
			a.Timer = row
		}
		edge, late := parentEdge(row)
		if cause, err := m.l.cause(edge, row, late); err != nil {
			return err
		} else {
			row = cause.Row
		}
	}
	return nil
}

// see takes in a row that had happened.
func (d *doer) see(g *glance) {
	if g.wait() && d.last != nil {
		d.waits = append(d.waits, foundWait{g.id, time.Duration(g.time - d.last.time)})
	}
	d.last = g
	switch g.kind {
	case event.KindStart:
		d.start = g.id
	case event.KindCall:
		d.open = append(d.open, *g)
	case event.KindReturn:
		// What was called by it and has no return is over, too.
		if i := slices.IndexFunc(d.open, func(c glance) bool { return c.id == g.parent }); i >= 0 {
			d.open = d.open[:i]
			if i == 0 {
				d.sends = d.sends[:0]
			}
		}
	case event.KindReceive:
		if len(d.open) == 0 && g.edge == event.EdgeMessage {
			d.took = g.id
		}
		if d.from == nil {
			d.from = map[wire.Name]bool{}
		}
		d.from[g.key] = true
	case event.KindSend:
		// What goes back to where it came from is no work: a connection, a token.
		if g.flags&wire.FlagEmpty == 0 && !d.from[g.key] {
			d.sends = append(d.sends, *g)
		}
	case event.KindExit:
		*d = doer{last: g}
	default:
	}
}

// streams tells of the streams with open calls. Where there are none, streams that were started for the work and are not over are told.
func (m *work) streams(a *Meanwhile) error {
	var doing []streamKey
	for _, key := range m.order {
		if d := m.doers[key]; key != m.ofKey && len(d.open) > 0 {
			doing = append(doing, key)
		}
	}
	if len(doing) == 0 {
		for _, key := range m.order {
			if d := m.doers[key]; key != m.ofKey && d.start != 0 && d.last.id != d.start {
				doing = append(doing, key)
			}
		}
	}
	onWay := map[event.ID]bool{}
	for i := range m.c.Steps {
		onWay[m.c.Steps[i].Row.Event.ID] = true
	}
	above := func(key streamKey) int {
		if open := m.doers[key].open; len(open) > 0 && onWay[open[len(open)-1].id] {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(doing, func(x, y streamKey) int { return cmp.Compare(above(x), above(y)) })
	if n := len(doing) - doingMost; n > 0 {
		a.More, doing = n, doing[:doingMost]
	}
	for _, key := range doing {
		d, err := m.doing(m.doers[key], a)
		if err != nil {
			return err
		}
		if d != nil {
			d.Above = above(key) == 1
			a.Streams = append(a.Streams, *d)
		}
	}
	return nil
}

// rowOf reads a row; nil when it is damaged.
func (m *work) rowOf(id event.ID) (*Row, error) {
	row, err := m.l.row(id)
	if m.l.damaged.skip(err) {
		return nil, nil
	}
	return row, err
}

// doing tells of one stream.
func (m *work) doing(of *doer, a *Meanwhile) (*Doing, error) {
	var ids []event.ID
	for _, c := range slices.Backward(of.open) {
		ids = append(ids, c.id)
	}
	if of.start != 0 && len(ids) == 0 {
		ids = append(ids, of.start)
	}
	d := &Doing{}
	for _, id := range ids[:min(len(ids), doingCallsMost)] {
		row, err := m.rowOf(id)
		if err != nil {
			return nil, err
		}
		if row != nil {
			d.Calls = append(d.Calls, row)
		}
	}
	if len(d.Calls) == 0 {
		return nil, nil
	}
	d.For = time.Duration(m.at - d.Calls[0].Event.Time)
	if of.took != 0 {
		row, err := m.rowOf(of.took)
		if err != nil {
			return nil, err
		}
		if row != nil {
			edge, late := parentEdge(row)
			cause, err := m.l.cause(edge, row, late)
			if err != nil {
				return nil, err
			}
			d.Took, d.Queued = row, cause.Before
		}
	}
	if of.next != nil {
		row, err := m.rowOf(of.next.id)
		if err != nil {
			return nil, err
		}
		if row != nil {
			d.Next, d.After = row, time.Duration(of.next.time-m.at)
			if of.next.wait() {
				if d.Because, err = m.because(row); err != nil {
					return nil, err
				}
			}
		}
	}
	return d, m.longWaits(of, d, a.Age)
}

// because gives what a row had waited for: its message if it took one on, else its first further cause.
func (m *work) because(row *Row) (*Cause, error) {
	edge, late := parentEdge(row)
	if edge.Kind != event.EdgeMessage {
		edges, firstLate := further(row)
		if len(edges) == 0 {
			return nil, nil
		}
		edge, late = edges[0], firstLate == 0
	}
	cause, err := m.l.cause(edge, row, late)
	if err != nil {
		return nil, err
	}
	return &cause, nil
}

// longWaits tells where the time of a stream had gone.
func (m *work) longWaits(of *doer, d *Doing, age time.Duration) error {
	slices.SortStableFunc(of.waits, func(x, y foundWait) int { return cmp.Compare(y.waited, x.waited) })
	for _, f := range of.waits[:min(len(of.waits), 4*doingWaitsMost)] {
		if len(d.Waits) == doingWaitsMost || f.waited < max(age/doingWaitsShare, 1) {
			return nil
		}
		row, err := m.rowOf(f.id)
		if err != nil {
			return err
		}
		if row == nil {
			continue
		}
		cause, err := m.because(row)
		if err != nil {
			return err
		}
		if cause != nil && cause.heldUp(row, f.waited) {
			d.Waits = append(d.Waits, Wait{row, *cause, f.waited})
		}
	}
	return nil
}

// messages tells of what nobody had received.
func (m *work) messages(a *Meanwhile, received map[event.ID]*glance) error {
	var sends []glance
	for _, key := range slices.Concat([]streamKey{m.ofKey}, m.order) {
		d := m.doers[key]
		if d == nil || key == m.ofKey && len(sends) > 0 || len(d.open) == 0 && d.start == 0 {
			continue
		}
		for _, s := range slices.Backward(d.sends) {
			if r := received[s.id]; r == nil || r.time > m.at {
				sends = append(sends, s)
			}
		}
	}
	tried := map[event.ID]bool{}
	for _, s := range sends {
		if tried[s.id] || len(tried) == untakenTried || len(a.Messages) == untakenMost {
			continue
		}
		tried[s.id] = true
		send, err := m.rowOf(s.id)
		if err != nil {
			return err
		}
		if send == nil {
			continue
		}
		u := Untaken{Row: send, For: time.Duration(m.at - s.time), Ahead: -1}
		if u.Taken, err = m.receiver(send); err != nil {
			return err
		}
		if u.Taken != nil {
			if u.After = time.Duration(u.Taken.Event.Time - m.at); u.After <= 0 {
				continue // other work had taken it
			}
		}
		if u.Ahead, err = m.ahead(send); err != nil {
			return err
		}
		a.Messages = append(a.Messages, u)
	}
	return nil
}

// receiver gives the receive of a message.
func (m *work) receiver(send *Row) (*Row, error) {
	effects, err := effectsOf(m.ctx, m.l, []*Node{{Row: send}})
	if err != nil {
		return nil, err
	}
	for _, e := range effects {
		row, err := m.rowOf(e.id)
		if err != nil {
			return nil, err
		}
		if row != nil && row.Event.Kind == event.KindReceive && edgeOf(row, e).Kind == event.EdgeMessage {
			return row, nil
		}
	}
	return nil, nil
}

// ahead gives how many messages, sent to the same channel before this one, nobody had received at the moment; -1 where that is
// not known. Receives have ordinals as sends have, so it is enough to find the last one before the moment.
func (m *work) ahead(send *Row) (int, error) {
	key, known := m.l.table.FindName(send.Event.Key)
	if !known || send.Event.Key == "" || send.Event.Ordinal == 0 {
		return -1, nil
	}
	infos := m.r.Blocks(wire.Prune{
		Keys: []wire.Name{key}, Kinds: 1 << event.KindReceive, IDMax: m.of.Event.ID + wire.BlockRowsMax,
	})
	reverse(infos)
	whole := len(infos) <= aheadBlocks
	found, foundIn := uint64(0), -1
	var c wire.Columns
	for n, info := range infos[:min(len(infos), aheadBlocks)] {
		if foundIn >= 0 && n > foundIn+1 { // one more: blocks overlap in time
			break
		}
		if err := m.ctx.Err(); err != nil {
			return -1, err
		}
		err := m.r.Read(info.Base, wire.ColKind|wire.ColKey|wire.ColSource|wire.ColOrdinal|wire.ColTime|wire.ColFlags, &c)
		if IsDamage(err) && m.l.damaged.skip(blockError(info.Base, info.Rows, err)) {
			return -1, nil
		}
		if err != nil {
			return -1, err
		}
		for i := range c.Len {
			if c.Kind[i] == event.KindReceive && c.Key[i] == key && c.Source[i] == send.Source && c.Time[i] <= m.at && c.Flags[i]&wire.FlagClosed == 0 {
				found = max(found, c.Ordinal[i])
				if foundIn < 0 {
					foundIn = n
				}
			}
		}
	}
	if foundIn < 0 && !whole || found >= send.Event.Ordinal {
		return -1, nil
	}
	return int(send.Event.Ordinal - 1 - found), nil // #nosec G115 -- a count of messages
}
