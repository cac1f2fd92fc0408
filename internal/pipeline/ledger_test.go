package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pastcone/pastcone/internal/wire"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPipeline_LedgerFollowsABatchThroughItsLife(t *testing.T) {
	var l Ledger
	l.Accept(1, 10)
	if a := l.Account(1); a.InFlight != 10 {
		t.Fatalf("accepted: %+v", a)
	}
	l.Shed(1, 3, "ring full")
	l.Reject(1, 2, "duplicate")
	l.Store(1, 5)
	l.AcceptRejected(1, 1, "unreadable")
	a := l.Account(1)
	if a.Accepted != 11 || a.Stored != 5 || a.Shed != 3 || a.Rejected != 3 || a.InFlight != 0 {
		t.Errorf("%+v", a)
	}
	if a.ShedBy["ring full"] != 3 || a.RejectedBy["duplicate"] != 2 || a.RejectedBy["unreadable"] != 1 {
		t.Errorf("reasons %v %v", a.ShedBy, a.RejectedBy)
	}
	if err := errors.Join(l.Check(), l.CheckSettled()); err != nil {
		t.Error(err)
	}
}

func TestPipeline_LedgerForgetsWhatWasWithdrawn(t *testing.T) {
	var l Ledger
	l.Accept(1, 10)
	l.Withdraw(1, 10)
	if a := l.Account(1); a.Accepted != 0 || a.InFlight != 0 {
		t.Errorf("%+v", a)
	}
}

func TestPipeline_LedgerFindsEventsThatWereSettledTwice(t *testing.T) {
	var l Ledger
	l.Accept(7, 4)
	l.Store(7, 4)
	l.Reject(7, 4, "duplicate")
	err := l.Check()
	if !errors.Is(err, ErrUnbalanced) {
		t.Fatalf("error %v", err)
	}
	if want := "source 7: 4 accepted, 4 stored + 0 shed + 4 rejected, which leaves -4 in flight"; !contains(err.Error(), want) {
		t.Errorf("%q does not say %q", err, want)
	}
}

func TestPipeline_LedgerFindsEventsThatWereForgotten(t *testing.T) {
	var l Ledger
	l.Accept(1, 4)
	l.Store(1, 3)
	l.Accept(2, 1)
	l.Store(2, 1)
	if err := l.Check(); err != nil {
		t.Errorf("in flight is no fault: %v", err)
	}
	if err := l.CheckSettled(); !errors.Is(err, ErrUnbalanced) || contains(err.Error(), "source 2") {
		t.Errorf("error %v", err)
	}
}

func TestPipeline_LedgerSumsItsSourcesInOrder(t *testing.T) {
	var l Ledger
	for src := wire.SourceID(3); src > 0; src-- {
		l.Accept(src, int(10*src))
		l.Shed(src, 1, "ring full")
		l.Reject(src, 2, "late")
	}
	b := l.Books()
	if !b.SameMoment || b.All.Accepted != 60 || b.All.ShedBy["ring full"] != 3 || b.All.RejectedBy["late"] != 6 || b.All.InFlight != 51 {
		t.Errorf("%+v", b)
	}
	for i, a := range b.Sources {
		if a.Source != wire.SourceID(i+1) {
			t.Errorf("account %d is of source %d", i, a.Source)
		}
	}
}

func TestPipeline_LedgerBoundsItsReasons(t *testing.T) {
	var l Ledger
	for n := range 2 * reasonsMax {
		l.Accept(1, 1)
		l.Reject(1, 1, fmt.Sprint("reason ", n))
	}
	a := l.Account(1)
	if len(a.RejectedBy) != reasonsMax+1 || a.RejectedBy[ReasonOther] != reasonsMax || a.Rejected != 2*reasonsMax {
		t.Errorf("%d reasons, %d other, %d in all", len(a.RejectedBy), a.RejectedBy[ReasonOther], a.Rejected)
	}
}

func TestPipeline_LedgerHasNoAccountOfAnUnknownSource(t *testing.T) {
	var l Ledger
	if a := l.Account(9); a.Source != 9 || a.Accepted != 0 {
		t.Errorf("%+v", a)
	}
	if b := l.Books(); len(b.Sources) != 0 || !b.SameMoment {
		t.Errorf("%+v", b)
	}
}

func TestPipeline_LedgerRefusesToCountDownwards(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it counted")
		}
	}()
	new(Ledger).Accept(1, -1)
}

func TestPipeline_LedgerHasStableNamesInJSON(t *testing.T) {
	var l Ledger
	l.Accept(1, 3)
	l.Shed(1, 1, "ring full")
	got, err := json.Marshal(l.Books())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"all":{"accepted":3,"stored":0,"shed":1,"rejected":0,"in_flight":2,"shed_by":{"ring full":1}},` +
		`"sources":[{"source":1,"accepted":3,"stored":0,"shed":1,"rejected":0,"in_flight":2,"shed_by":{"ring full":1}}],"same_moment":true}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A model of the ledger that moves events one by one between places.
func TestPipeline_LedgerAgreesWithASimpleModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l Ledger
		places := map[wire.SourceID]map[string]int{}
		for range rapid.IntRange(0, 60).Draw(t, "moves") {
			src := wire.SourceID(rapid.Uint32Range(1, 3).Draw(t, "source"))
			if places[src] == nil {
				places[src] = map[string]int{}
			}
			at := places[src]
			n := rapid.IntRange(0, 9).Draw(t, "events")
			switch to := rapid.SampledFrom([]string{"accept", "withdraw", "store", "shed", "reject"}).Draw(t, "move"); {
			case to == "accept":
				l.Accept(src, n)
				at["flight"] += n
			case n > at["flight"]:
			case to == "withdraw":
				l.Withdraw(src, n)
				at["flight"] -= n
			default:
				at["flight"] -= n
				at[to] += n
				switch to {
				case "store":
					l.Store(src, n)
				case "shed":
					l.Shed(src, n, "some reason")
				case "reject":
					l.Reject(src, n, "some reason")
				}
			}
			if err := l.Check(); err != nil {
				t.Fatal(err)
			}
		}
		for src, at := range places {
			a := l.Account(src)
			got := fmt.Sprint(a.InFlight, a.Stored, a.Shed, a.Rejected)
			want := fmt.Sprint(at["flight"], at["store"], at["shed"], at["reject"])
			if got != want {
				t.Fatalf("source %d: in flight, stored, shed, rejected %s, want %s", src, got, want)
			}
		}
	})
}

// Each writer has at most one batch in flight at any moment. A reading that mixes two moments would show more than that,
// or less than none.
func TestPipeline_LedgerIsExactAtEveryMoment(t *testing.T) {
	const writers, events, rounds = 3, 7, 20_000
	var l Ledger
	var stop atomic.Bool
	var wg, reader sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			src := wire.SourceID(1 + w%2)
			for n := range rounds {
				l.Accept(src, events)
				switch n % 4 {
				case 0:
					l.Store(src, events)
				case 1:
					l.Shed(src, events, "ring full")
				case 2:
					l.Reject(src, events, "late")
				default:
					l.Withdraw(src, events)
				}
			}
		})
	}
	readings, exact := 0, 0
	reader.Go(func() {
		for !stop.Load() {
			b := l.Books()
			readings++
			for _, a := range b.Sources {
				most := int64(events)
				if a.Source == 1 {
					most = 2 * events
				}
				if a.InFlight < 0 || b.SameMoment && (a.InFlight > most || a.InFlight%events != 0) {
					t.Errorf("source %d: %+v", a.Source, a)
					return
				}
			}
			if b.SameMoment {
				exact++
			}
		}
	})
	wg.Wait()
	stop.Store(true)
	reader.Wait()
	if err := l.CheckSettled(); err != nil {
		t.Error(err)
	}
	if b := l.Books(); b.All.Accepted != writers*events*rounds*3/4 {
		t.Errorf("%+v", b.All)
	}
	t.Logf("%d of %d readings of one moment", exact, readings)
}

// One batch is in flight at any moment, now of this source, now of that. A reading that takes one account before and
// another one after a move shows two of them, or none where one has been all the time.
func TestPipeline_LedgerReadsAllAccountsAtOneMoment(t *testing.T) {
	const sources, events = 200, 7
	var l Ledger
	for src := range wire.SourceID(sources) {
		l.Accept(src, 0)
	}
	var stop atomic.Bool
	var writer sync.WaitGroup
	l.Accept(0, events)
	writer.Go(func() {
		for src := wire.SourceID(0); !stop.Load(); {
			for range 77 { // not all the way round, or it would end where it began
				next := (src + 1) % sources
				l.Accept(next, events)
				l.Store(src, events)
				src = next
			}
			time.Sleep(100 * time.Microsecond) // or no reading would ever be of one moment
		}
	})
	exact := 0
	for range 2000 {
		b := l.Books()
		if !b.SameMoment {
			continue
		}
		exact++
		if n := b.All.InFlight; n != events && n != 2*events {
			t.Errorf("%d in flight", n)
			break
		}
	}
	stop.Store(true)
	writer.Wait()
	if exact == 0 {
		t.Error("no reading was of one moment")
	}
}

// Moves without end leave no moment to read all accounts in: each is then read by itself, and that is said.
func TestPipeline_LedgerSaysWhenItsAccountsAreOfDifferentMoments(t *testing.T) {
	var l Ledger
	l.Accept(1, 3)
	l.Accept(2, 4)
	l.Shed(2, 1, "ring full")
	b := l.books(0)
	if b.SameMoment || len(b.Sources) != 2 || b.All.Accepted != 7 || b.All.InFlight != 6 || b.Sources[1].ShedBy["ring full"] != 1 {
		t.Errorf("%+v", b)
	}
}
