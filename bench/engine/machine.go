package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine tells what the figures were measured on.
func machine(dir string) []string {
	return []string{
		fmt.Sprintf("processor: %s, %d cores", field("/proc/cpuinfo", "model name"), runtime.NumCPU()),
		"memory: " + field("/proc/meminfo", "MemTotal"),
		"kernel: " + first("/proc/sys/kernel/ostype") + " " + first("/proc/sys/kernel/osrelease"),
		"Go: " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		"disk: " + disk(dir),
	}
}

// field gives the value of the first line of a file that begins with a name and a colon.
func field(file, name string) string {
	text, err := os.ReadFile(file) // #nosec G304 -- one of ours
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func first(file string) string {
	text, err := os.ReadFile(file) // #nosec G304 -- one of ours
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// disk gives the file system below a directory, and the time of a small append with its sync.
func disk(dir string) string {
	kind := "unknown"
	longest := 0
	for line := range strings.Lines(first("/proc/mounts") + "\n") {
		f := strings.Fields(line)
		if len(f) > 2 && len(f[1]) > longest && (f[1] == "/" || dir == f[1] || strings.HasPrefix(dir, f[1]+"/")) {
			kind, longest = f[2]+" on "+f[0], len(f[1])
		}
	}
	f, err := os.CreateTemp(dir, "sync")
	if err != nil {
		return kind
	}
	defer func() { _ = f.Close(); _ = os.Remove(f.Name()) }()
	var took durations
	for range 100 {
		begin := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return kind
		}
		if err := f.Sync(); err != nil {
			return kind
		}
		took = append(took, time.Since(begin))
	}
	return fmt.Sprintf("%s; append of 4 KiB and sync: %v p50, %v p99", kind,
		took.quantile(0.5).Round(10*time.Microsecond), took.quantile(0.99).Round(10*time.Microsecond))
}

// load gives the machine's load averages.
func load() string {
	f := strings.Fields(first("/proc/loadavg"))
	if len(f) < 3 {
		return "unknown"
	}
	return strings.Join(f[:3], " ")
}

// anonymousBytes gives the anonymous memory of this process, 0 where the system does not tell.
func anonymousBytes() int64 {
	var kib int64
	if _, err := fmt.Sscan(field("/proc/self/status", "RssAnon"), &kib); err != nil {
		return 0
	}
	return kib << 10
}

// watchMemory samples the anonymous memory until stop, which gives the highest.
func watchMemory() (stop func() int64) {
	quit, most := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		high := anonymousBytes()
		for {
			select {
			case <-tick.C:
				high = max(high, anonymousBytes())
			case <-quit:
				most <- max(high, anonymousBytes())
				return
			}
		}
	}()
	return func() int64 {
		close(quit)
		return <-most
	}
}

// processorTime gives the time that this process has computed for, on all cores.
func processorTime() time.Duration { return clock(unix.CLOCK_PROCESS_CPUTIME_ID) }

// threadTime gives the time that this thread has computed for.
func threadTime() time.Duration { return clock(unix.CLOCK_THREAD_CPUTIME_ID) }

func clock(id int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		panic(err) // both clocks are always there
	}
	return time.Duration(t.Nano())
}
