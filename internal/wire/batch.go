package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sort"

	"github.com/pastcone/pastcone/event"
)

// Flags are the yes-or-no fields of a record.
type Flags uint16

// The flags of a record.
const (
	FlagRoot       Flags = 1 << iota // declared to found work
	FlagEmpty                        // a message without content
	FlagClosed                       // a receive that found its channel closed
	FlagTakes                        // the source says that the receive takes on work
	FlagTakesNot                     // the source says that it does not
	FlagBackground                   // result: the correlation is no work
	FlagInferred                     // the source itself has inferred what this message, close, lock or wake came from
	FlagUnseen                       // what this receive or acquire came from left no record, and will not come
)

// SourceID numbers the sources of a recording, from 1. Streams, keys and references are those of one
// source.
type SourceID uint32

// Record is one event in compact form. Data and the rarer fields lie in the arena of its batch.
type Record struct {
	Time    int64  // ns since the Unix epoch
	Seq     uint64 // from 1
	Key     Name
	Ordinal uint64 // from 1; 0 is none
	Peer    Name
	Child   Name
	Site    Site
	Flags   Flags
	Kind    event.Kind
	_       uint8

	DataOff, DataLen uint32 // a JSON object in the arena; length 0 is none
	ExtOff, ExtLen   uint32 // the rarer fields in the arena; see Extension
}

// Run is a stretch of a batch: consecutive records of one stream, in the order of arrival.
type Run struct {
	Stream Name
	Len    uint32 // number of records
}

// Batch is a chunk of one source's events, on the way from the source to the correlator.
type Batch struct {
	Source  SourceID
	Arrived int64 // when it was accepted, ns since the Unix epoch
	Runs    []Run // their lengths add up to len(Records)
	Records []Record
	Arena   []byte

	// Done, if set, is called exactly once, when every event of the batch has been emitted in a block
	// or rejected, with the largest id among them (0 if none was emitted). What is durable up to that
	// id is the batch. It is called by the correlator's goroutine and must not block. Behind it, unless last
	// is 0, nobody looks at the batch any more: whoever made it may fill it again.
	Done func(last event.ID)
}

// Len gives the number of events.
func (b *Batch) Len() int { return len(b.Records) }

// Data gives the data of a record of this batch, nil if it has none. Do not change it.
func (b *Batch) Data(r *Record) []byte { return b.Arena[r.DataOff : r.DataOff+r.DataLen] }

// Ext gives the encoded rarer fields of a record of this batch. Do not change it.
func (b *Batch) Ext(r *Record) []byte { return b.Arena[r.ExtOff : r.ExtOff+r.ExtLen] }

// Add appends one record to the batch, opening a run if the stream is another one. data (a JSON
// object) and ext (from AppendExtension) are copied.
func (b *Batch) Add(stream Name, r Record, data, ext []byte) {
	if n := len(b.Runs); n == 0 || b.Runs[n-1].Stream != stream {
		b.Runs = append(b.Runs, Run{Stream: stream})
	}
	b.Runs[len(b.Runs)-1].Len++
	b.Arena, r.DataOff, r.DataLen = appendArena(b.Arena, data)
	b.Arena, r.ExtOff, r.ExtLen = appendArena(b.Arena, ext)
	b.Records = append(b.Records, r)
}

func appendArena(arena, p []byte) (grown []byte, off, length uint32) {
	if len(p) == 0 {
		return arena, 0, 0
	}
	off = uint32(len(arena))                        // #nosec G115 -- a batch is bounded far below 4 GiB
	return append(arena, p...), off, uint32(len(p)) // #nosec G115 -- an arena is bounded far below
}

// Reset empties the batch and keeps its memory, for an owner who makes the next one.
func (b *Batch) Reset() {
	b.Source, b.Arrived, b.Done = 0, 0, nil
	b.Runs, b.Records, b.Arena = b.Runs[:0], b.Records[:0], b.Arena[:0]
}

// Extension is the rarer fields of an event. Its encoding is a list of: tag byte, uvarint length,
// bytes; an unknown field's bytes are the uvarint length of its name, the name, the JSON value.
type Extension struct {
	Message []byte
	Ref     []byte
	Causes  [][]byte
	Extra   []ExtraField
}

