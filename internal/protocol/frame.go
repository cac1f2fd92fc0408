package protocol

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Version is that of the protocol. A server takes a client of any version from 1 to its own.
//
//	2: a hello has flags; the frame hurry; the code ended
//	3: what became of the events, in ended
//	4: a hello has a token; the code not allowed
const Version = 4

// The bounds of frames.
const (
	// FrameBytesMax is the longest frame that a server of this version takes, kind and payload together.
	FrameBytesMax = 4 << 20
	// AnswerBytesMax is the longest frame that a client takes.
	AnswerBytesMax = 16 << 20

	frameHeadBytes = 4
	frameTailBytes = 4
)

// Kind says what a frame is. Those of a client are below 16, those of a server from there on.
type Kind uint8

// The kinds of frames.
const (
	KindHello  Kind = 1
	KindBatch  Kind = 2
	KindLines  Kind = 3
	KindEnd    Kind = 4
	KindQuery  Kind = 5
	KindCancel Kind = 6
	KindHurry  Kind = 7 // since version 2

	KindWelcome   Kind = 16
	KindAck       Kind = 17
	KindRefused   Kind = 18
	KindEnded     Kind = 19
	KindAnswer    Kind = 20
	KindAnswerEnd Kind = 21
)

var kindNames = map[Kind]string{
	KindHello: "hello", KindBatch: "batch", KindLines: "lines", KindEnd: "end", KindQuery: "query", KindCancel: "cancel", KindHurry: "hurry",
	KindWelcome: "welcome", KindAck: "ack", KindRefused: "refused", KindEnded: "ended", KindAnswer: "answer", KindAnswerEnd: "answer end",
}

// String gives the name of the kind.
func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Errors of frames.
var (
	// ErrTooLarge says that a frame is longer than is allowed.
	ErrTooLarge = errors.New("frame too large")
	// ErrMalformed says that bytes are not what the protocol says.
	ErrMalformed = errors.New("malformed")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// BeginFrame appends the head of a frame. Append the payload, then call EndFrame with the same start,
// the length of dst before.
func BeginFrame(dst []byte, k Kind) []byte {
	return append(dst, 0, 0, 0, 0, byte(k))
}

// EndFrame fills in the length of the frame that begins at start, and appends its checksum.
func EndFrame(dst []byte, start int) []byte {
	body := dst[start+frameHeadBytes:]
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(body))) // #nosec G115 -- frames are bounded far below
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(body, castagnoli))
}

// AppendFrame appends a whole frame.
func AppendFrame(dst []byte, k Kind, payload []byte) []byte {
	start := len(dst)
	return EndFrame(append(BeginFrame(dst, k), payload...), start)
}

// Reader reads frames.
type Reader struct {
	in     *bufio.Reader
	buffer []byte
	// BytesMax is the longest frame that is taken.
	BytesMax int
	// Begun, if set, is called when the first byte of a frame is there: from then on the rest of it
	// is due.
	Begun func()
}

// NewReader makes a reader that refuses frames longer than bytesMax.
func NewReader(in io.Reader, bytesMax int) *Reader {
	return &Reader{in: bufio.NewReaderSize(in, 64<<10), BytesMax: bytesMax}
}

// growBytes is how much is allocated for a frame before any of it has come, and the least that its
// buffer grows by: a length that promises much costs nothing until it is kept.
const growBytes = 64 << 10

// Next gives the next frame. The payload is good until the next call. io.EOF means that there are no
// more; an end within a frame is io.ErrUnexpectedEOF.
func (r *Reader) Next() (Kind, []byte, error) {
	if _, err := r.in.Peek(1); err != nil {
		return 0, nil, err // io.EOF if that is all
	}
	if r.Begun != nil {
		r.Begun()
	}
	var head [frameHeadBytes]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return 0, nil, unexpected(err)
	}
	length := binary.LittleEndian.Uint32(head[:])
	if length == 0 {
		return 0, nil, fmt.Errorf("%w: a frame without a kind", ErrMalformed)
	}
	if uint64(length) > uint64(r.BytesMax) { // #nosec G115 -- not negative
		return 0, nil, fmt.Errorf("%w: %d bytes, at most %d are taken", ErrTooLarge, length, r.BytesMax)
	}
	want := int(length) + frameTailBytes
	have := 0
	for have < want {
		if have == cap(r.buffer) {
			grown := make([]byte, min(want, max(growBytes, 2*have)))
			copy(grown, r.buffer[:have])
			r.buffer = grown
		}
		r.buffer = r.buffer[:min(want, cap(r.buffer))]
		n, err := io.ReadFull(r.in, r.buffer[have:])
		have += n
		if err != nil {
			return 0, nil, unexpected(err)
		}
	}
	body, sum := r.buffer[:length], binary.LittleEndian.Uint32(r.buffer[length:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return 0, nil, fmt.Errorf("%w: the checksum of a frame of %d bytes is %08x, it says %08x", ErrMalformed, length, got, sum)
	}
	return Kind(body[0]), body[1:], nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
