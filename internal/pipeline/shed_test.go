package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// streamOf makes a batch of one stream from a text: ( and ) are a call and its return, [ ] those of another function, { } a
// root's, and s r e l m c a send, a receive, an error, a log, a metric, a spawn. A dot is a seq that is missing.
func batchOf(text string) *wire.Batch {
	b := &wire.Batch{Source: 7}
	kinds := map[rune]event.Kind{'(': event.KindCall, ')': event.KindReturn, '[': event.KindCall, ']': event.KindReturn,
		'{': event.KindCall, '}': event.KindReturn, 's': event.KindSend, 'r': event.KindReceive, 'e': event.KindError,
		'l': event.KindLog, 'm': event.KindMetric, 'c': event.KindSpawn, 'g': event.KindGap}
	stream, seq := wire.Name(1), uint64(0)
	for i, c := range text {
		if c == '|' { // another stream
			stream, seq = stream+1, 0
			continue
		}
		seq++
		if c == '.' {
			continue
		}
		r := wire.Record{Time: int64(i + 1), Seq: seq, Kind: kinds[c], Site: 1}
		if c == '[' || c == ']' {
			r.Site = 2
		}
		if c == '{' {
			r.Flags = wire.FlagRoot
		}
		b.Add(stream, r, []byte(`{"x":1}`), nil)
	}
	return b
}

// left writes what is left of a batch, with gaps as their numbers in brackets.
func left(b *wire.Batch) string {
	var s strings.Builder
	at := 0
	for n, run := range b.Runs {
		if n > 0 {
			s.WriteByte('|')
		}
		for range run.Len {
			r := &b.Records[at]
			at++
			if r.Kind != event.KindGap {
				s.WriteString(r.Kind.String()[:2] + " ")
				continue
			}
			var lost int
			_, _ = fmt.Sscanf(string(b.Data(r)), `{"lost":%d`, &lost)
			fmt.Fprintf(&s, "<%d> ", lost)
		}
	}
	return s.String()
}

func TestT2_Load_WhatIsWorthLeastGoesFirst(t *testing.T) {
	for _, c := range []struct{ story, events, leaves, calls, logs, rest string }{
		{
			"hot leaf calls go first, then calls, then logs and metrics, at last the rest",
			"s()()()()r[l]me",
			"se <8> re ca lo re me er ",
			"se <8> re <1> lo <1> me er ",
			"se <8> re <1> <1> <1> <1> er ",
			"<14> <1> ",
		},
		{"few leaf calls are not hot", "()()()", "ca re ca re ca re ", "<5> <1> ", "<5> <1> ", "<5> <1> "},
		{"roots found work, and stay", "{()}s", "ca ca re re se ", "ca <2> re se ", "ca <2> re se ", "<4> <1> "},
		{"a call that is not over stays, and so does a return whose call was before", "))((s", "re re ca ca se ", "re re ca ca se ", "re re ca ca se ", "<4> <1> "},
		{"calls around what stays go all the same", "(s)", "ca se re ", "<1> se <1> ", "<1> se <1> ", "<2> <1> "},
		{"where a seq is missing nobody knows who returns", "(.)", "ca re ", "ca re ", "ca re ", "<1> <1> "},
		{"streams are apart", "(|)|()", "ca |re |ca re ", "ca |re |<1> <1> ", "ca |re |<1> <1> ", "<1> |<1> |<1> <1> "},
		{"gaps that are there stay", "lgl", "lo <0> lo ", "lo <0> lo ", "<1> <0> <1> ", "<1> <0> <1> "},
		{"nothing", "", "", "", "", ""},
	} {
		t.Run(c.story, func(t *testing.T) {
			for i, want := range []string{c.leaves, c.calls, c.logs, c.rest} {
				b := batchOf(c.events)
				(&Shedder{}).Shed(b, ActShedLeaves+Action(i), func(int, string) {})
				if got := left(b); got != want {
					t.Errorf("%v: %q, want %q", ActShedLeaves+Action(i), got, want)
				}
			}
		})
	}
}

func TestT2_Load_WhatIsShedIsBookedByKindAndReason(t *testing.T) {
	booked := map[string]int{}
	n := (&Shedder{}).Shed(batchOf("()()()()(s)llm"), ActShedLogs, func(n int, reason string) { booked[reason] += n })
	expect(t, "shed", n, 13)
	expect(t, "booked", booked, map[string]int{
		ShedLeaves + ": call": 4, ShedLeaves + ": return": 4, ShedCalls + ": call": 1, ShedCalls + ": return": 1,
		ShedLogs + ": log": 2, ShedLogs + ": metric": 1,
	})
}

