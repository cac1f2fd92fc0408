package probe_test

import (
	"context"
	"crypto/tls"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/access"
	"github.com/pastcone/pastcone/internal/access/accesstest"
	"github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/server/servertest"
	"github.com/pastcone/pastcone/probe"
)

// A program that records itself shows its token, over TLS or a certificate; without one it is told why it is not let in.
func TestServer_AProgramShowsWhoItIs(t *testing.T) {
	a := accesstest.NewAuthority(t)
	cert, key := a.Issue("server")
	path := filepath.Join(t.TempDir(), "tokens")
	token, _, err := access.New(path, "program", access.Write, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	reader, _, err := access.New(path, "reader", access.Read, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := access.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	open := func(files access.Files) *access.TLS {
		t.Helper()
		of, err := access.OpenTLS(files, nil)
		if err != nil {
			t.Fatal(err)
		}
		return of
	}
	for name, c := range map[string]struct {
		gate  *server.Gate
		token string
		tls   *tls.Config
		at    string // before the address
		says  string // "": it records
	}{
		"a token on loopback":                 {&server.Gate{Tokens: tokens}, token, nil, "", ""},
		"a token over TLS":                    {&server.Gate{Tokens: tokens, TLS: open(access.Files{Cert: cert, Key: key})}, token, a.Client(""), "tls:", ""},
		"a certificate":                       {&server.Gate{TLS: open(access.Files{Cert: cert, Key: key, ClientCA: a.File})}, "", a.Client("program", "write"), "", ""},
		"no token":                            {&server.Gate{Tokens: tokens}, "", nil, "", "a token is needed"},
		"a token to read":                     {&server.Gate{Tokens: tokens}, reader, nil, "", "write is needed"},
		"a token that a server does not need": {nil, token, nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := servertest.New(t)
			s, err := server.New(server.Options{Recorder: r, Gate: c.gate})
			if err != nil {
				t.Fatal(err)
			}
			l, err := server.ListenBehind("127.0.0.1:0", c.gate)
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- s.Serve(l) }()
			defer func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				_ = s.Shutdown(ctx)
				<-served
			}()
			rec, err := probe.Start(probe.Options{Address: c.at + l.Addr().String(), Token: c.token, TLS: c.tls, CloseTimeout: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			probe.Log(context.Background(), "hello")
			err = rec.Close()
			stats := rec.Stats()
			if c.says == "" {
				if err != nil || stats.Written == 0 || stats.Dropped != 0 {
					t.Errorf("%v, %+v", err, stats)
				}
				return
			}
			err = errors.Join(err, stats.Err)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), c.token) && c.token != "" || stats.Written != 0 {
				t.Errorf("%v, %+v", err, stats)
			}
		})
	}
	if _, err := probe.Start(probe.Options{Address: "127.0.0.1:1", Token: strings.Repeat("x", 300)}); err == nil || !strings.Contains(err.Error(), "at most 256") {
		t.Errorf("a token that is too long: %v", err)
	}
}
