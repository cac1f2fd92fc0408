package patch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
)

// A Place says where an edit's text goes.
type Place int

// Places. The first three are relative to the edit's anchor, the others need none.
const (
	After   Place = iota // right behind the anchor
	Before               // right before the anchor
	Instead              // in place of the anchor
	Entry                // the first thing in the function's body
	End                  // the last thing in the function's body, or the last fields of the struct
	Package              // behind the package clause: for imports
)

// An Edit is one insertion into, or replacement in, a file of the standard library.
type Edit struct {
	File   string // below GOROOT/src, with slashes: "runtime/chan.go"
	In     string // the function ("chansend"), method ("timer.reset") or type ("hchan") that holds the anchor; "": the file
	Place  Place
	Anchor string // text of whole words, as it is in the source; a blank stands for any number; what is in comments does not count
	Times  int    // how often the anchor has to be there; 0 is 1. The edit is made at each
	Text   string // without a line end, unless the anchor that it replaces has one

	// Or is tried in its place if the anchor is not there: for versions of Go that write the same thing in another way.
	Or *Edit
	// Optional edits are left out where the file or the function does not exist (never where only the anchor is missing).
	Optional bool
}

// AnchorError tells that a place that an edit needs is not in the standard library as expected, so that this version of Go
// can not be patched.
type AnchorError struct {
	GoVersion string
	File      string // below GOROOT/src
	Func      string // function, method or type; "" is the whole file
	Anchor    string
	Matches   int // how often the anchor is there; -1: file or function is missing
	Want      int
}

func (e *AnchorError) Error() string {
	where := e.File
	if e.Func != "" {
		where += ", " + e.Func
	}
	if e.Matches < 0 {
		return fmt.Sprintf("%s: %s: not found, so the runtime of this Go version can not be patched; use another version, or record without the runtime patch", e.GoVersion, where)
	}
	return fmt.Sprintf("%s: %s: %q is there %d times, not %d, so the runtime of this Go version can not be patched; use another version, or record without the runtime patch",
		e.GoVersion, where, e.Anchor, e.Matches, e.Want)
}

// change is an edit that has found its place in a file.
type change struct {
	from, to int // bytes replaced
	text     string
}

// source is a file of the standard library that is being edited.
type source struct {
	version string
	path    string // below GOROOT/src
	text    string
	code    string // text with its comments blanked, to look for anchors in
	fset    *token.FileSet
	file    *ast.File
	changes []change
}

func parseSource(version, path, text string) (*source, error) {
	s := &source{version: version, path: path, text: text, fset: token.NewFileSet()}
	var err error
	s.file, err = parser.ParseFile(s.fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: can not be parsed, so it can not be patched: %w", version, path, err)
	}
	code := []byte(text)
	for _, group := range s.file.Comments {
		for _, c := range group.List {
			for i := s.offset(c.Pos()); i < s.offset(c.End()); i++ {
				if code[i] != '\n' {
					code[i] = ' '
				}
			}
		}
	}
	s.code = string(code)
	return s, nil
}

func (s *source) offset(p token.Pos) int { return s.fset.Position(p).Offset }

// apply finds the places of an edit.
func (s *source) apply(e Edit) error {
	err := s.applyOne(e)
	for or := e.Or; err != nil && or != nil; or = or.Or {
		alternative := *or
		alternative.File = e.File
		if alternative.In == "" {
			alternative.In = e.In
		}
		if s.applyOne(alternative) == nil {
			return nil
		}
	}
	if missing, ok := err.(*AnchorError); ok && missing.Matches < 0 && e.Optional {
		return nil
	}
	return err
}

