package correlate

import (
	"fmt"
	"testing"

	"github.com/pastcone/pastcone/event"
)

// Events that come in turn go the short way, events that had to wait the long one: both give the same, in all that the
// short one knows of a stream.
func TestTheShortWayGivesWhatTheLongOneGives(t *testing.T) {
	sends := []string{"m#1 call main"}
	add := func(to *[]string, stream, format string, args ...any) string {
		name := fmt.Sprintf("%s#%d", stream, len(*to)+1)
		*to = append(*to, name+" "+fmt.Sprintf(format, args...))
		return name
	}
	var does []string
	add(&does, "w", "call work at=1000")
	add(&does, "w", "call pop at=1001")
	const keys = takenMax + 8 // more than a call keeps
	for i := range keys {
		add(&sends, "m", "send put key=q%d ordinal=1", i)
		add(&does, "w", "receive pop key=q%d ordinal=1 takes line=%d at=%d", i, i, 1002+i)
	}
	certain := add(&does, "w", "log x at=1100")
	back := add(&does, "w", "return pop at=900") // its clock was set back
	handed := add(&does, "w", "log x at=1101")
	for i := range keys {
		add(&sends, "m", "close put key=q%d", i)
		add(&does, "w", "receive pop key=q%d closed at=1102", i)
	}
	doubtful := add(&does, "w", "log x at=1200")
	add(&does, "w", "call again at=1201")
	inside := add(&does, "w", "log x at=1202")

	told := func(inTurn bool) map[string]string {
		r := newRig(t, Options{})
		if r.Open(1, true); inTurn {
			r.MarksStarts(1)
			r.add(1, 0, sends...)
			for _, line := range does {
				r.add(1, 0, line)
			}
		} else {
			r.add(1, 0, does...)
			r.add(1, 0, sends...)
		}
		r.Finish()
		got := map[string]string{}
		for _, e := range r.k.results {
			got[r.k.name(e.ID)] = r.k.tell(e)
			if e.Duration < 0 {
				t.Errorf("in turn %v: %s took %d", inTurn, r.k.name(e.ID), e.Duration)
			}
		}
		for _, e := range r.k.results {
			want := event.Exact
			switch r.k.name(e.ID) {
			case doubtful:
				want = event.Inferred
			case certain, back, handed, inside:
			default:
				continue
			}
			if e.Confidence != want {
				t.Errorf("in turn %v: %s is %v", inTurn, r.k.name(e.ID), e.Confidence)
			}
		}
		return got
	}
	short, long := told(true), told(false)
	if len(short) != len(sends)+len(does) || len(long) != len(short) {
		t.Errorf("%d and %d events of %d", len(short), len(long), len(sends)+len(does))
	}
	for name, want := range long {
		if short[name] != want {
			t.Errorf("%s: the short way gives %q, the long one %q", name, short[name], want)
		}
	}
}
