// Package intake is what the pool's workers do with every batch before it is correlated: the last
// place where something can be kept from being stored.
//
//	ring ──► pool ( check ──► redact ──► shorten ) ──► correlate
//
// Check: every length, offset, kind and id is within its bounds, for a batch can come from another
// program. A batch that is not is refused as a whole, with the record at fault.
//
// Redact: the value of every key that sounds like a secret, at any depth of data and of unknown
// fields, also of JSON within a string, becomes "[redacted]"; and so do card numbers, bearer tokens, JSON Web Tokens
// and private keys within any text or number, whatever its key; and in running text, such as that of an error, what
// stands behind a name that sounds like a secret (password=…, Cookie: …, scheme://user:…@host). What is not looked for: a secret
// that is a plain word behind a colon and a space, and secrets in the names of streams, keys, functions and messages, which are names.
//
// Shorten: a payload beyond its bound is cut, after redaction, so that no half of a secret is left over.
// Small values stay; long texts are cut first; the mark says so and how long it was.
//
// The usual batch has nothing of all that. So a scan over its whole payload, seven bytes a step, first
// looks for anything that could matter; only then is each record looked at and, if need be, written anew.
//
// In the plan's words this is the pre-processing of the AsyncWriterPool's workers.
package intake
