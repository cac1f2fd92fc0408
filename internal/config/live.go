package config

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Live is the settings of a running recorder. They are read with one atomic load and changed as a whole: a reader sees
// either all of the old ones or all of the new ones. All methods are safe for concurrent use.
type Live struct {
	now atomic.Pointer[Settings]

	mu          sync.Mutex // held by a change, subscribers included
	subscribers []*func(before, after *Settings)
}

// NewLive begins with the given settings. It fails with Problems.
func NewLive(s *Settings) (*Live, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	l := &Live{}
	l.now.Store(s.clone())
	return l, nil
}

// Load gives the settings of this moment. They are never changed: not by anybody.
func (l *Live) Load() *Settings { return l.now.Load() }

// Store puts other settings in their place, and then tells the subscribers, one after the other. It fails with Problems,
// and changes nothing, if something is wrong with them or if one is changed that can not change while the recorder runs.
func (l *Live) Store(next *Settings) error {
	next = next.clone()
	ps := next.problems(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.now.Load()
	for i := range table {
		if e := &table[i]; !e.live && !e.equal(before, next) {
			ps = append(ps, &Problem{Setting: e.key, Value: e.show(next),
				Wrong: "it can not change while the recorder runs, and is " + e.show(before)})
		}
	}
	if err := ps.err(); err != nil {
		return err
	}
	l.now.Store(next)
	for _, tell := range l.subscribers {
		(*tell)(before, next)
	}
	return nil
}

// Subscribe has tell called after each change, until cancel is called. tell must not call Store or Subscribe.
func (l *Live) Subscribe(tell func(before, after *Settings)) (cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subscribers = append(l.subscribers, &tell)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.subscribers = slices.DeleteFunc(l.subscribers, func(s *func(before, after *Settings)) bool { return s == &tell })
	}
}

// clone copies the settings so that nobody else can change them.
func (s *Settings) clone() *Settings {
	c := *s
	c.Intake.RedactKeys = slices.Clone(s.Intake.RedactKeys)
	c.Server.Listen = slices.Clone(s.Server.Listen)
	c.Server.HTTP = slices.Clone(s.Server.HTTP)
	return &c
}
