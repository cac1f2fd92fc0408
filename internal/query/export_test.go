package query

import (
	"fmt"
	"strings"
)

// QuantileOf gives the quantile of floats as an aggregate would.
func QuantileOf(values []float64, share float64) float64 {
	n := numbers{sketch: &sketch{}}
	for _, v := range values {
		n.addFloat(v)
	}
	return n.quantile(aggregate{fn: fnQuantile, share: share, of: field{fieldInfo: findField("data"), path: []string{"x"}}}).Float
}

// FieldsTable gives the fields as the documentation lists them.
func FieldsTable() string {
	types := map[fieldType]string{
		typeString: "text", typeInteger: "number", typeTime: "time", typeDuration: "duration", typeKind: "kind", typeBoolean: "true, false",
		typeConfidence: "confidence", typeSource: "text or number", typeText: "text", typeData: "any value",
	}
	var b strings.Builder
	for _, f := range fieldTable {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.name, types[f.typ], f.means)
	}
	return b.String()
}
