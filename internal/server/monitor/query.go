package monitor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/pastcone/pastcone/internal/answer"
	"github.com/pastcone/pastcone/internal/config"
)

// lineTimeout is how long a client may take for a line of an answer.
const lineTimeout = 30 * time.Second

// query answers one question: its body is what the protocol calls the arguments, with "op" in it. The answer is JSON lines. One that
// ends before its end has a last line {"error":…}.
func (m *Monitor) query(w http.ResponseWriter, r *http.Request) {
	if m.o.Answerer == nil {
		m.refuse(w, http.StatusNotFound, "this server answers no questions")
		return
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		m.refuse(w, http.StatusUnsupportedMediaType, "a question is application/json")
		return
	}
	if err := m.o.Gate.PayQuery(grantOf(r)); err != nil {
		w.Header().Set("Retry-After", "1")
		m.refuse(w, http.StatusTooManyRequests, err.Error())
		return
	}
	select {
	case m.asking <- struct{}{}:
		defer func() { <-m.asking }()
	default:
		w.Header().Set("Retry-After", "1")
		m.refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("%d questions are being answered, the most at a time", queriesMax))
		return
	}
	op, args, err := parseQuestion(r.Body)
	if err != nil {
		status := http.StatusBadRequest
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			status = http.StatusRequestEntityTooLarge
		}
		m.refuse(w, status, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), m.o.QueryTimeout())
	defer cancel()
	m.answer(ctx, w, op, args)
}

// parseQuestion reads a body: a JSON object with "op". It gives the arguments as the protocol has them, with "json" set.
func parseQuestion(body io.Reader) (op string, args json.RawMessage, err error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return "", nil, err
	}
	var fields map[string]json.RawMessage
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&fields); err != nil || fields == nil {
		return "", nil, errors.New(`a question is a JSON object, as {"op":"find","query":"{ kind = error }"}`)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return "", nil, errors.New("a question is one JSON object, and nothing behind it")
	}
	if err := json.Unmarshal(fields["op"], &op); err != nil || op == "" {
		return "", nil, errors.New(`a question has an "op", as "find" or "why"`)
	}
	fields["json"] = json.RawMessage("true")
	args, err = json.Marshal(fields)
	return op, args, err
}

func (m *Monitor) answer(ctx context.Context, w http.ResponseWriter, op string, args json.RawMessage) {
	control := http.NewResponseController(w)
	begun := false
	err := ask(ctx, m.o.Answerer.Answer, op, args, func(line []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		_ = control.SetWriteDeadline(time.Now().Add(lineTimeout))
		_, err := w.Write(append(bytes.Clone(line), '\n'))
		return err
	})
	if err == nil {
		if !begun {
			w.Header().Set("Content-Type", "application/x-ndjson")
			w.WriteHeader(http.StatusOK)
		}
		return
	}
	if begun {
		text, _ := json.Marshal(map[string]string{"error": err.Error()})
		_, _ = w.Write(append(text, '\n'))
		return
	}
	_ = control.SetWriteDeadline(time.Now().Add(lineTimeout))
	status := http.StatusUnprocessableEntity
	switch {
	case errors.Is(err, answer.ErrNoAnswer):
		status = http.StatusNotFound
	case errors.Is(err, answer.ErrQuestion):
		status = http.StatusBadRequest
	case ctx.Err() != nil:
		status = http.StatusGatewayTimeout
	}
	m.refuse(w, status, err.Error())
}

// ask asks; a panic costs this answer only.
func ask(ctx context.Context, f func(context.Context, string, json.RawMessage, func([]byte) error) error, op string, args json.RawMessage, w func([]byte) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the server failed in %.64q: %v", op, p)
		}
	}()
	return f(ctx, op, args, w)
}

// settings tells what the settings are. Paths are among them, secrets are not: there are none in the settings.
func (m *Monitor) settings(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(m.o.Settings().Values())
}

// reload reads them again. All that can change does, or nothing: then the answer names what can not.
func (m *Monitor) reload(w http.ResponseWriter, r *http.Request) {
	if m.o.Reload == nil {
		m.refuse(w, http.StatusNotFound, "the settings can not be read again here")
		return
	}
	changed, err := m.o.Reload()
	m.o.Log.Info("the settings were asked to be read again", "by", grantOf(r).Who, "changed", len(changed), "error", err)
	w.Header().Set("Content-Type", "application/json")
	reply := struct {
		Changed []string         `json:"changed"`
		Error   string           `json:"error,omitempty"`
		Wrong   []problemInReply `json:"wrong,omitempty"`
	}{Changed: changed}
	if err != nil {
		reply.Error = err.Error()
		var problems config.Problems
		if errors.As(err, &problems) {
			for _, p := range problems {
				reply.Wrong = append(reply.Wrong, problemInReply{p.Setting, p.Wrong})
			}
		}
		m.refused.Add(1)
		w.WriteHeader(http.StatusConflict)
	}
	_ = json.NewEncoder(w).Encode(reply)
}

type problemInReply struct {
	Setting string `json:"setting"`
	Wrong   string `json:"wrong"`
}
