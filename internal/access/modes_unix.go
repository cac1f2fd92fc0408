//go:build unix

package access

// checksModes says that a file's mode tells who can read it.
const checksModes = true
