package instrument

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// cache keeps what was worked out, under the hash of all that it was worked out from, so that nothing in it is ever wrong:
// what changes has another name. What was not used for cacheKeep is removed.
type cache struct{ dir string }

// cacheKeep is how long an entry stays that nobody uses.
const cacheKeep = 14 * 24 * time.Hour

//go:embed scan.go edit.go rewrite.go values.go state.go
var ownSources embed.FS

// version changes with the code that makes the entries, so that none is used that other code made.
var version = func() string {
	h := sha256.New()
	entries, err := ownSources.ReadDir(".")
	if err != nil {
		panic(err) // embedded: there
	}
	for _, e := range entries {
		text, err := ownSources.ReadFile(e.Name())
		if err != nil {
			panic(err)
		}
		h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}()

// key is the hash of what an entry depends on.
func key(parts ...any) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	if err := enc.Encode(version); err != nil {
		panic(err)
	}
	for _, p := range parts {
		if err := enc.Encode(p); err != nil {
			panic(fmt.Sprintf("a key of the cache can not be encoded: %v", err)) // all parts are plain data
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (c cache) path(kind, key, name string) string {
	return filepath.Join(c.dir, kind, key[:2], key[2:], name)
}

// load reads an entry that is JSON.
func (c cache) load(kind, key string, into any) bool {
	path := c.path(kind, key, "entry.json")
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, into) != nil {
		return false
	}
	c.use(path)
	return true
}

func (c cache) store(kind, key string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return writeFile(c.path(kind, key, "entry.json"), text)
}

// use marks an entry as used, at most once a day.
func (c cache) use(path string) {
	if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
		now := time.Now()
		_ = os.Chtimes(path, now, now) // the worst that comes of it is that the entry is made again
	}
}

// trim removes what was not used for long. It looks at most once a day.
func (c cache) trim(kinds ...string) {
	mark := filepath.Join(c.dir, "trimmed")
	if info, err := os.Stat(mark); err == nil && time.Since(info.ModTime()) < 24*time.Hour {
		return
	}
	if os.WriteFile(mark, nil, 0o666) != nil { // #nosec G306 -- the umask decides, as for the go command's own caches; nothing recorded is in it
		return
	}
	now := time.Now()
	_ = os.Chtimes(mark, now, now)
	for _, kind := range kinds {
		entries, _ := filepath.Glob(filepath.Join(c.dir, kind, "*", "*", "*"))
		for _, e := range entries {
			if info, err := os.Stat(e); err == nil && now.Sub(info.ModTime()) > cacheKeep {
				_ = os.RemoveAll(filepath.Dir(e))
			}
		}
	}
}

// writeFile writes a file as a whole or not at all.
func writeFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil { // #nosec G301 -- the umask decides, as for the go command's own caches; nothing recorded is in it
			return err
		}
		f, err = os.CreateTemp(filepath.Dir(path), ".new-*")
	}
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
