package ring

import (
	"fmt"
	"sync"
	"testing"
)

// batch stands for a batch of events: what is measured is the hand-over of a pointer to it.
type batch struct{ events int }

// BenchmarkRing_HandOff gives the cost of handing events over, by the number of producers and the events in a batch. One
// consumer takes them. The figures to compare are those of the Go channel in the same run.
func BenchmarkRing_HandOff(b *testing.B) {
	for _, events := range []int{1, 256} {
		for _, producers := range []int{1, 2, 4, 8} {
			b.Run(fmt.Sprintf("events=%d/producers=%d", events, producers), func(b *testing.B) {
				r := New[*batch](256, Block, nil)
				handOff(b, events, producers,
					func(v *batch) { _ = r.Push(background, v) },
					func() bool { _, err := r.Pop(background); return err == nil },
					r.Close)
			})
		}
	}
}

// BenchmarkRing_HandOffMany is HandOff with a consumer that takes several batches at a time.
func BenchmarkRing_HandOffMany(b *testing.B) {
	for _, events := range []int{1, 256} {
		b.Run(fmt.Sprintf("events=%d/producers=4", events), func(b *testing.B) {
			r := New[*batch](256, Block, nil)
			into := make([]*batch, 64)
			handOff(b, events, 4,
				func(v *batch) { _ = r.Push(background, v) },
				func() bool { _, err := r.PopMany(background, into); return err == nil },
				r.Close)
		})
	}
}

// BenchmarkRing_HandOffDrop never waits for the consumer.
func BenchmarkRing_HandOffDrop(b *testing.B) {
	for _, policy := range []Policy{DropNewest, DropOldest} {
		b.Run(fmt.Sprintf("%v/events=256/producers=4", policy), func(b *testing.B) {
			r := New[*batch](256, policy, func(*batch) {})
			handOff(b, 256, 4,
				func(v *batch) { _ = r.Push(background, v) },
				func() bool { _, err := r.Pop(background); return err == nil },
				r.Close)
		})
	}
}

// BenchmarkRing_Channel is the reference: a Go channel of the same capacity.
func BenchmarkRing_Channel(b *testing.B) {
	for _, events := range []int{1, 256} {
		for _, producers := range []int{1, 4} {
			b.Run(fmt.Sprintf("events=%d/producers=%d", events, producers), func(b *testing.B) {
				c := make(chan *batch, 256)
				handOff(b, events, producers,
					func(v *batch) { c <- v },
					func() bool { _, ok := <-c; return ok },
					func() { close(c) })
			})
		}
	}
}

// handOff moves b.N events in batches, and reports the time an event.
func handOff(b *testing.B, events, producers int, push func(*batch), pop func() bool, stop func()) {
	batches := b.N/events + 1
	v := &batch{events}
	var writers, reader sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for p := range producers {
		writers.Go(func() {
			for n := p; n < batches; n += producers {
				push(v)
			}
		})
	}
	reader.Go(func() {
		for pop() {
		}
	})
	writers.Wait()
	stop()
	reader.Wait()
}
