package probe

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// runSelf runs one test of this binary in a process of its own, which must fail, and gives its output.
func runSelf(t *testing.T, test, env string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$") // #nosec G204 -- this very binary
	cmd.Env = append(os.Environ(), env)
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("the process ended well:\n%s", out)
	}
	return string(out)
}
