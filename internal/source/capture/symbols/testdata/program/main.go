// Command program prints what its own runtime says about its program counters: each line has a counter relative to main, and the
// frames there, innermost first, as function, file and line.
package main

import (
	"bufio"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
)

type list[T any] []T

func (l list[T]) has(is func(T) bool) bool { return slices.IndexFunc(l, is) >= 0 }

func small(n int) int { return smaller(n) + 1 }

func smaller(n int) int {
	if n > len(os.Args)+100 {
		panic("too large")
	}
	return n + len(os.Args)
}

type box struct {
	mu sync.Mutex
	n  int
}

func (b *box) add(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n += small(n)
}

var ints list[int]

func main() {
	b := &box{}
	b.add(small(1))
	ints = append(ints, b.n, small(2))
	done := make(chan bool)
	go func() { done <- ints.has(func(i int) bool { return i == small(4) }) }()
	<-done

	entry := uint64(runtime.FuncForPC(reflect.ValueOf(main).Pointer()).Entry())
	begin, _ := strconv.ParseInt(os.Args[1], 10, 64)
	end, _ := strconv.ParseInt(os.Args[2], 10, 64)
	step, _ := strconv.ParseInt(os.Args[3], 10, 64)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for at := begin; at < end; at += step {
		pc := entry + uint64(at)
		frames := runtime.CallersFrames([]uintptr{uintptr(pc)})
		var line strings.Builder
		fmt.Fprintf(&line, "%d", at)
		for {
			f, more := frames.Next()
			fmt.Fprintf(&line, "\t%s\t%s\t%d", f.Function, f.File, f.Line)
			if !more {
				break
			}
		}
		if f := runtime.FuncForPC(uintptr(pc)); f != nil && uint64(f.Entry()) == pc {
			fmt.Fprintf(&line, "\tentry")
		}
		fmt.Fprintln(out, line.String())
	}
}
