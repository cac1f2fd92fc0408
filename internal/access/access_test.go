package access_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/pastcone/pastcone/internal/access"
	"github.com/pastcone/pastcone/internal/access/accesstest"
)

func file(t *testing.T) string { return filepath.Join(t.TempDir(), "tokens") }

func made(t *testing.T, path, name string, roles Role, expires time.Time) (string, Token) {
	t.Helper()
	text, token, err := New(path, name, roles, expires)
	if err != nil {
		t.Fatal(err)
	}
	return text, token
}

func TestRole_HasAndNames(t *testing.T) {
	for _, c := range []struct {
		roles Role
		names string
		has   []Role
		not   []Role
	}{
		{None, "none", []Role{None}, []Role{Write, Read, Admin}},
		{Write, "write", []Role{Write}, []Role{Read, Admin, Write | Read}},
		{Write | Read, "write,read", []Role{Write, Read, Write | Read}, []Role{Admin}},
		{Admin, "admin", []Role{Write, Read, Admin, All}, nil},
	} {
		if c.roles.String() != c.names {
			t.Errorf("%s is called %s", c.names, c.roles)
		}
		for _, r := range c.has {
			if !c.roles.Has(r) {
				t.Errorf("%s has no %s", c.names, r)
			}
		}
		for _, r := range c.not {
			if c.roles.Has(r) {
				t.Errorf("%s has %s", c.names, r)
			}
		}
	}
	if r, err := ParseRoles([]string{"write", " read"}); err != nil || r != Write|Read {
		t.Error(r, err)
	}
	for _, names := range [][]string{nil, {"root"}, {"write", ""}} {
		if _, err := ParseRoles(names); err == nil || !strings.Contains(err.Error(), "write (send events)") {
			t.Errorf("%q: %v", names, err)
		}
	}
}

