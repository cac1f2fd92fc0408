// Package runtime, as patched to record the program. These files (zpastcone*.go) are added to it; the edits of its own files
// call them.
//
//	zpastcone.go         what the program agrees on with the collector; start and end
//	zpastcone_ring.go    the ring's writer
//	zpastcone_probe.go   what rewritten sources call: calls, returns, values, state
//	zpastcone_error.go   errors and panics
//	zpastcone_flow.go    goroutines and channels
//
// Invariants:
//
//  1. A record is written by a nosplit function that holds its P: nothing else writes into that P's chunk meanwhile.
//  2. A goroutine's events are numbered in the order in which it did them, on whatever P, without holes: a number that has no
//     record was lost, and is counted.
//  3. Ordinals of a channel are given out under the channel's lock, in the order in which its elements pass. They are also
//     counted while nothing is recorded: that costs less than to ask.
//  4. Nothing is written with a lock of the runtime held that the collector, a process of its own, could need; so waiting for
//     it (policy block) ends.
//  5. Switched off, a probe is one load and a branch.
package runtime

import (
	"internal/runtime/atomic"
	"unsafe"
)

// The layout of package capture; a test holds both equal.
const (
	pastconeMagic   = 0x01_474e_4952_4350
	pastconeVersion = 1

	pastconeOffMagic          = 0
	pastconeOffVersion32      = 8
	pastconeOffPolicy32       = 12
	pastconeOffChunkBytes32   = 16
	pastconeOffChunks32       = 20
	pastconeOffFunctions32    = 24
	pastconeOffPs32           = 28
	pastconeOffChunkStates    = 32
	pastconeOffFunctionStates = 40
	pastconeOffSilence        = 48
	pastconeOffChunkData      = 56
	pastconeOffOwner32        = 64
	pastconeOffCollector32    = 68
	pastconeOffBeat           = 72
	pastconeOffOn32           = 80
	pastconeOffEnd32          = 84
	pastconeOffExitCode32     = 88
	pastconeOffClock32        = 92
	pastconeOffTextStart      = 96
	pastconeOffTextEnd        = 104
	pastconeOffStartTicks     = 112
	pastconeOffStartUnix      = 120
	pastconeOffCursor         = 128
	pastconeOffDropped        = 136
	pastconeOffOverwritten    = 144
	pastconeOffBlockedNanos   = 152
	pastconeOffGoroutines     = 160
	pastconeOffLocksForgotten = 168
	pastconeOffEndSignal32    = 176
	pastconeOffAcquiresLeft   = 184
	pastconeOffTimedTicks     = 192
	pastconeOffTimed          = 200
	pastconeHeaderBytes       = 4096

	pastconePolicyBlock     = 0
	pastconePolicyDrop      = 1
	pastconePolicyOverwrite = 2

	pastconeChunkFree    = 0
	pastconeChunkWriting = 1
	pastconeChunkFull    = 2

	pastconeFunctionOn     = 0
	pastconeFunctionSilent = 1

	pastconeEndExit  = 1
	pastconeEndPanic = 2
	pastconeEndFatal = 3

	pastconeClockTSC    = 1
	pastconeClockCNTVCT = 2
	pastconeClockNanos  = 3

	pastconeBeatStaleNanos   = 2_000_000_000
	pastconeChunkHeaderBytes = 32
	pastconeTimedEvery       = 1024
	pastconeRecordBytes      = 32

	pastconeKindCall            = 1
	pastconeKindCallRoot        = 2
	pastconeKindReturn          = 3
	pastconeKindSpawn           = 4
	pastconeKindStart           = 5
	pastconeKindExit            = 6
	pastconeKindSend            = 7
	pastconeKindSendEmpty       = 8
	pastconeKindReceive         = 9
	pastconeKindReceiveEmpty    = 10
	pastconeKindReceiveClosed   = 11
	pastconeKindClose           = 12
	pastconeKindAcquire         = 13
	pastconeKindAcquireInferred = 14
	pastconeKindAcquireRange    = 15
	pastconeKindRelease         = 16
	pastconeKindNotify          = 17
	pastconeKindWake            = 18
	pastconeKindTimerSet        = 19
	pastconeKindTimerSend       = 20
	pastconeKindTimerSpawn      = 21
	pastconeKindPanic           = 22
	pastconeKindRecover         = 23
	pastconeKindError           = 24
	pastconeKindState           = 25
	pastconeKindQueueSend       = 26
	pastconeKindQueueReceive    = 27
	pastconeKindSignal          = 28
	pastconeKindLog             = 29
	pastconeKindTraceOut        = 30
	pastconeKindTraceIn         = 31
	pastconeKindAcquireUnseen   = 32
	pastconeKindProbe           = 33
	pastconeKindValue           = 0xFE
	pastconeKindText            = 0xFD
	pastconeKindPad             = 0xFF

	pastconeReturnError    = 1
	pastconeReturnPanicked = 2

	pastconeErrorNew     = 0
	pastconeErrorWrapped = 1
	pastconeErrorPassed  = 2

	pastconeValueInt    = 1
	pastconeValueUint   = 2
	pastconeValueFloat  = 3
	pastconeValueBool   = 4
	pastconeValueString = 5
	pastconeValueError  = 6
	pastconeValueNil    = 7
	pastconeValuePtr    = 8
	pastconeValueOther  = 9

	pastconeTextBytesMax = 240
	pastconeRangeMax     = 4096
)

