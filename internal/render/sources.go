package render

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pastcone/pastcone/internal/wire"
)

// Source is what a recording knows of one of its sources: what it is, and its account in the ledger.
// accepted = stored + shed + rejected + in flight.
type Source struct {
	ID         wire.SourceID     `json:"source"`
	Name       string            `json:"name"`
	Format     string            `json:"format,omitempty"`
	Accepted   uint64            `json:"accepted"`
	Stored     uint64            `json:"stored"`
	Shed       uint64            `json:"shed"`
	Rejected   uint64            `json:"rejected"`
	InFlight   int64             `json:"in_flight"`
	ShedBy     map[string]uint64 `json:"shed_by,omitempty"`
	RejectedBy map[string]uint64 `json:"rejected_by,omitempty"`
	Open       bool              `json:"open"`     // it is being recorded
	Complete   bool              `json:"complete"` // it was recorded to its end
}

func (s *Source) state() string {
	switch {
	case s.Open:
		return "recording"
	case s.Complete:
		return "complete"
	}
	return "broken off"
}

// Sources writes the ledger as text: one line a source.
func Sources(w io.Writer, all []Source, s Style) error {
	p := newPage(w, s)
	p.line(piece{"  ledger", bold})
	for i := range all {
		src := &all[i]
		p.line(piece{"    " + clean(src.Name), plain}, piece{" " + clean(src.Format) + ", " + src.state(), dim})
		p.line(piece{fmt.Sprintf("      %s accepted = %s stored + %s shed + %s rejected + %d in flight",
			Count(src.Accepted), Count(src.Stored), Count(src.Shed), Count(src.Rejected), src.InFlight), plain})
		if why := reasons(src.ShedBy) + reasons(src.RejectedBy); why != "" {
			p.line(piece{"      " + why, yellow})
		}
	}
	return p.err
}

// reasons gives counts by reason, the largest first.
func reasons(by map[string]uint64) string {
	names := make([]string, 0, len(by))
	for name := range by {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if by[a] != by[b] {
			return int(min(max(int64(by[b])-int64(by[a]), -1), 1)) // #nosec G115 -- counts
		}
		return strings.Compare(a, b)
	})
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%d × %s  ", by[name], clean(name))
	}
	return b.String()
}

// SourcesJSON writes the ledger as lines of JSON.
func SourcesJSON(w io.Writer, all []Source, _ Style) error {
	j := jsonLines{w: w}
	for i := range all {
		j.line(struct {
			Type string `json:"type"`
			*Source
		}{"source", &all[i]})
	}
	return j.err
}