// ExtraField is a field that this version does not know.
type ExtraField struct {
	Name  []byte
	Value []byte // JSON
}

const (
	extMessage = 1
	extRef     = 2
	extCause   = 3
	extExtra   = 4
)

// ErrCorrupt says that bytes are not what an encoder of this package wrote.
var ErrCorrupt = errors.New("corrupt encoding")

// AppendExtension encodes e onto dst. An Extension without fields adds nothing.
func AppendExtension(dst []byte, e *Extension) []byte {
	if len(e.Message) > 0 {
		dst = appendTagged(dst, extMessage, e.Message)
	}
	if len(e.Ref) > 0 {
		dst = appendTagged(dst, extRef, e.Ref)
	}
	for _, c := range e.Causes {
		dst = appendTagged(dst, extCause, c)
	}
	for _, x := range e.Extra {
		var width [binary.MaxVarintLen64]byte
		n := binary.PutUvarint(width[:], uint64(len(x.Name)))
		dst = append(dst, extExtra)
		dst = binary.AppendUvarint(dst, uint64(n+len(x.Name)+len(x.Value))) // #nosec G115 -- not negative
		dst = append(dst, width[:n]...)
		dst = append(dst, x.Name...)
		dst = append(dst, x.Value...)
	}
	return dst
}

// AppendMessage encodes an Extension that has a message and nothing else.
func AppendMessage(dst, message []byte) []byte { return appendTagged(dst, extMessage, message) }

// AppendRef encodes an Extension that has a ref and nothing else.
func AppendRef(dst, ref []byte) []byte { return appendTagged(dst, extRef, ref) }

// AppendCause encodes an Extension that has one cause and nothing else.
func AppendCause(dst, cause []byte) []byte { return appendTagged(dst, extCause, cause) }

func appendTagged(dst []byte, tag byte, p []byte) []byte {
	dst = append(dst, tag)
	dst = binary.AppendUvarint(dst, uint64(len(p)))
	return append(dst, p...)
}

// Decode fills e from its encoding; the slices point into ext. It keeps e's memory.
func (e *Extension) Decode(ext []byte) error {
	e.Message, e.Ref, e.Causes, e.Extra = nil, nil, e.Causes[:0], e.Extra[:0]
	for len(ext) > 0 {
		tag := ext[0]
		body, rest, ok := cutUvarint(ext[1:])
		if !ok {
			return fmt.Errorf("extension: %w", ErrCorrupt)
		}
		ext = rest
		switch tag {
		case extMessage:
			e.Message = body
		case extRef:
			e.Ref = body
		case extCause:
			e.Causes = append(e.Causes, body)
		case extExtra:
			name, value, ok := cutUvarint(body)
			if !ok {
				return fmt.Errorf("extension: unknown field: %w", ErrCorrupt)
			}
			e.Extra = append(e.Extra, ExtraField{name, value})
		default:
			return fmt.Errorf("extension: tag %d: %w", tag, ErrCorrupt)
		}
	}
	return nil
}

// cutUvarint splits p behind the bytes whose uvarint length it begins with.
func cutUvarint(p []byte) (body, rest []byte, ok bool) {
	n, w := binary.Uvarint(p)
	if w <= 0 || n > uint64(len(p)-w) { // #nosec G115 -- not negative
		return nil, nil, false
	}
	p = p[w:]
	return p[:n:n], p[n:], true
}

