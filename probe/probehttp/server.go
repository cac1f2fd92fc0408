package probehttp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/pastcone/pastcone/probe"
)

// Handler makes a handler whose requests are roots, each in a stream of its own, with the method and the path. A request that
// comes from a recorded client has the client's send as its cause.
//
// Put it around all that handles requests, but inside of what hands them to another goroutine (http.TimeoutHandler): the
// context that next gets is for the goroutine that calls it.
func Handler(next http.Handler) http.Handler {
	if next == nil {
		next = http.DefaultServeMux
	}
	return &handler{next}
}

type handler struct{ next http.Handler }

// inside marks the context of a request that has its root.
type inside struct{}

var errPanicked = errors.New("the handler ends by a panic or runtime.Goexit")

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if !probe.Recording() || ctx.Value(inside{}) != nil {
		h.next.ServeHTTP(w, r)
		return
	}
	ctx = probe.Attach(context.WithValue(ctx, inside{}, true), "http")
	defer probe.Exit(ctx)
	attrs := []slog.Attr{slog.String("method", method(r.Method))}
	if r.URL != nil {
		attrs = append(attrs, slog.String("path", r.URL.Path))
	}
	ctx, span := probe.RootFrom(ctx, header{r.Header}, attrs...)
	returned := false
	// No recover: what the server does about a panic is its own business.
	defer func() {
		if !returned {
			_ = probe.Error(ctx, errPanicked)
		}
		span.End()
	}()
	h.next.ServeHTTP(w, r.WithContext(ctx))
	returned = true
}