// What is known of the ring. All but the switch is set once, before any user code runs.
var (
	pastconeNever  uint32           // stays 0
	pastconeOnWord = &pastconeNever // the switch: OffOn32 of the ring, once there is one

	pastconeBase       uintptr // the ring's header; 0: no ring
	pastconePolicy     uint32
	pastconeChunkBytes uintptr
	pastconeChunks     uint32
	pastconeFunctions  uint32
	pastconePs         uint32
	pastconeStates     uintptr // states of chunks
	pastconeFuncStates uintptr // states of functions
	pastconeSilence    uintptr
	pastconeData       uintptr // first chunk
	pastconeText       uintptr // first instruction
	pastconeTextBytes  uintptr
	pastconeCounted    bool // time is read from the processor's counter

	pastconeTimedAt    uintptr // a record is timed if the low bits of its address are these
	pastconeTimedTicks uint64  // ticks that two readings of the clock are apart with nothing between them

	pastconeChannels atomic.Uint64 // numbers of channels given out
)

// pastconeOn tells whether the program is recorded at this moment.
//
//go:nosplit
func pastconeOn() bool { return *pastconeOnWord != 0 }

//go:nosplit
func pastcone32(offset uintptr) *uint32 { return (*uint32)(unsafe.Pointer(pastconeBase + offset)) }

//go:nosplit
func pastcone64(offset uintptr) *uint64 { return (*uint64)(unsafe.Pointer(pastconeBase + offset)) }

// pastconeStart takes the ring that the environment names, if there is one and nobody has it yet. It is called once, by the main
// goroutine, when the runtime is up and no user code has run. A program that inherits the name of a ring which another owns
// (a child of the recorded one) is left alone.
func pastconeStart() {
	path := gogetenv("PASTCONE_RING")
	if path == "" {
		return
	}
	base, problem := pastconeMap(path)
	if problem != "" {
		print("pastcone: ", path, ": ", problem, "; this program is not recorded\n")
	}
	if base == 0 {
		return
	}
	pastconeBase = base
	if !atomic.Cas(pastcone32(pastconeOffOwner32), 0, uint32(pastconePid())) {
		pastconeUnmap(base)
		pastconeBase = 0
		return
	}
	pastconePolicy = *pastcone32(pastconeOffPolicy32)
	pastconeChunkBytes = uintptr(*pastcone32(pastconeOffChunkBytes32))
	pastconeChunks = *pastcone32(pastconeOffChunks32)
	pastconeFunctions = *pastcone32(pastconeOffFunctions32)
	pastconePs = *pastcone32(pastconeOffPs32)
	pastconeStates = base + uintptr(*pastcone64(pastconeOffChunkStates))
	pastconeFuncStates = base + uintptr(*pastcone64(pastconeOffFunctionStates))
	pastconeSilence = base + uintptr(*pastcone64(pastconeOffSilence))
	pastconeData = base + uintptr(*pastcone64(pastconeOffChunkData))
	pastconeText = firstmoduledata.text
	pastconeTextBytes = min(firstmoduledata.etext-firstmoduledata.text, 1<<32-1)

	pastconeTimedAt = (pastconeData + pastconeChunkHeaderBytes + pastconeTimedEvery/2*pastconeRecordBytes) & pastconeTimedMask
	clock := uint32(pastconeClockNanos)
	if kind := pastconeCounter(); kind != 0 {
		clock, pastconeCounted = kind, true
		pastconeTimedTicks = pastconeTimedMost
		for range 16 {
			began := pastconeTicks()
			pastconeTimedTicks = min(pastconeTimedTicks, pastconeTicks()-began)
		}
	}
	*pastcone32(pastconeOffClock32) = clock
	*pastcone64(pastconeOffTextStart) = uint64(pastconeText)
	*pastcone64(pastconeOffTextEnd) = uint64(firstmoduledata.etext)
	sec, nsec, _ := time_now()
	*pastcone64(pastconeOffStartTicks) = pastconeNow()
	atomic.Store64(pastcone64(pastconeOffStartUnix), uint64(sec*1e9+int64(nsec))) // the last one: the header is complete

	pastconeOnWord = pastcone32(pastconeOffOn32)
	entry := main_main // the linker knows it only through a value
	gp := getg()
	gp.pcState = pastconeRecorded
	pastconeAddGoroutine()
	if pastconeOn() {
		pastconeWrite(gp.goid, &gp.pcSeq, pastconeKindStart, uint64(pastconePlace(**(**uintptr)(unsafe.Pointer(&entry))))<<32, 0)
	}
}

