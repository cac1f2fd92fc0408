package probe

import (
	"context"
	"io"
	"log/slog"
	"testing"
)

func BenchmarkOff_CallAndEnd(b *testing.B) {
	ctx := context.Background()
	for b.Loop() {
		Call(ctx).End()
	}
}

func BenchmarkOff_DeferredCallWithAttribute(b *testing.B) {
	ctx := context.Background()
	f := func(id string) {
		defer Call(ctx, slog.String("request", id)).End()
	}
	for b.Loop() {
		f("r1")
	}
}

func BenchmarkOff_Log(b *testing.B) {
	ctx := context.Background()
	for b.Loop() {
		Log(ctx, "text")
	}
}

func BenchmarkOff_ChanSendAndReceive(b *testing.B) {
	benchmarkChan(b, context.Background())
}

func BenchmarkOff_MutexLockAndUnlock(b *testing.B) {
	var mu Mutex
	ctx := context.Background()
	for b.Loop() {
		mu.Lock(ctx)
		mu.Unlock(ctx)
	}
}

// BenchmarkPlain_ChanSendAndReceive is a bare channel, for comparison.
func BenchmarkPlain_ChanSendAndReceive(b *testing.B) {
	c := make(chan int, 1)
	for b.Loop() {
		c <- 1
		<-c
	}
}

func benchmarkChan(b *testing.B, ctx context.Context) {
	c := NewChan[int]("c", 1)
	for b.Loop() {
		_ = c.Send(ctx, 1)
		_, _ = c.Receive(ctx)
	}
}

func recordBench(b *testing.B) context.Context {
	b.Helper()
	r, err := Start(Options{Writer: io.Discard, Policy: Wait})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = r.Close()
		s := r.Stats()
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(s.Events), "ns/event")
		b.ReportMetric(float64(s.Bytes)/float64(s.Events), "B/event")
	})
	return With(Attach(context.Background(), "main"), slog.String("request", "r-000123"))
}

func BenchmarkOn_CallAndEnd(b *testing.B) {
	ctx := recordBench(b)
	b.ReportAllocs()
	for b.Loop() {
		Call(ctx).End()
	}
}

func BenchmarkOn_CallAndEndWithoutAStream(b *testing.B) {
	recordBench(b)
	ctx := context.Background()
	for b.Loop() {
		Call(ctx).End()
	}
}

func BenchmarkOn_ChanSendAndReceive(b *testing.B) {
	ctx := recordBench(b)
	benchmarkChan(b, ctx)
}

func BenchmarkOn_MutexLockAndUnlock(b *testing.B) {
	ctx := recordBench(b)
	var mu Mutex
	for b.Loop() {
		mu.Lock(ctx)
		mu.Unlock(ctx)
	}
}

func BenchmarkOff_InjectAndRootFrom(b *testing.B) {
	ctx := context.Background()
	md := Metadata{}
	for b.Loop() {
		Inject(ctx, md)
		_, span := RootFrom(ctx, md)
		span.End()
	}
}

func BenchmarkOff_LogLineToANilHandler(b *testing.B) {
	logger, ctx := slog.New(NewHandler(nil, nil)), context.Background()
	for b.Loop() {
		logger.InfoContext(ctx, "text", "request", "r1")
	}
}

func BenchmarkOff_QueueSendAndReceive(b *testing.B) {
	q, ctx := NewQueue[int]("q"), context.Background()
	for b.Loop() {
		q.Send(ctx, 1)
		q.Receive(ctx, 1)
	}
}
