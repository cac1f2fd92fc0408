package answer_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/answer"
	"github.com/pastcone/pastcone/internal/query/memory"
	"github.com/pastcone/pastcone/internal/wire"
)

// damage is an error of a reader that has the rest.
type damage struct{}

func (damage) Error() string { return "a bad checksum" }
func (damage) Damaged() bool { return true }

// holed is a recording with a damaged block.
type holed struct {
	*memory.Reader
	base event.ID
}

func (h holed) check(base event.ID) error {
	if base == h.base {
		return damage{}
	}
	return nil
}

func (h holed) Read(base event.ID, want wire.ColumnSet, into *wire.Columns) error {
	return errors.Join(h.check(base), h.Reader.Read(base, want, into))
}

func (h holed) ReadRows(base event.ID, rows []uint16, want wire.ColumnSet, into *wire.Columns) error {
	return errors.Join(h.check(base), h.Reader.ReadRows(base, rows, want, into))
}

// numbered gives events ids and groups of their own, as blocks of two.
func numbered(t *testing.T, events ...event.Event) *memory.Reader {
	t.Helper()
	all := append([]event.Event(nil), events...)
	for i := range all {
		all[i].ID, all[i].Correlation = event.ID(i+1), event.ID(i+1) // #nosec G115 -- an index
	}
	r, err := memory.FromEvents(all, nil, 2)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnswers_OfADamagedRecordingSaySo(t *testing.T) {
	for name, q := range map[string]answer.Question{
		"why":             {Op: "why"},
		"why of a query":  {Op: "why", Events: []string{`{ text = "no stock" }`}},
		"show of a query": {Op: "show", Events: []string{"first:{ kind = error }"}},
		"find":            {Op: "find", Query: "{}"},
		"stats":           {Op: "stats"},
	} {
		for _, json := range []bool{false, true} {
			q.JSON = json
			base := event.ID(5) // behind the error that is asked about
			if name == "show of a query" {
				base = 1
			}
			text, err := askAt(t, holed{numbered(t, shop...), base}, nil, q)
			if err != nil || !strings.Contains(text, "a bad checksum") {
				t.Errorf("%s, JSON %v: %v\n%s", name, json, err, text)
			}
		}
	}
	calm := holed{numbered(t, shop[0], shop[0], shop[0]), 3}
	if _, err := askAt(t, calm, nil, answer.Question{Op: "why"}); !errors.Is(err, answer.ErrNoAnswer) || !strings.Contains(err.Error(), "a bad checksum") {
		t.Errorf("nothing stands out in what can be read: %v", err)
	}
}

func TestWhy_OfACalmRecordingSaysThatNothingStandsOut(t *testing.T) {
	for want, r := range map[string]*memory.Reader{
		"nothing is recorded yet": numbered(t),
		"there is no error, and nothing else stands out: 'pastcone stats' says what is recorded, 'pastcone find'": numbered(t, shop[0]),
	} {
		_, err := askAt(t, r, nil, answer.Question{Op: "why"})
		if !errors.Is(err, answer.ErrNoAnswer) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
