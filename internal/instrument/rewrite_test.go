package instrument

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the golden files anew")

// planAll is the plan that records all that can be recorded.
func planAll(s *scanned) plan {
	facts := factsOf(&sourcePackage{Files: []*sourceFile{{scan: s}}})
	p := plan{Private: facts.private, ShadowsError: facts.shadowsError}
	for i, fn := range s.Functions {
		if fn.Leave == "" && (fn.Rest != "" || !facts.linked[fn.Root]) {
			p.Probes = append(p.Probes, probe{Index: i, ID: uint32(firstID + i)})
		}
	}
	return p
}

// Each archive under testdata/rewrite has a file and what becomes of it.
func TestRewriting(t *testing.T) {
	archives, err := filepath.Glob("testdata/rewrite/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no archives", err)
	}
	for _, path := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			in := archive.Files[0]
			s, err := scan("/src/"+in.Name, in.Data)
			if err != nil {
				t.Fatal(err)
			}
			out, err := rewrite("/src/"+in.Name, in.Data, planAll(s))
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				archive.Files = append(archive.Files[:1], txtar.File{Name: "rewritten.go", Data: out})
				if err := os.WriteFile(path, txtar.Format(archive), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(archive.Files) < 2 || !bytes.Equal(out, archive.Files[1].Data) {
				t.Errorf("rewritten otherwise (go test -update writes it anew):\n%s", out)
			}
			if err := samePlaces("/src/"+in.Name, in.Data, out); err != nil {
				t.Error(err)
			}
		})
	}
}

// samePlaces checks that all of the original is still there, in order, and at the same places: tokens and comments.
func samePlaces(path string, before, after []byte) error {
	if n, m := bytes.Count(before, []byte{'\n'}), bytes.Count(after, []byte{'\n'}); n != m {
		return fmt.Errorf("%s: %d lines became %d", path, n, m)
	}
	old, err := tokens(path, before)
	if err != nil {
		return nil //nolint:nilerr // no Go file before
	}
	now, err := tokens(path, after)
	if err != nil {
		return fmt.Errorf("%s: no Go file any more: %w", path, err)
	}
	i := 0
	for _, t := range now {
		if i == len(old) {
			break
		}
		o := old[i]
		o.at.Offset = 0
		same := o.tok == t.tok && o.lit == t.lit ||
			o.lit == "_" && strings.HasPrefix(t.lit, privatePrefix)
		t.at.Offset = 0
		if same && o.at == t.at {
			i++
		}
	}
	if i < len(old) {
		return fmt.Errorf("%s: %s %q is no more there, or elsewhere", old[i].at, old[i].tok, old[i].lit)
	}
	return nil
}

type placed struct {
	tok token.Token
	lit string
	at  token.Position
}

func tokens(path string, text []byte) ([]placed, error) {
	fset := token.NewFileSet()
	file := fset.AddFile(path, -1, len(text))
	var s scanner.Scanner
	var failed error
	s.Init(file, text, func(pos token.Position, msg string) { failed = errors.Join(failed, fmt.Errorf("%s: %s", pos, msg)) }, scanner.ScanComments)
	var list []placed
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return list, failed
		}
		if tok == token.SEMICOLON && lit == "\n" {
			continue // where a line ends: what was put at its end moved it
		}
		list = append(list, placed{tok, lit, fset.Position(pos)})
	}
}

// The standard library and the modules that this one uses: each file keeps all of its places. As much as can be done in the
// time; where it begins differs from day to day.
func TestFilesOfTheWorldKeepTheirPlaces(t *testing.T) {
	var files []string
	for _, root := range []string{filepath.Join(goroot(t), "src"), filepath.Join(os.Getenv("HOME"), "go", "pkg", "mod")} {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && d.Type().IsRegular() {
				files = append(files, path)
			}
			return nil
		})
	}
	end := time.Now().Add(5 * time.Second) // the walk not counted
	if testing.Short() {
		end = time.Now().Add(time.Second)
	}
	n, functions := 0, 0
	step := 7919 // a prime: neighbours are alike
	for i := range files {
		if time.Now().After(end) {
			break
		}
		path := files[(time.Now().YearDay()+i*step)%len(files)]
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		s, err := scan(path, text)
		if err != nil {
			continue
		}
		out, err := rewrite(path, text, planAll(s))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if err := samePlaces(path, text, out); err != nil {
			t.Error(err)
		}
		n++
		functions += len(s.Functions)
	}
	if n == 0 {
		t.Error("not one file in the time")
	}
	t.Logf("%d of %d files, %d functions", n, len(files), functions)
}

// What parses and is right before is so after, with every place kept.
// Functions record their values where the fuzzer says so.
func FuzzRewrite(f *testing.F) {
	archives, _ := filepath.Glob("testdata/*/*.txtar")
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if strings.HasSuffix(file.Name, ".go") {
				f.Add(string(file.Data), uint(0))
				f.Add(string(file.Data), ^uint(0))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string, values uint) {
		const path = "/src/fuzz.go"
		s, err := scan(path, []byte(text))
		if err != nil {
			return
		}
		p := planAll(s)
		for i := range p.Probes {
			pr := &p.Probes[i]
			fn := s.Functions[pr.Index]
			pr.Values = values>>(i%8)&1 != 0
			switch {
			case values>>(8+i%8)&1 != 0 && fn.Parameters > 0:
				pr.Queue = queueSend
			case values>>(16+i%8)&1 != 0 && fn.Results > 0:
				pr.Queue = queueReceive
			}
		}
		out, err := rewrite(path, []byte(text), p)
		if err != nil {
			t.Fatal(err)
		}
		if err := samePlaces(path, []byte(text), out); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if checks(text) == nil {
			if err := checks(string(out)); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	})
}

// checks says whether a file alone is right, types and all.
func checks(text string) error {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "fuzz.go", text, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	c := types.Config{Importer: probesImporter{}, GoVersion: "go1.26"}
	_, err = c.Check("fuzz", fset, []*ast.File{f}, nil)
	return err
}

var (
	probesSource = `package runtime
import "unsafe"
type PastconeValues struct{ x [8]int }
func (v *PastconeValues) Any(i int, x any)
func (v *PastconeValues) Error(i int, x error)
func PastconeEnterValues(id uint32, root bool, v *PastconeValues) uint64
func PastconeExitValues(token uint64, v *PastconeValues, err *error)
func PastconeQueueSend(id uint32, element uint64)
func PastconeQueueReceive(id uint32, element uint64)
func PastconeIdentity(x any) uint64
func PastconeEnter(id uint32) uint64
func PastconeExit(token uint64)
func PastconeExitError(token uint64, err *error)
var _ unsafe.Pointer
func Gosched()
`
)

// probesImporter has a package runtime with the probes, and no other.
type probesImporter struct{}

func (probesImporter) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	if path != "runtime" {
		return nil, fmt.Errorf("no package %s here", path)
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "runtime.go", probesSource, 0)
	if err != nil {
		return nil, err
	}
	c := types.Config{Importer: probesImporter{}}
	return c.Check("runtime", fset, []*ast.File{f}, nil)
}
