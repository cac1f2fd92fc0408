package program

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pastcone/pastcone/event"
)

// Story is a small program with what the rules give for it.
type Story struct {
	Tells    string // the sentence of the rules
	Events   []event.Event
	Lost     []bool   // for each event whether it gets lost; what is expected is the truth all the same
	Expected []string // for each event: parent founder, further edge, …; as oracle.Verdict.Summary gives it
}

const storyStep = 10 // ns between the events of a story

// ParseStories reads stories; testdata/stories.txt says how they are written.
func ParseStories(text string) (stories []Story, err error) {
	for n, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if tells, ok := strings.CutPrefix(line, "== "); ok {
			stories = append(stories, Story{Tells: tells})
			continue
		}
		if len(stories) == 0 {
			return nil, fmt.Errorf("line %d: no story has begun", n+1)
		}
		s := &stories[len(stories)-1]
		did, expected, _ := strings.Cut(line, "->")
		e, lost, err := storyEvent(did)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		e.Seq = 1
		for _, before := range s.Events {
			if before.Stream == e.Stream {
				e.Seq++
			}
		}
		e.Time += int64(1000 + storyStep*len(s.Events))
		s.Events = append(s.Events, e)
		s.Lost = append(s.Lost, lost)
		s.Expected = append(s.Expected, strings.Join(strings.Fields(expected), " "))
	}
	return stories, nil
}

// storyEvent reads what happened.
func storyEvent(line string) (e event.Event, lost bool, err error) {
	words := strings.Fields(line)
	if len(words) < 3 {
		return e, false, fmt.Errorf("%q: a stream, a kind and a function are needed", line)
	}
	e = event.Event{Stream: words[0], Func: words[2]}
	var ok bool
	if e.Kind, ok = event.ParseKind(words[1]); !ok {
		return e, false, fmt.Errorf("%q: no kind of event is called %q", line, words[1])
	}
	for _, field := range words[3:] {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "root":
			e.Root = true
		case "empty":
			e.Empty = true
		case "closed":
			e.Closed = true
		case "takes", "takes-not":
			takes := name == "takes"
			e.Takes = &takes
		case "key":
			e.Key = value
		case "ordinal":
			if e.Ordinal, err = strconv.ParseUint(value, 10, 64); err != nil {
				return e, false, fmt.Errorf("%q: %w", line, err)
			}
		case "message":
			e.Message = value
		case "peer":
			e.Peer = value
		case "child":
			e.Child = value
		case "ref":
			e.Ref = value
		case "cause":
			e.Cause = append(e.Cause, value)
		case "earlier":
			e.Time = -1000
		case "lost":
			lost = true
		default:
			return e, false, fmt.Errorf("%q: no field is called %q", line, name)
		}
	}
	return e, lost, nil
}
