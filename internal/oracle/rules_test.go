package oracle

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
)

// story reads a small program: a line an event, in the order in which they happen,
//
//	stream kind function field … -> parent founder, kind from cause, …
//
// where a field is root, empty, closed, takes, takes-not, key=k, ordinal=n, message=m, peer=s, child=s,
// ref=r, cause=r (several times). A founder in brackets is background; what stands behind it are the
// further edges. Events are named stream#seq.
func story(t *testing.T, text string) (events []event.Event, expected []string) {
	t.Helper()
	seq := map[string]uint64{}
	yes, no := true, false
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		did, given, _ := strings.Cut(line, "->")
		words := strings.Fields(did)
		e := event.Event{Stream: words[0], Time: int64(1000 + 10*len(events)), Func: words[2]}
		seq[e.Stream]++
		e.Seq = seq[e.Stream]
		var ok bool
		if e.Kind, ok = event.ParseKind(words[1]); !ok {
			t.Fatalf("%q: no kind", line)
		}
		for _, field := range words[3:] {
			name, value, _ := strings.Cut(field, "=")
			switch name {
			case "root":
				e.Root = true
			case "empty":
				e.Empty = true
			case "closed":
				e.Closed = true
			case "takes":
				e.Takes = &yes
			case "takes-not":
				e.Takes = &no
			case "key":
				e.Key = value
			case "ordinal":
				n, err := strconv.Atoi(value)
				if err != nil {
					t.Fatal(err)
				}
				e.Ordinal = uint64(n)
			case "message":
				e.Message = value
			case "peer":
				e.Peer = value
			case "child":
				e.Child = value
			case "ref":
				e.Ref = value
			case "cause":
				e.Cause = append(e.Cause, value)
			case "earlier":
				e.Time -= 1000
			default:
				t.Fatalf("%q: no field %q", line, name)
			}
		}
		events = append(events, e)
		expected = append(expected, strings.Join(strings.Fields(given), " "))
	}
	return events, expected
}

// summary gives a verdict as a story expects it.
func summary(v *Verdict) string {
	founder := v.Founder.String()
	if v.Background {
		founder = "[" + founder + "]"
	}
	text := fmt.Sprintf("%s %s", v.Parent, founder)
	for i, c := range v.Edges {
		if i == 0 && v.HasParent && !c.Missing {
			continue
		}
		text += ", " + c.String()
		if c.Inferred {
			text += "?"
		}
	}
	return text
}

