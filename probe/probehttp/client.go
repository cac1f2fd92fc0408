package probehttp

import (
	"log/slog"
	"net/http"

	"github.com/pastcone/pastcone/probe"
)

// Transport makes a RoundTripper that records each request that leaves: a call with the method, the host and the path, in it
// the send that the server's root has as its cause, and at its end the status, or the error. next does the work; nil is
// http.DefaultTransport. Each try of a request is a request of its own, unless it brings a traceparent along: then
// the first of that name is the cause.
//
// A request's context should be that of the goroutine that makes it.
func Transport(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &transport{next}
}

type transport struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !probe.Recording() {
		return t.next.RoundTrip(r)
	}
	ctx := r.Context()
	attrs := []slog.Attr{slog.String("method", method(r.Method))}
	if r.URL != nil {
		attrs = append(attrs, slog.String("host", r.URL.Host), slog.String("path", r.URL.Path))
	}
	span := probe.Call(ctx, attrs...)
	out := *r // a RoundTripper must leave the request as it is
	if out.Header = r.Header.Clone(); out.Header == nil {
		out.Header = http.Header{}
	}
	probe.Inject(ctx, header{out.Header}, attrs...)
	response, err := t.next.RoundTrip(&out)
	if err != nil {
		_ = probe.Error(ctx, err)
		span.End()
		return response, err
	}
	span.End(slog.Int("status", response.StatusCode))
	return response, nil
}

// CloseIdleConnections hands on what http.Client asks for.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func method(m string) string {
	if m == "" {
		return http.MethodGet
	}
	return m
}

// header carries the causal context; SeenByRuntime tells probe that a patched net/http records it by itself.
type header struct{ http.Header }

// SeenByRuntime marks the carrier.
func (header) SeenByRuntime() {}
