//go:build amd64 || arm64

package capture

// readCounter reads the counter of the processor that the recorded program reads, too.
func readCounter() uint64
