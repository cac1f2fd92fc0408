package capture

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/pastcone/pastcone/event"
)

// start is the content of the first frame: what the program is.
type start struct {
	Policy      string `json:"policy"`
	Clock       uint32 `json:"clock"`
	TextBytes   uint64 `json:"text_bytes"`
	StartTicks  uint64 `json:"start_ticks"`
	StartUnix   int64  `json:"start_unix"`
	Ticks       uint64 `json:"ticks"` // of the program's clock when this was written,
	Unix        int64  `json:"unix"`  // and the time then
	Process     int    `json:"process"`
	Executable  string `json:"executable,omitempty"`
	NoPlaces    string `json:"no_places,omitempty"` // why program counters could not be looked up
	FlightBytes int64  `json:"flight_bytes,omitempty"`
}

// ending is the content of the last frame.
type ending struct {
	How         string `json:"how"` // exit, panic, fatal, killed, never started, left running
	ExitCode    int    `json:"exit_code"`
	Signal      uint32 `json:"signal,omitempty"`
	Incomplete  string `json:"incomplete,omitempty"` // why the recording ended before the program
	Records     uint64 `json:"records"`
	Chunks      uint64 `json:"chunks"`
	Dropped     uint64 `json:"dropped"`
	Overwritten uint64 `json:"overwritten"`
}

// counts are those of the ring.
type counts struct {
	dropped, overwritten, blockedNanos, goroutines, locksForgotten uint64
}

// pass is the content of a frame that ends a pass.
type pass struct {
	watermark uint64 // ticks before the pass
	clockReading
	counts
}

const passBytes = 8 * 8

func (p *pass) append(dst []byte) []byte {
	for _, v := range [...]uint64{p.watermark, p.ticks, uint64(p.unix), p.dropped, p.overwritten, p.blockedNanos, p.goroutines, p.locksForgotten} { // #nosec G115 -- bits
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return dst
}

func (p *pass) get(from []byte) error {
	if len(from) < passBytes {
		return fmt.Errorf("a pass of %d bytes: it has %d", len(from), passBytes)
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(from[8*i:]) }
	*p = pass{word(0), clockReading{word(1), int64(word(2))}, counts{word(3), word(4), word(5), word(6), word(7)}} // #nosec G115 -- bits
	return nil
}

// A chunk frame begins with: order of the chunk (8), P (4), number in the chunk of the first record (4).
const chunkFrameHeader = 16

// silence is one entry of a silence frame: what a function did that was silent.
type silence struct {
	function uint32
	silent   bool // it is silent from now on
	calls    uint64
	ticks    uint64
}

const silenceBytes = 24

func (s *silence) append(dst []byte) []byte {
	var silent uint32
	if s.silent {
		silent = 1
	}
	dst = binary.LittleEndian.AppendUint32(dst, s.function)
	dst = binary.LittleEndian.AppendUint32(dst, silent)
	dst = binary.LittleEndian.AppendUint64(dst, s.calls)
	return binary.LittleEndian.AppendUint64(dst, s.ticks)
}

func (s *silence) get(from []byte) {
	s.function = binary.LittleEndian.Uint32(from)
	s.silent = binary.LittleEndian.Uint32(from[4:]) != 0
	s.calls = binary.LittleEndian.Uint64(from[8:])
	s.ticks = binary.LittleEndian.Uint64(from[16:])
}

// counter is a program counter of a record, and whether it is the entry of a function; else it is a return address.
type counter uint64

func counterOf(pc uint32, entry bool) counter {
	c := counter(pc) << 1
	if entry {
		c |= 1
	}
	return c
}

// location is what a program counter means.
type location struct {
	function, file string
	line           uint32
}

func appendLocation(dst []byte, c counter, l *location) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c))
	dst = binary.LittleEndian.AppendUint32(dst, l.line)
	for _, text := range [...]string{l.function, l.file} {
		text = text[:min(len(text), event.TextBytesMax)]
		dst = binary.LittleEndian.AppendUint16(dst, uint16(len(text))) // #nosec G115 -- at most TextBytesMax
		dst = append(dst, text...)
	}
	return dst
}

const locationBytesMax = 16 + 2*event.TextBytesMax

// cutLocation takes one location off the content of a frame.
func cutLocation(from []byte) (c counter, l location, rest []byte, err error) {
	if len(from) < 12 {
		return 0, l, nil, fmt.Errorf("a place of %d bytes", len(from))
	}
	c, l.line = counter(binary.LittleEndian.Uint64(from)), binary.LittleEndian.Uint32(from[8:])
	rest = from[12:]
	for _, text := range [...]*string{&l.function, &l.file} {
		if len(rest) < 2 {
			return 0, l, nil, fmt.Errorf("a place without texts")
		}
		n := int(binary.LittleEndian.Uint16(rest))
		if rest = rest[2:]; n > len(rest) || n > event.TextBytesMax || !utf8.Valid(rest[:n]) {
			return 0, l, nil, fmt.Errorf("a place whose text of %d bytes is too long, or no UTF-8", n)
		}
		*text, rest = string(rest[:n]), rest[n:]
	}
	return c, l, rest, nil
}

// function is a line of the table of functions. Of a state site, State names what it sets.
type function struct {
	ID    uint32   `json:"id"`
	Func  string   `json:"func"`
	File  string   `json:"file"`
	Line  uint32   `json:"line"`
	Root  bool     `json:"root"`
	State string   `json:"state"`
	Args  []string `json:"args"` // what the arguments are called; "" and "_" are no names
}

func parseFunction(line []byte) (function, error) {
	var f function
	if err := json.Unmarshal(line, &f); err != nil {
		return f, err
	}
	switch {
	case f.ID == 0 || f.ID > FunctionsMax:
		return f, fmt.Errorf("id is %d: it must be from 1 to %d", f.ID, FunctionsMax)
	case len(f.Func) > event.TextBytesMax || len(f.File) > event.TextBytesMax || len(f.State) > event.TextBytesMax:
		return f, fmt.Errorf("a text is longer than %d bytes", event.TextBytesMax)
	case len(f.Args) > valuesMax:
		return f, fmt.Errorf("%d arguments have names: at most %d are recorded", len(f.Args), valuesMax)
	}
	for _, name := range f.Args {
		if len(name) > event.TextBytesMax {
			return f, fmt.Errorf("a text is longer than %d bytes", event.TextBytesMax)
		}
	}
	return f, nil
}
