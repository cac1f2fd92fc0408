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
// [Chan.Take]. A [Queue] records what goes through a queue of another kind, by the element's key.
//
// # Log lines
//
// [NewHandler] wraps an slog handler: each line is a log event in the stream of its context, or of its goroutine.
//
// # Other processes
//
// [Inject] records that a request or a message leaves, and puts a W3C traceparent into what goes along; [RootFrom], in the
// process that gets it, makes it the cause of the root. When both send to one "pastcone serve", a question leads
// from one process into the other. For net/http package probehttp does it. For gRPC, whose metadata.MD is a map of lower-case
// keys, interceptors do, which need no more than these lines:
//
//	func client(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
//		md, _ := metadata.FromOutgoingContext(ctx)
//		md = md.Copy() // never nil
//		probe.Inject(ctx, probe.Metadata(md), slog.String("method", method))
//		return probe.Error(ctx, invoke(metadata.NewOutgoingContext(ctx, md), method, req, reply, cc, opts...))
//	}
//
//	func server(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
//		md, _ := metadata.FromIncomingContext(ctx)
//		ctx = probe.Attach(ctx, "grpc") // gRPC has a goroutine for each call
//		defer probe.Exit(ctx)
//		ctx, span := probe.RootFrom(ctx, probe.Metadata(md), slog.String("method", info.FullMethod))
//		defer span.End()
//		return handle(ctx, req)
//	}
//
// The same goes for the headers of a message queue: Inject where it is published, RootFrom where it is handled.
//
// # Programs that are recorded as they are
//
// In a program that "pastcone run" has built the runtime records goroutines, channels, locks and calls by itself. There the log
// lines, states, metrics, errors, roots and queues of this package go into that same recording, into the stream of the
// goroutine that is at them, without a [Start]; the rest, which the runtime sees better, does not. A recorder
// that the program starts all the same gets everything, as elsewhere.
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