// A token opens what it is for, until it is revoked or over; the file never has it, nor has any error.
func TestTokens_OpenUntilTheyAreRevoked(t *testing.T) {
	path := file(t)
	writer, one := made(t, path, "billing", Write, time.Time{})
	short, _ := made(t, path, "short", Read, time.Now().Add(time.Hour))
	tokens, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	g, err := tokens.Check(writer, now)
	if err != nil || g.Roles != Write || g.Who != "token "+one.ID+" (billing)" {
		t.Fatalf("%+v, %v", g, err)
	}
	if _, err := tokens.Check(short, now); err != nil {
		t.Error(err)
	}
	if _, err := tokens.Check(short, now.Add(2*time.Hour)); !errors.Is(err, ErrToken) {
		t.Errorf("a token beyond its time: %v", err)
	}
	last := writer[len(writer)-1]
	other := byte('a')
	if last == other {
		other = 'b'
	}
	for name, wrong := range map[string]string{
		"none": "", "a word": "secret", "another secret": writer[:len(writer)-1] + string(other), "one cut off": writer[:len(writer)-1], "one more": writer + "a",
		"an id alone": "pct_" + one.ID + "_", "another's id": strings.Replace(writer, one.ID, "aaaaaaaa", 1), "a huge one": "pct_" + strings.Repeat("a", 1<<20),
	} {
		if _, err := tokens.Check(wrong, now); !errors.Is(err, ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if secret := writer[strings.LastIndex(writer, "_")+1:]; strings.Contains(string(text), secret) {
		t.Error("the file has the token")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if !tokens.Still(g, now) {
		t.Error("it holds")
	}
	if _, err := Revoke(path, "billing"); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(2 * time.Second) // the file is looked at once a second
	if tokens.Still(g, later) {
		t.Error("it holds though it is revoked")
	}
	if _, err := tokens.Check(writer, later); !errors.Is(err, ErrToken) {
		t.Errorf("a revoked token: %v", err)
	}
	if _, err := Revoke(path, "billing"); err == nil || !strings.Contains(err.Error(), "no token") {
		t.Errorf("revoked twice: %v", err)
	}
	if err := tokens.Refresh(); err != nil || len(tokens.All()) != 2 {
		t.Errorf("%v, %d tokens", err, len(tokens.All()))
	}
	made(t, path, "short", Write, time.Time{})
	if _, err := Revoke(path, "short"); err == nil || !strings.Contains(err.Error(), "2 tokens are called") {
		t.Errorf("a name that two have: %v", err)
	}
}

func TestTokens_NobodyComesInByABrokenFile(t *testing.T) {
	path := file(t)
	if _, err := Open(path, nil); err == nil {
		t.Error("a file that is not there")
	}
	text, _ := made(t, path, "", Admin, time.Time{})
	var told []error
	tokens, err := Open(path, func(err error) { told = append(told, err) })
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, says string }{
		"a line that is cut off":      {string(good) + `{"revoke":"`, "no token and no revocation"},
		"a field of tomorrow":         {string(good) + `{"revoke":"x","until":1}` + "\n", "no token and no revocation"},
		"a revocation of nobody":      {string(good) + `{"revoke":"x","revoked":"2026-01-01T00:00:00Z"}` + "\n", "not above"},
		"a token that is there twice": {string(good) + string(good), "there twice"},
		"a token without a hash":      {`{"id":"aaaaaaaa","roles":["read"],"created":"2026-01-01T00:00:00Z"}`, "no SHA-256"},
		"a token without an id":       {`{"roles":["read"]}`, "no id"},
		"a token without a role":      {`{"id":"aaaaaaaa","created":"2026-01-01T00:00:00Z","sha256":"` + strings.Repeat("ab", 32) + `"}`, "no role"},
		"a line without end":          {strings.Repeat("x", 5000), "token too long"},
		"a file without end":          {strings.Repeat("\n", 5<<20), "larger than"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := tokens.Refresh(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := tokens.Check(text, time.Now()); !errors.Is(err, ErrToken) {
			t.Errorf("%s: the token opens: %v", name, err)
		}
		if _, _, err := New(path, "", Read, time.Time{}); err == nil {
			t.Errorf("%s: a token was added", name)
		}
	}
	if len(told) != 1 || told[0] == nil {
		t.Errorf("it was told %v", told)
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tokens.Refresh(); err != nil || len(told) != 2 || told[1] != nil {
		t.Errorf("it is whole again: %v, told %v", err, told)
	}
	if _, err := tokens.Check(text, time.Now()); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(path, 0o644); err != nil { // #nosec G302 -- that is the point
		t.Fatal(err)
	}
	if _, err := List(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("others can read it: %v", err)
	}
	if _, err := List(t.TempDir()); err == nil {
		t.Error("a folder")
	}
	empty := file(t)
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(empty, nil); err == nil || !strings.Contains(err.Error(), "holds none") {
		t.Errorf("no tokens: %v", err)
	}
	for _, name := range []string{strings.Repeat("x", 129), "a\nb", "a\x1b[31m"} {
		if _, _, err := New(empty, name, Read, time.Time{}); err == nil {
			t.Errorf("the name %q", name)
		}
	}
	if _, _, err := New(empty, "x", None, time.Time{}); err == nil {
		t.Error("no role")
	}
}

// Many commands at once lose nothing: each adds one line with one write.
func TestTokens_MadeAtOnceAreAllThere(t *testing.T) {
	path := file(t)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, _, err := New(path, fmt.Sprint("t", i), Read, time.Time{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if tokens, err := List(path); err != nil || len(tokens) != 20 {
		t.Errorf("%d tokens, %v", len(tokens), err)
	}
}

// shake makes a TLS connection and says whether the client was let in, and with which roles.
func shake(t *testing.T, server *TLS, client *tls.Config) (Grant, bool, error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type met struct {
		g   Grant
		ok  bool
		err error
	}
	came := make(chan met, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			came <- met{err: err}
			return
		}
		defer conn.Close()
		secure := conn.(*tls.Conn)
		_ = secure.SetDeadline(time.Now().Add(5 * time.Second))
		if err := secure.Handshake(); err != nil {
			came <- met{err: err}
			return
		}
		state := secure.ConnectionState()
		g, ok := OfCertificate(&state)
		_, err = secure.Write([]byte("x"))
		came <- met{g, ok, err}
	}()
	conn, err := (&tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: client}).Dial("tcp", l.Addr().String())
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 1))
		_ = conn.Close()
	}
	m := <-came
	return m.g, m.ok, errors.Join(err, m.err)
}

func TestTLS_ClientsHaveTheRolesOfTheirCertificates(t *testing.T) {
	ours, strangers := accesstest.NewAuthority(t), accesstest.NewAuthority(t)
	cert, key := ours.Issue("server")
	server, err := OpenTLS(Files{Cert: cert, Key: key, ClientCA: ours.File}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !server.Mutual() {
		t.Error("it asks for certificates")
	}
	g, ok, err := shake(t, server, ours.Client("billing", "write", "Read", "sales"))
	if err != nil || !ok || g.Roles != Write|Read || g.Who != `certificate "billing"` {
		t.Errorf("%+v, %v, %v", g, ok, err)
	}
	if _, _, err := shake(t, server, ours.Client("")); err == nil {
		t.Error("a client without a certificate came in")
	}
	stranger := strangers.Client("mallory", "admin")
	stranger.RootCAs = ours.Client("").RootCAs
	if _, _, err := shake(t, server, stranger); err == nil {
		t.Error("a client with a stranger's certificate came in")
	}
	if _, _, err := shake(t, server, strangers.Client("x", "write")); err == nil {
		t.Error("a client talks to a server that it has no reason to trust")
	}
	old := ours.Client("billing", "write")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, _, err := shake(t, server, old); err == nil {
		t.Error("TLS 1.2")
	}
	if _, ok := OfCertificate(nil); ok {
		t.Error("no TLS")
	}
}

func TestTLS_FilesAreReadAgainWhenTheyChange(t *testing.T) {
	first, second := accesstest.NewAuthority(t), accesstest.NewAuthority(t)
	cert, key := first.Issue("server")
	var told []error
	server, err := OpenTLS(Files{Cert: cert, Key: key}, func(err error) { told = append(told, err) })
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := shake(t, server, first.Client("")); err != nil || ok {
		t.Error(ok, err)
	}
	move := func(from, to string) {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(cert, []byte("half a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond) // the files are looked at once a second
	if _, _, err := shake(t, server, first.Client("")); err != nil || len(told) != 1 {
		t.Errorf("it goes on with the files that it has: %v, told %v", err, told)
	}
	newCert, newKey := second.Issue("server")
	move(newCert, cert)
	move(newKey, key)
	time.Sleep(1100 * time.Millisecond)
	if _, _, err := shake(t, server, second.Client("")); err != nil || len(told) != 2 || told[1] != nil {
		t.Errorf("the new certificate: %v, told %v", err, told)
	}
}

func TestTLS_FilesThatAreNone(t *testing.T) {
	a := accesstest.NewAuthority(t)
	cert, key := a.Issue("server")
	_, otherKey := a.Issue("other")
	open, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	seen := filepath.Join(t.TempDir(), "open.key")
	if err := os.WriteFile(seen, open, 0o604); err != nil { // #nosec G306 -- that is the point
		t.Fatal(err)
	}
	if err := os.Chmod(seen, 0o604); err != nil { // #nosec G302
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		files Files
		says  string
	}{
		"no key":                   {Files{Cert: cert}, "server.tls_key"},
		"a key that is not there":  {Files{Cert: cert, Key: key + "x"}, "no such file"},
		"a key of another":         {Files{Cert: cert, Key: otherKey}, "does not match"},
		"a key that all can read":  {Files{Cert: cert, Key: seen}, "chmod 600"},
		"no authority":             {Files{Cert: cert, Key: key, ClientCA: key + "x"}, "no such file"},
		"an authority that is not": {Files{Cert: cert, Key: key, ClientCA: key}, "no certificate"},
	} {
		if _, err := OpenTLS(c.files, nil); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzTokens_File reads any file: it fails, or gives tokens with a role each; and never lets anything in that is no token.
func FuzzTokens_File(f *testing.F) {
	const token = `{"id":"7wc95ket","name":"w","roles":["write"],"created":"2026-11-24T16:05:07Z","sha256":"433d28359cfac8f981c65112e72fd9368f8b0d90e6389a5358910baa6928694c"}` + "\n"
	f.Add([]byte(token), "pct_7wc95ket_x")
	f.Add([]byte(token+`{"revoke":"7wc95ket","revoked":"2026-11-24T16:05:07Z"}`+"\n"), "")
	f.Add([]byte("{}\n\n[]"), "pct__")
	path := filepath.Join(f.TempDir(), "tokens")
	f.Fuzz(func(t *testing.T, text []byte, shown string) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		all, err := List(path)
		if err != nil {
			return
		}
		for _, one := range all {
			if one.Roles == None || one.ID == "" {
				t.Fatalf("a token without a role or an id: %+v", one)
			}
		}
		tokens, err := Open(path, nil)
		if err != nil {
			return
		}
		if g, err := tokens.Check(shown, time.Now()); err == nil {
			t.Fatalf("%q is let in: %+v", shown, g)
		}
	})
}
