// Package queue hands jobs to workers.
package queue

import "context"

// Queue is a bounded queue of jobs.
type Queue[T any] struct {
	jobs chan T
}

// New makes a queue.
func New[T any](capacity int) *Queue[T] { return &Queue[T]{jobs: make(chan T, capacity)} }

// Push adds a job. It waits for room until ctx is over.
func (q *Queue[T]) Push(ctx context.Context, job T) error {
	select {
	case q.jobs <- job:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Pop takes a job. The second result says that there is one: the queue is not closed and empty.
func (q *Queue[T]) Pop() (T, bool) {
	job, ok := <-q.jobs
	return job, ok
}

// Close lets Pop end once the queue is empty.
func (q *Queue[T]) Close() { close(q.jobs) }
