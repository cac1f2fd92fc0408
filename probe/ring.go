package probe

import (
	"log/slog"
	"unsafe" // for linkname, and to hand a line over without a copy
)

// ring is where events go in a program that "pastcone run" has built: into the recording of that program, into the stream of
// the goroutine that is at it. The patched runtime puts a function there when the program is linked; in any other
// program nothing does, and it is nil for good.
//
// The function takes what an event line has from its kind on, without the place, which is told by pc: a return address, 0 if
// there is none. It copies the line, and says whether the program is being recorded; with an empty line it says only that.
// What the runtime sees by itself is not sent there: goroutines, channels, locks, calls.
//
//go:linkname ring
var ring func(pc uintptr, line string) bool

// off says that nothing records.
func off() bool { return active.Load() == nil && (ring == nil || !ring(0, "")) }

// ringLineBytesMax bounds a line there: as many values of an event as there can be, each as long as it can be.
const ringLineBytesMax = 8 * 240

// toRing hands an event to the runtime. Of one that is too long for it only the first attribute goes along, the text, cut;
// and the number of those that were left out.
func toRing(f *fields) {
	if f.kind == "" || !ring(0, "") {
		return
	}
	g := *f
	var pc uintptr
	if f.at != nil {
		pc, g.at = f.at.pc, nil
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	line := appendFields((*buffer)[:0], &g)
	for keep := ringLineBytesMax / 2; len(line) > ringLineBytesMax && keep > 8; keep /= 2 {
		g.labels, g.attrs = &nowhere, shortened(f, keep)
		line = appendFields(line[:0], &g)
	}
	if len(line) > ringLineBytesMax {
		g.attrs = nil // a name at its longest, all of it escaped, still fits
		line = appendFields(line[:0], &g)
	}
	*buffer = line
	ring(pc, unsafe.String(unsafe.SliceData(line), len(line)))
}

// shortened gives the first attribute of an event, its text cut, and how many others there are.
func shortened(f *fields, bytesMax int) []slog.Attr {
	omitted := len(f.labels.labels) + len(f.attrs)
	var attrs []slog.Attr
	if len(f.attrs) > 0 {
		text := f.attrs[0].Value.Resolve().String()
		if len(text) > bytesMax {
			text = text[:cutAt(text, bytesMax)] + "…"
		}
		attrs = append(attrs, slog.String(f.attrs[0].Key, text))
		omitted--
	}
	return append(attrs, slog.Int("omitted", omitted))
}
