package probe

import (
	"context"
	"log/slog"
)

// HandlerOptions say what a log handler records.
type HandlerOptions struct {
	// Level is the lowest level that is recorded. Default: what the wrapped handler is enabled for; without one, slog.LevelInfo.
	Level slog.Leveler
}

// NewHandler makes a log handler that records each line as a log event and then hands it on to next, which may be nil.
//
//	slog.SetDefault(slog.New(probe.NewHandler(slog.NewJSONHandler(os.Stderr, nil), nil)))
//
// The event is in the stream of the line's context; of a line without one (slog.Info) in the stream of its goroutine, if [Go],
// [Attach] or a root's goroutine made it after this handler was made. Its place is that of the line. Its data has the message as
// text, the level, and the attributes, as an slog.JSONHandler writes them, but bounded; at the top an attribute of the name text or
// level gets a _ in front.
//
// While nothing records the handler is next with two branches in front. Lines below the level of next can be recorded all the
// same: next never sees them.
func NewHandler(next slog.Handler, o *HandlerOptions) slog.Handler {
	adopting.Store(true)
	h := &handler{next: next}
	if o != nil {
		h.level = o.Level
	}
	if h.level == nil && next == nil {
		h.level = slog.LevelInfo
	}
	return h
}

type handler struct {
	next  slog.Handler
	level slog.Leveler // nil: what next takes
	parts []logPart
}

// logPart is a group that was opened, and the attributes that were added in it.
type logPart struct {
	group string // empty: the first, outside of all groups
	attrs []slog.Attr
}

// logPartsMax bounds the groups that are open: what is in deeper ones is in the last.
const logPartsMax = depthMax - 2

func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.records(level) || h.next != nil && h.next.Enabled(ctx, level)
}

// records says whether a line is recorded for the handler's own level.
func (h *handler) records(level slog.Level) bool {
	return !off() && h.level != nil && level >= h.level.Level()
}

func (h *handler) Handle(ctx context.Context, line slog.Record) error {
	taken := h.next != nil && h.next.Enabled(ctx, line.Level)
	if h.records(line.Level) || taken && h.level == nil && !off() {
		h.record(ctx, &line)
	}
	if !taken {
		return nil
	}
	return h.next.Handle(ctx, line)
}

func (h *handler) record(ctx context.Context, line *slog.Record) {
	attrs := make([]slog.Attr, 0, line.NumAttrs())
	line.Attrs(func(a slog.Attr) bool {
		attrs = appendClean(attrs, a, 1)
		return true
	})
	for i := len(h.parts) - 1; i >= 0; i-- {
		p := &h.parts[i]
		all := append(p.attrs[:len(p.attrs):len(p.attrs)], attrs...)
		if attrs = all; p.group != "" && len(all) > 0 {
			attrs = []slog.Attr{{Key: p.group, Value: slog.GroupValue(all...)}}
		}
	}
	data := make([]slog.Attr, 0, len(attrs)+2)
	data = append(data, slog.String("text", line.Message), slog.String("level", line.Level.String()))
	for _, a := range attrs {
		if a.Key == "text" || a.Key == "level" {
			a.Key = "_" + a.Key
		}
		data = append(data, a)
	}
	record(scopeOf(ctx), now(), &fields{kind: "log", at: placeAt(line.PC), attrs: data})
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	parts := append([]logPart(nil), h.parts...)
	if len(parts) == 0 {
		parts = []logPart{{}}
	}
	last := &parts[len(parts)-1]
	last.attrs = append([]slog.Attr(nil), last.attrs...)
	for _, a := range attrs {
		last.attrs = appendClean(last.attrs, a, 1)
	}
	c := &handler{level: h.level, parts: parts}
	if h.next != nil {
		c.next = h.next.WithAttrs(attrs)
	}
	return c
}

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := &handler{level: h.level, parts: h.parts}
	if len(h.parts) < logPartsMax {
		c.parts = append(h.parts[:len(h.parts):len(h.parts)], logPart{group: name})
	}
	if h.next != nil {
		c.next = h.next.WithGroup(name)
	}
	return c
}

// appendClean appends an attribute as handlers have to show it: what is empty is left out, a group without a name is its
// members.
func appendClean(dst []slog.Attr, a slog.Attr, depth int) []slog.Attr {
	if depth > depthMax {
		return append(dst, slog.String(a.Key, "…"))
	}
	a.Value = a.Value.Resolve()
	if a.Value.Kind() != slog.KindGroup {
		if a.Key == "" {
			return dst
		}
		return append(dst, a)
	}
	members := a.Value.Group()
	if a.Key == "" {
		for _, m := range members {
			dst = appendClean(dst, m, depth+1)
		}
		return dst
	}
	var clean []slog.Attr
	for _, m := range members {
		clean = appendClean(clean, m, depth+1)
	}
	if len(clean) == 0 {
		return dst
	}
	return append(dst, slog.Attr{Key: a.Key, Value: slog.GroupValue(clean...)})
}