// pastconeFit tells what is wrong with a ring's header, whose total size it returns.
func pastconeFit(header uintptr) (bytes uintptr, problem string) {
	word := func(offset uintptr) uint64 { return *(*uint64)(unsafe.Pointer(header + offset)) }
	half := func(offset uintptr) uint64 { return uint64(*(*uint32)(unsafe.Pointer(header + offset))) }
	if word(pastconeOffMagic) != pastconeMagic {
		return 0, "is no ring"
	}
	if half(pastconeOffVersion32) != pastconeVersion {
		return 0, "is a ring of another version of Pastcone"
	}
	chunkBytes, chunks, functions, ps := half(pastconeOffChunkBytes32), half(pastconeOffChunks32), half(pastconeOffFunctions32), half(pastconeOffPs32)
	states, functionStates := word(pastconeOffChunkStates), word(pastconeOffFunctionStates)
	silence, data := word(pastconeOffSilence), word(pastconeOffChunkData)
	const most = 1 << 40
	if chunkBytes < 4096 || chunkBytes%pastconeRecordBytes != 0 || chunks == 0 || ps == 0 || functions > 1<<24 || ps > 1<<16 ||
		states > most || functionStates > most || silence > most || data > most ||
		states%8 != 0 || silence%8 != 0 || data%8 != 0 ||
		states < pastconeHeaderBytes || states+4*chunks > data ||
		functionStates < pastconeHeaderBytes || functionStates+functions > data ||
		silence < pastconeHeaderBytes || silence+16*functions*ps > data {
		return 0, "is a damaged ring"
	}
	return uintptr(data + chunkBytes*chunks), ""
}

// pastconeEnded notes how the program ends; the first to say so is right.
//
//go:nosplit
func pastconeEnded(how uint32, code int32) {
	if pastconeBase != 0 && atomic.Cas(pastcone32(pastconeOffEnd32), 0, how) {
		*pastcone32(pastconeOffExitCode32) = uint32(code)
	}
}

// pastconeEndedBySignal notes the signal that ends the program.
//
//go:nosplit
func pastconeEndedBySignal(sig uint32) {
	if pastconeBase != 0 {
		*pastcone32(pastconeOffEndSignal32) = sig
	}
}

//go:nosplit
func pastconeAddGoroutine() { atomic.Xadd64(pastcone64(pastconeOffGoroutines), 1) }

// pastconePlace is how a record says where in the program's text something is; 0 is unknown.
//
//go:nosplit
func pastconePlace(pc uintptr) uint32 {
	if at := pc - pastconeText; at < pastconeTextBytes {
		return uint32(at)
	}
	return 0
}

// pastconeNow reads the program's clock.
//
//go:nosplit
func pastconeNow() uint64 {
	if pastconeCounted {
		return pastconeTicks()
	}
	return uint64(nanotime())
}