func TestT2_Load_ABatchThatDoesNotAddUpIsLeftAlone(t *testing.T) {
	b := batchOf("llll")
	b.Runs[0].Len = 3
	expect(t, "shed", (&Shedder{}).Shed(b, ActShedRest, func(int, string) { t.Error("booked") }), 0)
}

// Whatever the batch: what stays stays in its order and as it was, each seq is that of an event or lies in one gap, and the books have
// what is missing.
func TestT2_Load_AnyBatchIsShedExactly(t *testing.T) {
	s := &Shedder{}
	rapid.Check(t, func(t *rapid.T) {
		b := batchOf(rapid.StringOfN(rapid.RuneFrom([]rune("()()()[]{}srelmc.|")), 0, 200, -1).Draw(t, "events"))
		type at struct {
			stream wire.Name
			seq    uint64
		}
		before := map[at]event.Kind{}
		walk := func(each func(stream wire.Name, r *wire.Record)) {
			i := 0
			for _, run := range b.Runs {
				for range run.Len {
					each(run.Stream, &b.Records[i])
					i++
				}
			}
			if i != len(b.Records) {
				t.Fatalf("the runs have %d records of %d", i, len(b.Records))
			}
		}
		walk(func(stream wire.Name, r *wire.Record) { before[at{stream, r.Seq}] = r.Kind })
		booked := 0
		most := ActShedLeaves + Action(rapid.IntRange(0, 3).Draw(t, "most"))
		n := s.Shed(b, most, func(n int, _ string) { booked += n })
		lost, last := 0, at{}
		walk(func(stream wire.Name, r *wire.Record) {
			if stream == last.stream && r.Seq <= last.seq {
				t.Fatalf("%d behind %d", r.Seq, last.seq)
			}
			last = at{stream, r.Seq}
			if r.Kind != event.KindGap {
				if before[last] != r.Kind || string(b.Data(r)) != `{"x":1}` {
					t.Fatalf("%v at %d has become %v with %s", before[last], r.Seq, r.Kind, b.Data(r))
				}
				delete(before, last)
				return
			}
			var k int
			if _, err := fmt.Sscanf(string(b.Data(r)), `{"lost":%d,"shed":"shed`, &k); err != nil || k < 1 {
				t.Fatalf("%s: %v", b.Data(r), err)
			}
			for i := range k {
				last.seq = r.Seq + uint64(i)
				if _, is := before[last]; !is {
					t.Fatalf("%d is in a gap, and was no event or is in another", last.seq)
				}
				delete(before, last)
				lost++
			}
		})
		if len(before) != 0 || lost != n || booked != n {
			t.Fatalf("%d left over, %d lost, %d booked, %d told", len(before), lost, booked, n)
		}
	})
}

// sampling is a sampler with a clock of its own, and blocks made of texts.
type sampling struct {
	*Sampler
	kept   float64
	now    time.Time
	next   event.ID
	out    []*wire.Block
	booked map[string]int
}

func newSampling(kept float64) *sampling {
	s := &sampling{kept: kept, now: time.Unix(1_700_000_000, 0), next: 1, booked: map[string]int{}}
	s.Sampler = NewSampler(SamplerOptions{
		Kept: func() float64 { return s.kept }, Name: func(n wire.Name) string { return fmt.Sprint("g", uint64(n)) },
		Shed:   func(src wire.SourceID, n int, reason string) { s.booked[fmt.Sprint(src, " ", reason)] += n },
		Exempt: func(src wire.SourceID) bool { return src == 9 },
		Out:    func(b *wire.Block) { s.out = append(s.out, b) }, WindowBytesMax: 1 << 20,
	})
	return s
}

// row is an event of a chain: kind, and of which chain; the first of a chain founds it.
type row struct {
	chain int
	kind  event.Kind
	took  time.Duration
	src   wire.SourceID
}

