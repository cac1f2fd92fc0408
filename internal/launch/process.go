package launch

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/term"
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
	done    chan struct{} // closed when it has ended
	ended   Ended
	err     error
}

// start starts the program.
func start(c *exec.Cmd) (*process, error) {
	p := &process{command: c, signals: make(chan os.Signal, 16), done: make(chan struct{})}
	// From before the program is there: a signal that comes at this moment must end the program, not only us.
	signal.Notify(p.signals, handedOn...)
	if err := c.Start(); err != nil {
		signal.Stop(p.signals)
		return nil, err
	}
	go p.forward()
	go p.wait()
	return p, nil
}

// forward hands signals on, except those that a terminal has sent to the program already.
func (p *process) forward() {
	fromTerminal := term.IsTerminal(int(os.Stdin.Fd())) // #nosec G115 -- a small number
	for {
		select {
		case s := <-p.signals:
			if !fromTerminal || !typed(s) {
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
