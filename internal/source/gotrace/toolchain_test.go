package gotrace

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// wireNames are the events of the trace format in the order of their numbers, from 1.
var wireNames = strings.Fields(`EventBatch Stacks Stack Strings String CPUSamples CPUSample Frequency
	ProcsChange ProcStart ProcStop ProcSteal ProcStatus
	GoCreate GoCreateSyscall GoStart GoDestroy GoDestroySyscall GoStop GoBlock GoUnblock GoSyscallBegin GoSyscallEnd GoSyscallEndBlocked GoStatus
	STWBegin STWEnd GCActive GCBegin GCEnd GCSweepActive GCSweepBegin GCSweepEnd GCMarkAssistActive GCMarkAssistBegin GCMarkAssistEnd HeapAlloc HeapGoal
	GoLabel UserTaskBegin UserTaskEnd UserRegionBegin UserRegionEnd UserLog
	GoSwitch GoSwitchDestroy GoCreateBlocked GoStatusStack ExperimentalBatch Sync ClockSnapshot EndOfGeneration`)

// assembled makes a trace of its textual form: an event a line, with the values of its fields in the order of the format.
func assembled(text string) ([]byte, error) {
	numbers := map[string]byte{}
	for i, name := range wireNames {
		numbers[name] = byte(i + 1)
	}
	var out []byte
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		line = strings.TrimSpace(line)
		name, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "":
			continue
		case name == "Trace":
			out = fmt.Appendf(out, "%s trace\x00\x00\x00", strings.Replace(rest, "Go", "go ", 1))
			continue
		case strings.HasPrefix(line, "data="):
			data, err := strconv.Unquote(strings.TrimPrefix(line, "data="))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", line, err)
			}
			out = append(binary.AppendUvarint(out, uint64(len(data))), data...)
			continue
		case strings.HasPrefix(line, "pc="):
			rest = line
		case numbers[name] == 0:
			return nil, fmt.Errorf("%s: no event of that name", line)
		default:
			out = append(out, numbers[name])
		}
		for _, field := range strings.Fields(rest) {
			_, value, _ := strings.Cut(field, "=")
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", line, err)
			}
			out = binary.AppendUvarint(out, n)
		}
	}
	return out, nil
}

// goroot is where the Go distribution is, empty if there is none.
func goroot() string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// toolchainFiles gives files of the Go distribution; the test is skipped where it has no such folder.
func toolchainFiles(t *testing.T, pattern string) []string {
	t.Helper()
	root := goroot()
	files, err := filepath.Glob(filepath.Join(root, "src", "internal", "trace", pattern))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skipf("the Go distribution in %s has no %s", root, pattern)
	}
	return files
}

func TestRead_OddTracesOfTheToolchain(t *testing.T) {
	for _, file := range toolchainFiles(t, "testdata/tests/*.test") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".test"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			expect, body, ok := strings.Cut(string(text), "-- trace --\n")
			if !ok {
				t.Fatal("it has no trace")
			}
			in, err := assembled(body)
			if err != nil {
				t.Fatal(err)
			}
			k := newKept()
			stats, err := Read(context.Background(), bytes.NewReader(in), file, Options{}, k)
			check(t, k, stats)
			if strings.Contains(expect, "FAILURE") {
				if !errors.Is(err, ErrBroken) || len(k.rejects) != 1 {
					t.Errorf("the trace is broken, but: %v, %d rejects", err, len(k.rejects))
				}
				return
			}
			if err != nil {
				t.Errorf("the trace is whole, but: %v", err)
			}
			if strings.Contains(body, "GoStart") && stats.Events == 0 {
				t.Error("goroutines run in it, but there are no events")
			}
			if want := strings.Contains(body, "ClockSnapshot"); stats.WallClock != want {
				t.Errorf("wall clock: %v, want %v", stats.WallClock, want)
			}
		})
	}
}

func TestRead_TracesOfOldGo(t *testing.T) {
	for _, file := range toolchainFiles(t, "internal/tracev1/testdata/*_good") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			k, stats := read(t, text, Options{})
			if stats.Events == 0 || stats.Version > 21 {
				t.Errorf("%+v", stats)
			}
			if stats.WallClock || k.events[0].Time < 0 || k.events[0].Time > 1e9 {
				t.Errorf("times begin at 0 where the trace has no wall clock, not at %d", k.events[0].Time)
			}
		})
	}
}
