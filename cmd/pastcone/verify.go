package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/render"
)

func newVerify(s *screen) *cobra.Command {
	return &cobra.Command{
		Use:   "verify [REC]",
		Short: "Check every checksum and every invariant of a recording",
		Long: `Checks every checksum and every invariant of a recording: that ids are dense, causes come before their effects, and the index
agrees with the blocks. What is wrong is named by file, segment, block, offset and cause; exit status 1. What is no damage and good
to know, such as a writer that is at work or has died, is a note; exit status 0.`,
		Example: "  pastcone verify\n  pastcone verify --json .pastcone/20261124-110203-demo",
		Args:    arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := ""
			if len(args) == 1 {
				dir = args[0]
			}
			dir, err := recorder.Find(dir)
			if err != nil {
				return err
			}
			bar := render.NewProgress(s.err, s.progress, "verifying "+dir)
			report, err := recorder.Verify(c.Context(), dir, func(done, all int64, events uint64) {
				bar.Set(done, all, fmt.Sprintf("%d events", events))
			})
			bar.End()
			if err != nil {
				return err
			}
			if s.json {
				err = json.NewEncoder(s.out).Encode(report)
			} else {
				fmt.Fprintf(s.out, "%s: %d events, %d blocks, %d segments, %d further and %d late edges, %d bytes\n",
					dir, report.Events, report.Blocks, report.Segments, report.Edges, report.LateEdges, report.Bytes)
				for _, p := range report.Problems {
					fmt.Fprintln(s.out, "  ", p)
				}
				if more := report.Found - len(report.Problems); more > 0 {
					fmt.Fprintf(s.out, "   and %d more\n", more)
				}
				for _, n := range report.Notes {
					fmt.Fprintln(s.out, "   note:", n)
				}
			}
			if err == nil && !report.OK() {
				problems := "1 problem"
				if report.Found > 1 {
					problems = fmt.Sprintf("%d problems", report.Found)
				}
				err = fmt.Errorf("%s: %s; what is not damaged can still be read", dir, problems)
			} else if err == nil && !s.json {
				fmt.Fprintln(s.out, "everything is in order")
			}
			return err
		},
	}
}
