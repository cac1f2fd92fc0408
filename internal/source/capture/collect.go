package capture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pastcone/pastcone/internal/capture"
)

// The defaults of CollectOptions.
const (
	SpoolBytesMaxDefault     = 8 << 30
	CallsPerSecondMaxDefault = 10_000

	beatEvery     = 50 * time.Millisecond
	pauseShortest = 500 * time.Microsecond
	pauseLongest  = 5 * time.Millisecond
	passEvery     = 100 * time.Millisecond // a pass is noted at least so often, also when nothing happens
)

// CollectOptions say how to collect.
type CollectOptions struct {
	Spool string // path of the capture file to be made
	// SpoolBytesMax bounds what lies in the file and has not been Consumed. When it is reached the collector stops draining, so
	// that the ring's policy decides. Without Consumed nothing makes room again: then the recording ends there, and says so. 0:
	// SpoolBytesMaxDefault.
	SpoolBytesMax int64
	// Consumed counts the bytes of the file that its reader is done with: Stats.InputBytes at its Progress. nil: nobody follows.
	Consumed *atomic.Int64

	Functions  string // path of the table of functions; empty: none
	Executable string // path of the program's file; empty: that of the process, where the system tells
	// Ended is closed when the process that the launcher started has ended. The recording goes on while the process that owns the
	// ring lives.
	Ended <-chan struct{}

	// CallsPerSecondMax is the budget of each function for calls in which nothing was recorded: beyond it the function is silent.
	// 0: CallsPerSecondMaxDefault; negative: no bound.
	CallsPerSecondMax int
	FlightBytes       int64 // of the newest records that a flight recorder writes out; 0: all that the ring holds
}

func (o CollectOptions) withDefaults() (CollectOptions, error) {
	if o.SpoolBytesMax == 0 {
		o.SpoolBytesMax = SpoolBytesMaxDefault
	}
	if o.CallsPerSecondMax == 0 {
		o.CallsPerSecondMax = CallsPerSecondMaxDefault
	}
	switch {
	case o.Spool == "":
		return o, errors.New("collect: no capture file is named")
	case o.SpoolBytesMax < 4*frameBytesMax:
		return o, fmt.Errorf("collect: a spool of %d bytes: it must be at least %d", o.SpoolBytesMax, 4*frameBytesMax)
	case o.FlightBytes < 0:
		return o, fmt.Errorf("collect: %d bytes of a flight: it must not be negative", o.FlightBytes)
	}
	return o, nil
}

// CollectStats counts what was collected. It is safe to read while the collector runs.
type CollectStats struct {
	Records     uint64 // value records included
	Chunks      uint64 // that were full, and freed
	Bytes       int64  // of the capture file
	Passes      uint64
	Dropped     uint64 // records lost by policy drop
	Overwritten uint64
	Blocked     time.Duration // that the program waited for a free chunk
	Recording   time.Duration // processor time that the program took to record itself, as far as it timed that: of its own, without the collector's
	Silenced    int           // functions that were ever silent
	Places      int           // program counters that were looked up
	Process     int           // 0: no program came
	Ended       string        // how the program ended; empty while it runs
	ExitCode    int
}

// Collector empties one ring into one capture file.
type Collector struct {
	ring  *Ring
	o     CollectOptions
	spool *spool

	clock   programClock
	begun   bool // the program has come, and the start frame is written
	started start
	process *process
	dumps   chan dump
	over    chan struct{} // closed when Run has ended

	taken  []uint32 // records of each chunk that are in the file already
	budget *budget
	places *places
	notice *noticing
	noted  time.Time // when a pass was noted last
	cursor uint64    // of the ring, when a flight recorder's chunks were sampled last

	mu    sync.Mutex
	stats CollectStats
}

// Collect empties the ring into a capture file until the program has ended, or ctx is over. Then everything that is
// complete in the ring is in the file, which says how the program ended.
func Collect(ctx context.Context, ring *Ring, o CollectOptions) (CollectStats, error) {
	c, err := NewCollector(ring, o)
	if err != nil {
		return CollectStats{}, err
	}
	err = c.Run(ctx)
	return c.Stats(), err
}

