package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// planted are secrets that must be nowhere in a recording; each has a mark of its own.
var planted = []string{
	"plantedkey1x", "plantednested2x", "plantederror3x", "plantedheader4x", "plantedurl5x", "plantedbearer6x00", "4111111111111111",
	"plantedreject8x", "plantedcookie9x", "plantedextra10x",
}

// secretLines are events that carry them in every place where a program may put one, and a line that can not be read.
const secretLines = `{"stream":"g1","seq":1,"time":1,"kind":"call","func":"login","data":{"user":"bob","password":"plantedkey1x","deep":{"list":[{"apiKey":"plantednested2x"}]}}}
{"stream":"g1","seq":2,"time":2,"kind":"error","data":{"error":"login failed: password=plantederror3x for bob: dial postgres://app:plantedurl5x@db:5432/orders: refused"}}
{"stream":"g1","seq":3,"time":3,"kind":"log","data":{"msg":"sent Authorization: Basic plantedheader4x","head":"Bearer plantedbearer6x00","raw":"{\"cookie\":\"plantedcookie9x\"}"}}
{"stream":"g1","seq":4,"time":4,"kind":"log","data":{"msg":"paid with 4111 1111 1111 1111 and 4111111111111111"},"session_token":"plantedextra10x"}
{"stream":"g1","seq":5,"time":"no time","kind":"log","data":{"password":"plantedreject8x"}}
{"stream":"g1","seq":6,"time":6,"kind":"return"}
`

func said(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(binaries, "pastcone"), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOCOVERDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("pastcone %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// scan looks for secrets in all files below dir, and at who may read them; and in all that the recording gives out again, which is the
// same with its compression undone. It gives what was given out.
func scan(t *testing.T, dir, rec string, secrets []string) string {
	t.Helper()
	files := 0
	err := filepath.WalkDir(filepath.Join(dir, rec), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others can read it", path, info.Mode())
		}
		if d.IsDir() {
			return nil
		}
		files++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s has %s", filepath.Base(path), secret)
			}
		}
		return nil
	})
	if err != nil || files < 3 {
		t.Fatalf("%d files, %v", files, err)
	}
	out := said(t, dir, "export", "--format", "ndjson", rec)
	for _, secret := range secrets {
		if strings.Contains(out, secret) {
			t.Errorf("the export has %s", secret)
		}
	}
	return out
}

// TestSecrets_AreNowhereInARecording plants secrets in events and looks for them in every file: taken out before anything is stored.
func TestSecrets_AreNowhereInARecording(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "in.ndjson"), []byte(secretLines), 0o600); err != nil {
		t.Fatal(err)
	}
	said(t, dir, "import", "-o", "rec", "in.ndjson")
	out := scan(t, dir, "rec", planted)
	for _, stays := range []string{`"user":"bob"`, "login failed: password=[redacted] for bob: dial postgres://app:[redacted]@db:5432/orders: refused", `"session_token":"[redacted]"`} {
		if !strings.Contains(out, stays) {
			t.Errorf("the export does not say %s:\n%s", stays, out)
		}
	}
	if rejects, err := filepath.Glob(filepath.Join(dir, "rec", "rejects*")); err != nil || len(rejects) == 0 {
		t.Errorf("the line that can not be read is kept nowhere: %v", err)
	}
	// The test can fail: under names that do not sound like secrets they are there.
	plain := strings.NewReplacer(`"password"`, `"passage"`, "password=", "passage=").Replace(secretLines)
	if err := os.WriteFile(filepath.Join(dir, "plain.ndjson"), []byte(plain), 0o600); err != nil {
		t.Fatal(err)
	}
	said(t, dir, "import", "-o", "open", "plain.ndjson")
	if out := said(t, dir, "export", "--format", "ndjson", "open"); !strings.Contains(out, planted[0]) || !strings.Contains(out, planted[2]) {
		t.Errorf("what is no secret is not found either: the test would prove nothing\n%s", out)
	}
}

const secretProgram = `package main

import (
	"errors"
	"fmt"
)

type account struct {
	Name   string
	APIKey string
}

//go:noinline
func login(user, password string, of account) error {
	return errors.New("login of " + user + " failed: password=" + password)
}

func main() {
	err := login("bob", "plantedargument1x", account{"bob", "plantedfield2x"})
	fmt.Println("it is told:", err != nil)
}
`

// TestSecrets_OfArgumentsOfRecordedPrograms records a program with the values of its arguments: they come the same way.
func TestSecrets_OfArgumentsOfRecordedPrograms(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a program")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.com/secret\n\ngo 1.26\n", "main.go": secretProgram} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said(t, dir, "run", "-o", "rec", "--args", "main.login", ".")
	out := scan(t, dir, "rec", []string{"plantedargument1x", "plantedfield2x"})
	if !strings.Contains(out, "main.login") || !strings.Contains(out, `"password":"[redacted]"`) || !strings.Contains(out, "bob") {
		t.Errorf("the arguments are not there at all:\n%s", out)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.capture*"))
	if err != nil || len(left) > 0 {
		t.Errorf("the raw capture is left over: %v, %v", left, err)
	}
}
