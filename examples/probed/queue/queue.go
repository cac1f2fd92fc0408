// Package queue hands jobs to workers.
package queue

import (
	"context"

	"github.com/pastcone/pastcone/probe"
)

// Queue is a bounded queue of jobs.
type Queue[T any] struct {
	jobs *probe.Chan[T]
}

// New makes a queue.
func New[T any](name string, capacity int) *Queue[T] {
	return &Queue[T]{jobs: probe.NewChan[T](name, capacity)}
}

// Push adds a job. It waits for room until ctx is over.
func (q *Queue[T]) Push(ctx context.Context, job T) error {
	defer probe.Call(ctx).End()
	return q.jobs.Send(ctx, job)
}

// Pop takes a job, and gives the context to do it with. It fails with probe.ErrClosed.
func (q *Queue[T]) Pop(ctx context.Context) (context.Context, T, error) {
	defer probe.Call(ctx).End()
	return q.jobs.Take(ctx)
}

// Len gives the number of jobs that wait.
func (q *Queue[T]) Len() int { return q.jobs.Len() }

// Close lets Pop fail once the queue is empty.
func (q *Queue[T]) Close(ctx context.Context) { q.jobs.Close(ctx) }
