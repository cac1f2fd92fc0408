// Package examples carries the example programs in source, so that Pastcone can show itself where its own source is not.
//
// In the plan's words they are the end-to-end demonstration.
package examples

import (
	"bytes"
	"embed"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Checkout is the package path of the checkout service below a directory that Write has filled.
const Checkout = "./examples/checkout"

// Module is the module that the examples are in.
const Module = "github.com/pastcone/pastcone"

//go:embed checkout
var sources embed.FS

// Write puts the examples into dir, as a module that needs nothing else. Files that are there and the same are left alone,
// so that a second build finds nothing to do.
func Write(dir string) error {
	if err := write(filepath.Join(dir, "go.mod"), []byte("module "+Module+"\n\ngo 1.25\n")); err != nil {
		return err
	}
	return fs.WalkDir(sources, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := sources.ReadFile(name)
		if err != nil {
			return err
		}
		return write(filepath.Join(dir, "examples", filepath.FromSlash(name)), text)
	})
}

func write(path string, text []byte) error {
	if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, text) { // #nosec G304 -- below a directory of ours
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
