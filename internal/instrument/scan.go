package instrument

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// scanned is what one file says about itself. It depends on the file's path and text alone, so it can be kept.
type scanned struct {
	Package        string     `json:"package"`
	Functions      []function `json:"functions,omitempty"`
	Linknames      []string   `json:"linknames,omitempty"`      // functions whose symbol another package has a hand in
	ShadowsError   bool       `json:"shadowsError,omitempty"`   // something here is called error that is not the type error
	PrivateNames   []string   `json:"privateNames,omitempty"`   // identifiers that begin as ours do
	ImportsC       bool       `json:"importsC,omitempty"`       // cgo
	InitFunctions  int        `json:"initFunctions,omitempty"`  // number of functions called init
	InitLiterals   int        `json:"initLiterals,omitempty"`   // number of function literals outside of functions
	LineDirectives bool       `json:"lineDirectives,omitempty"` // it says that it was made out of another file
}

// function is a function or a function literal with a body, in the order of their appearance in the file.
type function struct {
	Root    string `json:"root"`           // symbol without the package: "(*Queue).Push", "init", or "" for a literal outside of functions
	Number  int    `json:"number"`         // of an init function or of a literal outside of functions: the how-manieth of its file, from 0
	Rest    string `json:"rest,omitempty"` // for a literal: ".func1.2"
	File    string `json:"file"`           // as positions have it, after //line
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Leave   leave  `json:"leave,omitempty"`
	Handler bool   `json:"handler,omitempty"` // of the form that net/http calls

	Parameters int `json:"parameters,omitempty"`
	Results    int `json:"results,omitempty"`

	Names []string `json:"names,omitempty"` // of the parameters that can be recorded; "" and "_" have none
}

// leave is why a function can have no probe.
type leave string

const (
	leaveEmpty  leave = "empty"    // nothing to record between its call and its return
	leavePragma leave = "pragma"   // runs where no probe may: go:nosplit and its like
	leaveExport leave = "export"   // called by C, on a stack that may not be Go's yet
	leaveBlank  leave = "blank"    // called _: can not be called
	leaveLink   leave = "linkname" // its symbol is shared with another package, perhaps with the runtime
)

// privatePrefix begins all names that we add.
const privatePrefix = "_pastcone"

// pragmas that a probe would break.
var pragmas = []string{"go:nosplit", "go:systemstack", "go:nowritebarrier", "go:nowritebarrierrec", "go:yeswritebarrierrec", "go:cgo_unsafe_args", "go:registerparams"}

// parse reads a file as the compiler does. path is the name that positions get.
func parse(path string, text []byte) (*token.FileSet, *ast.File, error) {
	fset := token.NewFileSet()
	f, err := parseInto(fset, path, text)
	return fset, f, err
}

func parseInto(fset *token.FileSet, path string, text []byte) (*ast.File, error) {
	return parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
}

func scan(path string, text []byte) (*scanned, error) {
	fset, f, err := parse(path, text)
	if err != nil {
		return nil, err
	}
	s := &scanned{Package: f.Name.Name}
	for _, spec := range f.Imports {
		if spec.Path.Value == `"C"` {
			s.ImportsC = true
		}
	}
	for _, group := range f.Comments {
		for _, c := range group.List {
			if rest, ok := strings.CutPrefix(c.Text, "//go:linkname "); ok {
				if names := strings.Fields(rest); len(names) > 0 {
					s.Linknames = append(s.Linknames, names[0])
				}
			}
			if lineDirective(fset, c) {
				s.LineDirectives = true
			}
		}
	}
	http := httpNames(f)
	visitFunctions(f, func(v visited) {
		p := fset.Position(v.name)
		fn := function{Root: v.root, Number: v.number, Rest: v.rest, File: p.Filename, Line: p.Line, Column: p.Column}
		fn.Leave = v.leave
		fn.Parameters, fn.Results = v.typ.Params.NumFields(), v.typ.Results.NumFields()
		fn.Handler = http.handler(v.typ)
		fn.Names = parameterNames(v.typ)
		s.Functions = append(s.Functions, fn)
		if v.decl != nil && v.root == "init" && v.decl.Recv == nil {
			s.InitFunctions = max(s.InitFunctions, v.number+1)
		}
		if v.root == "" {
			s.InitLiterals = max(s.InitLiterals, v.number+1)
		}
	})
	s.ShadowsError = declares(f, "error")
	private := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && strings.HasPrefix(id.Name, privatePrefix) {
			private[id.Name] = true
		}
		return true
	})
	for name := range private {
		s.PrivateNames = append(s.PrivateNames, name)
	}
	slices.Sort(s.PrivateNames)
	return s, nil
}

