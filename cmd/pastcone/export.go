package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/pastcone/pastcone/internal/export"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/recorder"
	"github.com/pastcone/pastcone/internal/render"
)

func newExport(s *screen) *cobra.Command {
	var format, output string
	c := &cobra.Command{
		Use:   "export --format ndjson|parquet [-o FILE] [REC]",
		Short: "Export a recording as event lines or Parquet",
		Long: `Exports a recording with everything that was worked out: as event lines (docs/format/event-lines.md), which import reads again, or
as Parquet (docs/format/parquet.md), which DuckDB, ClickHouse, Polars and Spark read. Without -o it writes to the standard output.`,
		Example: `  pastcone export --format ndjson | jq 'select(.kind == "error")'
  pastcone export --format parquet -o events.parquet
  duckdb -c "SELECT func, quantile_cont(duration, 0.99) FROM 'events.parquet' WHERE kind = 'return' GROUP BY func"`,
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := ""
			if len(args) == 1 {
				dir = args[0]
			}
			return exportTo(c.Context(), s, format, output, dir)
		},
	}
	c.Flags().StringVar(&format, "format", "ndjson", "ndjson or parquet")
	c.Flags().StringVarP(&output, "output", "o", "", "write to this `FILE`; it is put there whole, or not at all")
	return c
}

func exportTo(ctx context.Context, s *screen, format, output, dir string) (err error) {
	as, known := map[string]func(context.Context, query.Reader, export.Options, io.Writer) (int64, error){
		"ndjson":  export.NDJSON,
		"parquet": export.Parquet,
	}[format]
	if !known {
		return usagef("--format %s: it is ndjson or parquet", format)
	}
	rec, err := recorder.Read(dir)
	if err != nil {
		return err
	}
	defer rec.Close()
	for _, lost := range rec.Lost() {
		fmt.Fprintln(s.err, "note:", lost)
	}
	snapshot, err := rec.Snapshot()
	if err != nil {
		return err
	}
	defer snapshot.Close()
	bar := render.NewProgress(s.err, s.progress && output != "", "exporting")
	write := func(w io.Writer) error {
		defer bar.End()
		_, err := as(ctx, snapshot, export.Options{Progress: func(done, all uint64) {
			bar.Set(0, 0, fmt.Sprintf("%d of %d events", done, all))
		}}, w)
		return err
	}
	if output == "" {
		return write(s.out)
	}
	part := output + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) // #nosec G304 -- the user names it
	if err != nil {
		return err
	}
	err = write(f)
	var partial *export.PartialError // damaged blocks were left out, and the rest is whole
	if errors.As(err, &partial) {
		err = nil
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", output, err), os.Remove(part))
	}
	if err := os.Rename(part, output); err != nil {
		return err
	}
	if partial != nil {
		return fmt.Errorf("%s: %w", output, partial)
	}
	return nil
}
