// Package symbols tells which function and line a program counter of a Go program belongs to, from the program's file alone: ELF
// or Mach-O, stripped or not, position-independent or not, linked by Go or by the system's linker.
//
// It reads the table that Go's runtime itself uses for its stack traces (pclntab). That one has what the debugging information has
// not when it was stripped, and it says which function was inlined where: the innermost one is the place that a person means. The
// standard library's debug/gosym reads the same table, but knows the outer function only.
//
// Where the tree of inlined calls lies is not in that table. It is found by the linker's symbol, or else by the runtime's description
// of the program (moduledata), which is known by the pointers in it. If neither can be found, a place inside an inlined call has
// its file and line, and no function: a place may be unknown, but it is never wrong.
//
// In the plan's words this is a part of the Utils of the Ingestor.
package symbols
