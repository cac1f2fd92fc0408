package recorder

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/config"
	"github.com/pastcone/pastcone/internal/correlate"
	"github.com/pastcone/pastcone/internal/pipeline"
	"github.com/pastcone/pastcone/internal/store"
	"github.com/pastcone/pastcone/internal/wire"
)

// balanced looks at the books all the time, until the returned function is called.
func balanced(t *testing.T, r *Recorder) (stop func()) {
	t.Helper()
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if err := r.ledger.Check(); err != nil {
				t.Error(err)
				return
			}
			select {
			case <-over:
				return
			default:
			}
		}
	}()
	return func() { close(over); <-ended }
}

// The weather changes all the time while several sources push: at no moment do the books say anything wrong, and in the end every
// event is stored or stands in a gap.
func TestT5_Stress_TheBooksBalanceAtEveryMoment(t *testing.T) {
	r, w, dir := under(t, LossShed, func(o *Options) { o.RingBatches = 8 })
	stop := balanced(t, r)
	var ins []*Input
	var wg sync.WaitGroup
	for n := range 4 {
		in := input(t, r, fmt.Sprint("live", n), false)
		ins = append(ins, in)
		wg.Go(func() {
			for i := range 150 {
				push(t, in, requests(i*4, 4)...)
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	for _, age := range []time.Duration{violent, calm, violent} {
		w.is(age)
		time.Sleep(600 * time.Millisecond)
	}
	wg.Wait()
	stop()
	for _, in := range ins[1:] {
		if err := in.Close(within(t), true); err != nil {
			t.Fatal(err)
		}
	}
	_, all := finish(t, r, ins[0], dir)
	books := r.Books().All
	there, gone := tally(all)
	n := 0
	for _, k := range gone {
		n += k
	}
	if uint64(there) != books.Stored || uint64(n) != books.Shed || books.Accepted != 4*150*64 || books.Shed == 0 {
		t.Errorf("%d events and %d in gaps, of %+v", there, n, books)
	}
}

// stalled is a recorder whose disk takes nothing until it is told to.
func stalled(t *testing.T, loss Loss, change func(*Options)) (r *Recorder, dir string, goOn func()) {
	t.Helper()
	o := Options{Loss: loss, RingBatches: 8, Lateness: 50 * time.Millisecond}
	o.Store.UndurableBytesMax = 64 << 10
	if change != nil {
		change(&o)
	}
	dir = filepath.Join(t.TempDir(), "rec")
	r = open(t, dir, o)
	hold, write := make(chan struct{}), r.store.Write
	r.write = func(b *wire.Block) error { <-hold; return write(b) }
	return r, dir, sync.OnceFunc(func() { close(hold) })
}

// reaches waits for a level, by what is really measured.
func reaches(t *testing.T, r *Recorder, least pipeline.Level, because string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the pressure is %v because %s", least, because), func() bool {
		s := r.pressure.Status()
		return s.Level >= least && strings.Contains(strings.Join(s.Reasons, "; "), because)
	})
}

func backToNormal(t *testing.T, r *Recorder) {
	t.Helper()
	eventually(t, "the pressure is normal again", func() bool {
		s := r.pressure.Status()
		return s.Level == pipeline.LevelNormal && len(s.Actions) == 0 && s.Kept == 1
	})
}

func TestT5_Stress_AStalledDiskIsSeenWaitedForAndRecoveredFrom(t *testing.T) {
	r, dir, goOn := stalled(t, LossNever, nil)
	in := input(t, r, "live", false)
	ctx, cancel := context.WithCancel(within(t))
	pushed := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			push(t, in, requests(n*8, 8)...)
		}
		pushed <- n
	}()
	reaches(t, r, pipeline.LevelHigh, "the disk is")
	reaches(t, r, pipeline.LevelHigh, "events have waited")
	goOn()
	cancel()
	n := uint64(<-pushed)
	backToNormal(t, r)
	if a, all := finish(t, r, in, dir); a.Stored != n*128 || a.Shed != 0 || uint64(len(all)) != n*128 {
		t.Errorf("%+v", a)
	}
}

