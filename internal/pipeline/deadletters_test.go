package pipeline

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/wire"
)

func readLetters(t *testing.T, path string) (letters []Letter) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		var l Letter
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		letters = append(letters, l)
	}
	return letters
}

func letter(events int) Letter {
	return Letter{Time: time.Unix(1, 0), Stage: "intake", Sources: []wire.SourceID{4}, Tries: 3, Error: "it broke", Stack: "main.go:1", Events: events}
}

func events(texts ...string) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for _, text := range texts {
			if !yield([]byte(text)) {
				return
			}
		}
	}
}

func openLetters(t *testing.T, path string, bytesMax int64) *DeadLetters {
	t.Helper()
	d, err := OpenDeadLetters(path, bytesMax)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestPool_DeadLetterTellsEverythingInOneLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead.ndjson")
	d := openLetters(t, path, 1<<20)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a file before the first letter: %v", err)
	}
	if err := d.Add(letter(2), events(`{"seq":1}`, `{"seq":2}`)); err != nil {
		t.Fatal(err)
	}
	if err := d.Add(letter(1), nil); err != nil {
		t.Fatal(err)
	}
	got := readLetters(t, path)
	if len(got) != 2 || string(got[0].Batch) != `[{"seq":1},{"seq":2}]` || got[0].Written != 2 || got[0].Missing != "" ||
		got[0].Error != "it broke" || got[0].Stack != "main.go:1" || got[0].Sources[0] != 4 || got[0].Tries != 3 || !got[0].Time.Equal(time.Unix(1, 0)) {
		t.Errorf("%+v", got)
	}
	if string(got[1].Batch) != "[]" || got[1].Missing == "" {
		t.Errorf("without an encoder: %+v", got[1])
	}
	if s := d.Status(); s.Written != 2 || s.Lost != 0 || s.Error != "" || s.Path != path {
		t.Errorf("%+v", s)
	}
}

func TestPool_DeadLetterKeepsWhatAPanickingEncoderHadGiven(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead.ndjson")
	d := openLetters(t, path, 1<<20)
	err := d.Add(letter(3), func(yield func([]byte) bool) {
		yield([]byte(`{"seq":1}`))
		panic("event 2 is poisoned")
	})
	if err != nil {
		t.Fatal(err)
	}
	if l := readLetters(t, path)[0]; string(l.Batch) != `[{"seq":1}]` || l.Written != 1 || l.Missing != "the encoder panicked: event 2 is poisoned" {
		t.Errorf("%+v", l)
	}
}

func TestPool_DeadLetterKeepsAnEventThatIsNoJSONAsText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead.ndjson")
	d := openLetters(t, path, 1<<20)
	if err := d.Add(letter(1), events("{\"seq\":\n\"")); err != nil {
		t.Fatal(err)
	}
	if l := readLetters(t, path)[0]; string(l.Batch) != `["{\"seq\":\n\""]` {
		t.Errorf("%s", l.Batch)
	}
}

func TestPool_DeadLettersAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead.ndjson")
	d := openLetters(t, path, 64<<10)
	big := `"` + strings.Repeat("x", 20<<10) + `"`
	if err := d.Add(letter(5), events(big, big, big, big, big)); err != nil {
		t.Fatal(err)
	}
	if l := readLetters(t, path)[0]; l.Written != 3 || l.Missing != "the file has no room for more" {
		t.Errorf("%d written, %q", l.Written, l.Missing)
	}
	var err error
	for range 100 {
		if err = d.Add(letter(1), events(`1`)); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrDeadLettersFull) {
		t.Fatalf("error %v", err)
	}
	s := d.Status()
	if info, _ := os.Stat(path); info.Size() > 64<<10 || info.Size() != s.Bytes || s.Lost != 1 || s.Error == "" {
		t.Errorf("%d bytes on disk, %+v", info.Size(), s)
	}
}