// NewCollector makes the capture file. Run must be called, and ends it.
func NewCollector(ring *Ring, o CollectOptions) (*Collector, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Collector{ring: ring, o: o, taken: make([]uint32, ring.chunks), dumps: make(chan dump), over: make(chan struct{})}
	c.budget = newBudget(ring, o.CallsPerSecondMax)
	c.notice = &noticing{budget: c.budget}
	if c.spool, err = createSpool(o.Spool); err != nil {
		return nil, err
	}
	if err := copyFunctions(o.Functions, c.spool); err != nil {
		return nil, errors.Join(err, c.spool.close(), os.Remove(o.Spool))
	}
	return c, nil
}

// Stats gives what was collected so far.
func (c *Collector) Stats() CollectStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Bytes = c.spool.written.Load()
	return s
}

// Run collects. It beats the collector's heart from a goroutine of its own: a disk that is slow is no death.
func (c *Collector) Run(ctx context.Context) (err error) {
	stop := make(chan struct{})
	var heart sync.WaitGroup
	heart.Go(func() { c.beat(stop) })
	defer func() {
		close(c.over)
		close(stop)
		heart.Wait()
		c.process.close()
		c.ring.Record(false) // nobody listens any more
		err = errors.Join(err, c.spool.close())
	}()
	for {
		ended := c.programEnded() // asked before the pass: what was written before the end is seen by the pass
		drained, err := c.turn(ended)
		if err != nil {
			return err
		}
		if ended {
			return c.finish("")
		}
		if c.overfull() && c.o.Consumed == nil {
			return c.finish(fmt.Sprintf("the capture file has reached its bound of %d bytes; the program went on without being recorded", c.o.SpoolBytesMax))
		}
		select {
		case <-ctx.Done():
			c.ring.Record(false)
			if _, err := c.turn(true); err != nil {
				return err
			}
			return c.finish("the recording was ended while the program ran")
		case d := <-c.dumps:
			d.answer <- c.dump(d.path)
		case <-time.After(c.pause(drained)):
		}
	}
}

func (c *Collector) beat(stop <-chan struct{}) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		c.ring.beat()
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// pause says how long to wait before the next pass: not long while much comes.
func (c *Collector) pause(drained int) time.Duration {
	switch {
	case drained > c.ring.chunks/8*capture.ChunkRecords:
		return 0
	case drained > capture.ChunkRecords:
		return pauseShortest
	case drained > 0:
		return 2 * pauseShortest
	}
	return pauseLongest
}

// overfull says that the file holds all it may.
func (c *Collector) overfull() bool {
	held := c.spool.written.Load()
	if c.o.Consumed != nil {
		held -= c.o.Consumed.Load()
	}
	return held >= c.o.SpoolBytesMax
}

// turn is one pass, with what belongs to it. last says that there is no other: then room is no question, since what the ring holds is
// bounded.
func (c *Collector) turn(last bool) (drained int, err error) {
	if err := c.begin(); err != nil || !c.begun {
		return 0, err
	}
	if c.ring.policy == Overwrite {
		now := time.Now()
		if !last {
			c.sample()
			return 0, c.budget.turn(now, nil)
		}
		if err := c.budget.write(now, c.spool); err != nil {
			return 0, err
		}
		return c.flight(c.spool)
	}
	watermark := c.clock.ticks()
	if last || !c.overfull() {
		if drained, err = c.drain(last); err != nil {
			return drained, err
		}
	}
	now := time.Now()
	if err := c.budget.turn(now, c.spool); err != nil {
		return drained, err
	}
	if drained > 0 || last || now.Sub(c.noted) >= passEvery {
		c.noted = now
		if err := c.places.write(c.spool); err != nil {
			return drained, err
		}
		if err := c.notePass(watermark); err != nil {
			return drained, err
		}
	}
	return drained, c.spool.flush()
}

