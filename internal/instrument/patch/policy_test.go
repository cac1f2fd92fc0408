package patch

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/capture"
)

// start starts a program with a ring that nobody drains.
func start(t *testing.T, r *testRing, program string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), capture.EnvRing+"="+r.path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// missing returns how many numbers of the streams have no record, up to each stream's last.
func missing(streams map[uint64][]record) (n uint64) {
	for _, s := range streams {
		n += s[len(s)-1].seq - uint64(len(s))
	}
	return n
}

func TestPolicyDropLosesAndCounts(t *testing.T) {
	r := newRing(t, capture.PolicyDrop, 6)
	cmd := start(t, r, build(t, "stress"), "-sends=2000")
	var exit *exec.ExitError
	if err := cmd.Wait(); err == nil || !asExit(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("the program ended with %v", err)
	}
	dropped := r.get64(capture.OffDropped)
	r.end()
	streams := r.streams(t)
	n := match(t, streams, false, places(t, r, build(t, "stress")))
	events := 0
	for _, s := range streams {
		events += len(s)
	}
	if dropped == 0 || n.receives == 0 {
		t.Fatalf("%d events dropped, %d receives kept: nothing was tested", dropped, n.receives)
	}
	// Six chunks hold so many, and no more; what Ps have begun and not filled may be missing.
	if most := 6 * capture.ChunkRecords; events > most || events < most-4*capture.ChunkRecords {
		t.Errorf("%d events kept in six chunks of %d", events, capture.ChunkRecords)
	}
	if gone := missing(streams); gone > dropped {
		t.Errorf("%d numbers are missing, but %d events were counted as dropped", gone, dropped)
	}
}

func TestPolicyDropGoesOnWhenThereIsRoomAgain(t *testing.T) {
	r := newRing(t, capture.PolicyDrop, 4)
	cmd := start(t, r, build(t, "stress"), "-sends=60000")
	for r.get64(capture.OffDropped) < 10000 {
		time.Sleep(time.Millisecond)
		if r.get32(capture.OffEnd32) != 0 {
			t.Fatal("the program ended before it dropped anything")
		}
	}
	r.drain()
	cmd.Wait()
	dropped := r.get64(capture.OffDropped)
	r.end()
	streams := r.streams(t)
	if len(r.taken) < 20 {
		t.Fatalf("%d chunks: nothing was tested", len(r.taken))
	}
	match(t, streams, false, places(t, r, build(t, "stress")))
	if gone := missing(streams); gone == 0 || gone > dropped {
		t.Errorf("%d numbers missing, %d dropped", gone, dropped)
	}
}

func TestPolicyOverwriteKeepsTheLast(t *testing.T) {
	r := newRing(t, capture.PolicyOverwrite, 16)
	program := build(t, "stress")
	if _, status := run(t, r, []string{"GOMAXPROCS=2"}, program, "-sends=3000"); status != 3 {
		t.Fatalf("the program ended with %d", status)
	}
	streams := r.streams(t)
	n := match(t, streams, false, places(t, r, program))
	kept := 0
	for _, s := range streams {
		kept += len(s)
	}
	overwritten, dropped := r.get64(capture.OffOverwritten), r.get64(capture.OffDropped)
	if overwritten == 0 || dropped != 0 || n.receives < 100 {
		t.Fatalf("%d events overwritten, %d dropped, %d receives kept", overwritten, dropped, n.receives)
	}
	if kept < 13*capture.ChunkRecords {
		t.Errorf("%d events kept in sixteen chunks of %d", kept, capture.ChunkRecords)
	}
	// What is kept is the end: in each stream the last numbers, without a hole but for the chunk of a P that was idle for long.
	chunks := make([]uint64, 0, len(r.taken))
	for _, c := range r.taken {
		chunks = append(chunks, c[0])
	}
	slices.Sort(chunks)
	last := r.get64(capture.OffCursor)
	if chunks[len(chunks)-1] != last || chunks[2] < last-16 {
		t.Errorf("chunks kept: %v, of %d", chunks, last)
	}
	// The main goroutine's last events are its waiting for all; none of the last chunk's is missing.
	if gone := missing(streams); gone > overwritten {
		t.Errorf("%d numbers missing, %d events overwritten", gone, overwritten)
	}
}

func TestPolicyBlockWaitsForTheCollector(t *testing.T) {
	r := newRing(t, capture.PolicyBlock, 4)
	cmd := start(t, r, build(t, "stress"), "-sends=2000")
	// The collector beats, but takes nothing: the program stands.
	stop := time.Now().Add(300 * time.Millisecond)
	for time.Now().Before(stop) {
		r.beat()
		time.Sleep(10 * time.Millisecond)
	}
	if end := r.get32(capture.OffEnd32); end != 0 {
		t.Fatalf("the program ended (%d) with more events than the ring can hold", end)
	}
	r.drain()
	cmd.Wait()
	r.end()
	streams := r.streams(t)
	whole(t, streams)
	match(t, streams, true, places(t, r, build(t, "stress")))
	if blocked := time.Duration(r.get64(capture.OffBlockedNanos)); blocked < 100*time.Millisecond {
		t.Errorf("blocked for %v", blocked)
	}
}

func TestTheProgramSurvivesItsCollector(t *testing.T) {
	r := newRing(t, capture.PolicyBlock, 4)
	began := time.Now()
	cmd := start(t, r, build(t, "stress"), "-sends=2000")
	var exit *exec.ExitError
	if err := cmd.Wait(); !asExit(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("the program ended with %v", err)
	}
	took := time.Since(began)
	if took < time.Duration(capture.BeatStaleNanos) || took > 20*time.Second {
		t.Errorf("the program took %v without a collector", took)
	}
	if r.get32(capture.OffOn32) != 0 {
		t.Error("it did not switch the recording off")
	}
	r.end()
	match(t, r.streams(t), false, places(t, r, build(t, "stress")))
}

func TestNothingCompleteIsLostWhenTheProgramIsKilled(t *testing.T) {
	rounds := 8
	for round := range rounds {
		r := newRing(t, capture.PolicyBlock, 64)
		cmd := start(t, r, build(t, "stress"), "-forever", "-sends=1000")
		r.drain()
		time.Sleep(20*time.Millisecond + rand.N(80*time.Millisecond))
		cmd.Process.Kill()
		cmd.Wait()
		r.end()
		streams := r.streams(t)
		events := whole(t, streams) // a goroutine's last event may be missing; none before it
		n := match(t, streams, false, places(t, r, build(t, "stress")))
		if events < 1000 || n.receives < 100 {
			t.Errorf("round %d: %d events, %d receives", round, events, n.receives)
		}
		// A receive has its send, unless the sender, who was handed the processor later, did not come to write it.
		if n.unmatched > 64 {
			t.Errorf("round %d: %d receives of %d without their send", round, n.unmatched, n.receives)
		}
		if end := r.get32(capture.OffEnd32); end != 0 {
			t.Errorf("a program that was killed says that it ended: %d", end)
		}
	}
}

func TestSilencedRowsOfManyPsAreShared(t *testing.T) {
	r := newRing(t, capture.PolicyBlock, 8)
	r.ps = 1
	*r.at32(capture.OffPs32) = 1
	const count = 23
	r.memory[int(r.get64(capture.OffFunctionStates))+count] = capture.FunctionSilent
	run(t, r, nil, build(t, "calls"), "silent")
	if calls, ticks := r.silenced(count); calls != 1601 || ticks == 0 {
		t.Errorf("%d calls, %d ticks", calls, ticks)
	}
}

func asExit(err error, exit **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*exit = e
	return ok
}
