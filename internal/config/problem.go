package config

import (
	"errors"
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with the settings.
type Problem struct {
	Setting string // its key, or what was taken for one
	Value   string // as it was written; empty if that is not the point
	Where   string // file and line, variable or flag; empty: not known
	Wrong   string // what is wrong, and what would be right
}

// Error gives all of it in one line.
func (p *Problem) Error() string {
	var b strings.Builder
	if p.Where != "" {
		b.WriteString(p.Where + ": ")
	}
	b.WriteString(p.Setting)
	if p.Value != "" {
		b.WriteString(" is " + p.Value)
	}
	return b.String() + ": " + p.Wrong
}

// ErrSettings is every error about settings, whatever is wrong with them.
var ErrSettings = errors.New("the settings can not be used")

// Problems is the error of settings with which something is wrong: all of it.
type Problems []*Problem

// Error gives a line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return fmt.Sprintf("%v:\n  %s", ErrSettings, strings.Join(lines, "\n  "))
}

// Is makes it ErrSettings.
func (ps Problems) Is(target error) bool { return target == ErrSettings }

func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// Validate fails with Problems: each setting that is out of its bounds, and each two that contradict each other.
func (s *Settings) Validate() error { return s.problems(nil).err() }

// problems checks everything; where tells where a setting came from.
func (s *Settings) problems(where map[string]string) (ps Problems) {
	bad := map[string]bool{}
	for i := range table {
		e := &table[i]
		if wrong := e.check(s); wrong != "" {
			bad[e.key] = true
			ps = append(ps, &Problem{Setting: e.key, Value: e.show(s), Where: where[e.key], Wrong: wrong})
		}
	}
	for _, pair := range pairs {
		low, high := byKey[pair[0]], byKey[pair[1]]
		if bad[low.key] || bad[high.key] {
			continue
		}
		l, bounded := low.order(s)
		h, alsoBounded := high.order(s)
		if bounded && alsoBounded && l > h {
			from := where[low.key]
			if from == "" {
				from = where[high.key]
			}
			ps = append(ps, &Problem{Setting: low.key, Value: low.show(s), Where: from,
				Wrong: fmt.Sprintf("it must not be more than %s, which is %s", high.key, high.show(s))})
		}
	}
	return ps
}

// nearest gives the name that is spelled most like the given one, empty if none is like it.
func nearest(name string, names []string) string {
	best, least := "", len(name)/2+1
	for _, n := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(n), least); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance counts the letters to be put in, taken out or exchanged to make a out of b; at most most.
func distance(a, b string, most int) int {
	if len(a)-len(b) >= most || len(b)-len(a) >= most {
		return most
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return min(row[len(b)], most)
}

// unknown says that there is no such name, and which one may be meant.
func unknown(kind, name string, names []string) string {
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("there is no such %s; is %s meant?", kind, near)
	}
	return fmt.Sprintf("there is no such %s; docs/settings.md lists all of them", kind)
}
