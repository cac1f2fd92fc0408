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
// The decoder is written by hand. Measured on lines like those of the worked example, on one core of a
// 2-core machine (BenchmarkDecode): 155 ns a line with names interned and the record made; fastjson 120 ns
// to parse alone and 245 ns with the fields taken out; encoding/json 1,040 ns for six fields;
// event.ParseLine 5,100 ns. And fastjson's Parse takes 1.2.3 for a number and \x for an escape, so that a
// second pass would be needed to be strict. Read as a whole: 11 M lines/s on 2 cores.
//
// In the plan's words this is an Ingestor.
package ndjson
