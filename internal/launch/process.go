package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// Ended says how a program came to its end.
type Ended struct {
	Code   int            // exit status; 128 and the signal's number if a signal ended it, as shells have it
	Signal syscall.Signal // 0 if it exited by itself
	CPU    int64          // processor time of the program and its children, ns
}

func (e Ended) String() string {
	if e.Signal != 0 {
		return fmt.Sprintf("ended by signal %d (%s)", int(e.Signal), e.Signal)
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// process is a program that runs on our terminal as if we were not there: it has our standard input, output and error,
// and gets the signals that are sent to us.
type process struct {
	command *exec.Cmd
	signals chan os.Signal
	own     os.Signal     // is ours, and not handed on; may be nil
	act     func()        // what it makes us do; must not wait
	done    chan struct{} // closed when it has ended
	ended   Ended
	err     error
}

// signalsHeld is how many signals may wait until they are handed on: more than there are kinds that come by themselves.
const signalsHeld = 64

// start starts the program, unless ctx is over by then.
func start(ctx context.Context, c *exec.Cmd, own os.Signal, act func()) (*process, error) {
	p := &process{command: c, signals: make(chan os.Signal, signalsHeld), own: own, act: act, done: make(chan struct{})}
	// From before the program is there: a signal that comes at this moment must end the program, not only us.
	signal.Notify(p.signals, Heeded(handedOn...)...)
	err := ctx.Err()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		signal.Stop(p.signals)
		return nil, err
	}
	go p.forward()
	go p.wait()
	return p, nil
}

// Heeded gives the signals without those that whoever started us wants to be ignored, as nohup does. They stay so, for the program
// too: catching them would make them its end.
func Heeded(signals ...os.Signal) []os.Signal {
	heeded := make([]os.Signal, 0, len(signals))
	for _, s := range signals {
		if !staysIgnored(s) || !signal.Ignored(s) {
			heeded = append(heeded, s)
		}
	}
	return heeded
}

// forward hands signals on, except those that a terminal has sent to the program already, and our own.
func (p *process) forward() {
	for {
		select {
		case s := <-p.signals:
			switch {
			case s == p.own:
				p.act()
			case !typed(s) || !inForeground():
				_ = p.command.Process.Signal(s) // it fails if the program has ended: then nobody needs it
			}
		case <-p.done:
			return
		}
	}
}

func (p *process) wait() {
	err := p.command.Wait()
	signal.Stop(p.signals)
	if state := p.command.ProcessState; state != nil {
		p.ended.CPU = int64(state.UserTime() + state.SystemTime())
		p.ended.Code = state.ExitCode()
		if status, is := state.Sys().(syscall.WaitStatus); is && status.Signaled() {
			p.ended.Signal = status.Signal()
			p.ended.Code = 128 + int(status.Signal())
		}
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		p.err = err
	}
	close(p.done)
}
