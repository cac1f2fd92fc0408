package probe

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
)

// nameBytesMax bounds the names of streams, channels and locks; longer ones are cut.
const nameBytesMax = 200

// named counts everything that gets a name: streams, channels, locks. The number makes each unique.
var named atomic.Uint64

// stream is the events of one goroutine.
type stream struct {
	name  string // unique in the process
	shard *shard

	// Guarded by the shard's lock.
	session uint64 // the recorder that seq counts for
	seq     uint64 // of the last event
	pending bool   // spawned, and has no start event yet
}

// newStream makes a stream. Streams of the same name differ in their number.
func newStream(name string) *stream {
	n := named.Add(1)
	return &stream{name: numbered(name, n), shard: &shards[n%uint64(len(shards))]}
}

// numbered makes a name unique.
func numbered(name string, n uint64) string {
	return string(strconv.AppendUint(appendNameHead(nil, name), n, 10))
}

// appendNameHead appends the part of a numbered name before its number. A name that ends in a digit
// gets a dash, so that the number stays apart.
func appendNameHead(dst []byte, name string) []byte {
	if len(name) > nameBytesMax {
		name = name[:cutAt(name, nameBytesMax)]
	}
	if name == "" {
		name = "unnamed"
	}
	dst = append(dst, name...)
	if c := name[len(name)-1]; '0' <= c && c <= '9' {
		dst = append(dst, '-')
	}
	return dst
}

// scope is what a context carries: the stream, and what is known of the work that it does.
type scope struct {
	stream *stream // nil: no stream of this package; only what the runtime records of itself goes on
	baggage
}

// baggage goes along with the work: into the goroutines that it spawns, and with its messages.
type baggage struct {
	labels  []slog.Attr
	encoded []byte // the labels as the inside of a JSON object
	trace   *trace // in which it came from another process, or leaves to others; nil: none yet
}

type scopeKey struct{}

// scoped is a context with a scope. It is a type of its own so that the common case, in which nobody
// has wrapped it, needs no walk through its parents.
type scoped struct {
	context.Context
	scope *scope
}

func (c *scoped) Value(key any) any {
	if _, ok := key.(scopeKey); ok {
		return c.scope
	}
	return c.Context.Value(key)
}

// carried gives the scope that a context carries, nil if none.
func carried(ctx context.Context) *scope {
	switch c := ctx.(type) {
	case nil:
		return nil
	case *scoped:
		return c.scope
	}
	sc, _ := ctx.Value(scopeKey{}).(*scope)
	return sc
}

// scopeOf gives the scope of the goroutine that runs with this context.
func scopeOf(ctx context.Context) *scope {
	if sc := carried(ctx); sc != nil {
		return sc
	}
	if active.Load() == nil {
		return &nowhere
	}
	return ambient.scope(goroutineNumber())
}

// nowhere is the scope where no recorder gives out streams, but the runtime records.
var nowhere scope

func withScope(ctx context.Context, sc *scope) context.Context {
	if ctx == nil {
		ctx = context.Background()
	}
	if c, ok := ctx.(*scoped); ok {
		ctx = c.Context // the inner scope could never be seen again
	}
	return &scoped{ctx, sc}
}

// Attach gives the goroutine that calls it a stream of that name, which the returned context carries.
// It is for goroutines that are there already: main, or one that a library has started.
func Attach(ctx context.Context, name string) context.Context {
	sc := &scope{stream: newStream(name)}
	if outer := carried(ctx); outer != nil {
		sc.baggage = outer.baggage
	}
	if adopting.Load() {
		ambient.adopt(goroutineNumber(), sc)
	}
	return withScope(ctx, sc)
}

// Spawn records that a goroutine is being started, and returns the context for it. It is for
// goroutines that somebody else starts; [Go] is easier where it can be used. A web server's
// connections get their streams with
//
//	server.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
//		return probe.Spawn(ctx, "conn")
//	}
func Spawn(ctx context.Context, name string) context.Context {
	parent := carried(ctx)
	if active.Load() == nil {
		if parent == nil {
			return ctx
		}
		// Recording can begin later: the child must not write into its parent's stream then.
		return withScope(ctx, &scope{newStream(name), parent.baggage})
	}
	if parent == nil {
		parent = ambient.scope(goroutineNumber())
	}
	return spawn(ctx, parent, name, placeOf(2))
}

func spawn(ctx context.Context, parent *scope, name string, at *place) context.Context {
	child := newStream(name)
	child.pending = true // nobody else has it yet
	record(parent, now(), &fields{kind: "spawn", at: at, child: child.name, seen: true})
	return withScope(ctx, &scope{child, parent.baggage})
}

// Exit records that the stream of this context is over.
func Exit(ctx context.Context) {
	if active.Load() == nil {
		return
	}
	record(scopeOf(ctx), now(), &fields{kind: "exit", seen: true})
	if adopting.Load() {
		ambient.leave(goroutineNumber())
	}
}

