package capture

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

// The bounds of the table of functions.
const (
	functionLineBytesMax = 64 << 10
	functionsBytesMax    = 512 << 20
	functionsFrameBytes  = 256 << 10 // a frame is ended behind that
	programCountersMax   = 1 << 20
	placesFrameBytesMax  = frameBytesMax - locationBytesMax
	placesTextBytesMax   = 1 << 32 // program counters have 32 bits
)

// copyFunctions copies the table of functions into the file: a capture file stands alone.
func copyFunctions(path string, to *spool) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path) // #nosec G304 -- the launcher names it
	if err != nil {
		return fmt.Errorf("table of functions: %w", err)
	}
	defer f.Close()
	lines := bufio.NewReaderSize(io.LimitReader(f, functionsBytesMax), functionLineBytesMax)
	var part []byte
	for n := 1; ; n++ {
		line, err := lines.ReadSlice('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("table of functions: %s:%d: %w", path, n, err)
		}
		part = append(part, line...)
		if len(part) >= functionsFrameBytes || err == io.EOF {
			if len(part) > 0 {
				if err := to.add(frameFunctions, func(dst []byte) []byte { return append(dst, part...) }); err != nil {
					return err
				}
			}
			part = part[:0]
		}
		if err == io.EOF {
			return nil
		}
	}
}