// parameterNames gives what the parameters are called, as far as their values can be recorded; nil if none has a name.
func parameterNames(t *ast.FuncType) (names []string) {
	named := false
	for _, field := range t.Params.List {
		if len(field.Names) == 0 {
			names = append(names, "")
		}
		for _, id := range field.Names {
			named = named || id.Name != "_"
			names = append(names, id.Name)
		}
	}
	if !named {
		return nil
	}
	return names[:min(len(names), valuesMax)]
}

// visited is one function of a file.
type visited struct {
	root   string
	number int
	rest   string
	name   token.Pos // where the compiler says that it is
	typ    *ast.FuncType
	body   *ast.BlockStmt
	decl   *ast.FuncDecl // nil for a literal
	leave  leave
}

// compilersPos gives the position by which the compiler knows a function: what stands behind the word func, of a method the receiver.
func compilersPos(n *ast.FuncDecl) token.Pos {
	if n.Recv != nil {
		return n.Recv.Opening
	}
	return n.Name.Pos()
}

// visitFunctions calls visit for each function with a body, in source order. Names are those that the compiler gives.
func visitFunctions(f *ast.File, visit func(visited)) {
	inits, literals := 0, 0
	type frame struct {
		visited
		depth    int // of literals
		literals int
	}
	var open []*frame
	var nodes []bool // whether the node opened a frame
	pragma := pragmasOf(f)
	ast.Inspect(f, func(n ast.Node) bool {
		if n == nil {
			if last := len(nodes) - 1; nodes[last] {
				open = open[:len(open)-1]
			}
			nodes = nodes[:len(nodes)-1]
			return true
		}
		var fr *frame
		switch n := n.(type) {
		case *ast.FuncDecl:
			fr = &frame{visited: visited{root: symbol(n), name: compilersPos(n), typ: n.Type, body: n.Body, decl: n, leave: pragma[n]}}
			if n.Name.Name == "_" {
				fr.leave = leaveBlank
			}
			if n.Recv == nil && n.Name.Name == "init" {
				fr.number = inits
				inits++
			}
		case *ast.FuncLit:
			fr = &frame{visited: visited{name: n.Pos(), typ: n.Type, body: n.Body}}
			if len(open) == 0 {
				fr.number = literals
				literals++
				break
			}
			outer := open[len(open)-1]
			outer.literals++
			fr.root, fr.number, fr.depth = outer.root, outer.number, outer.depth+1
			suffix := ".func"
			if outer.depth > 0 || outer.decl == nil {
				suffix = "."
			}
			fr.rest = outer.rest + suffix + strconv.Itoa(outer.literals)
		}
		nodes = append(nodes, fr != nil)
		if fr != nil {
			open = append(open, fr)
			if fr.body != nil {
				if fr.leave == "" && len(fr.body.List) == 0 {
					fr.leave = leaveEmpty
				}
				visit(fr.visited)
			}
		}
		return true
	})
}

// symbol is the name of a declared function within its package, as the runtime prints it.
func symbol(d *ast.FuncDecl) string {
	name := d.Name.Name
	if d.Recv == nil || len(d.Recv.List) == 0 {
		if d.Type.TypeParams != nil {
			name += "[...]"
		}
		return name
	}
	t := ast.Unparen(d.Recv.List[0].Type)
	pointer := false
	if star, ok := t.(*ast.StarExpr); ok {
		pointer, t = true, ast.Unparen(star.X)
	}
	generic := ""
	switch x := t.(type) {
	case *ast.IndexExpr:
		t, generic = x.X, "[...]"
	case *ast.IndexListExpr:
		t, generic = x.X, "[...]"
	}
	receiver := "?"
	if id, ok := t.(*ast.Ident); ok {
		receiver = id.Name
	}
	if pointer {
		return fmt.Sprintf("(*%s%s).%s", receiver, generic, name)
	}
	return fmt.Sprintf("%s%s.%s", receiver, generic, name)
}

