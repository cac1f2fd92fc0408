package query

import (
	"errors"
	"fmt"

	"github.com/pastcone/pastcone/event"
)

// Damaged is what an error says of itself when a part of the recording is damaged, and the rest can be read all the same.
// A question goes on without that part, and its answer says so; any other error ends it.
type Damaged interface{ Damaged() bool }

// IsDamage says whether an error is that of a damaged part.
func IsDamage(err error) bool {
	var d Damaged
	return errors.As(err, &d) && d.Damaged()
}

// damages remembers the damaged blocks that a question has met.
type damages struct {
	blocks map[string]struct{} // by the error: that names the block
	first  error
}

// skip says whether a question can go on in spite of an error, and remembers it then.
func (d *damages) skip(err error) bool {
	if !IsDamage(err) {
		return false
	}
	text := err.Error()
	if d.blocks == nil {
		d.blocks, d.first = map[string]struct{}{}, err
	}
	if len(d.blocks) < damagesMax {
		d.blocks[text] = struct{}{}
	}
	return true
}

// damagesMax is how many damages are counted apart.
const damagesMax = 10_000

// told gives what was left out; empty if nothing.
func (d *damages) told() string {
	switch n := len(d.blocks); n {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("the answer is partial, a damaged part is left out: %v", d.first)
	default:
		return fmt.Sprintf("the answer is partial, %d damaged parts are left out, the first: %v", n, d.first)
	}
}

// toldWith adds what was left out to another reason why an answer is not whole.
func (d *damages) toldWith(reason string) string {
	switch told := d.told(); {
	case told == "":
		return reason
	case reason == "":
		return told
	default:
		return reason + "; " + told
	}
}

// blockError names the block that could not be read, for readers whose errors do not.
func blockError(base event.ID, rows int, err error) error {
	return fmt.Errorf("events %d to %d: %w", base, base+event.ID(rows)-1, err) // #nosec G115 -- a count
}
