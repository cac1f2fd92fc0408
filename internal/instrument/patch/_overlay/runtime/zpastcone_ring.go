package runtime

import (
	"internal/runtime/atomic"
	"unsafe"
)

// The ring's writer. Each P writes into a chunk of its own, from pp.pcAt to pp.pcEnd; both are 0 when it has none.
//
//  1. Make room: if the chunk has none for the record and its values, the rest of it is padded, it is marked full, and the
//     next free one is taken, by compare-and-swap of its state. If there is none, the policy decides.
//  2. Store the values' records, if any, then the record's words but the second.
//  3. Publish the second word: now the record is there.

// pastconeWrite writes an event of a stream, gives it the next number there, and returns that number.
//
//go:nosplit
func pastconeWrite(stream uint64, seq *uint64, kind uint64, ab, c uint64) uint64 {
	n := *seq + 1
	*seq = n
	pp := getg().m.p.ptr()
	if pp == nil {
		pastconeLost()
		return n
	}
	at := pp.pcAt
	if at == pp.pcEnd {
		at = pastconeRoom(pp, pastconeRecordBytes)
		if at == 0 {
			return n
		}
	}
	pp.pcAt = at + pastconeRecordBytes
	kind |= n&0xffff<<8 | stream<<24
	if pastconeCounted {
		if at&pastconeTimedMask == pastconeTimedAt {
			pastconePutTimed(at, kind, ab, c)
		} else {
			pastconePut(at, kind, ab, c)
		}
		return n
	}
	r := (*[4]uint64)(unsafe.Pointer(at))
	r[0] = uint64(nanotime())
	r[2] = ab
	r[3] = c
	pastconePublish(&r[1], kind)
	return n
}

// What recording costs is measured on the way: one record of pastconeTimedEvery is timed, by its place in its chunk, which is as good as
// chance. Who is interrupted meanwhile counts for no more than pastconeTimedMost.
const (
	pastconeTimedMask = pastconeTimedEvery*pastconeRecordBytes - 1
	pastconeTimedMost = 4096 // ticks
)

// pastconePutTimed is pastconePut for a record that is timed.
//
//go:nosplit
func pastconePutTimed(at uintptr, w1, ab, c uint64) {
	began := pastconeTicks()
	pastconePut(at, w1, ab, c)
	pastconeTook(pastconeTicks() - began)
}

// pastconeTook adds to what was timed.
//
//go:nosplit
func pastconeTook(ticks uint64) {
	ticks = min(ticks, pastconeTimedMost)
	ticks -= min(ticks, pastconeTimedTicks)
	atomic.Xadd64(pastcone64(pastconeOffTimedTicks), int64(ticks))
	atomic.Xadd64(pastcone64(pastconeOffTimed), 1)
}

// pastconeWriteValues writes an event with values.
//
//go:nosplit
func pastconeWriteValues(stream uint64, seq *uint64, kind uint64, ab, c uint64, v *PastconeValues) uint64 {
	n := *seq + 1
	*seq = n
	pp := getg().m.p.ptr()
	if pp == nil {
		pastconeLost()
		return n
	}
	bytes, values := uintptr(pastconeRecordBytes), uint64(0)
	for i := range v.types {
		if v.types[i] != 0 {
			values++
			bytes += pastconeRecordBytes * (1 + pastconeContinued(len(v.texts[i])))
		}
	}
	at := pp.pcAt
	if pp.pcEnd-at < bytes {
		at = pastconeRoom(pp, bytes)
		if at == 0 {
			return n
		}
	}
	pp.pcAt = at + bytes
	r := (*[4]uint64)(unsafe.Pointer(at))
	r[0] = pastconeNow()
	r[2] = ab
	r[3] = c
	for i := range v.types {
		if v.types[i] == 0 {
			continue
		}
		values--
		at += pastconeRecordBytes
		w := (*[4]uint64)(unsafe.Pointer(at))
		text := v.texts[i]
		w[0] = v.bits[i]
		w[1] = pastconeKindValue | uint64(v.types[i])<<8 | uint64(i)<<16 | values<<24 | uint64(uint32(len(text)))<<32
		if len(text) == 0 {
			continue
		}
		left := min(uintptr(len(text)), pastconeTextBytesMax)
		from := unsafe.Pointer(unsafe.StringData(text))
		for {
			left, from = pastconeText24(w, left, from)
			if left == 0 {
				break
			}
			at += pastconeRecordBytes
			w = (*[4]uint64)(unsafe.Pointer(at))
			w[1] = pastconeKindText
		}
	}
	pastconePublish(&r[1], kind|n&0xffff<<8|stream<<24)
	return n
}

// pastconeContinued is how many records a text needs beyond that of its value.
//
//go:nosplit
func pastconeContinued(textBytes int) uintptr {
	if textBytes <= 24 {
		return 0
	}
	return (min(uintptr(textBytes), pastconeTextBytesMax) - 1) / 24
}

