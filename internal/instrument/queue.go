package instrument

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// queueEnds are the functions that --queue names: of each list the first puts an element into the queue, the others get one
// out of it.
type queueEnds []*queueFunction

type queueFunction struct {
	name string
	end  queueEnd
	used bool
}

func queuesOf(texts []string) (queueEnds, error) {
	var ends queueEnds
	for _, t := range texts {
		names := strings.Split(t, ",")
		if len(names) < 2 {
			return nil, fmt.Errorf("--queue %s: want the function that puts an element in and the one that gets it out, as in 'orders.(*Queue).Push,orders.(*Queue).Pop'", t)
		}
		for i, name := range names {
			end := queueReceive
			if i == 0 {
				end = queueSend
			}
			ends = append(ends, &queueFunction{name: strings.TrimSpace(name), end: end})
		}
	}
	return ends, nil
}

// end finds what --queue says of a function.
func (q queueEnds) end(name string) *queueFunction {
	names := namesOf(name)
	for _, f := range q {
		if slices.Contains(names, f.name) {
			return f
		}
	}
	return nil
}

// take notes that the function is there, and checks that it can be what it is said to be.
func (f *queueFunction) take(name string, fn function) (queueEnd, error) {
	f.used = true
	switch {
	case f.end == queueSend && fn.Parameters == 0:
		return "", fmt.Errorf("--queue: %s puts an element into a queue, but has no parameter", name)
	case f.end == queueReceive && fn.Results == 0:
		return "", fmt.Errorf("--queue: %s gets an element out of a queue, but has no result", name)
	}
	return f.end, nil
}

// unused is the error for names that no function has.
func (q queueEnds) unused() error {
	var errs []error
	for _, f := range q {
		if !f.used {
			errs = append(errs, fmt.Errorf("--queue: no function %s in the packages that are recorded", f.name))
		}
	}
	return errors.Join(errs...)
}
