package recorder

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/answer"
	"github.com/pastcone/pastcone/internal/intake"
	"github.com/pastcone/pastcone/internal/protocol"
	"github.com/pastcone/pastcone/internal/server"
	"github.com/pastcone/pastcone/internal/store"
	"github.com/pastcone/pastcone/internal/wire"
)

// sessionDetail is where the manifest keeps the session of a source that came over the protocol.
const sessionDetail = "session"

// sessionCloseWait bounds how long the end of a session waits for its last events to be durable.
const sessionCloseWait = 30 * time.Second

// ServerOptions gives what a server needs to take events into this recorder, and to answer from its recording.
func (r *Recorder) ServerOptions() server.Options {
	return server.Options{Recorder: sessions{r}, Answerer: answers{r}, Check: intake.CheckText, Log: r.log,
		QueryTimeout: func() time.Duration { return time.Duration(r.queryTimeout.Load()) }}
}

// sessions opens the inputs of the server's sources.
type sessions struct{ r *Recorder }

// Open begins the source of a session, or goes on with it: also after a restart, for the manifest knows its session.
func (s sessions) Open(_ context.Context, from server.Source) (server.Input, error) {
	for _, info := range s.r.store.Sources() {
		if info.Detail[sessionDetail] != from.Session {
			continue
		}
		if info.Complete {
			return nil, fmt.Errorf("%w: it is source %d, %q", server.ErrEnded, info.ID, info.Name)
		}
		in, err := s.r.begin(info, from.Finite, true)
		return sessionInput{in}, err
	}
	in, err := s.r.source(store.SourceInfo{Name: from.Name, Format: from.Format, Detail: map[string]string{sessionDetail: from.Session}}, from.Finite)
	return sessionInput{in}, err
}

// Account tells what became of the events of a session's source.
func (s sessions) Account(session string) (e protocol.Ended) {
	var id wire.SourceID
	for _, info := range s.r.store.Sources() {
		if info.Detail[sessionDetail] == session {
			id = info.ID
		}
	}
	for _, src := range s.r.Sources() {
		if src.ID != id {
			continue
		}
		e.Stored, e.Shed, e.Rejected = src.Stored, src.Shed, src.Rejected
		for _, by := range []map[string]uint64{src.ShedBy, src.RejectedBy} {
			for _, reason := range slices.Sorted(maps.Keys(by)) {
				e.Reasons = append(e.Reasons, protocol.Reason{Text: reason, Events: by[reason]})
			}
		}
	}
	return e
}

// sessionInput is an Input as the server sees it.
type sessionInput struct{ *Input }

// WaitDurable returns when everything up to that event is durable.
func (in sessionInput) WaitDurable(ctx context.Context, last event.ID) error {
	return in.r.store.WaitDurable(ctx, last)
}

// Close ends the source, for now or for good.
func (in sessionInput) Close(ended bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), sessionCloseWait)
	defer cancel()
	return in.Input.Close(ctx, ended)
}

// answers answers the protocol's questions from all that is published.
type answers struct{ r *Recorder }

// Answer answers one question. Text for people goes line by line as {"text":"…"}.
func (a answers) Answer(ctx context.Context, op string, args json.RawMessage, w func(line []byte) error) error {
	q := answer.Question{Op: op}
	if len(args) > 0 {
		d := json.NewDecoder(bytes.NewReader(args))
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil {
			return fmt.Errorf("%w: the arguments of %s: %w", answer.ErrQuestion, op, err)
		}
		q.Op = op
	}
	q.BytesMax = a.r.queryBytesMax.Load() // whatever the asker says
	snapshot := a.r.Snapshot()
	defer snapshot.Close()
	lines := &lineWriter{text: !q.JSON, to: w}
	err := answer.Answer(ctx, snapshot, a.r.Sources(), &q, lines)
	if err != nil {
		return err
	}
	return lines.flush()
}

// lineWriter cuts what is written to it into lines.
type lineWriter struct {
	text bool // wrap a line as {"text":…}
	to   func([]byte) error
	rest []byte
}

// lineBytesMax bounds a line that is not over yet.
const lineBytesMax = 64 << 20

// Write takes a piece of the answer.
func (l *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		if err := l.line(append(l.rest, p[:i]...)); err != nil {
			return 0, err
		}
		l.rest, p = l.rest[:0], p[i+1:]
	}
	if len(l.rest)+len(p) > lineBytesMax {
		return 0, fmt.Errorf("a line of the answer has over %d bytes", lineBytesMax)
	}
	l.rest = append(l.rest, p...)
	return n, nil
}

func (l *lineWriter) line(line []byte) error {
	if !l.text {
		return l.to(line)
	}
	wrapped, err := json.Marshal(TextLine{Text: string(line)})
	if err != nil {
		return err
	}
	return l.to(wrapped)
}

func (l *lineWriter) flush() error {
	if len(l.rest) == 0 {
		return nil
	}
	return l.line(l.rest)
}

// TextLine is one line of an answer for people, as it goes over the protocol.
type TextLine struct {
	Text string `json:"text"`
}