func TestT5_Stress_AStalledDiskAndALiveSourceThatMayLose(t *testing.T) {
	r, dir, goOn := stalled(t, LossShed, func(o *Options) {
		o.Pressure = pipeline.DefaultThresholds()
		o.Pressure.BacklogAgeSeconds = [3]float64{0.05, 0.1, 0.2}
	})
	stop := balanced(t, r)
	in := input(t, r, "live", false)
	ctx, cancel := context.WithCancel(within(t))
	ended := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			push(t, in, requests(n*8, 8)...)
		}
		ended <- n
	}()
	untilOn(t, r, pipeline.ActShedRest, true)
	goOn()
	eventually(t, "something is shed", func() bool { return in.Account().Shed > 0 })
	cancel()
	n := <-ended
	stop()
	backToNormal(t, r)
	a, all := finish(t, r, in, dir)
	there, gone := tally(all)
	if a.Accepted != uint64(n)*128 || uint64(there) != a.Stored || fmt.Sprint(gone) != fmt.Sprint(byReason(a)) {
		t.Errorf("%d events and %v of %d pushed; the ledger has %+v", there, gone, n*128, a)
	}
}

func TestT5_Stress_AFullDiskIsCriticalAndThenNot(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "rec"), Options{})
	var full atomic.Bool
	full.Store(true)
	publish := r.seq.publish
	in := input(t, r, "live", false)
	if err := r.sequence(within(t), func(*correlate.Correlator) {
		r.seq.publish = func(ctx context.Context, b *wire.Block) error {
			if full.Load() {
				return fmt.Errorf("no room: %w", store.ErrNoSpace)
			}
			return publish(ctx, b)
		}
	}); err != nil {
		t.Fatal(err)
	}
	push(t, in, requests(0, 1)...)
	reaches(t, r, pipeline.LevelCritical, "the disk is full")
	full.Store(false)
	backToNormal(t, r)
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	closeWell(t, r)
}

