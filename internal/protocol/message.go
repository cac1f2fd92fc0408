package protocol

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// magic begins each hello, so that something else on the line is told at once.
const magic = "pastcone"

// The bounds of messages.
const (
	TextBytesMax    = 1024 // of a source's name, a format, a session, an operation
	TokenBytesMax   = 256
	ReasonBytesMax  = 4096 // of a reason
	ArgsBytesMax    = 1 << 20
	DeadlineMsMax   = 24 * 60 * 60 * 1000
	BatchNumberMax  = 1<<63 - 1
	SessionBytesMin = 16 // a session is as good as random: two of them must not meet
)

// Hello opens a connection.
type Hello struct {
	Version uint64
	Source  string // what the source is called; empty: this connection only asks
	Format  string // what the events are made from, for people: "ndjson", "probe", "gotrace"
	Session string // the same for all connections of one source, another one for each source
	Finite  bool   // the source has an end, and End will say so; since version 2
	Token   Token  // that lets the client in; empty: none; since version 4
}

// Token is a secret: however it is printed, it does not show.
type Token string

// String hides it.
func (t Token) String() string {
	if t == "" {
		return "no token"
	}
	return "a token"
}

// GoString hides it from %#v.
func (t Token) GoString() string { return t.String() }

// MarshalText hides it from encoders, as those of logs.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// helloFinite is the flag of a hello.
const helloFinite = 1

// Welcome answers a Hello.
type Welcome struct {
	Version       uint64 // that is spoken from now on
	FrameBytesMax uint64 // longer frames are refused
	InFlightMax   uint64 // so many batches may be without an answer
	Done          uint64 // every batch up to this number is durable, or refused
}

// Ack says that a batch is durable.
type Ack struct {
	Number   uint64
	Rejected uint64 // of its events: they were of no use, and are kept in the rejects file
}

// Ended says that a source has ended, and, since version 3, what became of its events: of all that ever came, over all its
// connections.
type Ended struct {
	Stored   uint64 // and durable
	Shed     uint64 // dropped on purpose
	Rejected uint64
	Reasons  []Reason // for which they were shed or rejected
}

// Reason is how many events were shed or rejected for it.
type Reason struct {
	Text   string
	Events uint64
}

// ReasonsMax is the most reasons of an Ended.
const ReasonsMax = 256

// Code says what kind of reason a refusal has.
type Code uint8

// The codes of refusals.
const (
	CodeInternal    Code = 1 // the server has failed
	CodeMalformed   Code = 2 // not what the protocol says
	CodeTooLarge    Code = 3 // beyond a bound that Welcome or docs/protocol names
	CodeTableFull   Code = 4 // the recording's string table takes no more names
	CodeVersion     Code = 5 // the server does not speak this version
	CodeBusy        Code = 6 // too many connections, batches or queries; try again later
	CodeClosing     Code = 7 // the server is going down; try again later
	CodeNoRecording Code = 8 // the server takes no events
	CodeEnded       Code = 9 // the source has ended; since version 2

	CodeNotAllowed Code = 10 // no token or certificate, or one that does not allow it; since version 4
)

// Codes is the table of all codes.
var Codes = [...]struct {
	Code  Code
	Name  string
	Later bool // worth another try, later
	Means string
}{
	{CodeInternal, "internal", true, "the server has failed"},
	{CodeMalformed, "malformed", false, "not what the protocol says"},
	{CodeTooLarge, "too large", false, "beyond a bound"},
	{CodeTableFull, "table full", false, "the recording's string table takes no more names"},
	{CodeVersion, "version", false, "the server does not speak this version"},
	{CodeBusy, "busy", true, "too many connections, batches or queries"},
	{CodeClosing, "closing", true, "the server is going down"},
	{CodeNoRecording, "no recording", false, "the server takes no events"},
	{CodeEnded, "ended", false, "the source has ended: the server has all of it"},
	{CodeNotAllowed, "not allowed", false, "no token or certificate, or one that does not allow it"},
}

