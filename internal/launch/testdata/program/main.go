// Works is a program that knows nothing of its recorder. Its first argument says what it does.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

var errOdd = errors.New("odd")

func half(n int) (int, error) {
	if n%2 != 0 {
		return 0, fmt.Errorf("half of %d: %w", n, errOdd)
	}
	return n / 2, nil
}

// work hands n numbers to another goroutine, which halves them.
func work(n int) (failed int) {
	numbers, errs := make(chan int), make(chan error, 1)
	go func() {
		for i := range numbers {
			_, err := half(i)
			errs <- err
		}
		close(errs)
	}()
	for i := range n {
		numbers <- i
		if <-errs != nil {
			failed++
		}
	}
	close(numbers)
	<-errs
	return failed
}

func main() {
	switch os.Args[1] {
	case "copy":
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			panic(err)
		}
		fmt.Fprintln(os.Stderr, "copied")
	case "work":
		n, _ := strconv.Atoi(os.Args[2])
		fmt.Println(work(n), "failed")
		os.Exit(3)
	case "rounds": // works again and again until it is told to end
		ends := make(chan os.Signal, 1)
		signal.Notify(ends, syscall.SIGTERM)
		for round := 0; ; round++ {
			work(40)
			if round%20 == 0 {
				fmt.Println("round", round)
			}
			select {
			case <-ends:
				os.Exit(4)
			default:
			}
		}
	}
}
