package probe

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/protocol"
	"github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/server/servertest"
	"github.com/pastcone/pastcone/internal/wire"
)

func start(t *testing.T, o Options) *Recorder {
	t.Helper()
	r, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func logs(n int) {
	ctx := Attach(context.Background(), "main")
	for range n {
		Log(ctx, "text")
	}
}

func TestServer_GetsEverythingAndSaysSo(t *testing.T) {
	flow := servertest.New(t)
	flow.Held = true
	address, _ := servertest.Serve(t, "unix:"+filepath.Join(t.TempDir(), "s"), server.Options{Recorder: flow})
	r := start(t, Options{Address: "unix:" + address, Source: "shop", FlushInterval: time.Millisecond})
	logs(3000)
	servertest.Eventually(t, "all has arrived", func() bool { return flow.Count() == 3000 })
	if s := r.Stats(); s.Written != 0 || s.Events != 3000 {
		t.Errorf("%+v before anything is durable", s)
	}
	flow.Set(func() { flow.Held = false })
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s.Written != 3000 {
		t.Errorf("%+v after Flush", s)
	}
	logs(10)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s.Written != 3010 || s.Dropped != 0 || flow.Count() != 3010 || flow.Closed() != 1 {
		t.Errorf("%+v, %d arrived, %d closed", s, flow.Count(), flow.Closed())
	}
	if !strings.HasPrefix(flow.Opened[0], "shop/probe/") {
		t.Error(flow.Opened)
	}
}

func TestServer_IsKilledAndComesBack(t *testing.T) {
	flow := servertest.New(t)
	flow.Held = true
	address, kill := servertest.Serve(t, "127.0.0.1:0", server.Options{Recorder: flow})
	r := start(t, Options{Address: address, FlushInterval: time.Millisecond, CloseTimeout: 20 * time.Second})
	logs(1000)
	servertest.Eventually(t, "all has arrived", func() bool { return flow.Count() == 1000 })
	kill()
	logs(1000)
	flow.Set(func() { flow.Held = false })
	servertest.Serve(t, address, server.Options{Recorder: flow})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s.Written != 2000 || s.Dropped != 0 || flow.Count() != 2000 || flow.Duplicates != 1000 {
		t.Errorf("%+v; %d arrived, %d of them again", s, flow.Count(), flow.Duplicates)
	}
}

func TestServer_ThatIsNotThereCostsEventsNotTime(t *testing.T) {
	r := start(t, Options{Address: "unix:/nowhere/at/all", MemoryBytesMax: memoryBytesMin, FlushInterval: time.Millisecond, CloseTimeout: 30 * time.Millisecond})
	began := time.Now()
	logs(60_000)
	if err := r.Flush(); err != nil {
		t.Errorf("it may still come: %v", err)
	}
	err := r.Close()
	if err == nil || !strings.Contains(err.Error(), "has not acknowledged everything within 30ms") {
		t.Errorf("got %v", err)
	}
	if s := r.Stats(); s.Events != 60_000 || s.Dropped != 60_000 || s.Written != 0 {
		t.Errorf("%+v", s)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestServer_RejectsAndRefusals(t *testing.T) {
	flow := servertest.New(t)
	flow.Names = wire.NewTable(1) // takes no name at all
	address, _ := servertest.Serve(t, "127.0.0.1:0", server.Options{Recorder: flow})
	r := start(t, Options{Address: address})
	logs(7)
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "7 events were of no use") {
		t.Errorf("got %v", err)
	}
	if s := r.Stats(); s.Events != 7 || s.Dropped != 7 || s.Written != 0 {
		t.Errorf("%+v", s)
	}

	// A server that takes no events at all: nothing helps.
	s, err := server.New(server.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := server.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)                          //nolint:errcheck // ends by Shutdown
	defer s.Shutdown(context.Background()) //nolint:errcheck // nothing is under way
	r = start(t, Options{Address: l.Addr().String(), FlushInterval: time.Millisecond, Policy: Wait})
	servertest.Eventually(t, "it is refused", func() bool { return r.Stats().Err != nil })
	logs(100_000) // does not wait for what will never come
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "takes no events") {
		t.Errorf("got %v", err)
	}
	if s := r.Stats(); s.Events != 100_000 || s.Dropped != 100_000 {
		t.Errorf("%+v", s)
	}
}

// scripted is a server that does what f says to each connection, behind the hello.
func scripted(t *testing.T, f func(n int, conn net.Conn, in *protocol.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for n := 1; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			all.Go(func() {
				in := protocol.NewReader(conn, 1<<20)
				_, payload, err := in.Next()
				var h protocol.Hello
				if err = errors.Join(err, h.Parse(payload)); err != nil && !errors.Is(err, io.EOF) {
					t.Errorf("hello: %v", err)
				}
				f(n, conn, in)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

func TestServer_ThatMisbehavesIsTriedAgain(t *testing.T) {
	welcome := protocol.Welcome{Version: 1, FrameBytesMax: 1 << 20, InFlightMax: 2}
	frame := func(k protocol.Kind, payload ...byte) []byte { return protocol.AppendFrame(nil, k, payload) }
	flipped := frame(protocol.KindAck, 1, 0)
	flipped[5] ^= 1
	for name, says := range map[string][]byte{
		"hangs up":                {},
		"no welcome":              frame(protocol.KindAck, 1, 0),
		"a welcome of air":        frame(protocol.KindWelcome),
		"a refusal of air":        frame(protocol.KindRefused),
		"busy":                    (&protocol.Refused{Code: protocol.CodeBusy, Reason: "later"}).Append(nil),
		"a frame of nothing":      {0, 0, 0, 0, 0, 0, 0, 0},
		"a frame that never ends": binary.LittleEndian.AppendUint32(nil, 1<<30),
		"a frame that is cut":     {5, 0, 0, 0, 1},
		"a wrong checksum":        append(welcome.Append(nil), flipped...),
		"an ack of air":           append(welcome.Append(nil), frame(protocol.KindAck)...),
		"a later refusal of air":  append(welcome.Append(nil), frame(protocol.KindRefused, 1)...),
		"a refusal with too much": append(welcome.Append(nil), frame(protocol.KindRefused, 1, 1, 9)...),
		"no answer at all":        append(welcome.Append(nil), frame(protocol.KindWelcome)...),
		"has failed":              append(welcome.Append(nil), (&protocol.Refused{Number: 1, Code: protocol.CodeInternal, Reason: "disk"}).Append(nil)...),
		"answers the unknown":     append(welcome.Append(nil), (&protocol.Ack{Number: 77}).Append(nil)...),
	} {
		var mu sync.Mutex
		got := map[uint64]int{}
		address := scripted(t, func(n int, conn net.Conn, in *protocol.Reader) {
			if n == 1 {
				_, _ = conn.Write(says)
				return
			}
			_, _ = conn.Write(welcome.Append(nil))
			for {
				kind, payload, err := in.Next()
				if err != nil {
					return
				}
				if kind == protocol.KindEnd {
					_, _ = conn.Write(frame(protocol.KindEnded))
					return
				}
				number, body, err := protocol.ParseBatch(payload)
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				mu.Lock()
				got[number] += strings.Count(string(body), "\n")
				mu.Unlock()
				_, _ = conn.Write((&protocol.Ack{Number: number}).Append(nil))
			}
		})
		r := start(t, Options{Address: address, FlushInterval: time.Millisecond})
		logs(5)
		if err := r.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		total := 0
		for _, n := range got {
			total += n
		}
		if s := r.Stats(); total != 5 || s.Written != 5 {
			t.Errorf("%s: %d events arrived, %+v", name, total, s)
		}
	}
}

func TestServer_RefusesOneForGood(t *testing.T) {
	welcome := protocol.Welcome{Version: 1, FrameBytesMax: 1 << 20, InFlightMax: 2}
	address := scripted(t, func(_ int, conn net.Conn, in *protocol.Reader) {
		_, _ = conn.Write(welcome.Append(nil))
		for {
			kind, payload, err := in.Next()
			switch {
			case err != nil:
				return
			case kind == protocol.KindEnd:
				_, _ = conn.Write(protocol.AppendFrame(nil, protocol.KindEnded, nil))
			default:
				number, _, _ := protocol.ParseBatch(payload)
				_, _ = conn.Write((&protocol.Refused{Number: number, Code: protocol.CodeMalformed, Reason: "no such thing"}).Append(nil))
			}
		}
	})
	r := start(t, Options{Address: address})
	logs(5)
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("got %v", err)
	}
	if s := r.Stats(); s.Dropped != 5 {
		t.Errorf("%+v", s)
	}
	// Frames that are too short for a chunk: this server is not for us.
	address = scripted(t, func(_ int, conn net.Conn, _ *protocol.Reader) {
		_, _ = conn.Write((&protocol.Welcome{Version: 1, FrameBytesMax: 9000, InFlightMax: 2}).Append(nil))
	})
	r = start(t, Options{Address: address})
	logs(5)
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "takes frames of 9000 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestServer_AddressesThatAreNone(t *testing.T) {
	for _, o := range []Options{{Address: "nonsense"}, {Address: "127.0.0.1:1", Source: strings.Repeat("x", 1025)}} {
		if r, err := Start(o); err == nil {
			_ = r.Close()
			t.Errorf("started with %+v", o)
		}
	}
	if _, _, err := readFrame(bufio.NewReader(strings.NewReader(""))); err == nil {
		t.Error("a frame from nothing")
	}
}
