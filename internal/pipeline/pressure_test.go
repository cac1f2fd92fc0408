package pipeline

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// pressed is a pressure with a clock of its own.
type pressed struct {
	*Pressure
	now  time.Time
	read Readings
	acts []string
}

func newPressed(most int) *pressed {
	p := &pressed{now: time.Unix(1_700_000_000, 0), read: Readings{DiskFreeBytes: -1}}
	p.Pressure = NewPressure(PressureOptions{
		Read: func(time.Time) Readings { return p.read }, Most: most,
		Act: func(a Action, on bool) { p.acts = append(p.acts, fmt.Sprintf("%v %v", a, on)) },
	})
	return p
}

// looks lets so much time go by, and gives the level.
func (p *pressed) looks(d time.Duration) Level {
	for end := p.now.Add(d); p.now.Before(end); {
		p.now = p.now.Add(lookInterval)
		p.Look(p.now)
	}
	return p.Status().Level
}

const all = int(Actions)

func TestT2_Load_EachSignalRaisesTheLevelAndIsTheReason(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		levels       [3]Readings // elevated, high, critical
		highest      Level
	}{
		{"a ring that fills up", "the ring is", [3]Readings{{QueueShare: 0.5}, {QueueShare: 0.95}, {QueueShare: 1}}, LevelHigh},
		{"a backlog that gets old", "events have waited", [3]Readings{{BacklogAge: 250 * time.Millisecond}, {BacklogAge: time.Second}, {BacklogAge: time.Minute}}, LevelCritical},
		{"memory near its limit", "of memory are in use", [3]Readings{{MemoryBytes: 76, MemoryBytesMax: 100}, {MemoryBytes: 86, MemoryBytesMax: 100}, {MemoryBytes: 120, MemoryBytesMax: 100}}, LevelCritical},
		{"a slow disk", "the disk is", [3]Readings{{DiskDelay: 300 * time.Millisecond}, {DiskDelay: 2 * time.Second}, {DiskDelay: 5 * time.Second}}, LevelCritical},
		{"a disk with little room", "the disk has", [3]Readings{{DiskFreeBytes: 200 << 20}, {DiskFreeBytes: 100 << 20}, {DiskFreeBytes: 10 << 20}}, LevelCritical},
		{"busy processors", "the processors are", [3]Readings{{CPUShare: 0.95}, {CPUShare: 1}, {CPUShare: 1}}, LevelElevated},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, r := range c.levels {
				if r.DiskFreeBytes == 0 {
					r.DiskFreeBytes = -1
				}
				p := newPressed(all)
				p.read = r
				want := min(Level(i+1), c.highest)
				if got := p.looks(riseLooks * lookInterval); got != want {
					t.Errorf("%+v: %v, want %v", r, got, want)
				}
				if s := p.Status(); len(s.Reasons) != 1 || !strings.Contains(s.Reasons[0], c.reason) || s.Changes != 1 {
					t.Errorf("%+v: reasons %q, %d changes", r, s.Reasons, s.Changes)
				}
			}
		})
	}
}

func TestT2_Load_AFullDiskIsCriticalAtOnce(t *testing.T) {
	p := newPressed(all)
	p.read.DiskFull = true
	expect(t, "the level after one look", p.looks(lookInterval), LevelCritical)
	expect(t, "reasons", p.Status().Reasons, "[the disk is full]")
}

func TestT2_Load_OnePeakIsNoPressure(t *testing.T) {
	p := newPressed(all)
	for range 100 {
		p.read.BacklogAge = time.Hour
		p.looks(lookInterval)
		p.read.BacklogAge = 0
		p.looks(lookInterval)
	}
	expect(t, "changes", p.Status().Changes, 0)
}

func TestT2_Load_WithoutALimitMemoryIsNoPressure(t *testing.T) {
	p := newPressed(all)
	p.read.MemoryBytes = 1 << 40
	expect(t, "the level", p.looks(time.Second), LevelNormal)
}

func TestT2_Load_BetweenLeavingAndEnteringNothingMoves(t *testing.T) {
	p := newPressed(all)
	p.read.BacklogAge = time.Second
	p.looks(time.Second)
	rapid.Check(t, func(t *rapid.T) {
		p.read.BacklogAge = time.Duration(rapid.Int64Range(int64(801*time.Millisecond), int64(4999*time.Millisecond)).Draw(t, "age"))
		if got := p.looks(lookInterval); got != LevelHigh {
			t.Fatalf("%v at %v", got, p.read.BacklogAge)
		}
	})
	expect(t, "changes", p.Status().Changes, 1)
}

