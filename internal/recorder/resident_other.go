//go:build !linux

package recorder

import "runtime/metrics"

// residentBytes gives what the runtime has from the system, which is about what is resident.
func residentBytes() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64()) // #nosec G115 -- memory
}
