package probe

import (
	"context"
	"sync"
)

// Mutex is a lock that records who let whom in. It numbers its releases under the lock itself, so the
// acquire that follows a release carries the same number, always. The zero Mutex is ready for use.
type Mutex struct {
	Name string // for people; set it before the first use

	mu       sync.Mutex
	number   uint64 // makes the name unique; 0: not given yet. This and the next are guarded by mu
	released uint64 // the number of the last release
	known    bool   // that release was recorded
}

// Lock takes the lock, and waits for it if need be.
func (m *Mutex) Lock(ctx context.Context) {
	m.mu.Lock()
	if active.Load() != nil {
		m.acquired(ctx)
	}
}

// TryLock takes the lock if it is free, and says whether it was.
func (m *Mutex) TryLock(ctx context.Context) bool {
	if !m.mu.TryLock() {
		return false
	}
	if active.Load() != nil {
		m.acquired(ctx)
	}
	return true
}

// Unlock gives the lock back.
func (m *Mutex) Unlock(ctx context.Context) {
	if active.Load() != nil {
		m.release(ctx)
	} else {
		m.known = false // the next acquire follows a release that is in no recording
	}
	m.mu.Unlock()
}

//go:noinline
func (m *Mutex) acquired(ctx context.Context) {
	f := m.fields("acquire")
	if m.known {
		f.ordinal = m.released
	}
	record(scopeOf(ctx), now(), &f)
}

//go:noinline
func (m *Mutex) release(ctx context.Context) {
	f := m.fields("release")
	m.released++
	// A release that is dropped counts: the next acquire shows that it is missing.
	m.known, f.ordinal = true, m.released
	record(scopeOf(ctx), now(), &f)
}

func (m *Mutex) fields(kind string) fields {
	if m.number == 0 {
		if m.Name == "" {
			m.Name = "mutex"
		}
		m.number, m.Name = named.Add(1), string(appendNameHead(nil, m.Name))
	}
	return fields{kind: kind, at: placeOf(4), key: m.Name, number: m.number, seen: true}
}