// anyReadings gives readings of any kind, of which some are no pressure at all.
func anyReadings(t *rapid.T) Readings {
	r := Readings{DiskFreeBytes: -1}
	if rapid.Bool().Draw(t, "calm") {
		return r
	}
	r.QueueShare = rapid.Float64Range(0, 1).Draw(t, "queue")
	r.BacklogAge = time.Duration(rapid.Int64Range(0, int64(8*time.Second)).Draw(t, "age"))
	r.MemoryBytes, r.MemoryBytesMax = rapid.Int64Range(0, 120).Draw(t, "memory"), 100
	r.DiskDelay = time.Duration(rapid.Int64Range(0, int64(8*time.Second)).Draw(t, "disk"))
	r.DiskFull = rapid.IntRange(0, 9).Draw(t, "full") == 0
	return r
}

// Whatever the signals do: the level rises at most as often as it has room to, it never falls within the calm time of a rise, it
// falls one step at a time, a level other than normal has its reasons, and the actions are those that it allows.
func TestT2_Load_TheLevelNeverFlaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPressed(all)
		began, was, rose, changes := p.now, LevelNormal, time.Time{}, 0
		for range rapid.IntRange(1, 60).Draw(t, "stretches") {
			p.read = anyReadings(t)
			for range rapid.IntRange(1, 30).Draw(t, "looks") {
				level := p.looks(lookInterval)
				s := p.Status()
				switch {
				case level > was:
					rose = p.now
					changes++
				case level < was:
					if was-level != 1 {
						t.Fatalf("from %v to %v at once", was, level)
					}
					if d := p.now.Sub(rose); d < pressureCalm {
						t.Fatalf("it fell %v after it rose", d)
					}
					changes++
				}
				was = level
				if (level == LevelNormal) != (len(s.Reasons) == 0) {
					t.Fatalf("%v has the reasons %q", level, s.Reasons)
				}
				for _, a := range s.Actions {
					if len(a.Reasons) == 0 {
						t.Fatalf("%q has no reason", a.Action)
					}
				}
				if s.Kept < shareLeast || s.Kept > 1 {
					t.Fatalf("%v are kept", s.Kept)
				}
			}
		}
		// A cycle of rise and fall takes the calm time at least, and has three changes each way at most.
		if most := 6 * (1 + int(p.now.Sub(began)/pressureCalm)); changes > most {
			t.Fatalf("%d changes in %v", changes, p.now.Sub(began))
		}
	})
}

func TestT2_Load_AnyLoadIsForgottenWithinFiveSeconds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPressed(all)
		for range rapid.IntRange(1, 30).Draw(t, "stretches") {
			p.read = anyReadings(t)
			p.looks(time.Duration(rapid.IntRange(1, 100).Draw(t, "looks")) * lookInterval)
		}
		p.read = Readings{DiskFreeBytes: -1}
		p.looks(5 * time.Second)
		if s := p.Status(); s.Level != LevelNormal || len(s.Actions) != 0 || s.Kept != 1 || p.On(ActLargerBatches) {
			t.Fatalf("after five seconds of calm: %+v", s)
		}
	})
}

func TestT2_Load_ARelapseIsWaitedForLonger(t *testing.T) {
	p := newPressed(all)
	calm := func() (d time.Duration) {
		p.read.BacklogAge = 500 * time.Millisecond
		for p.looks(lookInterval) != LevelElevated {
		}
		p.read.BacklogAge = 0
		for p.looks(lookInterval) != LevelNormal {
			d += lookInterval
		}
		return d
	}
	expect(t, "the first time", calm(), pressureCalm)
	expect(t, "again", calm(), 2*pressureCalm)
	expect(t, "and again", calm(), calmMost)
	p.looks(relapseWithin)
	expect(t, "long after", calm(), pressureCalm)
}

func TestT2_Load_ActionsAreTakenInOrderAndTakenBackInTheOpposite(t *testing.T) {
	p := newPressed(all)
	p.read.BacklogAge = time.Minute
	p.looks(3 * time.Second)
	p.read.BacklogAge = 0
	p.looks(5 * time.Second)
	var want []string
	for a := range Actions {
		want = append(want, fmt.Sprintf("%v true", a))
	}
	for a := range Actions {
		want = append(want, fmt.Sprintf("%v false", Actions-1-a))
	}
	if !slices.Equal(p.acts, want) {
		t.Errorf("%q", p.acts)
	}
}

