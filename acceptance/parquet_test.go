package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/export"
	"github.com/pastcone/pastcone/internal/oracle"
	"github.com/pastcone/pastcone/internal/query/memory"
)

// TestParquet_DuckDBReadsAnExport exports the worked example, asks DuckDB about it, and holds the answers against what the
// events say. It needs node and npm, and installs DuckDB into a folder of its own.
func TestParquet_DuckDBReadsAnExport(t *testing.T) {
	dir := t.TempDir()
	installDuckDB(t, dir)
	events := workedExample(t)
	r, err := memory.FromEvents(events, nil, 64)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "it's an export.parquet")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := export.Parquet(context.Background(), r, export.Options{}, f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	answers := askDuckDB(t, dir, file)
	t.Logf("DuckDB %v", answers["version"])

	types := map[string]string{}
	for _, column := range answers["schema"] {
		types[column["column_name"].(string)] = column["column_type"].(string)
	}
	for column, want := range map[string]string{"id": "BIGINT", "stream": "VARCHAR", "time": "TIMESTAMP_NS", "kind": "VARCHAR",
		"takes": "BOOLEAN", "cause": "VARCHAR[]", "position": "INTEGER", "data": "VARCHAR", "duration": "BIGINT",
		"causes": "STRUCT(id BIGINT, kind VARCHAR, confidence VARCHAR, p DOUBLE)[]"} {
		if got := types[column]; got != want {
			t.Errorf("column %s is %q, want %q", column, got, want)
		}
	}
	document, err := os.ReadFile("../docs/format/parquet.md")
	if err != nil {
		t.Fatal(err)
	}
	for column := range types {
		if !strings.Contains(string(document), "\n| `"+column+"` ") {
			t.Errorf("docs/format/parquet.md has no row for the column %s", column)
		}
	}

	kinds, edges := map[string]int{}, map[string]int{}
	low, high, duration, withData := events[0].Time, events[0].Time, time.Duration(0), 0
	for i := range events {
		e := &events[i]
		kinds[e.Kind.String()]++
		for _, c := range e.Causes {
			edges[c.Kind.String()+" "+c.Confidence.String()]++
		}
		low, high, duration = min(low, e.Time), max(high, e.Time), duration+e.Duration
		if len(e.Data) > 0 {
			withData++
		}
	}
	same := func(question, got, want string) {
		if got != want {
			t.Errorf("%s: DuckDB says %s, the events say %s", question, got, want)
		}
	}
	for _, row := range answers["kinds"] {
		same("events of kind "+row["kind"].(string), fmt.Sprint(row["n"]), strconv.Itoa(kinds[row["kind"].(string)]))
	}
	same("number of kinds", strconv.Itoa(len(answers["kinds"])), strconv.Itoa(len(kinds)))
	for _, row := range answers["edges"] {
		name := row["kind"].(string) + " " + row["confidence"].(string)
		same("edges: "+name, fmt.Sprint(row["n"]), strconv.Itoa(edges[name]))
	}
	same("kinds of edges", strconv.Itoa(len(answers["edges"])), strconv.Itoa(len(edges)))
	same("events", fmt.Sprint(answers["events"][0]), fmt.Sprint(map[string]any{"n": len(events), "low": 1, "high": len(events)}))
	same("events in another correlation than their parent's", fmt.Sprint(answers["parents"][0]["n"]), "0")
	same("times", fmt.Sprint(answers["times"][0]), fmt.Sprint(map[string]any{"low": low, "high": high}))
	same("durations", fmt.Sprint(answers["duration"][0]["ns"]), strconv.FormatInt(int64(duration), 10))
	same("events with data", fmt.Sprint(answers["data"][0]["n"]), strconv.Itoa(withData))
	same("schema", fmt.Sprint(answers["metadata"]), fmt.Sprint([]map[string]any{{"key": "pastcone.schema", "value": export.ParquetVersion}}))
	same("compression", fmt.Sprint(answers["compression"]), fmt.Sprint([]map[string]any{{"compression": "ZSTD"}}))
}

// installDuckDB puts DuckDB and the script that asks it into dir. The test is skipped where that can not be done.
func installDuckDB(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed: DuckDB cannot be asked", name)
		}
	}
	for _, name := range []string{"package.json", "ask.mjs"} {
		text, err := os.ReadFile(filepath.Join("parquet", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--no-save")
	install.Dir = dir
	if said, err := install.CombinedOutput(); err != nil {
		t.Skipf("DuckDB cannot be installed: %v\n%s", err, said)
	}
}

func askDuckDB(t *testing.T, dir, file string) map[string][]map[string]any {
	t.Helper()
	ask := exec.Command("node", "ask.mjs", file)
	ask.Dir = dir
	var said strings.Builder
	ask.Stderr = &said
	out, err := ask.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	answers := map[string][]map[string]any{}
	for line := range strings.Lines(string(out)) {
		var a struct {
			Name string
			Rows []map[string]any
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		answers[a.Name] = a.Rows
	}
	return answers
}

// workedExample gives the worked example of the rules with its results.
func workedExample(t *testing.T) []event.Event {
	t.Helper()
	text, err := os.ReadFile("../internal/oracle/testdata/example.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	var in []event.Event
	for line := range strings.Lines(string(text)) {
		e, err := event.ParseLine([]byte(strings.TrimSuffix(line, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, e)
	}
	truth, err := oracle.Correlate(in)
	if err != nil {
		t.Fatal(err)
	}
	_, events, err := memory.FromTruth(truth, 64)
	if err != nil {
		t.Fatal(err)
	}
	return events
}
