package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// recordedEvent is a line of an exported recording, as far as it matters here.
type recordedEvent struct {
	ID     uint64          `json:"id"`
	Stream string          `json:"stream"`
	Kind   string          `json:"kind"`
	Func   string          `json:"func"`
	Closed bool            `json:"closed"`
	Empty  bool            `json:"empty"`
	Data   json.RawMessage `json:"data"`
	Causes []struct {
		ID         *uint64 `json:"id"`
		Kind       string  `json:"kind"`
		Confidence string  `json:"confidence"`
	} `json:"causes"`
}

// edges is what a recording says of the stress program: the ledger holds what was captured, this holds what the engine made of it.
type edges struct {
	receives, exact, closed uint64
	wrong                   []string
}

// checkEdges reads an exported recording of the stress program: the message edge of each receive must be exact and lead to the send
// of the value that was received, and that of a receive of a closed channel to the close.
func checkEdges(lines io.Reader) (*edges, error) {
	type receive struct{ id, send, value uint64 }
	var all []receive
	sent := map[uint64]uint64{}            // by the id of the send
	kinds := map[uint64]string{}           // of sends and closes
	pending := map[string]*recordedEvent{} // by stream: the operation whose note is next
	closes := map[uint64]uint64{}          // by the id of a receive of a closed channel: its cause
	e, in := &edges{}, bufio.NewScanner(lines)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		ev := &recordedEvent{}
		if err := json.Unmarshal(in.Bytes(), ev); err != nil {
			return nil, fmt.Errorf("%w: %.200s", err, in.Bytes())
		}
		if before := pending[ev.Stream]; before != nil {
			delete(pending, ev.Stream)
			value := noValue
			if ev.Func == "main.sent" || ev.Func == "main.received" {
				args, err := numbers(ev.Data)
				if err != nil || len(args) != 1 {
					return nil, fmt.Errorf("event %d: a note without its value: %s", ev.ID, ev.Data)
				}
				value = args[0]
			}
			if before.Kind == "send" {
				sent[before.ID] = value
			} else {
				all = append(all, receive{before.ID, *before.Causes[0].ID, value})
			}
		}
		switch ev.Kind {
		case "send":
			kinds[ev.ID] = ev.Kind
			if !strings.HasPrefix(ev.Stream, "timer") {
				pending[ev.Stream] = ev
			}
		case "close":
			kinds[ev.ID] = ev.Kind
		case "receive":
			want := "message"
			if ev.Closed {
				want = "close"
			}
			at := -1
			for i, c := range ev.Causes {
				if c.Kind == want && c.Confidence == "exact" && c.ID != nil {
					at = i
				}
			}
			if at < 0 {
				e.wrong = append(e.wrong, fmt.Sprintf("event %d, a receive in %s (closed %t), has no exact edge to where it comes from", ev.ID, ev.Stream, ev.Closed))
				break
			}
			ev.Causes[0] = ev.Causes[at]
			if ev.Closed {
				closes[ev.ID] = *ev.Causes[0].ID
				break
			}
			e.receives++
			pending[ev.Stream] = ev
		}
	}
	for _, r := range all {
		value, noted := sent[r.send]
		switch {
		case kinds[r.send] != "send":
			e.wrong = append(e.wrong, fmt.Sprintf("event %d was received from event %d, which is a %q", r.id, r.send, kinds[r.send]))
		case r.value != noValue && (!noted || value != r.value):
			e.wrong = append(e.wrong, fmt.Sprintf("event %d received number %d of sender %d, but its edge leads to event %d, which sent number %d of sender %d",
				r.id, numberOf(r.value), r.value>>numberBits, r.send, numberOf(value), value>>numberBits))
		default:
			e.exact++
		}
	}
	for id, cause := range closes {
		if e.closed++; kinds[cause] != "close" {
			e.wrong = append(e.wrong, fmt.Sprintf("event %d found its channel closed by event %d, which is a %q", id, cause, kinds[cause]))
		}
	}
	return e, in.Err()
}

// numberBits of a value of the stress program are its number with its sender.
const numberBits = 22

func numberOf(value uint64) uint64 { return value & (1<<numberBits - 1) }

// stressRecorded runs the stress program with pastcone run, and checks the edges of the recording.
func (b *bench) stressRecorded(sends uint64) (*edges, error) {
	rec := filepath.Join(b.dir, "stress.rec")
	defer os.RemoveAll(rec) //nolint:errcheck // in a temporary directory
	args := append([]string{"run", "-o", rec, "--quiet", "--budget", "-1"}, b.flags("--args", "main.sent,main.received", "./acceptance/conformance/stress", "--",
		fmt.Sprintf("-sends=%d", sends))...)
	r := b.do(command20m, b.root, nil, b.pastcone, args...)
	if r.trouble != nil || r.code != 3 {
		return nil, fmt.Errorf("%s: status %d, not 3: %v\n%s", r.command, r.code, r.trouble, tail(r.out+r.err))
	}
	var values, empties, closed, senders uint64
	if _, err := fmt.Sscanf(r.out, "values %d empty %d closed %d senders %d", &values, &empties, &closed, &senders); err != nil {
		return nil, fmt.Errorf("%q: %w", r.out, err)
	}
	c := exec.CommandContext(b.ctx, b.pastcone, "export", "--format", "ndjson", rec) // #nosec G204 -- built by us
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var said strings.Builder
	c.Stderr = &said
	if err := c.Start(); err != nil {
		return nil, err
	}
	e, err := checkEdges(out)
	_, _ = io.Copy(io.Discard, out)
	if err = errors.Join(err, c.Wait()); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, tail(said.String()))
	}
	if e.receives != values+empties || e.closed != closed {
		e.wrong = append(e.wrong, fmt.Sprintf("%d receives, %d of closed channels have edges; the program made %d and %d", e.receives, e.closed, values+empties, closed))
	}
	if len(e.wrong) > 0 {
		return e, fmt.Errorf("%d faults: %s", len(e.wrong), strings.Join(e.wrong[:min(len(e.wrong), faultsMax)], "\n"))
	}
	return e, nil
}
