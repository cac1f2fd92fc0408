//go:build unix

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestOperate_SettingsByStrengthAndReread starts a server whose settings come from a file, the environment and flags, in that order of
// strength; reads them again by the API and by SIGHUP; and sees what can not change refused by name. Its log is JSON, and no token is in it,
// nor in the list of processes.
func TestOperate_SettingsByStrengthAndReread(t *testing.T) {
	dir := t.TempDir()
	token := strings.TrimSpace(lines(said(t, dir, "token", "new", "--tokens", "tokens", "--role", "admin", "--name", "operator"))[0])
	write := func(deadline, rest string) {
		t.Helper()
		text := "query:\n  deadline: " + deadline + "\nbatch:\n  events_min: 17\nlog:\n  format: json\nserver:\n  tokens: tokens\n  http: [\"127.0.0.1:0\"]\n" + rest
		if err := os.WriteFile(filepath.Join(dir, "settings.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("11s", "retry:\n  tries: 4\n")
	told := &log{}
	cmd := exec.Command(filepath.Join(binaries, "pastcone"), "serve", "--config", "settings.yaml", "--listen", "127.0.0.1:0", "--retry-tries", "6", "rec")
	cmd.Dir, cmd.Stderr = dir, told
	cmd.Env = append(os.Environ(), "GOCOVERDIR="+t.TempDir(), "PASTCONE_RETRY_TRIES=5", "PASTCONE_BATCH_EVENTS_MIN=18", "PASTCONE_TOKEN="+token)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	find := regexp.MustCompile(`health at (\S+)`)
	var base string
	for end := time.Now().Add(serverStarts); base == ""; time.Sleep(10 * time.Millisecond) {
		if m := find.FindStringSubmatch(told.String()); m != nil {
			base = "http://" + m[1]
		}
		if time.Now().After(end) {
			t.Fatalf("the server does not listen: %s", told)
		}
	}
	do := func(method, path string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	is := func(key, value string) {
		t.Helper()
		var all []struct{ Key, Value string }
		_, text := do("GET", "/settings")
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatal(err)
		}
		for _, v := range all {
			if v.Key == key && v.Value != value {
				t.Errorf("%s is %s, want %s", key, v.Value, value)
			}
		}
	}
	is("query.deadline", "11s")  // the file over the default
	is("batch.events_min", "18") // the environment over the file
	is("retry.tries", "6")       // a flag over all
	if status, text := do("GET", "/readyz"); status != http.StatusOK {
		t.Errorf("ready: %d %s", status, text)
	}

	write("12s", "")
	if status, text := do("POST", "/settings/reload"); status != http.StatusOK || !strings.Contains(text, "query.deadline is 12s") {
		t.Errorf("reload: %d %s", status, text)
	}
	is("query.deadline", "12s")
	write("13s", "ring:\n  capacity_events: 65536\n")
	if status, text := do("POST", "/settings/reload"); status != http.StatusConflict || !strings.Contains(text, `"setting":"ring.capacity_events"`) {
		t.Errorf("what can not change: %d %s", status, text)
	}
	is("query.deadline", "12s") // all or nothing
	write("14s", "rign:\n  capacity_events: 65536\n")
	if status, text := do("POST", "/settings/reload"); status != http.StatusConflict || !strings.Contains(text, "is ring.capacity_events meant?") {
		t.Errorf("what does not exist: %d %s", status, text)
	}
	write("15s", "")
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !strings.Contains(told.String(), "query.deadline is 15s"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("SIGHUP changes nothing: %s", told)
		}
	}
	is("query.deadline", "15s")

	if list, err := exec.Command("ps", "-ww", "-o", "args=", "-p", strconv.Itoa(cmd.Process.Pid)).Output(); err == nil && strings.Contains(string(list), token) {
		t.Error("the token is in the list of processes")
	}
	entries := 0
	for _, l := range lines(told.String()) {
		if strings.Contains(l, token) || strings.Contains(l, token[strings.LastIndex(token, "_")+1:]) {
			t.Errorf("the log has the token: %s", l)
		}
		if strings.HasPrefix(l, "{") {
			entries++
			var entry struct{ Time, Level, Msg string }
			if err := json.Unmarshal([]byte(l), &entry); err != nil || entry.Time == "" || entry.Msg == "" {
				t.Errorf("%s: %v", l, err)
			}
		}
	}
	if entries == 0 {
		t.Errorf("nothing is logged as JSON:\n%s", told)
	}
}

func lines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }
