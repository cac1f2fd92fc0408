package client_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/pastcone/pastcone/client"
	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/protocol"
	"github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

// null is a flow in which everything is durable at once.
type null struct{ table *wire.Table }

func (n null) Account(string) protocol.Ended { return protocol.Ended{} }

func (n null) Open(context.Context, server.Source) (server.Input, error) { return n, nil }
func (n null) Table() *wire.Table                                        { return n.table }
func (n null) Push(_ context.Context, b *wire.Batch) error {
	b.Done(1)
	return nil
}
func (n null) Reject(r source.Rejected) error              { return r }
func (n null) WaitDurable(context.Context, event.ID) error { return nil }
func (n null) Hurry(context.Context) error                 { return nil }
func (n null) Close(bool) error                            { return nil }

func benchmark(b *testing.B, events int, send func(ctx context.Context, s *client.Sender) error) {
	b.Helper()
	s, err := server.New(server.Options{Recorder: null{wire.NewTable(1 << 24)}})
	if err != nil {
		b.Fatal(err)
	}
	l, err := server.Listen("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go s.Serve(l) //nolint:errcheck // ends by Shutdown
	ctx := context.Background()
	c, err := client.NewSender(ctx, l.Addr().String(), client.SenderOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := send(ctx, c); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.Close(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*events), "ns/event")
	_ = s.Shutdown(ctx)
}

func BenchmarkSender_Batches(b *testing.B) {
	const events = 2000
	var batch *wire.Batch
	benchmark(b, events, func(ctx context.Context, s *client.Sender) error {
		sink := s.Sink(nil)
		if batch == nil {
			batch = &wire.Batch{}
			for i := range events {
				e := event.Event{Stream: fmt.Sprint("g", i/50), Seq: uint64(i%50 + 1), Time: int64(i) * 900, Kind: event.KindCall, Func: fmt.Sprint("f", i%30)} // #nosec G115 -- small
				if err := batch.AddEvent(sink.Table(), &e); err != nil {
					return err
				}
			}
		}
		return sink.Push(ctx, batch)
	})
}

func BenchmarkSender_Lines(b *testing.B) {
	const events = 1000
	var text bytes.Buffer
	for i := range events {
		text.WriteString(line(fmt.Sprint("g", i/50), i%50+1))
	}
	benchmark(b, events, func(ctx context.Context, s *client.Sender) error { return s.Lines(ctx, text.Bytes()) })
}
