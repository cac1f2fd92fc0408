package monitor_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/access"
	"github.com/pastcone/pastcone/internal/access/accesstest"
	"github.com/pastcone/pastcone/internal/config"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/server"
	. "github.com/pastcone/pastcone/internal/server/monitor"
	"github.com/pastcone/pastcone/internal/wire"
)

func TestMain(m *testing.M) {
	http.DefaultClient.Timeout = 20 * time.Second
	goleak.VerifyTestMain(m)
}

// recording opens a recorder with a few events in it.
func recording(t *testing.T) (*recorder.Recorder, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "rec")
	rec, err := recorder.Open(dir, recorder.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := rec.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	in, err := rec.Source(recorder.Spec{Name: "test", Format: "ndjson"})
	if err != nil {
		t.Fatal(err)
	}
	b := &wire.Batch{}
	for seq := range uint64(5) {
		if err := b.AddEvent(in.Table(), &event.Event{Stream: "g1", Seq: seq + 1, Time: int64(seq), Kind: event.KindLog, Func: "f"}); err != nil { // #nosec G115
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := errors.Join(in.Push(ctx, b), in.Close(ctx, true)); err != nil {
		t.Fatal(err)
	}
	return rec, dir
}

// begin serves a monitor on loopback.
func begin(t *testing.T, o Options) (m *Monitor, base string) {
	t.Helper()
	if o.Status == nil {
		rec, dir := recording(t)
		line := rec.ServerOptions()
		o.Status, o.Dir = rec.Status, dir
		if o.Answerer == nil {
			o.Answerer = line.Answerer
		}
	}
	if o.Server == nil {
		o.Server = func() server.Stats { return server.Stats{Connections: 3, Batches: 7} }
	}
	if o.Settings == nil {
		o.Settings = config.Defaults
	}
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := server.Bind("127.0.0.1:0", o.Gate)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- m.Serve(l) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = m.Shutdown(ctx)
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return m, "http://" + l.Addr().String()
}

type reply struct {
	status int
	head   http.Header
	body   string
}

func do(t *testing.T, method, url, token, body string, heads ...string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(heads); i += 2 {
		if heads[i] == "Host" {
			r.Host = heads[i+1]
			continue
		}
		r.Header.Set(heads[i], heads[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{answer.StatusCode, answer.Header, string(text)}
}

func guarded(t *testing.T) (g *server.Gate, of map[access.Role]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	of = map[access.Role]string{access.None: ""}
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
	return &server.Gate{Tokens: open}, of
}

const jsonKind = "Content-Type"

func TestMonitor_EveryEndpointHasItsRole(t *testing.T) {
	g, of := guarded(t)
	_, base := begin(t, Options{Gate: g, Reload: func() ([]string, error) { return []string{"query.deadline is 2s"}, nil }})
	for _, c := range []struct {
		method, path, body string
		role               access.Role
		says               string
	}{
		{"GET", "/healthz", "", access.None, `"ok":true`},
		{"GET", "/readyz", "", access.None, `"ok":true`},
		{"GET", "/metrics", "", access.Read, `pastcone_events_total{state="stored"} 5`},
		{"POST", "/query", `{"op":"find","query":"{}"}`, access.Read, `"matched":5`},
		{"GET", "/settings", "", access.Admin, `{"key":"query.deadline","value":"1m"}`},
		{"POST", "/settings/reload", "", access.Admin, "query.deadline is 2s"},
		{"GET", "/debug/pprof/goroutine?debug=1", "", access.Admin, "goroutine profile"},
		{"GET", "/debug/pprof/symbol", "", access.Admin, "num_symbols"},
	} {
		for role, token := range of {
			got := do(t, c.method, base+c.path, token, c.body, jsonKind, "application/json")
			want := http.StatusOK
			switch {
			case role == access.None && c.role != access.None:
				want = http.StatusUnauthorized
			case !role.Has(c.role):
				want = http.StatusForbidden
			}
			if got.status != want || want == http.StatusOK && !strings.Contains(got.body, c.says) {
				t.Errorf("%s with the role %s: %d %.200s, want %d", c.path, role, got.status, got.body, want)
			}
			if want == http.StatusUnauthorized && got.head.Get("WWW-Authenticate") == "" {
				t.Errorf("%s does not say how to come in", c.path)
			}
		}
	}
	if got := do(t, "GET", base+"/metrics", "pct_wrong", ""); got.status != http.StatusUnauthorized || strings.Contains(got.body, "pct_wrong") {
		t.Errorf("a wrong token: %+v", got)
	}
	if got := do(t, "GET", base+"/metrics?token="+of[access.Read], "", ""); got.status != http.StatusUnauthorized {
		t.Errorf("a token in an address, where it would be logged: %d", got.status)
	}
	if got := do(t, "GET", base+"/elsewhere", of[access.Admin], ""); got.status != http.StatusNotFound {
		t.Errorf("elsewhere: %d", got.status)
	}
}

// Without authentication it is for this machine: not for web pages that a browser on it shows, nor for profiles.
func TestMonitor_WithoutAuthenticationABrowserIsNoWayIn(t *testing.T) {
	_, base := begin(t, Options{})
	question := `{"op":"find","query":"{}"}`
	for name, c := range map[string]struct {
		got  reply
		want int
	}{
		"by its address":                     {do(t, "GET", base+"/metrics", "", ""), 200},
		"by localhost":                       {do(t, "GET", base+"/metrics", "", "", "Host", "localhost:7072"), 200},
		"by IPv6":                            {do(t, "GET", base+"/metrics", "", "", "Host", "[::1]:7072"), 200},
		"by a name that leads here":          {do(t, "GET", base+"/metrics", "", "", "Host", "evil.example:7072"), 421},
		"by a name like it":                  {do(t, "GET", base+"/metrics", "", "", "Host", "localhost.evil.example"), 421},
		"a question":                         {do(t, "POST", base+"/query", "", question, jsonKind, "application/json"), 200},
		"a question of another origin":       {do(t, "POST", base+"/query", "", question, jsonKind, "application/json", "Origin", "https://evil.example"), 403},
		"a question across sites":            {do(t, "POST", base+"/query", "", question, jsonKind, "application/json", "Sec-Fetch-Site", "cross-site"), 403},
		"a question as a form could send it": {do(t, "POST", base+"/query", "", question, jsonKind, "text/plain"), 415},
		"a preflight":                        {do(t, "OPTIONS", base+"/query", "", "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST"), 405},
		"profiles":                           {do(t, "GET", base+"/debug/pprof/heap", "", ""), 403},
		"settings that can not be read":      {do(t, "POST", base+"/settings/reload", "", ""), 404},
	} {
		if c.got.status != c.want {
			t.Errorf("%s: %d %s, want %d", name, c.got.status, c.got.body, c.want)
		}
		for head := range c.got.head {
			if strings.HasPrefix(head, "Access-Control-") {
				t.Errorf("%s: the answer shares: %s", name, head)
			}
		}
		if csp := c.got.head.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || c.got.head.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: heads %v", name, c.got.head)
		}
	}
}

// answers is an answerer made of a function.
type answers func(ctx context.Context, op string, args json.RawMessage, w func([]byte) error) error

func (a answers) Answer(ctx context.Context, op string, args json.RawMessage, w func([]byte) error) error {
	return a(ctx, op, args, w)
}

func TestMonitor_QuestionsAreBounded(t *testing.T) {
	var bombs atomic.Int64
	waiting := make(chan struct{}, 16)
	fake := answers(func(ctx context.Context, op string, args json.RawMessage, w func([]byte) error) error {
		switch op {
		case "slow":
			waiting <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		case "half":
			if err := w([]byte(`{"n":1}`)); err != nil {
				return err
			}
			return errors.New("the rest is damaged")
		case "panic":
			panic("oh")
		case "none":
			return nil
		case "huge":
			return errors.New("what a query may hold is 256 MiB")
		}
		bombs.Add(1)
		return w(args)
	})
	_, base := begin(t, Options{Answerer: fake, QueryTimeout: func() time.Duration { return 300 * time.Millisecond }})
	ask := func(body string, heads ...string) reply {
		return do(t, "POST", base+"/query", "", body, append([]string{jsonKind, "application/json"}, heads...)...)
	}
	for name, c := range map[string]struct {
		got    reply
		status int
		says   string
	}{
		"a body beyond its bound":        {ask(`{"op":"` + strings.Repeat("x", 2<<20) + `"}`), 413, "too large"},
		"a compressed body":              {ask("\x1f\x8b", "Content-Encoding", "gzip"), 415, "compressed"},
		"no JSON":                        {ask("find errors"), 400, "JSON object"},
		"null":                           {ask("null"), 400, "JSON object"},
		"two questions":                  {ask(`{"op":"x"} {"op":"y"}`), 400, "one JSON object"},
		"no op":                          {ask(`{"query":"{}"}`), 400, `an "op"`},
		"one that takes too long":        {ask(`{"op":"slow"}`), 504, "deadline"},
		"one that breaks off":            {ask(`{"op":"half"}`), 200, "{\"n\":1}\n{\"error\":\"the rest is damaged\"}\n"},
		"one on which the server panics": {ask(`{"op":"panic"}`), 422, "the server failed"},
		"one that wants too much memory": {ask(`{"op":"huge"}`), 422, "256 MiB"},
		"one without lines":              {ask(`{"op":"none"}`), 200, ""},
		"one that is fine":               {ask(`{"op":"fine","limit":3}`), 200, `"json":true`},
	} {
		if c.got.status != c.status || !strings.Contains(c.got.body, c.says) {
			t.Errorf("%s: %d %.200s, want %d %s", name, c.got.status, c.got.body, c.status, c.says)
		}
	}
	if n := bombs.Load(); n != 1 {
		t.Errorf("%d questions reached the answerer", n)
	}
	for len(waiting) > 0 {
		<-waiting
	}
	over := make(chan reply, 8)
	for range 8 {
		go func() { over <- ask(`{"op":"slow"}`) }()
	}
	for range 8 {
		<-waiting
	}
	if got := ask(`{"op":"fine"}`); got.status != 503 || got.head.Get("Retry-After") == "" {
		t.Errorf("a ninth question at a time: %d %s", got.status, got.body)
	}
	for range 8 {
		<-over
	}
}

func TestMonitor_RealQuestionsFailAsTheyDoElsewhere(t *testing.T) {
	_, base := begin(t, Options{Gate: &server.Gate{Limits: func() server.ClientLimits { return server.ClientLimits{QueriesPerSecond: 5} }}})
	ask := func(body string) reply { return do(t, "POST", base+"/query", "", body, jsonKind, "application/json") }
	for body, status := range map[string]int{
		`{"op":"fly"}`: 400, `{"op":"find","query":"{}","colour":1}`: 400, `{"op":"why","events":["4711"]}`: 404, `{"op":"find","query":"{ kind = "}`: 422,
	} {
		if got := ask(body); got.status != status && !(status == 404 && got.status == 422) {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
	limited := 0
	for range 10 {
		if got := ask(`{"op":"stats"}`); got.status == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited < 5 {
		t.Errorf("%d of 14 questions at once were refused: 5 are allowed in a second", limited)
	}
}

// Clients that send their heads a byte at a time are cut off, and others get in meanwhile.
func TestMonitor_SlowClientsAreCutOff(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for the server's patience to end")
	}
	_, base := begin(t, Options{ConnectionsMax: 8})
	address := strings.TrimPrefix(base, "http://")
	var slow []net.Conn
	for range 20 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "))
		slow = append(slow, conn)
	}
	ended := make(chan int, len(slow))
	began := time.Now()
	for i, conn := range slow {
		go func() {
			for {
				if _, err := conn.Write([]byte("x")); err != nil {
					ended <- i
					return
				}
				time.Sleep(200 * time.Millisecond)
			}
		}()
	}
	for range slow {
		select {
		case <-ended:
		case <-time.After(15 * time.Second):
			t.Fatal("a slow client keeps its line")
		}
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
	if got := do(t, "GET", base+"/healthz", "", ""); got.status != 200 {
		t.Errorf("then: %d", got.status)
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: %s\r\n\r\n", strings.Repeat("x", 64<<10))
	if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a head beyond its bound: %v, %v", answer, err)
	}
}

// Every series has a head, every sample a number; the ledger balances on the page.
func TestMonitor_MetricsAreWhatPrometheusReads(t *testing.T) {
	odd := recorder.Status{}
	odd.Books.All.Accepted, odd.Books.All.Stored, odd.Books.All.Shed, odd.Books.All.Rejected, odd.Books.All.InFlight = 10, 5, 2, 2, 1
	odd.Books.All.ShedBy = map[string]uint64{"ring full": 2}
	odd.Books.All.RejectedBy = map[string]uint64{"an \"odd\"\\\nreason \xff" + strings.Repeat("x", 500): 2}
	odd.Books.Sources = append(odd.Books.Sources, odd.Books.All)
	odd.Correlated.Count, odd.Correlated.Mean, odd.Correlated.P99 = 4, time.Millisecond, 2*time.Millisecond
	for range 300 {
		odd.Books.Sources = append(odd.Books.Sources, odd.Books.All)
	}
	_, base := begin(t, Options{Status: func() recorder.Status { return odd }, Dir: t.TempDir()})
	page := do(t, "GET", base+"/metrics", "", "").body
	kinds, samples := map[string]string{}, 0
	for text := range strings.Lines(page) {
		text = strings.TrimSuffix(text, "\n")
		f := strings.SplitN(text, " ", 4)
		if strings.HasPrefix(text, "# TYPE ") {
			if kinds[f[2]] != "" {
				t.Errorf("%s has two heads", f[2])
			}
			kinds[f[2]] = f[3]
			continue
		}
		if strings.HasPrefix(text, "# HELP ") {
			continue
		}
		samples++
		name, _, _ := strings.Cut(text, "{")
		name, _, _ = strings.Cut(name, " ")
		family := name
		if kinds[family] == "" {
			family = strings.TrimSuffix(strings.TrimSuffix(name, "_sum"), "_count")
		}
		var value float64
		if _, err := fmt.Sscanf(text[strings.LastIndex(text, " ")+1:], "%g", &value); kinds[family] == "" || err != nil {
			t.Errorf("the sample %q: head %q, %v", text, kinds[family], err)
		}
	}
	for _, w := range []string{
		`pastcone_events_total{state="accepted"} 10`, `pastcone_events_in_flight 1`, `pastcone_events_shed_total{reason="ring full"} 2`,
		`pastcone_latency_seconds{stage="correlated",quantile="0.99"} 0.002`, `pastcone_latency_seconds_sum{stage="correlated"} 0.004`,
		`pastcone_sources_not_shown 101`, `pastcone_connections{line="protocol"} 3`, `pastcone_batches_total 7`, `pastcone_ready 1`,
		`reason="an \"odd\"\\\nreason `, "go_goroutines", "pastcone_store_free_bytes",
	} {
		if !strings.Contains(page, w) {
			t.Errorf("the page does not say %s", w)
		}
	}
	if samples < 200 || len(page) > 1<<20 {
		t.Errorf("%d samples, %d bytes", samples, len(page))
	}
}

// What readiness and health say is what is so: each trouble is named, and over when it is over.
func TestMonitor_ReadinessIsTrue(t *testing.T) {
	g, of := guarded(t)
	var now atomic.Pointer[recorder.Status]
	now.Store(&recorder.Status{})
	m, base := begin(t, Options{Status: func() recorder.Status { return *now.Load() }, Dir: t.TempDir(), Gate: g})
	for name, c := range map[string]struct {
		change  func(*recorder.Status)
		healthy bool
		says    string
	}{
		"a full disk":             {func(s *recorder.Status) { s.Store.Full = true }, true, "the disk is full"},
		"a disk that fails":       {func(s *recorder.Status) { s.Failed = "fsync: input/output error" }, false, "fsync: input/output error"},
		"a store that waits":      {func(s *recorder.Status) { s.Blocked = "no space left" }, true, "no space left"},
		"all is well, under load": {func(s *recorder.Status) { s.Intake.Backlog.Batches, s.Store.UndurableEvents = 5, 1 }, true, ""},
	} {
		var s recorder.Status
		c.change(&s)
		now.Store(&s)
		ready, health := do(t, "GET", base+"/readyz", of[access.Read], ""), do(t, "GET", base+"/healthz", of[access.Read], "")
		if (ready.status == 200) != (c.says == "") || !strings.Contains(ready.body, c.says) || (health.status == 200) != c.healthy {
			t.Errorf("%s: ready %d %s, health %d %s", name, ready.status, ready.body, health.status, health.body)
		}
		if other := do(t, "GET", base+"/readyz", "", ""); other.status != ready.status || strings.Contains(other.body, "reasons") {
			t.Errorf("%s: what everybody is told: %d %s", name, other.status, other.body)
		}
		now.Store(&recorder.Status{})
		if again := do(t, "GET", base+"/readyz", "", ""); again.status != 200 {
			t.Errorf("%s is over: %d %s", name, again.status, again.body)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	http.DefaultClient.CloseIdleConnections()
	if err := m.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func TestMonitor_ReloadNamesWhatCanNotChange(t *testing.T) {
	g, of := guarded(t)
	live, err := config.NewLive(config.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	said := &bytes.Buffer{}
	_, base := begin(t, Options{Gate: g, Log: slog.New(slog.NewJSONHandler(said, nil)), Reload: func() ([]string, error) {
		next := config.Defaults()
		next.Ring.CapacityEvents = 1 << 18
		return nil, live.Store(next)
	}})
	got := do(t, "POST", base+"/settings/reload", of[access.Admin], "")
	if got.status != http.StatusConflict || !strings.Contains(got.body, `"setting":"ring.capacity_events","wrong":"it can not change while the recorder runs`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	if !strings.Contains(said.String(), `(admin)`) || strings.Contains(said.String(), of[access.Admin]) {
		t.Errorf("the log: %s", said)
	}
}

func TestMonitor_SpeaksTLS(t *testing.T) {
	a := accesstest.NewAuthority(t)
	cert, key := a.Issue("server")
	files, err := access.OpenTLS(access.Files{Cert: cert, Key: key, ClientCA: a.File}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, base := begin(t, Options{Gate: &server.Gate{TLS: files}})
	base = "https" + strings.TrimPrefix(base, "http")
	for role, want := range map[string]int{"read": 200, "write": 403, "sales": 401} {
		transport := &http.Transport{TLSClientConfig: a.Client("client", role)}
		c := http.Client{Transport: transport, Timeout: 10 * time.Second}
		answer, err := c.Get(base + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: %d, want %d", role, answer.StatusCode, want)
		}
		transport.CloseIdleConnections()
	}
	if _, err := (&http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: a.Client("")}}).Get(base + "/metrics"); err == nil {
		t.Error("a client without a certificate came in")
	}
}

func TestMonitor_NeedsSomethingToWatch(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("nothing to watch")
	}
	m, base := begin(t, Options{Routes: []Route{{"GET /pressure", access.Read, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "normal") })}}})
	if got := do(t, "GET", base+"/pressure", "", ""); got.body != "normal" {
		t.Errorf("%+v", got)
	}
	_ = m
}
