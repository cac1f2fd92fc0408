// Package client talks to a server that records ("pastcone serve"): it sends events, and it asks.
//
// A [Sender] sends event lines. What it was given it keeps until the server says that it is durable, and
// sends it again where a line breaks; the server tells what it has already. So events arrive once, or
// an error says that they did not.
//
//	s, err := client.NewSender(ctx, "127.0.0.1:7071", client.SenderOptions{Source: "billing"})
//	…
//	err = s.Lines(ctx, []byte(`{"stream":"g1","seq":1,"time":1700000000000000000,"kind":"log"}`+"\n"))
//	…
//	err = s.Close(ctx)
//
// An [Asker] asks, and gets answers line by line while they are found.
//
// A server that can be reached from other machines wants to know who comes: see [Access]; an address "tls:HOST:PORT" is one that
// speaks TLS.
//
// Programs that record themselves use the package probe, which does all of this by itself.
//
// In the plan's words this is the way to the Ingestor and the QueryCoordinator from another process.
package client
