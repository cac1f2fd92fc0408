package query

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// Statistics says what a recording holds.
type Statistics struct {
	Events     uint64
	First, End event.ID // the ids, up to and without End
	Durable    event.ID // one more than the largest id that would survive a crash
	Blocks     int
	Bytes      int64 // on disk; 0: unknown
	TableBytes int64 // of the texts, in memory

	TimeMin, TimeMax int64
	Kinds            []Counted[event.Kind] // every kind that occurs, the most frequent first
	Sources          []Counted[wire.SourceID]
	Functions        []Counted[string] // the most frequent
	FunctionsMore    int               // how many further ones
	Streams          uint64
	StreamsAtLeast   bool // there are more: they were only counted up to a bound

	Work, Background uint64 // correlations founded here
	WorkEvents       uint64 // events of work
	Parents          [3]uint64
	Correlations     [3]uint64 // events by correlation_confidence
	Roots            uint64    // events without a parent, and none missing
	Further          uint64    // further edges
	Late             uint64    // late edges
	Gaps             uint64    // gap events
	Lost             uint64    // events that those stand for, as far as they say

	Cut     string // why only a part was counted
	Elapsed time.Duration
}

// Counted is a thing and how often it occurs.
type Counted[T any] struct {
	What  T
	Count uint64
}

const (
	functionsShown = 10
	streamsMax     = 4 << 20
	statsColumns   = wire.ColStream | wire.ColSource | wire.ColKind | wire.ColFlags | wire.ColSite | wire.ColParent |
		wire.ColCorrelation | wire.ColFurther
)

// blockStats is what a worker counts in one block.
type blockStats struct {
	kinds   [len(event.Kinds) + 1]uint64
	sources []Counted[wire.SourceID]
	sites   []Counted[wire.Site]
	streams []streamKey
	part    Statistics // the plain counters
}

// Stats counts everything, in one pass.
func Stats(ctx context.Context, r Reader, o Options) (*Statistics, error) {
	began := time.Now()
	x := newRun(ctx, r, nil, o)
	s := &Statistics{First: x.first, End: x.end, Durable: r.Durable(), TableBytes: x.table.Bytes(), Bytes: r.Bytes()}
	infos := r.Blocks(wire.Prune{})
	s.Blocks = len(infos)
	for i, b := range infos {
		if i == 0 || b.TimeMin < s.TimeMin {
			s.TimeMin = b.TimeMin
		}
		if i == 0 || b.TimeMax > s.TimeMax {
			s.TimeMax = b.TimeMax
		}
	}
	s.Late = uint64(len(lateEdges(r)))
	kinds := [len(event.Kinds) + 1]uint64{}
	sources := map[wire.SourceID]uint64{}
	functions := map[wire.Text]uint64{}
	streams := map[streamKey]struct{}{}
	_, err := scan(x, infos, statsOf, func(b *blockStats) error {
		for k, n := range b.kinds {
			kinds[k] += n
		}
		for _, c := range b.sources {
			sources[c.What] += c.Count
		}
		for _, c := range b.sites {
			functions[x.table.PlaceOf(c.What).Func] += c.Count
		}
		for _, key := range b.streams {
			if _, have := streams[key]; !have && len(streams) == streamsMax {
				s.StreamsAtLeast = true
			} else {
				streams[key] = struct{}{}
			}
		}
		s.add(&b.part)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.Streams = uint64(len(streams))
	for k, n := range kinds {
		if n > 0 {
			s.Kinds = append(s.Kinds, Counted[event.Kind]{event.Kind(k), n}) // #nosec G115 -- a kind
		}
	}
	for id, n := range sources {
		s.Sources = append(s.Sources, Counted[wire.SourceID]{id, n})
	}
	delete(functions, 0)
	for f, n := range functions {
		s.Functions = append(s.Functions, Counted[string]{x.table.TextOf(f), n})
	}
	mostFirst(s.Kinds)
	mostFirst(s.Functions)
	slices.SortFunc(s.Sources, func(a, b Counted[wire.SourceID]) int { return cmp.Compare(a.What, b.What) })
	if n := len(s.Functions) - functionsShown; n > 0 {
		s.Functions, s.FunctionsMore = s.Functions[:functionsShown], n
	}
	x.tellDamage()
	s.Cut, s.Elapsed = x.sum.Reason, time.Since(began)
	return s, nil
}

func mostFirst[T cmp.Ordered](all []Counted[T]) {
	slices.SortFunc(all, func(a, b Counted[T]) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.What, b.What))
	})
}

// add adds the plain counters.
func (s *Statistics) add(o *Statistics) {
	s.Events += o.Events
	s.Work += o.Work
	s.Background += o.Background
	s.WorkEvents += o.WorkEvents
	for c := range s.Parents {
		s.Parents[c] += o.Parents[c]
		s.Correlations[c] += o.Correlations[c]
	}
	s.Roots += o.Roots
	s.Further += o.Further
	s.Gaps += o.Gaps
	s.Lost += o.Lost
}

var lostPath = newDataPath([]string{"lost"})

// statsOf counts one block.
func statsOf(v *view) (*blockStats, error) {
	if err := v.load(statsColumns); err != nil {
		return nil, err
	}
	b := &blockStats{}
	c, p := &v.c, &b.part
	sites := map[wire.Site]uint64{}
	sources := map[wire.SourceID]uint64{}
	streams := map[streamKey]struct{}{}
	var last streamKey
	for i := range v.rows {
		b.kinds[min(int(c.Kind[i]), len(b.kinds)-1)]++
		sources[c.Source[i]]++
		sites[c.Site[i]]++
		if key := (streamKey{c.Source[i], c.Stream[i]}); key != last {
			streams[key] = struct{}{}
			last = key
		}
		background := c.Flags[i]&wire.FlagBackground != 0
		if founder := c.Correlation[i] == v.base+event.ID(i); founder && background { // #nosec G115 -- a row
			p.Background++
		} else if founder {
			p.Work++
		}
		if !background {
			p.WorkEvents++
		}
		if c.ParentKind[i] == event.EdgeInvalid {
			p.Roots++
		} else {
			p.Parents[min(c.ParentConf[i], event.Gap)]++
		}
		p.Correlations[min(c.CorrConf[i], event.Gap)]++
	}
	p.Events = uint64(v.rows) // #nosec G115 -- a count
	p.Further = uint64(len(c.Edges))
	for id, n := range sources {
		b.sources = append(b.sources, Counted[wire.SourceID]{id, n})
	}
	for site, n := range sites {
		b.sites = append(b.sites, Counted[wire.Site]{site, n})
	}
	for key := range streams {
		b.streams = append(b.streams, key)
	}
	if p.Gaps = b.kinds[event.KindGap]; p.Gaps > 0 {
		if err := v.load(wire.ColData); err != nil {
			return nil, err
		}
		for i := range v.rows {
			if c.Kind[i] != event.KindGap {
				continue
			}
			if n, _, whole, ok := numberOf(lostPath.find(v.c.DataOf(i))); ok && whole && n > 0 {
				p.Lost += uint64(n)
			}
		}
	}
	return b, nil
}
