//go:build linux

package launch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// carrying makes an executable that carries a program (a script here) and its table, and gives where its parts end.
func carrying(t testing.TB, program, table string, c Carried) (path string) {
	t.Helper()
	dir := t.TempDir()
	b := &Binary{Path: filepath.Join(dir, "program"), Functions: filepath.Join(dir, "table"), Entries: 17}
	for name, text := range map[string]string{b.Path: program, b.Functions: table} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(dir, "carries")
	if err := WritePayload(path, b, c); err != nil {
		t.Fatal(err)
	}
	return path
}

const script = "#!/bin/sh\necho carried \"$@\"\nexit 5\n"

// opened opens what an executable carries.
func opened(t testing.TB, path string) *Payload {
	t.Helper()
	p, err := openPayload(path)
	if err != nil || p == nil {
		t.Fatalf("%v, %v", p, err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestAnExecutableCarriesAProgram(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	c := Carried{Name: "app", OnFull: "drop", RingBytes: 1 << 20, Budget: 5, Flight: 7, DumpOn: "usr1", To: "unix:x"}
	path := carrying(t, script, `{"id":1}`, c)
	p := opened(t, path)
	c.SHA256, c.Table, c.Entries = p.SHA256, p.Table, 17
	if p.Carried != c {
		t.Errorf("got  %+v\nwant %+v", p.Carried, c)
	}
	program, functions, err := p.Unpack()
	if err != nil || filepath.Base(program) != "app" {
		t.Fatal(program, err)
	}
	if table, err := os.ReadFile(functions); err != nil || string(table) != `{"id":1}` {
		t.Error(err, string(table))
	}
	var out strings.Builder
	ran, err := Run(context.Background(), Options{Path: program, Args: []string{"a b"}, Capture: filepath.Join(t.TempDir(), "c"), RingBytes: 1 << 20, Stdout: &out})
	if err != nil || ran.Ended.Code != 5 || out.String() != "carried a b\n" {
		t.Errorf("%v, %v, %q", err, ran.Ended, &out)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("it can not be run: %v, %v", info, err)
	}
	self, err := os.Stat(os.Args[0])
	if err != nil || info.Size() < self.Size() {
		t.Errorf("the recorder is not in it: %d bytes, of %d", info.Size(), self.Size())
	}
}

// Whatever part of it is damaged, nothing is run.
func TestADamagedExecutableRunsNothing(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	path := carrying(t, script, `{"id":1}`, Carried{Name: "app"})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := len(whole)
	at := opened(t, path)
	note := int(at.at + at.program + at.table)
	for name, offset := range map[string]int{
		"the program": int(at.at) + 12, "the table": int(at.at+at.program) + 3, "the first letter of the description": note,
		"the description": note + 20, "the length of the program": end - payloadEnd, "of the program, much": end - payloadEnd + 7,
		"the length of the table": end - payloadEnd + 8, "of the table, much": end - payloadEnd + 13,
		"the length of the description": end - payloadEnd + 16, "the sum": end - payloadEnd + payloadLengths + 5,
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			damaged := bytes.Clone(whole)
			damaged[offset] ^= 0x01
			file := filepath.Join(t.TempDir(), "damaged")
			if err := os.WriteFile(file, damaged, 0o700); err != nil {
				t.Fatal(err)
			}
			p, err := openPayload(file)
			if err == nil {
				defer p.Close()
				_, _, err = p.Unpack()
			}
			if err == nil || !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), "build it again") {
				t.Errorf("%v", err)
			}
		})
	}
	for _, cut := range []int{1, len(payloadMark), payloadEnd, end - 10} {
		file := filepath.Join(t.TempDir(), "cut")
		if err := os.WriteFile(file, whole[:end-cut], 0o700); err != nil {
			t.Fatal(err)
		}
		if p, err := openPayload(file); p != nil || err != nil {
			t.Errorf("%d bytes are missing: it is no executable of ours: %v, %v", cut, p, err)
		}
	}
}

// payload makes the end of an executable around a description.
func payload(parts string, program, table uint64, note string) []byte {
	end := binary.LittleEndian.AppendUint64([]byte(note), program)
	end = binary.LittleEndian.AppendUint64(end, table)
	end = binary.LittleEndian.AppendUint64(end, uint64(len(note)))
	sum := sha256.Sum256(end)
	return append(append(append([]byte(parts), end...), sum[:]...), payloadMark[:]...)
}

