package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pastcone/pastcone/client"
	"github.com/pastcone/pastcone/internal/access"
	"github.com/pastcone/pastcone/internal/access/accesstest"
	"github.com/pastcone/pastcone/internal/protocol"
	. "github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/server/servertest"
)

// tokens makes a file with a token for each role.
func tokens(t *testing.T) (path string, of map[access.Role]string, open *access.Tokens) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "tokens")
	of = map[access.Role]string{}
	for _, role := range []access.Role{access.Write, access.Read, access.Admin} {
		text, _, err := access.New(path, role.String(), role, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		of[role] = text
	}
	open, err := access.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return path, of, open
}

// beginAt starts a server behind a gate at an address.
func beginAt(t *testing.T, address string, o Options) string {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ListenBehind(address, o.Gate)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
		<-served
	})
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return l.Addr().String()
}

// safeLog is a log that can be read while it is written.
type safeLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func greeting(token string, source bool) []byte {
	h := protocol.Hello{Version: 4, Token: protocol.Token(token)}
	if source {
		h.Source, h.Session = "test", mySession
	}
	return h.Append(nil)
}

// Each role opens what it is for; nothing of a token is in an answer or in the log.
func TestGate_RolesOpenWhatTheyAreFor(t *testing.T) {
	_, of, open := tokens(t)
	said := &safeLog{}
	s, address := begin(t, Options{Recorder: servertest.New(t), Answerer: answering(func() {}), Gate: &Gate{Tokens: open}, Log: slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	for name, c := range map[string]struct {
		token       string
		sends, asks string
	}{
		"no token":    {"", "refused 0 not allowed: a token is needed", "refused 0 not allowed"},
		"not a token": {"open sesame", "refused 0 not allowed: the token is not known", "refused 0 not allowed"},
		"another's":   {of[access.Write] + "x", "refused 0 not allowed: the token is not known", "refused 0 not allowed"},
		"write":       {of[access.Write], "welcome", "welcome"},
		"read":        {of[access.Read], "refused 0 not allowed", "welcome"},
		"admin":       {of[access.Admin], "welcome", "welcome"},
	} {
		for source, want := range map[bool]string{true: c.sends, false: c.asks} {
			p := connect(t, address)
			p.send(greeting(c.token, source))
			if got := p.next(); !strings.HasPrefix(got, want) {
				t.Errorf("%s, a source: %v: got %q, want %q", name, source, got, want)
			}
			_ = p.conn.Close()
		}
	}
	p := connect(t, address)
	p.send((&protocol.Hello{Version: 1, Source: "old", Session: mySession}).Append(nil)) // a client that knows no tokens
	p.want("refused 0 not allowed: a token is needed")
	p.wantEnd()
	p = connect(t, address)
	p.send(greeting(of[access.Write], false))
	p.want("welcome")
	p.send((&protocol.Query{ID: 1, Op: "find"}).Append(nil))
	p.want("has the roles write: read is needed for this")
	p = connect(t, address)
	p.send(greeting(of[access.Read], false))
	p.want("welcome")
	p.send((&protocol.Query{ID: 1, Op: "find"}).Append(nil))
	p.want("answer 1")
	if n := s.Stats().NotAllowed; n < 8 {
		t.Errorf("%d were not allowed", n)
	}
	for _, token := range of {
		if secret := token[strings.LastIndex(token, "_")+1:]; strings.Contains(said.String(), secret) {
			t.Errorf("the log has a token:\n%s", said)
		}
	}
	if strings.Contains(said.String(), "sesame") {
		t.Error("the log has what was shown for a token")
	}
}

// answering is an answerer of one line.
type answering func()

func (a answering) Answer(_ context.Context, _ string, _ json.RawMessage, w func([]byte) error) error {
	a()
	return w([]byte(`{}`))
}

func TestGate_ARevokedTokenIsShutOut(t *testing.T) {
	path, of, open := tokens(t)
	_, address := begin(t, Options{Recorder: servertest.New(t), Gate: &Gate{Tokens: open}})
	p := connect(t, address)
	p.send(greeting(of[access.Write], true))
	p.want("welcome")
	p.send(batch(t, 1, "g", 1))
	p.want("ack 1")
	if _, err := access.Revoke(path, "write"); err != nil {
		t.Fatal(err)
	}
	if err := open.Refresh(); err != nil {
		t.Fatal(err)
	}
	p.send(batch(t, 2, "g", 2))
	p.want("refused 0 not allowed")
	p.wantEnd()
	p = connect(t, address)
	p.send(greeting(of[access.Write], true))
	p.want("refused 0 not allowed")
}

// The socket is its owner's: nobody else can open it, so nobody is asked.
func TestGate_TheOwnersSocketNeedsNoToken(t *testing.T) {
	_, _, open := tokens(t)
	address := beginAt(t, "unix:"+filepath.Join(t.TempDir(), "s"), Options{Recorder: servertest.New(t), Gate: &Gate{Tokens: open}})
	sender, err := client.NewSender(context.Background(), address, client.SenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// Others may come where there are TLS and authentication, and with a certificate or a token only.
func TestGate_OtherMachinesNeedTLSAndAToken(t *testing.T) {
	a := accesstest.NewAuthority(t)
	cert, key := a.Issue("server")
	_, of, open := tokens(t)
	plain, err := access.OpenTLS(access.Files{Cert: cert, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mutual, err := access.OpenTLS(access.Files{Cert: cert, Key: key, ClientCA: a.File}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for says, g := range map[string]*Gate{
		"neither TLS nor authentication": nil, "neither TLS nor": {}, "it has no TLS": {Tokens: open}, "TLS but no authentication": {TLS: plain},
	} {
		if _, err := ListenBehind("0.0.0.0:0", g); !errors.Is(err, ErrNotLoopback) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	port := func(address string) string { _, p, _ := net.SplitHostPort(address); return "localhost:" + p }
	address := port(beginAt(t, "0.0.0.0:0", Options{Recorder: servertest.New(t), Answerer: answering(func() {}), Gate: &Gate{Tokens: open, TLS: plain}}))
	withCertificates := port(beginAt(t, "0.0.0.0:0", Options{Recorder: servertest.New(t), Answerer: answering(func() {}), Gate: &Gate{TLS: mutual}}))
	trusting := a.Client("")
	for name, c := range map[string]struct {
		address string
		access  client.Access
		says    string // "": it may ask
	}{
		"a token over TLS":                 {address, client.Access{Token: of[access.Read], TLS: trusting}, ""},
		"no token":                         {address, client.Access{TLS: trusting}, "a token is needed"},
		"no TLS":                           {address, client.Access{Token: of[access.Read]}, "connect to"},
		"a server that nobody vouches for": {"tls:" + address, client.Access{Token: of[access.Read]}, "certificate signed by unknown authority"},
		"a certificate that may read":      {withCertificates, client.Access{TLS: a.Client("reader", "read")}, ""},
		"a certificate without a role":     {withCertificates, client.Access{TLS: a.Client("nobody", "sales")}, "names no role"},
		"no certificate":                   {withCertificates, client.Access{TLS: trusting}, "connect to"},
	} {
		asker, err := client.AskAs(ctx, c.address, c.access)
		if err == nil {
			err = asker.Query(ctx, "find", struct{}{}, func([]byte) error { return nil })
			_ = asker.Close()
		}
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), of[access.Read]) {
			t.Errorf("%s: the error has the token", name)
		}
	}
	sender, err := client.NewSender(ctx, address, client.SenderOptions{Access: client.Access{Token: of[access.Write], TLS: trusting}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sender.Lines(ctx, []byte(line("g", 1))), sender.Close(ctx)); err != nil || sender.Stats().Acknowledged != 1 {
		t.Errorf("%v, %+v", err, sender.Stats())
	}
}

// A client that opens lines and never speaks, or speaks a byte a second, costs others nothing.
func TestGate_SlowHandshakesAreCutOff(t *testing.T) {
	a := accesstest.NewAuthority(t)
	cert, key := a.Issue("server")
	files, err := access.OpenTLS(access.Files{Cert: cert, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	address := beginAt(t, "127.0.0.1:0", Options{Answerer: answering(func() {}), Gate: &Gate{TLS: files}, ReadTimeout: 100 * time.Millisecond, ConnectionsMax: 4})
	var slow []net.Conn
	for range 4 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write([]byte{22}) // the first byte of a handshake
		slow = append(slow, conn)
	}
	began := time.Now()
	servertest.Eventually(t, "there is room again", func() bool {
		asker, err := client.AskAs(context.Background(), address, client.Access{TLS: a.Client("")})
		if err != nil {
			return false
		}
		return asker.Close() == nil
	})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	_ = slow[0].SetReadDeadline(time.Now().Add(5 * time.Second))
	for {
		if _, err := slow[0].Read(make([]byte, 64)); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("a slow client keeps its line")
			}
			break
		}
	}
}

func TestGate_EachClientHasItsLimits(t *testing.T) {
	_, of, open := tokens(t)
	limits := ClientLimits{Connections: 2, QueriesPerSecond: 3, BytesPerSecond: 64 << 10}
	g := &Gate{Tokens: open, Limits: func() ClientLimits { return limits }}
	s, address := begin(t, Options{Recorder: servertest.New(t), Answerer: answering(func() {}), Gate: g})
	enter := func(role access.Role, source bool) *peer {
		p := connect(t, address)
		p.send(greeting(of[role], source))
		return p
	}
	one, two := enter(access.Read, false), enter(access.Read, false)
	one.want("welcome")
	two.want("welcome")
	enter(access.Read, false).want("refused 0 busy: 2 connections of this client")
	admin := enter(access.Admin, true) // another client
	admin.want("welcome")
	refused := 0
	for i := range 10 {
		one.send((&protocol.Query{ID: uint64(i + 1), Op: "find"}).Append(nil)) // #nosec G115
		for {
			got := one.next()
			if strings.Contains(got, "more often than it may") {
				refused++
			}
			if strings.HasPrefix(got, "end of answer") {
				break
			}
		}
	}
	if refused < 6 || refused > 7 {
		t.Errorf("%d of 10 questions at once were refused: 3 are allowed in a second", refused)
	}
	// Bytes are not refused: the server reads on when the client may send again.
	text := strings.Repeat(" ", 40<<10) + "\n" + line("g", 1)
	began := time.Now()
	for i := range 4 {
		admin.send(lines(uint64(i+1), text)) // #nosec G115
	}
	for range 4 {
		admin.want("ack")
	}
	if took := time.Since(began); took < time.Second || took > 4*time.Second {
		t.Errorf("160 KiB at 64 KiB a second took %v, of which the first second is there at once", took)
	}
	if s.Stats().Limited < int64(refused)+1 {
		t.Errorf("%+v", s.Stats())
	}
	_ = two.conn.Close()
	servertest.Eventually(t, "a connection that is over makes room", func() bool {
		p := enter(access.Read, false)
		defer p.conn.Close()
		return strings.HasPrefix(p.next(), "welcome")
	})
}

// So many clients that nobody could remember them are forgotten, those with a connection last.
func TestGate_ForgetsClientsThatAreGone(t *testing.T) {
	g := &Gate{Limits: func() ClientLimits { return ClientLimits{Connections: 1, QueriesPerSecond: 1} }}
	stays := access.Grant{Who: "stays"}
	leave, err := g.Enter(stays)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		if err := g.PayQuery(access.Grant{Who: fmt.Sprint("client ", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.Enter(stays); err == nil {
		t.Error("the connection is forgotten")
	}
	leave()
	if _, err := g.Enter(stays); err != nil {
		t.Error(err)
	}
	var none *Gate
	if _, err := none.Enter(stays); err != nil || none.PayQuery(stays) != nil || !none.Still(stays) || !none.Open() {
		t.Error("no gate lets everybody in")
	}
}
