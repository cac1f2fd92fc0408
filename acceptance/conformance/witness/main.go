//go:build unix

// Command witness works until it is ended, and notes how far it has come where its death does not reach: in a file that it has
// mapped. It knows nothing of Pastcone; recorded with --args main.step, each step is a call in the recording, with the
// goroutine's number and the step's. What it has noted as done must be in the recording, whatever ended it:
//
//	witness -notes FILE                until SIGKILL
//	witness -notes FILE -end panic -after 20ms     until a panic of a goroutine, os.Exit, a fatal error, its own SIGSEGV, or the end of main
//
// The file has one word for each goroutine, its last step; before them its process id and a word that says that it has ended as it
// should.
//
// In the plan's words it is a load for Layer 1.
package main

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Words of the file.
const (
	wordProcess = 0
	wordOver    = 1
	wordSteps   = 2
	goroutines  = 8
	words       = wordSteps + goroutines
)

var (
	notes = flag.String("notes", "", "the file")
	end   = flag.String("end", "", "how to end: panic, exit, fatal, segv or return; empty: not at all")
	after = flag.Duration("after", 0, "when")
)

// step is what is recorded.
//
//go:noinline
func step(goroutine, number uint64) { steps.Add(1) }

var steps atomic.Uint64

func main() {
	flag.Parse()
	note, err := mapped(*notes)
	if err != nil {
		fmt.Fprintln(os.Stderr, "witness:", err)
		os.Exit(1)
	}
	var over atomic.Bool
	var all sync.WaitGroup
	ring := make([]chan uint64, goroutines)
	for i := range ring {
		ring[i] = make(chan uint64, i%3)
	}
	for i := range goroutines {
		all.Add(1)
		go func() {
			defer all.Done()
			in, out := ring[i], ring[(i+1)%goroutines]
			for n := uint64(1); !over.Load(); n++ {
				step(uint64(i), n)
				atomic.StoreUint64(&note[wordSteps+i], n)
				// Now and then they hear of each other; nobody waits for ever.
				if n%4 != 0 {
					continue
				}
				select {
				case out <- n:
				case <-in:
				default:
				}
			}
		}()
	}
	atomic.StoreUint64(&note[wordProcess], uint64(os.Getpid())) // #nosec G115 -- positive
	if *end == "" {
		all.Wait()
	}
	time.Sleep(*after)
	switch *end {
	case "panic":
		go func() { panic("as told") }()
		all.Wait()
	case "exit":
		os.Exit(7)
	case "fatal":
		// Two that write to one map: the runtime ends the program, and nothing is deferred or recovered. Should it not notice, the
		// program ends by itself.
		m := map[int]int{}
		for range 2 {
			go func() {
				for i := 0; ; i++ {
					m[i%7] = i
				}
			}()
		}
		time.Sleep(10 * time.Second)
	case "segv":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		all.Wait()
	}
	over.Store(true)
	all.Wait()
	atomic.StoreUint64(&note[wordOver], 1)
	fmt.Println("over")
}

// mapped maps the file, which has room for all words.
func mapped(path string) ([]uint64, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0) // #nosec G304 -- named by whoever runs this
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // the mapping stays
	if err := f.Truncate(8 * words); err != nil {
		return nil, err
	}
	memory, err := syscall.Mmap(int(f.Fd()), 0, 8*words, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED) // #nosec G115 -- small
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return unsafe.Slice((*uint64)(unsafe.Pointer(&memory[0])), words), nil // #nosec G103 -- a mapping begins at a page
}
