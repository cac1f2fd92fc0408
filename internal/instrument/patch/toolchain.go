package patch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Toolchain returns a goroot whose standard library can be overlaid. The go command refuses to overlay what lies in the
// module cache, and that is where the toolchains are that it downloads itself: such a one is copied to a directory of its
// version under cacheDir, once. Any other goroot is returned as it is. The go command to use is bin/go of the result, with
// GOTOOLCHAIN=local.
func Toolchain(goroot, cacheDir string, progress func(copied int)) (string, error) {
	name := filepath.Base(goroot)
	if !strings.HasPrefix(name, "toolchain@") || filepath.Base(filepath.Dir(goroot)) != "golang.org" {
		return goroot, nil
	}
	to := filepath.Join(cacheDir, "toolchains", strings.TrimPrefix(name, "toolchain@"))
	if _, err := os.Stat(to); err == nil {
		return to, nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil { // #nosec G301 -- the umask decides, as for the go command's own caches; nothing recorded is in it
		return "", fmt.Errorf("a copy of the toolchain %s: %w", name, err)
	}
	part, err := os.MkdirTemp(filepath.Dir(to), ".copy-*")
	if err != nil {
		return "", fmt.Errorf("a copy of the toolchain %s: %w", name, err)
	}
	defer os.RemoveAll(part)
	if err := copyTree(goroot, filepath.Join(part, "go"), progress); err != nil {
		return "", fmt.Errorf("a copy of the toolchain %s: %w", name, err)
	}
	// Whoever is first wins: a directory can not be renamed onto one that has something in it.
	if err := os.Rename(filepath.Join(part, "go"), to); err != nil {
		if _, there := os.Stat(to); there != nil {
			return "", fmt.Errorf("a copy of the toolchain %s: %w", name, err)
		}
	}
	return to, nil
}

// copyTree copies a directory. Files are linked if they can be: nobody writes to either.
func copyTree(from, to string, progress func(copied int)) error {
	copied := 0
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(dst, 0o777) // #nosec G301 -- the umask decides, as for the go command's own caches; nothing recorded is in it
		}
		copied++
		if progress != nil {
			progress(copied)
		}
		if !d.Type().IsRegular() {
			return nil // a toolchain that was downloaded has none
		}
		if os.Link(path, dst) == nil { // #nosec G122 -- the tree is the Go distribution's own, read only
			return nil
		}
		return copyFile(path, dst)
	})
}

func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm()|0o200)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	_, err = io.Copy(dst, src)
	return err
}
