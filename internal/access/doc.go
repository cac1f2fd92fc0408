// Package access says who may do what: roles, the file of tokens, and the keys and certificates of TLS.
//
//	token ──────────► Tokens ──┐
//	                           ├──► Grant (who, roles) ──► may it write, read, administer?
//	certificate ────► TLS ─────┘
//
// A token is a random text of 256 bits, made by `pastcone token new` and shown once. The file holds only its SHA-256, beside
// its id, name, roles and dates: a random text of that length needs no slow hash, for nobody can try enough of them. The file is a log: a
// token is a line, and so is its revocation. Lines are only ever added, each with one write, so that two commands
// at once lose nothing.
//
// A client certificate has its roles in its subject's organizational units (OU).
//
// Both are read again when their files change, so that a token can be revoked and a certificate replaced while a server
// runs. What can not be read lets nobody in: a broken token file is no reason to forget what was revoked.
//
// In the plan's words this belongs to the Application.
package access
