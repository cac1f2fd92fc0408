package wire

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
)

// Name is the interned name of a stream, channel, lock or state entity: the id of a text in the
// upper 24 bits, and one more than a decimal tail in the lower 40. "g17" is the text "g" and the
// number 17; "conns" is a text without a number. 0 is no name.
type Name uint64

// Text is the id of an interned text. 0 is the empty text.
type Text uint32

// Site is the id of an interned place in a program: function, file, line. 0 is no place.
type Site uint32

// Place is what a Site stands for.
type Place struct {
	Func Text
	File Text
	Line uint32
}

const (
	nameTailBits  = 40
	nameTailMask  = 1<<nameTailBits - 1
	tailDigitsMax = 12 // 10^12 < 2^40

	// TextsMax bounds the number of texts in a table: a Name has 24 bits for one.
	TextsMax = 1 << (64 - nameTailBits)
)

// ErrTableFull says that a table holds as much as it may.
var ErrTableFull = errors.New("the string table is full")

// Text gives the id of the text part of the name.
func (n Name) Text() Text { return Text(n >> nameTailBits) }

// Tail gives the decimal number that the name ends in, if it has one.
func (n Name) Tail() (tail uint64, is bool) {
	tail = uint64(n & nameTailMask)
	return tail - 1, tail > 0
}

// Table interns texts and places. It only grows, within its bound. All methods are safe for
// concurrent use; looking an id up takes no lock.
//
// Invariant: an id below the published length is never changed, so a reader may keep the slices
// that it has got.
type Table struct {
	bytesMax int64

	mu    sync.RWMutex
	ids   map[string]Text
	sites map[Place]Site
	bytes int64

	texts  atomic.Pointer[[]string]
	places atomic.Pointer[[]Place]
}

// textOverheadBytes is what a text costs in the table beside its own bytes: two string headers, the
// map's slot.
const textOverheadBytes = 64

// NewTable makes a table that holds at most bytesMax bytes, overhead included.
func NewTable(bytesMax int64) *Table {
	t := &Table{bytesMax: bytesMax, ids: map[string]Text{"": 0}, sites: map[Place]Site{{}: 0}}
	t.texts.Store(&[]string{""})
	t.places.Store(&[]Place{{}})
	return t
}

// Intern gives the id of text, a new one if need be. It fails with ErrTableFull.
func (t *Table) Intern(text string) (Text, error) {
	t.mu.RLock()
	id, ok := t.ids[text]
	t.mu.RUnlock()
	if ok {
		return id, nil
	}
	return t.internSlow(text)
}

// InternBytes is Intern without an allocation when the text is known.
func (t *Table) InternBytes(text []byte) (Text, error) {
	t.mu.RLock()
	id, ok := t.ids[string(text)]
	t.mu.RUnlock()
	if ok {
		return id, nil
	}
	return t.internSlow(string(text))
}

func (t *Table) internSlow(text string) (Text, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.ids[text]; ok {
		return id, nil
	}
	texts := *t.texts.Load()
	cost := int64(len(text)) + textOverheadBytes
	if len(texts) >= TextsMax || t.bytes+cost > t.bytesMax {
		return 0, fmt.Errorf("%w: %d texts, %d of %d bytes", ErrTableFull, len(texts), t.bytes, t.bytesMax)
	}
	t.bytes += cost
	id := Text(len(texts)) // #nosec G115 -- below TextsMax
	t.ids[text] = id
	texts = append(texts, text)
	t.texts.Store(&texts)
	return id, nil
}

// Name gives the interned name. It fails with ErrTableFull.
func (t *Table) Name(name string) (Name, error) {
	head, tail := splitName(name)
	id, err := t.Intern(name[:head])
	return Name(id)<<nameTailBits | Name(tail), err
}

// NameBytes is Name without an allocation when the text is known.
func (t *Table) NameBytes(name []byte) (Name, error) {
	head, tail := splitName(name)
	id, err := t.InternBytes(name[:head])
	return Name(id)<<nameTailBits | Name(tail), err
}

// SplitName gives where the decimal tail of a name begins, and one more than its value, 0 if there is
// none. With the id of the text before it, [MakeName] makes the Name: for callers that keep a cache of
// ids of their own.
func SplitName(name []byte) (head int, tail uint64) { return splitName(name) }

// MakeName puts a Name together from the id of its text and the tail that SplitName gave.
func MakeName(text Text, tail uint64) Name { return Name(text)<<nameTailBits | Name(tail) }

// splitName gives where the decimal tail begins, and one more than its value, 0 if there is none.
// The tail is the longest that is written as strconv would and fits: so each name splits one way.
func splitName[B string | []byte](name B) (head int, tail uint64) {
	head = len(name)
	low := max(0, len(name)-tailDigitsMax)
	start := head
	for start > low && '0' <= name[start-1] && name[start-1] <= '9' {
		start--
	}
	for start < head-1 && name[start] == '0' {
		start++
	}
	if start == head {
		return head, 0
	}
	var n uint64
	for _, c := range []byte(name[start:]) {
		n = n*10 + uint64(c-'0')
	}
	return start, n + 1
}

// Site gives the id of a place. It fails with ErrTableFull.
func (t *Table) Site(p Place) (Site, error) {
	t.mu.RLock()
	id, ok := t.sites[p]
	t.mu.RUnlock()
	if ok {
		return id, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.sites[p]; ok {
		return id, nil
	}
	places := *t.places.Load()
	if t.bytes+textOverheadBytes > t.bytesMax {
		return 0, fmt.Errorf("%w: %d places, %d of %d bytes", ErrTableFull, len(places), t.bytes, t.bytesMax)
	}
	t.bytes += textOverheadBytes
	id = Site(len(places)) // #nosec G115 -- bounded by bytesMax
	t.sites[p] = id
	places = append(places, p)
	t.places.Store(&places)
	return id, nil
}

// Texts gives all texts by id. The slice is never changed; a later call may give a longer one.
func (t *Table) Texts() []string { return *t.texts.Load() }

// Places gives all places by Site. The slice is never changed; a later call may give a longer one.
func (t *Table) Places() []Place { return *t.places.Load() }

// TextOf gives the text of that id, or a visible mark if there is none.
func (t *Table) TextOf(id Text) string {
	if texts := t.Texts(); int(id) < len(texts) {
		return texts[id]
	}
	return fmt.Sprintf("?text%d", id)
}

// PlaceOf gives the place of that id; an unknown one is empty.
func (t *Table) PlaceOf(id Site) Place {
	if places := t.Places(); int(id) < len(places) {
		return places[id]
	}
	return Place{}
}

// FuncOf gives the function of a place.
func (t *Table) FuncOf(id Site) string { return t.TextOf(t.PlaceOf(id).Func) }

// NameOf gives a name as text.
func (t *Table) NameOf(n Name) string {
	if n == 0 {
		return ""
	}
	text := t.TextOf(n.Text())
	if tail := uint64(n & nameTailMask); tail > 0 {
		return text + strconv.FormatUint(tail-1, 10)
	}
	return text
}

// FindName gives the name if its text is known, without adding it.
func (t *Table) FindName(name string) (Name, bool) {
	head, tail := splitName(name)
	t.mu.RLock()
	id, ok := t.ids[name[:head]]
	t.mu.RUnlock()
	return Name(id)<<nameTailBits | Name(tail), ok
}

// FindText gives the id of a text if it is known, without adding it.
func (t *Table) FindText(text string) (Text, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	id, ok := t.ids[text]
	return id, ok
}

// Bytes gives what the table holds, overhead included, in bytes.
func (t *Table) Bytes() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.bytes
}