// add makes a block of rows. founders has the ids of the chains up to now.
func (s *sampling) add(founders map[int]event.ID, rows ...row) {
	b := &wire.Block{Base: s.next}
	for i, r := range rows {
		id := s.next + event.ID(i)
		w := wire.Row{Stream: wire.Name(r.chain), Source: max(1, r.src), Duration: int64(r.took)}
		w.Seq, w.Time, w.Kind, w.Site, w.Key, w.Ordinal = uint64(id), int64(id), r.kind, 3, 5, 6
		b.Arena, w.DataOff = append(b.Arena, fmt.Sprintf(`{"id":%d}`, id)...), uint32(len(b.Arena))
		w.DataLen = uint32(len(b.Arena)) - w.DataOff
		b.Edges, w.EdgeOff, w.EdgeLen = append(b.Edges, wire.Edge{Cause: id, Kind: event.EdgeLock}), uint32(len(b.Edges)), 1
		switch founder, is := founders[r.chain]; {
		case r.chain == 0:
			w.Flags, w.Correlation = wire.FlagBackground, id
		case is:
			w.Correlation, w.Parent, w.ParentKind = founder, id-1, event.EdgeContext
		default:
			founders[r.chain], w.Correlation = id, id
		}
		b.Rows = append(b.Rows, w)
	}
	s.next += event.ID(len(rows))
	s.Add(s.now, b)
}

// fates tells of each chain whether all of it was kept, all sampled out, or in part.
func (s *sampling) fates(t testing.TB) map[int]string {
	t.Helper()
	got := map[int]string{}
	next := event.ID(1)
	for _, b := range s.out {
		if b.Base != next {
			t.Fatalf("block %d where %d is next", b.Base, next)
		}
		for i := range b.Rows {
			r := &b.Rows[i]
			is := "kept"
			switch id := b.Base + event.ID(i); {
			case r.Kind == event.KindGap:
				is = "out"
				if r.Seq != uint64(id) || r.Time != int64(id) || r.Site != 3 || r.Key != 0 || r.EdgeLen != 0 ||
					!strings.HasPrefix(string(b.Data(r)), `{"lost":1,"shed":"`+ShedSample+`","kind":"`) {
					t.Errorf("%+v with %s stands for %d", r, b.Data(r), id)
				}
			case string(b.Data(r)) != fmt.Sprintf(`{"id":%d}`, id) || len(b.Further(r)) != 1 || b.Further(r)[0].Cause != id:
				t.Errorf("%d is kept, with %s and %v", id, b.Data(r), b.Further(r))
			}
			chain := int(r.Stream)
			if was := got[chain]; was != "" && was != is {
				is = "in part"
			}
			got[chain] = is
		}
		next += event.ID(len(b.Rows))
	}
	return got
}

func chainsOf(chains int) (rows []row) {
	for c := 1; c <= chains; c++ {
		rows = append(rows, row{chain: c, kind: event.KindCall}, row{chain: c, kind: event.KindLog})
	}
	return rows
}

func TestT3_Load_AKeptChainIsKeptWhole(t *testing.T) {
	s := newSampling(0.5)
	founders := map[int]event.ID{}
	for i := range 10 {
		if i == 5 {
			s.kept = 0.25 // what has a fate has it for good
		}
		s.add(founders, chainsOf(200)...)
		s.now = s.now.Add(windowAge)
		s.Tick(s.now)
	}
	counts := map[string]int{}
	for _, is := range s.fates(t) {
		counts[is]++
	}
	if counts["in part"] != 0 || counts["kept"] < 70 || counts["kept"] > 130 {
		t.Errorf("%v", counts)
	}
	expect(t, "booked", s.booked, map[string]int{"1 " + ShedSample + ": call": 10 * counts["out"], "1 " + ShedSample + ": log": 10 * counts["out"]})
	if s.Kept != uint64(counts["kept"]) || s.Dropped != uint64(counts["out"]) {
		t.Errorf("%d kept and %d dropped are counted, of %v", s.Kept, s.Dropped, counts)
	}
}

func TestT3_Load_WhatASmallerShareKeepsALargerOneKeeps(t *testing.T) {
	fates := func(kept float64) map[int]string {
		s := newSampling(kept)
		s.add(map[int]event.ID{}, chainsOf(1000)...)
		s.Tick(s.now.Add(windowAge))
		return s.fates(t)
	}
	last := fates(0.9)
	for _, kept := range []float64{0.5, 0.25, 1.0 / 64} {
		now, n := fates(kept), 0
		for chain, is := range now {
			if is == "kept" {
				n++
				if last[chain] != "kept" {
					t.Errorf("chain %d is kept at %v and was not at more", chain, kept)
				}
			}
		}
		if n < int(500*kept) || n > int(2000*kept) {
			t.Errorf("%d of 1000 are kept at %v", n, kept)
		}
		last = now
	}
}

