package render_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/render"
)

// documented gives the names of each type of line that docs/json.md lists: those that are always there,
// and the optional ones.
func documented(t *testing.T) (always, optional map[string][]string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "<!-- lines -->\n")
	table, _, _ = strings.Cut(table, "<!-- /lines -->")
	always, optional = map[string][]string{}, map[string][]string{}
	word, remark := regexp.MustCompile("`([a-z_]+)`"), regexp.MustCompile(`\([^)]*\)`)
	for _, row := range strings.Split(strings.TrimSpace(table), "\n") {
		cells := strings.Split(row, " | ")
		name := strings.Trim(cells[0], "| `")
		first, second, _ := strings.Cut(remark.ReplaceAllString(cells[2], ""), "optional")
		for to, part := range map[*map[string][]string]string{&always: first, &optional: second} {
			for _, m := range word.FindAllStringSubmatch(part, -1) {
				(*to)[name] = append((*to)[name], m[1])
			}
		}
	}
	return always, optional
}

func TestEveryLineOfJSONIsAsDocumented(t *testing.T) {
	always, optional := documented(t)
	seen := map[string]bool{}
	for _, a := range answers {
		if !strings.HasSuffix(a.name, ".json") {
			continue
		}
		text, err := os.ReadFile("testdata/" + a.name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
			var o map[string]json.RawMessage
			if err := json.Unmarshal(line, &o); err != nil {
				t.Errorf("%s: %v: %s", a.name, err, line)
				continue
			}
			if o["type"] == nil && o["stream"] != nil {
				continue // an event line
			}
			kind := strings.Trim(string(o["type"]), `"`)
			seen[kind] = true
			delete(o, "type")
			for _, name := range always[kind] {
				if o[name] == nil {
					t.Errorf("%s: a %s without %s: %s", a.name, kind, name, line)
				}
				delete(o, name)
			}
			for _, name := range optional[kind] {
				delete(o, name)
			}
			if len(o) > 0 {
				t.Errorf("%s: a %s with %v, which docs/json.md does not name", a.name, kind, slices.Collect(maps.Keys(o)))
			}
		}
	}
	for kind := range always {
		if !seen[kind] && kind != "error" && kind != "source" && kind != "partial" { // which have tests of their own
			t.Errorf("no example has a %s", kind)
		}
	}
}

func TestErrorsAsJSONSayWhere(t *testing.T) {
	_, err := query.Parse("{ kind = eror }")
	var w bytes.Buffer
	if err := render.Error(&w, err); err != nil {
		t.Fatal(err)
	}
	want := `{"type":"error","message":"eror is not a kind","offset":9,"width":4,"hint":"did you mean error?"}` + "\n"
	if w.String() != want {
		t.Errorf("%s, not %s", w.String(), want)
	}
	w.Reset()
	if err := render.Error(&w, errors.New("no such recording")); err != nil || w.String() != `{"type":"error","message":"no such recording"}`+"\n" {
		t.Errorf("%v %s", err, w.String())
	}
}
