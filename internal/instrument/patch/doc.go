// Package patch makes a Go program's own runtime tell what the program does: it edits files of the standard library, and adds
// some, for one build, by the go command's -overlay. Nothing on disk is touched but the directory that it is given.
//
//	GOROOT/src ──Overlay──► outDir: edited and added files ──-overlay──► go build ──► program that records itself
//
// # Edits
//
// A patched part of the standard library is an Area: a list of edits, and of files to add. An Edit is put at an anchor (a
// text, or a place such as a function's entry) inside one named function or type, which is found by parsing the file. The
// anchor has to be there an exact number of times, comments apart; otherwise Overlay fails with an AnchorError that names Go
// version, file, function and anchor. So a Go version that is not known to us either has all the places that we know, or is
// refused: nothing is patched on a guess. Edits never add or remove a line, so that stack traces show the lines that the
// standard library's sources have.
//
// # Added files
//
// They lie under _overlay, as Go and assembly source, at the paths that they get below GOROOT/src. The first is
// runtime/zpastcone.go: the ring's writer, and the probes that rewritten sources call. It knows the bytes of the ring that
// package capture lays down; a test here holds the constants of both equal.
//
// In the plan's words this is the runtime half of Layer 1's instrumentation; the ring it writes is the RingBuffer.
package patch
