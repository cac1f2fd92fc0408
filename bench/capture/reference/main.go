// Command reference measures what others take for what a recorded call tells: an OpenTelemetry span (batcher, exporter that does
// nothing), and a region of Go's execution tracer. It is a module of its own, so that the project does not depend on OpenTelemetry.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/trace"
	"slices"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// discard is an exporter that exports nothing.
type discard struct{}

func (discard) ExportSpans(context.Context, []sdk.ReadOnlySpan) error { return nil }
func (discard) Shutdown(context.Context) error                        { return nil }

func main() {
	got, err := measure(context.Background())
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(got)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

const rounds = 7

// quickest gives the nanoseconds of one of n times, in the quickest round: whatever else the machine does only adds to it.
func quickest(n int, f func(n int)) float64 {
	f(n / 10)
	var took []float64
	for range rounds {
		began := time.Now()
		f(n)
		took = append(took, float64(time.Since(began).Nanoseconds())/float64(n))
	}
	return slices.Min(took)
}

func measure(ctx context.Context) (map[string]float64, error) {
	got := map[string]float64{}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(discard{}), sdk.WithSampler(sdk.AlwaysSample()))
	tracer := provider.Tracer("reference")
	got["span"] = quickest(200_000, func(n int) {
		for range n {
			_, span := tracer.Start(ctx, "callee")
			span.End()
		}
	})
	if err := provider.Shutdown(ctx); err != nil {
		return nil, err
	}
	if err := trace.Start(io.Discard); err != nil {
		return nil, err
	}
	defer trace.Stop()
	got["region"] = quickest(500_000, func(n int) {
		for range n {
			trace.StartRegion(ctx, "callee").End()
		}
	})
	return got, nil
}
