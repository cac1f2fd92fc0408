package pipeline

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pastcone/pastcone/internal/wire"
)

// Reasons that this package gives for what was shed or rejected.
const (
	ReasonNotDrained = "not drained" // shed: the deadline of a drain was over
	ReasonDeadLetter = "dead letter" // rejected: followed by ": " and the stage that failed on it again and again

	// ReasonOther takes what comes after reasonsMax different reasons.
	ReasonOther = "other"
)

// reasonsMax bounds the different reasons of one source; reasons are words of the program, not of its input.
const reasonsMax = 64

// Ledger keeps the books of the flow: for each source, how many events were accepted and what became of them.
//
//	accepted = stored + shed + rejected + in flight
//
// Each event makes two moves in its life. It is accepted when the flow takes it over from its source. It is settled
// when its fate is final: stored when the store has made it durable, shed when it was dropped on purpose, rejected when
// it can not be used. Between the two it is in flight. A move is one addition to one counter, for a whole batch at a
// time; so there is no moment at which an event is nowhere or in two places, and in flight is what has been accepted
// and not settled, by definition. What can go wrong is then visible: an event settled twice makes in flight too small
// (below zero in the end), one forgotten leaves it above zero after a drain. [Ledger.Check] and [Ledger.CheckSettled]
// look for both.
//
// No lock is taken by a move. A reader gets a consistent picture without one: counters only grow, so if reading all of
// them twice gives the same both times, they all had these values at the moment between. See [Ledger.Books].
//
// The zero Ledger is ready for use. All methods are safe for concurrent use.
type Ledger struct {
	mu       sync.Mutex // held to add an account
	accounts atomic.Pointer[map[wire.SourceID]*account]
}

type account struct {
	accepted, withdrawn, stored atomic.Uint64
	shed, rejected              tally
}

// tally counts by reason.
type tally struct {
	mu   sync.Mutex // held to add a reason
	list atomic.Pointer[[]*reasonCount]
}

type reasonCount struct {
	reason string
	n      atomic.Uint64
}

func (l *Ledger) all() map[wire.SourceID]*account {
	if m := l.accounts.Load(); m != nil {
		return *m
	}
	return nil
}

