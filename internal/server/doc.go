// Package server takes events from other programs, and answers the questions of the command line, while
// the process records. docs/protocol has the language; package protocol has its words.
//
//	connection ──frame──► session ──Batch──► Recorder
//	     ▲                   ▲                   │
//	     └────── ack ────────┴──── durable ◄─────┘
//
// What a client sends belongs to a session, not to a connection: when the line breaks, the session
// remembers which batches it has, so that the client sends again whatever it is unsure of, and nothing
// is recorded twice. A batch is acknowledged when it is durable, never before. A session that its client has
// ended takes no more, also after a restart: the recorder knows it. One that only stays away can come back.
//
// What the server needs it says here ([Recorder], [Input], [Answerer]); it knows neither the flow behind
// them nor the store.
//
// Every client is taken for careless or hostile: connections, sessions, frames, batches in flight,
// queries and all waiting are bounded, and what is refused is refused with a reason. Back-pressure is
// the line's own: while the flow is full the server does not read. Who gets in a [Gate] decides: by a token, a
// certificate, or where they come from; where it has neither TLS nor authentication, [ListenBehind] keeps to this machine.
//
// In the plan's words this belongs to the Ingestor and the QueryCoordinator.
package server
