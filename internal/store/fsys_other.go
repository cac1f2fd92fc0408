//go:build !unix

package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
)

// osDir is a directory of an operating system on which no recording can be kept: the store wants files that others map while
// they grow, locks that end with their process, and directories that can be synced.
type osDir struct{ path string }

func (d osDir) String() string { return d.path }

func (d osDir) unsupported() error {
	return fmt.Errorf("%s: this is %s: recordings are kept and read on Linux, macOS and other Unix systems; a server there (pastcone serve) can be asked from here", d.path, runtime.GOOS)
}

func (d osDir) Open(string, bool, bool) (file, error)          { return nil, d.unsupported() }
func (d osDir) Names() ([]string, error)                       { return nil, d.unsupported() }
func (d osDir) Rename(string, string) error                    { return d.unsupported() }
func (d osDir) Remove(string) error                            { return d.unsupported() }
func (d osDir) SyncDir() error                                 { return d.unsupported() }
func (d osDir) Lock(string, string) (io.Closer, error)         { return nil, d.unsupported() }
func (d osDir) Holder(string) (pid int, held bool, known bool) { return 0, false, false }

func isNoSpace(err error) bool  { return errors.Is(err, ErrNoSpace) }
func isReadOnly(err error) bool { return errors.Is(err, fs.ErrPermission) }
