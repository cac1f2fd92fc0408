package query_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/internal/query"
)

func TestTheExamplesOfTheDocumentationGiveWhatStandsThere(t *testing.T) {
	text, err := os.ReadFile("../../docs/query.md")
	if err != nil {
		t.Fatal(err)
	}
	r, _ := shop(t, 8)
	ran := 0
	for i, block := range strings.Split(string(text), "```query\n") {
		if i == 0 {
			continue
		}
		block, _, _ = strings.Cut(block, "```")
		for _, line := range strings.Split(strings.TrimSpace(block), "\n") {
			asked, want, ok := strings.Cut(line, " → ")
			if !ok {
				t.Errorf("an example without an answer: %s", line)
				continue
			}
			q := parse(t, strings.TrimSpace(asked))
			var got []string
			sum, err := query.Run(ctx, r, q, query.Options{CausalBudget: generous}, func(h *query.Hit) error {
				if q.Aggregate() {
					got = append(got, fmt.Sprint(h.Values))
				} else {
					got = append(got, h.Event.ID.String())
				}
				return nil
			})
			if err != nil || sum.Cut || strings.Join(got, " ") != want {
				t.Errorf("%s gives %s, %v\nnot %s", asked, strings.Join(got, " "), err, want)
			}
			ran++
		}
	}
	if ran < 20 {
		t.Errorf("only %d examples", ran)
	}
}

// What docs/query.md says to ask of a recorded Go program finds something in a recording of one.
func TestTheQuestionsOfTheDocumentationHaveAnswers(t *testing.T) {
	text, err := os.ReadFile("../../docs/query.md")
	if err != nil {
		t.Fatal(err)
	}
	r := late(t)
	ran := 0
	for _, block := range strings.Split(string(text), "```ask\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for _, asked := range strings.Split(strings.TrimSpace(block), "\n") {
			ran++
			sum, err := query.Run(ctx, r, parse(t, asked), query.Options{CausalBudget: generous}, func(*query.Hit) error { return nil })
			if err != nil || sum.Cut || sum.Matched == 0 || sum.Given == 0 {
				t.Errorf("%s: %d of %d, %v", asked, sum.Given, sum.Matched, err)
			}
		}
	}
	if ran < 14 {
		t.Errorf("only %d questions", ran)
	}
	if id := theOne(t, r, "first:({ kind = return } < { kind = call && root }) | sort(duration desc)"); id != theOne(t, r, `{ kind = return && stream = "g20" && func =~ "Checkout" }`) {
		t.Errorf("event %d is not the return of the slowest request", id)
	}
}

func TestTheDocumentationListsEveryField(t *testing.T) {
	text, err := os.ReadFile("../../docs/query.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "<!-- fields -->\n")
	table, _, _ = strings.Cut(table, "<!-- /fields -->")
	if want := query.FieldsTable(); table != want {
		t.Errorf("docs/query.md has\n%s\nand the fields are\n%s", table, want)
	}
}
