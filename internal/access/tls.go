package access

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// Files name the keys and certificates of a server.
type Files struct {
	Cert, Key string // PEM; what the server shows
	ClientCA  string // PEM; who signs the certificates that clients must show; empty: they need none
}

// TLS is a server's side of TLS, from files that are read again when they change.
type TLS struct {
	files Files
	tell  func(error)

	mu     sync.Mutex
	looked time.Time
	seen   [3]stamp
	config *tls.Config
	broken error
}

// OpenTLS reads the files. tell, if not nil, is called when they can not be read later on (the server goes on with those it
// has), and, with nil, when they can again.
func OpenTLS(files Files, tell func(error)) (*TLS, error) {
	if files.Cert == "" || files.Key == "" {
		return nil, errors.New("TLS: both server.tls_cert and server.tls_key are needed")
	}
	if tell == nil {
		tell = func(error) {}
	}
	t := &TLS{files: files, tell: tell}
	var err error
	t.seen = t.stamps()
	t.config, err = t.read()
	t.looked = time.Now()
	return t, err
}

// Mutual says whether clients must show a certificate.
func (t *TLS) Mutual() bool { return t != nil && t.files.ClientCA != "" }

// Config gives what a listener needs. Each connection gets the files of its moment.
func (t *TLS) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return t.current(time.Now()), nil
		},
	}
}

func (t *TLS) current(now time.Time) *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	if since := now.Sub(t.looked); since < lookEvery && since >= 0 {
		return t.config
	}
	t.looked = now
	stamps := t.stamps()
	if stamps == t.seen && t.broken == nil {
		return t.config
	}
	config, err := t.read()
	if err == nil {
		t.config, t.seen = config, stamps
	}
	if (err == nil) != (t.broken == nil) {
		t.tell(err)
	}
	t.broken = err
	return t.config
}

func (t *TLS) stamps() (s [3]stamp) {
	for i, path := range [...]string{t.files.Cert, t.files.Key, t.files.ClientCA} {
		if info, err := os.Stat(path); err == nil {
			s[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return s
}

func (t *TLS) read() (*tls.Config, error) {
	info, err := os.Stat(t.files.Key)
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	if mode := info.Mode().Perm(); checksModes && mode&0o007 != 0 {
		return nil, fmt.Errorf("TLS: the key %s has mode %04o: everybody can read it; chmod 600 it", t.files.Key, mode)
	}
	pair, err := tls.LoadX509KeyPair(t.files.Cert, t.files.Key)
	if err != nil {
		return nil, fmt.Errorf("TLS: %s and %s: %w", t.files.Cert, t.files.Key, err)
	}
	// HTTP and our own protocol never meet on one listener, so the protocols offered are those of HTTP.
	config := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"},
		SessionTicketsDisabled: true} // so that each connection is judged by the authorities of its moment
	if t.files.ClientCA != "" {
		if config.ClientCAs, err = Pool(t.files.ClientCA); err != nil {
			return nil, err
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config, nil
}

// Pool reads certificates of authorities.
func Pool(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path) // #nosec G304 -- the operator names it
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("TLS: %s holds no certificate in PEM", path)
	}
	return pool, nil
}

// OfCertificate gives what a verified client certificate lets its owner do: its subject's organizational units name roles.
func OfCertificate(state *tls.ConnectionState) (g Grant, ok bool) {
	if state == nil || len(state.VerifiedChains) == 0 {
		return Grant{}, false
	}
	subject := state.PeerCertificates[0].Subject
	for _, unit := range subject.OrganizationalUnit {
		if r, err := ParseRole(strings.ToLower(unit)); err == nil {
			g.Roles |= r
		}
	}
	g.Who = fmt.Sprintf("certificate %.128q", subject.CommonName)
	return g, true
}
