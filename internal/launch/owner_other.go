//go:build !unix

package launch

// ownAlone makes sure that nobody else can put anything into a directory: the user's directories are his own here.
func ownAlone(string) error { return nil }
