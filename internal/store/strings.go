package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pastcone/pastcone/internal/wire"
)

// The string table is one file, or more after a failed sync: a list of records, each with the texts and
// places that have come since the one before. A record is durable before any block that needs it is
// written. Layout: docs/format/strings.md.
const (
	stringsMagic     = 0x52545350 // "PSTR"
	stringsHeadBytes = 40
	stringsBodyMax   = 1 << 28
)

type stringsHead struct {
	body       int // bytes
	firstText  int
	texts      int
	firstPlace int
	places     int
	bodySum    uint32
}

// appendStrings appends a record of the texts and places from these on.
func appendStrings(dst []byte, texts []string, firstText int, places []wire.Place, firstPlace int) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, stringsHeadBytes)...)
	for _, text := range texts[firstText:] {
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		dst = append(dst, text...)
	}
	for _, p := range places[firstPlace:] {
		dst = binary.AppendUvarint(dst, uint64(p.Func))
		dst = binary.AppendUvarint(dst, uint64(p.File))
		dst = binary.AppendUvarint(dst, uint64(p.Line))
	}
	le := binary.LittleEndian
	head, body := dst[start:start+stringsHeadBytes], dst[start+stringsHeadBytes:]
	le.PutUint32(head, stringsMagic)
	le.PutUint16(head[4:], FormatVersion)
	le.PutUint32(head[8:], uint32(len(body)))               // #nosec G115 -- bounded by the table
	le.PutUint32(head[12:], uint32(firstText))              // #nosec G115 -- below TextsMax
	le.PutUint32(head[16:], uint32(len(texts)-firstText))   // #nosec G115 -- below TextsMax
	le.PutUint32(head[20:], uint32(firstPlace))             // #nosec G115 -- a Site has 32 bits
	le.PutUint32(head[24:], uint32(len(places)-firstPlace)) // #nosec G115 -- a Site has 32 bits
	le.PutUint32(head[28:], checksum(body))
	le.PutUint32(head[36:], checksum(head[:36]))
	return dst
}

// parseStringsHead reads the head of a record; it says nothing of the body.
func parseStringsHead(p []byte) (h stringsHead, err error) {
	le := binary.LittleEndian
	if len(p) < stringsHeadBytes || le.Uint32(p) != stringsMagic {
		return h, corrupt("no record begins here")
	}
	if le.Uint32(p[36:]) != checksum(p[:36]) {
		return h, errChecksum
	}
	if v := le.Uint16(p[4:]); v != FormatVersion {
		return h, fmt.Errorf("%w: %d", ErrVersion, v)
	}
	h = stringsHead{
		body: int(le.Uint32(p[8:])), firstText: int(le.Uint32(p[12:])), texts: int(le.Uint32(p[16:])),
		firstPlace: int(le.Uint32(p[20:])), places: int(le.Uint32(p[24:])), bodySum: le.Uint32(p[28:]),
	}
	if h.body > stringsBodyMax || h.texts > h.body || 3*h.places > h.body || h.firstText+h.texts > wire.TextsMax {
		return h, corrupt("a record of %d texts and %d places in %d bytes", h.texts, h.places, h.body)
	}
	return h, nil
}

// loadStrings adds a record's texts and places to the table. They must be those that come next.
func loadStrings(t *wire.Table, h stringsHead, body []byte) error {
	if checksum(body) != h.bodySum {
		return errChecksum
	}
	for i := range h.texts {
		n, w := binary.Uvarint(body)
		if w <= 0 || n > uint64(len(body)-w) { // #nosec G115 -- not negative
			return corrupt("text %d", h.firstText+i)
		}
		if err := addText(t, string(body[w:w+int(n)]), h.firstText+i); err != nil { // #nosec G115 -- at most len(body)
			return err
		}
		body = body[w+int(n):] // #nosec G115 -- at most len(body)
	}
	for i := range h.places {
		var v [3]uint64
		for k := range v {
			x, w := binary.Uvarint(body)
			if w <= 0 || x > 1<<32-1 {
				return corrupt("place %d", h.firstPlace+i)
			}
			v[k], body = x, body[w:]
		}
		p := wire.Place{Func: wire.Text(v[0]), File: wire.Text(v[1]), Line: uint32(v[2])} // #nosec G115 -- checked above
		if err := addPlace(t, p, h.firstPlace+i); err != nil {
			return err
		}
	}
	if len(body) > 0 {
		return corrupt("%d bytes behind the last place", len(body))
	}
	return nil
}

// addText adds a text that is to get that id; one that is known already is passed over.
func addText(t *wire.Table, text string, id int) error {
	known := len(t.Texts())
	if id < known {
		if t.Texts()[id] != text {
			return corrupt("text %d is %q before and %q now", id, t.Texts()[id], text)
		}
		return nil
	}
	if id > known {
		return corrupt("text %d comes behind text %d", id, known-1)
	}
	got, err := t.Intern(text)
	if err == nil && int(got) != id {
		err = corrupt("text %d is the same as text %d", id, got)
	}
	return err
}

func addPlace(t *wire.Table, p wire.Place, id int) error {
	known := len(t.Places())
	if id < known {
		if t.Places()[id] != p {
			return corrupt("place %d is not what it was", id)
		}
		return nil
	}
	if id > known {
		return corrupt("place %d comes behind place %d", id, known-1)
	}
	got, err := t.Site(p)
	if err == nil && int(got) != id {
		err = corrupt("place %d is the same as place %d", id, got)
	}
	return err
}

