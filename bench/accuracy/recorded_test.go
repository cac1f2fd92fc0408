package main

import (
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/oracle"
)

// A handler hands a job to a worker and spawns a helper; the worker does another job after it.
const nestedStory = `{"stream":"conn","seq":1,"time":1,"kind":"call","root":true,"func":"serve","id":1,"correlation":1}
{"stream":"conn","seq":2,"time":2,"kind":"call","func":"submit","data":{"args":["r-000001"]},"id":2,"correlation":1}
{"stream":"conn","seq":3,"time":3,"kind":"send","key":"jobs","id":3,"correlation":1}
{"stream":"conn","seq":4,"time":4,"kind":"spawn","child":"helper","id":4,"correlation":1}
{"stream":"helper","seq":1,"time":5,"kind":"start","id":5,"correlation":1}
{"stream":"worker","seq":1,"time":6,"kind":"receive","key":"jobs","id":6,"correlation":1}
{"stream":"worker","seq":2,"time":7,"kind":"call","func":"fulfil","data":{"args":["r-000001"]},"id":7,"correlation":1}
{"stream":"worker","seq":3,"time":8,"kind":"return","func":"fulfil","id":8,"correlation":1}
{"stream":"worker","seq":4,"time":9,"kind":"log","id":9,"correlation":9}
{"stream":"conn","seq":5,"time":10,"kind":"return","func":"submit","id":10,"correlation":1}
`

func storyOf(t *testing.T, lines string) (events []event.Event) {
	t.Helper()
	for line := range strings.Lines(lines) {
		e, err := event.ParseLine([]byte(strings.TrimSpace(line)))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

func TestNest_CallsAndSpawnedStreamsBelongToTheRequestTheyAreWithin(t *testing.T) {
	n := nest(storyOf(t, nestedStory))
	if err := n.score(); err != nil {
		t.Fatal(err)
	}
	if n.requests != 1 || n.right != (oracle.Share{Part: 7, Of: 7}) {
		t.Errorf("%d requests, %+v, %v", n.requests, n.right, n.differences)
	}
	// The worker's call is put on another request's account, or the helper's start on nobody's.
	for _, at := range []string{`"kind":"call","func":"fulfil","data":{"args":["r-000001"]},"id":7,"correlation":1`, `"kind":"start","id":5,"correlation":1`} {
		n := nest(storyOf(t, strings.Replace(nestedStory, at, strings.Replace(at, `"correlation":1`, `"correlation":9`, 1), 1)))
		if err := n.score(); err != nil || n.right != (oracle.Share{Part: 6, Of: 7}) || len(n.differences) != 1 {
			t.Errorf("%s: %v, %+v, %v", at, err, n.right, n.differences)
		}
	}
}

func TestNest_AFounderIsARootOfOneRequest(t *testing.T) {
	for story, lines := range map[string]string{
		"which is no root": strings.Replace(nestedStory, `"root":true,`, "", 1),
		"the same founder": nestedStory + `{"stream":"conn","seq":6,"time":11,"kind":"call","func":"submit","data":{"args":["r-000002"]},"id":11,"correlation":1}`,
		"nothing to score": `{"stream":"a","seq":1,"time":1,"kind":"log","id":1,"correlation":1}`,
	} {
		if err := nest(storyOf(t, lines)).score(); err == nil || !strings.Contains(err.Error(), story) {
			t.Errorf("%s: %v", story, err)
		}
	}
}

func TestTheRecordedProgramIsScored(t *testing.T) {
	var out strings.Builder
	if err := measureRecorded(&out, 100); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "one of 100 requests") || !strings.Contains(out.String(), "in their request's correlation: 100 %") {
		t.Errorf("%s", out.String())
	}
}
