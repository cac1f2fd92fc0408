package monitor

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pastcone/pastcone/internal/access"
	"github.com/pastcone/pastcone/internal/config"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/server"
)

// The bounds of the HTTP side.
const (
	headBytesMax   = 16 << 10
	bodyBytesMax   = 1 << 20
	queriesMax     = 8 // at a time
	headTimeout    = 5 * time.Second
	bodyTimeout    = 15 * time.Second
	answerTimeout  = 30 * time.Second // of everything but questions and profiles
	idleTimeout    = time.Minute
	profileMax     = 2 * time.Minute
	connectionsMax = 64
)

// Options say what is watched. Status, Server and Settings are required.
type Options struct {
	Status   func() recorder.Status
	Server   func() server.Stats
	Settings func() *config.Settings
	// Reload reads the settings again and says what has changed. nil: it can not be asked for.
	Reload func() (changed []string, err error)

	Dir          string               // of the recording: is there room?
	Answerer     server.Answerer      // nil: no questions
	QueryTimeout func() time.Duration // nil: a minute
	Gate         *server.Gate         // nil: everybody who can reach it, which must be this machine only
	Log          *slog.Logger         // nil: none

	ConnectionsMax int     // 0: 64
	Routes         []Route // further ones
}

// Route is something else that is served.
type Route struct {
	Pattern string // of http.ServeMux: "GET /pressure"
	Role    access.Role
	Handler http.Handler
}

// Monitor serves. Make it with New.
type Monitor struct {
	o      Options
	http   *http.Server
	health *health
	asking chan struct{}

	requests, refused, turnedAway, connections atomic.Int64

	stop     context.CancelFunc
	watching sync.WaitGroup
}

// New makes a monitor, which begins to watch.
func New(o Options) (*Monitor, error) {
	if o.Status == nil || o.Server == nil || o.Settings == nil {
		return nil, errors.New("monitor: Status, Server and Settings are required")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.QueryTimeout == nil {
		o.QueryTimeout = func() time.Duration { return time.Minute }
	}
	if o.ConnectionsMax == 0 {
		o.ConnectionsMax = connectionsMax
	}
	m := &Monitor{o: o, asking: make(chan struct{}, queriesMax)}
	m.health = newHealth(o.Status, o.Dir)
	var ctx context.Context
	ctx, m.stop = context.WithCancel(context.Background())
	m.watching.Go(func() { m.health.watch(ctx) })

	mux := http.NewServeMux()
	for _, r := range append([]Route{
		{"GET /healthz", access.None, http.HandlerFunc(m.healthz)},
		{"GET /readyz", access.None, http.HandlerFunc(m.readyz)},
		{"GET /metrics", access.Read, http.HandlerFunc(m.metrics)},
		{"POST /query", access.Read, http.HandlerFunc(m.query)},
		{"GET /settings", access.Admin, http.HandlerFunc(m.settings)},
		{"POST /settings/reload", access.Admin, http.HandlerFunc(m.reload)},
		{"GET /debug/pprof/", access.Admin, m.profile(pprof.Index)}, // and the named profiles below it
		{"GET /debug/pprof/profile", access.Admin, m.profile(pprof.Profile)},
		{"GET /debug/pprof/trace", access.Admin, m.profile(pprof.Trace)},
		{"GET /debug/pprof/symbol", access.Admin, m.profile(pprof.Symbol)},
	}, o.Routes...) {
		mux.Handle(r.Pattern, m.behind(r.Role, r.Handler))
	}
	m.http = &http.Server{
		Handler:           m.guard(http.NewCrossOriginProtection().Handler(mux)),
		ReadHeaderTimeout: headTimeout, ReadTimeout: bodyTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: headBytesMax,
		ErrorLog:       log.New(quiet{o.Log}, "", 0),
	}
	return m, nil
}

// quiet takes what net/http says about broken connections and handshakes: no warning, whoever can reach us could fill the log.
type quiet struct{ log *slog.Logger }

func (q quiet) Write(p []byte) (int, error) {
	q.log.Debug("http", "said", string(p))
	return len(p), nil
}

// Serve takes connections until Shutdown, then it gives http.ErrServerClosed. It closes the listener, which is one of server.Bind:
// TLS is above the limits.
func (m *Monitor) Serve(l net.Listener) error {
	return m.http.Serve(m.o.Gate.Secure(&limited{Listener: l, m: m, most: int64(m.o.ConnectionsMax)}))
}

// Shutdown ends it: requests get their answers until ctx is over.
func (m *Monitor) Shutdown(ctx context.Context) error {
	m.stop()
	err := m.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, m.http.Close())
	}
	m.watching.Wait()
	return err
}

