package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/pastcone/pastcone/event"
)

// The encoding of a batch stands alone: it brings the texts and places that it uses, so it can be
// decoded into any table, in any order, and twice.
//
//	batch:   u8      version, 1
//	         uvarint number of texts;   each: uvarint length, bytes (UTF-8)
//	         uvarint number of places;  each: uvarint text of the function, uvarint text of the file, uvarint line
//	         uvarint number of records
//	         uvarint number of runs;    each: name of the stream, uvarint number of records
//	         the records, one after the other
//	         payload: of each record its data, then its rarer fields
//	record:  u8      kind
//	         u8      which of the optional fields follow: the bits of codecHas
//	         varint  time, less that of the record before
//	         varint  seq, less one more than that of the record before in the run
//	         the optional fields: uvarint flags, uvarint place, name of the key, uvarint ordinal,
//	         name of the peer, name of the child, uvarint length of the data, uvarint length of the
//	         rarer fields
//	name:    uvarint text, uvarint tail (one more than the number behind the text, 0 for none)
//
// A text or place is a number from 1 in the lists of this batch; 0 is none. Before the first record the
// time is 0, as is the seq before each run.
const codecVersion = 1

// The bounds of an encoded batch.
const (
	// BatchRecordsMax is the most records that an encoded batch holds.
	BatchRecordsMax = 1 << 16

	recordBytesMin = 4
	runBytesMin    = 3
	placeBytesMin  = 3
)

const (
	hasFlags = 1 << iota
	hasPlace
	hasKey
	hasOrdinal
	hasPeer
	hasChild
	hasData
	hasExt
)

// sourceFlags are those that a source may set.
const sourceFlags = FlagRoot | FlagEmpty | FlagClosed | FlagTakes | FlagTakesNot | FlagInferred

// ErrBatchTooLarge says that a batch has more records than its encoding holds.
var ErrBatchTooLarge = errors.New("the batch is too large")

// encoder numbers the texts and places of one batch.
type encoder struct {
	table  *Table
	texts  map[Text]uint64
	places map[Site]uint64

	textList  []Text
	placeList []Site
	records   []byte
}

var encoders = sync.Pool{New: func() any {
	return &encoder{texts: map[Text]uint64{}, places: map[Site]uint64{}}
}}

func (e *encoder) text(id Text) uint64 {
	if id == 0 {
		return 0
	}
	n, ok := e.texts[id]
	if !ok {
		e.textList = append(e.textList, id)
		n = uint64(len(e.textList))
		e.texts[id] = n
	}
	return n
}

func (e *encoder) place(id Site) uint64 {
	if id == 0 {
		return 0
	}
	n, ok := e.places[id]
	if !ok {
		e.placeList = append(e.placeList, id)
		n = uint64(len(e.placeList))
		e.places[id] = n
	}
	return n
}

func (e *encoder) appendName(dst []byte, n Name) []byte {
	dst = binary.AppendUvarint(dst, e.text(n.Text()))
	return binary.AppendUvarint(dst, uint64(n&nameTailMask))
}

// AppendBatch appends the encoding of a batch whose names are in t. Source, Arrived and Done are not
// part of it. It fails only with ErrBatchTooLarge.
func AppendBatch(dst []byte, t *Table, b *Batch) ([]byte, error) {
	if len(b.Records) > BatchRecordsMax {
		return dst, fmt.Errorf("%w: %d records, at most %d", ErrBatchTooLarge, len(b.Records), BatchRecordsMax)
	}
	e := encoders.Get().(*encoder)
	defer func() {
		clear(e.texts)
		clear(e.places)
		*e = encoder{texts: e.texts, places: e.places, textList: e.textList[:0], placeList: e.placeList[:0], records: e.records[:0]}
		encoders.Put(e)
	}()
	e.table = t
	// The lists of texts and places come first, but only the records tell what is in them.
	payload := e.appendRecords(b)
	for i := 0; i < len(e.placeList); i++ {
		p := t.PlaceOf(e.placeList[i])
		e.text(p.Func)
		e.text(p.File)
	}
	dst = append(dst, codecVersion)
	dst = binary.AppendUvarint(dst, uint64(len(e.textList)))
	for _, id := range e.textList {
		text := t.TextOf(id)
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		dst = append(dst, text...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.placeList)))
	for _, id := range e.placeList {
		p := t.PlaceOf(id)
		dst = binary.AppendUvarint(dst, e.text(p.Func))
		dst = binary.AppendUvarint(dst, e.text(p.File))
		dst = binary.AppendUvarint(dst, uint64(p.Line))
	}
	dst = append(dst, e.records...)
	if payload == 0 {
		return dst, nil
	}
	for i := range b.Records {
		dst = append(dst, b.Data(&b.Records[i])...)
		dst = append(dst, b.Ext(&b.Records[i])...)
	}
	return dst, nil
}