// pragmasOf finds the functions that a comment before them makes special. As for the compiler, the comment may be
// anywhere between the declaration before and the function.
func pragmasOf(f *ast.File) map[*ast.FuncDecl]leave {
	found := map[*ast.FuncDecl]leave{}
	comments := f.Comments
	for _, d := range f.Decls {
		for len(comments) > 0 && comments[0].Pos() < d.End() {
			group := comments[0]
			comments = comments[1:]
			fn, ok := d.(*ast.FuncDecl)
			if !ok || group.Pos() > fn.Type.Pos() {
				continue
			}
			for _, c := range group.List {
				word, isDirective := strings.CutPrefix(c.Text, "//")
				word, _, _ = strings.Cut(word, " ")
				switch {
				case !isDirective:
				case slices.Contains(pragmas, strings.TrimSpace(word)):
					found[fn] = leavePragma
				case word == "export", word == "go:wasmexport":
					found[fn] = leaveExport
				}
			}
		}
	}
	return found
}

// declares says whether something in the file has the name. It may say so too often (a name in an inner scope counts for
// the whole file), never too rarely.
func declares(f *ast.File, name string) bool {
	found := false
	note := func(ids ...*ast.Ident) {
		for _, id := range ids {
			found = found || id != nil && id.Name == name
		}
	}
	fields := func(list *ast.FieldList) {
		if list != nil {
			for _, field := range list.List {
				note(field.Names...)
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			note(n.Name)
		case *ast.TypeSpec:
			note(n.Name)
			fields(n.TypeParams)
		case *ast.ValueSpec:
			note(n.Names...)
		case *ast.FuncDecl:
			if n.Recv == nil {
				note(n.Name)
			}
			fields(n.Recv)
			if n.Recv != nil {
				// The type parameters of a method are declared in its receiver: func (l *List[error]) …
				for _, field := range n.Recv.List {
					ast.Inspect(field.Type, func(n ast.Node) bool {
						switch n := n.(type) {
						case *ast.IndexExpr:
							if id, ok := n.Index.(*ast.Ident); ok {
								note(id)
							}
						case *ast.IndexListExpr:
							for _, e := range n.Indices {
								if id, ok := e.(*ast.Ident); ok {
									note(id)
								}
							}
						}
						return true
					})
				}
			}
		case *ast.FuncType:
			fields(n.TypeParams)
			fields(n.Params)
			fields(n.Results)
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, e := range n.Lhs {
					if id, ok := e.(*ast.Ident); ok {
						note(id)
					}
				}
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				for _, e := range []ast.Expr{n.Key, n.Value} {
					if id, ok := e.(*ast.Ident); ok {
						note(id)
					}
				}
			}
		}
		return !found
	})
	return found
}

// httpImport is how a file calls net/http.
type httpImport struct {
	name string // "" if it does not import it
}

func httpNames(f *ast.File) httpImport {
	for _, spec := range f.Imports {
		if spec.Path.Value != `"net/http"` {
			continue
		}
		if spec.Name == nil {
			return httpImport{"http"}
		}
		return httpImport{spec.Name.Name}
	}
	return httpImport{}
}

// handler says whether a function is func(http.ResponseWriter, *http.Request).
func (h httpImport) handler(t *ast.FuncType) bool {
	if h.name == "" || t.Params == nil || t.Params.NumFields() != 2 || len(t.Params.List) != 2 || t.TypeParams != nil {
		return false
	}
	star, ok := ast.Unparen(t.Params.List[1].Type).(*ast.StarExpr)
	return ok && h.is(t.Params.List[0].Type, "ResponseWriter") && h.is(star.X, "Request")
}

func (h httpImport) is(e ast.Expr, name string) bool {
	switch e := ast.Unparen(e).(type) {
	case *ast.SelectorExpr:
		x, ok := e.X.(*ast.Ident)
		return ok && x.Name == h.name && e.Sel.Name == name
	case *ast.Ident:
		return h.name == "." && e.Name == name
	}
	return false
}
