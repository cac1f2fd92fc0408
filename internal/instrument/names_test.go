package instrument

import (
	"go/ast"
	"go/parser"
	"slices"
	"testing"
)

func TestParameterNames_AreThoseOfTheValuesThatCanBeRecorded(t *testing.T) {
	for text, want := range map[string][]string{
		"func()":                                nil,
		"func(int, string)":                     nil,
		"func(_ int)":                           nil,
		"func(a, b int, _ string, rest ...any)": {"a", "b", "_", "rest"},
		"func(a, b, c, d, e, f, g, h, i int)":   {"a", "b", "c", "d", "e", "f", "g", "h"},
	} {
		expression, err := parser.ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := parameterNames(expression.(*ast.FuncType)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, not %q", text, got, want)
		}
	}
}
