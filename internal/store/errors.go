package store

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pastcone/pastcone/event"
)

// What can be wrong with a recording, or with what is asked of it. Errors of this package wrap one of
// these, with where and what.
var (
	ErrCorrupt    = errors.New("the recording is damaged")
	ErrNoSpace    = errors.New("no space left for the recording")
	ErrLocked     = errors.New("the recording is being written by another process")
	ErrReadOnly   = errors.New("the recording can not be written")
	ErrNotFound   = errors.New("no recording here")
	ErrVersion    = errors.New("the recording is of a version that this program does not know")
	ErrOutOfRange = errors.New("no such event in the recording")
	ErrOrder      = errors.New("the block does not follow the one before")
	ErrTooLarge   = errors.New("the block is too large")
	ErrClosed     = errors.New("the recording is closed")
	ErrFailed     = errors.New("the recording can not go on")
)

// CorruptError names the place that is damaged.
type CorruptError struct {
	File   string   // in the recording's directory
	Block  event.ID // the id of the block's first event; 0 if it is not a block
	Offset int64    // of the damaged part in the file, in bytes
	Part   string   // what is damaged there
	Cause  error
	Events uint64 // that are concerned; 0: not counted
	Advice string // what to do
}

func (e *CorruptError) Error() string {
	text := fmt.Sprintf("%s: offset %d: %s: %v", e.File, e.Offset, e.Part, e.Cause)
	if e.Block != 0 {
		text = fmt.Sprintf("%s: block %d at offset %d: %s: %v", e.File, e.Block, e.Offset, e.Part, e.Cause)
	}
	if e.Events > 0 {
		text += fmt.Sprintf("; %d events are concerned", e.Events)
	}
	if e.Advice != "" {
		text += "; " + e.Advice
	}
	return text
}

// MarshalJSON gives the place, and the cause as text.
func (e *CorruptError) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		File   string   `json:"file"`
		Block  event.ID `json:"block,omitempty"`
		Offset int64    `json:"offset"`
		Part   string   `json:"part"`
		Cause  string   `json:"cause"`
		Events uint64   `json:"events,omitempty"`
		Advice string   `json:"advice,omitempty"`
	}{e.File, e.Block, e.Offset, e.Part, fmt.Sprint(e.Cause), e.Events, e.Advice})
}

// Damaged says that the rest of the recording can be read all the same.
func (e *CorruptError) Damaged() bool { return true }

// Names says that names are lost by it, not events.
func (e *CorruptError) Names() bool { return e.Part == partStrings }

const partStrings = "string table"

// Unwrap gives ErrCorrupt and the cause.
func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Cause} }

var errChecksum = errors.New("the checksum does not match")
