package gotrace

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/exp/trace"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

// operation is what the innermost frame of a stack is about to do. It tells what a waker does.
type operation uint8

const (
	opOther   operation = iota // code of the program: where a channel is closed, the stack shows the function that closes
	opUnknown                  // there is no stack
	opSend
	opReceive
	opSelect
	opPoll    // the network poller, on behalf of a Close or SetDeadline
	opRuntime // something else in the runtime
)

// stackInfo is what the builder wants to know of a stack. It is worked out once a stack and generation.
type stackInfo struct {
	site wire.Site // the innermost frame that is the program's own
	call wire.Site // the innermost function, called from there
	op   operation
	json []byte // `,"stack":["f a.go:1",…]`, or nothing

	reason  *reason // why goroutines wait there
	waiting []byte  // the data of such a wait
}

// stackOf gives what there is to know of a stack.
func (b *builder) stackOf(s trace.Stack) *stackInfo {
	if s == trace.NoStack {
		return &noStack
	}
	if info, ok := b.stacks[s]; ok {
		return info
	}
	info := b.readStack(s)
	b.stacks[s] = info
	return info
}

var noStack = stackInfo{op: opUnknown}

func (b *builder) readStack(s trace.Stack) *stackInfo {
	var leaf, own, outside trace.StackFrame
	info := &stackInfo{op: opUnknown}
	depth := 0
	for f := range s.Frames() {
		if depth == 0 {
			leaf, info.op = f, operationOf(f.Func)
		}
		where := originOf(f.Func, f.File)
		if outside.Func == "" && where != machinery {
			outside = f
		}
		if own.Func == "" && where == program {
			own = f
		}
		if depth < b.o.StackFrames {
			info.json = appendFrame(info.json, &f, depth == 0)
		}
		depth++
	}
	if depth == 0 {
		return info
	}
	if len(info.json) > 0 {
		info.json = append(info.json, ']')
	}
	if own.Func == "" {
		own = outside // a goroutine of the standard library
	}
	if own.Func == "" {
		own = leaf // one of the runtime
	}
	info.site = b.site(own.Func, own.File, own.Line)
	info.call = b.site(leaf.Func, own.File, own.Line)
	return info
}

func appendFrame(dst []byte, f *trace.StackFrame, first bool) []byte {
	if first {
		dst = append(dst, `,"stack":[`...)
	} else {
		dst = append(dst, ',')
	}
	text := make([]byte, 0, 128)
	text = append(text, f.Func...)
	text = append(text, ' ')
	text = append(text, f.File[strings.LastIndexByte(f.File, '/')+1:]...)
	text = append(text, ':')
	text = strconv.AppendUint(text, f.Line, 10)
	return appendQuoted(dst, bounded(string(text)))
}

// origin says whose code a function is.
type origin uint8

const (
	program   origin = iota
	library          // the standard library
	machinery        // the part of it through which everything waits: runtime, internal, sync, syscall
)

// standard are the first elements of the standard library's package paths.
var standard = map[string]origin{
	"runtime": machinery, "internal": machinery, "sync": machinery, "syscall": machinery, "reflect": machinery,
	"archive": library, "bufio": library, "bytes": library, "cmp": library, "compress": library, "container": library,
	"context": library, "crypto": library, "database": library, "debug": library, "embed": library, "encoding": library,
	"errors": library, "expvar": library, "flag": library, "fmt": library, "go": library, "hash": library, "html": library,
	"image": library, "index": library, "io": library, "iter": library, "log": library, "maps": library, "math": library,
	"mime": library, "net": library, "os": library, "path": library, "plugin": library, "regexp": library, "slices": library,
	"sort": library, "strconv": library, "strings": library, "structs": library, "testing": library, "text": library,
	"time": library, "unicode": library, "unique": library, "unsafe": library, "vendor": library, "weak": library,
}

// originOf tells the standard library from programs by the function's package, and by the file, which lies in
// GOROOT/src (or, with -trimpath, in nothing) followed by the package's path: a program's own package may be named "log".
func originOf(fn, file string) origin {
	path := packageOf(fn)
	first, _, _ := strings.Cut(path, "/")
	o, ok := standard[first]
	if !ok {
		return program
	}
	// Some functions, as time.Sleep, are written in package runtime.
	for _, dir := range [...]string{path, "runtime"} {
		at := strings.Index(file, dir+"/")
		if at == 0 || at > 0 && strings.HasSuffix(file[:at], "/src/") {
			return o
		}
	}
	return program
}

// packageOf gives the package path of a function's full name: "net/http" of "net/http.(*conn).serve".
func packageOf(fn string) string {
	slash := strings.LastIndexByte(fn, '/')
	if bracket := strings.IndexByte(fn, '['); bracket >= 0 && bracket < slash { // type arguments have paths too
		slash = strings.LastIndexByte(fn[:bracket], '/')
	}
	dot := strings.IndexByte(fn[slash+1:], '.')
	if dot < 0 {
		return fn
	}
	return fn[:slash+1+dot]
}

// operationOf tells what the innermost function of a waker's stack does.
func operationOf(fn string) operation {
	switch fn {
	case "runtime.chansend1", "runtime.chansend", "runtime.selectnbsend", "runtime.reflect_chansend", "reflect.chansend0", "reflect.chansend":
		return opSend
	case "runtime.chanrecv1", "runtime.chanrecv2", "runtime.chanrecv", "runtime.selectnbrecv", "runtime.reflect_chanrecv", "reflect.chanrecv":
		return opReceive
	case "runtime.selectgo", "runtime.reflect_rselect", "reflect.rselect":
		return opSelect
	}
	switch {
	case strings.HasPrefix(fn, "internal/poll."):
		return opPoll
	case strings.HasPrefix(fn, "runtime.") && fn != "runtime.closechan":
		return opRuntime
	}
	return opOther
}

// site interns a place.
func (b *builder) site(fn, file string, line uint64) wire.Site {
	if line > 1<<32-1 {
		line = 0
	}
	site, err := b.table.SiteOf(bounded(fn), bounded(file), int(line)) // #nosec G115 -- below 2^32
	b.fail(err)
	return site
}

// named gives the place of a call that has a name of its own, and a stack: a region, a task.
func (b *builder) named(name string, s trace.Stack) wire.Site {
	key := namedSite{name, s}
	if site, ok := b.names[key]; ok {
		return site
	}
	place := b.table.PlaceOf(b.stackOf(s).site)
	text, err := b.table.Intern(bounded(name))
	b.fail(err)
	place.Func = text
	site, err := b.table.Site(place)
	b.fail(err)
	b.names[key] = site
	return site
}

type namedSite struct {
	name  string
	stack trace.Stack
}

// bounded makes a text what an event may hold: UTF-8, and cut visibly if it is too long.
func bounded(text string) string {
	const mark = "…"
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD")
	}
	if len(text) <= event.TextBytesMax {
		return text
	}
	cut := event.TextBytesMax - len(mark)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + mark
}

// appendQuoted appends text as a JSON string; bytes that are no UTF-8 become U+FFFD.
func appendQuoted(dst []byte, text string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c >= utf8.RuneSelf:
			r, width := utf8.DecodeRuneInString(text[i:])
			dst = utf8.AppendRune(dst, r)
			i += width
			continue
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
		i++
	}
	return append(dst, '"')
}