func TestT2_Load_ALevelHasItsActionsAndNoMore(t *testing.T) {
	for _, c := range []struct {
		age  time.Duration
		last Action
	}{{300 * time.Millisecond, ActMoreWorkers}, {2 * time.Second, ActSample}, {time.Minute, ActShedRest}} {
		p := newPressed(all)
		p.read.BacklogAge = c.age
		p.looks(4 * time.Second)
		if !p.On(c.last) || p.On(c.last+1) {
			t.Errorf("at %v: %+v", c.age, p.Status().Actions)
		}
	}
}

func TestT2_Load_NothingIsLostThatMayNotBe(t *testing.T) {
	p := newPressed(int(ActWait) + 1)
	p.read.BacklogAge = time.Hour
	p.looks(time.Minute)
	if s := p.Status(); s.Level != LevelCritical || !p.On(ActWait) || p.On(ActSample) || s.Kept != 1 || len(s.Actions) != 3 {
		t.Errorf("%+v", s)
	}
	m := newPressed(0)
	m.read.BacklogAge = time.Hour
	m.looks(time.Minute)
	if s := m.Status(); s.Level != LevelCritical || len(s.Actions) != 0 {
		t.Errorf("only measured: %+v", s)
	}
}

func TestT2_Load_TheShareOfWhatIsKeptFollowsTheLoad(t *testing.T) {
	p := newPressed(all)
	p.read.BacklogAge = 2 * time.Second
	last := 1.0
	for range 20 {
		p.looks(shareDownEvery)
		if now := p.Kept(); now > last || now < last/2 {
			t.Fatalf("from %v to %v", last, now)
		}
		last = p.Kept()
	}
	expect(t, "the least", last, shareLeast)
}

func TestT2_Load_SubscribersHearOfEveryChangeOrHowManyTheyMissed(t *testing.T) {
	p := newPressed(all)
	quick, stop := p.Subscribe(100)
	slow, stopSlow := p.Subscribe(1)
	p.read.BacklogAge = time.Minute
	p.looks(3 * time.Second)
	p.read.BacklogAge = 0
	p.looks(5 * time.Second)
	stop()
	stop()
	var steps []Change
	for c := range quick {
		steps = append(steps, c)
	}
	if len(steps) != 20 || steps[0].Level != LevelCritical || steps[1].Action != ActLargerBatches.String() || !steps[1].On {
		t.Errorf("%+v", steps)
	}
	for _, c := range steps {
		if c.Action != "" && len(c.Reasons) == 0 || c.Missed != 0 {
			t.Errorf("%+v", c)
		}
	}
	expect(t, "the slow one's first", (<-slow).Level, LevelCritical)
	p.read.BacklogAge = time.Minute
	p.looks(riseLooks * lookInterval)
	expect(t, "what it missed", (<-slow).Missed, 19)
	stopSlow()
}

func TestT2_Load_APoolIsHastenedAndLetBe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, nothing, nil).start(t)
		r.Hasten(true, true)
		time.Sleep(time.Second)
		synctest.Wait()
		if s := r.Status(); s.Workers.Wanted != 4 || s.BatchEvents != 4096 {
			t.Errorf("hastened: %+v, batches of %d", s.Workers, s.BatchEvents)
		}
		r.Hasten(false, false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if s := r.Status(); s.Workers.Wanted != 1 || s.BatchEvents != 1 {
			t.Errorf("let be: %+v, batches of %d", s.Workers, s.BatchEvents)
		}
		r.drain(t)
	})
}

func TestT2_Load_ItLooksByItselfUntilItIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := 0
		p := NewPressure(PressureOptions{Read: func(time.Time) Readings { n++; return Readings{} }})
		ctx, cancel := context.WithTimeout(background, time.Second+lookInterval/2)
		defer cancel()
		p.Run(ctx)
		expect(t, "looks", n, int(time.Second/lookInterval))
	})
}

func TestPressureNames(t *testing.T) {
	expect(t, "a level", Level(9).String(), "level(9)")
	expect(t, "an action", Action(99).String(), "action(99)")
	text, _ := LevelHigh.MarshalText()
	expect(t, "in JSON", string(text), "high")
	if !math.IsInf(DefaultThresholds().QueueShare[2], 1) {
		t.Error("a full ring is critical by itself")
	}
}