func TestStories(t *testing.T) {
	for _, c := range []struct{ tells, story string }{
		{"a stream is a stack of open calls on its first event", `
m log  init           -> nothing [m#1]
m call f              -> m#1 [m#1]
m call g              -> m#2 [m#1]
m log  x              -> m#3 [m#1]
m return g            -> m#3 [m#1]
m state x             -> m#2 [m#1]
m return f            -> m#2 [m#1]
m exit -              -> m#1 [m#1]`},
		{"a return by reference closes its call and what is open inside; one whose call nobody saw has the context", `
m log  init           -> nothing [m#1]
m call f ref=f        -> m#1 [m#1]
m call g              -> m#2 [m#1]
m return f cause=f    -> m#2 [m#1]
m return unseen       -> m#1 [m#1]
m log  x              -> m#1 [m#1]`},
		{"an idle driver founds a job with each send, and its chain does not grow", `
m call main               -> nothing [m#1]
m send submit key=q ordinal=1    -> m#1 m#2
m send submit key=q ordinal=2    -> m#1 m#3
m spawn go child=w               -> m#1 [m#1]
w start -                 -> m#4 [w#1]
w call work               -> w#1 [w#1]
w receive pop key=q ordinal=1    -> m#2 m#2
w send done key=r ordinal=1      -> w#3 m#2
w receive pop key=q ordinal=2    -> m#3 m#3
w send done key=r ordinal=2      -> w#5 m#3
m receive get key=r ordinal=1    -> w#4 m#2
m send submit key=q ordinal=3    -> m#1 m#6`},
		{"a message without content founds nothing, and nobody takes it on", `
m call main               -> nothing [m#1]
m send tell key=q ordinal=1 empty    -> m#1 [m#1]
m spawn go child=w               -> m#1 [m#1]
w start -                 -> m#3 [w#1]
w receive hear key=q ordinal=1 empty -> w#1 [w#1], message from m#2`},
		{"a handler stays in its own correlation, whatever it receives", `
m call main               -> nothing [m#1]
m send put key=pool ordinal=1    -> m#1 m#2
c call serve root         -> nothing c#1
c receive get key=pool ordinal=1 -> c#1 c#1, message from m#2
c log x                   -> c#1 c#1`},
		{"a root in a root is middleware; behind the first comes the next request", `
c log accept              -> nothing [c#1]
c call serve root         -> c#1 c#2
c call log root           -> c#2 c#2
c return log              -> c#3 c#2
c return serve            -> c#2 c#2
c call serve root         -> c#1 c#6`},
		{"a root call hands nothing to its caller", `
m call main               -> nothing [m#1]
m send add key=q ordinal=1       -> m#1 m#2
c log accept              -> nothing [c#1]
c call test root          -> c#1 c#2
c receive run key=q ordinal=1 takes  -> m#2 m#2
c log x                   -> c#3 m#2
c return test             -> c#2 c#2
c log x                   -> c#1 [c#1]`},
		{"a loop that was started inside a request goes on to the requests to come, where it waits for work", `
c call serve root         -> nothing c#1
c spawn dial child=l      -> c#1 c#1
l start -                 -> c#2 c#1
c send write key=w ordinal=1     -> c#1 c#1
l receive loop key=w ordinal=1   -> c#3 c#1
d call serve root         -> nothing d#1
d send write key=w ordinal=2     -> d#1 d#1
l receive loop key=w ordinal=2   -> d#2 d#1
l log x                   -> l#3 d#1`},
		{"a helper that receives somebody else's message as its first does not wait for work there", `
c call serve root         -> nothing c#1
c spawn go child=h        -> c#1 c#1
h start -                 -> c#2 c#1
d call serve root         -> nothing d#1
d send put key=pool ordinal=1    -> d#1 d#1
h receive get key=pool ordinal=1 -> h#1 c#1, message from d#2
d send put key=pool ordinal=2    -> d#1 d#1
h receive get key=pool ordinal=2 -> h#1 c#1, message from d#3`},
		{"its own message is taken on, but only the first one makes a place to wait at", `
c call serve root         -> nothing c#1
c send put key=pool ordinal=1    -> c#1 c#1
c send put key=pool ordinal=2    -> c#1 c#1
c spawn go child=h        -> c#1 c#1
h start -                 -> c#4 c#1
h receive first key=pool ordinal=1  -> c#2 c#1
h receive second key=pool ordinal=2 -> c#3 c#1
d call serve root         -> nothing d#1
d send put key=pool ordinal=3    -> d#1 d#1
d send put key=pool ordinal=4    -> d#1 d#1
h receive second key=pool ordinal=3 -> h#3 c#1, message from d#2
h receive first key=pool ordinal=4  -> d#3 d#1`},
		{"a source that says that a first message is no work still has had a first message", `
c call serve root         -> nothing c#1
c send put key=pool ordinal=1    -> c#1 c#1
c send put key=pool ordinal=2    -> c#1 c#1
c spawn go child=h        -> c#1 c#1
h start -                 -> c#4 c#1
h receive get key=pool ordinal=1 takes-not -> h#1 c#1, message from c#2
h receive get key=pool ordinal=2 -> c#3 c#1
d call serve root         -> nothing d#1
d send put key=pool ordinal=3    -> d#1 d#1
h receive get key=pool ordinal=3 -> h#3 c#1, message from d#2`},
		{"a closed channel takes back what came from it, no other, as the callers get the control back", `
m call main               -> nothing [m#1]
m send put key=a ordinal=1       -> m#1 m#2
m send put key=b ordinal=1       -> m#1 m#3
m close stop key=a        -> m#1 [m#1]
m close stop key=b        -> m#1 [m#1]
w call work               -> nothing [w#1]
w call pop                -> w#1 [w#1]
w receive pop key=a ordinal=1    -> m#2 m#2
w return pop              -> w#2 [w#1]
w call pop                -> w#3 m#2
w receive pop key=b ordinal=1    -> m#3 m#3
w return pop              -> w#5 m#2
w call pop                -> w#6 m#3
w receive pop key=b closed       -> w#8 m#3, close from m#5
w log x                   -> w#8 m#3
w return pop              -> w#8 m#3
w log x                   -> w#3 m#2
w receive pop key=a closed       -> w#3 m#2, close from m#4
w log x                   -> w#1 [w#1]`},
		{"a timer's firing founds work though its cause is background; what hangs on work does not", `
m log ticker ref=t        -> nothing [m#1]
m call test root ref=r    -> m#1 m#2
k log start               -> nothing [k#1]
k send fire key=q ordinal=1 cause=t  -> m#1 k#2
k send fire key=q ordinal=2 cause=r  -> m#2 m#2
k log x                   -> k#1 [k#1]`},
		{"a list of causes: the first is the parent, and none of them changes the context", `
m log a ref=a             -> nothing [m#1]
m log b ref=b             -> m#1 [m#1]
w call work root          -> nothing w#1
w log x cause=b cause=a   -> m#2 [m#1], explicit from m#1
w log y                   -> w#1 w#1
w call z cause=a          -> m#1 [m#1]
w log z                   -> w#4 [m#1]
w return z                -> w#4 [m#1]
w log y                   -> w#1 w#1`},
		{"a root whose cause is found belongs to it; one whose cause is not has no parent, and founds", `
m log a ref=a             -> nothing [m#1]
w log start               -> nothing [w#1]
w call x root cause=a     -> m#1 [m#1]
w return x                -> w#2 [m#1]
w call y root cause=lost  -> nothing w#4, explicit from something missing`},
		{"a cause that is not found is a gap, and the parent is the context", `
m call main               -> nothing [m#1]
m log x cause=lost cause=lost2 -> m#1 [m#1], explicit from something missing, explicit from something missing
m wake x cause=lost       -> m#1 [m#1], wake from something missing
m wake y                  -> m#1 [m#1]`},
		{"a message that nobody sent founds work where it would have been taken on, and is a gap elsewhere", `
w start -                 -> nothing [w#1], spawn from something missing
w receive pop key=q ordinal=1    -> nothing w#2, message from something missing
w log x                   -> w#2 w#2
w receive pop key=q ordinal=2    -> nothing w#4, message from something missing
w receive stop key=q ordinal=3 empty -> w#4 w#4, message from something missing
w receive stop key=q closed      -> w#4 w#4, close from something missing
c call serve root         -> nothing c#1
c receive get key=q ordinal=4    -> c#1 c#1, message from something missing`},
		{"messages meet by ordinal, else by id, else in the order of time between those that name each other", `
a call f                  -> nothing [a#1]
b call f                  -> nothing [b#1]
a send x key=k ordinal=2 message=m1 empty   -> a#1 [a#1]
a send x key=k message=m2 empty  -> a#1 [a#1]
a send x key=k peer=c empty      -> a#1 [a#1]
b send x key=k peer=c empty      -> b#1 [b#1]
a send x key=k peer=c empty      -> a#1 [a#1]
c call f                  -> nothing [c#1]
c receive x key=k ordinal=2 message=m2 empty -> c#1 [c#1], message from a#2
c receive x key=k message=m2 empty -> c#1 [c#1], message from a#3
c receive x key=k peer=b empty   -> c#1 [c#1], message from b#2
c receive x key=k peer=a empty   -> c#1 [c#1], message from a#4
c receive x key=k empty          -> c#1 [c#1], message from a#5?`},
		{"first in, first out is exact with one sender and one receiver", `
a call f                  -> nothing [a#1]
a send x key=k empty      -> a#1 [a#1]
a send x key=k empty      -> a#1 [a#1]
c call f                  -> nothing [c#1]
c receive x key=k empty   -> c#1 [c#1], message from a#2
c receive x key=k empty   -> c#1 [c#1], message from a#3`},
		{"a lock with ordinals: who has none waited for nobody", `
a call f                  -> nothing [a#1]
a acquire f key=l         -> a#1 [a#1]
a release f key=l ordinal=1      -> a#1 [a#1]
b call f                  -> nothing [b#1]
b acquire f key=l ordinal=1      -> b#1 [b#1], lock from a#3
b release f key=l ordinal=2      -> b#1 [b#1]
a acquire f key=l         -> a#1 [a#1]
a acquire f key=l ordinal=7      -> a#1 [a#1], lock from something missing`},
		{"a lock without ordinals: the k-th acquire follows the release before it", `
a call f                  -> nothing [a#1]
a acquire f key=l         -> a#1 [a#1]
a release f key=l         -> a#1 [a#1]
b call f                  -> nothing [b#1]
b acquire f key=l         -> b#1 [b#1], lock from a#3?
b acquire f key=l         -> b#1 [b#1], lock from something missing`},
		{"who is spawned by work works; who is spawned by background founds background, whatever comes first", `
m call main               -> nothing [m#1]
m spawn go child=a        -> m#1 [m#1]
m spawn go child=b        -> m#1 [m#1]
a log x                   -> m#2 [a#1]
b call test root          -> m#3 b#1
b spawn go child=c        -> b#1 b#1
c log x                   -> b#2 b#1`},
		{"an exit closes what is open", `
m log x                   -> nothing [m#1]
m call f                  -> m#1 [m#1]
m exit -                  -> m#2 [m#1]
m log x                   -> m#1 [m#1]`},
	} {
		t.Run(c.tells, func(t *testing.T) {
			events, expected := story(t, c.story)
			truth, err := Correlate(events)
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range events {
				got := summary(truth.Of(At{1, e.Stream, e.Seq}))
				if got != expected[i] {
					t.Errorf("%s#%d: %s\n\tshould be %s", e.Stream, e.Seq, got, expected[i])
				}
			}
		})
	}
}

