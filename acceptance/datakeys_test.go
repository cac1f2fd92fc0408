package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dataKey is a row of the table of keys in the document of event lines.
type dataKey struct{ kind, key, example string }

// section gives a document's text from a heading to the next of the same level.
func section(t *testing.T, path, heading string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", path, heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	return rest
}

// TestDataKeys_AreDocumentedAndCanBeAskedFor holds the two documents against each other, and against the program: every key that the map
// of the plan names is in the table of event lines, and the other way round; a line with all keys of a kind can be imported, each
// of its values can be asked for, and all come back.
func TestDataKeys_AreDocumentedAndCanBeAskedFor(t *testing.T) {
	var keys []dataKey
	tabled := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\| `([a-z]+)` \\| [^|]+ \\| `(.+)` \\|$").FindAllStringSubmatch(section(t, "../docs/format/event-lines.md", "Keys of data"), -1) {
		keys = append(keys, dataKey{m[1], m[2], m[3]})
		tabled[m[2]] = true
	}
	mapped := map[string]bool{}
	for _, m := range regexp.MustCompile("`data\\.([a-z]+)`").FindAllStringSubmatch(section(t, "../docs/elixirscope.md", "Event fields"), -1) {
		if m[1] != "key" { // stands for any of them
			mapped[m[1]] = true
		}
	}
	for key := range mapped {
		if !tabled[key] {
			t.Errorf("docs/elixirscope.md names data.%s, and the table of event-lines.md does not have it", key)
		}
	}
	for key := range tabled {
		if !mapped[key] {
			t.Errorf("event-lines.md has data.%s, and the map of docs/elixirscope.md does not name it", key)
		}
	}

	dir := t.TempDir()
	var lines strings.Builder
	var kinds []string
	of := map[string][]string{}
	for _, k := range keys {
		if !json.Valid([]byte(k.example)) {
			t.Fatalf("the example of data.%s of %s is no JSON: %s", k.key, k.kind, k.example)
		}
		if of[k.kind] == nil {
			kinds = append(kinds, k.kind)
		}
		of[k.kind] = append(of[k.kind], fmt.Sprintf("%q:%s", k.key, k.example))
	}
	if len(keys) < 30 || len(kinds) < 9 {
		t.Fatalf("the table has %d keys of %d kinds: its form has changed", len(keys), len(kinds))
	}
	for i, kind := range kinds {
		fmt.Fprintf(&lines, `{"stream":"s%d","seq":1,"time":%d,"kind":%q,"data":{%s}}`+"\n", i, 1_700_000_000_000_000_000+i, kind, strings.Join(of[kind], ","))
	}
	if err := os.WriteFile(filepath.Join(dir, "keys.ndjson"), []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := mustRun(t, dir, "import", "-o", "rec", "keys.ndjson"), fmt.Sprintf("keys.ndjson: event lines, %d events\n", len(kinds)); !strings.Contains(got, want) {
		t.Fatalf("it says %q, not %q", got, want)
	}
	exported := mustRun(t, dir, "export", "rec")
	for _, kind := range kinds {
		if want := `"data":{` + strings.Join(of[kind], ",") + `}`; !strings.Contains(exported, want) {
			t.Errorf("the export has not what the line of the %s had: %s\n%s", kind, want, exported)
		}
	}
	for _, k := range keys {
		condition := "data." + k.key + " = " + k.example
		if strings.ContainsAny(k.example[:1], "[{") { // a whole list or object is found by what it has as text
			condition = "data." + k.key + ` =~ ".+"`
		}
		found := mustRun(t, dir, "find", "--json", "{ kind = "+k.kind+" && "+condition+" }", "rec")
		first, _, _ := strings.Cut(found, "\n")
		var hit struct {
			Kind string
			Data map[string]json.RawMessage
		}
		if err := json.Unmarshal([]byte(first), &hit); err != nil || hit.Kind != k.kind || string(hit.Data[k.key]) != k.example {
			t.Errorf("data.%s of %s: %v: %s", k.key, k.kind, err, first)
		}
	}
	slices.Sort(kinds)
	t.Logf("%d keys of %s", len(keys), strings.Join(kinds, ", "))
}
