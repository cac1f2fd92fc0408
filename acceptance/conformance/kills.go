package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The words of the witness's notes, as it has them.
const (
	witnessProcess    = 0
	witnessOver       = 1
	witnessSteps      = 2
	witnessGoroutines = 8
	witnessWords      = witnessSteps + witnessGoroutines
)

// patience is how long anything may take that takes milliseconds.
const patience = 30 * time.Second

// notes is the witness's file.
type notes string

func (n notes) read() (w [witnessWords]uint64, err error) {
	text, err := os.ReadFile(string(n))
	if err != nil || len(text) < 8*witnessWords {
		return w, err // empty before the witness has come
	}
	for i := range w {
		w[i] = binary.LittleEndian.Uint64(text[8*i:])
	}
	return w, nil
}

// await waits until a word is set, and gives it.
func (n notes) await(word int) (uint64, error) {
	for began := time.Now(); time.Since(began) < patience; time.Sleep(time.Millisecond) {
		w, err := n.read()
		if err != nil || w[word] != 0 {
			return w[word], err
		}
	}
	return 0, fmt.Errorf("the witness has not noted word %d after %s", word, patience)
}

// lived is what a run of the witness came to.
type lived struct {
	noted, recorded, beyond uint64 // steps; those that are recorded and were not noted in time
	events                  uint64
	said                    string
	code                    int
	capturedEnd             string
}

// newNotes makes an empty file for the witness.
func (b *bench) newNotes() (notes, error) {
	n := notes(filepath.Join(b.dir, "notes"))
	return n, os.WriteFile(string(n), nil, 0o600)
}

// witness runs the witness, ends it if end is "kill", and holds its notes against its capture.
func (b *bench) witness(binary, end string, after time.Duration) (*lived, error) {
	note, err := b.newNotes()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(b.dir, "witness.capture")
	defer os.Remove(file) //nolint:errcheck // in a temporary directory
	args := []string{"-notes", string(note)}
	if end != "kill" {
		args = append(args, "-end", end, "-after", after.String())
	}
	var said strings.Builder
	c := exec.CommandContext(b.ctx, binary, args...) // #nosec G204 -- built by us
	c.Env = append(os.Environ(), "PASTCONE_TO="+file)
	c.Stdout, c.Stderr = &said, &said
	c.WaitDelay = patience
	if err := c.Start(); err != nil {
		return nil, err
	}
	guard := time.AfterFunc(2*patience, func() { _ = c.Process.Kill() })
	defer guard.Stop()
	if end == "kill" {
		pid, err := note.await(witnessProcess)
		if err != nil {
			return nil, errors.Join(err, c.Process.Kill(), c.Wait())
		}
		time.Sleep(after)
		p, err := os.FindProcess(int(pid)) // #nosec G115 -- a process id
		if err == nil {
			err = p.Kill()
		}
		if err != nil {
			return nil, errors.Join(err, c.Process.Kill(), c.Wait())
		}
	}
	err = c.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	l := &lived{said: said.String(), code: c.ProcessState.ExitCode()}
	ledger := newLedger(false)
	stats, err := checkCapture(b.ctx, file, ledger)
	if err != nil {
		return l, err
	}
	l.events, l.capturedEnd = ledger.events, stats.Ended
	if stats.Note() != "" {
		ledger.fault("%s", stats.Note())
	}
	w, err := note.read()
	if err != nil {
		return l, err
	}
	for i := range uint64(witnessGoroutines) {
		noted, recorded := w[witnessSteps+i], ledger.steps[i]
		l.noted += noted
		l.recorded += recorded
		switch {
		case recorded < noted:
			ledger.fault("goroutine %d had noted its step %d, and the last one in the recording is %d", i, noted, recorded)
		case recorded > noted+1:
			ledger.fault("goroutine %d had noted its step %d, and step %d is in the recording", i, noted, recorded)
		default:
			l.beyond += recorded - noted
		}
	}
	// A killed program may have let a value out of a channel whose receive it did not live to record, and the other way round:
	// both ends are recorded after they happened. So receives without a send are no fault here; what is there is matched.
	return l, ledger.err()
}

// endings are the other ways in which a program ends.
var endings = []struct {
	how, captured string
	code          int
	says          string
}{
	{"panic", "panic", 2, "panic: as told"},
	{"exit", "exit", 7, ""},
	{"fatal", "fatal", 2, "concurrent map writes"},
	{"segv", "", 2, "SIGSEGV"},
	{"return", "exit", 0, "over"},
}

func (b *bench) killed() error {
	binary := filepath.Join(b.dir, "witness")
	if err := b.selfRecording(binary, "./acceptance/conformance/witness", "--args", "main.step"); err != nil {
		return err
	}
	if err := b.kill(binary, b.kills); err != nil {
		return err
	}
	return b.endings(binary, max(1, b.kills/10))
}