func TestDurationsAreNeverNegative(t *testing.T) {
	events, _ := story(t, `
m call f
m return f
m call f ref=f
m return f earlier cause=f`)
	truth, err := Correlate(events)
	if err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[uint64]int64{2: 10, 4: 0} {
		if got := int64(truth.Of(At{1, "m", seq}).Duration); got != want {
			t.Errorf("m#%d: %d ns, should be %d", seq, got, want)
		}
	}
}

func TestSourcesShareNothing(t *testing.T) {
	a, _ := story(t, `
m call main
m send put key=q ordinal=1 ref=r
m spawn go child=w`)
	b, _ := story(t, `
w start -
w receive get key=q ordinal=1
w wake x cause=r`)
	truth, err := Correlate(a, b)
	if err != nil {
		t.Fatal(err)
	}
	for seq, want := range map[uint64]string{
		1: "nothing [2:w#1], spawn from something missing",
		2: "nothing 2:w#2, message from something missing",
		3: "2:w#2 2:w#2, wake from something missing",
	} {
		if got := summary(truth.Of(At{2, "w", seq})); got != want {
			t.Errorf("w#%d: %s, should be %s", seq, got, want)
		}
	}
}

func TestWhatIsNoCompleteProgramIsRefused(t *testing.T) {
	hole, _ := story(t, "m call f\nm call g\nm call h")
	twice := append(hole[:2:2], hole[1])
	circle, _ := story(t, "a log x ref=a cause=b\nb log x ref=b cause=a\nc log x")
	for name, c := range map[string]struct {
		events []event.Event
		is     error
		says   string
	}{
		"a hole":           {append(hole[:1:1], hole[2]), ErrIncomplete, "m#3 where seq 2 should be"},
		"no beginning":     {hole[1:], ErrIncomplete, "m#2 where seq 1 should be"},
		"an event twice":   {twice, ErrIncomplete, "m#2 where seq 3 should be"},
		"causes in circle": {circle, ErrCycle, "2 events wait for one another: a#1, b#1"},
	} {
		if _, err := Correlate(c.events); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHappensBefore(t *testing.T) {
	events, _ := story(t, `
m call main
m send put key=q ordinal=1
x log alone
w call work
w receive get key=q ordinal=1
m log after
w log done`)
	truth, err := Correlate(events)
	if err != nil {
		t.Fatal(err)
	}
	o := HappensBefore(truth)
	at := func(name string) At {
		stream, seq, _ := strings.Cut(name, "#")
		n, _ := strconv.Atoi(seq)
		return At{1, stream, uint64(n)}
	}
	for _, c := range []struct {
		a, b   string
		before bool
	}{
		{"m#1", "m#3", true}, {"m#1", "w#3", true}, {"m#2", "w#2", true}, {"w#1", "w#3", true},
		{"m#3", "w#3", false}, {"w#2", "m#2", false}, {"x#1", "w#3", false}, {"m#1", "m#1", false}, {"m#1", "no#1", false}, {"no#1", "m#1", false},
	} {
		if got := o.Before(at(c.a), at(c.b)); got != c.before {
			t.Errorf("%s before %s: %v", c.a, c.b, got)
		}
	}
	if !o.Concurrent(at("m#3"), at("w#3")) || o.Concurrent(at("m#1"), at("w#3")) || o.Concurrent(at("m#1"), at("m#1")) {
		t.Error("concurrent")
	}
	if o.Past(at("w#3")) != 4 || o.Past(at("x#1")) != 0 || o.Past(at("no#1")) != 0 {
		t.Errorf("past of w#3: %d", o.Past(at("w#3")))
	}
}

func TestCausesOfTheWorkedExampleHappenBeforeTheirEffects(t *testing.T) {
	truth, err := Correlate(loadEvents(t, "testdata/example.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	o := HappensBefore(truth)
	for _, v := range truth.Verdicts {
		for _, c := range v.Edges {
			if !o.Before(c.From, v.At) || o.Before(v.At, c.From) {
				t.Errorf("%s: %v", v.At, c)
			}
		}
		if v.Founder != v.At && !o.Before(v.Founder, v.At) {
			t.Errorf("%s: its founder %s is not in its past", v.At, v.Founder)
		}
	}
}
