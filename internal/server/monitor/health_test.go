package monitor

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/recorder"
)

// A flow in which work waits and none is done for five seconds stands still; one that is only slow does not.
func TestHealth_TellsAStoppedFlowFromASlowOne(t *testing.T) {
	for name, c := range map[string]struct {
		step func(second int, s *recorder.Status)
		says string
	}{
		"nothing to do":          {func(int, *recorder.Status) {}, ""},
		"slow, but it moves":     {func(i int, s *recorder.Status) { s.Intake.Backlog.Batches = 9; s.Intake.Batches.Done = uint64(i / 3) }, ""}, // #nosec G115
		"intake stands still":    {func(_ int, s *recorder.Status) { s.Intake.Backlog.Batches = 9 }, "at intake"},
		"a worker hangs":         {func(_ int, s *recorder.Status) { s.Write.Batches.InHand = 1 }, "at write"},
		"no commit comes":        {func(_ int, s *recorder.Status) { s.Store.UndurableEvents = 3 }, "at commit"},
		"a pause between bursts": {func(i int, s *recorder.Status) { s.Intake.Backlog.Batches = i % 2 }, ""},
	} {
		var s recorder.Status
		h := newHealth(func() recorder.Status { return s }, "")
		began := time.Now().Add(-10 * time.Second)
		for second := range 10 {
			s = recorder.Status{}
			c.step(second, &s)
			h.look(began.Add(time.Duration(second) * time.Second))
		}
		s2 := s
		h.status = func() recorder.Status { return s2 }
		h.room = func(string) (uint64, bool) { return 1 << 40, true }
		got := strings.Join(h.unready(), "; ")
		if (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestHealth_ADiskWithoutRoomIsNotReady(t *testing.T) {
	h := newHealth(func() recorder.Status { return recorder.Status{} }, t.TempDir())
	if free, ok := h.room(h.dir); !ok || free == 0 {
		t.Skip("the room of a file system is not known here")
	}
	if _, ok := freeBytes("/nowhere/at/all"); ok {
		t.Error("a folder that is not there has room")
	}
	h.room = func(string) (uint64, bool) { return 1 << 20, true }
	if got := h.unready(); len(got) != 1 || !strings.Contains(got[0], "1048576 bytes left") {
		t.Error(got)
	}
}

// FuzzQuestion reads any body: what it gives is a JSON object that asks for JSON.
func FuzzQuestion(f *testing.F) {
	f.Add([]byte(`{"op":"find","query":"{}"}`))
	f.Add([]byte(`{"op":1}`))
	f.Add([]byte(`{"op":"x"}{}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		op, args, err := parseQuestion(bytes.NewReader(body))
		if err != nil {
			return
		}
		var back struct {
			Op   string `json:"op"`
			JSON bool   `json:"json"`
		}
		if err := json.Unmarshal(args, &back); err != nil || back.Op == "" || op == "" || !back.JSON {
			t.Fatalf("%q became %s: %v", body, args, err)
		}
	})
}

// FuzzLabel makes any text a label: one line, no quote that ends it.
func FuzzLabel(f *testing.F) {
	f.Add("a\"b\\c\nd\xff")
	f.Add(strings.Repeat("é", 150))
	f.Fuzz(func(t *testing.T, text string) {
		got := escapeLabel(text)
		bare := strings.NewReplacer(`\\`, "", `\"`, "", `\n`, "").Replace(got)
		if strings.ContainsAny(bare, "\"\n\\") {
			t.Fatalf("%q became %q", text, got)
		}
	})
}