func TestT3_Load_InterestingChainsAreKept(t *testing.T) {
	s := newSampling(1e-12)
	founders := map[int]event.ID{}
	s.add(founders, chainsOf(3)...)
	for range 2 * returnsForP99 {
		s.add(founders, row{chain: 1, kind: event.KindReturn, took: time.Millisecond})
	}
	s.add(founders, row{chain: 2, kind: event.KindError}, row{chain: 3, kind: event.KindReturn, took: time.Second}, row{chain: 4, kind: event.KindCall})
	s.kept = 1e-12
	s.Tick(s.now.Add(windowAge))
	// Blocks of the beginning have left the window before: it holds so many.
	got := s.fates(t)
	expect(t, "an ordinary chain", got[1], "out")
	expect(t, "one that begins when the others are known", got[4], "out")
	expect(t, "interesting ones", s.Interesting, 2)
	expect(t, "that had been sampled out, and are kept from there on", s.Late, 2)

	s = newSampling(1e-12)
	founders = map[int]event.ID{}
	s.add(founders, chainsOf(2)...)
	s.add(founders, row{chain: 2, kind: event.KindError})
	s.Tick(s.now.Add(windowAge))
	got = s.fates(t)
	expect(t, "a chain whose error comes within the window", got[2], "kept")
	expect(t, "the other", got[1], "out")
}

func TestT3_Load_BackgroundAndExitsAndFilesAndWhatBeganBeforeStay(t *testing.T) {
	s := newSampling(1e-12)
	before := map[int]event.ID{5: 1}
	s.next = 1
	s.add(before, row{chain: 0, kind: event.KindLog}, row{chain: 5, kind: event.KindLog}, row{chain: 6, kind: event.KindCall, src: 9},
		row{chain: 6, kind: event.KindLog, src: 9}, row{chain: 7, kind: event.KindStart}, row{chain: 7, kind: event.KindExit})
	s.Tick(s.now.Add(windowAge))
	expect(t, "fates", s.fates(t), map[int]string{0: "kept", 5: "kept", 6: "kept", 7: "in part"})
	expect(t, "booked", s.booked, map[string]int{"1 " + ShedSample + ": start": 1})
}

func TestT3_Load_TheWindowIsBoundedAndEmptyWithoutSampling(t *testing.T) {
	s := newSampling(0.5)
	founders := map[int]event.ID{}
	for range 10 * windowBlocks {
		s.add(founders, row{chain: 1, kind: event.KindLog})
		if s.Waiting() > windowBlocks {
			t.Fatalf("%d blocks wait", s.Waiting())
		}
	}
	expect(t, "out", len(s.out), 9*windowBlocks)
	for range 10 {
		s.add(founders, chainsOf(2000)...)
	}
	if s.bytes > s.o.WindowBytesMax {
		t.Errorf("%d bytes wait", s.bytes)
	}
	s.kept = 1
	s.Tick(s.now)
	expect(t, "waiting", s.Waiting(), 0)
	s.add(founders, row{chain: 1, kind: event.KindLog})
	expect(t, "waiting with nothing to sample", s.Waiting()+len(s.founders)+len(s.took)+len(s.order), 0)
	expect(t, "out", len(s.out), 10*windowBlocks+10+1)
	s.fates(t)
}

func TestT3_Load_WhatIsKnownOfChainsAndFunctionsIsBounded(t *testing.T) {
	s := newSampling(0.5)
	founders := map[int]event.ID{}
	for c := 1; c <= foundersMax+5000; c += 5000 {
		var rows []row
		for i := range 5000 {
			rows = append(rows, row{chain: c + i, kind: event.KindCall})
		}
		s.add(founders, rows...)
	}
	if len(s.founders) > foundersMax || len(s.order) > foundersMax {
		t.Errorf("%d founders", len(s.founders))
	}
	for site := range wire.Site(functionsMax + 10) {
		s.returned(site+1, 5)
	}
	expect(t, "functions", len(s.took), functionsMax)
}

func TestDurationsKnowTheirPercentile(t *testing.T) {
	buckets := []int{durationBucket(-1), durationBucket(3), durationBucket(4), durationBucket(7), durationBucket(8), durationBucket(1<<63 - 1)}
	if !slices.IsSorted(buckets) || buckets[5] >= durationBuckets || buckets[2] != 4 {
		t.Errorf("%v", buckets)
	}
	d := &durations{}
	for range returnsForP99 {
		if d.add(1000) {
			t.Fatal("slow before anything is known")
		}
	}
	expect(t, "as long as the others", d.add(1000), false)
	expect(t, "much longer", d.add(1_000_000), true)
	d.n = 1<<32 - 1
	expect(t, "also when the counts are as large as they get", d.add(2_000_000), true)
	if d.n > 1<<10 {
		t.Errorf("%d", d.n)
	}
}
