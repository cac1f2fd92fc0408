//go:build linux

package launch

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestASignalThatIsSentToTheLauncherReachesTheProgram(t *testing.T) {
	l := newLauncher(t, handed{}).start()
	l.out.until(t, "listening", 1)
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGALRM, syscall.SIGWINCH, syscall.SIGTERM} {
		l.signal(s)
		l.out.until(t, fmt.Sprintf("got %d\n", int(s)), 1)
	}
	if code := l.ends(); code != 7 {
		t.Errorf("the program ends with 7, the launcher with %d: %s", code, &l.err)
	}
	if n := strings.Count(l.out.String(), "got "); n != 8 {
		t.Errorf("8 signals were sent, the program has got %d: %s", n, &l.out)
	}
}

// nohup and shells start programs with signals ignored: the program's must stay so.
func TestASignalThatIsIgnoredStaysSo(t *testing.T) {
	l := newLauncher(t, handed{})
	l.Args = append([]string{"sh", "-c", `trap '' HUP INT; exec "$0"`}, l.Args...)
	l.Path, l.Err = exec.LookPath("sh")
	l.start()
	l.out.until(t, "listening", 1)
	l.signal(syscall.SIGHUP)
	l.signal(syscall.SIGINT)
	l.signal(syscall.SIGTERM)
	if code := l.ends(); code != 7 || strings.Contains(l.out.String(), "got 1\n") || strings.Contains(l.out.String(), "got 2\n") {
		t.Errorf("exit status %d: %s%s", code, &l.out, &l.err)
	}
}

// A shell is told how a program has ended by the status alone.
func TestTheEndOfTheProgramIsTheLaunchers(t *testing.T) {
	for script, want := range map[string]string{
		"exit 0":        "0 exit status 0",
		"exit 3":        "3 exit status 3",
		"exit 255":      "255 exit status 255",
		"kill -9 $$":    "137 ended by signal 9 (killed)",
		"kill -TERM $$": "143 ended by signal 15 (terminated)",
		"kill -SEGV $$": "139 ended by signal 11 (segmentation fault)",
	} {
		o := Options{Path: "/bin/sh", Args: []string{"-c", script}, Capture: filepath.Join(t.TempDir(), "c"), RingBytes: 1 << 20}
		out, err := Run(context.Background(), o)
		if got := fmt.Sprint(out.Ended.Code, " ", out.Ended); err != nil || got != want || !out.Started {
			t.Errorf("%s: %s, %v", script, got, err)
		}
	}
}

// Standard input, output and error are the program's own files, not copies of what goes through them.
func TestWhatTheProgramReadsAndWritesIsUntouched(t *testing.T) {
	data := make([]byte, 3<<20)
	chacha := rand.NewChaCha8([32]byte{1})
	if _, err := chacha.Read(data); err != nil {
		t.Fatal(err)
	}
	b := recorded(t)
	l := newLauncher(t, handed{Path: b.Path, Args: []string{"copy"}, Functions: b.Functions, Entries: b.Entries, RingBytes: 4 << 20})
	var out bytes.Buffer
	l.Stdin, l.Stdout = bytes.NewReader(data), &out
	l.start()
	if code := l.ends(); code != 0 || !bytes.Equal(out.Bytes(), data) {
		t.Errorf("exit status %d, %d bytes of %d came back: %s", code, out.Len(), len(data), &l.err)
	}
	if !strings.HasPrefix(l.err.String(), "copied\n") {
		t.Errorf("standard error: %s", &l.err)
	}
}

// With its standard output closed a program dies of SIGPIPE, and the launcher does not: what it has recorded must be kept.
func TestTheLauncherOutlivesItsReaders(t *testing.T) {
	l := newLauncher(t, handed{Path: "/bin/sh", Args: []string{"-c", "while echo more; do :; done"}}, "PASTCONE_TEST_OUTLIVES=1")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	l.Stdout, l.Stderr = w, w
	l.start()
	w.Close()
	if _, err := r.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	r.Close()
	l.ends()
	if after, err := os.ReadFile(l.capture + ".after"); err != nil || !strings.Contains(string(after), "signal 13") && !strings.Contains(string(after), "exit status") {
		t.Errorf("the launcher has not come to its end: %s, %v", after, err)
	}
}