func TestT5_Stress_TheCorrelatorPanicsWhileBlocksWaitToBeSampled(t *testing.T) {
	r, w, dir := under(t, LossSample, nil)
	in := input(t, r, "live", false)
	w.is(violent)
	eventually(t, "few are kept", func() bool { return r.pressure.Kept() <= 1.0/16 })
	var panics atomic.Int64
	if err := r.sequence(within(t), func(*correlate.Correlator) {
		r.seq.add = func(c *correlate.Correlator, b *wire.Batch) {
			if panics.Add(1)%5 == 0 {
				panic("a defect")
			}
			c.Add(b)
		}
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		push(t, in, requests(i*10, 10)...)
	}
	a, all := finish(t, r, in, dir)
	there, gone := tally(all)
	if uint64(there) != a.Stored || gone[pipeline.ShedSample] != int(a.Shed) || a.RejectedBy[ReasonCorrelator] < 4*160 || a.Accepted != 3200 {
		t.Errorf("%d events and %v; the ledger has %+v", there, gone, a)
	}
}

func TestT5_Stress_ADrainInTheMiddleOfIt(t *testing.T) {
	r, w, dir := under(t, LossShed, nil)
	in := input(t, r, "live", false)
	w.is(violent)
	untilOn(t, r, pipeline.ActShedLogs, true)
	for i := range 50 {
		push(t, in, requests(i*10, 10)...)
	}
	a, all := finish(t, r, in, dir) // while it sheds and samples
	there, gone := tally(all)
	if uint64(there) != a.Stored || fmt.Sprint(gone) != fmt.Sprint(byReason(a)) || a.Accepted != 8000 {
		t.Errorf("%d events and %v; the ledger has %+v", there, gone, a)
	}
}

func TestT5_Stress_AReopenedRecordingGoesOnBehindWhatWasShed(t *testing.T) {
	r, w, dir := under(t, LossShed, nil)
	in := input(t, r, "live", false)
	w.is(violent)
	untilOn(t, r, pipeline.ActShedLogs, true)
	long := func(from, n int) (all []event.Event) {
		for i := range n {
			all = append(all, event.Event{Stream: "g1", Seq: uint64(from + i), Time: 1_700_000_000_000_000_000 + int64(from+i), Kind: event.KindLog})
		}
		return all
	}
	push(t, in, append([]event.Event{{Stream: "g1", Seq: 1, Time: 1_700_000_000_000_000_000, Kind: event.KindStart}}, long(2, 99)...)...)
	w.is(calm)
	eventually(t, "it has come through", func() bool { return in.Account().InFlight == 0 })
	closeWell(t, r)

	r = open(t, dir, Options{Lateness: 50 * time.Millisecond})
	if again, err := r.begin(in.info, false, true); err != nil {
		t.Fatal(err)
	} else {
		in = again
	}
	push(t, in, long(101, 10)...)
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	closeWell(t, r)
	_, gone := tally(readAll(t, dir))
	if gone[pipeline.ShedLogs] != 99 || gone[""] != 0 {
		t.Errorf("gaps: %v", gone)
	}
}

// Sources come and go by the hundred while the pressure goes up and down: none is lost sight of.
func TestT5_Stress_SourcesComeAndGoByTheHundred(t *testing.T) {
	r, w, dir := under(t, LossShed, nil)
	stop := balanced(t, r)
	over := make(chan struct{})
	go func() {
		defer close(over)
		for i := range 8 {
			w.is([]time.Duration{violent, calm}[i%2])
			time.Sleep(300 * time.Millisecond)
		}
	}()
	var wg sync.WaitGroup
	for n := range 10 {
		wg.Go(func() {
			for i := range 20 {
				in, err := r.Source(Spec{Name: fmt.Sprint("short ", n, " ", i), Format: "test"})
				if err != nil {
					t.Error(err)
					return
				}
				push(t, in, requests(i*5, 5)...)
				if err := in.Close(within(t), true); err != nil {
					t.Error(err)
				}
				if a := in.Account(); a.Accepted != 80 || a.Stored+a.Shed != 80 || a.InFlight != 0 {
					t.Errorf("source %d %d: %+v", n, i, a)
				}
			}
		})
	}
	wg.Wait()
	<-over
	stop()
	backToNormal(t, r)
	closeWell(t, r)
	if there, _ := tally(readAll(t, dir)); uint64(there) != r.Books().All.Stored {
		t.Errorf("%d events are there, of %+v", there, r.Books().All)
	}
}

func TestT5_Load_BatchesBeforeTheCorrelatorAreBounded(t *testing.T) {
	g := &budget{bytesMax: 1000}
	small := func() *wire.Batch { return &wire.Batch{Arena: make([]byte, 400)} }
	large := &wire.Batch{Arena: make([]byte, 5000)}
	if err := g.take(within(t), large); err != nil { // alone
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	one, two, three := small(), small(), small()
	if err := g.take(short, one); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("behind a large one: %v", err)
	}
	g.give(large)
	if err := errors.Join(g.take(within(t), one), g.take(within(t), two)); err != nil {
		t.Fatal(err)
	}
	taken := make(chan error)
	go func() { taken <- g.take(within(t), three) }()
	select {
	case err := <-taken:
		t.Fatalf("there was no room: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	g.give(one)
	if err := <-taken; err != nil {
		t.Error(err)
	}
	g.give(two)
	g.give(three)
	if g.bytes != 0 || len(g.of) != 0 {
		t.Errorf("%d bytes are held by nobody", g.bytes)
	}
}

func TestT5_Load_TheBacklogKnowsItsAge(t *testing.T) {
	var l backlog
	at := func(s float64) time.Time { return time.Unix(1000, 0).Add(time.Duration(s * float64(time.Second))) }
	for _, c := range []struct {
		now              float64
		entered, reached uint64
		want             float64
	}{
		{0, 0, 0, 0}, {1, 10, 0, 0}, {2, 10, 5, 1}, {3, 20, 9, 2}, {4, 20, 10, 1}, {5, 20, 19, 2}, {6, 20, 20, 0}, {7, 21, 25, 0},
	} {
		if got := l.age(at(c.now), c.entered, c.reached); got.Seconds() != c.want {
			t.Errorf("at %v: %v, want %v", c.now, got, c.want)
		}
	}
	for i := range 10 * marksMax {
		l.age(at(10+float64(i)), uint64(100+i), 25)
	}
	if got := l.age(at(10+10*marksMax), 100_000, 25); len(l.at) > marksMax || got.Seconds() != 10*marksMax {
		t.Errorf("%d marks, %v", len(l.at), got)
	}
}

func TestT5_Load_TheMachineIsMeasured(t *testing.T) {
	if n := residentBytes(); n < 1<<20 || n > 1<<40 {
		t.Errorf("%d bytes are resident", n)
	}
	if n := freeBytes(t.TempDir()); n <= 0 {
		t.Errorf("%d bytes are free", n)
	}
	if n := freeBytes(filepath.Join(t.TempDir(), "none")); n >= 0 {
		t.Errorf("of no directory: %d", n)
	}
	if processorTime() <= 0 {
		t.Error("no processor time")
	}
	r := open(t, filepath.Join(t.TempDir(), "rec"), Options{MemoryBytesMax: 1 << 40})
	eventually(t, "all of it is in the status", func() bool {
		s := r.Status().Pressure.Readings
		return s.MemoryBytes > 0 && s.MemoryBytesMax == 1<<40 && s.DiskFreeBytes > 0
	})
	closeWell(t, r)
}

func TestT5_Load_WhoHasNoMemoryWaitsAndThenGoesOn(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "rec"), Options{MemoryBytesMax: 1 << 20}) // far less than there is
	in := input(t, r, "live", false)
	reaches(t, r, pipeline.LevelCritical, "of memory are in use")
	over, cancel := context.WithTimeout(context.Background(), memoryWaitMost/10)
	defer cancel()
	b := &wire.Batch{}
	if err := b.AddEvent(in.Table(), &requests(0, 1)[0]); err != nil {
		t.Fatal(err)
	}
	if err := in.Push(over, b); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it did not wait: %v", err)
	}
	push(t, in, requests(0, 1)...)
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	closeWell(t, r)
}

