package intake

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/jsontext"
	"github.com/pastcone/pastcone/internal/wire"
)

// ErrMalformed says that a batch is not what a source makes: a fault of the program that sent it.
var ErrMalformed = errors.New("malformed batch")

// The bounds of a batch.
const (
	RecordsMax    = 1 << 20
	ArenaBytesMax = 1 << 30
)

// nameTailMax is one more than the largest decimal tail of a name.
const nameTailMax = 1_000_000_000_000

const (
	nameTailMask = 1<<40 - 1
	sourceFlags  = wire.FlagRoot | wire.FlagEmpty | wire.FlagClosed | wire.FlagTakes | wire.FlagTakesNot | wire.FlagInferred | wire.FlagUnseen
)

// check holds a batch against its bounds, and says whether a payload is too long, or has an unknown field
// whose name sounds like a secret.
//
// Payloads may not overlap more than they fit: the sum of their lengths is at most the arena. So a small
// batch cannot make much work.
func (s *Stage) check(b *wire.Batch, ext *wire.Extension) (odd bool, err error) {
	if len(b.Records) > RecordsMax || len(b.Arena) > ArenaBytesMax {
		return false, fmt.Errorf("%w: %d records, %d bytes of payload: at most %d and %d", ErrMalformed, len(b.Records), len(b.Arena), RecordsMax, ArenaBytesMax)
	}
	texts, places := uint64(len(s.table.Texts())), uint64(len(s.table.Places()))
	validName := func(n wire.Name) bool {
		return uint64(n.Text()) < texts && uint64(n)&nameTailMask <= nameTailMax
	}
	records := 0
	for i, run := range b.Runs {
		if run.Stream == 0 || !validName(run.Stream) || run.Len == 0 || uint64(run.Len) > uint64(len(b.Records)-records) {
			return false, fmt.Errorf("%w: run %d: stream %#x, %d records", ErrMalformed, i, uint64(run.Stream), run.Len)
		}
		records += int(run.Len)
	}
	if records != len(b.Records) {
		return false, fmt.Errorf("%w: runs of %d records, but there are %d", ErrMalformed, records, len(b.Records))
	}
	size := uint64(len(b.Arena))
	left := size
	for i := range b.Records {
		r := &b.Records[i]
		bad := func(what string, value uint64) error {
			return fmt.Errorf("%w: record %d: %s is %d", ErrMalformed, i, what, value)
		}
		dataLen, extLen := uint64(r.DataLen), uint64(r.ExtLen)
		switch {
		case !r.Kind.Valid():
			return false, bad("kind", uint64(r.Kind))
		case r.Seq == 0 || r.Seq > event.SeqMax:
			return false, bad("seq", r.Seq)
		case r.Ordinal > event.SeqMax:
			return false, bad("ordinal", r.Ordinal)
		case r.Flags&^sourceFlags != 0 || r.Flags&wire.FlagTakes != 0 && r.Flags&wire.FlagTakesNot != 0:
			return false, bad("flags", uint64(r.Flags))
		case !validName(r.Key) || !validName(r.Peer) || !validName(r.Child):
			return false, fmt.Errorf("%w: record %d: key %#x, peer %#x, child %#x: not all are in the table", ErrMalformed, i, uint64(r.Key), uint64(r.Peer), uint64(r.Child))
		case uint64(r.Site) >= places:
			return false, bad("site", uint64(r.Site))
		case uint64(r.DataOff)+dataLen > size || uint64(r.ExtOff)+extLen > size || dataLen+extLen > left:
			return false, fmt.Errorf("%w: record %d: payload of %d bytes at %d and %d at %d of %d", ErrMalformed, i, dataLen, r.DataOff, extLen, r.ExtOff, size)
		}
		left -= dataLen + extLen
		odd = odd || dataLen > uint64(s.dataBytesMax) || extLen > uint64(s.dataBytesMax) // #nosec G115 -- not negative
		if dataLen > 0 {
			if data := b.Data(r); data[0] != '{' || data[dataLen-1] != '}' {
				return false, fmt.Errorf("%w: record %d: data is no JSON object", ErrMalformed, i)
			}
		}
		if extLen > 0 {
			if err := checkExt(ext, b.Ext(r)); err != nil {
				return false, fmt.Errorf("%w: record %d: %w", ErrMalformed, i, err)
			}
			for _, x := range ext.Extra {
				odd = odd || s.secretKey(x.Name)
			}
		}
	}
	return odd, nil
}

// checkExt holds the rarer fields of a record against the bounds of an event line, and fills them into e.
func checkExt(e *wire.Extension, ext []byte) error {
	if err := e.Decode(ext); err != nil {
		return err
	}
	if len(e.Message) > event.TextBytesMax || len(e.Ref) > event.TextBytesMax {
		return fmt.Errorf("message or ref is longer than %d bytes", event.TextBytesMax)
	}
	if len(e.Causes) > event.CausesMax {
		return fmt.Errorf("%d causes: at most %d", len(e.Causes), event.CausesMax)
	}
	for _, c := range e.Causes {
		if len(c) > event.TextBytesMax {
			return fmt.Errorf("a cause is longer than %d bytes", event.TextBytesMax)
		}
	}
	for _, x := range e.Extra {
		if len(x.Name) > event.TextBytesMax || len(x.Value) == 0 {
			return fmt.Errorf("an unknown field without a value, or with a name longer than %d bytes", event.TextBytesMax)
		}
	}
	return nil
}

// CheckText holds the texts of a batch, which Process has accepted or will look at, to what the sources of this program
// grant: data is one JSON object without space between its tokens, unknown fields are JSON values, and
// everything is UTF-8. It costs about as much as all of Process, and is for batches of another program.
func CheckText(b *wire.Batch) error {
	var ext wire.Extension
	for i := range b.Records {
		r := &b.Records[i]
		size := uint64(len(b.Arena))
		if uint64(r.DataOff)+uint64(r.DataLen) > size || uint64(r.ExtOff)+uint64(r.ExtLen) > size {
			return fmt.Errorf("%w: record %d: payload beyond the arena", ErrMalformed, i)
		}
		if data := b.Data(r); len(data) > 0 && (data[0] != '{' || !compactJSON(data)) {
			return fmt.Errorf("%w: record %d: data is no JSON object in compact UTF-8", ErrMalformed, i)
		}
		if err := ext.Decode(b.Ext(r)); err != nil {
			return fmt.Errorf("%w: record %d: %w", ErrMalformed, i, err)
		}
		valid := utf8.Valid(ext.Message) && utf8.Valid(ext.Ref)
		for _, c := range ext.Causes {
			valid = valid && utf8.Valid(c)
		}
		for j, x := range ext.Extra {
			valid = valid && utf8.Valid(x.Name) && compactJSON(x.Value)
			if j > 0 && string(ext.Extra[j-1].Name) >= string(x.Name) {
				return fmt.Errorf("%w: record %d: unknown fields are not in order, or one stands twice", ErrMalformed, i)
			}
			if _, known := event.FindField(string(x.Name)); known {
				return fmt.Errorf("%w: record %d: %q is no unknown field", ErrMalformed, i, x.Name)
			}
		}
		if !valid {
			return fmt.Errorf("%w: record %d: a text that is no UTF-8, or an unknown field that is no JSON", ErrMalformed, i)
		}
	}
	return nil
}

func compactJSON(text []byte) bool {
	end, spaced, ok := jsontext.ValueEnd(text, 0, event.DepthMax-1)
	return ok && !spaced && end == len(text) && utf8.Valid(text)
}