// begin notes what the program is, once it has come.
func (c *Collector) begin() error {
	owner := c.ring.Owner()
	kind := c.ring.load32(capture.OffClock32)
	if c.begun || owner == 0 || kind == 0 {
		return nil
	}
	var err error
	if c.clock, err = newProgramClock(kind); err != nil {
		return err
	}
	if c.process == nil {
		c.process = watch(owner)
	}
	now := c.clock.read()
	s := start{
		Ticks: now.ticks, Unix: now.unix,
		Policy: c.ring.policy.String(), Clock: kind, Process: owner,
		TextBytes:  c.ring.load64(capture.OffTextEnd) - c.ring.load64(capture.OffTextStart),
		StartTicks: c.ring.load64(capture.OffStartTicks), StartUnix: int64(c.ring.load64(capture.OffStartUnix)), // #nosec G115 -- a time
		Executable: c.o.Executable,
	}
	if s.Executable == "" {
		s.Executable = c.process.executable()
	}
	if c.places, err = openPlaces(s.Executable, s.TextBytes); err != nil {
		s.NoPlaces = err.Error()
	}
	c.notice.places = c.places
	c.begun = true
	c.mu.Lock()
	c.stats.Process = owner
	c.mu.Unlock()
	c.started = s
	return addJSON(c.spool, frameStart, s)
}

func addJSON(to *spool, kind uint8, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return to.add(kind, func(dst []byte) []byte { return append(dst, text...) })
}

func (c *Collector) notePass(watermark uint64) error {
	p := pass{watermark: watermark, clockReading: c.clock.read(), counts: c.counts()}
	c.mu.Lock()
	s := &c.stats
	s.Passes++
	s.Dropped, s.Overwritten, s.Blocked = p.dropped, p.overwritten, time.Duration(p.blockedNanos) // #nosec G115 -- a time
	s.Silenced, s.Places = c.budget.ever, c.places.count()
	c.mu.Unlock()
	return c.spool.add(framePass, p.append)
}

func (c *Collector) counts() counts {
	return counts{
		c.ring.load64(capture.OffDropped), c.ring.load64(capture.OffOverwritten), c.ring.load64(capture.OffBlockedNanos),
		c.ring.load64(capture.OffGoroutines), c.ring.load64(capture.OffLocksForgotten),
	}
}

// recording gives what the program's recording of itself took, of what it has timed.
func (c *Collector) recording() time.Duration {
	if !c.begun {
		return 0
	}
	now := c.clock.read()
	ticks := float64(c.ring.load64(capture.OffTimedTicks)) * capture.TimedEvery
	elapsed, ran := float64(now.unix-c.started.Unix), float64(now.ticks-c.started.Ticks)
	if ticks == 0 || elapsed <= 0 || ran <= 0 {
		return 0
	}
	// The program may have stored anything there: no more than all processors did.
	return time.Duration(min(ticks*elapsed/ran, elapsed*float64(runtime.NumCPU())))
}

// programEnded says that nothing is written into the ring any more.
func (c *Collector) programEnded() bool {
	owner := c.ring.Owner()
	if owner != 0 && c.process == nil {
		c.process = watch(owner)
	}
	if owner != 0 {
		return c.process.ended()
	}
	select {
	case <-c.o.Ended: // and nobody came
		return c.ring.Owner() == 0
	default:
		return false
	}
}

// finish ends the file.
func (c *Collector) finish(incomplete string) error {
	e := ending{How: c.how(incomplete), ExitCode: int(int32(c.ring.load32(capture.OffExitCode32))), Signal: c.ring.load32(capture.OffEndSignal32), Incomplete: incomplete} // #nosec G115 -- as the program stored it
	n := c.counts()
	recording := c.recording()
	c.mu.Lock()
	c.stats.Recording = recording
	c.stats.Ended, c.stats.ExitCode = e.How, e.ExitCode
	c.stats.Dropped, c.stats.Overwritten = n.dropped, n.overwritten
	e.Records, e.Chunks, e.Dropped, e.Overwritten = c.stats.Records, c.stats.Chunks, n.dropped, n.overwritten
	c.mu.Unlock()
	return addJSON(c.spool, frameEnd, e)
}

// leftRunning says that the recording ended before the program did.
const leftRunning = "left running"

func (c *Collector) how(incomplete string) string {
	switch how := c.ring.load32(capture.OffEnd32); {
	case how == capture.EndExit:
		return "exit"
	case how == capture.EndPanic:
		return "panic"
	case how == capture.EndFatal:
		return "fatal"
	case c.ring.Owner() == 0:
		return "never started"
	case incomplete != "":
		return leftRunning
	}
	return "killed"
}