// Go runs f in a new goroutine, with a context that carries a stream of its own, and records the
// spawn, the start and the exit.
func Go(ctx context.Context, name string, f func(ctx context.Context)) {
	if active.Load() == nil && carried(ctx) == nil {
		go f(ctx)
		return
	}
	if active.Load() != nil {
		ctx = spawn(ctx, scopeOf(ctx), name, placeOf(2))
	} else {
		ctx = Spawn(ctx, name)
	}
	go run(ctx, f)
}

func run(ctx context.Context, f func(ctx context.Context)) {
	sc := carried(ctx)
	if adopting.Load() {
		number := goroutineNumber()
		ambient.adopt(number, sc)
		defer ambient.leave(number)
	}
	record(sc, now(), &fields{seen: true}) // only the start, which is pending
	returned := false
	// No recover: a panic must end the program as it would without us, with its own stack.
	defer func() {
		if !returned {
			record(sc, now(), &fields{kind: "error", seen: true, attrs: []slog.Attr{
				slog.String("error", "the goroutine "+sc.stream.name+" ends by a panic or runtime.Goexit")}})
		}
		record(sc, now(), &fields{kind: "exit", seen: true})
		if !returned {
			if r := active.Load(); r != nil {
				_ = r.Flush() // the process may be about to die; an error shows in Stats
			}
		}
	}()
	f(ctx)
	returned = true
}

// With returns a context whose events all carry these attributes in their data, in this goroutine, in
// those that are spawned with it, and where [Chan.Take] receives what is sent with it. An attribute
// replaces an earlier one of the same key.
func With(ctx context.Context, attrs ...slog.Attr) context.Context {
	if off() && carried(ctx) == nil {
		return ctx
	}
	sc := scopeOf(ctx)
	labels := make([]slog.Attr, 0, len(sc.labels)+len(attrs))
	for _, a := range sc.labels {
		if !hasKey(attrs, a.Key) {
			labels = append(labels, a)
		}
	}
	for i, a := range attrs {
		if !hasKey(attrs[i+1:], a.Key) {
			a.Value = a.Value.Resolve()
			labels = append(labels, a)
		}
	}
	return withScope(ctx, &scope{sc.stream, baggage{labels, appendAttrs(nil, labels), sc.trace}})
}

// Continue returns a context with the deadline, cancellation, values and labels of work, in the stream
// of own. A goroutine that is handed a context with its work uses it instead of that context.
func Continue(work, own context.Context) context.Context {
	from := carried(work)
	if active.Load() == nil && from == nil {
		return work
	}
	sc := &scope{stream: scopeOf(own).stream}
	if from != nil {
		sc.baggage = from.baggage
	}
	return withScope(work, sc)
}

// ambient gives streams to goroutines whose context carries none.
var ambient ambientStreams

// ambientStreamsMax bounds how many goroutines are remembered. When it is reached all are forgotten:
// those that go on get a new stream, which is never wrong, only less connected.
const ambientStreamsMax = 1 << 15

type ambientStreams struct {
	mu      sync.RWMutex
	scopes  map[uint64]*scope
	session uint64
	adopted map[uint64]*scope // goroutines whose stream is known, though their context does not carry it
}

// adopting says that the streams of goroutines are remembered by number, too, so that what happens without a context finds
// them. It costs about a microsecond a goroutine, so only a log handler turns it on: programs log without a context.
var adopting atomic.Bool

// adopt remembers the stream of a goroutine. Beyond ambientStreamsMax it does not: then events without a context get a stream
// of their own.
func (a *ambientStreams) adopt(goroutine uint64, sc *scope) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.adopted == nil {
		a.adopted = map[uint64]*scope{}
	}
	if _, known := a.adopted[goroutine]; known || len(a.adopted) < ambientStreamsMax {
		a.adopted[goroutine] = sc
	}
}

// leave forgets a goroutine that ends.
func (a *ambientStreams) leave(goroutine uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.adopted, goroutine)
}

func (a *ambientStreams) scope(goroutine uint64) *scope {
	session := uint64(0)
	if r := active.Load(); r != nil {
		session = r.session
	}
	a.mu.RLock()
	if sc := a.adopted[goroutine]; sc != nil {
		a.mu.RUnlock()
		return sc
	}
	sc := a.scopes[goroutine]
	current := a.session == session
	a.mu.RUnlock()
	if sc != nil && current {
		return sc
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.scopes == nil || a.session != session || len(a.scopes) >= ambientStreamsMax {
		a.scopes, a.session = map[uint64]*scope{}, session
	}
	if sc := a.scopes[goroutine]; sc != nil {
		return sc
	}
	sc = &scope{stream: newStream("goroutine")}
	a.scopes[goroutine] = sc
	return sc
}

// goroutineNumber reads the number of the running goroutine from the head of its stack trace,
// "goroutine 17 [running]:", which is the only way the standard library has.
func goroutineNumber() uint64 {
	var head [64]byte
	text := head[:runtime.Stack(head[:], false)]
	text = bytes.TrimPrefix(text, []byte("goroutine "))
	var n uint64
	for _, c := range text {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}
