package server_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/internal/protocol"
	. "github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/server/servertest"
)

func TestListen_OnThisMachineOnly(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.168.7.7:0", "example.com:80"} {
		if _, err := Listen(address); !errors.Is(err, ErrNotLoopback) || !strings.Contains(err.Error(), "nor authentication") || !strings.Contains(err.Error(), "pastcone serve --listen "+address+" --server-tokens") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for address, says := range map[string]string{
		"7071": "write unix:PATH or HOST:PORT", "unix:": "is missing", "unix:/nowhere/at/all/s": "no such file",
		"unix:" + filepath.Join(t.TempDir(), strings.Repeat("x", 100)): "at most 103 fit",
	} {
		if _, err := Listen(address); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"localhost:0", "127.0.0.9:0"} {
		l, err := Listen(address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(l.Addr().String()); err == nil {
			t.Errorf("%s is listened on twice", l.Addr())
		}
		_ = l.Close()
	}
}

func TestListen_UnixSocketIsPrivateAndReplacesADeadOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	address := "unix:" + path
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = dead.Close()

	l, err := Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if l.Addr().String() != path {
		t.Errorf("address %s", l.Addr())
	}
	if _, err := Listen(address); !errors.Is(err, ErrInUse) {
		t.Errorf("a second server: %v", err)
	}
	s, err := New(Options{Answerer: servertest.Answerer{}})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t, conn, protocol.NewReader(conn, 1<<20)}
	p.send((&protocol.Hello{Version: 1}).Append(nil))
	p.want("welcome")
	_ = conn.Close()
	_ = s.Shutdown(context.Background())
	<-served
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(address); err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("on a file: %v", err)
	}
	entries, _ := os.ReadDir(filepath.Dir(path))
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}
