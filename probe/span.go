package probe

import (
	"context"
	"log/slog"
)

// Span is an open call. The zero Span is one that is not recorded.
type Span struct {
	scope *scope
	at    *place
	root  bool
}

// Call records that the function that calls it was entered. End it where the function returns:
//
//	defer probe.Call(ctx).End()
func Call(ctx context.Context, attrs ...slog.Attr) Span {
	if active.Load() == nil {
		return Span{}
	}
	return call(ctx, false, attrs)
}

// Root is [Call] for a function that founds a piece of work: it handles a request, a job, a test. All
// that follows from it is one correlation.
func Root(ctx context.Context, attrs ...slog.Attr) Span {
	if off() {
		return Span{}
	}
	return call(ctx, true, attrs)
}

//go:noinline
func call(ctx context.Context, root bool, attrs []slog.Attr) Span {
	s := Span{scopeOf(ctx), placeOf(3), root}
	record(s.scope, now(), &fields{kind: "call", at: s.at, root: root, seen: !root, attrs: attrs})
	return s
}

// End records the return of the call.
func (s Span) End(attrs ...slog.Attr) {
	if s.scope != nil {
		s.end(attrs)
	}
}

//go:noinline
func (s Span) end(attrs []slog.Attr) {
	record(s.scope, now(), &fields{kind: "return", at: s.at, inside: true, seen: !s.root, attrs: attrs})
}

// Error records that err was raised here, and returns it:
//
//	return probe.Error(ctx, fmt.Errorf("charge %s: %w", order, err))
//
// Nil is no error and no event. Record an error where it arises, not again where it is handed on. The
// text is in data.error.
func Error(ctx context.Context, err error, attrs ...slog.Attr) error {
	if err != nil && !off() {
		remark(ctx, fields{kind: "error", attrs: attrs}, slog.String("error", textOf(err)))
	}
	return err
}

// textOf gives the text of an error whose Error may panic, as a nil pointer's often does.
func textOf(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = "an error whose Error method panics"
		}
	}()
	return err.Error()
}

// Log records a remark. The text is in data.text.
func Log(ctx context.Context, text string, attrs ...slog.Attr) {
	if !off() {
		remark(ctx, fields{kind: "log", attrs: attrs}, slog.String("text", text))
	}
}

// Metric records a measured number: data has its name and value.
func Metric(ctx context.Context, name string, value float64, attrs ...slog.Attr) {
	if !off() {
		remark(ctx, fields{kind: "metric", attrs: attrs}, slog.String("name", name), slog.Float64("value", value))
	}
}

// State records that a value that outlives the call has changed. The key names the value, the
// attributes say what it is now.
func State(ctx context.Context, key string, attrs ...slog.Attr) {
	if !off() {
		remark(ctx, fields{kind: "state", key: key, attrs: attrs})
	}
}

//go:noinline
func remark(ctx context.Context, f fields, first ...slog.Attr) {
	f.at = placeOf(3)
	if len(f.attrs) == 0 {
		f.attrs = first
	} else {
		f.attrs = append(first, f.attrs...)
	}
	record(scopeOf(ctx), now(), &f)
}
