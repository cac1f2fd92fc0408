//go:build !(linux || darwin)

package recorder

// freeBytes gives the room on the disk of a directory; below zero if it is not known.
func freeBytes(string) int64 { return -1 }
