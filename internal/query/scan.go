package query

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pastcone/pastcone/internal/wire"
)

// inlineBlocks is how many blocks are read before others are asked to help: many questions are
// answered by then.
const inlineBlocks = 2

// scan lets work look at each block, several at a time, and gives what it brings to take, one at a
// time and in the order of infos. An error of either ends it. It is complete unless an error or the
// deadline ended it; a deadline is noted as a cut, not an error.
//
// A block that is damaged is left out, which x.damaged remembers.
//
// At most 2 × workers blocks are under way or waiting to be taken, so a slow taker bounds the memory.
func scan[T any](x *run, infos []wire.BlockInfo, work func(*view) (T, error), take func(T) error) (complete bool, err error) {
	began := time.Now()
	taken := 0
	step := func(info wire.BlockInfo, result T, err error) error {
		if IsDamage(err) && x.damaged.skip(blockError(info.Base, info.Rows, err)) {
			return nil
		}
		if err == nil {
			x.sum.BlocksRead++
			x.sum.RowsRead += uint64(info.Rows) // #nosec G115 -- a count
			taken++
			err = take(result)
		}
		return err
	}
	inline := len(infos)
	if x.o.Workers > 1 && inline > inlineBlocks {
		inline = inlineBlocks
	}
	v := newView(x.r)
	defer v.release()
	for _, info := range infos[:inline] {
		if err = x.ctx.Err(); err != nil {
			break
		}
		v.open(info)
		result, werr := work(v)
		if err = step(info, result, werr); err != nil {
			break
		}
	}
	if err == nil && inline < len(infos) {
		err = scanParallel(x, infos[inline:], v, work, step)
	}
	if errors.Is(err, context.DeadlineExceeded) && x.ctx.Err() != nil {
		x.cut("the deadline passed after %s, with %d of %d blocks read: narrow the query by time, or give it longer",
			time.Since(began).Round(time.Millisecond), taken, len(infos))
		return false, nil
	}
	return err == nil, err
}

type outcome[T any] struct {
	result T
	err    error
}

func scanParallel[T any](x *run, infos []wire.BlockInfo, v *view, work func(*view) (T, error), step func(wire.BlockInfo, T, error) error) error {
	type job struct {
		info wire.BlockInfo
		done chan outcome[T]
	}
	ctx, cancel := context.WithCancel(x.ctx)
	workers := min(x.o.Workers, len(infos))
	jobs := make(chan job, workers)
	order := make(chan job, 2*workers) // the same jobs, as they must be taken
	var wait sync.WaitGroup
	defer wait.Wait()
	defer cancel()
	wait.Go(func() {
		defer close(jobs)
		defer close(order)
		for _, info := range infos {
			j := job{info, make(chan outcome[T], 1)}
			select {
			case order <- j:
			case <-ctx.Done():
				return
			}
			jobs <- j // taken: workers only end when jobs is closed
		}
	})
	for i := range workers {
		v := v
		if i > 0 {
			v = newView(x.r)
			v.worker = i
		}
		wait.Go(func() {
			if i > 0 {
				defer v.release()
			}
			for j := range jobs {
				var o outcome[T]
				if o.err = ctx.Err(); o.err == nil {
					v.open(j.info)
					o.result, o.err = work(v)
				}
				j.done <- o
			}
		})
	}
	left := len(infos)
	for j := range order {
		o := <-j.done
		if err := step(j.info, o.result, o.err); err != nil {
			return err
		}
		left--
	}
	if left > 0 {
		return x.ctx.Err() // the producer only ends early for this
	}
	return nil
}
