//go:build patched

package main

import "runtime"

//go:noinline
func probed() {
	defer runtime.PastconeExit(runtime.PastconeEnter(17))
}

//go:noinline
func bare() {
	defer nothing()
}

//go:noinline
func nothing() {}

//go:noinline
func fails(e error) (err error) {
	defer runtime.PastconeExitError(runtime.PastconeEnter(17), &err)
	return e
}

//go:noinline
func valued(x int, s string) {
	var v runtime.PastconeValues
	v.Int(0, int64(x))
	v.String(1, s)
	defer runtime.PastconeExit(runtime.PastconeEnterValues(17, false, &v))
}

type failure struct{}

func (*failure) Error() string { return "it failed" }

func init() {
	measured["enter+exit"] = func(n int) {
		for range n {
			probed()
		}
	}
	measured["bare defer"] = func(n int) {
		for range n {
			bare()
		}
	}
	measured["enter+exit, no error"] = func(n int) {
		for range n {
			fails(nil)
		}
	}
	failed := &failure{}
	measured["enter+exit, error"] = func(n int) {
		for range n {
			fails(failed)
		}
	}
	measured["enter+exit, values"] = func(n int) {
		for i := range n {
			valued(i, "a text of some length")
		}
	}
}
