package server_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/protocol"
	. "github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/server/servertest"
)

func hello2(t *testing.T, address, session string, finite bool) *peer {
	t.Helper()
	p := connect(t, address)
	p.send((&protocol.Hello{Version: 2, Source: "test", Format: "ndjson", Session: session, Finite: finite}).Append(nil))
	p.want("welcome")
	return p
}

var endFrame = protocol.AppendFrame(nil, protocol.KindEnd, nil)

func TestSource_ThatHasEndedTakesNoMore(t *testing.T) {
	r := servertest.New(t)
	_, address := begin(t, Options{Recorder: r})
	p := hello2(t, address, mySession, false)
	p.send(batch(t, 1, "g", 1))
	p.want("ack 1")
	p.send(endFrame)
	p.want("ended")
	p.send(batch(t, 2, "g", 2))
	p.want("refused 2 ended: a batch after the end of its source")
	p.send(batch(t, 1, "g", 1)) // it has that one
	p.want("ack 1")
	_ = p.conn.Close()

	old := hello(t, address, mySession) // of the first version
	old.send(batch(t, 2, "g", 2))
	old.want("refused 2 malformed: a batch after the end of its source")
	old.send(endFrame)
	old.want("ended")
	if r.Closed() != 1 || r.Ends != 1 || r.Count() != 1 {
		t.Errorf("closed %d times, ended %d times, %d events", r.Closed(), r.Ends, r.Count())
	}
}

func TestSource_ThatTheRecordingHasToItsEnd(t *testing.T) {
	r := servertest.New(t)
	r.OpenErr = fmt.Errorf("%w: it is source 1", ErrEnded)
	_, address := begin(t, Options{Recorder: r})
	p := hello2(t, address, mySession, true)
	for _, n := range []uint64{4, 5, 4} {
		p.send(batch(t, n, "g", n))
		p.want(fmt.Sprintf("refused %d ended", n))
	}
	p.send(endFrame) // the answer to its end got lost
	p.want("ended")
}

func TestSource_FiniteWaitsToItsEnd(t *testing.T) {
	r := servertest.New(t)
	r.HoldDone = true
	_, address := begin(t, Options{Recorder: r})
	p := hello2(t, address, mySession, true)
	p.send(batch(t, 1, "g", 1))
	p.send(batch(t, 2, "g", 2))
	p.send(endFrame)
	for _, want := range []string{"ack 1", "ack 2", "ended"} {
		p.want(want)
	}
	if r.Ends != 1 || r.Hurries != 0 || r.Opened[0] != "test/ndjson/"+mySession+", finite" {
		t.Errorf("ended %d times, hurried %d times, %v", r.Ends, r.Hurries, r.Opened)
	}
}

func TestSource_FiniteHurriesWithoutRoom(t *testing.T) {
	for name, c := range map[string]struct {
		finite bool
		frames [][]byte
	}{
		"the client says so":      {true, [][]byte{batch(t, 1, "g", 1), protocol.AppendFrame(nil, protocol.KindHurry, nil)}},
		"the server has no room":  {true, [][]byte{batch(t, 1, "g", 1), batch(t, 2, "g", 2), batch(t, 3, "g", 3)}},
		"a live one never waited": {false, [][]byte{protocol.AppendFrame(nil, protocol.KindHurry, nil), batch(t, 1, "g", 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			r := servertest.New(t)
			r.HoldDone = c.finite
			_, address := begin(t, Options{Recorder: r, InFlightMax: 2, SessionLinger: 10 * time.Millisecond})
			p := hello2(t, address, mySession, c.finite)
			for i, frame := range c.frames {
				p.send(frame)
				want := min(i+1, 2)
				if frame[4] != byte(protocol.KindHurry) {
					servertest.Eventually(t, "it is taken", func() bool { return r.Count() >= min(want, 1) })
				}
			}
			p.want("ack 1")
			want := 0
			if c.finite {
				want = 1
			}
			servertest.Eventually(t, "it has hurried once at most", func() bool {
				hurries := 0
				r.Set(func() { hurries = r.Hurries })
				return hurries == want
			})
			// It comes back as one that has hurried.
			_ = p.conn.Close()
			servertest.Eventually(t, "the source is closed", func() bool { return r.Closed() == 1 })
			hello2(t, address, mySession, c.finite)
			if len(r.Opened) != 2 || strings.HasSuffix(r.Opened[1], "finite") || r.Ends != 0 {
				t.Errorf("opened %v, ended %d times", r.Opened, r.Ends)
			}
		})
	}
}

// The end counts when everything before it is there: a batch that the recorder refused for now comes again first.
func TestSource_DoesNotEndWithAHole(t *testing.T) {
	r := servertest.New(t)
	r.PushErr = errors.New("not now")
	_, address := begin(t, Options{Recorder: r})
	p := hello2(t, address, mySession, true)
	p.send(batch(t, 1, "g", 1))
	p.want("refused 1 internal: not now")
	r.Set(func() { r.PushErr = nil })
	p.send(batch(t, 2, "g", 2))
	p.want("ack 2")
	p.send(endFrame)
	p.want("refused 0 busy: a batch of the source was refused")
	p.wantEnd()
	p = hello2(t, address, mySession, true)
	p.send(batch(t, 1, "g", 1))
	p.want("ack 1")
	p.send(endFrame)
	p.want("ended")
	if r.Closed() != 2 || r.Ends != 1 || r.Count() != 2 {
		t.Errorf("closed %d times, ended %d times, %d events", r.Closed(), r.Ends, r.Count())
	}
}

// A server that was started anew does not know the numbers of a session: the first that comes says where they begin.
func TestSource_NumbersGoOnAfterARestart(t *testing.T) {
	r := servertest.New(t)
	_, address := begin(t, Options{Recorder: r, InFlightMax: 2})
	p := hello(t, address, mySession)
	for n := uint64(5000); n < 5020; n++ {
		p.send(batch(t, n, "g", n))
		p.want(fmt.Sprintf("ack %d", n))
	}
	_ = p.conn.Close()
	p = connect(t, address)
	p.send((&protocol.Hello{Version: 1, Source: "test", Session: mySession}).Append(nil))
	p.want("welcome, 5019 done")
}