// appendRecords encodes runs and records, and gives the length of the payload.
func (e *encoder) appendRecords(b *Batch) (payload int) {
	p := binary.AppendUvarint(e.records[:0], uint64(len(b.Records)))
	p = binary.AppendUvarint(p, uint64(len(b.Runs)))
	for _, run := range b.Runs {
		p = e.appendName(p, run.Stream)
		p = binary.AppendUvarint(p, uint64(run.Len))
	}
	var time int64
	next := 0
	for _, run := range b.Runs {
		var seq uint64
		for ; run.Len > 0; run.Len-- {
			r := &b.Records[next]
			next++
			p = append(p, byte(r.Kind), has(r))
			p = binary.AppendVarint(p, r.Time-time)
			p = binary.AppendVarint(p, int64(r.Seq-seq-1)) // #nosec G115 -- wraps around, and back when decoded
			time, seq = r.Time, r.Seq
			if r.Flags != 0 {
				p = binary.AppendUvarint(p, uint64(r.Flags))
			}
			if r.Site != 0 {
				p = binary.AppendUvarint(p, e.place(r.Site))
			}
			if r.Key != 0 {
				p = e.appendName(p, r.Key)
			}
			if r.Ordinal != 0 {
				p = binary.AppendUvarint(p, r.Ordinal)
			}
			if r.Peer != 0 {
				p = e.appendName(p, r.Peer)
			}
			if r.Child != 0 {
				p = e.appendName(p, r.Child)
			}
			if r.DataLen != 0 {
				p = binary.AppendUvarint(p, uint64(r.DataLen))
			}
			if r.ExtLen != 0 {
				p = binary.AppendUvarint(p, uint64(r.ExtLen))
			}
			payload += int(r.DataLen) + int(r.ExtLen)
		}
	}
	e.records = p
	return payload
}

func has(r *Record) (h byte) {
	for i, is := range [...]bool{r.Flags != 0, r.Site != 0, r.Key != 0, r.Ordinal != 0, r.Peer != 0, r.Child != 0, r.DataLen != 0, r.ExtLen != 0} {
		if is {
			h |= 1 << i
		}
	}
	return h
}

// batchDecoder reads an encoded batch. The first thing that is wrong ends it; what is left then reads
// as zero.
type batchDecoder struct {
	p     []byte
	whole int
	err   error

	table  *Table
	texts  []Text
	tails  []string // texts that end in a digit, "" for the others: see name
	places []Site
}

func (d *batchDecoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("batch: byte %d: %s: %w", d.whole-len(d.p), fmt.Sprintf(format, args...), ErrCorrupt)
	}
	d.p = nil
}

func (d *batchDecoder) byte() byte {
	if len(d.p) == 0 {
		d.fail("ends early")
		return 0
	}
	b := d.p[0]
	d.p = d.p[1:]
	return b
}

func (d *batchDecoder) uvarint() uint64 {
	if len(d.p) > 0 && d.p[0] < 0x80 {
		n := uint64(d.p[0])
		d.p = d.p[1:]
		return n
	}
	n, width := binary.Uvarint(d.p)
	if width <= 0 {
		d.fail("no number")
		return 0
	}
	d.p = d.p[width:]
	return n
}

