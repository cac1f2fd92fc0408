package query_test

import (
	"bufio"
	"os"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/oracle"
	"github.com/pastcone/pastcone/internal/query/memory"
)

// shop reads the story of testdata/shop.ndjson, judged by the oracle: an HTTP server, a queue with two
// workers, a lock that one of them holds too long, and a card that is declined.
func shop(t testing.TB, blockRows int) (*memory.Reader, []event.Event) {
	t.Helper()
	return judged(t, "testdata/shop.ndjson", blockRows)
}

func judged(t testing.TB, path string, blockRows int) (*memory.Reader, []event.Event) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var events []event.Event
	for lines := bufio.NewScanner(f); lines.Scan(); {
		e, err := event.ParseLine(lines.Bytes())
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		events = append(events, e)
	}
	truth, err := oracle.Correlate(events)
	if err != nil {
		t.Fatal(err)
	}
	r, judged, err := memory.FromTruth(truth, blockRows)
	if err != nil {
		t.Fatal(err)
	}
	return r, judged
}
