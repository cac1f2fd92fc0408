package busy

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/correlate"
	"github.com/pastcone/pastcone/internal/wire"
)

// seen counts what the correlator makes of the program.
type seen struct {
	t          *testing.T
	table      *wire.Table
	rows, data int
	times      map[event.ID]int // events by correlation, of work
	bottoms    int
	founders   map[event.ID]bool // of deep requests
	functions  map[string]bool
}

func (s *seen) Emit(b *wire.Block) {
	for i := range b.Rows {
		r := &b.Rows[i]
		s.rows++
		if r.ParentConf != event.Exact || r.CorrConf != event.Exact || r.Kind == event.KindGap {
			s.t.Fatalf("row %d: %v of %s is not exact", s.rows, r.Kind, s.table.NameOf(r.Stream))
		}
		if r.DataLen > 0 {
			s.data++
			if !json.Valid(b.Data(r)) {
				s.t.Fatalf("data: %s", b.Data(r))
			}
		}
		if r.Flags&wire.FlagBackground == 0 {
			s.times[r.Correlation]++
		}
		fn := s.table.TextOf(s.table.PlaceOf(r.Site).Func)
		s.functions[fn] = true
		if fn == BottomFunc && r.Kind == event.KindCall {
			s.bottoms++
			s.founders[r.Correlation] = true
			if r.Position != DeepCalls-1 {
				s.t.Fatalf("the deepest call has position %d", r.Position)
			}
		}
	}
}

func (s *seen) Reject(_ wire.SourceID, stream wire.Name, _ *wire.Batch, r *wire.Record, why correlate.Reason) {
	s.t.Fatalf("%v of %s, seq %d: %v", r.Kind, s.table.NameOf(stream), r.Seq, why)
}

func TestTheProgramIsWhatTheBenchmarksSayOfIt(t *testing.T) {
	table := wire.NewTable(1 << 24)
	p, err := New(1, table)
	if err != nil {
		t.Fatal(err)
	}
	s := &seen{t: t, table: table, times: map[event.ID]int{}, founders: map[event.ID]bool{}, functions: map[string]bool{}}
	c := correlate.New(correlate.Options{Table: table, Lateness: time.Second}, s)
	c.Open(1, false)
	n, last := 0, int64(0)
	for n < 600_000 {
		b := &wire.Batch{Source: 1}
		p.Fill(b, 700)
		n += b.Len()
		c.Add(b)
		if now := b.Records[b.Len()-1].Time; now < last {
			t.Fatal("time goes backwards between batches")
		} else {
			last = now
		}
	}
	c.Finish()
	if s.rows != n {
		t.Errorf("%d rows of %d events", s.rows, n)
	}
	if share := float64(s.data) / float64(n); share < 0.28 || share > 0.31 {
		t.Errorf("%.2f of the events have data", share)
	}
	if s.bottoms == 0 {
		t.Error("no deep request")
	}
	whole := map[int]int{}
	for correlation, events := range s.times {
		if !s.founders[correlation] {
			whole[events]++
		} else if events > DeepEvents {
			t.Errorf("a deep request of %d events", events)
		}
	}
	if whole[33] < len(s.times)/2 {
		t.Errorf("requests by their events: %v", whole)
	}
	for i := range Functions {
		if !s.functions[Function(i)] {
			t.Errorf("%s was never called", Function(i))
		}
	}
}
