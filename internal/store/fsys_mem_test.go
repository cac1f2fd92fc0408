package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
)

// memDir is a directory in memory that behaves like a disk of which the power can fail: what was written and not
// synced may be there after a crash, or not, or in part, in any order. The same goes for names.
type memDir struct {
	mu      sync.Mutex
	names   map[string]*memFile
	synced  map[string]*memFile // names as of the last SyncDir
	pending []nameChange        // since then
	locked  bool

	ops     int // changes so far: writes, syncs, truncations, changes of names
	crashAt int // the power fails in the middle of this one; 0: never
	dead    bool

	fail  func(op, name string) error // injected faults, before the change happens
	space int64                       // bytes that all files together may take; 0: no bound
}

type nameChange struct {
	name string
	file *memFile // nil: removed
	old  string   // renamed from
}

type memFile struct {
	d       *memDir
	name    string
	data    []byte
	synced  []byte
	pending []dataChange
}

type dataChange struct {
	off int64
	p   []byte
	cut bool // truncated to off
}

var errPower = errors.New("the power has failed")

func newMemDir() *memDir {
	return &memDir{names: map[string]*memFile{}, synced: map[string]*memFile{}}
}

func (d *memDir) String() string { return "memory" }

// change counts a change and says whether it may happen. The power fails in the middle of a write: it
// happens, and is not told.
func (d *memDir) change(op, name string) (err error, last bool) {
	if d.dead {
		return errPower, false
	}
	d.ops++
	if d.crashAt > 0 && d.ops >= d.crashAt {
		d.dead = true
		return errPower, true
	}
	if d.fail != nil {
		return d.fail(op, name), false
	}
	return nil, false
}

// look asks for injected faults of what changes nothing.
func (d *memDir) look(op, name string) error {
	if d.fail != nil {
		return d.fail(op, name)
	}
	return nil
}

func (d *memDir) Open(name string, write, create bool) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.names[name]
	switch {
	case d.dead:
		return nil, errPower
	case create && ok:
		return nil, fmt.Errorf("%s: %w", name, fs.ErrExist)
	case create:
		err, last := d.change("create", name)
		if err != nil && !last {
			return nil, err
		}
		f = &memFile{d: d, name: name}
		d.names[name] = f
		d.pending = append(d.pending, nameChange{name: name, file: f})
		if err != nil {
			return nil, err
		}
	case !ok:
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	default:
		if err := d.look("open", name); err != nil {
			return nil, err
		}
	}
	return memHandle{f, write}, nil
}

func (d *memDir) Names() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names)), d.look("list", "")
}

func (d *memDir) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err, last := d.change("rename", to)
	if err != nil && !last {
		return err
	}
	f := d.names[from]
	delete(d.names, from)
	d.names[to] = f
	d.pending = append(d.pending, nameChange{name: to, file: f, old: from})
	return err
}

func (d *memDir) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.names[name]; !ok {
		return fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	err, last := d.change("remove", name)
	if err != nil && !last {
		return err
	}
	delete(d.names, name)
	d.pending = append(d.pending, nameChange{name: name})
	return err
}

func (d *memDir) SyncDir() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err, _ := d.change("sync directory", ""); err != nil {
		return err
	}
	d.synced, d.pending = maps.Clone(d.names), nil
	return nil
}

type memLock struct{ d *memDir }

func (l memLock) Close() error {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	l.d.locked = false
	return nil
}

func (d *memDir) Lock(string, string) (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		if err := d.fail("lock", lockName); err != nil {
			return nil, err
		}
	}
	if d.locked {
		return nil, ErrLocked
	}
	d.locked = true
	return memLock{d}, nil
}

func (d *memDir) Holder(string) (pid int, held, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return 0, d.locked, true
}

// used gives what all files take.
func (d *memDir) used() (n int64) {
	for _, f := range d.names {
		n += int64(len(f.data))
	}
	return n
}

