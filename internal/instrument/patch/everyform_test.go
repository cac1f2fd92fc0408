//go:build conformance

package patch

// everyForm says that programs are built in every form that is supported, and not in the usual one alone. Each form builds the standard
// library anew, which takes half a minute of a processor or more: make conformance does it.
const everyForm = true
