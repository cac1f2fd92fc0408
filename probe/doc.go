// Package probe lets a Go program record itself: calls, goroutines, messages, locks, state, errors.
// What it writes are event lines, to a file that "pastcone import" reads or straight to a "pastcone
// serve".
//
//	rec, err := probe.Start(probe.Options{File: "events.ndjson"})
//	…
//	defer rec.Close()
//	ctx := probe.Attach(context.Background(), "main")
//
//	func (s *Store) Reserve(ctx context.Context, sku string) error {
//		defer probe.Call(ctx, slog.String("sku", sku)).End()
//		s.mu.Lock(ctx)             // a probe.Mutex
//		defer s.mu.Unlock(ctx)
//		…
//		return probe.Error(ctx, ErrSoldOut)
//	}
//
// # Streams
//
// An event happens in a stream: the events of one goroutine, in their order. The context carries the
// stream, so a goroutine must use a context of its own: [Go] starts a goroutine and gives it one,
// [Spawn] makes one for a goroutine that somebody else starts (a server's connection), [Attach] one
// for a goroutine that is there already (main). A context that carries no stream works too: the
// goroutine is then told by its number, which costs about a microsecond an event.
//
// A context that is handed from one goroutine to another takes its stream along, which would put the
// work of both into one stream. Hand a job over with what it needs (its deadline, its values) and
// use the receiver's context; where the sender's context has to go along, [Continue] joins the two.
//
// # Messages and locks
//
// A [Chan] is a channel whose elements travel with a number, so that each receive knows its send,
// however many goroutines use either end. A [Mutex] numbers its releases under the lock itself. What
// [With] adds to a context stands in the data of all its events, and travels with messages to
// [Chan.Take].
//
// # Cost
//
// While nothing records, each function here is one load of a variable that never changes, and a
// branch. While something does, an event costs a few hundred nanoseconds, most of them for the time
// and the place.
//
// Recording never blocks the program, unless it asks for that ([Wait]): when the buffers are full,
// events are dropped and counted. Each takes its number in its stream along, so that the loss shows as
// a gap in the recording.
//
// In the plan's words this is what feeds the Ingestor: the capture that a program does by itself.
package probe
