package recorder

import (
	"context"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/pipeline"
	"github.com/pastcone/pastcone/internal/wire"
)

// The pressure on the flow is measured here, of all stages together, decided on by pipeline.Pressure, and acted on where
// each action belongs: the pools' batches and workers, Input.Push, the sampler in front of the store.

// Loss says what may be lost when the flow does not keep up. Files are never a part of that: they wait.
type Loss int

// What may be lost.
const (
	LossNever  Loss = iota // nothing: sources wait
	LossSample             // whole correlations behind the correlator
	LossShed               // and events at the ring, by their value
)

// actions gives how many of the actions may be taken.
func (l Loss) actions() int {
	switch l {
	case LossSample:
		return int(pipeline.ActSample) + 1
	case LossShed:
		return int(pipeline.Actions)
	case LossNever:
	}
	return int(pipeline.ActWait) + 1
}

const (
	windowBytesMost = 16 << 20

	// A source that waits for others, or for memory, looks so often whether it still has to.
	waitLook = time.Millisecond
	// So long a batch waits for memory at most: then it goes in all the same, so that what is full of other things does not
	// stop the flow for good.
	memoryWaitMost = 250 * time.Millisecond
	memoryFull     = 0.95
	diskLook       = time.Second // between two looks at the room on the disk
)

// watch makes the pressure; it is looked at when the stages run.
func (r *Recorder) watch() {
	r.shedders.New = func() any { return &pipeline.Shedder{} }
	r.budget.bytesMax = r.o.BatchesBytesMax
	r.sense = &senses{r: r}
	thresholds := r.o.Pressure
	if thresholds == (pipeline.Thresholds{}) {
		thresholds = pipeline.DefaultThresholds()
	}
	read := r.sense.read
	if r.o.readings != nil {
		read = r.o.readings
	}
	var batches, workers bool
	r.pressure = pipeline.NewPressure(pipeline.PressureOptions{
		Read: read, Most: r.o.Loss.actions(), Thresholds: thresholds, Log: r.log,
		Act: func(a pipeline.Action, on bool) {
			switch a {
			case pipeline.ActLargerBatches:
				batches = on
			case pipeline.ActMoreWorkers:
				workers = on
			default:
				return // who does it asks whether it is on
			}
			r.intake.Hasten(batches, workers)
			r.writing.Hasten(batches, workers)
		},
	})
}

// Pressure gives the pressure on the flow, and its changes to whoever subscribes.
func (r *Recorder) Pressure() *pipeline.Pressure { return r.pressure }

// events gives how many events a batch holds. Gaps that shedding has put in are none.
func (r *Recorder) events(b *wire.Batch) int {
	n := b.Len()
	if r.marked.Load() {
		for i := range b.Records {
			if b.Records[i].Kind == event.KindGap {
				n--
			}
		}
	}
	return n
}

// leaves notes that a batch is no longer before the correlator.
func (r *Recorder) leaves(b *wire.Batch) {
	r.reached.Add(uint64(b.Len())) // #nosec G115 -- a length
	r.budget.give(b)
}

// mayPush waits where a batch has to: for memory, and, if the source can wait, for those that can not.
func (in *Input) mayPush(ctx context.Context, b *wire.Batch) error {
	r := in.r
	if r.o.MemoryBytesMax > 0 {
		for began := time.Now(); r.sense.memoryShare() >= memoryFull && time.Since(began) < memoryWaitMost; {
			if err := nap(ctx); err != nil {
				return err
			}
		}
	}
	for in.finite && r.pressure.On(pipeline.ActWait) && 2*r.ring.Len() > r.ring.Cap() && r.others() {
		if err := nap(ctx); err != nil {
			return err
		}
	}
	return r.budget.take(ctx, b)
}

func nap(ctx context.Context) error {
	t := time.NewTimer(waitLook)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// others says whether there are sources that can not wait.
func (r *Recorder) others() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, in := range r.inputs {
		if !in.finite {
			return true
		}
	}
	return false
}

// shed makes a batch smaller, if that is what is done now. It gives how many events went.
func (in *Input) shed(b *wire.Batch) int {
	r := in.r
	if in.finite || !r.pressure.On(pipeline.ActShedLeaves) {
		return 0
	}
	most := pipeline.ActShedLeaves
	for _, a := range [...]pipeline.Action{pipeline.ActShedCalls, pipeline.ActShedLogs} {
		if r.pressure.On(a) {
			most = a
		}
	}
	if r.pressure.On(pipeline.ActShedRest) && r.ring.Len() >= r.ring.Cap() {
		most = pipeline.ActShedRest
	}
	r.marked.Store(true) // before anybody counts this batch
	s, _ := r.shedders.Get().(*pipeline.Shedder)
	defer r.shedders.Put(s)
	return s.Shed(b, most, func(n int, reason string) { r.ledger.Shed(in.info.ID, n, reason) })
}

