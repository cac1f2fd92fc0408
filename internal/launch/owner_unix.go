//go:build unix

package launch

import (
	"fmt"
	"os"
	"syscall"
)

// ownAlone makes sure that nobody else can put anything into a directory that programs are run from.
func ownAlone(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, known := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !known || int(stat.Uid) != os.Getuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s: others may write there (%v), so no program is run from it; XDG_CACHE_HOME names another place", dir, info.Mode())
	}
	return nil
}
