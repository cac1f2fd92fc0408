package source_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/wire"
)

func rejectsLines(t *testing.T, path string) []map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []map[string]any
	for line := range bytes.Lines(text) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		lines = append(lines, m)
	}
	return lines
}

func TestRejectsFileKeepsWhatPeopleNeed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rejects.ndjson")
	f := source.NewRejectsFile(path, 1<<20, func(raw []byte) []byte {
		return bytes.ReplaceAll(raw, []byte("hunter2"), []byte("[redacted]"))
	})
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("the file is there before the first reject")
	}
	for _, r := range []source.Rejected{
		{File: "a.ndjson", Line: 3, Offset: 100, Raw: []byte(`{"password":"hunter2"`), Reason: "not JSON"},
		{File: "a.ndjson", Line: 4, Offset: 200, Raw: []byte("\xff\x00"), Reason: "not UTF-8"},
		{File: "trace", Offset: 7, Raw: []byte(strings.Repeat("ä", 4000)), Reason: "torn"},
	} {
		if err := f.Add(3, "unreadable", r); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if err := f.Add(1, "unreadable", source.Rejected{}); !errors.Is(err, source.ErrRejectsClosed) {
		t.Error(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	lines := rejectsLines(t, path)
	if len(lines) != 3 {
		t.Fatal(lines)
	}
	if got := fmt.Sprint(lines[0]); got != `map[counted_as:unreadable file:a.ndjson line:3 offset:100 raw:{"password":"[redacted]" reason:not JSON source:3]` {
		t.Error(got)
	}
	if lines[1]["bytes"] != "/wA=" || lines[1]["raw"] != nil {
		t.Error(lines[1])
	}
	if lines[2]["cut"] != true || lines[2]["raw"] != strings.Repeat("ä", source.RejectedRawBytesMax/2) || lines[2]["line"] != nil {
		t.Error(lines[2])
	}
}

func TestRejectsFileIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rejects.ndjson")
	const bytesMax = 2000
	add := func(f *source.RejectsFile, n int) {
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				if err := f.Add(1, "unreadable", source.Rejected{File: "f", Line: i + 1, Reason: "bad", Raw: []byte("x")}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	f := source.NewRejectsFile(path, bytesMax, nil)
	add(f, 10)
	if kept, notKept := f.Counts(); kept != 10 || notKept != 0 {
		t.Error(kept, notKept)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// The recording is opened again: what the file holds counts.
	f = source.NewRejectsFile(path, bytesMax, nil)
	add(f, 100)
	kept, notKept := f.Counts()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	lines := rejectsLines(t, path)
	if kept+notKept != 100 || kept == 0 || notKept == 0 || len(lines) != 10+int(kept)+1 {
		t.Errorf("%d kept, %d not, %d lines", kept, notKept, len(lines))
	}
	if last := lines[len(lines)-1]; last["not_kept"] != float64(notKept) {
		t.Error(last)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > bytesMax+200 {
		t.Error(info.Size(), err)
	}
}

// TestRejectsAreCountedByTheFileAlone counts what was rejected in a file that nobody has closed, within its bound and beyond, and
// takes one source out of it, as an import does that goes on.
func TestRejectsAreCountedByTheFileAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rejects.ndjson")
	want := func(what string, source1, source2, late int) {
		t.Helper()
		counts, err := source.CountRejects(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := counts[1]["unreadable"]; n != uint64(source1) {
			t.Errorf("%s: %d of source 1, not %d", what, n, source1)
		}
		if n, l := counts[2]["unreadable"], counts[2]["late"]; n != uint64(source2) || l != uint64(late) {
			t.Errorf("%s: %d and %d of source 2, not %d and %d", what, n, l, source2, late)
		}
	}
	want("no file", 0, 0, 0)
	const bytesMax = 4000
	f := source.NewRejectsFile(path, bytesMax, nil)
	add := func(src wire.SourceID, as string, n int) {
		t.Helper()
		for range n {
			if err := f.Add(src, as, source.Rejected{File: "f", Reason: "late", Raw: []byte("some input")}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Forget(1); err != nil {
		t.Error("nothing to forget:", err)
	}
	add(1, "unreadable", 3)
	add(2, "unreadable", 2)
	want("within its bound", 3, 2, 0)
	add(1, "unreadable", 120)
	add(2, "late", 11)
	want("beyond its bound", 123, 2, 11)
	if info, err := os.Stat(path); err != nil || info.Size() > bytesMax+400 {
		t.Error(info.Size(), err)
	}

	// Killed in the middle of a line, and opened again.
	torn, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = torn.WriteString(`{"source":1,"off`)
		err = errors.Join(err, torn.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	f = source.NewRejectsFile(path, bytesMax, nil)
	add(2, "late", 1)
	add(2, "other", 1)
	want("opened again", 123, 2, 12)

	// Where the file can not be replaced it stays as it is.
	if err := os.MkdirAll(filepath.Join(path+".new", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.Forget(1); err == nil {
		t.Error("forgotten, though nothing could be written")
	}
	want("not forgotten", 123, 2, 12)
	if err := os.RemoveAll(path + ".new"); err != nil {
		t.Fatal(err)
	}

	if err := f.Forget(1); err != nil {
		t.Fatal(err)
	}
	want("without source 1", 0, 2, 12)
	add(1, "unreadable", 4)
	want("and it rejects again", 4, 2, 12)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Forget(1); !errors.Is(err, source.ErrRejectsClosed) {
		t.Error(err)
	}
	if _, err := source.CountRejects(filepath.Dir(path)); err == nil {
		t.Error("a folder has counts")
	}
}

func TestRejectsFileCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "none", "rejects"): "no such file",
		dir:                                   "is a directory",
		"/dev/null":                           "not a regular file",
	} {
		f := source.NewRejectsFile(path, 1000, nil)
		if err := f.Add(1, "unreadable", source.Rejected{Reason: "bad"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	full := source.NewRejectsFile("/dev/full", 1000, nil)
	if err := full.Add(1, "bad", source.Rejected{Reason: "bad"}); err == nil {
		t.Error("written to a full disk")
	}
}

func TestRejectedSaysWhere(t *testing.T) {
	if got := (source.Rejected{File: "f", Line: 2, Reason: "why"}).Error(); got != "f:2: why" {
		t.Error(got)
	}
	if got := (source.Rejected{File: "f", Offset: 9, Reason: "why"}).Error(); got != "f: offset 9: why" {
		t.Error(got)
	}
}
