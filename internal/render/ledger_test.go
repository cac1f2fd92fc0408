package render

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/query"
)

func TestTheLedgerNamesEveryLoss(t *testing.T) {
	all := []Source{
		{ID: 1, Name: "a\x1b[2J", Format: "ndjson", Accepted: 12000, Stored: 11990, Shed: 4, Rejected: 6, ShedBy: map[string]uint64{"ring full": 4},
			RejectedBy: map[string]uint64{"no time": 1, "no kind": 1, "late": 4}, Complete: true},
		{ID: 2, Name: "b", Format: "probe", Open: true}, {ID: 3, Name: "c", Format: "probe"},
	}
	var text, lines bytes.Buffer
	if err := errors.Join(Sources(&text, all, Style{}), SourcesJSON(&lines, all, Style{})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"12,000 accepted = 11,990 stored + 4 shed + 6 rejected + 0 in flight\n      4 × ring full  4 × late  1 × no kind  1 × no time\n",
		"a·[2J ndjson, complete\n", "b probe, recording\n", "c probe, broken off\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if n := strings.Count(lines.String(), `{"type":"source","source":`); n != 3 || !strings.Contains(lines.String(), `"shed_by":{"ring full":4}`) {
		t.Errorf("%d sources in\n%s", n, lines.String())
	}
}

func TestNumbersAndWordsAgree(t *testing.T) {
	for lost, want := range map[uint64]string{1: " 1  gap, for 1 event that is missing\n", 2: " 2  gaps, for 2 events that are missing\n"} {
		var w bytes.Buffer
		if err := Stats(&w, &query.Statistics{Events: 9, First: 1, End: 10, Gaps: lost, Lost: lost}, Style{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(w.String(), want) {
			t.Errorf("no %q in\n%s", want, w.String())
		}
	}
}

func TestProgressIsShownOnATerminalOnly(t *testing.T) {
	var on, off bytes.Buffer
	for w, terminal := range map[*bytes.Buffer]bool{&on: true, &off: false} {
		p := NewProgress(w, terminal, "reading")
		p.began = time.Now().Add(-time.Second)
		p.Set(2_000_000, 4_000_000, "7 events")
		p.Set(4_000_000, 4_000_000, "too soon to be shown")
		p.End()
	}
	if got := on.String(); !strings.HasPrefix(got, "\r\x1b[Kreading  50 %, 2 MB/s, 7 events\r\x1b[K") || strings.Contains(got, "too soon") {
		t.Errorf("%q", got)
	}
	if off.Len() > 0 {
		t.Errorf("%q", off.String())
	}
}
