package patch

// A Function is a function of the standard library that is recorded by an edit here, not by a rewritten source.
type Function struct {
	ID   uint32
	Func string // as runtime.FuncForPC prints it
	File string // below GOROOT/src
	Root bool
}

// FunctionsMax is the largest id that is kept for functions of the standard library. Those of the program follow.
const FunctionsMax = 15

// Functions lists the functions of the standard library that have an id. Their calls carry values: of a request its method
// and path, of a test, a fuzz target or a benchmark its name.
func Functions() []Function {
	return []Function{
		{ID: 1, Func: "net/http.serverHandler.ServeHTTP", File: "net/http/server.go", Root: true},
		{ID: 2, Func: "testing.tRunner", File: "testing/testing.go", Root: true},
		{ID: 3, Func: "testing.fRunner", File: "testing/fuzz.go", Root: true},
		{ID: 4, Func: "testing.(*B).runN", File: "testing/benchmark.go", Root: true},
	}
}

// httpArea makes the requests of net/http roots, in HTTP/1 and HTTP/2, and joins them with those of other recorded processes:
// a client's request gets the header traceparent if it has none, and a server's root tells which one it came with.
var httpArea = Area{
	Name:  "net/http",
	Added: []string{"net/http/zpastcone.go"},
	Edits: []Edit{
		{File: "net/http/server.go", In: "serverHandler.ServeHTTP", Place: Before, Anchor: "handler.ServeHTTP(rw, req)",
			Text: "if pastconeOn() { defer runtime.PastconeExit(pastconeEnter(req)) }; "},
		// Not before origReq: callers may cancel by the request that they have.
		{File: "net/http/transport.go", Place: Package, Text: `import pastconesys "internal/runtime/sys"`},
		{File: "net/http/transport.go", In: "Transport.roundTrip", Anchor: "req = setupRewindBody(req)",
			Text: "; if pastconeOn() && isHTTP { req = pastconeLeaves(req, pastconesys.GetCallerPC()) }"},
	},
}

// testingArea makes tests, subtests, fuzz targets and benchmarks roots.
var testingArea = Area{
	Name:  "testing",
	Added: []string{"testing/zpastcone.go"},
	Edits: []Edit{
		{File: "testing/testing.go", In: "tRunner", Place: Before, Anchor: "fn(t)",
			Text: "if pastconeOn() { defer runtime.PastconeExit(pastconeEnter(pastconeTest, t.name)) }; "},
		{File: "testing/fuzz.go", In: "fRunner", Place: Before, Anchor: "fn(f)",
			Text: "if pastconeOn() { defer runtime.PastconeExit(pastconeEnter(pastconeFuzz, f.name)) }; "},
		{File: "testing/benchmark.go", In: "B.runN", Place: Before, Anchor: "b.benchFunc(b)",
			Text: "if pastconeOn() { defer runtime.PastconeExit(pastconeEnter(pastconeBenchmark, b.name)) }; "},
	},
}

// signalArea records the delivery of a signal to the program, in the goroutine that hands it to the program's channels.
var signalArea = Area{
	Name:  "os/signal",
	Added: []string{"runtime/zpastcone_std.go", "runtime/zpastcone_line.go", "os/signal/zpastcone.go"},
	Edits: []Edit{
		{File: "os/signal/signal.go", In: "process", Place: Entry, Text: "if pastconeOn() { pastconeSignal(sig.String()) }"},
	},
}
