package instrument

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// site is an assignment to a field that is recorded.
type site struct {
	Offset int    `json:"offset"` // of the statement, in the file
	Left   int    `json:"left"`   // which of the operands on the left
	ID     uint32 `json:"id"`
}

// sites puts the probes of assignments into the file:
//
//	o.Status = next()
//	{ _pastconeS0 := &o.Status; _pastconeO0 := *_pastconeS0; *_pastconeS0 = next(); runtime.PastconeAssigned(18, _pastconeS0, _pastconeO0, *_pastconeS0) }
//
// So the operand on the left is worked out once, and first, as in Go; but if it goes through a pointer that is nil, the panic
// comes before the right side is worked out, not behind it.
func (r *rewriter) sites(f *ast.File) error {
	if len(r.plan.Sites) == 0 {
		return nil
	}
	r.usesRuntime = true
	byOffset := map[int][]site{}
	for _, s := range r.plan.Sites {
		byOffset[s.Offset] = append(byOffset[s.Offset], s)
	}
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		st, ok := n.(ast.Stmt)
		if !ok {
			return true
		}
		left := leftOf(st)
		if left == nil {
			return true
		}
		list := byOffset[r.file.Offset(st.Pos())]
		if len(list) == 0 {
			return true
		}
		found += len(list)
		our := r.plan.Private
		var after strings.Builder
		if len(left) == 1 {
			r.insert(left[0].Pos(), fmt.Sprintf("{ %sS0 := &", our))
			r.insert(left[0].End(), fmt.Sprintf("; %sO0 := *%sS0; *%sS0", our, our, our))
			fmt.Fprintf(&after, "; %s.PastconeAssigned(%d, %sS0, %sO0, *%sS0)", our, list[0].ID, our, our, our)
		} else {
			var before strings.Builder
			before.WriteString("{ ")
			for i, s := range list {
				fmt.Fprintf(&before, "%sS%d := &%s; %sO%d := *%sS%d; ", our, i, types.ExprString(left[s.Left]), our, i, our, i)
				fmt.Fprintf(&after, "; %s.PastconeAssigned(%d, %sS%d, %sO%d, *%sS%d)", our, s.ID, our, i, our, i, our, i)
			}
			r.insert(st.Pos(), before.String())
		}
		r.insert(st.End(), after.String()+" }")
		return true
	})
	if found != len(r.plan.Sites) {
		return fmt.Errorf("%s: %d assignments to record, %d found; please report this file", r.file.Name(), len(r.plan.Sites), found)
	}
	return nil
}

