// Package store is the recording: it keeps correlated events durably, in a directory, and gives them to
// readers, live or later.
//
//	correlate ──Block──► Publish ──► head ──Write──► committer ──► segments ──► Snapshot ──Columns──► query
//
// A recording is a manifest, a string table and segments; docs/format has every byte. A segment is a file
// of blocks; a block is up to 8,192 events, column by column, each column a chunk with a checksum
// of its own. The blocks are the write-ahead log: there is no other.
//
// A [Writer] is the one process that writes. Publish makes a block visible (in the head, in memory);
// Write encodes it, in as many goroutines as care to; the committer appends encoded blocks in the order of
// ids and syncs, in groups; Durable moves behind the sync. Full segments are sealed in the background:
// an index is written behind their blocks.
//
// A [Snapshot] is the recording as it was at one moment, for package query. It holds what it shows, so
// that retention never takes a file from under a reader. A [Reader] gives snapshots of a recording that
// another process may be writing; it takes no lock.
//
// What the files are, from the small to the large:
//
//	bits, ints, intsread   sequences of whole numbers, each in its shortest mode
//	dict, payload          distinct values; compressed pieces
//	block, encode, decode  blocks
//	filter, postings, prune  which blocks can be left out of a query
//	strings, manifest      the string table; what the recording consists of
//	segment, index, late   files of blocks, and what is behind the blocks
//	head, commit, seal, merge, retain, tails     writing
//	load, recover, reader, snapshot       reading
//	verify                 every checksum and every invariant
//	fsys                   the seam to the file system
//
// In the plan's words this is DataAccess, the storage.
package store
