package capture

import (
	"encoding/binary"
	"encoding/json"
	"strings"

	"github.com/pastcone/pastcone/internal/capture"
)

// maker makes a capture file by hand, record by record.
type maker struct {
	file    []byte
	records []byte
	order   uint64
	p       uint32
	ticks   uint64
}

// value is a value of a record.
type value struct {
	kind uint8
	bits uint64
	s    string
}

const (
	madeStart = 1_000_000 // ticks
	madeUnix  = 1_700_000_000_000_000_000
	madeText  = 1 << 20
)

// newMaker begins a file of a program whose clock ticks once a nanosecond.
func newMaker() *maker {
	m := &maker{file: appendFileHeader(nil), ticks: madeStart}
	m.json(frameStart, start{Policy: "block", Clock: capture.ClockNanos, TextBytes: madeText, StartTicks: madeStart, StartUnix: madeUnix,
		Ticks: 2 * madeStart, Unix: madeUnix + madeStart, Process: 7})
	return m
}

func (m *maker) frame(kind uint8, content []byte) {
	from := len(m.file)
	m.file = endFrame(append(beginFrame(m.file), content...), from, kind)
}

func (m *maker) json(kind uint8, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	m.frame(kind, text)
}

func (m *maker) functions(lines ...string) {
	m.frame(frameFunctions, []byte(strings.Join(lines, "\n")+"\n"))
}

func (m *maker) place(pc uint32, entry bool, function, file string, line uint32) {
	m.frame(framePlaces, appendLocation(nil, counterOf(pc, entry), &location{function, file, line}))
}

// word appends words of a record.
func (m *maker) word(w0, w1, w2, w3 uint64) {
	for _, w := range [...]uint64{w0, w1, w2, w3} {
		m.records = binary.LittleEndian.AppendUint64(m.records, w)
	}
}

// record adds a record, a microsecond behind the one before.
func (m *maker) record(kind uint8, stream, seq uint64, a, b uint32, c uint64, values ...value) {
	m.ticks += 1000
	m.word(m.ticks, uint64(kind)|seq&0xffff<<8|stream<<24, uint64(a)|uint64(b)<<32, c)
	for i, v := range values {
		w1 := uint64(capture.KindValue) | uint64(v.kind)<<8 | uint64(i)<<16 | uint64(len(values)-1-i)<<24
		if v.s == "" {
			m.word(v.bits, w1, 0, 0)
			continue
		}
		w1 |= uint64(len(v.s)) << 32
		for left := []byte(v.s[:min(len(v.s), capture.TextBytesMax)]); len(left) > 0; w1 = capture.KindText {
			var part [textPart]byte
			left = left[copy(part[:], left):]
			le := binary.LittleEndian
			m.word(le.Uint64(part[:]), w1, le.Uint64(part[8:]), le.Uint64(part[16:]))
		}
	}
}

// chunk ends a frame of records.
func (m *maker) chunk() {
	if len(m.records) == 0 {
		return
	}
	m.order++
	head := binary.LittleEndian.AppendUint64(nil, m.order)
	head = binary.LittleEndian.AppendUint32(head, m.p)
	head = binary.LittleEndian.AppendUint32(head, 0)
	m.frame(frameChunk, append(head, m.records...))
	m.records = m.records[:0]
}

// passed ends a pass, a millisecond behind.
func (m *maker) passed(c counts) {
	m.chunk()
	m.ticks += 1_000_000
	p := pass{watermark: m.ticks, clockReading: clockReading{m.ticks, madeUnix + int64(m.ticks) - madeStart}, counts: c}
	m.frame(framePass, p.append(nil))
}

func (m *maker) end() []byte {
	m.passed(counts{})
	m.json(frameEnd, ending{How: "exit", ExitCode: 3})
	return m.file
}

// lines gives events as lines, without what is the same in all.
func lines(k *kept) (all []string) {
	for i := range k.events {
		e := k.events[i]
		line := lineOf(&e)
		all = append(all, line)
	}
	return all
}
