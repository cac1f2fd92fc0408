package main

import (
	"math"
	"slices"
	"time"
)

// figures are the values of each measured thing, one a run.
type figures map[string][]float64

func (f figures) add(got map[string]float64) {
	for key, v := range got {
		f[key] = append(f[key], v)
	}
}

// of gives median, least and largest of a figure.
func (f figures) of(key string) (median, least, most float64, ok bool) {
	all := slices.Clone(f[key])
	if len(all) == 0 {
		return 0, 0, 0, false
	}
	slices.Sort(all)
	median = all[len(all)/2]
	if len(all)%2 == 0 {
		median = (all[len(all)/2-1] + median) / 2
	}
	return median, all[0], all[len(all)-1], true
}

// durations is a series of measured times.
type durations []time.Duration

// quantile gives the value that a share of q does not exceed.
func (d durations) quantile(q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[max(0, int(math.Ceil(q*float64(len(d))))-1)]
}

func (d durations) mean() time.Duration {
	if len(d) == 0 {
		return 0
	}
	sum := time.Duration(0)
	for _, x := range d {
		sum += x
	}
	return sum / time.Duration(len(d))
}

// put notes p50, p99 and the mean of a series, in nanoseconds.
func (d durations) put(into map[string]float64, key string) {
	into[key+" p50"] = float64(d.quantile(0.5))
	into[key+" p99"] = float64(d.quantile(0.99))
	into[key+" mean"] = float64(d.mean())
}