// memoryVariable has this test binary be a recorder under load, in a process of its own.
const memoryVariable = "PASTCONE_TEST_MEMORY"

// loadOneself is a recorder under load, in a process of its own.
func loadOneself(dir string) error {
	s := config.Defaults()
	s.Memory.BytesMax = 128 * config.MiB
	s.Ring.CapacityEvents = 1 << 22 // a ring that would be far more than that
	o := FromSettings(s)
	o.LimitMemory()
	r, err := Open(dir, o)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	wrong := make([]error, 3)
	end := time.Now().Add(4 * time.Second)
	data := []byte(`{"text":"` + strings.Repeat("x", 4000) + `"}`)
	for n := range wrong {
		in, err := r.Source(Spec{Name: fmt.Sprint("live", n), Format: "test"})
		if err != nil {
			return err
		}
		wg.Go(func() {
			for i := 0; time.Now().Before(end) && wrong[n] == nil; i++ {
				b := &wire.Batch{}
				for k := range 500 {
					e := event.Event{Stream: fmt.Sprintf("s%d-%d", n, i), Seq: uint64(k + 1), Time: time.Now().UnixNano(), Kind: event.KindLog, Data: data}
					if k%7 == 6 { // what never meets, and is remembered
						e.Kind, e.Key, e.Data = event.KindSend, fmt.Sprintf("chan%d.%d", i, k), nil
					}
					if wrong[n] = b.AddEvent(in.Table(), &e); wrong[n] != nil {
						return
					}
				}
				wrong[n] = in.Push(context.Background(), b)
			}
		})
	}
	wg.Wait()
	fmt.Printf("\nstored %d\n", r.Books().All.Stored)
	return errors.Join(append(wrong, r.ledger.Check())...)
}

// Three sources push large events as fast as they can, into a ring that would hold gigabytes: the process stays within its limit and a tenth of it.
func TestT5_Stress_TheMemoryLimitIsKeptByARealProcess(t *testing.T) {
	if residentOf("self") == 0 {
		t.Skip("the resident memory of another process is not known here")
	}
	c := exec.Command(os.Args[0]) // #nosec G204 G702 -- itself: see TestMain
	c.Env = append(os.Environ(), memoryVariable+"="+filepath.Join(t.TempDir(), "rec"))
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	most, looks := int64(0), 0
	for running := true; running; {
		select {
		case err := <-ended:
			running = false
			if err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
		case <-time.After(2 * time.Millisecond):
			most = max(most, residentOf(fmt.Sprint(c.Process.Pid)))
			looks++
		}
	}
	stored := 0
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "stored %d", &stored)
	}
	t.Logf("%d MiB at most, %d events stored, %d looks", most>>20, stored, looks)
	if limit := int64(128 << 20); !raceDetector && most > limit/10*11 { // whose shadow is memory too
		t.Errorf("%d MiB are resident, the limit is %d MiB", most>>20, limit>>20)
	}
	if stored < 1_000 || most < 16<<20 || looks < 100 {
		t.Errorf("there was no load: %d events stored, %d MiB at most, %d looks", stored, most>>20, looks)
	}
}

// residentOf gives the anonymous and shared resident memory of a process, 0 if it is not known.
func residentOf(pid string) int64 {
	status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
	if err != nil {
		return 0
	}
	sum := int64(0)
	for line := range strings.Lines(string(status)) {
		var kib int64
		name, rest, _ := strings.Cut(line, ":")
		if name == "RssAnon" || name == "RssShmem" {
			_, _ = fmt.Sscan(rest, &kib)
			sum += kib << 10
		}
	}
	return sum
}
