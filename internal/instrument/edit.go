package instrument

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// edit puts text in the place of text[from:to].
type edit struct {
	from, to int
	text     string
	restored bool // the text ends in a line directive of its own
}

// edited is a file that is being changed: edits are collected by position and made all at once.
type edited struct {
	fset  *token.FileSet
	file  *token.File
	text  []byte
	edits []edit
	lines []directive // that the file has itself, in order
}

// directive is a //line directive: from offset on, the file is called as it says. The compiler takes the name as it is; a
// relative one is not made absolute.
type directive struct {
	offset int
	name   string
}

func newEdited(fset *token.FileSet, f *ast.File, text []byte) *edited {
	e := &edited{fset: fset, file: fset.File(f.Package), text: text}
	for _, group := range f.Comments {
		for _, c := range group.List {
			if !lineDirective(fset, c) {
				continue
			}
			if name, ok := directiveFile(c.Text); ok {
				e.lines = append(e.lines, directive{e.file.Offset(c.Pos()), name})
			}
		}
	}
	return e
}

// insert puts text before the character at pos. What is inserted at one place comes out in the order of the calls.
func (e *edited) insert(pos token.Pos, text string) {
	at := e.file.Offset(pos)
	e.edits = append(e.edits, edit{at, at, text, false})
}

// replace puts text in the place of what is from pos to end.
func (e *edited) replace(pos, end token.Pos, text string) {
	e.edits = append(e.edits, edit{e.file.Offset(pos), e.file.Offset(end), text, false})
}

// bytes makes the edits. Behind each, a line directive gives the characters that follow on the same line the position that
// they had: none is needed at a line's end, since no edit holds a line break.
func (e *edited) bytes() ([]byte, error) {
	slices.SortStableFunc(e.edits, func(a, b edit) int {
		if a.from != b.from {
			return a.from - b.from
		}
		return a.to - b.to
	})
	var out bytes.Buffer
	out.Grow(len(e.text) + 96*len(e.edits))
	done := 0
	for i, ed := range e.edits {
		if ed.from < done {
			return nil, fmt.Errorf("%s: two changes of the same place; please report this file", e.fset.Position(e.file.Pos(ed.from)))
		}
		out.Write(e.text[done:ed.from])
		out.WriteString(ed.text)
		done = ed.to
		together := i+1 < len(e.edits) && e.edits[i+1].from == ed.to
		if ed.restored || together || blankToLineEnd(e.text[done:]) {
			continue
		}
		d, err := e.restore(done)
		if err != nil {
			return nil, err
		}
		out.WriteString(d)
	}
	out.Write(e.text[done:])
	return out.Bytes(), nil
}

// restore is the directive that gives the character at offset the position that it had. Where an earlier //line directive
// left the column unknown it stays unknown, which takes a file name.
func (e *edited) restore(offset int) (string, error) {
	p := e.fset.Position(e.file.Pos(offset))
	if p.Column > 0 {
		return "/*line :" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column) + "*/", nil
	}
	name := ""
	for _, d := range e.lines {
		if d.offset >= offset {
			break
		}
		name = d.name
	}
	if strings.Contains(name, "*/") {
		return "", fmt.Errorf("%s: a file name with a comment's end in it; leave the package out with --exclude", p)
	}
	return "/*line " + name + ":" + strconv.Itoa(p.Line) + "*/", nil
}

func blankToLineEnd(text []byte) bool {
	for _, c := range text {
		switch c {
		case '\n':
			return true
		case ' ', '\t', '\r':
		default:
			return false
		}
	}
	return true
}

// lineDirective says whether a comment is one that changes positions.
func lineDirective(fset *token.FileSet, c *ast.Comment) bool {
	if !strings.HasPrefix(c.Text[2:], "line ") {
		return false
	}
	return c.Text[1] == '*' || fset.PositionFor(c.Pos(), false).Column == 1
}

// directiveFile is the file name in a line directive: what stands before :line or :line:column.
func directiveFile(text string) (string, bool) {
	if text[1] == '*' {
		text = text[:len(text)-2]
	}
	text = strings.TrimRight(text[len("//line "):], "\r")
	i, _, ok := cutNumber(text)
	if !ok {
		return "", false
	}
	if j, _, ok := cutNumber(text[:i]); ok {
		i = j
	}
	return text[:i], true
}

func cutNumber(text string) (colon, number int, ok bool) {
	colon = strings.LastIndexByte(text, ':')
	if colon < 0 {
		return 0, 0, false
	}
	number, err := strconv.Atoi(text[colon+1:])
	return colon, number, err == nil && number > 0
}
