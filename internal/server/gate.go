package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pastcone/pastcone/internal/access"
)

// Gate decides who gets in. The zero Gate, and nil, let everybody in who can reach the server: on loopback, and over a unix
// socket, that is this machine, or its owner.
type Gate struct {
	Tokens *access.Tokens // nil: there are none
	TLS    *access.TLS    // nil: none

	// Limits gives what one client may do; it can change. nil: no limits.
	Limits func() ClientLimits

	mu      sync.Mutex
	clients map[string]*account
}

// ClientLimits bound one client: a token, a certificate, or an address. 0 is no bound.
type ClientLimits struct {
	Connections      int
	BytesPerSecond   int64
	QueriesPerSecond int
}

// guarded says whether anybody has to say who they are.
func (g *Gate) guarded() bool { return g != nil && (g.Tokens != nil || g.TLS.Mutual()) }

// safe says whether an address that others can reach may be listened at.
func (g *Gate) safe() bool { return g.guarded() && g.TLS != nil }

// Grant gives what somebody may do: by the connection that they came on, by their certificate, and by their token. It fails with
// access.ErrNoToken or access.ErrToken; neither holds the token.
func (g *Gate) Grant(remote net.Addr, state *tls.ConnectionState, token string) (access.Grant, error) {
	from := access.Grant{Who: host(remote), Roles: access.All}
	if remote == nil || remote.Network() == "unix" || !g.guarded() {
		return from, nil // the socket is its owner's
	}
	byCertificate, shown := access.OfCertificate(state)
	if token == "" || g.Tokens == nil {
		switch {
		case shown && byCertificate.Roles != access.None:
			return byCertificate, nil
		case shown:
			return byCertificate, fmt.Errorf("%s names no role: its organizational units (OU) must be some of write, read, admin", byCertificate.Who)
		}
		return from, access.ErrNoToken
	}
	byToken, err := g.Tokens.Check(token, time.Now())
	if err != nil {
		return from, err
	}
	return byToken, nil
}

// Still says whether what somebody was let in with holds.
func (g *Gate) Still(grant access.Grant) bool {
	return g == nil || g.Tokens.Still(grant, time.Now())
}

// host gives the address without the port: the client, as far as limits go.
func host(a net.Addr) string {
	if a == nil {
		return "unknown"
	}
	if h, _, err := net.SplitHostPort(a.String()); err == nil {
		return h
	}
	return a.Network()
}

// account is what a client has used.
type account struct {
	connections int
	bytes       bucket
	queries     bucket
	seen        time.Time
}

// bucket fills with what may be used in a second, up to one second's worth; what is used beyond it makes it negative.
type bucket struct {
	left float64
	at   time.Time
}

// take takes n and gives how long it takes until the bucket is not negative any more.
func (b *bucket) take(n, perSecond float64, now time.Time) time.Duration {
	b.fill(perSecond, now)
	b.left -= n
	if b.left >= 0 {
		return 0
	}
	return time.Duration(-b.left / perSecond * float64(time.Second))
}

func (b *bucket) fill(perSecond float64, now time.Time) {
	if b.at.IsZero() {
		b.left = perSecond
	} else {
		b.left = min(perSecond, b.left+perSecond*now.Sub(b.at).Seconds())
	}
	b.at = now
}

// accountsMax bounds how many clients are remembered. Those without a connection, longest unseen, go first.
const accountsMax = 4096

// of gives a client's account. The caller holds the lock.
func (g *Gate) of(who string, now time.Time) *account {
	if g.clients == nil {
		g.clients = map[string]*account{}
	}
	a := g.clients[who]
	if a == nil {
		if len(g.clients) >= accountsMax {
			g.forget()
		}
		a = &account{}
		g.clients[who] = a
	}
	a.seen = now
	return a
}

// forget makes room. The caller holds the lock.
func (g *Gate) forget() {
	var oldest string
	var since time.Time
	for who, a := range g.clients {
		if a.connections == 0 && (oldest == "" || a.seen.Before(since)) {
			oldest, since = who, a.seen
		}
	}
	delete(g.clients, oldest)
}

func (g *Gate) limits() ClientLimits {
	if g == nil || g.Limits == nil {
		return ClientLimits{}
	}
	return g.Limits()
}

// Enter counts a connection of a client, or says why it has too many. leave must be called when it is over.
func (g *Gate) Enter(grant access.Grant) (leave func(), err error) {
	most := g.limits().Connections
	if g == nil {
		return func() {}, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.of(grant.Who, time.Now())
	if most > 0 && a.connections >= most {
		return nil, fmt.Errorf("%d connections of this client are open, the most that one may have (server.client_connections_max)", a.connections)
	}
	a.connections++
	return sync.OnceFunc(func() {
		g.mu.Lock()
		a.connections--
		g.mu.Unlock()
	}), nil
}

// payBytes waits until a client may send on: back-pressure, not refusal.
func (g *Gate) payBytes(ctx context.Context, grant access.Grant, n int) error {
	most := g.limits().BytesPerSecond
	if most <= 0 {
		return nil
	}
	now := time.Now()
	g.mu.Lock()
	wait := g.of(grant.Who, now).bytes.take(float64(n), float64(most), now)
	g.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errTooManyQueries says that a client asks more often than it may.
var errTooManyQueries = errors.New("this client asks more often than it may (server.client_queries_max): ask again in a second")

// PayQuery counts a question, or says that there are too many.
func (g *Gate) PayQuery(grant access.Grant) error {
	most := g.limits().QueriesPerSecond
	if most <= 0 {
		return nil
	}
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	b := &g.of(grant.Who, now).queries
	if b.fill(float64(most), now); b.left < 1 {
		return errTooManyQueries
	}
	b.left--
	return nil
}

// Open says that nobody is asked who they are.
func (g *Gate) Open() bool { return !g.guarded() }
