package launch

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pastcone/pastcone/internal/source/capture"
)

const (
	dumpsWaitingMax = 16    // more are asked for in vain: the ring would not have moved on much
	dumpsMax        = 10000 // files of one name
	beginsWithin    = 2 * time.Second
)

// dumping writes down what a flight recorder holds, when somebody asks for it.
type dumping struct {
	o       *Options
	write   func(path string) error
	asked   chan struct{}
	stop    chan struct{}
	stopped chan struct{}
}

// newDumping must be ended.
func newDumping(o *Options, c *capture.Collector) *dumping {
	d := &dumping{o: o, write: c.Dump, asked: make(chan struct{}, dumpsWaitingMax), stop: make(chan struct{}), stopped: make(chan struct{})}
	go d.run()
	return d
}

// ask asks for a dump. It does not wait.
func (d *dumping) ask() {
	select {
	case d.asked <- struct{}{}:
	default:
	}
}

// end ends it, once; the dumps that were asked for are told of before that.
func (d *dumping) end() {
	close(d.stop)
	<-d.stopped
}

func (d *dumping) run() {
	defer close(d.stopped)
	for over := false; !over || len(d.asked) > 0; {
		select {
		case <-d.asked:
			path, err := d.dump()
			if d.o.Dumped != nil {
				d.o.Dumped(path, err)
			}
		case <-d.stop:
			over = true
		}
	}
}

func (d *dumping) dump() (path string, err error) {
	for n := 1; n <= dumpsMax; n++ {
		path = fmt.Sprintf("%s-%d%s", d.o.DumpBase, n, captureSuffix)
		// The program may have begun just now, and the collector not have seen it yet.
		for end := time.Now().Add(beginsWithin); ; {
			if err = d.write(path); !errors.Is(err, capture.ErrNotFlying) || time.Now().After(end) {
				break
			}
			select {
			case <-d.stop:
				end = time.Time{} // nothing comes any more
			case <-time.After(5 * time.Millisecond):
			}
		}
		switch {
		case errors.Is(err, os.ErrExist):
		case errors.Is(err, capture.ErrNotFlying):
			return path, errors.New("there is nothing to dump: the program has not come to its beginning, or has ended")
		default:
			return path, err
		}
	}
	return path, fmt.Errorf("%d dumps are there already: remove some", dumpsMax)
}