// budget bounds the bytes of the batches before the correlator. A batch that is larger than all of it goes in alone.
type budget struct {
	bytesMax int64 // 0: no bound

	mu    sync.Mutex
	bytes int64
	of    map[*wire.Batch]int64
	room  chan struct{} // closed and made anew when some was given back; nil: nobody waits
}

func (g *budget) take(ctx context.Context, b *wire.Batch) error {
	if g.bytesMax == 0 {
		return nil
	}
	n := batchBytes(b)
	for {
		g.mu.Lock()
		if g.bytes == 0 || g.bytes+n <= g.bytesMax {
			if g.of == nil {
				g.of = map[*wire.Batch]int64{}
			}
			g.bytes += n
			g.of[b] += n
			g.mu.Unlock()
			return nil
		}
		if g.room == nil {
			g.room = make(chan struct{})
		}
		room := g.room
		g.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *budget) give(b *wire.Batch) {
	if g.bytesMax == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.bytes -= g.of[b]
	delete(g.of, b)
	if g.room != nil {
		close(g.room)
		g.room = nil
	}
}

func batchBytes(b *wire.Batch) int64 {
	return int64(cap(b.Records))*int64(unsafe.Sizeof(wire.Record{})) + int64(cap(b.Runs))*int64(unsafe.Sizeof(wire.Run{})) + int64(cap(b.Arena))
}

// senses are what the pressure is read from.
type senses struct {
	r *Recorder

	mu     sync.Mutex
	memory int64         // at the last reading
	late   time.Duration // of the last commit
	lateAt time.Time

	// Of the one goroutine that reads.
	line   backlog
	cpu    time.Duration
	cpuAt  time.Time
	free   int64
	freeAt time.Time
}

func (s *senses) read(now time.Time) pipeline.Readings {
	r := s.r
	out := pipeline.Readings{
		QueueShare:     float64(r.ring.Len()) / float64(r.ring.Cap()),
		MemoryBytes:    residentBytes(),
		MemoryBytesMax: r.o.MemoryBytesMax,
	}
	reached := r.reached.Load() // first, so that what waits is not negative
	out.BacklogAge = s.line.age(now, r.entered.Load(), reached)

	r.mu.Lock()
	oldest := time.Time{}
	if len(r.undurable) > 0 {
		oldest = r.undurable[0].published
	}
	out.DiskFull = r.blocked != nil
	r.mu.Unlock()
	s.mu.Lock()
	s.memory = out.MemoryBytes
	delay := time.Duration(0)
	if now.Sub(s.lateAt) < time.Second {
		delay = s.late
	}
	s.mu.Unlock()
	if !oldest.IsZero() {
		delay = max(delay, now.Sub(oldest))
	}
	out.DiskDelay = max(0, delay-r.o.Store.CommitInterval)

	used := processorTime()
	if elapsed := now.Sub(s.cpuAt); !s.cpuAt.IsZero() && elapsed > 0 {
		out.CPUShare = max(0, float64(used-s.cpu)/float64(elapsed)/float64(runtime.GOMAXPROCS(0)))
	}
	s.cpu, s.cpuAt = used, now
	if s.freeAt.IsZero() || now.Sub(s.freeAt) >= diskLook {
		s.free, s.freeAt = freeBytes(r.dir), now
	}
	out.DiskFreeBytes = s.free
	return out
}

// durable notes how long the last block of a commit took from published to durable.
func (s *senses) durable(published time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lateAt = time.Now()
	s.late = s.lateAt.Sub(published)
}

// memoryShare gives how much of the memory limit is in use.
func (s *senses) memoryShare() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(s.memory) / float64(s.r.o.MemoryBytesMax)
}

// backlog tells how long the oldest has waited that has not come through, from two counts that only grow: it remembers when the
// first of them was how large, at some moments. What waits comes through in the order in which it came, nearly.
type backlog struct {
	at []mark // oldest first
}

type mark struct {
	when    time.Time
	entered uint64
}

// marksMax bounds the memory; beyond it every other mark goes.
const marksMax = 256

func (l *backlog) age(now time.Time, entered, reached uint64) time.Duration {
	if len(l.at) == 0 || entered > l.at[len(l.at)-1].entered {
		l.at = append(l.at, mark{now, entered})
	}
	done := 0
	for done < len(l.at) && l.at[done].entered <= reached {
		done++
	}
	l.at = append(l.at[:0], l.at[done:]...)
	if len(l.at) > marksMax {
		kept := l.at[:0]
		for i := 0; i < len(l.at); i += 2 {
			kept = append(kept, l.at[i])
		}
		l.at = kept
	}
	if len(l.at) == 0 {
		return 0
	}
	return max(0, now.Sub(l.at[0].when))
}
