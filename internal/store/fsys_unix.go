//go:build unix

package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// osDir is a directory of the operating system.
type osDir struct{ path string }

func (d osDir) String() string { return d.path }

func (d osDir) Open(name string, write, create bool) (file, error) {
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	if create {
		flag |= os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(filepath.Join(d.path, name), flag, 0o600) // #nosec G304 -- the user's own recording
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d osDir) Names() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (d osDir) Rename(from, to string) error {
	return os.Rename(filepath.Join(d.path, from), filepath.Join(d.path, to))
}

func (d osDir) Remove(name string) error { return os.Remove(filepath.Join(d.path, name)) }

func (d osDir) SyncDir() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// osLock holds a lock of the operating system on a file: it ends with the process, however that ends.
type osLock struct{ f *os.File }

// Close also takes the name of the process out: what is left of one that died is to be told apart.
func (l osLock) Close() error {
	_ = l.f.Truncate(0)
	return l.f.Close()
}

func (d osDir) Lock(name, text string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_RDWR|os.O_CREATE, 0o600) // #nosec G304 -- the user's own recording
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		owner := make([]byte, 200)
		n, _ := f.ReadAt(owner, 0)
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w (%s)", ErrLocked, strings.TrimSpace(string(owner[:n])))
		}
		return nil, fmt.Errorf("%s: %w", filepath.Join(d.path, name), err)
	}
	if err := errors.Join(f.Truncate(0), writeText(f, text)); err != nil && !isNoSpace(err) {
		_ = f.Close()
		return nil, err
	}
	return osLock{f}, nil
}

// Holder looks the lock up among those that the kernel lists.
func (d osDir) Holder(name string) (pid int, held, ok bool) {
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(d.path, name), &st); err != nil {
		return 0, false, errors.Is(err, fs.ErrNotExist)
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0, false, false
	}
	pid, held = lockHolder(string(locks), unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino) //nolint:unconvert // not 64 bits everywhere
	return pid, held, true
}

// lockHolder finds a lock in the kernel's list, of lines like
//
//	3: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF
func lockHolder(list string, major, minor uint32, inode uint64) (pid int, held bool) {
	file := fmt.Sprintf("%02x:%02x:%d", major, minor, inode)
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" || f[3] != "WRITE" || f[5] != file {
			continue
		}
		pid, _ = strconv.Atoi(f[4]) // of a process of another namespace, the kernel does not tell it
		return pid, true
	}
	return 0, false
}

func writeText(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// isNoSpace says whether err means that the disk, or a quota on it, is full.
func isNoSpace(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) || errors.Is(err, ErrNoSpace)
}

// isReadOnly says whether err means that this process may not write there.
func isReadOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS)
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f osFile) Map(size int64) (mapping, error) {
	if size == 0 {
		return osMapping(nil), nil
	}
	p, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("%s: mapping %d bytes: %w", f.Name(), size, err)
	}
	return osMapping(p), nil
}

type osMapping []byte

func (m osMapping) Bytes(off int64, n int) []byte { return m[off : off+int64(n) : off+int64(n)] }

func (m osMapping) Close() error {
	if m == nil {
		return nil
	}
	return unix.Munmap(m)
}