func TestAProgramThatIsNotStarted(t *testing.T) {
	spool := filepath.Join(t.TempDir(), "c")
	out, err := Run(context.Background(), Options{Path: filepath.Join(t.TempDir(), "none"), Capture: spool, RingBytes: 1 << 20})
	if err == nil || !strings.Contains(err.Error(), "the program does not start") || out.Started {
		t.Errorf("no such program: %v", err)
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	out, err = Run(context.Background(), Options{Path: "/bin/true", Capture: spool, RingBytes: 1 << 20, Unless: over})
	if err == nil || out.Started {
		t.Errorf("an interrupt before the start: %v", err)
	}
	if _, err := os.Lstat(spool); err == nil {
		t.Error("a capture of nothing was left behind")
	}
	_, err = Run(context.Background(), Options{Path: "/bin/true", Capture: spool, RingBytes: 1})
	if err == nil || !strings.Contains(err.Error(), "the program was not run") || !strings.Contains(err.Error(), "ring: 1 bytes") {
		t.Errorf("a ring that can not be made: %v", err)
	}
	_, err = Run(context.Background(), Options{Path: "/bin/true", Capture: filepath.Join(spool, "none"), RingBytes: 1 << 20})
	if err == nil || !strings.Contains(err.Error(), "the program was not run") {
		t.Errorf("a capture file that can not be made: %v", err)
	}
	if err := os.WriteFile(spool, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Run(context.Background(), Options{Path: "/bin/true", Capture: spool, RingBytes: 1 << 20})
	if text, _ := os.ReadFile(spool); err == nil || string(text) != "mine" {
		t.Errorf("a file that is there: %v, %s", err, text)
	}
}

// openTerminal gives both ends of a terminal: what is typed, and what a process has.
func openTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("a terminal: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}

// typedTimes is often enough that signals which fall together with others do not hide that there are too many.
const typedTimes = 10

// A terminal sends SIGINT to all that is in its foreground, so the program has it already when the launcher gets it; whether standard input is
// the terminal or not.
func TestATypedInterruptArrivesOnce(t *testing.T) {
	for name, piped := range map[string]bool{"everything is the terminal": false, "standard input is a file": true} {
		t.Run(name, func(t *testing.T) {
			l := newLauncher(t, handed{})
			keyboard, terminal := openTerminal(t)
			l.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
			l.ExtraFiles = []*os.File{terminal}
			if !piped {
				l.Stdin, l.SysProcAttr.Ctty = terminal, 0
			}
			l.start()
			l.out.until(t, "listening", 1)
			for n := range typedTimes {
				if _, err := keyboard.Write([]byte{3}); err != nil { // Ctrl-C
					t.Fatal(err)
				}
				l.out.until(t, "got 2\n", n+1)
				time.Sleep(20 * time.Millisecond) // a second one would be there by then, but once in a while
			}
			l.signal(syscall.SIGHUP) // that is not typed
			l.out.until(t, "got 1\n", 1)
			l.signal(syscall.SIGTERM)
			if code := l.ends(); code != 7 || strings.Count(l.out.String(), "got 2\n") != typedTimes {
				t.Errorf("exit status %d: %s%s", code, &l.out, &l.err)
			}
		})
	}
}

func TestSignalsToDumpOn(t *testing.T) {
	for name, want := range map[string]os.Signal{"usr1": syscall.SIGUSR1, "usr2": syscall.SIGUSR2} {
		if s, err := DumpSignal(name); s != want || err != nil {
			t.Error(name, s, err)
		}
	}
	if _, err := DumpSignal("hup"); err == nil || !strings.Contains(err.Error(), "usr1 or usr2") {
		t.Error(err)
	}
}
