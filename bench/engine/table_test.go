package main

import (
	"strings"
	"testing"
	"time"
)

func TestAFigureIsTheMedianOfItsRuns(t *testing.T) {
	f := figures{}
	for _, v := range []float64{9, 1, 4} {
		f.add(map[string]float64{"x": v})
	}
	if median, least, most, ok := f.of("x"); !ok || median != 4 || least != 1 || most != 9 {
		t.Errorf("%v from %v to %v, %v", median, least, most, ok)
	}
	f.add(map[string]float64{"x": 5})
	if median, _, _, _ := f.of("x"); median != 4.5 {
		t.Errorf("of an even number: %v", median)
	}
	if _, _, _, ok := f.of("y"); ok {
		t.Error("there is no y")
	}
}

func TestAQuantileIsAMeasuredValue(t *testing.T) {
	d := durations{}
	for i := 100; i > 0; i-- {
		d = append(d, time.Duration(i))
	}
	if p50, p99, all := d.quantile(0.5), d.quantile(0.99), d.quantile(1); p50 != 50 || p99 != 99 || all != 100 {
		t.Error(p50, p99, all)
	}
	if (durations{7}).quantile(0.99) != 7 || (durations{}).quantile(0.5) != 0 {
		t.Error("of one and of none")
	}
}

func TestTheTableSaysWhatFallsShort(t *testing.T) {
	tab := &table{s: settings{Procs: 2}, figures: figures{
		"events/s":           {4e6, 6e6, 5.5e6},
		"one core: events/s": {5e6},
		"memory":             {300e6},
		"pebble events/s":    {0.5e6},
		">> of all p99":      {2e9},
		">> of all cut":      {1},
		"<< of all p99":      {2e9},
		"<< of all cut":      {0},
	}}
	tab.judge()
	text := tab.text()
	for _, want := range []string{
		"| events/s on 2 cores | ≥ 5.00 M/s, aim 9.00 M/s | 5.50 M/s | 4.00 M/s – 6.00 M/s | 11 × Pebble | kept |",
		"| 1 → 2 cores | ≥ 1.60 × | 1.10 × |  |  | **falls short** |",
		"| ≤ 250 MB | 300 MB |  |  | **falls short** |",
		"| `>>` of two large sets, p99 | < 1.00 s | 2.00 s |  |  | kept: says that it was cut off |",
		"| `<<` of two large sets, p99 | < 1.00 s | 2.00 s |  |  | **falls short** |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "by id") {
		t.Error("a figure that was not measured is in the table")
	}
}
