//go:build !unix

package instrument

import (
	"context"
	"errors"
	"os"
)

func lockFile(context.Context, *os.File) error {
	return errors.New("recording Go programs as they are needs Linux or macOS; package probe records on every system")
}
