package patch

import (
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

// constants evaluates the constants of a file.
func constants(t *testing.T, file string) map[string]string {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Types and functions are another matter, and may need what is in other files.
	f.Decls = keep(f.Decls)
	f.Imports = nil
	config := types.Config{Importer: importer.Default(), Error: func(error) {}}
	pkg, _ := config.Check("p", fset, []*ast.File{f}, nil)
	values := map[string]string{}
	for _, name := range pkg.Scope().Names() {
		if c, ok := pkg.Scope().Lookup(name).(*types.Const); ok && c.Val().Kind() != constant.Unknown {
			values[name] = c.Val().ExactString()
		}
	}
	return values
}

func keep(all []ast.Decl) (constants []ast.Decl) {
	for _, d := range all {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
			constants = append(constants, d)
		}
	}
	return constants
}

func TestTheRuntimeAndTheCollectorAgreeOnTheLayout(t *testing.T) {
	collector := constants(t, "../../capture/layout.go")
	program := constants(t, "_overlay/runtime/zpastcone.go")
	for name := range program {
		if _, ok := collector[strings.TrimPrefix(name, "pastcone")]; !ok {
			t.Errorf("%s is not known to the collector", name)
		}
	}
	others, err := filepath.Glob("_overlay/runtime/zpastcone_*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range others {
		maps.Copy(program, constants(t, file))
	}
	checked := 0
	for name, value := range collector {
		switch got, ok := program["pastcone"+name]; {
		case name == "ChunkBytes" || name == "ChunkRecords" || name == "EnvRing":
			// The program has these from the header, or does not need them.
		case !ok:
			t.Errorf("%s is not known to the program", name)
		case got != value:
			t.Errorf("%s is %s in the program, %s for the collector", name, got, value)
		default:
			checked++
		}
	}
	if checked < 80 {
		t.Errorf("%d constants compared", checked)
	}
}