// crash gives the directory as it might be found after the power has failed now. mode is one of
// "lost" (nothing that was not synced), "kept" (all of it) and "torn" (any part of it, by chance).
func (d *memDir) crash(mode string, seed uint64) *memDir {
	d.mu.Lock()
	defer d.mu.Unlock()
	rng := rand.New(rand.NewPCG(seed, 5))
	names := maps.Clone(d.synced)
	changes := d.pending
	switch mode {
	case "lost":
		changes = nil
	case "torn": // nothing says that names become durable in the order of their changes
		changes = slices.DeleteFunc(slices.Clone(changes), func(nameChange) bool { return rng.IntN(2) == 0 })
	}
	for _, c := range changes {
		if c.old != "" {
			delete(names, c.old)
		}
		if c.file == nil {
			delete(names, c.name)
		} else {
			names[c.name] = c.file
		}
	}
	after := newMemDir()
	for name, f := range names {
		data := slices.Clone(f.synced)
		for _, c := range f.pending {
			switch {
			case mode == "lost":
			case mode == "kept":
				data = c.apply(data, len(c.p))
			case rng.IntN(3) > 0:
				data = c.apply(data, rng.IntN(len(c.p)+1))
			}
		}
		after.names[name] = &memFile{d: after, name: name, data: data, synced: slices.Clone(data)}
	}
	after.synced = maps.Clone(after.names)
	return after
}

// revive lets another process go on with the directory after the one that used it has died, and no power
// has failed: everything that was written is there, and still not durable.
func (d *memDir) revive() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead, d.locked, d.crashAt = false, false, 0
}

// apply makes the change, the first n bytes of it.
func (c *dataChange) apply(data []byte, n int) []byte {
	end := c.off + int64(n)
	if c.cut {
		end = c.off
	}
	if grow := end - int64(len(data)); grow > 0 {
		data = append(data, make([]byte, grow)...)
	}
	if c.cut {
		return data[:c.off]
	}
	copy(data[c.off:], c.p[:n])
	return data
}

// memHandle is an open memFile.
type memHandle struct {
	f     *memFile
	write bool
}

func (h memHandle) ReadAt(p []byte, off int64) (int, error) {
	h.f.d.mu.Lock()
	defer h.f.d.mu.Unlock()
	if err := h.f.d.look("read", h.f.name); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil // as a real file does, also at its end
	}
	if off >= int64(len(h.f.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h memHandle) WriteAt(p []byte, off int64) (int, error) {
	d := h.f.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if !h.write {
		return 0, fs.ErrPermission
	}
	err, last := d.change("write", h.f.name)
	if err != nil && !last {
		var short shortWrite
		if !errors.As(err, &short) {
			return 0, err
		}
		p = p[:min(len(p), int(short))]
		err = nil
	}
	if d.space > 0 {
		if over := d.used() + max(off+int64(len(p))-int64(len(h.f.data)), 0) - d.space; over > 0 {
			p, err = p[:max(int64(len(p))-over, 0)], syscall.ENOSPC
		}
	}
	c := dataChange{off: off, p: slices.Clone(p)}
	h.f.data = c.apply(h.f.data, len(p))
	h.f.pending = append(h.f.pending, c)
	return len(p), err
}

// shortWrite is a fault: a write that writes only so many bytes, and does not say so.
type shortWrite int

func (shortWrite) Error() string { return "short write" }

func (h memHandle) Truncate(size int64) error {
	d := h.f.d
	d.mu.Lock()
	defer d.mu.Unlock()
	err, last := d.change("truncate", h.f.name)
	if err != nil && !last {
		return err
	}
	c := dataChange{off: size, cut: true}
	h.f.data = c.apply(h.f.data, 0)
	h.f.pending = append(h.f.pending, c)
	return err
}

func (h memHandle) Sync() error {
	d := h.f.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if err, _ := d.change("sync", h.f.name); err != nil {
		if !d.dead {
			// As Linux does: what could not be written is forgotten, and the next sync does not try it again.
			h.f.pending = nil
		}
		return err
	}
	for _, c := range h.f.pending {
		h.f.synced = c.apply(h.f.synced, len(c.p))
	}
	h.f.pending = nil
	return nil
}

func (h memHandle) Size() (int64, error) {
	h.f.d.mu.Lock()
	defer h.f.d.mu.Unlock()
	return int64(len(h.f.data)), h.f.d.look("size", h.f.name)
}

func (h memHandle) Close() error { return nil }

func (h memHandle) Map(int64) (mapping, error) {
	h.f.d.mu.Lock()
	defer h.f.d.mu.Unlock()
	return memMapping(h), h.f.d.look("map", h.f.name)
}

type memMapping memHandle

// memFault is what the processor says when a mapped file ends early.
type memFault int64

func (f memFault) Addr() uintptr { return uintptr(f) }
func (f memFault) Error() string { return "memory fault" }

func (m memMapping) Bytes(off int64, n int) []byte {
	m.f.d.mu.Lock()
	defer m.f.d.mu.Unlock()
	if off+int64(n) > int64(len(m.f.data)) {
		panic(memFault(off))
	}
	return slices.Clone(m.f.data[off : off+int64(n)])
}

func (m memMapping) Close() error { return nil }