// AddEvent appends an event in its public form; results in it are left out. It fails only with
// ErrTableFull, and then appends nothing. It is for tests and for callers that are in no hurry.
func (b *Batch) AddEvent(t *Table, e *event.Event) error {
	stream, err := t.Name(e.Stream)
	if err != nil {
		return err
	}
	r := Record{Time: e.Time, Seq: e.Seq, Ordinal: e.Ordinal, Kind: e.Kind}
	for _, f := range [...]struct {
		to   *Name
		from string
	}{{&r.Key, e.Key}, {&r.Peer, e.Peer}, {&r.Child, e.Child}} {
		if f.from == "" {
			continue
		}
		if *f.to, err = t.Name(f.from); err != nil {
			return err
		}
	}
	if r.Site, err = t.SiteOf(e.Func, e.File, e.Line); err != nil {
		return err
	}
	r.Flags = flagsOf(e)
	ext := Extension{Message: []byte(e.Message), Ref: []byte(e.Ref)}
	for _, c := range e.Cause {
		ext.Causes = append(ext.Causes, []byte(c))
	}
	names := make([]string, 0, len(e.Extra))
	for name := range e.Extra {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		ext.Extra = append(ext.Extra, ExtraField{[]byte(name), e.Extra[name]})
	}
	b.Add(stream, r, e.Data, AppendExtension(nil, &ext))
	return nil
}

func flagsOf(e *event.Event) (f Flags) {
	if e.Root {
		f |= FlagRoot
	}
	if e.Empty {
		f |= FlagEmpty
	}
	if e.Closed {
		f |= FlagClosed
	}
	if e.Takes != nil {
		if *e.Takes {
			f |= FlagTakes
		} else {
			f |= FlagTakesNot
		}
	}
	if e.Inferred {
		f |= FlagInferred
	}
	if e.Unseen {
		f |= FlagUnseen
	}
	return f
}

// SiteOf interns a place given as texts.
func (t *Table) SiteOf(fn, file string, line int) (Site, error) {
	if fn == "" && file == "" && line == 0 {
		return 0, nil
	}
	f, err := t.Intern(fn)
	if err != nil {
		return 0, err
	}
	fi, err := t.Intern(file)
	if err != nil {
		return 0, err
	}
	return t.Site(Place{f, fi, uint32(line)}) // #nosec G115 -- sources refuse lines beyond 32 bits
}

// fill writes the source's fields of a record into its public form. Slices of the result are copies.
func (r *Record) fill(e *event.Event, t *Table, stream Name, data, ext []byte) error {
	place := t.PlaceOf(r.Site)
	*e = event.Event{
		Stream: t.NameOf(stream), Seq: r.Seq, Time: r.Time, Kind: r.Kind,
		Func: t.TextOf(place.Func), File: t.TextOf(place.File), Line: int(place.Line),
		Key: t.NameOf(r.Key), Ordinal: r.Ordinal, Peer: t.NameOf(r.Peer), Child: t.NameOf(r.Child),
		Root: r.Flags&FlagRoot != 0, Empty: r.Flags&FlagEmpty != 0, Closed: r.Flags&FlagClosed != 0,
		Inferred: r.Flags&FlagInferred != 0, Unseen: r.Flags&FlagUnseen != 0, Background: r.Flags&FlagBackground != 0,
	}
	if r.Flags&(FlagTakes|FlagTakesNot) != 0 {
		takes := r.Flags&FlagTakes != 0
		e.Takes = &takes
	}
	if len(data) > 0 {
		e.Data = append(json.RawMessage(nil), data...)
	}
	if len(ext) == 0 {
		return nil
	}
	var x Extension
	if err := x.Decode(ext); err != nil {
		return err
	}
	e.Message, e.Ref = string(x.Message), string(x.Ref)
	for _, c := range x.Causes {
		e.Cause = append(e.Cause, string(c))
	}
	for _, f := range x.Extra {
		if e.Extra == nil {
			e.Extra = make(map[string]json.RawMessage, len(x.Extra))
		}
		e.Extra[string(f.Name)] = append(json.RawMessage(nil), f.Value...)
	}
	return nil
}

// Event writes record i of the batch, which is of that stream, into its public form.
func (b *Batch) Event(i int, stream Name, t *Table, e *event.Event) error {
	return b.EventOf(&b.Records[i], stream, t, e)
}

// EventOf writes a record of the batch, which is of that stream, into its public form. Slices of the result are copies.
func (b *Batch) EventOf(r *Record, stream Name, t *Table, e *event.Event) error {
	return r.fill(e, t, stream, b.Data(r), b.Ext(r))
}
