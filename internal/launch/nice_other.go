//go:build !linux

package launch

// stepBack does nothing where threads have no priority of their own.
func stepBack(int) {}
