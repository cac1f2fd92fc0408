// Package event is the vocabulary of Pastcone: what a program did, and what caused what.
//
// An [Event] is one immutable occurrence at an instant, in one stream (a goroutine, a process, a
// span). Its [Kind] says what it is. What Pastcone works out is added to it: an id, the [Edge]s from
// its causes, its parent, the correlation that it belongs to, and how sure all of that is
// ([Confidence]).
//
// Two relations are kept apart. The edges say what happened before what: all of it. The parent says
// on whose behalf: it makes the tree that "why" prints, and the correlation that groups one request,
// job or message.
//
// The tables of this package ([Kinds], [EdgeKinds], [Confidences], [Fields]) are the one source for
// the codecs, the documents and the tests: a kind or a field that is added here is added everywhere.
//
// The package imports only the standard library, so that any Go program can use it. In the plan's
// words it is the component Events.
package event
