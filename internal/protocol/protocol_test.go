package protocol

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func TestReader_GivesTheFramesThatWereWritten(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789"), 30_000)
	var all []byte
	want := []string{"", "a", string(big), "b"}
	for i, payload := range want {
		all = AppendFrame(all, Kind(i+1), []byte(payload))
	}
	for name, in := range map[string]io.Reader{
		"at once":    bytes.NewReader(all),
		"by halves":  iotest.HalfReader(bytes.NewReader(all)),
		"byte-wise":  iotest.OneByteReader(bytes.NewReader(all)),
		"with a nil": iotest.DataErrReader(bytes.NewReader(all)),
	} {
		r := NewReader(in, 1<<20)
		begun := 0
		r.Begun = func() { begun++ }
		for i, payload := range want {
			k, got, err := r.Next()
			if err != nil || k != Kind(i+1) || string(got) != payload {
				t.Fatalf("%s: frame %d: %s of %d bytes, %v", name, i, k, len(got), err)
			}
		}
		if _, _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: at the end: %v", name, err)
		}
		if begun != len(want) {
			t.Errorf("%s: %d frames have begun", name, begun)
		}
	}
}

func TestReader_RefusesWhatIsNoFrame(t *testing.T) {
	fine := AppendFrame(nil, KindEnd, []byte("payload"))
	flipped := bytes.Clone(fine)
	flipped[6] ^= 1
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"another protocol":    {[]byte("GET / HTTP/1.1\r\n\r\n"), ErrTooLarge},
		"longer than allowed": {binary.LittleEndian.AppendUint32(nil, 1001), ErrTooLarge},
		"no kind":             {make([]byte, 8), ErrMalformed},
		"a flipped bit":       {flipped, ErrMalformed},
		"cut in the length":   {fine[:2], io.ErrUnexpectedEOF},
		"cut in the payload":  {fine[:8], io.ErrUnexpectedEOF},
		"cut in the checksum": {fine[:len(fine)-1], io.ErrUnexpectedEOF},
	} {
		if _, _, err := NewReader(bytes.NewReader(c.in), 1000).Next(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// A frame that promises much and brings little costs little.
func TestReader_AllocatesForWhatHasCome(t *testing.T) {
	in := binary.LittleEndian.AppendUint32(nil, 1<<30)
	r := NewReader(bytes.NewReader(append(in, 1, 2, 3)), 1<<30)
	if _, _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if cap(r.buffer) > growBytes {
		t.Errorf("%d bytes allocated for 3", cap(r.buffer))
	}
}

// parse reads a payload by its kind, and gives the frame that would be written for what was read.
func parse(k Kind, p []byte) (again []byte, err error) {
	switch k {
	case KindHello:
		var m Hello
		err = m.Parse(p)
		again = m.Append(nil)
	case KindWelcome:
		var m Welcome
		err = m.Parse(p)
		again = m.Append(nil)
	case KindAck:
		var m Ack
		err = m.Parse(p)
		again = m.Append(nil)
	case KindRefused:
		var m Refused
		err = m.Parse(p)
		again = m.Append(nil)
	case KindEnded:
		var m Ended
		err = m.Parse(p, Version)
		again = m.Append(nil, Version)
	case KindQuery:
		var m Query
		err = m.Parse(p)
		again = m.Append(nil)
	case KindAnswerEnd:
		var m AnswerEnd
		err = m.Parse(p)
		again = m.Append(nil)
	case KindCancel:
		var id uint64
		id, err = ParseCancel(p)
		again = AppendCancel(nil, id)
	case KindAnswer:
		var id uint64
		var line []byte
		id, line, err = ParseAnswer(p)
		again = AppendAnswer(nil, id, line)
	case KindBatch, KindLines:
		var number uint64
		var body []byte
		number, body, err = ParseBatch(p)
		again = EndFrame(append(BeginBatch(nil, k, number), body...), 0)
	default:
		again = AppendFrame(nil, k, p)
	}
	return again, err
}

func TestMessages_ComeOutAsTheyWentIn(t *testing.T) {
	for name, frame := range examples(t) {
		k, p, err := NewReader(bytes.NewReader(frame), 1<<20).Next()
		if err != nil {
			t.Fatal(err)
		}
		if k.String() != name {
			t.Errorf("%s is called %s", name, k)
		}
		again, err := parse(k, p)
		if err != nil || !bytes.Equal(again, frame) {
			t.Errorf("%s: %x became %x, %v", name, frame, again, err)
		}
		if k == KindBatch || k == KindLines || k == KindAnswer || k == KindQuery || k == KindEnd || k == KindHurry {
			continue // their payload ends in bytes of any number
		}
		if _, err := parse(k, append(bytes.Clone(p), 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with a byte too many: %v", name, err)
		}
		for cut := range p {
			if _, err := parse(k, p[:cut]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut to %d bytes: %v", name, cut, err)
			}
		}
	}
}

func TestMessages_Bounds(t *testing.T) {
	long := strings.Repeat("é", ReasonBytesMax)
	payload := func(frame []byte) []byte { return frame[5 : len(frame)-4] }
	for name, c := range map[string]struct {
		err  error
		want error
		says string
	}{
		"hello of something else":    {new(Hello).Parse([]byte("something else")), ErrMalformed, "begins with"},
		"a source without a session": {new(Hello).Parse(payload((&Hello{1, "s", "f", "short", false, ""}).Append(nil))), ErrMalformed, "at least 16"},
		"a source's name too long":   {new(Hello).Parse(payload((&Hello{1, long, "f", "", false, ""}).Append(nil))), ErrMalformed, "beyond 1024"},
		"a name that is no text":     {new(Hello).Parse(payload((&Hello{1, "\xff", "f", strings.Repeat("x", 20), false, ""}).Append(nil))), ErrMalformed, "UTF-8"},
		"a token too long":           {new(Hello).Parse(payload((&Hello{4, "", "", "", false, Token(long)}).Append(nil))), ErrMalformed, "beyond 256"},
		"batch 0":                    {func() error { _, _, err := ParseBatch([]byte{0}); return err }(), ErrMalformed, "begin at 1"},
		"batch without a number":     {func() error { _, _, err := ParseBatch(nil); return err }(), ErrMalformed, "no number"},
		"a batch beyond all":         {func() error { _, _, err := ParseBatch(binary.AppendUvarint(nil, 1<<63)); return err }(), ErrMalformed, "beyond"},
		"a deadline of two days":     {new(Query).Parse(payload((&Query{1, 2 * DeadlineMsMax, "op", nil}).Append(nil))), ErrMalformed, "deadline"},
		"arguments without end":      {new(Query).Parse(payload((&Query{1, 1, "op", make([]byte, ArgsBytesMax+1)}).Append(nil))), ErrTooLarge, "arguments"},
	} {
		if !errors.Is(c.err, c.want) || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	// What a later version adds behind is not our business; that it is later is.
	var h Hello
	if err := h.Parse(append(payload((&Hello{7, "", "", "", false, ""}).Append(nil)), "more"...)); err != nil || h.Version != 7 {
		t.Errorf("a later hello: %v, %+v", err, h)
	}
	for _, frame := range [][]byte{(&Refused{1, CodeInternal, "x" + long}).Append(nil), (&Refused{1, CodeInternal, long}).Append(nil)} {
		var r Refused
		if err := r.Parse(payload(frame)); err != nil || !utf8.ValidString(r.Reason) || !strings.HasSuffix(r.Reason, "…") {
			t.Errorf("a reason that is too long: %v", err)
		}
	}
}

// A token does not show, however a hello is printed; it goes over the line from version 4 on.
func TestHello_ATokenDoesNotShow(t *testing.T) {
	const secret = "pct_abcdefgh_verysecret"
	h := Hello{Version: 4, Token: secret}
	asJSON, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(h), fmt.Sprintf("%v %+v %#v %s %q", h, h, h, h.Token, h.Token), string(asJSON)} {
		if strings.Contains(text, "verysecret") {
			t.Errorf("the token shows: %s", text)
		}
	}
	for version, want := range map[uint64]Token{1: "", 2: "", 3: "", 4: secret} {
		h.Version = version
		var got Hello
		if err := got.Parse(h.Append(nil)[5 : len(h.Append(nil))-4]); err != nil || got.Token != want {
			t.Errorf("version %d: %d bytes of token, %v", version, len(got.Token), err)
		}
	}
	if Token("").String() != "no token" {
		t.Error("an empty one")
	}
}

func TestRefused_SaysWhatItIs(t *testing.T) {
	for want, r := range map[string]*Refused{
		"the server refuses the connection (busy): full":  {0, CodeBusy, "full"},
		"the server refuses batch 3 (too large): huge":    {3, CodeTooLarge, "huge"},
		"the server refuses batch 3 (code 99): something": {3, 99, "something"},
	} {
		if r.Error() != want {
			t.Errorf("%s, want %s", r.Error(), want)
		}
	}
	if !CodeBusy.Later() || CodeMalformed.Later() || Code(0).Later() || Code(99).Later() {
		t.Error("what is worth another try")
	}
	if Kind(99).String() != "kind 99" {
		t.Error(Kind(99))
	}
}

func FuzzFrames(f *testing.F) {
	var all []byte
	for _, k := range []Kind{KindHello, KindBatch, KindLines, KindQuery, KindCancel, KindHurry, KindWelcome, KindAck, KindRefused, KindAnswer, KindAnswerEnd} {
		p := []byte{byte(k), 1, 2, 3, 4}
		f.Add(byte(k), p)
		all = AppendFrame(all, k, p)
	}
	f.Add(byte(KindHello), (&Hello{1, "a", "b", strings.Repeat("s", 20), false, ""}).Append(nil)[5:])
	f.Add(byte(KindHello), (&Hello{4, "a", "b", strings.Repeat("s", 20), true, "pct_id_secret"}).Append(nil)[5:])
	f.Add(byte(0), all)
	f.Fuzz(func(t *testing.T, kind byte, p []byte) {
		if kind == 0 { // a stream of frames
			r := NewReader(bytes.NewReader(p), 1<<16)
			for {
				if _, got, err := r.Next(); err != nil {
					return
				} else if len(got) > len(p) {
					t.Fatal("more came out than went in")
				}
			}
		}
		frame, err := parse(Kind(kind), p)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		again, err := parse(Kind(kind), frame[5:len(frame)-4])
		if err != nil || !bytes.Equal(again, frame) {
			t.Fatalf("%x became %x: %v", frame, again, err)
		}
	})
}

// TestEnded_IsWhatEachVersionKnows reads the end of a source as clients of old know it, and one with more reasons than there may be.
func TestEnded_IsWhatEachVersionKnows(t *testing.T) {
	payload := func(frame []byte) []byte { return frame[5 : len(frame)-4] }
	e := Ended{Stored: 5, Shed: 1, Rejected: 2, Reasons: []Reason{{strings.Repeat("é", ReasonBytesMax), 2}}}
	for version := uint64(1); version < 3; version++ {
		p := payload(e.Append(nil, version))
		var got Ended
		if len(p) != 0 || got.Parse(p, version) != nil || got.Stored != 0 {
			t.Errorf("version %d: %x, %+v", version, p, got)
		}
	}
	for range ReasonsMax {
		e.Reasons = append(e.Reasons, Reason{"more", 1})
	}
	var got Ended
	if err := got.Parse(payload(e.Append(nil, 3)), 3); err != nil || got.Stored != 5 || got.Shed != 1 || got.Rejected != 2 || len(got.Reasons) != ReasonsMax || len(got.Reasons[0].Text) > ReasonBytesMax {
		t.Errorf("%+v: %v", got, err)
	}
	if err := got.Parse([]byte{1, 2, 3, 0xff, 0x7f}, 3); !errors.Is(err, ErrMalformed) {
		t.Errorf("reasons without end: %v", err)
	}
}
