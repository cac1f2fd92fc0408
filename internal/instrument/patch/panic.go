package patch

// panicArea records panics, with their text, and what recovers from them.
var panicArea = Area{
	Name: "panics",
	Edits: []Edit{
		{File: "runtime/panic.go", In: "gopanic", Place: Before, Anchor: "var p _panic", Text: "pastconePanicked(e); "},
		{File: "runtime/panic.go", In: "gorecover", Place: Before, Anchor: "return p.arg", Text: "pastconeRecovered(sys.GetCallerPC()); "},
	},
}
