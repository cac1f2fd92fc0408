// Program recorded has no recorder of its own: what it says to package probe is found in the recording of its runtime.
package main

import (
	"context"
	"log/slog"
	"sync"

	"github.com/pastcone/pastcone/probe"
)

type job struct{ item string }

func main() {
	slog.SetDefault(slog.New(probe.NewHandler(nil, nil)))
	queue := probe.NewQueue[*job]("heap")
	var mu sync.Mutex
	var heap []*job
	ready := make(chan struct{})
	for _, item := range []string{"lamp", "mug"} {
		order(queue, &mu, &heap, item)
	}
	go func() {
		defer close(ready)
		for _, j := range heap {
			pack(queue.Receive(context.Background(), j), j)
		}
	}()
	<-ready
}

func order(queue *probe.Queue[*job], mu *sync.Mutex, heap *[]*job, item string) {
	ctx := context.Background()
	defer probe.Root(ctx, slog.String("item", item)).End()
	md := probe.Metadata{}
	probe.Inject(ctx, md)
	slog.Info("ordered", "item", item)
	j := &job{item}
	queue.Send(ctx, j)
	mu.Lock()
	defer mu.Unlock()
	*heap = append(*heap, j)
}

func pack(ctx context.Context, j *job) {
	probe.State(ctx, "packed", slog.String("item", j.item))
	if j.item == "mug" {
		_ = probe.Error(ctx, context.DeadlineExceeded, slog.String("item", j.item))
	}
}
