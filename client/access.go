package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/pastcone/pastcone/internal/protocol"
)

// Access is how a client shows a server who it is, and knows the server. The zero Access shows nothing: it is enough for a
// server on this machine that asks for nothing.
type Access struct {
	Token string      // of "pastcone token new"; empty: none
	TLS   *tls.Config // nil: none, but for addresses that begin with "tls:", where it is that of the system
}

// String tells what there is, never what it is.
func (a Access) String() string {
	return fmt.Sprintf("%v, TLS %v", protocol.Token(a.Token), a.TLS != nil)
}

// GoString hides the token from %#v.
func (a Access) GoString() string { return a.String() }

// The variables that say who a client is. None is a flag: what stands on a command line is seen by all users of a machine.
const (
	EnvToken     = "PASTCONE_TOKEN"      // #nosec G101 -- the name of a variable: the token itself
	EnvTokenFile = "PASTCONE_TOKEN_FILE" // #nosec G101 -- a file that holds it
	EnvCA        = "PASTCONE_TLS_CA"     // PEM: who signs the server's certificate
	EnvCert      = "PASTCONE_TLS_CERT"   // PEM: the client's certificate
	EnvKey       = "PASTCONE_TLS_KEY"    // PEM: its key
)

// tokenFileBytesMax bounds a file with a token.
const tokenFileBytesMax = 4 << 10

// AccessFromEnvironment reads the variables above. Where none is set it is the zero Access.
func AccessFromEnvironment() (a Access, err error) {
	a.Token = strings.TrimSpace(os.Getenv(EnvToken))
	if path := os.Getenv(EnvTokenFile); path != "" {
		if a.Token != "" {
			return Access{}, fmt.Errorf("%s and %s are both set: one of them must go", EnvToken, EnvTokenFile)
		}
		if a.Token, err = readToken(path); err != nil {
			return Access{}, fmt.Errorf("%s: %w", EnvTokenFile, err)
		}
	}
	if len(a.Token) > protocol.TokenBytesMax {
		return Access{}, fmt.Errorf("the token has %d bytes, at most %d are allowed", len(a.Token), protocol.TokenBytesMax)
	}
	ca, cert, key := os.Getenv(EnvCA), os.Getenv(EnvCert), os.Getenv(EnvKey)
	if ca == "" && cert == "" && key == "" {
		return a, nil
	}
	if (cert == "") != (key == "") {
		return Access{}, fmt.Errorf("%s and %s go together: one of them is not set", EnvCert, EnvKey)
	}
	a.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	if ca != "" {
		text, err := os.ReadFile(ca) // #nosec G304 G703 -- the user names it
		if err != nil {
			return Access{}, fmt.Errorf("%s: %w", EnvCA, err)
		}
		a.TLS.RootCAs = x509.NewCertPool()
		if !a.TLS.RootCAs.AppendCertsFromPEM(text) {
			return Access{}, fmt.Errorf("%s: %s holds no certificate in PEM", EnvCA, ca)
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return Access{}, fmt.Errorf("%s, %s: %w", EnvCert, EnvKey, err)
		}
		a.TLS.Certificates = []tls.Certificate{pair}
	}
	return a, nil
}

func readToken(path string) (string, error) {
	f, err := os.Open(path) // #nosec G304 G703 -- the user names it
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, tokenFileBytesMax+1))
	if err != nil {
		return "", err
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 || len(text) > tokenFileBytesMax || bytes.ContainsAny(text, " \t\r\n") {
		return "", errors.New("the file must hold a token and nothing else")
	}
	return string(text), nil
}

// connect makes the connection, with TLS where it is to be. A token is never sent where others could read it on its way.
func (a *Access) connect(ctx context.Context, address string) (net.Conn, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	target, secure := strings.CutPrefix(address, "tls:")
	if secure || a.TLS != nil {
		return (&tls.Dialer{Config: a.TLS}).DialContext(ctx, "tcp", target)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
	if err != nil || a.Token == "" {
		return conn, err
	}
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		_ = conn.Close()
		return nil, fmt.Errorf("connect to %s: the token is not sent without TLS to another machine: write tls:%s, or set %s", address, target, EnvCA)
	}
	return conn, nil
}
