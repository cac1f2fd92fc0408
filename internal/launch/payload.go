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
	"slices"
)

// A binary of "pastcone build" is a copy of Pastcone with the instrumented program behind it, so that it needs nothing
// else where it runs:
//
//	this executable | the program | the table of functions | Carried as JSON | lengths of the three (8 bytes each) | sum (32) | mark (16)
//
// Executables are read from their beginning, so what stands behind them does not disturb. Pastcone looks for the mark when
// it starts; when it is there, it is the program's recorder and nothing else. The sum is of the JSON and the lengths; the JSON has
// those of the program and the table. Nothing is run unless they all fit.

// payloadMark ends an executable that carries a program.
var payloadMark = [16]byte{'p', 'a', 's', 't', 'c', 'o', 'n', 'e', ' ', 'c', 'a', 'r', 'r', 'i', 'e', 's'}

const (
	payloadLengths  = 3 * 8
	payloadEnd      = payloadLengths + sha256.Size + len(payloadMark)
	carriedBytesMax = 1 << 20
)

// Carried says how a program that an executable carries is recorded.
type Carried struct {
	Name      string // of the program
	SHA256    string // of the program, hexadecimal
	Table     string // the same of the table of functions
	Entries   int
	OnFull    string
	RingBytes int64
	Budget    int
	Flight    int64
	DumpOn    string // a name that DumpSignal knows, or empty
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
	if c.SHA256, err = fileSum(b.Path); err != nil {
		return err
	}
	if c.Table, err = fileSum(b.Functions); err != nil {
		return err
	}
	c.Entries = b.Entries
	note, err := json.Marshal(c)
	if err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err == nil {
			err = os.Rename(out.Name(), path)
		}
		if err != nil {
			_ = os.Remove(out.Name())
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
	sum := sha256.Sum256(note)
	if _, err := out.Write(slices.Concat(note, sum[:], payloadMark[:])); err != nil {
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

// fileSum gives a file's SHA-256, hexadecimal.
func fileSum(path string) (string, error) {
	sum := sha256.New()
	_, err := appendFile(sum, path)
	return hex.EncodeToString(sum.Sum(nil)), err
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
	if [16]byte(end[payloadEnd-len(payloadMark):]) != payloadMark {
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
	if sha256.Sum256(append(note, end[:payloadLengths]...)) != [32]byte(end[payloadLengths:]) {
		return nil, fmt.Errorf("%s: the program that it carries is damaged: its description is not what it was; build it again", path)
	}
	if err := json.Unmarshal(note[:lengths[2]], &p.Carried); err != nil {
		return nil, fmt.Errorf("%s: the program that it carries is damaged: %w; build it again", path, err)
	}
	if n := p.Name; filepath.Base(n) != n || n == "" || n == "." || n == ".." || len(p.SHA256) != 2*sha256.Size || filepath.Base(p.SHA256) != p.SHA256 {
		return nil, fmt.Errorf("%s: the program that it carries has no proper name: %q; build it again", path, n)
	}
	found = true
	return p, nil
}

// Unpack puts the program and its table into a directory of this user, once for each content, and gives their paths.
func (p *Payload) Unpack() (program, functions string, err error) {
	base, err := os.UserCacheDir()
	var dirs []string // each of them nobody else's
	if err != nil {
		base = filepath.Join(os.TempDir(), fmt.Sprintf("pastcone-%d", os.Getuid()))
		dirs = append(dirs, base)
	}
	carried := filepath.Join(base, "pastcone", "carried")
	dir := filepath.Join(carried, p.SHA256)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", fmt.Errorf("a place for the program: %w; XDG_CACHE_HOME names another", err)
	}
	for _, d := range append(dirs, carried, dir) {
		if err := ownAlone(d); err != nil {
			return "", "", err
		}
	}
	program, functions = filepath.Join(dir, p.Name), filepath.Join(dir, tableFile)
	if p.Name == tableFile {
		functions += ".table"
	}
	if err := p.unpack(functions, p.at+p.program, p.table, p.Table, 0o600); err != nil {
		return "", "", err
	}
	return program, functions, p.unpack(program, p.at, p.program, p.SHA256, 0o700)
}

// tableFile is what the table of functions is called beside the program.
const tableFile = "functions"

// unpack writes one part, unless it is there: what is there is only used if it is what we carry, since the directory lives longer than
// one process. It comes to be there whole or not at all, also beside others who do the same.
func (p *Payload) unpack(path string, at, length int64, want string, mode os.FileMode) error {
	if sum, err := fileSum(path); err == nil && sum == want {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm() == mode {
			return nil
		}
	}
	out, err := os.CreateTemp(filepath.Dir(path), ".unpack-*")
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, sum), io.NewSectionReader(p.file, at, length))
	if got := hex.EncodeToString(sum.Sum(nil)); err == nil && got != want {
		err = fmt.Errorf("%s: what it carries of %s is damaged: its SHA-256 is %.16s… and not %.16s…; build it again", p.file.Name(), filepath.Base(path), got, want)
	}
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
