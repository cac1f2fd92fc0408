package main

import "testing"

func TestHalf(t *testing.T) {
	if n, err := half(8); n != 4 || err != nil {
		t.Error(n, err)
	}
}

func TestOdd(t *testing.T) {
	if work(10) != 0 {
		t.Error("some numbers are odd")
	}
}
