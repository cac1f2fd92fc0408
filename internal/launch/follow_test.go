package launch

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

func TestAProgramThatNeedsTheProcessorsIsBusy(t *testing.T) {
	used, known := time.Duration(0), true
	a := &aside{used: func() (time.Duration, bool) { return used, known }, share: 1.1} // of two processors
	now := time.Now()
	for _, step := range []struct {
		why   string
		after time.Duration
		used  time.Duration
		known bool
		busy  bool
	}{
		{"nothing is known at first", 0, 5 * time.Second, true, false},
		{"it uses both", 20 * time.Millisecond, 38 * time.Millisecond, true, true},
		{"not looked at again so soon", 5 * time.Millisecond, 0, true, true},
		{"it uses one", 100 * time.Millisecond, 100 * time.Millisecond, true, false},
		{"it uses more than one", 100 * time.Millisecond, 120 * time.Millisecond, true, true},
		{"it is gone", 100 * time.Millisecond, 200 * time.Millisecond, false, false},
	} {
		now, used, known = now.Add(step.after), used+step.used, step.known
		if got := a.busy(now); got != step.busy {
			t.Errorf("%s: busy %t", step.why, got)
		}
	}
	if (*aside)(nil).busy(now) {
		t.Error("nobody is busy where nobody is watched")
	}
}

func TestTheProcessorTimeOfAProcessIsKnown(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("linux only")
	}
	before, known := processorTimeOf(os.Getpid())
	for began := processorTime(); processorTime()-began < 30*time.Millisecond; {
	}
	after, _ := processorTimeOf(os.Getpid())
	if !known || after-before < 20*time.Millisecond {
		t.Errorf("%v, then %v, %t", before, after, known)
	}
	if _, known := processorTimeOf(1 << 22); known {
		t.Error("the time of a process that is not there is known")
	}
}

// A follower waits while the program is busy, reads what is there when it is calm or gone, and does not let the file grow without end.
func TestTheFollowerStepsAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "capture")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString("records"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	busy := &aside{used: func() (time.Duration, bool) { return 8 * time.Since(began), true }, share: 1, at: began.Add(-time.Second), is: true}
	open := func(ended chan struct{}) (*follower, context.CancelFunc) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		ctx, cancel := context.WithCancel(context.Background())
		return &follower{ctx: ctx, file: f, ended: ended, aside: busy}, cancel
	}

	ended := make(chan struct{})
	f, cancel := open(ended)
	defer cancel()
	got := make(chan string, 1)
	go func() {
		text, err := io.ReadAll(f)
		if err != nil {
			text = []byte(err.Error())
		}
		got <- string(text)
	}()
	select {
	case text := <-got:
		t.Errorf("read while the program was busy: %q", text)
	case <-time.After(10 * asideEvery):
	}
	close(ended)
	if text := <-got; text != "records" {
		t.Errorf("read at the end: %q", text)
	}

	f, cancel = open(make(chan struct{}))
	time.AfterFunc(3*asideEvery, cancel)
	if n, err := f.Read(make([]byte, 100)); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop while it waited: %d, %v", n, err)
	}

	if err := file.Truncate(backlogBytesMax + 2); err != nil { // a hole: no disk is used
		t.Fatal(err)
	}
	f, cancel = open(make(chan struct{}))
	defer cancel()
	if n, err := f.Read(make([]byte, 100)); n != 100 || err != nil {
		t.Errorf("with too much left to read: %d, %v", n, err)
	}
}
