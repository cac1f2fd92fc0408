package launch

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A binary of "pastcone build" is a copy of Pastcone with the instrumented program behind it, so that it needs nothing
// else where it runs:
//
//	this executable | the program | the table of functions | Carried as JSON | lengths of the three (8 bytes each) | mark (16)
//
// Executables are read from their beginning, so what stands behind them does not disturb. Pastcone looks for the mark when
// it starts; when it is there, it is the program's recorder and nothing else.

// payloadMark ends an executable that carries a program.
var payloadMark = [16]byte{'p', 'a', 's', 't', 'c', 'o', 'n', 'e', ' ', 'c', 'a', 'r', 'r', 'i', 'e', 's'}

const (
	payloadEnd      = 3*8 + len(payloadMark)
	carriedBytesMax = 1 << 20
)

// Carried says how a program that an executable carries is recorded.
type Carried struct {
	Name      string // of the program
	SHA256    string // of the program, hexadecimal
	Entries   int
	OnFull    string
	RingBytes int64
	Budget    int
	Flight    int64
	To        string // where it records to unless the environment says otherwise: a file, or the address of a server
}

// Payload is what an executable carries.
type Payload struct {
	Carried
	file               *os.File
	at, program, table int64 // where the program begins; its length, and the table's
}

// WritePayload makes at path a copy of this executable that carries the program.
func WritePayload(path string, b *Binary, c Carried) (err error) {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	sum, err := fileSum(b.Path)
	if err != nil {
		return err
	}
	c.SHA256, c.Entries = hex.EncodeToString(sum), b.Entries
	note, err := json.Marshal(c)
	if err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			_ = os.Remove(out.Name())
		} else {
			err = os.Rename(out.Name(), path)
		}
	}()
	var lengths [3]int64
	if _, err := appendFile(out, self); err != nil {
		return err
	}
	if lengths[0], err = appendFile(out, b.Path); err != nil {
		return err
	}
	if lengths[1], err = appendFile(out, b.Functions); err != nil {
		return err
	}
	lengths[2] = int64(len(note))
	for _, n := range lengths {
		note = binary.LittleEndian.AppendUint64(note, uint64(n)) // #nosec G115 -- a length
	}
	if _, err := out.Write(append(note, payloadMark[:]...)); err != nil {
		return err
	}
	return out.Chmod(0o755) // #nosec G302 -- a program for whoever may read it
}

func appendFile(to io.Writer, path string) (int64, error) {
	f, err := os.Open(path) // #nosec G304 -- made by us
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // only read
	return io.Copy(to, f)
}

func fileSum(path string) ([]byte, error) {
	sum := sha256.New()
	_, err := appendFile(sum, path)
	return sum.Sum(nil), err
}

// OpenPayload gives what this executable carries, nil if it is Pastcone and no more.
func OpenPayload() (*Payload, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil //nolint:nilerr // who does not know his own executable carries nothing
	}
	return openPayload(self)
}

func openPayload(path string) (_ *Payload, err error) {
	f, err := os.Open(path) // #nosec G304 -- ourselves
	if err != nil {
		return nil, nil //nolint:nilerr // an executable that may be run and not read carries nothing
	}
	p := &Payload{file: f}
	found := false
	defer func() {
		if !found {
			_ = f.Close()
		}
	}()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size < int64(payloadEnd) {
		return nil, err
	}
	var end [payloadEnd]byte
	if _, err := f.ReadAt(end[:], size-int64(payloadEnd)); err != nil {
		return nil, err
	}
	if [16]byte(end[24:]) != payloadMark {
		return nil, nil
	}
	left := size - int64(payloadEnd)
	var lengths [3]int64
	for i := range lengths {
		n := binary.LittleEndian.Uint64(end[8*i:])
		if n > uint64(left) { // #nosec G115 -- left is not negative
			return nil, fmt.Errorf("%s: the program that it carries is damaged: a part of %d bytes does not fit; build it again", path, n)
		}
		lengths[i] = int64(n) // #nosec G115 -- at most left
		left -= lengths[i]
	}
	p.at, p.program, p.table = left, lengths[0], lengths[1]
	if lengths[2] > carriedBytesMax {
		return nil, fmt.Errorf("%s: the program that it carries is damaged: its description has %d bytes; build it again", path, lengths[2])
	}
	note := make([]byte, lengths[2])
	if _, err := f.ReadAt(note, p.at+p.program+p.table); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(note, &p.Carried); err != nil {
		return nil, fmt.Errorf("%s: the program that it carries is damaged: %w; build it again", path, err)
	}
	found = true
	return p, nil
}

// Unpack puts the program and its table into a directory of this user, once for each content, and gives their paths.
func (p *Payload) Unpack() (program, functions string, err error) {
	base, err := os.UserCacheDir()
	if err != nil {
		base = filepath.Join(os.TempDir(), fmt.Sprintf("pastcone-%d", os.Getuid()))
	}
	if len(p.SHA256) != 2*sha256.Size || filepath.Base(p.Name) != p.Name {
		return "", "", errors.New("the program that this executable carries is damaged: it has no proper name; build it again")
	}
	dir := filepath.Join(base, "pastcone", "carried", p.SHA256)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", fmt.Errorf("a place for the program: %w; XDG_CACHE_HOME names another", err)
	}
	program, functions = filepath.Join(dir, p.Name), filepath.Join(dir, "functions")
	// What is there is only run if it is what we carry: the directory lives longer than one process.
	if sum, err := fileSum(program); err == nil && hex.EncodeToString(sum) == p.SHA256 {
		if info, err := os.Stat(functions); err == nil && info.Size() == p.table {
			return program, functions, nil
		}
	}
	if err := p.unpack(functions, p.at+p.program, p.table, 0o600); err != nil {
		return "", "", err
	}
	return program, functions, p.unpack(program, p.at, p.program, 0o700)
}

// unpack writes one part. It comes to be there whole or not at all, also beside others who do the same.
func (p *Payload) unpack(path string, at, length int64, mode os.FileMode) error {
	out, err := os.CreateTemp(filepath.Dir(path), ".unpack-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(p.file, at, length))
	if err = errors.Join(err, out.Chmod(mode), out.Close()); err == nil {
		err = os.Rename(out.Name(), path)
	}
	if err != nil {
		_ = os.Remove(out.Name())
	}
	return err
}

// Close ends the use of the executable.
func (p *Payload) Close() error { return p.file.Close() }