// leftOf returns what a statement assigns to.
func leftOf(s ast.Stmt) []ast.Expr {
	switch s := s.(type) {
	case *ast.AssignStmt:
		if s.Tok != token.DEFINE {
			return s.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{s.X}
	}
	return nil
}

// field is a field whose assignments are recorded.
type field struct {
	text, pkg, typ, name string
	found                int
}

// parseField reads "example.com/shop/orders.Order.Status"; the package may be its last element alone.
func parseField(text string) (*field, error) {
	rest, name, ok1 := cutLast(text, ".")
	pkg, typ, ok2 := cutLast(rest, ".")
	if !ok1 || !ok2 || !token.IsIdentifier(name) || !token.IsIdentifier(typ) || pkg == "" {
		return nil, fmt.Errorf("--state %s: want package.Type.field, for example example.com/shop/orders.Order.Status", text)
	}
	return &field{text: text, pkg: pkg, typ: typ, name: name}, nil
}

// shown is how the table calls a field: the package by the last element of its path.
func (f *field) shown() string {
	pkg := f.pkg[strings.LastIndexByte(f.pkg, '/')+1:]
	return pkg + "." + f.typ + "." + f.name
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// inPackage says whether a pattern's package is that of the path: the same, or its last element.
func inPackage(want, path string) bool {
	return want == path || strings.HasSuffix(path, "/"+want)
}

// assignment is a statement that assigns to one of the fields.
type assignment struct {
	offset, left int
	line         int
	field        *field
	function     int // index of the innermost function around it, -1 if there is none
}

// assignments finds the assignments to the fields, by type-checking the packages that name them.
func (p *preparation) assignments(ctx context.Context, fields []*field, replace map[string]string) (map[*sourceFile][]assignment, error) {
	var concerned []*sourcePackage
	for _, pkg := range p.packages {
		if slices.ContainsFunc(pkg.Files, func(f *sourceFile) bool {
			return slices.ContainsFunc(fields, func(fd *field) bool { return strings.Contains(string(f.text), fd.name) })
		}) {
			concerned = append(concerned, pkg)
		}
	}
	found := map[*sourceFile][]assignment{}
	if len(concerned) == 0 {
		return found, nil
	}
	exports, err := p.exports(ctx, replace)
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		file, ok := exports[path]
		if !ok {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(file)
	})
	for _, pkg := range concerned {
		if err := p.assignmentsOf(pkg, fields, fset, imports, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// exports asks for the compiler's export data of all packages of the program.
func (p *preparation) exports(ctx context.Context, replace map[string]string) (map[string]string, error) {
	overlay, err := p.overlay(replace)
	if err != nil {
		return nil, err
	}
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export"}
	if p.Test {
		args = append(args, "-test")
	}
	args = append(append(args, withoutFlag(p.go_.flags, "overlay")...), "-overlay="+overlay, "--")
	out, err := p.go_.output(ctx, append(args, p.Options.Packages...)...)
	if err != nil {
		return nil, err
	}
	exports := map[string]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var e struct{ ImportPath, Export string }
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			return exports, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		path, _, variant := strings.Cut(e.ImportPath, " [")
		if _, have := exports[path]; e.Export != "" && (!variant || !have) {
			exports[path] = e.Export
		}
	}
}

func (p *preparation) assignmentsOf(pkg *sourcePackage, fields []*field, fset *token.FileSet, imports types.Importer, found map[*sourceFile][]assignment) error {
	var trees []*ast.File
	sources := map[*ast.File]*sourceFile{}
	for _, f := range pkg.Files {
		if f.Cgo {
			p.miss("Assignments in %s are not recorded: it uses cgo.", f.Show)
			continue
		}
		tree, err := parseInto(fset, f.Path, f.text)
		if err != nil {
			return err
		}
		trees = append(trees, tree)
		sources[tree] = f
	}
	info := &types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}}
	var failed []error
	c := types.Config{Importer: imports, FakeImportC: true, Error: func(err error) { failed = append(failed, err) }}
	if m := pkg.Module; m != nil && m.GoVersion != "" {
		c.GoVersion = "go" + m.GoVersion
	}
	// Errors leave parts without types: that is so where a file of cgo is left out. What has none is not recorded.
	_, _ = c.Check(pkg.ImportPath, fset, trees, info)
	if len(failed) > 0 && !slices.ContainsFunc(pkg.Files, func(f *sourceFile) bool { return f.Cgo }) {
		p.miss("Some assignments in %s may not be recorded: %v.", pkg.ImportPath, failed[0])
	}
	for _, tree := range trees {
		f := sources[tree]
		file := fset.File(tree.Package)
		var functions []ast.Node
		visitFunctions(tree, func(v visited) { functions = append(functions, v.body) })
		inList := statements(tree)
		ast.Inspect(tree, func(n ast.Node) bool {
			s, ok := n.(ast.Stmt)
			if !ok {
				return true
			}
			left := leftOf(s)
			for i, e := range left {
				fd := fieldOf(e, fields, info)
				if fd == nil {
					continue
				}
				fd.found++
				if !inList[s] {
					p.miss("The assignment at %s is not recorded: it is part of another statement.", fset.Position(s.Pos()))
					continue
				}
				if len(left) > 1 && !pure(e) {
					p.miss("The assignment at %s is not recorded: it assigns several at once, and calls something on the left.", fset.Position(s.Pos()))
					continue
				}
				a := assignment{offset: file.Offset(s.Pos()), left: i, line: fset.Position(s.Pos()).Line, field: fd, function: -1}
				for j, body := range functions {
					if body.Pos() <= s.Pos() && s.End() <= body.End() {
						a.function = j // the last that matches is the innermost
					}
				}
				if a.function >= 0 && f.scan.Functions[a.function].Leave == leavePragma {
					p.miss("The assignment at %s is not recorded: its function runs where no probe may.", fset.Position(s.Pos()))
					continue
				}
				found[f] = append(found[f], a)
			}
			return true
		})
	}
	return nil
}

// fieldOf returns which of the fields an expression selects.
func fieldOf(e ast.Expr, fields []*field, info *types.Info) *field {
	s, ok := ast.Unparen(e).(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	sel := info.Selections[s]
	if sel == nil || sel.Kind() != types.FieldVal {
		return nil
	}
	// The field may be that of a struct that is embedded: follow the way to it.
	t := sel.Recv()
	var owner *types.Named
	for _, i := range sel.Index() {
		if p, ok := t.Underlying().(*types.Pointer); ok {
			t = p.Elem()
		}
		owner, _ = types.Unalias(t).(*types.Named)
		st, ok := t.Underlying().(*types.Struct)
		if !ok {
			return nil
		}
		t = st.Field(i).Type()
	}
	if owner == nil || owner.Obj().Pkg() == nil {
		return nil
	}
	for _, fd := range fields {
		if fd.name == s.Sel.Name && fd.typ == owner.Obj().Name() && (inPackage(fd.pkg, owner.Obj().Pkg().Path()) || fd.pkg == owner.Obj().Pkg().Name()) {
			return fd
		}
	}
	return nil
}

// statements are those that stand in a list of statements, so that a block may take their place.
func statements(f *ast.File) map[ast.Stmt]bool {
	in := map[ast.Stmt]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		var list []ast.Stmt
		switch n := n.(type) {
		case *ast.BlockStmt:
			list = n.List
		case *ast.CaseClause:
			list = n.Body
		case *ast.CommClause:
			list = n.Body
		}
		for _, s := range list {
			for {
				in[s] = true
				l, ok := s.(*ast.LabeledStmt)
				if !ok {
					break
				}
				s = l.Stmt
			}
		}
		return true
	})
	return in
}

// pure says whether an expression can be worked out twice without a difference.
func pure(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident, *ast.BasicLit:
		return true
	case *ast.ParenExpr:
		return pure(e.X)
	case *ast.SelectorExpr:
		return pure(e.X)
	case *ast.StarExpr:
		return pure(e.X)
	case *ast.IndexExpr:
		return pure(e.X) && pure(e.Index)
	}
	return false
}

// fieldsOf reads the fields of --state.
func fieldsOf(texts []string) ([]*field, error) {
	fields := map[string]*field{}
	for _, t := range texts {
		for part := range strings.SplitSeq(t, ",") {
			fd, err := parseField(strings.TrimSpace(part))
			if err != nil {
				return nil, err
			}
			fields[fd.text] = fd
		}
	}
	var list []*field
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		list = append(list, fields[k])
	}
	return list, nil
}
