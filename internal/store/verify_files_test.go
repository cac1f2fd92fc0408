package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// namedRounds records three blocks of so many events, each with a stream, a function and a file of its own round, so that the
// string table has three records. The first record is also what the later rounds share.
func namedRounds(t *testing.T, path string, rows int) (w *Writer, records []int64) {
	t.Helper()
	w, err := Open(path, Options{CommitInterval: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddSource(SourceInfo{Name: "shop.ndjson", Format: "ndjson"}); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		stream, err := w.Table().Name(fmt.Sprintf("stream-of-round-%c%d", 'a'+round, round))
		if err != nil {
			t.Fatal(err)
		}
		site, err := w.Table().SiteOf(fmt.Sprintf("shop.Round%c", 'A'+round), fmt.Sprintf("round%c.go", 'a'+round), 7)
		if err != nil {
			t.Fatal(err)
		}
		b := &wire.Block{Base: w.NextID(), Arrived: 1}
		for i := range rows {
			id := b.Base + event.ID(i)
			b.Rows = append(b.Rows, wire.Row{
				Record: wire.Record{Time: int64(id), Seq: uint64(i + 1), Kind: event.KindLog, Site: site}, Stream: stream, Source: 1, Correlation: id,
			})
		}
		if err := errors.Join(w.Publish(context.Background(), b), w.Write(b), w.WaitDurable(context.Background(), b.Base)); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(filepath.Join(path, "strings-00000001"))
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, st.Size())
	}
	return w, records
}

// streamsIn gives how many events each stream has, by name.
func streamsIn(t *testing.T, path string) map[string]int {
	t.Helper()
	r, err := OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	s := r.Snapshot()
	defer func() { _ = s.Close() }()
	got := map[string]int{}
	var c wire.Columns
	for _, b := range s.Blocks(wire.Prune{}) {
		if err := s.Read(b.Base, wire.ColAll, &c); err != nil {
			t.Fatal(err)
		}
		for i := range c.Len {
			got[s.Table().NameOf(c.Stream[i])]++
		}
	}
	return got
}

func tableOf(t *testing.T, path string) *wire.Table {
	t.Helper()
	r, err := OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	return r.Table()
}

