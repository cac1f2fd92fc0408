package program

import (
	"fmt"

	"github.com/pastcone/pastcone/event"
)

// Join makes processes of programs: about one in three of their roots, and some other events, get a global reference as their
// cause. It names an earlier event of any of the programs, or, now and then, one that nobody has. Time runs alike in all of
// them, so what was earlier can be a cause: with programs whose clocks differ there could be circles.
func Join(c Chooser, programs ...*Program) {
	type place struct{ program, event int }
	var all []place // in the order of time
	at := make([]int, len(programs))
	for {
		next := -1
		for p := range programs {
			if at[p] < len(programs[p].Events) && (next < 0 || programs[p].Events[at[p]].Time < programs[next].Events[at[next]].Time) {
				next = p
			}
		}
		if next < 0 {
			break
		}
		all = append(all, place{next, at[next]})
		at[next]++
	}
	names := 0
	name := func() string {
		names++
		return event.GlobalRef + fmt.Sprintf("%032x-%016x", names, names)
	}
	for i, l := range all {
		e := &programs[l.program].Events[l.event]
		switch {
		case i == 0 || len(e.Cause) > 0:
			continue
		case e.Root && choose(c, 3) == 0:
		case e.Kind != event.KindReturn && e.Kind != event.KindStart && choose(c, 60) == 59:
		default:
			continue
		}
		if choose(c, 6) == 5 {
			e.Cause = []string{name()} // not recorded
			continue
		}
		f := all[max(0, i-1-choose(c, 30))]
		from := &programs[f.program].Events[f.event]
		switch {
		case from.Time >= e.Time:
			continue
		case from.Ref == "":
			from.Ref = name()
		case !isJoined(from.Ref):
			continue // its name is its source's own
		}
		e.Cause = []string{from.Ref}
	}
}

func isJoined(ref string) bool {
	return len(ref) > len(event.GlobalRef) && ref[:len(event.GlobalRef)] == event.GlobalRef
}