// padTable stands visible marks in for texts and places that are lost, so that no later one gets their
// ids.
func padTable(t *wire.Table, texts, places int) error {
	unknown := wire.Text(0)
	if n := len(t.Texts()); n < texts {
		unknown = wire.Text(n) // #nosec G115 -- below TextsMax
	}
	for id := len(t.Texts()); id < texts; id = len(t.Texts()) {
		// It does not end in a digit: with the number of a name behind it, it is still taken apart as it was put together.
		mark := fmt.Sprintf("?text%d?", id)
		for {
			if _, taken := t.FindText(mark); !taken {
				break
			}
			mark += "?"
		}
		if _, err := t.Intern(mark); err != nil {
			return err
		}
	}
	for id := len(t.Places()); id < places; id = len(t.Places()) {
		// No two lost places are the same, and none is one that the table has. The function is a mark, if one was made.
		p := wire.Place{Func: unknown, Line: uint32(1<<32 - 1 - id)} // #nosec G115 -- an id has 32 bits
		if _, err := t.Site(p); err != nil {
			return err
		}
		if len(t.Places()) == id {
			return corrupt("place %d can not be replaced by a mark", id)
		}
	}
	return nil
}

// stringsReader reads the string table, and goes on where it stopped when the files have grown.
type stringsReader struct {
	table   *wire.Table
	file    int   // index in the list of files
	off     int64 // of the next record in it
	missing bool  // the file is not there, which was reported
	lost    []lostStrings
	last    *CorruptError // reported, and not yet known how much is lost by it
}

// lostStrings are texts and places that marks stand for, without the ends, and the damage that took them away.
type lostStrings struct {
	text, textEnd   int
	place, placeEnd int
	damage          *CorruptError
}

// damage is what a reader found to be wrong and went on.
type damage func(*CorruptError)

const stringsAdvice = "names and functions that are lost are shown as ?text and a number; put the file back if there is a copy, the events are whole"

// read loads what there is. A record that is not whole ends the last file: it is being written, or was
// when the writer died. Damage before that is reported, and replaced by marks; so is a file that is not there, unless gone, if it is
// set, says that it is no part of the recording any more.
func (r *stringsReader) read(dir fsys, files []string, gone func() bool, report damage) error {
	for r.file < len(files) {
		name := files[r.file]
		f, err := dir.Open(name, false, false)
		switch {
		case errors.Is(err, fs.ErrNotExist) && gone():
			if !r.missing {
				r.damaged(name, errors.New("the file is not there"), report)
			}
			r.missing = true
		case err != nil:
			return err
		default:
			err = r.readFile(f, name, report)
			_ = f.Close()
			if err != nil {
				return err
			}
		}
		if r.file == len(files)-1 {
			return nil
		}
		r.file, r.off, r.missing = r.file+1, 0, false
	}
	return nil
}

func (r *stringsReader) damaged(name string, cause error, report damage) {
	r.last = &CorruptError{File: name, Offset: r.off, Part: partStrings, Cause: cause, Advice: stringsAdvice}
	report(r.last)
}

// pad puts marks in the place of texts and places up to these that are not there. If that was not reported, it is, as damage of the file
// of that name.
func (r *stringsReader) pad(texts, places int, name string, report damage) error {
	l := lostStrings{text: len(r.table.Texts()), place: len(r.table.Places())}
	if texts <= l.text && places <= l.place {
		return nil
	}
	if r.last == nil {
		r.damaged(name, fmt.Errorf("blocks need %d texts and %d places, there are %d and %d", texts, places, l.text, l.place), report)
	}
	err := padTable(r.table, texts, places)
	l.textEnd, l.placeEnd, l.damage = len(r.table.Texts()), len(r.table.Places()), r.last
	r.lost = append(r.lost, l)
	return err
}

func (r *stringsReader) readFile(f file, name string, report damage) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	var body []byte
	for r.off < size {
		h, err := readStringsHead(f, r.off)
		if err != nil {
			at, ok := nextStrings(f, r.off+1, size)
			if !ok {
				return nil // torn, or not whole yet
			}
			r.damaged(name, err, report)
			r.off = at
			continue
		}
		if int64(h.body) > size-r.off-stringsHeadBytes {
			return nil
		}
		body = resize(body, h.body)
		if _, err := f.ReadAt(body, r.off+stringsHeadBytes); err != nil {
			return err
		}
		end := r.off + stringsHeadBytes + int64(h.body)
		if err := r.pad(h.firstText, h.firstPlace, name, report); err != nil {
			return err
		}
		if err := loadStrings(r.table, h, body); err != nil {
			if _, more := nextStrings(f, end, size); !more && end >= size {
				return nil
			}
			r.damaged(name, err, report)
			if err := r.pad(h.firstText+h.texts, h.firstPlace+h.places, name, report); err != nil {
				return err
			}
		}
		r.off, r.last = end, nil
	}
	return nil
}

func readStringsHead(f file, off int64) (stringsHead, error) {
	var p [stringsHeadBytes]byte
	if n, err := f.ReadAt(p[:], off); n < len(p) {
		return stringsHead{}, corrupt("%d bytes: %v", n, err)
	}
	return parseStringsHead(p[:])
}

// nextStrings looks for a record that begins at off or later.
func nextStrings(f file, off, size int64) (int64, bool) {
	const window = 1 << 16
	buf := make([]byte, window+stringsHeadBytes)
	for ; off < size; off += window {
		n, _ := f.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		for i := 0; i < min(n-stringsHeadBytes+1, window); i++ {
			if binary.LittleEndian.Uint32(buf[i:]) == stringsMagic {
				if _, err := parseStringsHead(buf[i:n]); err == nil {
					return off + int64(i), true
				}
			}
		}
	}
	return 0, false
}
