package runtime

// pastconeTimerSent is called when a timer has sent to its channel, by the goroutine that looked at the channel or by the
// scheduler (on a system stack), with the ordinal of what was sent. The channel is not locked.
//
//go:nosplit
func pastconeTimerSent(c *hchan, ordinal uint64) {}
