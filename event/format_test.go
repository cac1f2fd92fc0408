package event_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
)

var update = flag.Bool("update", false, "write the tables of docs/format/event-lines.md anew")

const formatDoc = "../docs/format/event-lines.md"

// tables gives the generated parts of the document, by name.
func tables() map[string]string {
	var fields, kinds, edges, confidences strings.Builder
	fmt.Fprint(&fields, "| field | type | | means |\n|---|---|---|---|\n")
	for _, f := range event.Fields {
		state := ""
		switch {
		case f.Required:
			state = "required"
		case f.Result:
			state = "result"
		}
		fmt.Fprintf(&fields, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, state, f.Means)
	}
	fmt.Fprint(&kinds, "| kind | means | fields |\n|---|---|---|\n")
	for _, k := range event.Kinds {
		var names []string
		for _, f := range k.Fields {
			names = append(names, "`"+f+"`")
		}
		fmt.Fprintf(&kinds, "| `%s` | %s | %s |\n", k.Name, k.Means, strings.Join(names, " "))
	}
	fmt.Fprint(&edges, "| edge | goes |\n|---|---|\n")
	for _, e := range event.EdgeKinds {
		fmt.Fprintf(&edges, "| `%s` | %s |\n", e.Name, e.Means)
	}
	fmt.Fprint(&confidences, "| confidence | means |\n|---|---|\n")
	for _, c := range event.Confidences {
		fmt.Fprintf(&confidences, "| `%s` | %s |\n", c.Name, c.Means)
	}
	return map[string]string{"fields": fields.String(), "kinds": kinds.String(), "edges": edges.String(), "confidences": confidences.String()}
}

// The document has the tables of this package. Write them anew with: go test ./event -run Document -update
func TestDocumentHasTheTables(t *testing.T) {
	text, err := os.ReadFile(formatDoc)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(text)
	for name, table := range tables() {
		before, rest, found := strings.Cut(doc, "<!-- "+name+":")
		mark, rest, ok := strings.Cut(rest, "-->\n")
		_, after, closed := strings.Cut(rest, "<!-- end -->")
		if !found || !ok || !closed {
			t.Fatalf("no place for the table of %s", name)
		}
		doc = before + "<!-- " + name + ":" + mark + "-->\n" + table + "<!-- end -->" + after
	}
	if doc == string(text) {
		return
	}
	if !*update {
		t.Fatal("the tables of docs/format/event-lines.md are not those of this package: go test ./event -run Document -update")
	}
	if err := os.WriteFile(formatDoc, []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Every example of the document is accepted, and written as it stands there.
func TestDocumentsExamplesAreEventLines(t *testing.T) {
	text, err := os.ReadFile(formatDoc)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if !bytes.HasPrefix(line, []byte(`{"stream"`)) {
			continue
		}
		n++
		e, err := event.ParseLine(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if got := event.AppendLine(nil, &e); !bytes.Equal(got, line) {
			t.Errorf("got  %s\nwant %s", got, line)
		}
	}
	if n < 15 {
		t.Errorf("%d examples only", n)
	}
}

// The bounds that the document names are those of this package.
func TestDocumentNamesTheBounds(t *testing.T) {
	text, err := os.ReadFile(formatDoc)
	if err != nil {
		t.Fatal(err)
	}
	for what, bound := range map[string]int{
		"a text longer than 4,096 bytes": event.TextBytesMax, "more than 1,024 causes": event.CausesMax, "deeper than 128": event.DepthMax,
	} {
		if number := strings.Map(digitsOnly, what); number != fmt.Sprint(bound) || !bytes.Contains(text, []byte("| "+what+" |")) {
			t.Errorf("%q: the bound is %d", what, bound)
		}
	}
}

func digitsOnly(r rune) rune {
	if r >= '0' && r <= '9' {
		return r
	}
	return -1
}
