package probe

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
)

// trace is a causal context that crosses processes, in the form of W3C Trace Context: what the header traceparent says, and the
// header tracestate, which is handed on as it is.
type trace struct {
	id    string // 32 hexadecimal digits
	span  string // 16
	flags string // 2
	state string
}

const (
	headerParent  = "traceparent"
	headerState   = "tracestate"
	stateBytesMax = 512 // longer ones need not be handed on
)

// ref is the name, in all processes, of the event with which this context left the process that made it.
func (t *trace) ref() string { return "trace:" + t.id + "-" + t.span }

func (t *trace) header() string { return "00-" + t.id + "-" + t.span + "-" + t.flags }

// newTrace begins a trace. Its flag says that the caller may have recorded what it did, which is so.
func newTrace() *trace { return &trace{id: randomHex(16), flags: "01"} }

// child gives a context of the same trace for what leaves now.
func (t *trace) child() *trace {
	c := *t
	c.span = randomHex(8)
	return &c
}

// randomHex gives n random bytes, not all of them zero, as hexadecimal digits.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	b[0] |= 1
	return hex.EncodeToString(b)
}

// parseTrace reads a traceparent: version, trace, span, flags. A later version may have more behind that.
func parseTrace(header string) (*trace, bool) {
	const size = 2 + 1 + 32 + 1 + 16 + 1 + 2
	if len(header) < size || len(header) > size && (header[size] != '-' || header[:2] == "00") ||
		header[2] != '-' || header[35] != '-' || header[52] != '-' {
		return nil, false
	}
	t := &trace{id: header[3:35], span: header[36:52], flags: header[53:55]}
	if !isHex(header[:2]) || header[:2] == "ff" || !isHex(t.id) || !isHex(t.span) || !isHex(t.flags) || isZero(t.id) || isZero(t.span) {
		return nil, false
	}
	return t, true
}

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isZero(s string) bool {
	for _, c := range []byte(s) {
		if c != '0' {
			return false
		}
	}
	return true
}

// Carrier is what goes along with a request or a message: named texts. http.Header is one; [Metadata] makes one of any other
// map.
type Carrier interface {
	Get(key string) string
	Set(key, value string)
}

// Metadata makes a [Carrier] of a map whose keys are in lower case, as gRPC's metadata.MD has them, and the headers of most message
// queues: probe.Metadata(md).
type Metadata map[string][]string

// Get gives the first value of a key, "" if there is none.
func (m Metadata) Get(key string) string {
	if v := m[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set replaces the values of a key. The map must not be nil.
func (m Metadata) Set(key, value string) { m[key] = []string{value} }

// Values gives all values of a key.
func (m Metadata) Values(key string) []string { return m[key] }

// incoming reads the causal context from a carrier. Two of them are none: nobody knows which is right.
func incoming(from Carrier) *trace {
	if from == nil {
		return nil
	}
	if all, ok := from.(interface{ Values(key string) []string }); ok && len(all.Values(headerParent)) > 1 {
		return nil
	}
	t, ok := parseTrace(from.Get(headerParent))
	if !ok {
		return nil
	}
	if t.state = from.Get(headerState); len(t.state) > stateBytesMax {
		t.state = ""
	}
	return t
}

// Inject records that a request or a message leaves this process, and puts its name into what goes along: a W3C traceparent,
// of the trace that the context's [RootFrom] came with, else of a new one. If there is one already it stays as it is, and gives
// the name. Where [RootFrom] finds it, in this process or another, that root has this event as its cause.
func Inject(ctx context.Context, to Carrier, attrs ...slog.Attr) {
	if !off() && to != nil {
		inject(ctx, to, attrs)
	}
}

//go:noinline
func inject(ctx context.Context, to Carrier, attrs []slog.Attr) {
	sc := scopeOf(ctx)
	t := incoming(to)
	if t == nil {
		if t = sc.trace; t == nil {
			t = newTrace()
		}
		t = t.child()
		to.Set(headerParent, t.header())
		if t.state != "" {
			to.Set(headerState, t.state)
		}
	}
	record(sc, now(), &fields{kind: "send", at: placeOf(3), message: t.ref(), ref: t.ref(), seen: seenByRuntime(to), attrs: attrs})
}

// RootFrom is [Root] for work that another process asks for: a request, a message. Its cause is what [Inject] has put into
// what came along, so that it belongs to the work of who asks, if that is recorded in the same recording; else it
// founds work. What [Inject] sends with the returned context is of the same trace.
func RootFrom(ctx context.Context, from Carrier, attrs ...slog.Attr) (context.Context, Span) {
	if off() {
		return ctx, Span{}
	}
	return rootFrom(ctx, from, attrs)
}

//go:noinline
func rootFrom(ctx context.Context, from Carrier, attrs []slog.Attr) (context.Context, Span) {
	sc := *scopeOf(ctx)
	f := fields{kind: "call", at: placeOf(3), root: true, seen: seenByRuntime(from), attrs: attrs}
	if sc.trace = incoming(from); sc.trace != nil {
		f.cause = sc.trace.ref()
	} else {
		sc.trace = newTrace()
	}
	record(&sc, now(), &f)
	return withScope(ctx, &sc), Span{&sc, f.at, !f.seen}
}

// seenByRuntime says that the patched runtime records what goes through this carrier by itself: net/http.
func seenByRuntime(c Carrier) bool {
	_, seen := c.(interface{ SeenByRuntime() })
	return seen
}
