// Package remote stands for the services on other machines that a shop talks to: usually fast,
// sometimes slow.
package remote

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Peer is a service on another machine.
type Peer struct {
	Usual     time.Duration // how long an answer takes, give or take a half
	Slow      time.Duration // how long a slow one takes
	SlowEvery int64         // one answer in so many is slow, by chance; 0: none
	Seed      uint64

	calls atomic.Int64
}

// Call waits for an answer, until ctx is over.
func (p *Peer) Call(ctx context.Context) error {
	timer := time.NewTimer(p.latency(p.calls.Add(1)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// latency depends on the seed and on how many calls there were, and on nothing else.
func (p *Peer) latency(call int64) time.Duration {
	random := rand.New(rand.NewPCG(p.Seed, uint64(call))) // #nosec G404 G115 -- no secret
	if p.SlowEvery > 0 && random.Int64N(p.SlowEvery) == 0 {
		return p.Slow
	}
	return p.Usual/2 + time.Duration(random.Int64N(int64(p.Usual)))
}
