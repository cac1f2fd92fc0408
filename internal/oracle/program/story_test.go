package program_test

import (
	"strings"
	"testing"

	"github.com/pastcone/pastcone/internal/oracle/program"
)

func TestAStoryThatCannotBeReadSaysWhere(t *testing.T) {
	for text, says := range map[string]string{
		"m call f":                       "line 1: no story has begun",
		"== a\nm call":                   "line 2: \"m call\": a stream, a kind and a function are needed",
		"== a\n# remark\nm shout f":      "line 3: \"m shout f\": no kind of event is called \"shout\"",
		"== a\nm send f ordinal=x":       "line 2: \"m send f ordinal=x\": strconv",
		"== a\nm send f colour=blue -> ": "no field is called \"colour\"",
	} {
		if _, err := program.ParseStories(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, should say %q", text, err, says)
		}
	}
}
