// Package launch records a Go program from its build to its end.
//
//	instrument.Prepare ──► go build -overlay ──► program ──ring──► collector ──► capture file ──► source/capture ──► the engine
//
// The program runs as if nobody was there: its input, output, error, exit status and signals are its own, its sources,
// go.mod and build cache stay as they are. What it records goes through a ring in shared memory into a capture file, which
// outlives both; the engine reads that file as it grows, with less claim to the processor than the program has, and waits while the
// program uses most of them.
//
// In the plan's words this starts and supervises Layer 1.
package launch
