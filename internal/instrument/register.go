package instrument

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// firstID is the first id of a program's own functions: those before it are for the standard library's.
const firstID = 16

// idsMax bounds the ids of one program. The ring has tables with an entry for each.
const idsMax = 1<<20 - firstID

// register gives functions their ids. An id once given stays with its function from build to build, so that a file that has
// not changed is the same after rewriting, and the go command need not compile it again. The file of a register is a line
// for each id, in order: the key of what has it.
//
// Ids of functions that are gone stay taken; when they are most, the register begins anew, and everything is compiled once.
type register struct {
	path  string
	ids   map[string]uint32
	added []string
	torn  bool // the file has to be written as a whole
}

func openRegister(path string) (*register, error) {
	r := &register{path: path, ids: map[string]uint32{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the register of function ids: %w", err)
	}
	if n := bytes.LastIndexByte(text, '\n') + 1; n != len(text) {
		text, r.torn = text[:n], true // a line that was not finished was given to nobody: the overlay is written behind it
	}
	for line := range strings.Lines(string(text)) {
		if len(r.ids) >= idsMax {
			return &register{path: path, ids: map[string]uint32{}, torn: true}, nil
		}
		key := strings.TrimSuffix(line, "\n")
		if _, twice := r.ids[key]; twice {
			return &register{path: path, ids: map[string]uint32{}, torn: true}, nil
		}
		r.ids[key] = firstID + uint32(len(r.ids)) // #nosec G115 -- bounded by idsMax
	}
	return r, nil
}

// begin forgets everything if there are four times as many ids as are used now.
func (r *register) begin(used int) {
	if len(r.ids) < 4096 || len(r.ids) < 4*used {
		return
	}
	r.ids, r.added, r.torn = map[string]uint32{}, nil, true
}

// id returns the id of a key: the one that it had, or the next.
func (r *register) id(key string) (uint32, error) {
	if id, ok := r.ids[key]; ok {
		return id, nil
	}
	if len(r.ids) >= idsMax {
		return 0, fmt.Errorf("more than %d functions to record: leave some out with --exclude", idsMax)
	}
	id := firstID + uint32(len(r.ids)) // #nosec G115 -- bounded by idsMax
	r.ids[key] = id
	r.added = append(r.added, key)
	return id, nil
}

// next is the first id that nobody has.
func (r *register) next() uint32 { return firstID + uint32(len(r.ids)) } // #nosec G115 -- bounded by idsMax

// save makes the ids that were given out durable, before anything is built with them.
func (r *register) save() error {
	if len(r.added) == 0 && !r.torn {
		return nil
	}
	if r.torn {
		keys := make([]string, len(r.ids))
		for key, id := range r.ids {
			keys[id-firstID] = key
		}
		var b strings.Builder
		for _, key := range keys {
			b.WriteString(key)
			b.WriteByte('\n')
		}
		return writeFile(r.path, []byte(b.String()))
	}
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666) // #nosec G302 -- the umask decides, as for the go command's own caches; nothing recorded is in it
	if err != nil {
		return fmt.Errorf("the register of function ids: %w", err)
	}
	w := bufio.NewWriter(f)
	for _, key := range r.added {
		w.WriteString(key)
		w.WriteByte('\n')
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("the register of function ids: %w", err)
	}
	r.added = nil
	return nil
}

// lock waits until no other run prepares the same program.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666) // #nosec G302 -- the umask decides, as for the go command's own caches; nothing recorded is in it
	if err != nil {
		return nil, fmt.Errorf("the lock of a program's cache: %w", err)
	}
	if err := lockFile(ctx, f); err != nil {
		f.Close()
		return nil, fmt.Errorf("the lock of a program's cache, %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
