package query_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/query/memory"
	"github.com/pastcone/pastcone/internal/wire"
)

// damage is an error of a reader that has the rest.
type damage struct{ base event.ID }

func (d damage) Error() string { return fmt.Sprintf("block %d has a bad checksum", d.base) }
func (damage) Damaged() bool   { return true }

// holed is a recording with damaged blocks: of their columns those that are lost can not be read.
type holed struct {
	*memory.Reader
	bases []event.ID
	lost  wire.ColumnSet
	rows  event.ID // of each block
}

func (h *holed) check(id event.ID, want wire.ColumnSet) error {
	for _, base := range h.bases {
		if id >= base && id < base+h.rows && want&h.lost != 0 {
			return damage{base}
		}
	}
	return nil
}

func (h *holed) Read(base event.ID, want wire.ColumnSet, into *wire.Columns) error {
	if h.lost == wire.ColAll && slices.Contains(h.bases, base) { // also when no column is wanted
		return damage{base}
	}
	return errors.Join(h.check(base, want), h.Reader.Read(base, want, into))
}

func (h *holed) ReadRow(id event.ID, want wire.ColumnSet, into *wire.Columns) (int, error) {
	at, err := h.Reader.ReadRow(id, want, into)
	return at, errors.Join(h.check(id, want), err)
}

func (h *holed) ReadRows(base event.ID, rows []uint16, want wire.ColumnSet, into *wire.Columns) error {
	return errors.Join(h.check(base, want), h.Reader.ReadRows(base, rows, want, into))
}

func (h *holed) Find(base event.ID, by wire.ColumnSet, values []uint64, to []uint16) ([]uint16, error) {
	rows, err := h.Reader.Find(base, by, values, to)
	return rows, errors.Join(h.check(base, by), err)
}

// holes gives the shop with each of its blocks damaged in turn, wholly and in its data.
func holes(t *testing.T, do func(h *holed, in func(event.ID) bool)) {
	t.Helper()
	const rows = 6
	r, events := shop(t, rows)
	r.KeepAll = true
	for base := event.ID(1); int(base) <= len(events); base += rows {
		for _, lost := range []wire.ColumnSet{wire.ColAll, wire.ColData, wire.ColParent} {
			do(&holed{r, []event.ID{base}, lost, rows}, func(id event.ID) bool { return id >= base && id < base+rows })
		}
	}
}

func TestAQueryGoesOnWithoutADamagedBlockAndSaysSo(t *testing.T) {
	whole, _ := shop(t, 6)
	for _, text := range []string{
		"{}", "{ kind = error }", "{} | sort(time desc)", "{} | sort(data.code)", "{} << { kind = error }", "{} >> { kind = error }",
		"{} < { kind = error }", "{} > { kind = error }", "{} !< ({} > { root })", "{} !<< { root }",
	} {
		want, _ := answers(t, whole, text, query.Options{})
		holes(t, func(h *holed, in func(event.ID) bool) {
			for _, workers := range []int{1, 2} {
				got, sum := answers(t, h, text, query.Options{Workers: workers})
				for _, id := range got {
					if !slices.Contains(want, id) || in(id) {
						t.Errorf("%s without block %v: %d is wrong", text, h.bases, id)
					}
				}
				if !sum.Cut || sum.Damaged != 1 || !strings.Contains(sum.Reason, damage{h.bases[0]}.Error()) {
					if len(got) != len(want) { // where what is damaged was not needed, nothing is missing
						t.Errorf("%s without block %v: %d of %d, %+v", text, h.bases, len(got), len(want), sum)
					}
				}
				if !strings.ContainsAny(text, "<>") && h.lost == wire.ColAll {
					rest := slices.DeleteFunc(slices.Clone(want), in)
					if slices.Sort(got); len(got) != len(rest) {
						t.Errorf("%s without block %v: %d, want %d", text, h.bases, len(got), len(rest))
					}
				}
			}
		})
	}
}

// An aggregate counts exactly what it could read: events of which it needs nothing that is damaged are counted, since they are there;
// all others are not, and the answer says so.
func TestAggregatesCountWhatCouldBeReadAndSayWhatCouldNot(t *testing.T) {
	whole, events := shop(t, 6)
	sums := func(r query.Reader, text string) (total int64, sum query.Summary) {
		sum, err := query.Run(ctx, r, parse(t, text), query.Options{}, func(h *query.Hit) error {
			total += h.Values[len(h.Values)-1].Whole
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return total, sum
	}
	for text, needs := range map[string]wire.ColumnSet{
		"{} | count()":             0,
		"{} | count() by (kind)":   wire.ColKind,
		"{} | count() by (stream)": wire.ColStream,
		"{ parent > 0 || parent <= 0 || kind != error } | count()": wire.ColParent,
		"{} | count() by (parent)":                                 wire.ColParent,
		"{} | count() by (data.code)":                              wire.ColData,
	} {
		all, _ := sums(whole, text)
		holes(t, func(h *holed, in func(event.ID) bool) {
			missing := 0
			for i := range events {
				if in(event.ID(i + 1)) {
					missing++
				}
			}
			got, sum := sums(h, text)
			if h.lost == wire.ColAll || h.lost&needs != 0 {
				if got > all-1 || !sum.Cut || sum.Damaged != 1 || !strings.Contains(sum.Reason, "partial") {
					t.Errorf("%s without block %v: %d of %d, %+v", text, h.bases, got, all, sum)
				}
				if all == int64(len(events)) && got != all-int64(missing) {
					t.Errorf("%s without block %v: %d, want %d without %d", text, h.bases, got, all, missing)
				}
			} else if got != all || sum.Cut {
				t.Errorf("%s, which does not need what block %v has lost: %d of %d, %+v", text, h.bases, got, all, sum)
			}
		})
	}
}

func TestEveryQuestionIsAnsweredInSpiteOfADamagedBlock(t *testing.T) {
	// What each question is about: where that is damaged, there is no answer.
	about := map[string][]event.ID{"why": {63}, "future": {18}, "relate": {41, 63}, "show": {42}}
	for name, ask := range questions {
		holes(t, func(h *holed, in func(event.ID) bool) {
			err := ask(context.Background(), h)
			var none *query.AnswerError
			switch {
			case slices.ContainsFunc(about[name], in):
				if !query.IsDamage(err) {
					t.Errorf("%s without block %v, which it is about: %v", name, h.bases, err)
				}
			case errors.As(err, &none):
				if !strings.Contains(err.Error(), "bad checksum") {
					t.Errorf("%s without block %v: %v", name, h.bases, err)
				}
			case err != nil:
				t.Errorf("%s without block %v: %v", name, h.bases, err)
			}
		})
	}
}

func TestAnswersNameTheDamagedBlock(t *testing.T) {
	r, events := shop(t, 6)
	h := &holed{r, []event.ID{1, 7}, wire.ColAll, 6}
	st, err := query.Stats(ctx, h, query.Options{})
	if err != nil || st.Events != uint64(len(events)-12) || !strings.Contains(st.Cut, "2 damaged parts are left out, the first: events 1 to 6: block 1 ") {
		t.Errorf("stats: %+v, %v", st, err)
	}
	c, err := query.Why(ctx, h, 63, query.WhyOptions{})
	if err != nil || c.Top != query.TopDamaged || c.Top.String() != "damaged" || !strings.Contains(c.Cut, "bad checksum") {
		t.Errorf("why: %+v, %v", c, err)
	}
	told := ""
	o := query.Options{OnDamage: func(text string) { told = text }}
	if all, err := query.Suggest(ctx, h, o); err != nil || len(all) == 0 || !strings.Contains(told, "bad checksum") {
		t.Errorf("suggest: %v, %v, told %q", all, err, told)
	}
	if id, err := query.Resolve(ctx, h, "{ kind = error } | limit(1)", query.Options{}); err != nil || id < 13 {
		t.Errorf("resolve: %d, %v", id, err)
	}
	// A set that was cut off for another reason as well says both.
	_, sum := answers(t, h, "{} | sort(time)", query.Options{SortMax: 3})
	if !strings.Contains(sum.Reason, "keeps the first 3") || !strings.Contains(sum.Reason, "bad checksum") {
		t.Errorf("both: %s", sum.Reason)
	}
	// Whether two events are concurrent is not known when a way may lead through what is damaged.
	holes(t, func(h *holed, in func(event.ID) bool) {
		for _, pair := range [][2]event.ID{{18, 63}, {41, 63}, {20, 50}} {
			want, err := query.Relate(ctx, r, pair[0], pair[1], query.RelateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := query.Relate(ctx, h, pair[0], pair[1], query.RelateOptions{})
			if err != nil {
				if !in(pair[0]) && !in(pair[1]) {
					t.Errorf("relate %v: %v", pair, err)
				}
			} else if got.Order != want.Order && (got.Order != query.Undecided || !strings.Contains(got.Cut, "bad checksum")) {
				t.Errorf("relate %v without %v: %v (%s), not %v", pair, h.bases, got.Order, got.Cut, want.Order)
			}
		}
	})
}
