package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrNotLoopback says that an address can be reached from other machines, and nothing would keep them out.
var ErrNotLoopback = errors.New("other machines can reach it, and whoever can reach a server without authentication could read and write the recording")

// notLoopback is ErrNotLoopback with the lines that mend it.
func (g *Gate) notLoopback(address string) error {
	lacks := "it has neither TLS nor authentication"
	switch {
	case g.guarded():
		lacks = "it has no TLS, so tokens and events could be read on their way"
	case g != nil && g.TLS != nil:
		lacks = "it has TLS but no authentication"
	}
	return fmt.Errorf("listen on %q: %w: %s. Use 127.0.0.1, a unix socket or a tunnel (ssh -L); or:\n"+
		"  pastcone token new --tokens tokens --role write,read\n"+
		"  pastcone serve --listen %s --server-tokens tokens --server-tls-cert cert.pem --server-tls-key key.pem",
		address, ErrNotLoopback, lacks, address)
}

// ErrInUse says that another server listens there.
var ErrInUse = errors.New("another server listens there")

const unixPrefix = "unix:"

// Listen opens an address where everybody may come who can reach it: "unix:/path/to/socket", or the host and port of a
// loopback address, such as "127.0.0.1:7071". Port 0 is any that is free.
func Listen(address string) (net.Listener, error) { return ListenBehind(address, nil) }

// ListenBehind opens an address behind a gate: TCP speaks TLS if the gate has it.
func ListenBehind(address string, g *Gate) (net.Listener, error) {
	l, err := Bind(address, g)
	if err != nil {
		return nil, err
	}
	return g.Secure(l), nil
}

// Secure makes a listener speak TLS, if the gate has it; a unix socket needs none.
func (g *Gate) Secure(l net.Listener) net.Listener {
	if g == nil || g.TLS == nil || l.Addr().Network() == "unix" {
		return l
	}
	return tls.NewListener(l, g.TLS.Config())
}

// Bind opens an address, and does not speak TLS at it yet: see Secure. Other machines may reach it only if the gate has
// TLS and authentication.
func Bind(address string, g *Gate) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		return listenUnix(path)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w: write unix:PATH or HOST:PORT", address, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && !g.safe() {
		return nil, g.notLoopback(address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err // it names the address
	}
	// The name "localhost" is what the machine's settings make of it.
	if tcp, ok := l.Addr().(*net.TCPAddr); (!ok || !tcp.IP.IsLoopback()) && !g.safe() {
		_ = l.Close()
		return nil, fmt.Errorf("%q is %s: %w", address, l.Addr(), g.notLoopback(address))
	}
	return l, nil
}

// unixPathBytesMax is what fits into the address of a socket on every system.
const unixPathBytesMax = 103

// listenUnix makes a socket that only this user can open. It is made in a folder of its own and then
// moved to its place, so that there is no moment at which others could.
func listenUnix(path string) (net.Listener, error) {
	if path == "" {
		return nil, errors.New(`listen on "unix:": the path of the socket is missing`)
	}
	if len(path) > unixPathBytesMax {
		return nil, fmt.Errorf("listen on unix:%s: the path has %d bytes, at most %d fit into an address", path, len(path), unixPathBytesMax)
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("listen on unix:%s: %w", path, err)
	}
	private, err := os.MkdirTemp(filepath.Dir(path), ".pc")
	if err != nil {
		return nil, fmt.Errorf("listen on unix:%s: %w", path, err)
	}
	defer os.RemoveAll(private) //nolint:errcheck // it is empty by then
	first := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: first, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on unix:%s: %w: a shorter path may help", path, err)
	}
	l.SetUnlinkOnClose(false)
	err = os.Chmod(first, 0o600)
	if err == nil {
		err = os.Rename(first, path)
	}
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("listen on unix:%s: %w", path, err)
	}
	return &unixListener{l, path}, nil
}

type unixListener struct {
	*net.UnixListener
	path string
}

func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func (l *unixListener) Close() error {
	err := l.UnixListener.Close()
	if err == nil {
		_ = os.Remove(l.path)
	}
	return err
}

// removeStale makes room for a socket, where one is that nobody listens on any more.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return errors.New("there is something else at this path")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
		return ErrInUse
	}
	return os.Remove(path)
}