// What is whole, and yet not what Pastcone writes.
func TestADescriptionThatMakesNoSense(t *testing.T) {
	name := func(n string) string {
		text, _ := json.Marshal(Carried{Name: n, SHA256: strings.Repeat("a", 64)})
		return string(text)
	}
	for what, c := range map[string]struct{ note, want string }{
		"no JSON":                        {"{", "damaged"},
		"no name":                        {name(""), "no proper name"},
		"a name that is a path":          {name("a/b"), "no proper name"},
		"a name that leads out":          {name(".."), "no proper name"},
		"a sum that leads out":           {`{"Name":"a","SHA256":"` + strings.Repeat("../", 21) + `x"}`, "no proper name"},
		"a description of two megabytes": {strings.Repeat(" ", 2<<20), "description has 2097152 bytes"},
	} {
		file := filepath.Join(t.TempDir(), "it")
		if err := os.WriteFile(file, payload("pt", 1, 1, c.note), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openPayload(file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestPastconeAloneCarriesNothing(t *testing.T) {
	if p, err := OpenPayload(); p != nil || err != nil {
		t.Errorf("this test carries %v, %v", p, err)
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "none"), "/dev/null"} {
		if p, err := openPayload(path); p != nil || err != nil {
			t.Errorf("%s: %v, %v", path, p, err)
		}
	}
}

// The place where programs are unpacked lives longer than the process: what lies there is only run when it is what is carried.
func TestWhatWasUnpackedAndChangedIsNotRun(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	p := opened(t, carrying(t, script, "table", Carried{Name: "app"}))
	program, functions, err := p.Unpack()
	if err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(program)
	if _, _, err := p.Unpack(); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(program); !os.SameFile(before, after) {
		t.Error("it was unpacked twice")
	}
	for _, change := range []func() error{
		func() error { return os.WriteFile(program, []byte("#!/bin/sh\necho evil        \n"), 0o700) },
		func() error { return os.Remove(program) },
		func() error { return os.Chmod(program, 0o600) },
		func() error { return os.WriteFile(functions, []byte("tablE"), 0o600) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := p.Unpack(); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]string{program: script, functions: "table"} {
			text, err := os.ReadFile(path)
			if err != nil || string(text) != want {
				t.Errorf("%s: %q, %v", path, text, err)
			}
		}
		if info, _ := os.Stat(program); info.Mode().Perm() != 0o700 {
			t.Errorf("%v", info.Mode())
		}
	}
	// A directory that others may write to is none to run programs from.
	if err := os.Chmod(filepath.Dir(program), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Unpack(); err == nil || !strings.Contains(err.Error(), "others may write there") {
		t.Errorf("%v", err)
	}
	t.Setenv("XDG_CACHE_HOME", program)
	if _, _, err := p.Unpack(); err == nil || !strings.Contains(err.Error(), "XDG_CACHE_HOME names another") {
		t.Errorf("a cache that is a file: %v", err)
	}
}

// Where no directory for caches is known, one of this user's is made among the temporary ones.
func TestWithoutAHome(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	p := opened(t, carrying(t, script, "table", Carried{Name: tableFile}))
	program, functions, err := p.Unpack()
	if err != nil || !strings.HasPrefix(program, tmp) || program == functions {
		t.Errorf("%s, %s, %v", program, functions, err)
	}
	base, err := filepath.Glob(filepath.Join(tmp, "pastcone-*"))
	if err != nil || len(base) != 1 {
		t.Fatal(base, err)
	}
	if err := os.Chmod(base[0], 0o777); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Unpack(); err == nil {
		t.Error("a directory that others may have made was used")
	}
}

func TestTwoUnpackAtOnce(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	path := carrying(t, script+strings.Repeat("# long\n", 1<<16), "table", Carried{Name: "app"})
	var all sync.WaitGroup
	for range 8 {
		p := opened(t, path)
		all.Go(func() {
			program, _, err := p.Unpack()
			if err != nil {
				t.Error(err)
				return
			}
			if sum, err := fileSum(program); err != nil || sum != p.SHA256 {
				t.Errorf("it is not whole: %v, %s", err, sum)
			}
		})
	}
	all.Wait()
	left, _ := filepath.Glob(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "pastcone", "carried", "*", ".unpack*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAnExecutableThatCanNotBeWritten(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		path string
		b    Binary
	}{
		"no directory": {filepath.Join(dir, "none", "app"), Binary{Path: there, Functions: there}},
		"a directory":  {dir, Binary{Path: there, Functions: there}},
		"no program":   {filepath.Join(dir, "app"), Binary{Path: filepath.Join(dir, "none"), Functions: there}},
		"no table":     {filepath.Join(dir, "app"), Binary{Path: there, Functions: filepath.Join(dir, "none")}},
	} {
		if err := WritePayload(c.path, &c.b, Carried{Name: "app"}); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if left, _ := filepath.Glob(filepath.Join(d, ".*-*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// FuzzOpenPayload: whatever the file is, what is opened fits into it and has a name that is no path, and nothing else is run.
func FuzzOpenPayload(f *testing.F) {
	good, _ := json.Marshal(Carried{Name: "app", SHA256: strings.Repeat("a", 64)})
	f.Add(payload("an executable, program, table", 7, 5, string(good)), true)
	f.Add(payload("", 1<<63, 1<<63, string(good)), true)
	f.Add(payload("pt", 1, 1, `{"Name":"../app"}`), true)
	f.Add(payloadMark[:], false)
	f.Add([]byte("an executable"), false)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, file []byte, mend bool) {
		if n := len(file) - payloadEnd; mend && n > 0 { // a sum that fits, so that what is behind it is looked at
			note := min(binary.LittleEndian.Uint64(file[n+16:]), uint64(n))
			sum := sha256.Sum256(file[n-int(note) : n+payloadLengths])
			copy(file[n+payloadLengths:], sum[:])
			copy(file[n+payloadLengths+sha256.Size:], payloadMark[:])
		}
		path := filepath.Join(dir, "file")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := openPayload(path)
		if err != nil || p == nil {
			return
		}
		defer p.Close()
		if p.at < 0 || p.program < 0 || p.table < 0 || p.at+p.program+p.table > int64(len(file)) {
			t.Errorf("%+v does not fit into %d bytes", p, len(file))
		}
		if filepath.Base(p.Name) != p.Name || p.Name == ".." || len(p.SHA256) != 64 {
			t.Errorf("%+v", p.Carried)
		}
	})
}
