package probe

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
)

const (
	someTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	someSpan  = "00f067aa0ba902b7"
	somePath  = "00-" + someTrace + "-" + someSpan + "-01"
)

func TestTrace_HeadersThatAreNoneAreLeftAlone(t *testing.T) {
	for header, why := range map[string]string{
		"":                        "none",
		somePath[:54]:             "too short",
		somePath + "-00":          "version 00 has nothing behind its flags",
		"01" + somePath[2:] + "x": "what a later version has begins with a dash",
		"ff" + somePath[2:]:       "ff is no version",
		"0x" + somePath[2:]:       "nor is that",
		strings.ToUpper(somePath): "digits are in lower case",
		"00-" + strings.Repeat("0", 32) + "-" + someSpan + "-01":  "a trace of zeros",
		"00-" + someTrace + "-" + strings.Repeat("0", 16) + "-01": "a span of zeros",
		"00-" + someTrace + "x" + someSpan + "-01":                "no dash",
		"00-" + someTrace + "-" + someSpan + "-0g":                "no flags",
	} {
		if tr, ok := parseTrace(header); ok {
			t.Errorf("%q is taken for %+v: %s", header, tr, why)
		}
	}
	for _, header := range []string{somePath, "01" + somePath[2:], "01" + somePath[2:] + "-more"} {
		if tr, ok := parseTrace(header); !ok || tr.ref() != "trace:"+someTrace+"-"+someSpan {
			t.Errorf("%q: %v, %v", header, tr, ok)
		}
	}
}

func FuzzTrace_WhatIsReadIsWrittenAgain(f *testing.F) {
	f.Add(somePath)
	f.Add("cc-" + someTrace + "-" + someSpan + "-00-what-the-future-will-be-like")
	f.Add("00-" + someTrace + "-" + someSpan + "-01-")
	f.Fuzz(func(t *testing.T, header string) {
		tr, ok := parseTrace(header)
		if !ok {
			return
		}
		if again, ok := parseTrace(tr.header()); !ok || *again != *tr {
			t.Errorf("%q is read as %+v, that as %+v", header, tr, again)
		}
		if !strings.HasPrefix(header[2:], tr.header()[2:]) {
			t.Errorf("%q is read as %s", header, tr.header())
		}
	})
}

// between gives the events of a caller and a served, which have md between them.
func between(t *testing.T, md Carrier, served func(ctx context.Context)) (send, root event.Event) {
	t.Helper()
	for _, e := range recorded(t, func(ctx context.Context) {
		Inject(ctx, md, slog.String("method", "/orders/Place"))
		ctx, span := RootFrom(Attach(context.Background(), "served"), md, slog.Int("attempt", 1))
		served(ctx)
		span.End()
	}) {
		switch {
		case e.Kind == event.KindSend && strings.HasPrefix(e.Stream, "main"):
			send = e
		case e.Root:
			root = e
		}
	}
	return send, root
}

func TestTrace_ARootHasTheSendThatItWasAskedWithAsItsCause(t *testing.T) {
	md := map[string][]string{"other": {"kept"}} // as gRPC's metadata.MD
	send, root := between(t, Metadata(md), func(context.Context) {})
	tr, ok := parseTrace(Metadata(md).Get("traceparent"))
	if !ok || md["other"][0] != "kept" || len(md) != 2 {
		t.Fatalf("what goes along is %v", md)
	}
	if send.Ref != tr.ref() || send.Message != tr.ref() || string(send.Data) != `{"method":"/orders/Place"}` || !strings.HasSuffix(send.Func, "probe.between.func1") {
		t.Errorf("the send is %+v", send)
	}
	if len(root.Cause) != 1 || root.Cause[0] != tr.ref() || string(root.Data) != `{"attempt":1}` || !strings.HasSuffix(root.Func, "probe.between.func1") {
		t.Errorf("the root is %+v", root)
	}
	if tr.flags != "01" {
		t.Errorf("the flags are %s: what is sent has been recorded", tr.flags)
	}
}

func TestTrace_WhatGoesOnStaysInTheTraceAndKeepsItsState(t *testing.T) {
	in := http.Header{"Traceparent": {somePath}, "Tracestate": {"a=1,b=2"}}
	out := http.Header{}
	send, root := between(t, in, func(ctx context.Context) {
		done := make(chan struct{})
		Go(ctx, "helper", func(ctx context.Context) { // the trace goes along into goroutines, also with labels
			Inject(With(ctx, slog.Int("n", 1)), out)
			close(done)
		})
		<-done
	})
	if send.Ref != "trace:"+someTrace+"-"+someSpan || in.Get("traceparent") != somePath {
		t.Errorf("a traceparent that was there is %q, its event has %q", in.Get("traceparent"), send.Ref)
	}
	if root.Cause[0] != send.Ref {
		t.Errorf("the root has the cause %q", root.Cause)
	}
	tr, ok := parseTrace(out.Get("traceparent"))
	if !ok || tr.id != someTrace || tr.span == someSpan || out.Get("tracestate") != "a=1,b=2" {
		t.Errorf("what goes on has %v", out)
	}
}

func TestTrace_ARootWithoutACallerBeginsATraceForAllThatItSends(t *testing.T) {
	first, second := Metadata{}, Metadata{}
	long := strings.Repeat("x", stateBytesMax+1)
	for name, in := range map[string]Carrier{
		"nothing along": Metadata{}, "no carrier": nil, "two of them": Metadata{headerParent: {somePath, somePath}},
		"two in HTTP": http.Header{"Traceparent": {somePath, somePath}},
	} {
		recorded(t, func(ctx context.Context) {
			ctx, span := RootFrom(ctx, in)
			clear(first)
			clear(second)
			Inject(ctx, first)
			Inject(ctx, second)
			Inject(ctx, nil)
			span.End()
		})
		a, _ := parseTrace(first.Get("traceparent"))
		b, _ := parseTrace(second.Get("traceparent"))
		if a == nil || b == nil || a.id != b.id || a.span == b.span || a.id == someTrace {
			t.Errorf("%s: %v and %v", name, first, second)
		}
	}
	if tr := incoming(Metadata{headerParent: {somePath}, headerState: {long}}); tr == nil || tr.state != "" {
		t.Errorf("a state that is too long: %+v", tr)
	}
}

func TestTrace_OffItChangesNothing(t *testing.T) {
	ctx := context.Background()
	md := Metadata{"a": {"b"}}
	want := maps.Clone(md)
	got := testing.AllocsPerRun(100, func() {
		Inject(ctx, md)
		c, span := RootFrom(ctx, md)
		if c != ctx {
			t.Fatal("another context")
		}
		span.End()
	})
	if got != 0 || len(md) != len(want) {
		t.Errorf("%v allocations, %v", got, md)
	}
}
