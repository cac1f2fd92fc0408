// A program with the probes that rewritten sources have, written by hand: each case of its argument is a story of its own.
package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Function ids.
const (
	outer = 17 + iota
	inner
	reads
	opens
	serves
	cleans
	counts
	stores
	site
)

var sentinel = errors.New("out of paper")

type lying struct{ text string }

func (l *lying) Error() string {
	if l == nil {
		panic("no error here")
	}
	go func() {}() // leaves no event
	defer runtime.PastconeExit(runtime.PastconeEnter(999))
	return l.text
}

func read(fail bool) (err error) {
	defer runtime.PastconeExitError(runtime.PastconeEnter(reads), &err)
	if fail {
		return sentinel
	}
	return nil
}

func open(fail bool) (n int, err error) {
	defer runtime.PastconeExitError(runtime.PastconeEnter(opens), &err)
	if err := read(fail); err != nil {
		clean()
		_ = read(false)
		return 0, fmt.Errorf("open: %w", err)
	}
	return 1, nil
}

func clean() {
	defer runtime.PastconeExit(runtime.PastconeEnter(cleans))
}

func serve(fail bool) (err error) {
	defer runtime.PastconeExitError(runtime.PastconeEnter(serves), &err)
	_, err = open(fail)
	return err
}

func handled() {
	defer runtime.PastconeExit(runtime.PastconeEnter(outer))
	serve(true)
}

// looping has a defer that the compiler can not open-code.
func looping(fail bool) (err error) {
	defer runtime.PastconeExitError(runtime.PastconeEnter(serves), &err)
	for range 2 {
		defer clean()
	}
	_, err = open(fail)
	return err
}

func panicking(v any) {
	defer runtime.PastconeExit(runtime.PastconeEnter(inner))
	panic(v)
}

func recovering(v any) {
	defer runtime.PastconeExit(runtime.PastconeEnter(outer))
	defer func() { recover() }()
	panicking(v)
}

func faulting(p *int) int {
	defer runtime.PastconeExit(runtime.PastconeEnter(inner))
	return *p // the fault
}

func values(text string, err error) (result string, e error) {
	var v runtime.PastconeValues
	v.Int(0, -5)
	v.Uint(1, 1<<63)
	v.Float(2, 1.5)
	v.Bool(3, true)
	v.String(4, text)
	v.Error(5, err)
	v.Pointer(6, unsafe.Pointer(&result))
	v.Other(7, "main.lying")
	v.Int(8, 1) // one too many
	token := runtime.PastconeEnterValues(stores, false, &v)
	defer func() {
		var v runtime.PastconeValues
		v.String(0, result)
		v.Error(1, e)
		runtime.PastconeExitValues(token, &v, &e)
	}()
	return text[:min(3, len(text))], err
}

func root(path string) {
	var v runtime.PastconeValues
	v.String(0, "GET")
	v.String(1, path)
	defer runtime.PastconeExit(runtime.PastconeEnterValues(outer, true, &v))
}

//go:noinline
func count() {
	defer runtime.PastconeExit(runtime.PastconeEnter(counts))
}

//go:noinline
func countFails() (err error) {
	defer runtime.PastconeExitError(runtime.PastconeEnter(counts), &err)
	return sentinel
}

var stories = map[string]func(){
	"calls": func() {
		defer runtime.PastconeExit(runtime.PastconeEnterRoot(outer))
		clean()
		func() {
			defer runtime.PastconeExit(runtime.PastconeEnter(inner))
			clean()
		}()
	},
	"errors": func() {
		serve(true)
		read(true) // the same error, but not the same failure
		read(true)
		handled()
		serve(false)
	},
	"loop defers": func() { looping(true) },
	"errno": func() {
		func() (err error) {
			defer runtime.PastconeExitError(runtime.PastconeEnter(outer), &err)
			return errno()
		}()
	},
	"joined":      func() { joined() },
	"lying error": func() { _, _ = values("abc", &lying{"I lie"}); _, _ = values("abc", (*lying)(nil)) },
	"recovered":   func() { recovering("boom"); recovering(sentinel); recovering(7); recovering([]int{1}) },
	"nil fault":   func() { defer func() { recover() }(); faulting(nil) },
	"bounds":      bounds,
	"values":      func() { values(strings.Repeat("0123456789", 30), nil); values("short", nil); values("", sentinel) },
	"root":        func() { root("/orders/" + strings.Repeat("x", 18)) },
	"goexit": func() {
		done := make(chan int)
		go func() { defer close(done); defer runtime.PastconeExit(runtime.PastconeEnter(inner)); runtime.Goexit() }()
		<-done
	},
	"deferred panic": deferredPanic,
	"state": func() {
		var x int
		var v runtime.PastconeValues
		v.String(0, "new")
		v.String(1, "paid")
		runtime.PastconeState(site, unsafe.Pointer(&x), &v)
	},
	"silent": func() {
		for range 1600 {
			count()
		}
		countFails()
	},
	"coroutine": func() {
		next, stop := iter.Pull(func(yield func(int) bool) {
			for i := range 3 {
				clean()
				if !yield(i) {
					return
				}
			}
		})
		for range 2 {
			next()
		}
		stop()
	},
	"nested goroutines": func() {
		done := make(chan int)
		go func() { go func() { done <- 1 }() }()
		<-done
		time.Sleep(10 * time.Millisecond)
	},
	"exit":  func() { os.Exit(7) },
	"panic": func() { panic("the end") },
	"fatal": func() { select {} },
	"killed": func() {
		syscall.Kill(os.Getpid(), syscall.SIGTERM)
		time.Sleep(time.Minute)
	},
	"quit": func() {
		syscall.Kill(os.Getpid(), syscall.SIGQUIT)
		time.Sleep(time.Minute)
	},
	"throw": func() { debug.SetMaxStack(1 << 16); deep(0) },
	"child": func() {
		out, err := exec.Command(os.Args[0], "calls").CombinedOutput()
		fmt.Printf("%s%v\n", out, err)
	},
	"switched": func() {
		// The test switches the recording off behind the first line, and on behind the second.
		for range 3 {
			clean()
			fmt.Println("next")
			io.ReadFull(os.Stdin, make([]byte, 1))
		}
	},
	"busy": func() {
		for {
			count()
		}
	},
}

func deep(n int) int { return deep(n+1) + 1 }

func errno() (err error) {
	defer runtime.PastconeExitError(runtime.PastconeEnter(inner), &err)
	return syscall.Errno(2)
}

func joined() (err error) {
	defer runtime.PastconeExitError(runtime.PastconeEnter(serves), &err)
	return errors.Join(errors.New("other"), fmt.Errorf("wrapped: %w", read(true)))
}

func calledWhilePanicking() {
	defer runtime.PastconeExit(runtime.PastconeEnter(inner))
	clean()
}

func deferredPanic() {
	defer runtime.PastconeExit(runtime.PastconeEnter(outer))
	defer func() { recover() }()
	defer calledWhilePanicking()
	panic("x")
}

func bounds() {
	defer func() { recover() }()
	var s []int
	s[len(os.Args)+3]++ // out of range
}

func main() {
	if f := stories[os.Args[1]]; f != nil {
		f()
	}
}
