package http

import (
	"encoding/hex"
	"internal/byteorder"
	"runtime"
	_ "unsafe" // for linkname
)

//go:linkname pastconeOnWord runtime.pastconeOnWord
var pastconeOnWord *uint32

// pastconeOn tells whether the program is recorded at this moment.
func pastconeOn() bool { return *pastconeOnWord != 0 }

//go:linkname pastconeRand runtime.rand
func pastconeRand() uint64

//go:linkname pastconeTrace
//go:noescape
func pastconeTrace(out bool, context *[24]byte, pc uintptr)

const (
	pastconeHandler = 1 // number of the function serverHandler.ServeHTTP, a root
	pastconeHeader  = "Traceparent"
)

// pastconeEnter records that a request came: its causal context, if it has one, and right behind that the call of the handler,
// with method and path. The query is left out: it may hold secrets.
func pastconeEnter(r *Request) uint64 {
	if header := r.Header[pastconeHeader]; len(header) == 1 {
		if context, ok := pastconeContext(header[0]); ok {
			pastconeTrace(false, &context, 0)
		}
	}
	var v runtime.PastconeValues
	v.String(0, r.Method)
	if r.URL != nil {
		v.String(1, r.URL.Path)
	}
	return runtime.PastconeEnterValues(pastconeHandler, true, &v)
}

// pastconeLeaves records that a request leaves, with the causal context that it has, or one that it is given. The request is
// the caller's and is not changed: the one returned is a copy with the header, if there was none.
func pastconeLeaves(r *Request, pc uintptr) *Request {
	if header := r.Header[pastconeHeader]; len(header) != 0 {
		if context, ok := pastconeContext(header[0]); ok && len(header) == 1 {
			pastconeTrace(true, &context, pc)
		}
		return r
	}
	var context [24]byte
	byteorder.BEPutUint64(context[0:], pastconeRand()|1) // none is all zeros
	byteorder.BEPutUint64(context[8:], pastconeRand())
	byteorder.BEPutUint64(context[16:], pastconeRand()|1)
	copied := *r
	copied.Header = r.Header.Clone()
	copied.Header[pastconeHeader] = []string{"00-" + hex.EncodeToString(context[:16]) + "-" + hex.EncodeToString(context[16:]) + "-00"}
	pastconeTrace(true, &context, pc)
	return &copied
}

// pastconeContext reads a traceparent header: version, trace, span, flags.
func pastconeContext(header string) (context [24]byte, ok bool) {
	const size = 2 + 1 + 32 + 1 + 16 + 1 + 2
	if len(header) < size || len(header) > size && (header[size] != '-' || header[:2] == "00") ||
		header[:2] == "ff" || header[2] != '-' || header[35] != '-' || header[52] != '-' {
		return context, false
	}
	var version, flags [1]byte
	if !pastconeHex(version[:], header[:2]) || !pastconeHex(context[:16], header[3:35]) ||
		!pastconeHex(context[16:], header[36:52]) || !pastconeHex(flags[:], header[53:55]) {
		return context, false
	}
	return context, [16]byte(context[:16]) != [16]byte{} && [8]byte(context[16:]) != [8]byte{}
}

// pastconeHex decodes lower-case hexadecimal digits.
func pastconeHex(to []byte, from string) bool {
	for i := range to {
		var b byte
		for _, c := range []byte(from[2*i : 2*i+2]) {
			switch {
			case c >= '0' && c <= '9':
				b = b<<4 | (c - '0')
			case c >= 'a' && c <= 'f':
				b = b<<4 | (c - 'a' + 10)
			default:
				return false
			}
		}
		to[i] = b
	}
	return true
}
