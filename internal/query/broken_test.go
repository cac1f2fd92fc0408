package query_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/query/memory"
	"github.com/pastcone/pastcone/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counting counts which blocks are read.
type counting struct {
	*memory.Reader
	mu     sync.Mutex
	blocks map[event.ID]int
}

func (c *counting) Read(base event.ID, want wire.ColumnSet, into *wire.Columns) error {
	c.mu.Lock()
	if c.blocks == nil {
		c.blocks = map[event.ID]int{}
	}
	c.blocks[base]++
	c.mu.Unlock()
	return c.Reader.Read(base, want, into)
}

var errDisk = errors.New("the disk is broken")

// failing fails at the n-th reading.
type failing struct {
	*memory.Reader
	mu   sync.Mutex
	left int
}

func (f *failing) fail() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left--
	if f.left < 0 {
		return errDisk
	}
	return nil
}

func (f *failing) Read(base event.ID, want wire.ColumnSet, into *wire.Columns) error {
	return errors.Join(f.fail(), f.Reader.Read(base, want, into))
}

func (f *failing) ReadRow(id event.ID, want wire.ColumnSet, into *wire.Columns) (int, error) {
	at, err := f.Reader.ReadRow(id, want, into)
	return at, errors.Join(f.fail(), err)
}

func (f *failing) ReadRows(base event.ID, rows []uint16, want wire.ColumnSet, into *wire.Columns) error {
	return errors.Join(f.fail(), f.Reader.ReadRows(base, rows, want, into))
}

func (f *failing) Find(base event.ID, by wire.ColumnSet, values []uint64, to []uint16) ([]uint16, error) {
	rows, err := f.Reader.Find(base, by, values, to)
	return rows, errors.Join(f.fail(), err)
}

// questions are one of each.
var questions = map[string]func(ctx context.Context, r query.Reader) error{
	"why": func(ctx context.Context, r query.Reader) error {
		_, err := query.Why(ctx, r, 63, query.WhyOptions{})
		return err
	},
	"future": func(ctx context.Context, r query.Reader) error {
		_, err := query.Future(ctx, r, 18, query.FutureOptions{})
		return err
	},
	"relate": func(ctx context.Context, r query.Reader) error {
		_, err := query.Relate(ctx, r, 41, 63, query.RelateOptions{})
		return err
	},
	"show": func(ctx context.Context, r query.Reader) error {
		_, err := query.Show(ctx, r, 42, query.ShowOptions{})
		return err
	},
	"stats": func(ctx context.Context, r query.Reader) error {
		_, err := query.Stats(ctx, r, query.Options{Workers: 2})
		return err
	},
	"suggest": func(ctx context.Context, r query.Reader) error {
		_, err := query.Suggest(ctx, r, query.Options{Workers: 2})
		return err
	},
	"resolve": func(ctx context.Context, r query.Reader) error {
		_, err := query.Resolve(ctx, r, "last:{ data.request = \"a-17\" }", query.Options{Workers: 1}) // reads nothing ahead
		return err
	},
}

func init() {
	for _, text := range []string{
		"{}", "{ kind = error }", "{ text = \"declined\" } | select(key)", "{ !(data.n = 1 || ref = \"x\" || takes) && confidence = exact }",
		"{ !(source = 1) || stream =~ \"2\" || duration < 1ms || root || func = \"x\" || seq = 3 }", "{} | sort(data.code)", "{} | sort(duration desc)",
		"{} | count(), max(duration) by (stream)", "{} | count(), avg(data.code) by (func)", "{} | quantile(duration, 0.5), max(id), max(seq), min(time), max(position) by (kind, func)",
		"{} << { kind = error }", "{} >> { kind = error }", "{} < { kind = error }", "{} > { kind = error }", "{} !< ({} > { root })",
		"{ text !~ \"g2\" }", "{ duration = nil }", "{ !(message != nil) }", "{} && !({} << {})", "({} << { root }) << {}", "{} || ({} << {})",
	} {
		questions[text] = func(ctx context.Context, r query.Reader) error {
			q, err := query.Parse(text)
			if err != nil {
				return err
			}
			_, err = query.Run(ctx, r, q, query.Options{Workers: 2}, func(*query.Hit) error { return nil })
			return err
		}
	}
}

func TestAFailureToReadIsTheAnswerWhereverItComes(t *testing.T) {
	for name, ask := range questions {
		r, _ := shop(t, 6)
		r.KeepAll = true
		for n := 0; ; n++ {
			f := &failing{Reader: r, left: n}
			err := ask(ctx, f)
			if f.left >= 0 && err == nil {
				break // it reads no more often
			}
			if !errors.Is(err, errDisk) {
				t.Errorf("%s: the %d. reading fails: %v", name, n+1, err)
				break
			}
			if n > 400 {
				t.Fatalf("%s reads more than 400 times", name)
			}
		}
	}
}

func TestWhatIsCancelledStops(t *testing.T) {
	for name, ask := range questions {
		r, _ := shop(t, 6)
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if err := ask(gone, r); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRowsThatCannotBeReadAreNamed(t *testing.T) {
	table := wire.NewTable(1 << 20)
	name, err := table.Name("g1")
	if err != nil {
		t.Fatal(err)
	}
	row := func(seq uint64) wire.Row {
		return wire.Row{Record: wire.Record{Seq: seq, Kind: event.KindLog, ExtLen: 3, Site: 77}, Stream: name, Source: 1}
	}
	r := memory.New(table, &wire.Block{Base: 1, Rows: []wire.Row{row(1), row(2)}, Arena: []byte{9, 9, 9}})
	for _, text := range []string{"{}", "{ ref = \"x\" }", "{ text = \"x\" }"} {
		_, err := query.Run(ctx, r, parse(t, text), query.Options{}, func(*query.Hit) error { return nil })
		if !errors.Is(err, wire.ErrCorrupt) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := query.Why(ctx, r, 2, query.WhyOptions{}); !errors.Is(err, wire.ErrCorrupt) || fmt.Sprint(err)[:7] != "event 2" {
		t.Errorf("why: %v", err)
	}
	groups, _ := groupsOf(t, r, "{} | count() by (func, message)", query.Options{})
	if len(groups) != 1 {
		t.Errorf("a place that the table does not know is none: %v", groups)
	}
}