func (d *batchDecoder) varint() int64 {
	n := d.uvarint()
	return int64(n>>1) ^ -int64(n&1) // #nosec G115 -- zigzag
}

// upTo reads a number that is at most high.
func (d *batchDecoder) upTo(high uint64, what string) uint64 {
	n := d.uvarint()
	if n > high {
		d.fail("%s is %d, at most %d", what, n, high)
		return 0
	}
	return n
}

// count reads the number of things that take at least bytesMin bytes each: no more can follow than
// there is room for, so what is allocated for them is bounded by the length of the encoding.
func (d *batchDecoder) count(bytesMin int, what string) int {
	return int(d.upTo(uint64(len(d.p)/bytesMin), what)) // #nosec G115 -- at most a length
}

// name reads a name. Each name has one form only: where the text ends in a digit, which no encoder of
// this package writes but for leading zeros and very long numbers, it is split again.
func (d *batchDecoder) name(what string) Name {
	n := d.upTo(uint64(len(d.texts)), what)
	tail := d.upTo(tailMax, "the number of a name")
	if d.err != nil {
		return 0
	}
	if n == 0 {
		return MakeName(0, tail)
	}
	text := d.tails[n-1]
	if text == "" {
		return MakeName(d.texts[n-1], tail)
	}
	if tail > 0 {
		text += fmt.Sprint(tail - 1)
	}
	name, err := d.table.Name(text)
	if err != nil && d.err == nil {
		d.err = err
	}
	return name
}

// tailMax is one more than the largest number behind the text of a name.
const tailMax = 1_000_000_000_000

// DecodeBatch decodes a batch into b, in place of what was there, and interns its names in t. What
// comes from another program is taken for hostile: every number is checked before it is used, and
// nothing is allocated beyond a small multiple of the encoding's length. Payload is held against its
// bounds, not read.
//
// It fails with ErrCorrupt, then b is empty, and texts of the batch may be in the table all the same;
// or with ErrTableFull.
func DecodeBatch(p []byte, t *Table, b *Batch) error {
	b.Reset()
	d := batchDecoder{p: p, whole: len(p), table: t}
	if v := d.byte(); v != codecVersion && d.err == nil {
		d.fail("version %d, this program knows %d", v, codecVersion)
	}
	d.lists()
	d.records(b)
	if d.err != nil {
		b.Reset()
	}
	return d.err
}

// lists reads the texts and places.
func (d *batchDecoder) lists() {
	n := d.count(1, "the number of texts")
	d.texts, d.tails = make([]Text, 0, n), make([]string, 0, n)
	for ; n > 0 && d.err == nil; n-- {
		length := d.upTo(event.TextBytesMax, "the length of a text")
		if length > uint64(len(d.p)) {
			d.fail("ends within a text")
			return
		}
		text := d.p[:length]
		if length == 0 || !utf8.Valid(text) {
			d.fail("text %d is empty or not UTF-8", len(d.texts)+1)
			return
		}
		d.p = d.p[length:]
		id, err := d.table.InternBytes(text)
		if err != nil {
			d.err, d.p = err, nil
			return
		}
		d.texts = append(d.texts, id)
		tail := ""
		if c := text[length-1]; '0' <= c && c <= '9' {
			tail = string(text)
		}
		d.tails = append(d.tails, tail)
	}
	n = d.count(placeBytesMin, "the number of places")
	d.places = make([]Site, 0, n)
	for ; n > 0 && d.err == nil; n-- {
		var p Place
		for _, to := range []*Text{&p.Func, &p.File} {
			if i := d.upTo(uint64(len(d.texts)), "the text of a place"); i > 0 {
				*to = d.texts[i-1]
			}
		}
		p.Line = uint32(d.upTo(1<<32-1, "a line")) // #nosec G115 -- checked
		if d.err != nil {
			return
		}
		site, err := d.table.Site(p)
		if err != nil {
			d.err, d.p = err, nil
			return
		}
		d.places = append(d.places, site)
	}
}

