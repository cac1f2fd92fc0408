//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pastcone/pastcone/client"
)

// TestDescriptors_AFloodOfConnectionsCostsTheRecordingNothing gives a server few file descriptors and opens many times as many
// connections, on both lines. A source that is there goes on: new segments are begun, all is durable; and there is room again afterwards.
func TestDescriptors_AFloodOfConnectionsCostsTheRecordingNothing(t *testing.T) {
	dir := t.TempDir()
	said := &log{}
	cmd := exec.Command("sh", "-c", `ulimit -n 96 && exec "$0" "$@"`, filepath.Join(binaries, "pastcone"), "serve", "--listen", "127.0.0.1:0",
		"--http", "127.0.0.1:0", "--store-segment-bytes-max", "1MiB", "--drain", "10s", "rec")
	cmd.Dir, cmd.Stderr = dir, said
	cmd.Env = append(os.Environ(), "GOCOVERDIR="+t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	find := regexp.MustCompile(`(?:listening|health) at (\S+)`)
	var found [][]string
	for end := time.Now().Add(serverStarts); len(found) < 2; time.Sleep(10 * time.Millisecond) {
		if found = find.FindAllStringSubmatch(said.String(), 2); time.Now().After(end) {
			t.Fatalf("the server does not listen: %s", said)
		}
	}
	if !strings.Contains(said.String(), "fewer connections are taken") {
		t.Errorf("it does not say that there are fewer: %s", said)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	sender, err := client.NewSender(ctx, found[0][1], client.SenderOptions{Source: "steady"})
	if err != nil {
		t.Fatal(err)
	}
	const batches, each = 60, 500
	seq := 0
	send := func() {
		var b strings.Builder
		for range each {
			seq++
			// Text that does not shrink, so that segments fill.
			fmt.Fprintf(&b, `{"stream":"g1","seq":%d,"time":%d,"kind":"log","data":{"x":"%x"}}`+"\n", seq, seq, rand.Text()+rand.Text()+rand.Text())
		}
		if err := sender.Lines(ctx, []byte(b.String())); err != nil {
			t.Fatal(err)
		}
	}
	var flood []net.Conn
	for i := range batches {
		send()
		for range 10 {
			if conn, err := net.DialTimeout("tcp", found[i%2][1], time.Second); err == nil {
				flood = append(flood, conn)
			}
		}
	}
	if len(flood) < 200 {
		t.Errorf("only %d connections could be opened", len(flood))
	}
	if err := sender.Flush(ctx); err != nil {
		t.Fatalf("under the flood: %v\n%s", err, said)
	}
	for _, conn := range flood {
		_ = conn.Close()
	}
	send()
	if err := sender.Close(ctx); err != nil {
		t.Fatalf("after the flood: %v\n%s", err, said)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		asker, err := client.Ask(ctx, found[0][1])
		if err == nil {
			_ = asker.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("there is no room after the flood: %v", err)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("its end: %v\n%s", err, said)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
	if segments, _ := filepath.Glob(filepath.Join(dir, "rec", "segment-*")); len(segments) < 2 {
		t.Errorf("%d segments: none was begun under the flood", len(segments))
	}
	out, err := exec.Command(filepath.Join(binaries, "pastcone"), "find", "{} | count()", filepath.Join(dir, "rec")).Output()
	if err != nil || !strings.Contains(string(out), "30,500") {
		t.Errorf("%v, %s: want %d", err, out, (batches+1)*each)
	}
}
