package render_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/oracle"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/query/memory"
	"github.com/pastcone/pastcone/internal/render"
	"github.com/pastcone/pastcone/internal/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares an answer with the file that shows how it is to look.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not as it was; if the new form is the better one: go test ./internal/render -update\ngot:\n%s\nwant:\n%s", name, got, want)
	}
}

func shop(t *testing.T) *memory.Reader { return story(t, "shop") }

// story reads one of the recordings that query's tests are about.
func story(t *testing.T, name string) *memory.Reader {
	t.Helper()
	f, err := os.Open("../query/testdata/" + name + ".ndjson")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var events []event.Event
	for lines := bufio.NewScanner(f); lines.Scan(); {
		e, err := event.ParseLine(lines.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	truth, err := oracle.Correlate(events)
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := memory.FromTruth(truth, 16)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var ctx = context.Background()

// answers are the forms of each answer, by the name of their golden file.
var answers = []struct {
	name  string
	write func(t *testing.T, r *memory.Reader, w *bytes.Buffer) error
}{
	{"why-error.txt", why(63, render.Style{}, render.Why)},
	{"why-error-narrow.txt", why(63, render.Style{Width: 60}, render.Why)},
	{"why-error-color.txt", why(63, render.Style{Color: true}, render.Why)},
	{"why-error-all.txt", why(63, render.Style{All: true, Recording: "my shop"}, render.Why)},
	{"why-error.json", why(63, render.Style{}, render.WhyJSON)},
	{"why-call.txt", why(9, render.Style{}, render.Why)},
	{"why-late.txt", late(`{ kind = error && stream = "g21" }`, explained(render.Style{}, render.Why))},
	{"why-late-narrow.txt", late(`{ kind = error && stream = "g21" }`, explained(render.Style{Width: 60}, render.Why))},
	{"why-late.json", late(`{ kind = error && stream = "g21" }`, explained(render.Style{}, render.WhyJSON))},
	{"why-untaken.txt", late(`{ kind = error && stream = "g23" }`, explained(render.Style{}, render.Why))},
	{"why-untaken.json", late(`{ kind = error && stream = "g23" }`, explained(render.Style{}, render.WhyJSON))},
	{"why-passed.txt", late(`{ data.passed = true }`, explained(render.Style{}, render.Why))},
	{"why-passed.json", late(`{ data.passed = true }`, explained(render.Style{}, render.WhyJSON))},
	{"why-passed-on.txt", late(`{ kind = error && stream = "g20" }`, explained(render.Style{}, render.Why))},
	{"find-go.txt", of("late", find(`{ id > 20 }`, false))},
	{"future-go.txt", late(`{ kind = send && stream = "g20" }`, func(id event.ID) answer { return future(id, query.FutureOptions{}, render.Future) })},
	{"show-error.txt", late(`{ data.passed = true }`, func(id event.ID) answer { return show(id, render.Show) })},
	{"future-send.txt", future(28, query.FutureOptions{}, render.Future)},
	{"future-send-bounded.txt", future(18, query.FutureOptions{DepthMax: 3, WidthMax: 2}, render.Future)},
	{"future-leaf.txt", future(72, query.FutureOptions{}, render.Future)},
	{"future-send.json", future(28, query.FutureOptions{}, render.FutureJSON)},
	{"relate-before.txt", relate(41, 63, render.Relate)},
	{"relate-after.txt", relate(63, 41, render.Relate)},
	{"relate-concurrent.txt", relate(52, 53, render.Relate)},
	{"relate-before.json", relate(41, 63, render.RelateJSON)},
	{"show-acquire.txt", show(42, render.Show)},
	{"show-root.txt", show(18, render.Show)},
	{"show-acquire.json", show(42, render.ShowJSON)},
	{"find-events.txt", find(`{ func =~ "Charge" }`, false)},
	{"find-groups.txt", find(`{} | count(), quantile(duration, 0.99), max(duration) by (func)`, false)},
	{"find-select.txt", find(`{ data.request = "a-18" } | select(time, kind, func, data.user.id, data.total)`, false)},
	{"find-nothing.txt", find(`{ kind = gap }`, false)},
	{"find-events.json", find(`{ kind = error }`, true)},
	{"find-groups.json", find(`{} | count(), max(duration) by (kind, data.request)`, true)},
	{"find-select.json", find(`{ kind = error } | select(stream, time, data.code, data.none)`, true)},
	{"stats.txt", func(t *testing.T, r *memory.Reader, w *bytes.Buffer) error {
		return errors.Join(stats(t, r, w, render.Stats), stats(t, r, w, render.StatsNext))
	}},
	{"stats.json", func(t *testing.T, r *memory.Reader, w *bytes.Buffer) error { return stats(t, r, w, render.StatsJSON) }},
	{"suggest.txt", func(t *testing.T, r *memory.Reader, w *bytes.Buffer) error { return suggest(t, r, w, render.Suggest) }},
	{"suggest.json", func(t *testing.T, r *memory.Reader, w *bytes.Buffer) error {
		return suggest(t, r, w, render.SuggestJSON)
	}},
}

type answer func(t *testing.T, r *memory.Reader, w *bytes.Buffer) error

func why(id event.ID, s render.Style, write func(w2 writer, c *query.Chain, s render.Style) error) answer {
	return func(t *testing.T, r *memory.Reader, w *bytes.Buffer) error {
		c, err := query.Why(ctx, r, id, query.WhyOptions{})
		if err != nil {
			return err
		}
		return write(w, c, s)
	}
}

// of asks another recording.
func of(name string, a answer) answer {
	return func(t *testing.T, _ *memory.Reader, w *bytes.Buffer) error { return a(t, story(t, name), w) }
}

// late asks about the one event of the recording in which somebody is late that a query finds.
func late(question string, about func(event.ID) answer) answer {
	return func(t *testing.T, _ *memory.Reader, w *bytes.Buffer) error {
		r := story(t, "late")
		return about(theOne(t, r, question))(t, r, w)
	}
}

// explained explains an event.
func explained(s render.Style, write func(w2 writer, c *query.Chain, s render.Style) error) func(event.ID) answer {
	return func(id event.ID) answer { return why(id, s, write) }
}

func theOne(t *testing.T, r query.Reader, question string) event.ID {
	t.Helper()
	id, err := query.Resolve(ctx, r, question, query.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func future(id event.ID, o query.FutureOptions, write func(writer, *query.Tree, render.Style) error) answer {
	return func(t *testing.T, r *memory.Reader, w *bytes.Buffer) error {
		tree, err := query.Future(ctx, r, id, o)
		if err != nil {
			return err
		}
		return write(w, tree, render.Style{})
	}
}

func relate(a, b event.ID, write func(writer, *query.Relation, render.Style) error) answer {
	return func(t *testing.T, r *memory.Reader, w *bytes.Buffer) error {
		rel, err := query.Relate(ctx, r, a, b, query.RelateOptions{})
		if err != nil {
			return err
		}
		return write(w, rel, render.Style{})
	}
}

func show(id event.ID, write func(writer, *query.Detail, render.Style) error) answer {
	return func(t *testing.T, r *memory.Reader, w *bytes.Buffer) error {
		d, err := query.Show(ctx, r, id, query.ShowOptions{})
		if err != nil {
			return err
		}
		return write(w, d, render.Style{Sources: map[wire.SourceID]string{1: "demo"}})
	}
}

func find(text string, asJSON bool) answer {
	return func(t *testing.T, r *memory.Reader, w *bytes.Buffer) error {
		q, err := query.Parse(text)
		if err != nil {
			return err
		}
		var to interface {
			Hit(*query.Hit) error
			End(query.Summary) error
		} = render.NewFind(w, q, render.Style{})
		if asJSON {
			to = render.NewFindJSON(w, q, render.Style{})
		}
		sum, err := query.Run(ctx, r, q, query.Options{}, to.Hit)
		if err != nil {
			return err
		}
		sum.Elapsed = 0 // the only part that changes
		return to.End(sum)
	}
}

func stats(t *testing.T, r *memory.Reader, w *bytes.Buffer, write func(writer, *query.Statistics, render.Style) error) error {
	st, err := query.Stats(ctx, r, query.Options{})
	if err != nil {
		return err
	}
	st.Elapsed, st.Bytes = 0, 1234567
	return write(w, st, render.Style{Sources: map[wire.SourceID]string{1: "shop.ndjson"}})
}

func suggest(t *testing.T, r *memory.Reader, w *bytes.Buffer, write func(writer, []query.Suggestion, render.Style) error) error {
	all, err := query.Suggest(ctx, r, query.Options{})
	if err != nil {
		return err
	}
	return write(w, all, render.Style{Recording: "shop.rec"})
}

func TestAnswersLookAsTheyShould(t *testing.T) {
	r := shop(t)
	for _, a := range answers {
		t.Run(a.name, func(t *testing.T) {
			var w bytes.Buffer
			if err := a.write(t, r, &w); err != nil {
				t.Fatal(err)
			}
			golden(t, a.name, w.Bytes())
		})
	}
}

type writer = io.Writer