func verifyPath(t *testing.T, path string) Report {
	t.Helper()
	report, err := Verify(context.Background(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// Names that are lost are marks in the answers, and one problem that says how many events are concerned; a writer goes on
// without giving their numbers out again.
func TestALostStringTableIsOneProblemAndTheRestIsReadable(t *testing.T) {
	const rows = 40
	for story, c := range map[string]struct {
		harm   func(t *testing.T, file string, records []int64)
		offset func(records []int64) int64
		events uint64
		cause  string
		known  string // a stream that is
	}{
		"the file is deleted": {func(t *testing.T, file string, _ []int64) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}, func([]int64) int64 { return 0 }, 3 * rows, "not there", ""},
		"the file is empty": {func(t *testing.T, file string, _ []int64) {
			if err := os.Truncate(file, 0); err != nil {
				t.Fatal(err)
			}
		}, func([]int64) int64 { return 0 }, 3 * rows, "blocks need 10 texts and 4 places, there are 1 and 1", ""},
		"its last record is torn": {func(t *testing.T, file string, records []int64) {
			if err := os.Truncate(file, records[2]-3); err != nil {
				t.Fatal(err)
			}
		}, func(records []int64) int64 { return records[1] }, rows, "blocks need 10 texts", "stream-of-round-b1"},
		"a record in the middle has a flipped bit": {func(t *testing.T, file string, records []int64) {
			flipBit(t, file, records[0]+stringsHeadBytes+5)
		}, func(records []int64) int64 { return records[0] }, rows, "checksum", "stream-of-round-c2"},
		"the head of a record in the middle is damaged": {func(t *testing.T, file string, records []int64) {
			flipBit(t, file, records[0]+9)
		}, func(records []int64) int64 { return records[0] }, rows, "checksum", "stream-of-round-a0"},
	} {
		t.Run(story, func(t *testing.T) {
			path := t.TempDir()
			w, records := namedRounds(t, path, rows)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if report := verifyPath(t, path); !report.OK() || len(report.Notes) > 0 {
				t.Fatalf("before anything is damaged: %v, notes %q", errors.Join(problems(report)...), report.Notes)
			}
			file := filepath.Join(path, "strings-00000001")
			c.harm(t, file, records)

			streams := streamsIn(t, path)
			marked, total := 0, 0
			for name, n := range streams {
				total += n
				if again, ok := tableOf(t, path).FindName(name); !ok || tableOf(t, path).NameOf(again) != name {
					t.Errorf("the name %q does not lead to itself", name)
				}
				if strings.HasPrefix(name, "?text") {
					marked += n
				}
			}
			if total != 3*rows || marked != int(c.events) || c.known != "" && streams[c.known] != rows {
				t.Errorf("streams %v", streams)
			}
			report := verifyPath(t, path)
			if report.Found != 1 || report.Events != 3*rows {
				t.Fatalf("%d problems, %d events: %v", report.Found, report.Events, errors.Join(problems(report)...))
			}
			p := report.Problems[0]
			if p.File != "strings-00000001" || p.Offset != c.offset(records) || p.Events != c.events || !strings.Contains(p.Cause.Error(), c.cause) {
				t.Errorf("the problem is %v, at offset %d of %d", p, p.Offset, records)
			}
			for _, part := range []string{fmt.Sprintf("%d events are concerned", c.events), "put the file back"} {
				if !strings.Contains(p.Error(), part) {
					t.Errorf("%q is not said in: %v", part, p)
				}
			}
			text, err := json.Marshal(report)
			if err != nil || !strings.Contains(string(text), `"file":"strings-00000001"`) || !strings.Contains(string(text), fmt.Sprintf(`"events":%d`, c.events)) {
				t.Errorf("as JSON: %s, %v", text, err)
			}

			// A writer goes on, and what it adds is not mistaken for what was lost.
			again, err := Open(path, Options{CommitInterval: 1})
			if err != nil {
				t.Fatal(err)
			}
			name, err := again.Table().Name("a-stream-that-comes-later")
			if err != nil || int(name.Text()) < 10 {
				t.Errorf("it gets the number %d, which is taken (%v)", name.Text(), err)
			}
			b := &wire.Block{Base: again.NextID(), Rows: []wire.Row{{
				Record: wire.Record{Time: 999, Seq: 1, Kind: event.KindLog}, Stream: name, Source: 1, Correlation: again.NextID(),
			}}}
			if err := errors.Join(again.Publish(context.Background(), b), again.Write(b), again.Close()); err != nil {
				t.Fatal(err)
			}
			after := streamsIn(t, path)
			if after["a-stream-that-comes-later"] != 1 || len(after) != len(streams)+1 {
				t.Errorf("streams %v, before %v", after, streams)
			}
			if report := verifyPath(t, path); report.Found != 1 || report.Problems[0].Events != c.events {
				t.Errorf("later: %v", errors.Join(problems(report)...))
			}
		})
	}
}

func flipBit(t *testing.T, file string, at int64) {
	t.Helper()
	p, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p[at] ^= 4
	if err := os.WriteFile(file, p, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyLooksAtTheLiveFileAndTheLock(t *testing.T) {
	ahead := encodeMark(500)
	version := encodeMark(121)
	version[4] = 9
	copy(version[16:], le32(checksum(version[:16])))
	for story, c := range map[string]struct {
		file    string
		content []byte // nil: it is removed
		problem string
		note    string
	}{
		"no live file, as in a copy without it":           {liveName, nil, "", ""},
		"a live file of another kind":                     {liveName, []byte("hello"), "live: offset 0: live: corrupt encoding: 5 bytes that are none", ""},
		"a live file with a flipped bit":                  {liveName, append([]byte("PLIV\x01\x00\x00\x00"), make([]byte, 12)...), "checksum", ""},
		"a live file of a later version":                  {liveName, version, "version", ""},
		"a live file of a longer recording":               {liveName, ahead, "below event 500 was durable, and the recording ends before 121", ""},
		"a live file that lags":                           {liveName, encodeMark(41), "", "below event 41 is durable; all below 121 are there"},
		"no lock, as in a copy without it":                {lockName, nil, "", ""},
		"a lock that holds something else":                {lockName, []byte("\x7fELF"), "which no writer has written", ""},
		"the lock of a writer that has died":              {lockName, []byte("being written by process 77\n"), "", "process 77 has ended without closing"},
		"a segment that no manifest lists":                {"segment-00000077", []byte("x"), "", "segment-00000077: it is no part of the recording"},
		"a file of somebody else, which is not looked at": {"notes.txt", []byte("x"), "", ""},
	} {
		t.Run(story, func(t *testing.T) {
			path := t.TempDir()
			w, _ := namedRounds(t, path, 40)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(path, c.file)
			var err error
			if c.content == nil {
				err = os.Remove(name)
			} else {
				err = os.WriteFile(name, c.content, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			report := verifyPath(t, path)
			got := fmt.Sprint(errors.Join(problems(report)...))
			if (c.problem == "") != report.OK() || !strings.Contains(got, c.problem) || report.Found > 1 {
				t.Errorf("want the problem %q, found %s", c.problem, got)
			}
			notes := strings.Join(report.Notes, "\n")
			if (c.note == "") != (notes == "") || !strings.Contains(notes, c.note) {
				t.Errorf("want the note %q, found %q", c.note, notes)
			}
		})
	}
}

func le32(v uint32) []byte { return []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)} }

func TestVerifySaysWhoWrites(t *testing.T) {
	path := t.TempDir()
	w, _ := namedRounds(t, path, 40)
	report := verifyPath(t, path)
	if !report.OK() || len(report.Notes) != 1 || !strings.Contains(report.Notes[0], fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("while it is written: %v, notes %q", errors.Join(problems(report)...), report.Notes)
	}
	if _, held, ok := (osDir{path}).Holder(lockName); ok && !held {
		t.Error("the lock is held, and the kernel's list does not have it")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if report := verifyPath(t, path); !report.OK() || len(report.Notes) > 0 {
		t.Errorf("after it was closed: %v, notes %q", errors.Join(problems(report)...), report.Notes)
	}
}

func TestTheHolderOfALockIsFoundInTheKernelsList(t *testing.T) {
	list := "1: POSIX  ADVISORY  WRITE 10 fe:00:1234 0 EOF\n2: FLOCK  ADVISORY  READ 11 fe:00:1234 0 EOF\n" +
		"3: FLOCK  ADVISORY  WRITE 12 fe:00:12345 0 EOF\n4: FLOCK  ADVISORY  WRITE 13 fe:00:1234 0 EOF\n5: -> FLOCK  ADVISORY  WRITE 14 fe:00:1234 0 EOF\n"
	if pid, held := lockHolder(list, 0xfe, 0, 1234); pid != 13 || !held {
		t.Errorf("process %d, %v", pid, held)
	}
	if _, held := lockHolder(list, 0xfe, 1, 1234); held {
		t.Error("a lock on another device")
	}
}
