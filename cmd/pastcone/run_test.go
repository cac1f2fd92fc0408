package main

import (
	"slices"
	"testing"

	"github.com/spf13/cobra"
)

func TestRecordingFlags_AComma_StandsBetweenTheEndsOfOneQueue(t *testing.T) {
	var r recording
	c := &cobra.Command{}
	r.bind(c)
	if err := c.ParseFlags([]string{"--queue", "orders.(*Q).Push,orders.(*Q).Pop", "--queue=a.In,a.Out", "--args", "a.*,b.*"}); err != nil {
		t.Fatal(err)
	}
	o, err := r.instrument([]string{"."}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"orders.(*Q).Push,orders.(*Q).Pop", "a.In,a.Out"}; !slices.Equal(o.Queue, want) {
		t.Errorf("queues: %q, want %q", o.Queue, want)
	}
	if want := []string{"a.*", "b.*"}; !slices.Equal(o.Args, want) {
		t.Errorf("args: %q, want %q", o.Args, want)
	}
}
