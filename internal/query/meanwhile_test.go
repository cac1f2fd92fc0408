package query_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/query/memory"
	"github.com/pastcone/pastcone/internal/wire"
)

// late is the story of testdata/late.ndjson, judged by the oracle: a request whose worker waits for a lock until its time is up, two that no
// worker takes, and an error that goes on to the request through a message.
func late(t testing.TB) *memory.Reader {
	t.Helper()
	r, _ := judged(t, "testdata/late.ndjson", 16)
	return r
}

// theOne gives the event that a query has as its only answer.
func theOne(t testing.TB, r query.Reader, question string) event.ID {
	t.Helper()
	id, err := query.Resolve(ctx, r, question, query.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestWhySaysWhoWasLateWhenSomebodyGaveUpWaiting(t *testing.T) {
	r := late(t)
	for _, asked := range []string{`{ kind = error && stream = "g21" }`, `{ closed && func =~ "Checkout" && stream = "g21" }`} {
		m := why(t, r, theOne(t, r, asked), query.WhyOptions{}).Meanwhile
		if m == nil || len(m.Streams) != 1 || len(m.Messages) != 0 || m.Cut != "" || m.More != 0 {
			t.Fatalf("%s: one other stream was busy: %+v", asked, m)
		}
		if m.Age != 50006*time.Microsecond || m.At%int64(time.Second) != 51006*1000 {
			t.Errorf("%s: the moment is when the wait was over, 50.006 ms after the request: %s, %d", asked, m.Age, m.At)
		}
		if m.Timer == nil || m.Timer.Event.Func != "context.WithDeadlineCause" || m.TimerIn == nil || m.TimerIn.Event.Stream != "g21" {
			t.Errorf("%s: the request itself had set the timer: %v in %v", asked, m.Timer, m.TimerIn)
		}
		d := &m.Streams[0]
		var calls []string
		for _, c := range d.Calls {
			calls = append(calls, c.Event.Func)
		}
		if got := strings.Join(calls, " "); got != "example.com/shop/shop.(*Stock).Reserve example.com/shop/shop.(*Worker).handle" {
			t.Errorf("the calls, innermost first, without those that were open before: %s", got)
		}
		if len(d.Waits) != 1 || d.Waits[0].Row.Event.Key != "conns" || d.Waits[0].Waited != 16994*time.Microsecond || d.Waits[0].For.Row.Event.Stream != "g9" {
			t.Errorf("before that it had waited for a connection: %+v", d.Waits)
		}
		if d.For != 30996*time.Microsecond || d.Took == nil || d.Queued != 1994*time.Microsecond || d.Above {
			t.Errorf("since when, and when it took the work on: %+v", d)
		}
		if d.Next == nil || d.Next.Event.Kind != event.KindAcquire || d.After != 9002*time.Microsecond {
			t.Errorf("it waited for a lock for 9 ms more: %+v", d.Next)
		}
		if d.Because == nil || d.Because.Edge.Kind != event.EdgeLock || d.Because.Row.Event.Stream != "g2" {
			t.Errorf("which g2 held: %+v", d.Because)
		}
	}
}

func TestWhySaysThatNobodyHadTakenTheMessage(t *testing.T) {
	r := late(t)
	m := why(t, r, theOne(t, r, `{ kind = error && stream = "g23" }`), query.WhyOptions{}).Meanwhile
	if m == nil || len(m.Streams) != 0 || len(m.Messages) != 1 {
		t.Fatalf("nobody did anything: %+v", m)
	}
	u := &m.Messages[0]
	if u.Row.Event.Key != "jobs" || u.Row.Event.Ordinal != 4 || u.For != 50*time.Millisecond || u.Ahead != 1 {
		t.Errorf("job 4, behind job 3: %+v", u)
	}
	if u.Taken == nil || u.Taken.Event.Stream != "g3" || u.After != 6494*time.Microsecond {
		t.Errorf("g3 took it after all: %+v", u)
	}
}

func TestWhyOfASlowRequestSaysWhatItWaitedFor(t *testing.T) {
	r := late(t)
	c := why(t, r, theOne(t, r, `{ kind = return && stream = "g20" && func =~ "Checkout" }`), query.WhyOptions{})
	waits := c.Steps[len(c.Steps)-1].Waits
	if len(c.Steps) != 2 || len(waits) != 1 || waits[0].Waited != 59901*time.Microsecond || waits[0].Row.Event.Key != "reply-20" || waits[0].For.Row.Event.Stream != "g2" {
		t.Errorf("between its call and its return it waited for the reply: %s", outline(c))
	}
}

func TestWhyNamesThePlaceWhereAnErrorCameUp(t *testing.T) {
	r := late(t)
	first := theOne(t, r, `{ kind = error && func =~ "handle" }`)
	for _, c := range []struct{ asked, text string }{
		{`{ data.passed = true }`, "order 7: card declined"},             // by a caller in the same stream
		{`{ kind = error && stream = "g20" }`, "order 7: card declined"}, // in a message
	} {
		chain := why(t, r, theOne(t, r, c.asked), query.WhyOptions{})
		if chain.First == nil || chain.First.Event.ID != first || chain.Origin() != chain.First || chain.Text() != c.text {
			t.Errorf("%s came up in handle: %v, %q", c.asked, chain.First, chain.Text())
		}
		if len(chain.Errors) != 1 || chain.Errors[0].Text() != "card declined" || !chain.Wraps(chain.Errors[0]) {
			t.Errorf("%s has the error of the payment within: %v", c.asked, chain.Errors)
		}
		if chain.Meanwhile != nil {
			t.Errorf("%s: nobody gave up waiting: %+v", c.asked, chain.Meanwhile)
		}
	}
	chain := why(t, r, first, query.WhyOptions{})
	if chain.First != nil || chain.Origin() != chain.Event() || len(chain.Errors) != 1 || !chain.Wraps(chain.Errors[0]) {
		t.Errorf("where it came up: %v, %v", chain.First, chain.Errors)
	}
}

// raised makes an error event.
func raised(stream string, id event.ID, data string, causes ...event.Edge) event.Event {
	return event.Event{Stream: stream, Kind: event.KindError, Data: []byte(data), Correlation: id, Causes: causes}
}

func TestErrorsThatAreToldApart(t *testing.T) {
	r := told(t, 1,
		event.Event{Stream: "g1", Kind: event.KindCall},
		raised("g1", 1, `{"error":"busy","identity":"s"}`, by(event.EdgeContext, 1)...),                       // the first try
		raised("g1", 1, `{"error":"busy","identity":"s"}`, by(event.EdgeContext, 1)...),                       // the second: the same variable
		raised("g9", 1, `{"error":"busy","identity":"s"}`),                                                    // elsewhere, nothing to do with it
		raised("g1", 1, `{"passed":true,"identity":"gone"}`, by(event.EdgeContext, 1)...),                     // where it came up is not recorded
		raised("g1", 1, `{"error":"gave up: busy","wraps":true,"identity":"w"}`, by(event.EdgeContext, 1)...), //
		event.Event{Stream: "g1", Kind: event.KindReturn, Causes: by(event.EdgeReturn, 1)},
	)
	ids := func(c *query.Chain) (ids []event.ID) {
		for _, e := range c.Errors {
			ids = append(ids, e.Event.ID)
		}
		return ids
	}
	if c := why(t, r, 6, query.WhyOptions{}); c.First != nil || !slices.Equal(ids(c), []event.ID{5, 3, 2}) || c.Wraps(c.Errors[0]) || !c.Wraps(c.Errors[1]) {
		t.Errorf("both tries are told: %v", ids(c))
	}
	if c := why(t, r, 7, query.WhyOptions{}); !slices.Equal(ids(c), []event.ID{6, 5, 3}) {
		t.Errorf("of a return: %v", ids(c))
	}
	if c := why(t, r, 4, query.WhyOptions{}); c.First != nil || len(c.Errors) != 0 {
		t.Errorf("what is concurrent is no first place: %v %v", c.First, ids(c))
	}
}

// deadline is an error of one who gave up.
func deadline(stream string, parent event.ID) event.Event {
	return raised(stream, 0, `{"error":"context deadline exceeded"}`, by(event.EdgeContext, parent)...)
}

func TestMeanwhileTellsOnlyWhatIsOfTheWork(t *testing.T) {
	call := func(stream string, parent event.ID) event.Event {
		return event.Event{Stream: stream, Kind: event.KindCall, Func: "f." + stream, Causes: by(event.EdgeContext, parent)}
	}
	send := func(stream, key string, ordinal uint64, parent event.ID) event.Event {
		return event.Event{Stream: stream, Kind: event.KindSend, Key: key, Ordinal: ordinal, Causes: by(event.EdgeContext, parent)}
	}
	receive := func(stream, key string, ordinal uint64, parent, from event.ID) event.Event {
		return event.Event{Stream: stream, Kind: event.KindReceive, Key: key, Ordinal: ordinal, Causes: by(event.EdgeContext, parent, from)}
	}
	returns := func(stream string, of event.ID) event.Event {
		return event.Event{Stream: stream, Kind: event.KindReturn, Causes: by(event.EdgeReturn, of)}
	}
	empty := send("g1", "tokens", 1, 1)
	empty.Empty = true
	for _, c := range []struct {
		story    string
		events   []event.Event
		of       event.ID
		streams  string // of each its innermost call, and its next event
		messages string // ids of the sends, and how many were ahead
	}{
		{"a stream that is back from its call, and one that is over", []event.Event{
			call("g1", 0), call("g2", 1), call("g3", 1), returns("g2", 2), {Stream: "g3", Kind: event.KindExit, Causes: by(event.EdgeContext, 3)}, deadline("g1", 1),
		}, 6, "", ""},
		{"a call within a call that never came back, whose caller did", []event.Event{
			call("g1", 0), call("g2", 1), call("g2", 2), returns("g2", 2), deadline("g1", 1),
		}, 5, "", ""},
		{"a stream that nothing more is recorded of", []event.Event{call("g1", 0), call("g2", 1), deadline("g1", 1)}, 3, "2:0", ""},
		{"a stream that goes on without a wait", []event.Event{call("g1", 0), call("g2", 1), deadline("g1", 1), call("g2", 2)}, 3, "2:4", ""},
		{"a goroutine without calls that did something, where there is no call", []event.Event{
			call("g1", 0), {Stream: "g2", Kind: event.KindStart, Causes: by(event.EdgeSpawn, 1)}, {Stream: "g3", Kind: event.KindStart, Causes: by(event.EdgeSpawn, 1)},
			{Stream: "g3", Kind: event.KindLog, Causes: by(event.EdgeContext, 3)}, deadline("g1", 1),
		}, 5, "3:0", ""},
		{"a message that was taken for the work, and one that was not", []event.Event{
			call("g1", 0), send("g1", "a", 1, 1), send("g1", "a", 2, 1), receive("g2", "a", 1, 1, 2), deadline("g1", 1),
		}, 5, "", "3 0"},
		{"a message that was taken late, behind two others", []event.Event{
			call("g1", 0), send("g9", "a", 1, 1), send("g9", "a", 2, 1), send("g1", "a", 3, 1), deadline("g1", 1), receive("g2", "a", 1, 1, 2), receive("g2", "a", 3, 1, 4),
		}, 5, "", "4 2"},
		{"a message whose place in its channel is not known", []event.Event{call("g1", 0), send("g1", "a", 0, 1), deadline("g1", 1)}, 3, "", "2 -1"},
		{"a token without content, and a connection that goes back", []event.Event{
			call("g1", 0), empty, send("g9", "pool", 1, 1), receive("g1", "pool", 1, 1, 3), send("g1", "pool", 2, 1), deadline("g1", 1),
		}, 6, "", ""},
		{"a message of another stream that is still at it", []event.Event{
			call("g1", 0), call("g2", 1), send("g2", "b", 1, 2), deadline("g1", 1),
		}, 4, "2:0", "3 0"},
		{"a stream that had sent, and was done", []event.Event{
			call("g1", 0), call("g2", 1), send("g2", "b", 1, 2), returns("g2", 2), deadline("g1", 1),
		}, 5, "", ""},
	} {
		t.Run(c.story, func(t *testing.T) {
			c.events[0].Causes = nil
			m := why(t, told(t, 1, c.events...), c.of, query.WhyOptions{}).Meanwhile
			var streams, messages []string
			for _, d := range m.Streams {
				next := event.ID(0)
				if d.Next != nil {
					next = d.Next.Event.ID
				}
				streams = append(streams, fmt.Sprintf("%d:%d", d.Calls[0].Event.ID, next))
			}
			for _, u := range m.Messages {
				messages = append(messages, fmt.Sprint(u.Row.Event.ID, u.Ahead))
			}
			if got := strings.Join(streams, " "); got != c.streams {
				t.Errorf("streams %q, not %q", got, c.streams)
			}
			if got := strings.Join(messages, ", "); got != c.messages {
				t.Errorf("messages %q, not %q", got, c.messages)
			}
			if m.Timer != nil {
				t.Errorf("there is no timer: %v", m.Timer)
			}
		})
	}
}

func TestMeanwhileIsToldWhereItIsOfUse(t *testing.T) {
	r := late(t)
	release := theOne(t, r, `{ kind = release }`)
	if m := why(t, r, release, query.WhyOptions{}).Meanwhile; m != nil {
		t.Errorf("nobody gave up: %+v", m)
	}
	m := why(t, r, release, query.WhyOptions{Meanwhile: true}).Meanwhile
	if m == nil || len(m.Streams) != 1 || !m.Streams[0].Above || m.Streams[0].Calls[0].Event.Stream != "g20" {
		t.Errorf("asked for: the request above waits for it: %+v", m)
	}
	timer := told(t, 1,
		event.Event{Stream: "g1", Kind: event.KindCall},
		event.Event{Stream: "timer7", Kind: event.KindSend, Key: "c"},
		event.Event{Stream: "timers", Kind: event.KindSend, Key: "d"},
		event.Event{Stream: "g1", Kind: event.KindReceive, Key: "c", Causes: by(event.EdgeContext, 1, 2)},
		event.Event{Stream: "g1", Kind: event.KindReceive, Key: "d", Causes: by(event.EdgeContext, 1, 3)},
	)
	if c := why(t, timer, 4, query.WhyOptions{}); c.Meanwhile == nil {
		t.Error("a timer's message ends a wait")
	}
	if c := why(t, timer, 5, query.WhyOptions{}); c.Meanwhile != nil {
		t.Error("another's is what was waited for")
	}
	background := deadline("g1", 1)
	background.Background = true
	if c := why(t, told(t, 1, event.Event{Stream: "g1", Kind: event.KindCall}, background), 2, query.WhyOptions{}); c.Meanwhile != nil {
		t.Error("the background is no piece of work")
	}
}

func TestMeanwhileInSpiteOfWhatCannotBeRead(t *testing.T) {
	const rows = 6
	r, events := judged(t, "testdata/late.ndjson", rows)
	r.KeepAll = true
	for _, of := range []event.ID{
		theOne(t, r, `{ kind = error && stream = "g21" }`), theOne(t, r, `{ kind = error && stream = "g23" }`), theOne(t, r, `{ kind = error && stream = "g20" }`),
	} {
		for n := 0; ; n++ {
			f := &failing{Reader: r, left: n}
			_, err := query.Why(ctx, f, of, query.WhyOptions{Meanwhile: true})
			if f.left >= 0 && err == nil {
				break // it reads no more often
			}
			if !errors.Is(err, errDisk) {
				t.Errorf("%d: the %d. reading fails: %v", of, n+1, err)
			}
			if n > 400 {
				t.Fatal("it reads more than 400 times")
			}
		}
		whole := why(t, r, of, query.WhyOptions{})
		for base := event.ID(1); int(base) <= len(events); base += rows {
			for _, lost := range []wire.ColumnSet{wire.ColAll, wire.ColData, wire.ColParent, wire.ColKey} {
				c, err := query.Why(ctx, &holed{r, []event.ID{base}, lost, rows}, of, query.WhyOptions{Meanwhile: true})
				switch {
				case of >= base && of < base+rows:
					if !query.IsDamage(err) {
						t.Errorf("%d without block %d, which it is about: %v", of, base, err)
					}
				case err != nil:
					t.Errorf("%d without block %d: %v", of, base, err)
				case c.Cut == "" && whole.Meanwhile != nil && len(c.Meanwhile.Streams)+len(c.Meanwhile.Messages) != len(whole.Meanwhile.Streams)+len(whole.Meanwhile.Messages):
					t.Errorf("%d without block %d: something is left out, and not told", of, base)
				}
			}
		}
	}
}

func TestMeanwhileIsBounded(t *testing.T) {
	events := []event.Event{{Stream: "g1", Kind: event.KindCall}}
	for i := range 12 {
		stream := fmt.Sprint("g", i+2)
		for range 12 {
			events = append(events, event.Event{Stream: stream, Kind: event.KindCall, Causes: by(event.EdgeContext, 1)})
		}
		events = append(events, event.Event{Stream: stream, Kind: event.KindSend, Key: "k" + stream, Ordinal: 9, Causes: by(event.EdgeContext, 1)})
	}
	of := event.ID(len(events) + 1)
	events = append(events, deadline("g1", 1))
	m := why(t, told(t, 1, events...), of, query.WhyOptions{}).Meanwhile
	if len(m.Streams) != 4 || m.More != 8 || len(m.Streams[0].Calls) != 8 || len(m.Messages) != 3 {
		t.Errorf("%d streams, %d more, %d calls, %d messages", len(m.Streams), m.More, len(m.Streams[0].Calls), len(m.Messages))
	}
	if u := m.Messages[0]; u.Ahead != 8 {
		t.Errorf("nobody ever received from it: %d messages are ahead", u.Ahead)
	}
	for range 400 {
		events = append(events, event.Event{Stream: "g1", Kind: event.KindLog, Causes: by(event.EdgeContext, 1)})
	}
	end := event.ID(len(events) + 1)
	events = append(events, deadline("g1", 1))
	m = why(t, told(t, 1, events...), end, query.WhyOptions{}).Meanwhile
	if !strings.HasPrefix(m.Cut, "of this work only what happened from event ") || len(m.Streams) != 0 {
		t.Errorf("the calls lie too far back, which is told: %q, %d streams", m.Cut, len(m.Streams))
	}
}
