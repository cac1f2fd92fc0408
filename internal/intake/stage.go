package intake

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pastcone/pastcone/internal/wire"
)

// Redacted is what stands in the place of a secret.
const Redacted = "[redacted]"

// The bounds of a payload.
const (
	DataBytesMaxDefault = 16 << 10
	DataBytesMaxLow     = 256
	DataBytesMaxHigh    = 16 << 20
)

// DefaultRedactKeys are the patterns of keys that sound like a secret. They match anywhere in a key,
// whatever its case.
var DefaultRedactKeys = []string{
	`pass[-_. ]?(word|wd|phrase|code)`, `^pwd$`, `secret`, `token`, `credential`,
	`api[-_. ]?key`, `(access|private|signing|encryption)[-_. ]?key`,
	`authorization`, `^auth$`, `cookie`, `session[-_. ]?id`,
	`(^|[^sde])card([^i]|$)`, // not discard, wildcard, cardinality
	`^(cvv|cvc|pin|ssn|iban)2?$`,
}

// Options say what to look for. The zero Options have the defaults.
type Options struct {
	Table        *wire.Table // the table of the batches; required
	RedactKeys   []string    // regular expressions; nil: DefaultRedactKeys; empty: none
	KeepValues   bool        // do not look for secrets in values
	DataBytesMax int         // a longer payload is cut; 0: DataBytesMaxDefault
}

// Stage works on batches. Its methods are safe for concurrent use.
type Stage struct {
	table        *wire.Table
	keys         *regexp.Regexp // nil: none
	values       bool
	dataBytesMax int

	short   [verdictSlots]atomic.Uint64
	long    [verdictSlots]atomic.Pointer[verdict]
	scratch sync.Pool // of *rewriter

	batches, events, redacted, shortened, cutBytes, refused atomic.Int64
}

// Stats counts what a Stage did.
type Stats struct {
	Batches   int64
	Events    int64
	Redacted  int64 // values that were taken out
	Shortened int64 // events whose payload was cut
	CutBytes  int64 // by how much in all
	Refused   int64 // batches that were out of bounds
}

// New makes a Stage. It fails on a pattern that is no regular expression, and on a bound out of bounds.
func New(o Options) (*Stage, error) {
	if o.Table == nil {
		return nil, errors.New("intake: no string table")
	}
	if o.DataBytesMax == 0 {
		o.DataBytesMax = DataBytesMaxDefault
	}
	if o.DataBytesMax < DataBytesMaxLow || o.DataBytesMax > DataBytesMaxHigh {
		return nil, fmt.Errorf("intake: the bound of a payload is %d bytes: it must be from %d to %d", o.DataBytesMax, DataBytesMaxLow, DataBytesMaxHigh)
	}
	if o.RedactKeys == nil {
		o.RedactKeys = DefaultRedactKeys
	}
	s := &Stage{table: o.Table, values: !o.KeepValues, dataBytesMax: o.DataBytesMax}
	for _, pattern := range o.RedactKeys {
		if _, err := regexp.Compile(pattern); err != nil {
			return nil, fmt.Errorf("intake: the key pattern %q: %w", pattern, err)
		}
	}
	if len(o.RedactKeys) > 0 {
		s.keys = regexp.MustCompile("(?i)(?:" + strings.Join(o.RedactKeys, ")|(?:") + ")")
	}
	s.scratch.New = func() any { return &rewriter{stage: s} }
	return s, nil
}

// Process checks a batch, takes secrets out of it and cuts payloads that are too long. It fails with
// ErrMalformed, and then has changed nothing. The batch's arena may be another one afterwards.
func (s *Stage) Process(b *wire.Batch) error {
	w := s.scratch.Get().(*rewriter)
	defer s.scratch.Put(w)
	odd, err := s.check(b, &w.ext)
	if err != nil {
		s.refused.Add(1)
		return err
	}
	s.batches.Add(1)
	s.events.Add(int64(b.Len()))
	if odd || s.suspicious(b.Arena) {
		s.rewrite(w, b)
	}
	return nil
}

// rewrite gives the batch a new arena, with what may be kept. The old one, with what may not, is left
// to the garbage collector; nobody else has it.
func (s *Stage) rewrite(w *rewriter, b *wire.Batch) {
	arena := make([]byte, 0, len(b.Arena)+len(b.Arena)/8)
	for i := range b.Records {
		r := &b.Records[i]
		data, ext := b.Data(r), b.Ext(r)
		arena, r.DataOff, r.DataLen = w.appendData(arena, data)
		arena, r.ExtOff, r.ExtLen = w.appendExt(arena, ext)
	}
	b.Arena = arena
	s.redacted.Add(w.redacted)
	s.shortened.Add(w.shortened)
	s.cutBytes.Add(w.cutBytes)
	w.redacted, w.shortened, w.cutBytes = 0, 0, 0
}

// RedactText gives text without the secrets that Process would find in it, for text that is no event: a
// line that could not be read. What is between quotes and what is not cannot be told in such a line, so whatever
// follows a key that sounds like a secret is left out. It gives text itself back if there is nothing.
func (s *Stage) RedactText(text []byte) []byte {
	found := int64(0)
	for i := 0; i < len(text); i++ {
		if text[i] != '"' || !s.secretKeyEnds(text, i) {
			continue
		}
		value := spaceAll(text, spaceAll(text, i+1)+1)
		out := append(bytes.Clone(text[:value]), redactedJSON...)
		i = len(out) - 1
		text = append(out, text[looseValueEnd(text, value):]...)
		found++
	}
	if s.values {
		out, inText := s.appendScrubbed(nil, text)
		if found += inText; inText > 0 {
			text = out
		}
	}
	s.redacted.Add(found)
	return text
}

// Stats gives the counts so far.
func (s *Stage) Stats() Stats {
	return Stats{
		Batches: s.batches.Load(), Events: s.events.Load(), Redacted: s.redacted.Load(),
		Shortened: s.shortened.Load(), CutBytes: s.cutBytes.Load(), Refused: s.refused.Load(),
	}
}
