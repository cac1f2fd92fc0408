//go:build conformance

package symbols

// everyForm says that programs of the other Go versions that are supported are looked at, too. They are downloads of their own: make
// conformance does it.
const everyForm = true