// pastconeText24 copies as much of a text as goes into a record: around the record's second word.
//
//go:nosplit
func pastconeText24(w *[4]uint64, left uintptr, from unsafe.Pointer) (uintptr, unsafe.Pointer) {
	first := min(left, 8)
	memmove(unsafe.Pointer(&w[0]), from, first)
	left -= first
	if left == 0 {
		return 0, from
	}
	from = add(from, first)
	second := min(left, 16)
	memmove(unsafe.Pointer(&w[2]), from, second)
	left -= second
	if left == 0 {
		return 0, from
	}
	return left, add(from, second)
}

// pastconeLost counts an event that has a number and no record.
//
//go:nosplit
func pastconeLost() { atomic.Xadd64(pastcone64(pastconeOffDropped), 1) }

// pastconeRoom gives the P a chunk with room for so many bytes, and returns where it begins; 0: the event is lost, and counted.
//
//go:nosplit
func pastconeRoom(pp *p, bytes uintptr) uintptr {
	if pp.pcDropping > 0 {
		pp.pcDropping-- // there was no chunk a moment ago
	} else {
		systemstack(func() { pastconeTake(pp) })
		if pp.pcEnd-pp.pcAt >= bytes {
			return pp.pcAt
		}
	}
	pastconeLost()
	return 0
}

// pastconeLeave gives up the P's chunk.
//
//go:nosplit
func pastconeLeave(pp *p) {
	if pp.pcEnd == 0 {
		return
	}
	if pp.pcAt < pp.pcEnd {
		pastconePublish((*uint64)(unsafe.Pointer(pp.pcAt+8)), pastconeKindPad)
	}
	pp.pcAt, pp.pcEnd = 0, 0
	atomic.Store(pastconeState(pp.pcChunk), pastconeChunkFull)
}

//go:nosplit
func pastconeState(chunk uint32) *uint32 {
	return (*uint32)(unsafe.Pointer(pastconeStates + 4*uintptr(chunk)))
}

// pastconeTake takes a chunk for the P. It runs on the system stack; while it waits the P is held, so that in the end the
// whole program waits for the collector.
func pastconeTake(pp *p) {
	pastconeLeave(pp)
	const (
		shortestMicros   = 20
		longestMicros    = 1000
		droppedBeforeNew = 64 // events that are lost without another look for a free chunk
	)
	began, micros := int64(0), uint32(shortestMicros)
	for *pastconeOnWord != 0 {
		if pastconeTakeNow(pp) {
			break
		}
		if pastconePolicy != pastconePolicyBlock {
			pp.pcDropping = droppedBeforeNew
			break
		}
		now := nanotime()
		if began == 0 {
			began = now
		}
		beat := int64(atomic.Load64(pastcone64(pastconeOffBeat)))
		if beat == 0 {
			beat = began // it has not begun yet
		}
		if now-beat > pastconeBeatStaleNanos {
			*pastconeOnWord = 0 // the collector is dead: go on without it
			break
		}
		usleep(micros)
		micros = min(2*micros, longestMicros)
	}
	if began != 0 {
		atomic.Xadd64(pastcone64(pastconeOffBlockedNanos), nanotime()-began)
	}
}

// pastconeTakeNow takes the first chunk that is free: while the collector keeps up these are the same few, which stay in the
// processors' caches. With policy overwrite it takes the chunk that has been free or full for longest: they are used in turn.
func pastconeTakeNow(pp *p) bool {
	next := uint32(0)
	if pastconePolicy == pastconePolicyOverwrite {
		next = uint32(atomic.Load64(pastcone64(pastconeOffCursor)) % uint64(pastconeChunks))
	}
	for range pastconeChunks {
		chunk := next
		if next++; next == pastconeChunks {
			next = 0
		}
		at := pastconeData + uintptr(chunk)*pastconeChunkBytes
		switch state := pastconeState(chunk); {
		case atomic.Load(state) == pastconeChunkFree && atomic.Cas(state, pastconeChunkFree, pastconeChunkWriting):
		case pastconePolicy == pastconePolicyOverwrite && atomic.Load(state) == pastconeChunkFull && atomic.Cas(state, pastconeChunkFull, pastconeChunkWriting):
			pastconeErase(at)
		default:
			continue
		}
		pp.pcChunk = chunk
		*(*uint32)(unsafe.Pointer(at + 8)) = uint32(pp.id)
		order := atomic.Xadd64(pastcone64(pastconeOffCursor), 1)
		atomic.Store64((*uint64)(unsafe.Pointer(at)), uint64(order))
		pp.pcAt, pp.pcEnd = at+pastconeChunkHeaderBytes, at+pastconeChunkBytes
		return true
	}
	return false
}

// pastconeErase counts the events of a chunk and zeroes it.
func pastconeErase(at uintptr) {
	atomic.Store64((*uint64)(unsafe.Pointer(at)), 0) // no order: it is none of the chunks that were taken
	events := int64(0)
	for r := at + pastconeChunkHeaderBytes; r < at+pastconeChunkBytes; r += pastconeRecordBytes {
		if kind := *(*uint8)(unsafe.Pointer(r + 8)); kind == pastconeKindPad {
			break
		} else if kind != 0 && kind < pastconeKindText {
			events++
		}
	}
	atomic.Xadd64(pastcone64(pastconeOffOverwritten), events)
	memclrNoHeapPointers(unsafe.Pointer(at), pastconeChunkBytes)
}
