package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestWrite_TheCopyBuildsByItselfAndIsLeftAloneTheSecondTime(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "vet", Checkout)
	build.Dir, build.Env = dir, append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	main := filepath.Join(dir, "examples", "checkout", "main.go")
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(main, long, long); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(main); err != nil || time.Since(info.ModTime()) < 30*time.Minute {
		t.Errorf("a file that was the same was written again: %v", err)
	}
	if err := os.WriteFile(main, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(main); err != nil || info.Size() == 0 {
		t.Errorf("a file that was another was left: %v", err)
	}
}
