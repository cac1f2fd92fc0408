package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pastcone/pastcone/internal/protocol"
)

// Asker asks questions on one connection, one at a time. It is safe for concurrent use.
type Asker struct {
	mu     sync.Mutex
	line   *line
	asked  uint64
	broken error
}

// AnswerError says that a question has no whole answer.
type AnswerError struct {
	Op      string
	Reason  string // what the server says
	Timeout bool   // it was stopped by its deadline
}

func (e *AnswerError) Error() string { return e.Reason }

// Ask connects to a server that asks for nothing.
func Ask(ctx context.Context, address string) (*Asker, error) {
	return AskAs(ctx, address, Access{})
}

// AskAs connects to a server and shows who asks.
func AskAs(ctx context.Context, address string, access Access) (*Asker, error) {
	l, err := dial(ctx, address, access, protocol.Hello{})
	if err != nil {
		return nil, err
	}
	return &Asker{line: l}, nil
}

// Close ends the connection.
func (a *Asker) Close() error { return a.line.conn.Close() }

// cancelPatience is how long a server may take to end an answer that was cancelled.
const cancelPatience = 5 * time.Second

// Query asks: op names the operation, args are its arguments and are sent as JSON. Each line of the
// answer, a JSON text, is handed to f, which must not keep it; an error of f ends the answer and is
// returned. The deadline of ctx goes along, and when ctx is over the server stops looking. A question
// that has failed is an [*AnswerError].
func (a *Asker) Query(ctx context.Context, op string, args any, f func(line []byte) error) error {
	text, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("arguments of %s: %w", op, err)
	}
	q := protocol.Query{Op: op, Args: text}
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline).Milliseconds()
		if left <= 0 {
			return context.DeadlineExceeded
		}
		q.DeadlineMs = min(uint64(left), protocol.DeadlineMsMax) // #nosec G115 -- positive
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken != nil {
		return fmt.Errorf("the connection is broken since an earlier question: %w", a.broken)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	a.asked++
	q.ID = a.asked
	// Frames of this goroutine and of the cancellation below must not mix.
	var writing sync.Mutex
	write := func(frame []byte) error {
		writing.Lock()
		defer writing.Unlock()
		_ = a.line.conn.SetWriteDeadline(time.Now().Add(helloTimeout))
		_, err := a.line.conn.Write(frame)
		return err
	}
	if err := write(q.Append(nil)); err != nil {
		a.broken = err
		return err
	}
	cancelling := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cancelling)
		_ = a.line.conn.SetReadDeadline(time.Now().Add(cancelPatience))
		_ = write(protocol.AppendCancel(nil, q.ID))
	})
	err = a.answer(ctx, &q, write, f)
	if !stop() {
		<-cancelling
		_ = a.line.conn.SetReadDeadline(time.Time{})
	}
	return err
}

func (a *Asker) answer(ctx context.Context, q *protocol.Query, write func([]byte) error, f func([]byte) error) error {
	var failed error // f's
	for {
		kind, payload, err := a.line.in.Next()
		if err != nil {
			a.broken = fmt.Errorf("the connection broke within an answer: %w", err)
			return errors.Join(ctx.Err(), a.broken)
		}
		switch kind {
		case protocol.KindAnswer:
			id, text, err := protocol.ParseAnswer(payload)
			if err != nil {
				a.broken = err
				return err
			}
			if id != q.ID || failed != nil {
				continue // of an answer that nobody wants any more
			}
			if failed = f(text); failed != nil {
				if err := write(protocol.AppendCancel(nil, id)); err != nil {
					a.broken = err
					return failed
				}
			}
		case protocol.KindAnswerEnd:
			var end protocol.AnswerEnd
			if err := end.Parse(payload); err != nil {
				a.broken = err
				return err
			}
			switch {
			case end.ID != q.ID:
				continue
			case failed != nil:
				return failed
			case end.Status == protocol.StatusFine:
				return nil
			case end.Status == protocol.StatusCancelled && ctx.Err() != nil:
				return ctx.Err()
			}
			return &AnswerError{Op: q.Op, Reason: end.Reason, Timeout: end.Status == protocol.StatusDeadline}
		case protocol.KindRefused:
			a.broken = refused(payload)
			return a.broken
		default:
			a.broken = fmt.Errorf("%w: %s within an answer", protocol.ErrMalformed, kind)
			return a.broken
		}
	}
}
