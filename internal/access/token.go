package access

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// The bounds of tokens and of their file.
const (
	TokenBytesMax = 256 // of the text of a token

	fileBytesMax = 4 << 20
	lineBytesMax = 1024
	nameBytesMax = 128

	secretBytes = 32
	idBytes     = 5
	prefix      = "pct" // tells what it is, to people and to scanners for secrets
)

// lookEvery is how often the file is looked at for changes, at most.
const lookEvery = time.Second

// Errors of tokens. None holds a token.
var (
	// ErrToken says that a token is not one of the file's, or not any more.
	ErrToken = errors.New("the token is not known here: it is wrong, revoked or expired ('pastcone token list' shows those that are good)")
	// ErrNoToken says that nobody has said who they are.
	ErrNoToken = errors.New("a token is needed: set PASTCONE_TOKEN_FILE or PASTCONE_TOKEN ('pastcone token new' makes one)")
)

// Token is what the file has of a token.
type Token struct {
	ID      string
	Name    string // for people
	Roles   Role
	Created time.Time
	Expires time.Time // zero: never
	Revoked time.Time // zero: it is not

	hash [sha256.Size]byte
}

// Good says whether the token lets somebody in.
func (t *Token) Good(now time.Time) bool {
	return t.Revoked.IsZero() && (t.Expires.IsZero() || now.Before(t.Expires))
}

