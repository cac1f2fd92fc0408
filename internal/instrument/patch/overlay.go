package patch

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// An Area is a part of the standard library that is patched: edits, and the files of _overlay that they need.
type Area struct {
	Name  string
	Edits []Edit
	Added []string // files under _overlay, below GOROOT/src: "runtime/zpastcone.go"
}

// Areas are all that is patched. Each is described in a file of its own name.
func Areas() []Area {
	return []Area{
		ringArea,
		chanArea,
		selectArea,
		procArea,
		panicArea,
		syncArea,
		timerArea,
		signalArea,
		httpArea,
		testingArea,
	}
}

//go:embed all:_overlay
var added embed.FS

// Overlay writes the edited and the added files of the standard library of goroot, whose version is goVersion ("go1.26.8"),
// to outDir, and returns them by the path that they stand for. A file of outDir that has not changed is left as it is. The
// error is an *AnchorError if this version of Go is not one that can be patched.
func Overlay(goroot, goVersion, outDir string) (map[string]string, error) {
	return overlay(Areas(), goroot, goVersion, outDir)
}

func overlay(areas []Area, goroot, goVersion, outDir string) (map[string]string, error) {
	contents, err := patched(areas, filepath.Join(goroot, "src"), goVersion)
	if err != nil {
		return nil, err
	}
	files := make(map[string]string, len(contents))
	for path, text := range contents {
		to := filepath.Join(outDir, filepath.FromSlash(path))
		if err := writeIfChanged(to, text); err != nil {
			return nil, fmt.Errorf("the patched %s: %w", path, err)
		}
		files[filepath.Join(goroot, "src", filepath.FromSlash(path))] = to
	}
	return files, nil
}

// patched returns the texts of all files that are edited or added, by path below src.
func patched(areas []Area, src, version string) (map[string]string, error) {
	sources := map[string]*source{}
	contents := map[string]string{}
	for _, area := range areas {
		for _, e := range area.Edits {
			s := sources[e.File]
			if s == nil {
				text, err := os.ReadFile(filepath.Join(src, filepath.FromSlash(e.File)))
				if errors.Is(err, fs.ErrNotExist) {
					if e.Optional {
						continue
					}
					return nil, &AnchorError{GoVersion: version, File: e.File, Anchor: e.Anchor, Matches: -1, Want: max(e.Times, 1)}
				}
				if err != nil {
					return nil, fmt.Errorf("a file of the standard library to patch: %w", err)
				}
				if s, err = parseSource(version, e.File, string(text)); err != nil {
					return nil, err
				}
				sources[e.File] = s
			}
			if err := s.apply(e); err != nil {
				return nil, err
			}
		}
		for _, path := range area.Added {
			text, err := added.ReadFile("_overlay/" + path)
			if err != nil {
				return nil, fmt.Errorf("area %s: %w", area.Name, err)
			}
			contents[path] = string(text)
		}
	}
	for path, s := range sources {
		if len(s.changes) == 0 {
			continue
		}
		text, err := s.edited()
		if err != nil {
			return nil, err
		}
		contents[path] = text
	}
	return contents, nil
}

// writeIfChanged replaces a file as a whole, so that a build that reads it at this moment has one form or the other.
func writeIfChanged(path, text string) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, []byte(text)) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil { // #nosec G301 -- the umask decides, as for the go command's own caches; nothing recorded is in it
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".write-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Files lists what is edited or added, below GOROOT/src.
func Files() []string {
	var files []string
	for _, area := range Areas() {
		for _, e := range area.Edits {
			files = append(files, e.File)
		}
		files = append(files, area.Added...)
	}
	slices.SortFunc(files, strings.Compare)
	return slices.Compact(files)
}
