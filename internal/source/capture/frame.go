package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A capture file is a header and frames. Each frame begins at a multiple of 8, with a mark and a header that has a checksum of
// its own: so whoever meets a damaged frame finds the next one.

// Magic begins a capture file.
const Magic = "PCCAPTR\n"

// FileVersion is the version of the capture file's format.
const FileVersion = 1

const (
	fileHeaderBytes  = 16
	frameHeaderBytes = 24
	frameMark        = 0x52464350 // "PCFR"
	frameAlign       = 8
	frameBytesMax    = 1 << 20 // of a frame's content, stored or raw
)

// The kinds of frames. The numbers are part of the format.
const (
	frameStart     = 1 // what the program is; JSON
	frameFunctions = 2 // lines of the table of functions
	framePlaces    = 3 // what program counters mean
	frameChunk     = 4 // records
	framePass      = 5 // the end of a pass: watermark, clocks, counts
	frameSilence   = 6 // what silent functions did
	frameEnd       = 7 // how it ended; JSON
	frameKinds     = 8
)

// How the content of a frame is stored.
const (
	codecRaw    = 0
	codecPacked = 1 // records: see pack.go
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendFileHeader(dst []byte) []byte {
	dst = append(dst, Magic...)
	dst = binary.LittleEndian.AppendUint32(dst, FileVersion)
	return binary.LittleEndian.AppendUint32(dst, 0)
}

// frameHeader is the header of a frame.
type frameHeader struct {
	kind, codec uint8
	stored, raw uint32 // bytes
	sum         uint32
}

func (h *frameHeader) put(to []byte) {
	binary.LittleEndian.PutUint32(to, frameMark)
	to[4], to[5], to[6], to[7] = h.kind, h.codec, 0, 0
	binary.LittleEndian.PutUint32(to[8:], h.stored)
	binary.LittleEndian.PutUint32(to[12:], h.raw)
	binary.LittleEndian.PutUint32(to[16:], h.sum)
	binary.LittleEndian.PutUint32(to[20:], crc32.Checksum(to[:20], castagnoli))
}

// get reads a header. It is false if there is none: not the mark, a wrong checksum, or beyond the bounds.
func (h *frameHeader) get(from []byte) bool {
	if binary.LittleEndian.Uint32(from) != frameMark ||
		binary.LittleEndian.Uint32(from[20:]) != crc32.Checksum(from[:20], castagnoli) {
		return false
	}
	h.kind, h.codec = from[4], from[5]
	h.stored = binary.LittleEndian.Uint32(from[8:])
	h.raw = binary.LittleEndian.Uint32(from[12:])
	h.sum = binary.LittleEndian.Uint32(from[16:])
	return h.stored <= frameBytesMax && h.raw <= frameBytesMax
}

func padded(n int) int { return (n + frameAlign - 1) &^ (frameAlign - 1) }

// beginFrame makes room for a header. The content is appended behind it; endFrame completes the frame.
func beginFrame(dst []byte) []byte {
	var none [frameHeaderBytes]byte
	return append(dst, none[:]...)
}

// endFrame completes the frame that began at from: its header, and zeros up to the next multiple of 8.
func endFrame(dst []byte, from int, kind uint8) []byte {
	content := dst[from+frameHeaderBytes:]
	n := uint32(len(content)) // #nosec G115 -- at most frameBytesMax
	h := frameHeader{kind: kind, codec: codecRaw, stored: n, raw: n, sum: crc32.Checksum(content, castagnoli)}
	h.put(dst[from:])
	return pad(dst, from)
}

func pad(dst []byte, from int) []byte {
	var zeros [frameAlign]byte
	return append(dst, zeros[:padded(len(dst)-from)-(len(dst)-from)]...)
}

// frame is one frame that was read. Its content is the reader's until the next one is read.
type frame struct {
	kind, codec uint8
	offset      int64 // of its content in the file
	raw         int   // bytes of the content before it was packed
	content     []byte
}

// damage is a place in the file that can not be read.
type damage struct {
	offset int64
	bytes  int64
	raw    []byte
	reason string
	torn   bool // the file ends in it
}

// The errors of a file that can not be read at all.
var (
	// ErrNoCapture says that the input is no capture file.
	ErrNoCapture = errors.New("no capture file")
	// ErrVersion says that the file's format is newer than this reader.
	ErrVersion = errors.New("format version not supported")
)

const (
	readBufferBytes = 128 << 10 // grows for a frame that is longer
	damageRawBytes  = 256       // of what is shown of a damaged place
)

// frames reads the frames of a file, one by one.
type frames struct {
	in     io.Reader
	buffer []byte
	from   int   // of buffer: what has not been used begins here
	offset int64 // of that in the file
	err    error // of in
}

// openFrames checks the file's header.
func openFrames(in io.Reader) (*frames, error) {
	f := &frames{in: in, buffer: make([]byte, 0, readBufferBytes)}
	head := f.peek(fileHeaderBytes)
	if f.err != nil && !errors.Is(f.err, io.EOF) {
		return nil, f.err
	}
	if len(head) < len(Magic) || string(head[:len(Magic)]) != Magic {
		return nil, fmt.Errorf("%w: it begins with %q, a capture file begins with %q", ErrNoCapture, head[:min(len(head), len(Magic))], Magic)
	}
	if len(head) == fileHeaderBytes {
		if v := binary.LittleEndian.Uint32(head[len(Magic):]); v != FileVersion {
			return nil, fmt.Errorf("%w: it has version %d, this Pastcone reads version %d: update Pastcone", ErrVersion, v, FileVersion)
		}
	}
	f.skip(len(head))
	return f, nil
}

// peek gives the next n bytes without using them; fewer where the input ends.
func (f *frames) peek(n int) []byte {
	for empty := 0; len(f.buffer)-f.from < n && f.err == nil; {
		if cap(f.buffer)-f.from < n {
			to := f.buffer[:cap(f.buffer)]
			if len(to) < n {
				to = make([]byte, 2*n)
			}
			f.buffer = to[:copy(to, f.buffer[f.from:])]
			f.from = 0
		}
		k, err := f.in.Read(f.buffer[len(f.buffer):cap(f.buffer)])
		f.buffer = f.buffer[:len(f.buffer)+k]
		if f.err = err; k == 0 && err == nil {
			if empty++; empty > 100 {
				f.err = io.ErrNoProgress
			}
		}
	}
	return f.buffer[f.from:min(f.from+n, len(f.buffer))]
}

func (f *frames) skip(n int) {
	f.from += n
	f.offset += int64(n)
	if f.from == len(f.buffer) {
		f.from, f.buffer = 0, f.buffer[:0]
	}
}

// next gives the next frame, or a place that can not be read, or an error: io.EOF at the end.
func (f *frames) next(to *frame) (*damage, error) {
	var h frameHeader
	head := f.peek(frameHeaderBytes)
	switch {
	case len(head) == 0:
		return nil, f.err
	case len(head) < frameHeaderBytes:
		return f.rest(head)
	case !h.get(head):
		return f.resync()
	}
	size := frameHeaderBytes + padded(int(h.stored))
	all := f.peek(size)
	if len(all) < frameHeaderBytes+int(h.stored) {
		return f.rest(all)
	}
	content := all[frameHeaderBytes : frameHeaderBytes+int(h.stored)]
	*to = frame{kind: h.kind, codec: h.codec, offset: f.offset + frameHeaderBytes, raw: int(h.raw), content: content}
	var reason string
	switch {
	case crc32.Checksum(content, castagnoli) != h.sum:
		reason = "the content of a frame has the wrong checksum: it was changed after it was written; what it held is missing"
	case h.kind == 0 || h.kind >= frameKinds:
		reason = fmt.Sprintf("a frame of the unknown kind %d: a newer Pastcone wrote it", h.kind)
	case h.codec == codecRaw && h.raw != h.stored, h.codec == codecPacked && h.kind != frameChunk, h.codec > codecPacked:
		reason = fmt.Sprintf("a frame of kind %d stored as %d with %d bytes of %d: its writer was not Pastcone", h.kind, h.codec, h.stored, h.raw)
	}
	d := damage{offset: f.offset, bytes: int64(size), reason: reason}
	if reason != "" {
		d.raw = append(d.raw, all[:min(len(all), damageRawBytes)]...)
	}
	f.skip(len(all))
	if reason != "" {
		return &d, nil
	}
	return nil, nil
}

// rest is what the file ends with and is not whole.
func (f *frames) rest(left []byte) (*damage, error) {
	if f.err != nil && !errors.Is(f.err, io.EOF) {
		return nil, f.err
	}
	d := &damage{offset: f.offset, bytes: int64(len(left)), torn: true,
		reason: "the file ends in the middle of a frame: its writer was killed, or the disk was full; everything before it is whole",
		raw:    append([]byte(nil), left[:min(len(left), damageRawBytes)]...)}
	f.skip(len(left))
	return d, nil
}

// resync looks for the next frame.
func (f *frames) resync() (*damage, error) {
	d := &damage{offset: f.offset, reason: "no frame begins here: the file was changed after it was written; the next frame that is whole is read on"}
	d.raw = append(d.raw, f.peek(damageRawBytes)...)
	var h frameHeader
	for {
		step := frameAlign - int(f.offset%frameAlign)
		here := f.peek(step)
		f.skip(len(here))
		d.bytes += int64(len(here))
		if len(here) < step {
			if f.err != nil && !errors.Is(f.err, io.EOF) {
				return nil, f.err
			}
			d.torn = true
			return d, nil
		}
		if head := f.peek(frameHeaderBytes); len(head) == frameHeaderBytes && h.get(head) {
			return d, nil
		}
	}
}