// limited is a listener that turns connections away beyond a number, in all and of one address. It goes on when the process is out of
// file descriptors.
type limited struct {
	net.Listener
	m    *Monitor
	most int64
}

// Accept gives the next connection that may come in.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err // net/http waits and goes on where that may help
		}
		leave, err := l.m.o.Gate.Enter(access.Grant{Who: "http " + host(conn.RemoteAddr())})
		if err == nil && l.m.connections.Load() < l.most {
			l.m.connections.Add(1)
			return &counted{Conn: conn, over: sync.OnceFunc(func() {
				l.m.connections.Add(-1)
				leave()
			})}, nil
		}
		if err == nil {
			leave()
		}
		l.m.turnedAway.Add(1)
		_ = conn.Close()
	}
}

func host(a net.Addr) string {
	if h, _, err := net.SplitHostPort(a.String()); err == nil {
		return h
	}
	return a.String()
}

// counted is a connection that says when it is over.
type counted struct {
	net.Conn
	over func()
}

// Close ends it.
func (c *counted) Close() error {
	c.over()
	return c.Conn.Close()
}

// contentPolicy lets a browser that shows one of our answers load and run nothing.
const contentPolicy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// guard is in front of everything.
func (m *Monitor) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.requests.Add(1)
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if m.o.Gate.Open() && !localHost(r.Host) {
			// A name that an attacker has pointed at this machine would make a web page ours in a browser's eyes.
			m.refuse(w, http.StatusMisdirectedRequest, "this server asks nobody who they are: it is to be called by localhost or a loopback address, not by another name")
			return
		}
		if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
			m.refuse(w, http.StatusUnsupportedMediaType, "compressed bodies are not taken")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, bodyBytesMax)
		next.ServeHTTP(w, r)
	})
}

// localHost says whether a Host header names this machine.
func localHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		host = host[1 : n-1]
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func (m *Monitor) refuse(w http.ResponseWriter, status int, why string) {
	m.refused.Add(1)
	http.Error(w, why, status)
}

type grantKey struct{}

// grantOf gives what the request's sender may do.
func grantOf(r *http.Request) access.Grant {
	g, _ := r.Context().Value(grantKey{}).(access.Grant)
	return g
}

const bearer = "Bearer "

// behind lets in who has the role; for none, everybody, with what they have.
func (m *Monitor) behind(role access.Role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := ""
		if value := r.Header.Get("Authorization"); len(value) > len(bearer) && value[:len(bearer)] == bearer {
			token = value[len(bearer):]
		}
		r.Header.Del("Authorization") // no handler needs it, none can tell it
		grant, err := m.o.Gate.Grant(tcpAddr(r.RemoteAddr), r.TLS, token)
		if err != nil {
			if role != access.None {
				w.Header().Set("WWW-Authenticate", `Bearer realm="pastcone"`)
				m.refuse(w, http.StatusUnauthorized, err.Error())
				return
			}
			grant = access.Grant{Who: grant.Who}
		}
		if !grant.Roles.Has(role) {
			m.refuse(w, http.StatusForbidden, fmt.Sprintf("%s has the roles %s: %s is needed for this", grant.Who, grant.Roles, role))
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), grantKey{}, grant)))
	})
}

// tcpAddr is a request's sender as an address.
type tcpAddr string

// Network is always tcp.
func (tcpAddr) Network() string { return "tcp" }

// String gives the address.
func (a tcpAddr) String() string { return string(a) }

// profile bounds a profile, and refuses it where nobody is asked who they are: it shows the insides of the process.
func (m *Monitor) profile(f http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.o.Gate.Open() {
			m.refuse(w, http.StatusForbidden, "profiles need authentication: start the server with --server-tokens, and come with a token of the role admin")
			return
		}
		deadline := time.Now().Add(profileMax)
		_ = http.NewResponseController(w).SetWriteDeadline(deadline)
		ctx, cancel := context.WithDeadline(r.Context(), deadline)
		defer cancel()
		f(w, r.WithContext(ctx))
	})
}