// kill kills the witness at random moments.
func (b *bench) kill(binary string, times int) error {
	var all lived
	for i := range times {
		after := time.Duration(rand.Int64N(int64(120 * time.Millisecond)))
		l, err := b.witness(binary, "kill", after)
		if err == nil && (l.code != 137 || l.capturedEnd != "killed") {
			err = fmt.Errorf("status %d, and the capture says %q", l.code, l.capturedEnd)
		}
		if err != nil {
			return fmt.Errorf("kill %d, after %s: %w\n%s", i+1, after, err, said(l))
		}
		all.noted += l.noted
		all.recorded += l.recorded
		all.beyond += l.beyond
		all.events += l.events
	}
	if all.noted == 0 {
		return errors.New("the witness noted nothing: the kills came too early to prove anything")
	}
	b.say("%d kills after up to 120 ms: %d steps noted by the dying, %d of them in the recording, and %d more that were complete but not noted; %d events, no hole in any stream",
		times, all.noted, all.recorded-all.beyond, all.beyond, all.events)
	return nil
}

func said(l *lived) string {
	if l == nil {
		return ""
	}
	return tail(l.said)
}

// endings ends the witness in each other way, at random moments.
func (b *bench) endings(binary string, times int) error {
	for _, e := range endings {
		var all lived
		for i := range times {
			after := time.Duration(rand.Int64N(int64(60 * time.Millisecond)))
			l, err := b.witness(binary, e.how, after)
			if err == nil && (l.code != e.code || e.captured != "" && l.capturedEnd != e.captured || !strings.Contains(l.said, e.says)) {
				err = fmt.Errorf("status %d, not %d; the capture says %q", l.code, e.code, l.capturedEnd)
			}
			if err != nil {
				return fmt.Errorf("%s %d, after %s: %w\n%s", e.how, i+1, after, err, said(l))
			}
			all.noted += l.noted
			all.recorded += l.recorded
			all.beyond += l.beyond
			all.capturedEnd = l.capturedEnd
		}
		b.say("%d × %-7s (recorded as %q): %d steps noted, all of them in the recording, and %d more", times, e.how, all.capturedEnd, all.noted, all.beyond)
	}
	return nil
}

// orphaned kills who records, with SIGKILL, while the program runs: the program goes on and ends as it would have.
func (b *bench) orphaned() error {
	const times = 3
	for i := range times {
		note, err := b.newNotes()
		if err != nil {
			return err
		}
		out := filepath.Join(b.dir, "orphan")
		rec := filepath.Join(b.dir, fmt.Sprintf("orphan-%d.rec", i))
		file, err := os.Create(out) // #nosec G304 -- in our directory
		if err != nil {
			return err
		}
		// The program's output is a file: a pipe of ours would not outlive who holds it.
		args := append([]string{"run", "-o", rec, "--quiet", "--budget", "-1"}, b.flags("--args", "main.step", "./acceptance/conformance/witness", "--",
			"-notes", string(note), "-end", "return", "-after", "4s")...)
		c := exec.CommandContext(b.ctx, b.pastcone, args...) // #nosec G204 -- built by us
		c.Dir, c.Stdout, c.Stderr = b.root, file, file
		if err := c.Start(); err != nil {
			return errors.Join(err, file.Close())
		}
		pid, err := note.await(witnessProcess)
		before := steps(note)
		time.Sleep(time.Duration(50+rand.IntN(200)) * time.Millisecond)
		err = errors.Join(err, c.Process.Kill(), file.Close())
		_ = c.Wait() // killed
		if err != nil {
			return err
		}
		killed := steps(note)
		began := time.Now()
		if _, err := note.await(witnessOver); err != nil {
			return fmt.Errorf("the program did not end: %w", err)
		}
		after := steps(note)
		text, err := os.ReadFile(out) // #nosec G304 -- in our directory
		if err != nil {
			return err
		}
		if !strings.HasSuffix(string(text), "over\n") || after <= killed {
			return fmt.Errorf("process %d made %d steps before, %d after its recorder had died, and said %q", pid, killed, after-killed, text)
		}
		b.say("recorder killed after %d steps: the program made %d more in %.1f s, and ended right", killed-before, after-killed, time.Since(began).Seconds())
		if r := b.do(command1m, b.dir, nil, b.pastcone, "verify", rec); r.failed() != nil {
			return fmt.Errorf("what the dead recorder left: %w", r.failed())
		}
	}
	return nil
}

func steps(n notes) (all uint64) {
	w, _ := n.read()
	for _, s := range w[witnessSteps:] {
		all += s
	}
	return all
}