func (s *source) applyOne(e Edit) error {
	if strings.Count(e.Text, "\n") != 0 && (e.Place != Instead || strings.Count(e.Text, "\n") != strings.Count(e.Anchor, "\n")) {
		return fmt.Errorf("patch of %s, %s: the text %q would move the lines behind it", e.File, e.In, e.Text)
	}
	want := max(e.Times, 1)
	failed := func(anchor string, matches int) error {
		return &AnchorError{GoVersion: s.version, File: s.path, Func: e.In, Anchor: anchor, Matches: matches, Want: want}
	}
	if e.Place == Package {
		s.changes = append(s.changes, change{s.offset(s.file.Name.End()), s.offset(s.file.Name.End()), "; " + e.Text})
		return nil
	}
	from, to, body, ok := s.scope(e.In)
	if !ok {
		return failed(e.Anchor, -1)
	}
	switch e.Place {
	case Entry, End:
		if body == nil {
			return failed("the body", 0)
		}
		if e.Place == Entry {
			at := s.offset(body.Pos()) + 1
			s.changes = append(s.changes, change{at, at, " " + e.Text + ";"})
		} else {
			at, behind := s.offset(body.End())-1, "; "
			if rest := strings.TrimRight(s.code[:at], " \t"); strings.HasSuffix(rest, "\n") || strings.HasSuffix(rest, "{") {
				behind = ""
			}
			s.changes = append(s.changes, change{at, at, behind + e.Text})
		}
		return nil
	}
	if e.Anchor == "" {
		return fmt.Errorf("patch of %s, %s: an edit without an anchor", e.File, e.In)
	}
	at := anchorPattern(e.Anchor).FindAllStringIndex(s.code[from:to], -1)
	if len(at) != want {
		return failed(e.Anchor, len(at))
	}
	for _, m := range at {
		begin, end := from+m[0], from+m[1]
		switch e.Place {
		case After:
			s.changes = append(s.changes, change{end, end, e.Text})
		case Before:
			s.changes = append(s.changes, change{begin, begin, e.Text})
		case Instead:
			s.changes = append(s.changes, change{begin, end, e.Text})
		}
	}
	return nil
}

// anchorPattern matches the anchor with any number of blanks where it has one (gofmt aligns fields and comments), and not in
// the middle of a longer word.
func anchorPattern(anchor string) *regexp.Regexp {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(anchor), " ", `[ \t]+`)
	if isWord(anchor[0]) {
		pattern = `\b` + pattern
	}
	if isWord(anchor[len(anchor)-1]) {
		pattern += `\b`
	}
	return regexp.MustCompile(pattern)
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// scope returns the bytes of a function, method or type, and its body.
func (s *source) scope(name string) (from, to int, body ast.Node, ok bool) {
	if name == "" {
		return s.offset(s.file.Name.End()), len(s.code), nil, true
	}
	for _, d := range s.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if funcName(d) != name {
				continue
			}
			if d.Body != nil {
				body = d.Body
			}
			return s.offset(d.Pos()), s.offset(d.End()), body, true
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				t, isType := spec.(*ast.TypeSpec)
				if !isType || t.Name.Name != name {
					continue
				}
				if st, isStruct := t.Type.(*ast.StructType); isStruct {
					body = st.Fields
				}
				return s.offset(t.Pos()), s.offset(t.End()), body, true
			}
		}
	}
	return 0, 0, nil, false
}

// funcName is "chansend", or "timer.reset" for a method, whether or not its receiver is a pointer or generic.
func funcName(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) != 1 {
		return d.Name.Name
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name + "." + d.Name.Name
		default:
			return d.Name.Name
		}
	}
}

// edited returns the file with all changes. Of changes at the same place the first one made comes first.
func (s *source) edited() (string, error) {
	slices.SortStableFunc(s.changes, func(a, b change) int { return a.from - b.from })
	var out strings.Builder
	done := 0
	for _, c := range s.changes {
		if c.from < done {
			return "", fmt.Errorf("%s: %s: two edits change the same text %q", s.version, s.path, s.text[c.from:min(done, len(s.text))])
		}
		out.WriteString(s.text[done:c.from])
		out.WriteString(c.text)
		done = c.to
	}
	out.WriteString(s.text[done:])
	edited := out.String()
	if _, err := parser.ParseFile(token.NewFileSet(), s.path, edited, parser.SkipObjectResolution); err != nil {
		return "", fmt.Errorf("%s: %s: is no longer Go after the patch: %w", s.version, s.path, err)
	}
	return edited, nil
}
