// Package instrument makes a Go program that records itself out of one that does not know of it.
//
// Nothing of the program is changed on disk: not its sources, not its go.mod. The go command can be told, by an overlay,
// to read other files in place of some: of the program's own packages it then reads copies with probes in them, and of the
// standard library a patched runtime (package patch). What comes out is built and cached by the go command like anything
// else; a second build without a change rebuilds nothing.
//
// # Outline
//
//  1. Ask the go command which packages make up the program, with the user's own flags.
//  2. Choose those to record: the main module's by default.
//  3. Parse their files and list the functions (scan).
//  4. Ask the compiler which of those it would inline (judgement): a probe there would cost many times the function.
//  5. Give each function that is left an id, the same as in the build before (register).
//  6. Write the copies (rewrite), the table of ids, and the overlay.
//
// # What a probe looks like
//
//	func (q *Queue) Push(o Order) error {
//	func (q *Queue) Push(o Order) (_pastconeErr /*line :12:31*/error)/*line :12:36*/ { defer _pastcone.PastconeExitError(…, &_pastconeErr);
//
// # Invariants
//
//   - No line is added or taken away, and each node of the original keeps its file, line and column: what is inserted stays
//     on one line, and a /*line :L:C*/ behind it restores the column. So panics, runtime.Caller, vet and debuggers show
//     the user's own source.
//   - A function does what it did. Results get names only where they had none; names that we add are in no file of the
//     package.
//   - The same sources and options give the same bytes, ids included.
//
// In the plan's words this is the InstrumentationRuntime's counterpart at build time, of Layer 1.
package instrument
