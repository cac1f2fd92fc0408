package capture

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The document of the ring has every field of the header and every kind of record that the layout has.
func TestDocument_HasTheWholeLayout(t *testing.T) {
	text, err := os.ReadFile("../../../docs/format/ring.md")
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[string]bool{} // in the first column of a table
	for _, row := range regexp.MustCompile(`(?m)^\| ([0-9, ]+) \|`).FindAllStringSubmatch(string(text), -1) {
		for _, n := range strings.Split(row[1], ",") {
			numbers[strings.TrimSpace(n)] = true
		}
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../../capture/layout.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		name := v.Names[0].Name
		value, ok := v.Values[0].(*ast.BasicLit)
		if !ok || !strings.HasPrefix(name, "Off") && !strings.HasPrefix(name, "Kind") {
			return true
		}
		checked++
		number, err := strconv.ParseInt(value.Value, 0, 64)
		if err != nil || !numbers[fmt.Sprint(number)] {
			t.Errorf("%s = %s is not in docs/format/ring.md", name, value.Value)
		}
		return true
	})
	if checked < 50 {
		t.Errorf("%d constants only", checked)
	}
}
