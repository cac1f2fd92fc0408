package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/query"
	"github.com/pastcone/pastcone/internal/wire"
)

// ParquetVersion is the version of the schema, in the file's key-value metadata as "pastcone.schema". Columns may be added to
// it; none changes its meaning.
const ParquetVersion = "1"

// The bounds of what is held in memory until it is written.
const (
	rowGroupRowsMax    = 122880 // DuckDB reads row groups of this size in parallel
	rowGroupBytesMax   = 64 << 20
	rowsAtOnce         = 1024
	dictionaryBytesMax = 1 << 20 // of one column in one row group; a larger one is written plainly
)

// parquetRow is an event in a Parquet file. docs/format/parquet.md describes each column.
type parquetRow struct {
	ID     int64  `parquet:"id,delta"`
	Stream string `parquet:"stream,dict"`
	Source int32  `parquet:"source,dict"`
	Seq    int64  `parquet:"seq,delta"`
	Time   int64  `parquet:"time,delta,timestamp(nanosecond:local)"` // DuckDB cuts one with a zone to microseconds
	Kind   string `parquet:"kind,dict"`

	Func    string   `parquet:"func,optional,dict"`
	File    string   `parquet:"file,optional,dict"`
	Line    int64    `parquet:"line,optional,dict"`
	Key     string   `parquet:"key,optional,dict"`
	Ordinal int64    `parquet:"ordinal,optional"`
	Message string   `parquet:"message,optional"`
	Peer    string   `parquet:"peer,optional,dict"`
	Child   string   `parquet:"child,optional,dict"`
	Ref     string   `parquet:"ref,optional"`
	Cause   []string `parquet:"cause,list"`

	Root     bool  `parquet:"root"`
	Empty    bool  `parquet:"empty"`
	Closed   bool  `parquet:"closed"`
	Inferred bool  `parquet:"inferred"`
	Unseen   bool  `parquet:"unseen"`
	Takes    *bool `parquet:"takes,optional"`

	Data  string `parquet:"data,optional"`
	Extra string `parquet:"extra,optional"`

	Parent                int64          `parquet:"parent,optional"`
	ParentKind            string         `parquet:"parent_kind,optional,dict"`
	Confidence            string         `parquet:"confidence,dict"`
	Correlation           int64          `parquet:"correlation"`
	CorrelationConfidence string         `parquet:"correlation_confidence,dict"`
	Position              int32          `parquet:"position"`
	Background            bool           `parquet:"background"`
	Duration              *int64         `parquet:"duration,optional"`
	Causes                []parquetCause `parquet:"causes,list"`
}

// parquetCause is an edge in the column causes.
type parquetCause struct {
	ID         *int64   `parquet:"id,optional"`
	Kind       string   `parquet:"kind,dict"`
	Confidence string   `parquet:"confidence,dict"`
	P          *float64 `parquet:"p,optional"`
}

// Parquet writes the events as a Parquet file, and gives their number. What is damaged is left out, and
// told by a *PartialError at the end. On another error the file has no footer, and no
// reader takes it for whole.
func Parquet(ctx context.Context, r query.Reader, o Options, w io.Writer) (int64, error) {
	out := parquet.NewGenericWriter[parquetRow](w,
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
		parquet.DictionaryMaxBytes(dictionaryBytesMax),
		parquet.CreatedBy("pastcone", ParquetVersion, "none"),
		parquet.KeyValueMetadata("pastcone.schema", ParquetVersion),
		parquet.SkipPageBounds("data"), parquet.SkipPageBounds("extra"),
	)
	rows := make([]parquetRow, 0, rowsAtOnce)
	inGroup, bytesInGroup := 0, 0
	flush := func() error {
		if _, err := out.Write(rows); err != nil {
			return err
		}
		inGroup += len(rows)
		clear(rows)
		rows = rows[:0]
		if inGroup < rowGroupRowsMax && bytesInGroup < rowGroupBytesMax {
			return nil
		}
		inGroup, bytesInGroup = 0, 0
		return out.Flush()
	}
	n, err := each(ctx, r, o, func(e *event.Event, source wire.SourceID) error {
		rows = append(rows, parquetRow{})
		row := &rows[len(rows)-1]
		bytesInGroup += row.set(e, source)
		if len(rows) == rowsAtOnce || bytesInGroup >= rowGroupBytesMax {
			return flush()
		}
		return nil
	})
	if finished(err) {
		err = errors.Join(err, flush())
	}
	if finished(err) {
		err = errors.Join(err, out.Close())
	}
	if err != nil {
		return n, fmt.Errorf("exporting Parquet: %w", err)
	}
	return n, nil
}

// set fills the row from an event, and gives about how many bytes it holds.
func (row *parquetRow) set(e *event.Event, source wire.SourceID) (size int) {
	text := func(s string) string {
		if !utf8.ValidString(s) { // readers refuse a whole file for it
			s = strings.ToValidUTF8(s, "\uFFFD")
		}
		size += len(s)
		return s
	}
	*row = parquetRow{
		ID: int64(e.ID), Stream: text(e.Stream), Source: int32(source), Seq: int64(e.Seq), Time: e.Time, Kind: e.Kind.String(), // #nosec G115 -- bounded by their formats
		Func: text(e.Func), File: text(e.File), Line: int64(e.Line), Key: text(e.Key), Ordinal: int64(e.Ordinal), // #nosec G115 -- as above
		Message: text(e.Message), Peer: text(e.Peer), Child: text(e.Child), Ref: text(e.Ref),
		Root: e.Root, Empty: e.Empty, Closed: e.Closed, Inferred: e.Inferred, Unseen: e.Unseen, Takes: e.Takes,
		Data:   text(string(e.Data)),
		Parent: int64(e.Parent), Confidence: e.Confidence.String(), Correlation: int64(e.Correlation), // #nosec G115 -- as above
		CorrelationConfidence: e.CorrelationConfidence.String(), Position: int32(e.Position), Background: e.Background, // #nosec G115 -- a chain is shorter
	}
	for _, c := range e.Cause {
		row.Cause = append(row.Cause, text(c))
	}
	if len(e.Extra) > 0 {
		extra, err := json.Marshal(e.Extra)
		if err != nil {
			extra = fmt.Appendf(nil, "{%q:%q}", "unreadable", err.Error())
		}
		row.Extra = text(string(extra))
	}
	for i := range e.Causes {
		c := &e.Causes[i]
		cause := parquetCause{Kind: c.Kind.String(), Confidence: c.Confidence.String()}
		if c.ID != 0 {
			id := int64(c.ID) // #nosec G115 -- as above
			cause.ID = &id
		}
		if c.Confidence == event.Inferred {
			p := c.P
			cause.P = &p
		}
		row.Causes = append(row.Causes, cause)
	}
	if len(e.Causes) > 0 && e.Causes[0].ID == e.Parent { // the parent's edge comes first; late ones alone are none
		row.ParentKind = e.Causes[0].Kind.String()
		if e.Kind == event.KindReturn && e.Causes[0].Kind == event.EdgeReturn && e.Parent != 0 {
			duration := int64(e.Duration)
			row.Duration = &duration
		}
	}
	return size + 160 // the numbers
}
