package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/recorder"
)

// killed is the role of the process that writes until it is killed.
const killed = "until-killed"

func killedDir(s settings) string { return filepath.Join(s.Dir, "killed") }

// writeUntilKilled records at full speed, and prints what is durable.
func writeUntilKilled(s settings) error {
	r, err := recorder.Open(killedDir(s), recorder.Options{})
	if err != nil {
		return err
	}
	in, err := r.Source(recorder.Spec{Name: "busy"})
	if err != nil {
		return err
	}
	f, err := newFountain(in.Table())
	if err != nil {
		return err
	}
	r.OnDurable(func(end event.ID) { fmt.Println(uint64(end)) })
	for {
		if err := in.Push(context.Background(), f.next(batchEvents(s, r), nil)); err != nil {
			return err
		}
	}
}

// kill kills the writer as soon as all events are durable: with more on their way, and a segment open.
func kill(ctx context.Context, s settings) (map[string]float64, error) {
	if err := os.RemoveAll(killedDir(s)); err != nil {
		return nil, err
	}
	cmd, err := command(ctx, killed, s)
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	acknowledged := uint64(0)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		end, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			break // torn by the kill
		}
		acknowledged = end
		if end > uint64(s.Events) { // #nosec G115 -- positive
			_ = cmd.Process.Kill() // SIGKILL; what it printed until then is read on
		}
	}
	_ = cmd.Wait()
	if acknowledged <= uint64(s.Events) { // #nosec G115 -- positive
		return nil, fmt.Errorf("the writer ended by itself, at %d events", acknowledged)
	}
	return map[string]float64{"acknowledged": float64(acknowledged)}, os.WriteFile(
		filepath.Join(s.Dir, "acknowledged"), strconv.AppendUint(nil, acknowledged, 10), 0o600)
}

// reopen opens what the killed writer left: for reading and for writing, from the page cache and from the disk.
func reopen(s settings) (map[string]float64, error) {
	text, err := os.ReadFile(filepath.Join(s.Dir, "acknowledged"))
	if err != nil {
		return nil, err
	}
	acknowledged, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return nil, err
	}
	dir := killedDir(s)
	got := map[string]float64{}
	for _, cold := range []bool{true, false} {
		if cold {
			if err := forget(dir); err != nil {
				return nil, err
			}
		}
		began := time.Now()
		rec, err := recorder.Read(dir)
		if err != nil {
			return nil, err
		}
		took := time.Since(began)
		if err := rec.Close(); err != nil {
			return nil, err
		}
		key := "read after kill"
		if cold {
			key += ", cold"
			if err := forget(dir); err != nil {
				return nil, err
			}
		}
		got[key] = float64(took)
	}
	if err := forget(dir); err != nil {
		return nil, err
	}
	// Once only: after it, the recording has been recovered and sealed.
	began := time.Now()
	r, err := recorder.Open(dir, recorder.Options{})
	if err != nil {
		return nil, err
	}
	got["open after kill, cold"] = float64(time.Since(began))
	snapshot := r.Snapshot()
	_, end := snapshot.Range()
	_ = snapshot.Close()
	got["lost after kill"] = max(0, float64(acknowledged)-float64(end))
	if uint64(end) < acknowledged {
		return nil, fmt.Errorf("%d were acknowledged, the recording ends at %d", acknowledged, end)
	}
	return got, r.Close(context.Background())
}

// forget has the system drop the recording from its page cache.
func forget(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name())) // #nosec G304 -- ours
		if err != nil {
			return err
		}
		_ = f.Sync() // only what is on the disk can be dropped
		err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		_ = f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
