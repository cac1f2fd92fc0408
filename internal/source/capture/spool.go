package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync/atomic"

	"github.com/klauspost/compress/s2"

	"github.com/pastcone/pastcone/internal/capture"
)

// spoolBufferBytes is what is gathered before it is written.
const spoolBufferBytes = 512 << 10

// spool writes a capture file.
type spool struct {
	file     *os.File
	buffer   []byte
	compress bool
	packed   []byte
	written  atomic.Int64 // bytes in the file, and in the buffer
}

// createSpool makes the file. It does not replace one that is there.
func createSpool(path string, compress bool) (*spool, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // #nosec G304 -- the launcher names it
	if err != nil {
		return nil, fmt.Errorf("capture file: %w", err)
	}
	s := &spool{file: f, compress: compress, buffer: make([]byte, 0, spoolBufferBytes+2*frameBytesMax)}
	s.buffer = appendFileHeader(s.buffer)
	s.written.Store(fileHeaderBytes)
	return s, nil
}

// add appends a frame whose content fill appends.
func (s *spool) add(kind uint8, fill func(dst []byte) []byte) error {
	from := len(s.buffer)
	s.buffer = endFrame(fill(beginFrame(s.buffer)), from, kind)
	return s.grew(from)
}

// addChunk appends a frame of records, and gives them as they are in the frame: whoever looks at them there looks at what was
// stored, whatever the program does to its memory.
func (s *spool) addChunk(order uint64, p, first uint32, records []byte) (kept []byte, err error) {
	from := len(s.buffer)
	dst := beginFrame(s.buffer)
	dst = binary.LittleEndian.AppendUint64(dst, order)
	dst = binary.LittleEndian.AppendUint32(dst, p)
	dst = binary.LittleEndian.AppendUint32(dst, first)
	dst = append(dst, records...)
	kept = dst[from+frameHeaderBytes+chunkFrameHeader:]
	if s.compress {
		if cap(s.packed) < capture.ChunkBytes {
			s.packed = make([]byte, s2.MaxEncodedLen(capture.ChunkBytes+chunkFrameHeader))
		}
		raw := dst[from+frameHeaderBytes:]
		if packed := s2.Encode(s.packed[:cap(s.packed)], raw); len(packed) < len(raw)*7/8 {
			h := frameHeader{kind: frameChunk, codec: codecS2, stored: uint32(len(packed)), raw: uint32(len(raw)), sum: crc32.Checksum(packed, castagnoli)} // #nosec G115 -- at most a chunk
			kept = append([]byte(nil), kept...)
			dst = append(dst[:from+frameHeaderBytes], packed...)
			h.put(dst[from:])
			s.buffer = pad(dst, from)
			return kept, s.grew(from)
		}
	}
	s.buffer = endFrame(dst, from, frameChunk)
	// The buffer is not written before the next frame: what was given back stays as it is until then.
	s.written.Add(int64(len(s.buffer) - from))
	return kept, nil
}

func (s *spool) grew(from int) error {
	s.written.Add(int64(len(s.buffer) - from))
	if len(s.buffer) < spoolBufferBytes {
		return nil
	}
	return s.flush()
}

// full says that the buffer should be written.
func (s *spool) full() bool { return len(s.buffer) >= spoolBufferBytes }

// flush writes what was gathered.
func (s *spool) flush() error {
	if len(s.buffer) == 0 {
		return nil
	}
	_, err := s.file.Write(s.buffer)
	s.buffer = s.buffer[:0]
	if err != nil {
		return fmt.Errorf("capture file: %w", err)
	}
	return nil
}

func (s *spool) close() error {
	return errors.Join(s.flush(), s.file.Close())
}
