package render

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
)

// signed gives a time before or behind another one.
func signed(ns int64) string {
	if ns > 0 {
		return "+" + took(time.Duration(ns))
	}
	return took(time.Duration(ns))
}

// size gives bytes with three digits and their unit.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	x := float64(n)
	i := 0
	for x >= 1024 && i < len(units)-1 {
		x /= 1024
		i++
	}
	if x >= 1000 {
		return fmt.Sprintf("%.0f %s", x, units[i])
	}
	return digits(x) + " " + units[i]
}

func share(n, of uint64) string {
	if of == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}

// bar shows a share as a bar of at most ten columns.
func bar(n, most uint64) string {
	if most == 0 {
		return ""
	}
	eighths := int(80 * float64(n) / float64(most))
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune(" ▏▎▍▌▋▊▉")[rest])
	} else if s == "" && n > 0 {
		s = "▏"
	}
	return s
}

// Stats writes what a recording holds.
func Stats(w io.Writer, st *query.Statistics, s Style) error {
	p := newPage(w, s)
	p.line(piece{plural(st.Events, "event", "events"), bold}, piece{" in " + plural(st.Streams, "stream", "streams") + atLeast(st.StreamsAtLeast), plain})
	if st.Events == 0 {
		return p.err
	}
	span := time.Duration(math.MaxInt64)
	if n := st.TimeMax - st.TimeMin; n >= 0 { // else it is longer than a duration can be
		span = time.Duration(n)
	}
	p.line(piece{"  " + s.clock(st.TimeMin) + " to " + s.clock(st.TimeMax) + ", " + took(span), plain})
	ids := "  ids " + number(st.First) + " to " + number(st.End-1) + " in " + plural(uint64(st.Blocks), "block", "blocks") // #nosec G115 -- a count
	if st.Durable < st.End {
		ids += ", durable up to " + number(st.Durable-1)
	}
	if st.Bytes > 0 {
		ids += ", " + size(st.Bytes) + ", " + digits(float64(st.Bytes)/float64(st.Events)) + " B an event"
	}
	p.line(piece{ids, plain})
	p.line()

	p.line(piece{"  kinds", bold})
	for _, k := range st.Kinds {
		p.line(piece{"    " + pad(k.What.String(), 9), kindInk(k.What)}, piece{padLeft(Count(k.Count), 14), plain},
			piece{padLeft(share(k.Count, st.Events), 9) + "  ", dim}, piece{bar(k.Count, st.Kinds[0].Count), cyan})
	}
	if len(st.Functions) > 0 {
		p.line(piece{"  functions", bold})
		for _, f := range st.Functions {
			p.line(piece{padLeft(Count(f.Count), 18), plain}, piece{"  " + shortFunc(f.What), plain})
		}
		if st.FunctionsMore > 0 {
			p.line(piece{"                    … and " + plural(uint64(st.FunctionsMore), "more", "more"), dim}) // #nosec G115 -- a count
		}
	}
	if len(st.Sources) > 1 || len(s.Sources) > 0 {
		p.line(piece{"  sources", bold})
		for _, src := range st.Sources {
			name := clean(s.Sources[src.What])
			if name == "" {
				name = fmt.Sprintf("source %d", src.What)
			}
			p.line(piece{padLeft(Count(src.Count), 18), plain}, piece{"  " + name, plain})
		}
	}
	p.line(piece{"  correlations", bold})
	p.line(piece{padLeft(Count(st.Work), 18), plain}, piece{"  of work, with " + plural(st.WorkEvents, "event", "events"), plain})
	p.line(piece{padLeft(Count(st.Background), 18), plain}, piece{"  of background, with " + plural(st.Events-st.WorkEvents, "event", "events"), plain})
	p.confidences(st)
	if st.Gaps > 0 {
		p.line(piece{"  losses", bold})
		p.line(piece{padLeft(Count(st.Gaps), 18), red}, piece{"  " + word(st.Gaps, "gap", "gaps") + ", for " + plural(st.Lost, "event that is", "events that are") + " missing", plain})
	}
	if st.Cut != "" {
		p.line(piece{"  " + st.Cut, yellow})
	}
	return p.err
}

// StatsNext suggests what to ask next, behind all that is told of a recording with events.
func StatsNext(w io.Writer, st *query.Statistics, s Style) error {
	p := newPage(w, s)
	if st.Events == 0 {
		return nil
	}
	p.line()
	p.next([2]string{s.command("find", "{ kind = error }"), "its errors"},
		[2]string{s.command("find", "{} | count(), quantile(duration, 0.99) by (func)"), "where time goes"})
	return p.err
}

func atLeast(yes bool) string {
	if yes {
		return " at least"
	}
	return ""
}

func (p *page) confidences(st *query.Statistics) {
	p.line(piece{"  parents", bold})
	total := st.Parents[event.Exact] + st.Parents[event.Inferred] + st.Parents[event.Gap]
	for _, c := range event.Confidences {
		n := st.Parents[c.Confidence]
		if n == 0 {
			continue
		}
		look := plain
		if c.Confidence != event.Exact {
			look = yellow
		}
		p.line(piece{padLeft(Count(n), 18), look}, piece{"  " + pad(c.Name, 9), plain}, piece{share(n, total), dim})
	}
	if st.Roots > 0 {
		p.line(piece{padLeft(Count(st.Roots), 18), plain}, piece{"  none", plain})
	}
	if st.Further+st.Late > 0 {
		text := "  further " + map[bool]string{true: "edge", false: "edges"}[st.Further == 1]
		if st.Late > 0 {
			text += ", and " + Count(st.Late) + " late"
		}
		p.line(piece{padLeft(Count(st.Further), 18), plain}, piece{text, plain})
	}
}

// Partial writes what an answer lacks because it is damaged.
func Partial(w io.Writer, told string, s Style) error {
	p := newPage(w, s)
	p.line(piece{"  " + clean(told), yellow})
	return p.err
}

var reasonTexts = map[query.Reason]string{
	query.LastError: "the last error", query.SlowestRoot: "a slow root", query.LongestWait: "a long wait", query.LastGap: "the last gap",
}

// Suggest writes events that are worth asking about, with the commands that ask.
func Suggest(w io.Writer, all []query.Suggestion, s Style) error {
	p := newPage(w, s)
	if len(all) == 0 {
		p.line(piece{"no error, no root, no wait and no gap stands out", plain})
		p.line()
		p.next([2]string{s.command("stats"), "what the recording holds"})
		return p.err
	}
	p.line(piece{"worth asking about", bold})
	p.line()
	for _, g := range all {
		e := &g.Row.Event
		reason := reasonTexts[g.Reason]
		if g.Of > 1 {
			reason += " of " + Count(g.Of)
		}
		if g.Measure > 0 {
			reason += ", " + took(g.Measure)
		}
		text := clean(g.Row.Text())
		if text == "" || e.Kind != event.KindError {
			text = what(e)
		}
		p.row([]piece{{"  " + pad(reason, 24), dim}, {e.Kind.String() + " ", kindInk(e.Kind)}, {text, plain}},
			[]piece{{p.style.streamOf(g.Row), dim}})
		p.line(piece{"    " + s.command("why", number(e.ID)), bold})
	}
	return p.err
}