func TestPool_DeadLettersCutLongErrorsAndStacks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead.ndjson")
	d := openLetters(t, path, 64<<10)
	l := letter(0)
	l.Error, l.Stack = strings.Repeat("e", 1<<20), strings.Repeat("s", 1<<20)
	if err := d.Add(l, nil); err != nil {
		t.Fatal(err)
	}
	got := readLetters(t, path)[0]
	if len(got.Error) > letterErrorBytesMax+100 || len(got.Stack) > letterStackBytesMax+100 || !contains(got.Error, "1048576 bytes") {
		t.Errorf("%d bytes of error, %d of stack", len(got.Error), len(got.Stack))
	}
}

func TestPool_DeadLettersGoOnBehindATornLineOfAnEarlierRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead.ndjson")
	if err := os.WriteFile(path, []byte(`{"stage":"earlier"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	d := openLetters(t, path, 1<<20)
	if err := d.Add(letter(0), nil); err != nil {
		t.Fatal(err)
	}
	if got := readLetters(t, path); len(got) != 2 || got[0].Stage != "earlier" || got[1].Stage != "intake" {
		t.Errorf("%+v", got)
	}
}

func TestPool_DeadLettersSayWhatIsWrongWithTheirFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenDeadLetters(filepath.Join(dir, "f"), 10); err == nil {
		t.Error("ten bytes are enough")
	}
	if _, err := OpenDeadLetters(dir, 1<<20); err == nil {
		t.Error("a folder is taken for a file")
	}
	if err := os.WriteFile(filepath.Join(dir, "plain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDeadLetters(filepath.Join(dir, "plain", "f"), 1<<20); err == nil {
		t.Error("a file is taken for a folder")
	}
	d := openLetters(t, filepath.Join(dir, "missing", "f"), 1<<20)
	if err := d.Add(letter(0), nil); err == nil || d.Status().Lost != 1 {
		t.Errorf("written into a folder that is not there: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// brokenFile fails at what it is told to.
type brokenFile struct {
	*os.File
	write, sync, close error
}

func (f brokenFile) Write(p []byte) (int, error) {
	if f.write != nil {
		n, _ := f.File.Write(p[:len(p)/2])
		return n, f.write
	}
	return f.File.Write(p)
}

func (f brokenFile) Sync() error {
	if f.sync != nil {
		return f.sync
	}
	return f.File.Sync()
}

func (f brokenFile) Close() error { return errors.Join(f.File.Close(), f.close) }

func TestPool_DeadLettersLeaveNoHalfLineOnAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead.ndjson")
	d := openLetters(t, path, 1<<20)
	if err := d.Add(letter(0), nil); err != nil {
		t.Fatal(err)
	}
	whole := d.file.(*os.File)
	full := errors.New("no space left on device")
	d.file = brokenFile{File: whole, write: full}
	if err := d.Add(letter(0), nil); !errors.Is(err, full) {
		t.Errorf("write: %v", err)
	}
	d.file = brokenFile{File: whole, sync: full}
	if err := d.Add(letter(0), nil); !errors.Is(err, full) {
		t.Errorf("sync: %v", err)
	}
	d.file = whole
	if err := d.Add(letter(0), nil); err != nil || d.Status().Error != "" {
		t.Errorf("there is room again: %v, %+v", err, d.Status())
	}
	if got := readLetters(t, path); len(got) != 3 { // the one that was not synced is there all the same
		t.Errorf("%d letters", len(got))
	}
	d.file = brokenFile{File: whole, close: full}
	if err := d.Close(); !errors.Is(err, full) {
		t.Errorf("close: %v", err)
	}
}

func TestPool_DeadLettersRefuseAnUnreadableEarlierFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dead.ndjson")
	if err := os.Symlink(path, path); err != nil { // a loop: it can not even be looked at
		t.Fatal(err)
	}
	if _, err := OpenDeadLetters(path, 1<<20); err == nil {
		t.Error("a loop of links was opened")
	}
}
