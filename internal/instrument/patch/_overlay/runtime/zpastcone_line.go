package runtime

import _ "unsafe" // for linkname

// pastconeProbe is the variable ring of package probe, which a program may import to record more than the runtime sees: where it is
// linked in, it finds pastconeLine there. Everywhere else that variable is nil.
//
//go:linkname pastconeProbe github.com/pastcone/pastcone/probe.ring
var pastconeProbe func(pc uintptr, line string) bool = pastconeLine

// pastconeLine records an event of package probe in the stream of the goroutine that is at it, and tells whether the goroutine is
// recorded. An empty line is no event. The line has at most as many bytes as an event's values hold.
func pastconeLine(pc uintptr, line string) bool {
	if *pastconeOnWord == 0 || !pastconeRecords(getg()) {
		return false
	}
	if line == "" {
		return true
	}
	var v PastconeValues
	for i := 0; line != ""; i++ {
		n := min(len(line), pastconeTextBytesMax)
		v.String(i, line[:n])
		line = line[n:]
	}
	pastconeEmitValues(pastconeKindProbe, 0, pastconePlace(pc), 0, &v)
	return true
}
