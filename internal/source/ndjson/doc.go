// Package ndjson reads event lines, the format that any program can write: one JSON object a line, as
// docs/format/event-lines.md has it.
//
//	in ──► splitter ──► chunks ──► decoders ──► in file order ──► sink
//	       one reader   whole      one a CPU    batches, rejects
//	                    lines
//
// The splitter cuts the input into chunks of whole lines. Each decoder turns a chunk into one batch,
// its events grouped by stream, each stream's in file order. The batches reach the sink in file order,
// so that the same file always gives the same recording.
//
// A line that is no event line is rejected, with file, line, offset and a sentence that says what is
// wrong and what would be right; the lines around it are read as if it were not there. The decoder
// itself only finds that a line is bad; why, it asks [event.ParseLine], which reads lines slowly and obviously.
// A fuzz test holds the two together.
//
// A decoder is written by hand for the fields that it knows, and checks and keeps the values of the others as text.
//
// In the plan's words this is an Ingestor.
package ndjson