// String gives the name of the code.
func (c Code) String() string {
	if c >= 1 && int(c) <= len(Codes) {
		return Codes[c-1].Name
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Later says whether another try can help.
func (c Code) Later() bool { return c >= 1 && int(c) <= len(Codes) && Codes[c-1].Later }

// Refused says that something is not taken, and why. It is an error, so that it can be handed up.
type Refused struct {
	Number uint64 // of the batch; 0: the connection, which ends
	Code   Code
	Reason string
}

func (r *Refused) Error() string {
	if r.Number == 0 {
		return fmt.Sprintf("the server refuses the connection (%s): %s", r.Code, r.Reason)
	}
	return fmt.Sprintf("the server refuses batch %d (%s): %s", r.Number, r.Code, r.Reason)
}

// Query asks.
type Query struct {
	ID         uint64
	DeadlineMs uint64 // 0: the server's own
	Op         string
	Args       []byte // JSON
}

// Status says how an answer ended.
type Status uint8

// The statuses of an answer.
const (
	StatusFine      Status = 0
	StatusFailed    Status = 1
	StatusDeadline  Status = 2
	StatusCancelled Status = 3
)

// AnswerEnd ends an answer.
type AnswerEnd struct {
	ID     uint64
	Status Status
	Reason string // empty if it is fine
}

// Append appends the frame.
func (h *Hello) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(BeginFrame(dst, KindHello), magic...)
	dst = binary.AppendUvarint(dst, h.Version)
	for _, text := range []string{h.Source, h.Format, h.Session} {
		dst = appendText(dst, text)
	}
	if h.Version >= 2 {
		flags := uint64(0)
		if h.Finite {
			flags |= helloFinite
		}
		dst = binary.AppendUvarint(dst, flags)
	}
	if h.Version >= 4 {
		dst = appendText(dst, string(h.Token))
	}
	return EndFrame(dst, start)
}

// Parse reads the payload.
func (h *Hello) Parse(p []byte) error {
	if len(p) < len(magic) || string(p[:len(magic)]) != magic {
		return fmt.Errorf("%w: a hello begins with %q", ErrMalformed, magic)
	}
	d := parser{p: p[len(magic):]}
	h.Version = d.number("version", 1<<32)
	h.Source = d.text("source", TextBytesMax)
	h.Format = d.text("format", TextBytesMax)
	h.Session = d.text("session", TextBytesMax)
	if d.err == nil && h.Source != "" && len(h.Session) < SessionBytesMin {
		return fmt.Errorf("%w: a session of %d bytes: it is random, and at least %d", ErrMalformed, len(h.Session), SessionBytesMin)
	}
	if h.Finite = false; h.Version >= 2 && h.Version <= Version {
		h.Finite = d.number("flags", helloFinite)&helloFinite != 0
	}
	if h.Token = ""; h.Version >= 4 && h.Version <= Version {
		h.Token = Token(d.text("token", TokenBytesMax))
	}
	// What a later version adds to a hello comes behind: its client must be told the version, no more.
	if h.Version > Version {
		return d.err
	}
	return d.end()
}

// Append appends the frame.
func (w *Welcome) Append(dst []byte) []byte {
	return appendNumbers(dst, KindWelcome, w.Version, w.FrameBytesMax, w.InFlightMax, w.Done)
}

// Parse reads the payload.
func (w *Welcome) Parse(p []byte) error {
	d := parser{p: p}
	w.Version = d.number("version", 1<<32)
	w.FrameBytesMax = d.number("frame length", 1<<32)
	w.InFlightMax = d.number("batches in flight", 1<<32)
	w.Done = d.number("batch", BatchNumberMax)
	return d.end()
}

// Append appends the frame.
func (a *Ack) Append(dst []byte) []byte { return appendNumbers(dst, KindAck, a.Number, a.Rejected) }

// Parse reads the payload.
func (a *Ack) Parse(p []byte) error {
	d := parser{p: p}
	a.Number = d.number("batch", BatchNumberMax)
	a.Rejected = d.number("rejected", BatchNumberMax)
	return d.end()
}

// Append appends the frame, as a client of that version knows it. Reasons that are too long, or too many, are cut.
func (e *Ended) Append(dst []byte, version uint64) []byte {
	start := len(dst)
	dst = BeginFrame(dst, KindEnded)
	if version >= 3 {
		reasons := e.Reasons[:min(len(e.Reasons), ReasonsMax)]
		for _, n := range []uint64{e.Stored, e.Shed, e.Rejected, uint64(len(reasons))} {
			dst = binary.AppendUvarint(dst, n)
		}
		for _, r := range reasons {
			dst = binary.AppendUvarint(appendText(dst, cut(r.Text)), r.Events)
		}
	}
	return EndFrame(dst, start)
}

// Parse reads the payload, as a server of that version writes it.
func (e *Ended) Parse(p []byte, version uint64) error {
	*e = Ended{}
	d := parser{p: p}
	if version >= 3 {
		e.Stored = d.number("stored", BatchNumberMax)
		e.Shed = d.number("shed", BatchNumberMax)
		e.Rejected = d.number("rejected", BatchNumberMax)
		for n := d.number("reasons", ReasonsMax); n > 0 && d.err == nil; n-- {
			text := d.text("reason", ReasonBytesMax)
			e.Reasons = append(e.Reasons, Reason{text, d.number("events", BatchNumberMax)})
		}
	}
	return d.end()
}

// Append appends the frame. A reason that is too long is cut.
func (r *Refused) Append(dst []byte) []byte {
	start := len(dst)
	dst = binary.AppendUvarint(BeginFrame(dst, KindRefused), r.Number)
	dst = appendText(append(dst, byte(r.Code)), cut(r.Reason))
	return EndFrame(dst, start)
}

// Parse reads the payload.
func (r *Refused) Parse(p []byte) error {
	d := parser{p: p}
	r.Number = d.number("batch", BatchNumberMax)
	r.Code = Code(d.byte("code"))
	r.Reason = d.text("reason", ReasonBytesMax)
	return d.end()
}

// Append appends the frame.
func (q *Query) Append(dst []byte) []byte {
	start := len(dst)
	dst = binary.AppendUvarint(BeginFrame(dst, KindQuery), q.ID)
	dst = binary.AppendUvarint(dst, q.DeadlineMs)
	dst = append(appendText(dst, q.Op), q.Args...)
	return EndFrame(dst, start)
}

// Parse reads the payload. Args points into it.
func (q *Query) Parse(p []byte) error {
	d := parser{p: p}
	q.ID = d.number("query", BatchNumberMax)
	q.DeadlineMs = d.number("deadline", DeadlineMsMax)
	q.Op = d.text("operation", TextBytesMax)
	q.Args = d.p
	if d.err == nil && len(q.Args) > ArgsBytesMax {
		return fmt.Errorf("%w: %d bytes of arguments, at most %d", ErrTooLarge, len(q.Args), ArgsBytesMax)
	}
	return d.err
}

// AppendCancel appends the frame that cancels a query.
func AppendCancel(dst []byte, id uint64) []byte { return appendNumbers(dst, KindCancel, id) }

// ParseCancel reads the payload.
func ParseCancel(p []byte) (id uint64, err error) {
	d := parser{p: p}
	id = d.number("query", BatchNumberMax)
	return id, d.end()
}

// AppendAnswer appends the frame that brings one line of an answer.
func AppendAnswer(dst []byte, id uint64, line []byte) []byte {
	start := len(dst)
	dst = binary.AppendUvarint(BeginFrame(dst, KindAnswer), id)
	return EndFrame(append(dst, line...), start)
}

// ParseAnswer reads the payload. The line points into it.
func ParseAnswer(p []byte) (id uint64, line []byte, err error) {
	d := parser{p: p}
	id = d.number("query", BatchNumberMax)
	return id, d.p, d.err
}

// Append appends the frame. A reason that is too long is cut.
func (a *AnswerEnd) Append(dst []byte) []byte {
	start := len(dst)
	dst = binary.AppendUvarint(BeginFrame(dst, KindAnswerEnd), a.ID)
	dst = appendText(append(dst, byte(a.Status)), cut(a.Reason))
	return EndFrame(dst, start)
}

// Parse reads the payload.
func (a *AnswerEnd) Parse(p []byte) error {
	d := parser{p: p}
	a.ID = d.number("query", BatchNumberMax)
	a.Status = Status(d.byte("status"))
	a.Reason = d.text("reason", ReasonBytesMax)
	return d.end()
}

// BeginBatch appends the head of a batch's frame: the encoding of the batch follows, or event lines, then
// EndFrame.
func BeginBatch(dst []byte, k Kind, number uint64) []byte {
	return binary.AppendUvarint(BeginFrame(dst, k), number)
}

// ParseBatch reads the head of a batch's payload. The body points into it.
func ParseBatch(p []byte) (number uint64, body []byte, err error) {
	d := parser{p: p}
	number = d.number("batch", BatchNumberMax)
	if d.err == nil && number == 0 {
		return 0, nil, fmt.Errorf("%w: batch 0: numbers begin at 1", ErrMalformed)
	}
	return number, d.p, d.err
}

func appendNumbers(dst []byte, k Kind, numbers ...uint64) []byte {
	start := len(dst)
	dst = BeginFrame(dst, k)
	for _, n := range numbers {
		dst = binary.AppendUvarint(dst, n)
	}
	return EndFrame(dst, start)
}

func appendText(dst []byte, text string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

func cut(reason string) string {
	if len(reason) <= ReasonBytesMax {
		return reason
	}
	const more = "…"
	end := ReasonBytesMax - len(more)
	for end > 0 && !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end] + more
}

// parser reads a payload. The first thing that is wrong ends it.
type parser struct {
	p   []byte
	err error
}

func (d *parser) fail(what, is string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s: %s", ErrMalformed, what, is)
	}
	d.p = nil
}

func (d *parser) number(what string, high uint64) uint64 {
	n, width := binary.Uvarint(d.p)
	if width <= 0 {
		d.fail(what, "no number")
		return 0
	}
	d.p = d.p[width:]
	if n > high {
		d.fail(what, fmt.Sprintf("%d is beyond %d", n, high))
		return 0
	}
	return n
}

func (d *parser) byte(what string) byte {
	if len(d.p) == 0 {
		d.fail(what, "is missing")
		return 0
	}
	b := d.p[0]
	d.p = d.p[1:]
	return b
}

func (d *parser) text(what string, bytesMax int) string {
	n := d.number(what, uint64(bytesMax)) // #nosec G115 -- not negative
	if n > uint64(len(d.p)) {
		d.fail(what, "ends early")
		return ""
	}
	text := d.p[:n]
	d.p = d.p[n:]
	if !utf8.Valid(text) {
		d.fail(what, "is not UTF-8")
		return ""
	}
	return string(text)
}

func (d *parser) end() error {
	if d.err == nil && len(d.p) > 0 {
		d.fail("payload", fmt.Sprintf("%d bytes too many", len(d.p)))
	}
	return d.err
}
