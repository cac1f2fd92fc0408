package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/pastcone/pastcone/internal/capture"
)

// spoolBufferBytes is what is gathered before it is written.
const spoolBufferBytes = 512 << 10

// spool writes a capture file.
type spool struct {
	file    *os.File
	buffer  []byte
	written atomic.Int64 // bytes in the file, and in the buffer
}

// createSpool makes the file. It does not replace one that is there.
func createSpool(path string) (*spool, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // #nosec G304 -- the launcher names it
	if err != nil {
		return nil, fmt.Errorf("capture file: %w", err)
	}
	s := &spool{file: f, buffer: make([]byte, 0, spoolBufferBytes+2*frameBytesMax)}
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

// addRecords appends a frame of records of a chunk: the complete ones, from the one numbered from on. It gives the number of the next,
// and how many there were.
func (s *spool) addRecords(chunk []byte, from int, notice *noticing) (next, records int, err error) {
	begin := len(s.buffer)
	dst := beginFrame(s.buffer)
	var head [chunkFrameHeader]byte
	dst = append(dst, head[:]...)
	dst, next, records = packRecords(dst, chunk, from, notice)
	if records == 0 {
		return next, 0, nil
	}
	// The chunk's header was stored before its first record.
	to := dst[begin+frameHeaderBytes:]
	binary.LittleEndian.PutUint64(to, orderOf(chunk))
	binary.LittleEndian.PutUint32(to[8:], atomic.LoadUint32((*uint32)(unsafe.Pointer(&chunk[8])))) // #nosec G103 -- shared memory, aligned
	binary.LittleEndian.PutUint32(to[12:], uint32(from))                                           // #nosec G115 -- at most ChunkRecords
	h := frameHeader{
		kind: frameChunk, codec: codecPacked, stored: uint32(len(to)), // #nosec G115 -- at most frameBytesMax
		raw: uint32(chunkFrameHeader + records*capture.RecordBytes), sum: crc32.Checksum(to, castagnoli), // #nosec G115 -- at most a chunk
	}
	h.put(dst[begin:])
	s.buffer = pad(dst, begin)
	return next, records, s.grew(begin)
}

// orderOf gives the order of a chunk in memory.
func orderOf(chunk []byte) uint64 {
	return atomic.LoadUint64((*uint64)(unsafe.Pointer(&chunk[0]))) // #nosec G103 -- shared memory, aligned
}

func (s *spool) grew(from int) error {
	s.written.Add(int64(len(s.buffer) - from))
	if len(s.buffer) < spoolBufferBytes {
		return nil
	}
	return s.flush()
}

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