// line is one line of the file.
type line struct {
	ID      string     `json:"id,omitempty"`
	Name    string     `json:"name,omitempty"`
	Roles   []string   `json:"roles,omitempty"`
	Created *time.Time `json:"created,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
	SHA256  string     `json:"sha256,omitempty"`

	Revoke  string     `json:"revoke,omitempty"` // the id of a token
	Revoked *time.Time `json:"revoked,omitempty"`
}

// encoding is that of ids and secrets: no letter has to be told from a digit, and a double click takes all of it.
var encoding = base32.NewEncoding("abcdefghijkmnpqrstuvwxyz23456789").WithPadding(base32.NoPadding)

// splitToken gives the id of a token, and whether it has the form of one.
func splitToken(text string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(text, prefix+"_")
	if !ok || len(text) > TokenBytesMax {
		return "", false
	}
	id, secret, ok := strings.Cut(rest, "_")
	return id, ok && len(id) == encoding.EncodedLen(idBytes) && len(secret) == encoding.EncodedLen(secretBytes)
}

// New makes a token and adds it to the file, which is made if there is none. It gives the text of the token, which is
// nowhere else.
func New(path, name string, roles Role, expires time.Time) (text string, t Token, err error) {
	if !nameIsFine(name) {
		return "", t, fmt.Errorf("the name of a token has at most %d bytes, and no control characters", nameBytesMax)
	}
	if roles == None {
		return "", t, errors.New("a token without a role opens nothing: give --role write, read or admin")
	}
	var id [idBytes]byte
	var secret [secretBytes]byte
	_, _ = rand.Read(id[:]) // it does not fail
	_, _ = rand.Read(secret[:])
	t = Token{ID: encoding.EncodeToString(id[:]), Name: name, Roles: roles, Created: time.Now().UTC().Truncate(time.Second), Expires: expires}
	text = prefix + "_" + t.ID + "_" + encoding.EncodeToString(secret[:])
	t.hash = sha256.Sum256([]byte(text))
	l := line{ID: t.ID, Name: name, Roles: roles.Names(), Created: &t.Created, SHA256: hex.EncodeToString(t.hash[:])}
	if !expires.IsZero() {
		l.Expires = &expires
	}
	return text, t, add(path, &l)
}

// Revoke adds the revocation of a token, named by its id or by a name that only one token has.
func Revoke(path, which string) (Token, error) {
	all, err := List(path)
	if err != nil {
		return Token{}, err
	}
	var found []Token
	for _, t := range all {
		if t.Revoked.IsZero() && (t.ID == which || t.Name == which) {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 0:
		return Token{}, fmt.Errorf("%s has no token %.64q that is not revoked: 'pastcone token list' shows them", path, which)
	case 1:
	default:
		return Token{}, fmt.Errorf("%d tokens are called %.64q: name one by its id", len(found), which)
	}
	t := found[0]
	t.Revoked = time.Now().UTC().Truncate(time.Second)
	return t, add(path, &line{Revoke: t.ID, Revoked: &t.Revoked})
}

// nameIsFine keeps control characters off terminals and logs.
func nameIsFine(name string) bool {
	return len(name) <= nameBytesMax && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

// add appends a line with one write, and syncs it.
func add(path string, l *line) error {
	if _, err := List(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // a broken file is not written to
	}
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) // #nosec G304 -- the operator names it
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// List reads the file. The tokens are in the order in which they were made.
func List(path string) ([]Token, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names it
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	if err := private(info); err != nil {
		return nil, fmt.Errorf("tokens: %s: %w", path, err)
	}
	text, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	all, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("tokens: %s:%w", path, err)
	}
	return all, nil
}

// private fails where others could change the file, or read it.
func private(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("it is no file")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && checksModes {
		return fmt.Errorf("its mode is %04o: others can read or change it; chmod 600 it", mode)
	}
	return nil
}

// parse reads the lines. What is not whole, or not understood, fails all of it: it could be a revocation.
func parse(text []byte) (all []Token, err error) {
	if len(text) > fileBytesMax {
		return nil, fmt.Errorf("1: it is larger than %d bytes", fileBytesMax)
	}
	at := map[string]int{}
	in := bufio.NewScanner(bytes.NewReader(text))
	in.Buffer(make([]byte, 0, lineBytesMax), lineBytesMax)
	n := 0
	for in.Scan() {
		n++
		if len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		var l line
		d := json.NewDecoder(bytes.NewReader(in.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&l); err != nil {
			return nil, fmt.Errorf("%d: it is no token and no revocation", n) // the error could quote the line
		}
		if l.Revoke != "" {
			i, known := at[l.Revoke]
			if !known || l.Revoked == nil {
				return nil, fmt.Errorf("%d: it revokes a token that is not above, or has no date", n)
			}
			all[i].Revoked = *l.Revoked
			continue
		}
		t, err := l.token()
		if err != nil {
			return nil, fmt.Errorf("%d: %w", n, err)
		}
		if _, twice := at[t.ID]; twice {
			return nil, fmt.Errorf("%d: the token %s is there twice", n, t.ID)
		}
		at[t.ID] = len(all)
		all = append(all, t)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("%d: %w", n+1, err)
	}
	return all, nil
}

func (l *line) token() (t Token, err error) {
	if len(l.ID) != encoding.EncodedLen(idBytes) || l.Created == nil || !nameIsFine(l.Name) {
		return t, errors.New("the token has no id, no date, or a name that is too long or not printable")
	}
	t = Token{ID: l.ID, Name: l.Name, Created: *l.Created}
	if l.Expires != nil {
		t.Expires = *l.Expires
	}
	if n, err := hex.Decode(t.hash[:], []byte(l.SHA256[:min(len(l.SHA256), 2*sha256.Size)])); err != nil || n != sha256.Size || len(l.SHA256) != 2*sha256.Size {
		return t, errors.New("the token has no SHA-256")
	}
	t.Roles, err = ParseRoles(l.Roles)
	return t, err
}

// Tokens is a file of tokens as a server uses it. Its methods are safe for concurrent use.
type Tokens struct {
	path string
	tell func(error) // of a file that can not be read; nil again when it can

	mu     sync.Mutex
	looked time.Time
	seen   stamp
	byID   map[string]Token
	broken error
}

// stamp tells whether a file is another one.
type stamp struct {
	time time.Time
	size int64
}

// Open reads the file. It fails when that is not possible, or when there is no token in it. tell, if not nil, is called when the file can not be read later on, and, with nil, when
// it can again.
func Open(path string, tell func(error)) (*Tokens, error) {
	if tell == nil {
		tell = func(error) {}
	}
	t := &Tokens{path: path, tell: tell}
	t.look(time.Now())
	if t.broken != nil {
		return nil, t.broken
	}
	if len(t.byID) == 0 {
		return nil, fmt.Errorf("tokens: %s holds none: nobody could come in; 'pastcone token new --tokens %s --role write' adds one", path, path)
	}
	return t, nil
}

// look reads the file again if it has changed. The caller holds the lock, or has it for itself.
func (t *Tokens) look(now time.Time) {
	t.looked = now
	info, err := os.Stat(t.path)
	if err == nil && t.byID != nil && t.broken == nil && t.seen == (stamp{info.ModTime(), info.Size()}) {
		return
	}
	var all []Token
	if err == nil {
		t.seen = stamp{info.ModTime(), info.Size()}
		all, err = List(t.path)
	}
	was := t.broken
	t.broken = err
	t.byID = map[string]Token{}
	for _, one := range all {
		t.byID[one.ID] = one
	}
	if (was == nil) != (err == nil) {
		t.tell(err)
	}
}

// Refresh reads the file again if it has changed, now.
func (t *Tokens) Refresh() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.look(time.Now())
	return t.broken
}

func (t *Tokens) fresh(now time.Time) {
	if since := now.Sub(t.looked); since >= lookEvery || since < 0 {
		t.look(now)
	}
}

// Check gives what a token lets its bearer do.
func (t *Tokens) Check(text string, now time.Time) (Grant, error) {
	id, ok := splitToken(text)
	hash := sha256.Sum256([]byte(text))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fresh(now)
	have, known := t.byID[id]
	same := subtle.ConstantTimeCompare(hash[:], have.hash[:]) == 1
	if !ok || !known || !same || !have.Good(now) {
		return Grant{}, ErrToken
	}
	who := "token " + have.ID
	if have.Name != "" {
		who += " (" + have.Name + ")"
	}
	return Grant{Who: who, Roles: have.Roles, id: have.ID}, nil
}

// Still says whether what a token was let in with holds: it is not revoked since, and not expired.
func (t *Tokens) Still(g Grant, now time.Time) bool {
	if t == nil || g.id == "" {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fresh(now)
	have, known := t.byID[g.id]
	return known && have.Good(now) && have.Roles.Has(g.Roles)
}

// All lists the tokens as they are known now.
func (t *Tokens) All() []Token {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Token, 0, len(t.byID))
	for _, one := range t.byID {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b Token) int { return a.Created.Compare(b.Created) })
	return all
}