// records reads runs, records and payload.
func (d *batchDecoder) records(b *Batch) {
	n := d.count(recordBytesMin, "the number of records")
	if n > BatchRecordsMax {
		d.fail("%d records, at most %d", n, BatchRecordsMax)
		return
	}
	runs := d.count(runBytesMin, "the number of runs")
	if d.err != nil {
		return
	}
	if runs > n {
		d.fail("%d runs of %d records", runs, n)
		return
	}
	if cap(b.Records) < n {
		b.Records = make([]Record, 0, n)
	}
	left := n
	for ; runs > 0 && d.err == nil; runs-- {
		run := Run{Stream: d.name("a stream"), Len: uint32(d.upTo(uint64(left), "the length of a run"))} // #nosec G115 -- checked
		if d.err == nil && (run.Stream == 0 || run.Len == 0) {
			d.fail("a run without a stream, or without records")
		}
		left -= int(run.Len)
		b.Runs = append(b.Runs, run)
	}
	if d.err == nil && left != 0 {
		d.fail("%d records are in no run", left)
	}
	payload := 0
	var time int64
	for _, run := range b.Runs {
		var seq uint64
		for ; run.Len > 0 && d.err == nil; run.Len-- {
			r := Record{}
			d.record(&r, &time, &seq, &payload)
			b.Records = append(b.Records, r)
		}
	}
	if d.err == nil && payload != len(d.p) {
		d.fail("%d bytes of payload, its records have %d", len(d.p), payload)
	}
	if d.err == nil {
		b.Arena = append(b.Arena, d.p...)
	}
}

// record reads one record. payload is the length of what those before it have.
func (d *batchDecoder) record(r *Record, time *int64, seq *uint64, payload *int) {
	r.Kind = event.Kind(d.byte())
	if d.err == nil && (!r.Kind.Valid() || r.Kind == event.KindGap) {
		d.fail("%s: no kind that a source may send", r.Kind)
	}
	has := d.byte()
	*time += d.varint()
	*seq += 1 + uint64(d.varint()) // #nosec G115 -- wraps around, as it did when encoded
	r.Time, r.Seq = *time, *seq
	if d.err == nil && (r.Seq == 0 || r.Seq > event.SeqMax) {
		d.fail("seq is %d, it is from 1 to %d", r.Seq, int64(event.SeqMax))
	}
	if has&hasFlags != 0 {
		r.Flags = Flags(d.upTo(uint64(sourceFlags), "flags")) // #nosec G115 -- checked
		if r.Flags&^sourceFlags != 0 || r.Flags&FlagTakes != 0 && r.Flags&FlagTakesNot != 0 {
			d.fail("flags %#x", r.Flags)
		}
	}
	if has&hasPlace != 0 {
		if i := d.upTo(uint64(len(d.places)), "a place"); i > 0 {
			r.Site = d.places[i-1]
		}
	}
	if has&hasKey != 0 {
		r.Key = d.name("a key")
	}
	if has&hasOrdinal != 0 {
		r.Ordinal = d.upTo(event.SeqMax, "an ordinal")
	}
	if has&hasPeer != 0 {
		r.Peer = d.name("a peer")
	}
	if has&hasChild != 0 {
		r.Child = d.name("a child")
	}
	for _, f := range [...]struct {
		bit         byte
		off, length *uint32
	}{{hasData, &r.DataOff, &r.DataLen}, {hasExt, &r.ExtOff, &r.ExtLen}} {
		if has&f.bit == 0 {
			continue
		}
		n := d.count(1, "the length of a payload")
		if n > 0 {
			*f.off, *f.length = uint32(*payload), uint32(n) // #nosec G115 -- checked against what follows
		}
		if *payload += n; *payload > len(d.p) {
			d.fail("%d bytes of payload do not follow", *payload)
		}
	}
}
