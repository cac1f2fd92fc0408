package probe_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/pastcone/pastcone/probe"
)

type shop struct {
	mu    probe.Mutex
	stock int
	jobs  *probe.Chan[string]
}

func (s *shop) reserve(ctx context.Context) error {
	defer probe.Call(ctx).End()
	s.mu.Lock(ctx)
	defer s.mu.Unlock(ctx)
	if s.stock == 0 {
		return probe.Error(ctx, fmt.Errorf("sold out"))
	}
	s.stock--
	probe.State(ctx, "stock", slog.Int("stock", s.stock))
	return nil
}

// A request is handed to a worker, which fails: the events of both, in their streams, with what joins them.
func Example() {
	file := filepath.Join(os.TempDir(), "probe-example.ndjson")
	defer os.Remove(file) //nolint:errcheck // a temporary file
	recorder, err := probe.Start(probe.Options{File: file})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := probe.Attach(context.Background(), "main")
	s := &shop{jobs: probe.NewChan[string]("jobs", 8)}
	done := make(chan struct{})
	probe.Go(ctx, "worker", func(ctx context.Context) {
		defer close(done)
		for {
			ctx, _, err := s.jobs.Take(ctx)
			if err != nil {
				return
			}
			_ = s.reserve(ctx)
		}
	})
	func() {
		ctx := probe.With(ctx, slog.String("request", "r1"))
		defer probe.Root(ctx).End()
		_ = s.jobs.Send(ctx, "one mug")
	}()
	s.jobs.Close(ctx)
	<-done
	if err := recorder.Close(); err != nil {
		fmt.Println(err)
	}
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, `"kind":"error"`) {
			_, data, _ := strings.Cut(line, `"data":`)
			fmt.Print(data)
		}
	}
	// Output: {"request":"r1","error":"sold out"}}
}

// What goes along with a call to another process is a map: an interceptor of gRPC has metadata.MD.
func ExampleInject() {
	file := filepath.Join(os.TempDir(), "probe-inject.ndjson")
	defer os.Remove(file) //nolint:errcheck // a temporary file
	recorder, err := probe.Start(probe.Options{File: file})
	if err != nil {
		fmt.Println(err)
		return
	}
	metadata := map[string][]string{}

	// The process that calls:
	probe.Inject(probe.Attach(context.Background(), "client"), probe.Metadata(metadata), slog.String("method", "/shop/Order"))

	// The process that is called:
	ctx := probe.Attach(context.Background(), "grpc")
	ctx, span := probe.RootFrom(ctx, probe.Metadata(metadata))
	probe.Log(ctx, "ordered")
	span.End()
	probe.Exit(ctx)

	if err := recorder.Close(); err != nil {
		fmt.Println(err)
	}
	text, _ := os.ReadFile(file)
	_, name, _ := strings.Cut(string(text), `"ref":"`)
	name, _, _ = strings.Cut(name, `"`)
	fmt.Println(strings.Contains(string(text), `"cause":"`+name+`","root":true`))
	// Output: true
}