func (l *Ledger) account(src wire.SourceID) *account {
	if a := l.all()[src]; a != nil {
		return a
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.all()
	if a := old[src]; a != nil {
		return a
	}
	next := make(map[wire.SourceID]*account, len(old)+1)
	maps.Copy(next, old)
	a := &account{}
	next[src] = a
	l.accounts.Store(&next)
	return a
}

func (t *tally) counts() []*reasonCount {
	if list := t.list.Load(); list != nil {
		return *list
	}
	return nil
}

func (t *tally) add(n int, reason string) {
	for _, c := range t.counts() {
		if c.reason == reason {
			c.n.Add(count(n))
			return
		}
	}
	t.mu.Lock()
	old := t.counts()
	if len(old) >= reasonsMax {
		reason = ReasonOther
	}
	at := slices.IndexFunc(old, func(c *reasonCount) bool { return c.reason == reason })
	if at >= 0 {
		t.mu.Unlock()
		old[at].n.Add(count(n))
		return
	}
	c := &reasonCount{reason: reason}
	c.n.Add(count(n))
	next := append(slices.Clip(slices.Clone(old)), c)
	t.list.Store(&next)
	t.mu.Unlock()
}

// count refuses what would wrap a counter round.
func count(n int) uint64 {
	if n < 0 {
		panic(fmt.Sprintf("pipeline: %d events", n))
	}
	return uint64(n)
}

// Accept says that the flow took n events over from a source. It comes before the hand-over, so that nobody can settle
// them earlier.
func (l *Ledger) Accept(src wire.SourceID, n int) { l.account(src).accepted.Add(count(n)) }

// Withdraw undoes an Accept whose hand-over then failed: the source still has the events.
func (l *Ledger) Withdraw(src wire.SourceID, n int) { l.account(src).withdrawn.Add(count(n)) }

// AcceptRejected accepts and rejects at once: an input that the source itself could not use.
func (l *Ledger) AcceptRejected(src wire.SourceID, n int, reason string) {
	l.Accept(src, n)
	l.Reject(src, n, reason)
}

// Store settles n events: they are durable.
func (l *Ledger) Store(src wire.SourceID, n int) { l.account(src).stored.Add(count(n)) }

// Shed settles n events that were dropped on purpose.
func (l *Ledger) Shed(src wire.SourceID, n int, reason string) { l.account(src).shed.add(n, reason) }

// Reject settles n events that can not be used.
func (l *Ledger) Reject(src wire.SourceID, n int, reason string) {
	l.account(src).rejected.add(n, reason)
}

// Account is the books of one source, or of all.
type Account struct {
	Source     wire.SourceID     `json:"source,omitempty"` // 0: of all sources
	Accepted   uint64            `json:"accepted"`
	Stored     uint64            `json:"stored"`
	Shed       uint64            `json:"shed"`
	Rejected   uint64            `json:"rejected"`
	InFlight   int64             `json:"in_flight"` // below zero only if events were settled twice
	ShedBy     map[string]uint64 `json:"shed_by,omitempty"`
	RejectedBy map[string]uint64 `json:"rejected_by,omitempty"`
}

// Books are the accounts at one moment.
type Books struct {
	All     Account   `json:"all"`
	Sources []Account `json:"sources"` // by number

	// SameMoment says that all accounts are of one moment. If not, so many moves were made meanwhile that each account is
	// of a moment of its own.
	SameMoment bool `json:"same_moment"`
}

// collectTries bounds how often the counters are read again because one had moved. A move a microsecond leaves the
// reading of some ten counters undisturbed nearly always.
const collectTries = 200

// Books gives the accounts of all sources, and their sum.
func (l *Ledger) Books() Books { return l.books(collectTries) }

func (l *Ledger) books(tries int) Books {
	books := l.collect()
	for range tries {
		first, again := books, l.collect()
		if books = again; slices.EqualFunc(first.Sources, again.Sources, Account.equal) {
			books.SameMoment = true
			break
		}
	}
	if !books.SameMoment {
		for i := range books.Sources {
			books.Sources[i] = l.Account(books.Sources[i].Source)
		}
	}
	for _, a := range books.Sources {
		books.All.sum(a)
	}
	return books
}

// Account gives the books of one source.
func (l *Ledger) Account(src wire.SourceID) Account {
	a := l.all()[src]
	if a == nil {
		return Account{Source: src}
	}
	got := a.read(src)
	for range collectTries {
		again := a.read(src)
		if got.equal(again) {
			break
		}
		got = again
	}
	return got
}

func (l *Ledger) collect() Books {
	all := l.all()
	books := Books{Sources: make([]Account, 0, len(all))}
	for src, a := range all {
		books.Sources = append(books.Sources, a.read(src))
	}
	slices.SortFunc(books.Sources, func(a, b Account) int { return cmp.Compare(a.Source, b.Source) })
	return books
}

// read reads the counters in the order against the flow, so that a reading in the middle of moves counts an event as in
// flight rather than as settled before it was accepted.
func (a *account) read(src wire.SourceID) Account {
	got := Account{Source: src}
	got.Rejected, got.RejectedBy = a.rejected.read()
	got.Shed, got.ShedBy = a.shed.read()
	got.Stored = a.stored.Load()
	withdrawn := a.withdrawn.Load()
	got.Accepted = a.accepted.Load() - withdrawn
	got.InFlight = int64(got.Accepted - got.Stored - got.Shed - got.Rejected) // #nosec G115 -- wraps to what is meant
	return got
}

func (t *tally) read() (sum uint64, by map[string]uint64) {
	for _, c := range t.counts() {
		if by == nil {
			by = map[string]uint64{}
		}
		n := c.n.Load()
		by[c.reason] = n
		sum += n
	}
	return sum, by
}

func (a Account) equal(b Account) bool {
	return a.Source == b.Source && a.Accepted == b.Accepted && a.Stored == b.Stored && a.Shed == b.Shed &&
		a.Rejected == b.Rejected && maps.Equal(a.ShedBy, b.ShedBy) && maps.Equal(a.RejectedBy, b.RejectedBy)
}

func (a *Account) sum(b Account) {
	a.Accepted += b.Accepted
	a.Stored += b.Stored
	a.Shed += b.Shed
	a.Rejected += b.Rejected
	a.InFlight += b.InFlight
	for reason, n := range b.ShedBy {
		if a.ShedBy == nil {
			a.ShedBy = map[string]uint64{}
		}
		a.ShedBy[reason] += n
	}
	for reason, n := range b.RejectedBy {
		if a.RejectedBy == nil {
			a.RejectedBy = map[string]uint64{}
		}
		a.RejectedBy[reason] += n
	}
}

// ErrUnbalanced says that the books do not balance: a defect of the program.
var ErrUnbalanced = errors.New("the ledger does not balance")

// Check fails with ErrUnbalanced if more events have been settled than accepted. It may be called at any moment.
func (l *Ledger) Check() error {
	return l.Books().check(func(a Account) bool { return a.InFlight >= 0 })
}

// CheckSettled fails with ErrUnbalanced unless every accepted event has been settled once. It is for after a drain.
func (l *Ledger) CheckSettled() error {
	return l.Books().check(func(a Account) bool { return a.InFlight == 0 })
}

func (b Books) check(good func(Account) bool) error {
	var broken []error
	for _, a := range b.Sources {
		if !good(a) {
			broken = append(broken, fmt.Errorf("%w: source %d: %d accepted, %d stored + %d shed + %d rejected, which leaves %d in flight",
				ErrUnbalanced, a.Source, a.Accepted, a.Stored, a.Shed, a.Rejected, a.InFlight))
		}
	}
	return errors.Join(broken...)
}
