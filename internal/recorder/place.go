package recorder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// HomeDir is the folder, below the one that a command runs in, where recordings are made by default.
const HomeDir = ".pastcone"

// manifestFile is what makes a folder a recording.
const manifestFile = "manifest"

// ErrNoRecording says that there is no recording where one was looked for.
var ErrNoRecording = errors.New("no recording")

// NewPlace gives a folder for a new recording below HomeDir: named after now and label, and not there yet.
func NewPlace(label string, now time.Time) (string, error) {
	base := filepath.Join(HomeDir, now.Format("20060102-150405")+"-"+label)
	for n := 1; n < 1000; n++ {
		dir := base
		if n > 1 {
			dir = fmt.Sprintf("%s-%d", base, n)
		}
		if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%s: a thousand recordings of this second are there already", base)
}

// IsRecording says whether dir holds a recording.
func IsRecording(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, manifestFile))
	return err == nil && info.Mode().IsRegular()
}

// Newest gives the recording below HomeDir whose manifest was written last. It fails with ErrNoRecording, and then says
// how to make one.
func Newest() (string, error) {
	entries, err := os.ReadDir(HomeDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	var newest string
	var at time.Time
	for _, e := range entries {
		dir := filepath.Join(HomeDir, e.Name())
		info, err := os.Stat(filepath.Join(dir, manifestFile))
		if err != nil {
			continue
		}
		// The names of NewPlace ascend in time: they decide between manifests of the same moment.
		if m := info.ModTime(); newest == "" || m.After(at) || m.Equal(at) && strings.Compare(dir, newest) > 0 {
			newest, at = dir, m
		}
	}
	if newest == "" {
		return "", fmt.Errorf("%w was made here (%s has none): make one with 'pastcone import FILE' or 'pastcone demo', or name one", ErrNoRecording, HomeDir)
	}
	return newest, nil
}

// Find gives the recording that the user means: dir, or the newest one if it is empty.
func Find(dir string) (string, error) {
	if dir == "" {
		return Newest()
	}
	if IsRecording(dir) {
		return dir, nil
	}
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoRecording, err)
	}
	return "", fmt.Errorf("%w in %s: it has no %s; 'pastcone import -o %s FILE' makes one there", ErrNoRecording, dir, manifestFile, dir)
}
