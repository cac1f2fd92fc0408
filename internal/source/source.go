// Package source is the first stage of the flow: it turns input of some format into batches of events.
//
//	source ──► ring ──► pipeline ──► correlate ──► store ──► query
//
// Each format has a package of its own below this one. All of them hand their batches to a [Sink]: the recorder of
// this process, or the connection to a server's. What a source can not use it rejects, with the place and the reason, and
// goes on: one bad line never costs the good ones.
//
// In the plan's words this is the Ingestor.
package source

import (
	"context"
	"fmt"

	"github.com/pastcone/pastcone/internal/wire"
)

// Sink takes what a source has read.
type Sink interface {
	// Table interns the names of the batches.
	Table() *wire.Table
	// Push hands a batch over; the sink owns it from then on, and sets its Source and Arrived. It
	// blocks while the flow is full.
	Push(ctx context.Context, b *wire.Batch) error
	// Reject reports one input that could not be used. It is counted and kept in the rejects file.
	Reject(r Rejected) error
}

// Rejected is one input that could not be used.
type Rejected struct {
	File   string // as the user named it
	Line   int    // from 1; 0 if the format has no lines
	Offset int64  // of its first byte in the file
	Raw    []byte // the input itself, cut to a bounded length
	Reason string // what is wrong, and what would be right
}

// Error gives place and reason in one sentence.
func (r Rejected) Error() string {
	if r.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", r.File, r.Line, r.Reason)
	}
	return fmt.Sprintf("%s: offset %d: %s", r.File, r.Offset, r.Reason)
}
