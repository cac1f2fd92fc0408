package intake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

func newStage(tb testing.TB, o Options) *Stage {
	tb.Helper()
	if o.Table == nil {
		o.Table = wire.NewTable(1 << 20)
	}
	s, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// process runs one event through a stage, and gives what comes out.
func process(t *testing.T, s *Stage, e event.Event) event.Event {
	t.Helper()
	e.Stream, e.Seq, e.Kind = "g1", 1, event.KindLog
	var b wire.Batch
	if err := b.AddEvent(s.table, &e); err != nil {
		t.Fatal(err)
	}
	if err := s.Process(&b); err != nil {
		t.Fatal(err)
	}
	if err := CheckText(&b); err != nil {
		t.Fatalf("%v: %s", err, b.Arena)
	}
	var out event.Event
	if err := b.Event(0, b.Runs[0].Stream, s.table, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSecretsAreTakenOut(t *testing.T) {
	jwt := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVPmB92K27u"
	for _, c := range []struct{ name, in, want string }{
		{"nothing to take out", `{"user":"ann","n":17,"ok":true,"tags":["a","b"]}`, `{"user":"ann","n":17,"ok":true,"tags":["a","b"]}`},
		{"a password", `{"user":"ann","password":"hunter2","n":1}`, `{"user":"ann","password":"[redacted]","n":1}`},
		{"whatever its type", `{"secret":17,"token":null,"pwd":true,"cookie":["a","b"],"auth":{"user":"ann"}}`, `{"secret":"[redacted]","token":"[redacted]","pwd":"[redacted]","cookie":"[redacted]","auth":"[redacted]"}`},
		{"whatever its spelling", `{"API_KEY":"x","apiKey":"x","api-key":"x","X-Api-Key":"x","Set-Cookie":"x","PassPhrase":"x","clientSecret":"x"}`, `{"API_KEY":"[redacted]","apiKey":"[redacted]","api-key":"[redacted]","X-Api-Key":"[redacted]","Set-Cookie":"[redacted]","PassPhrase":"[redacted]","clientSecret":"[redacted]"}`},
		{"deep in lists and objects", `{"a":[{"b":{"authorization":"Basic abc"}},2]}`, `{"a":[{"b":{"authorization":"[redacted]"}},2]}`},
		{"a key with escapes", `{"pass\u0077ord":"hunter2"}`, `{"pass\u0077ord":"[redacted]"}`},
		{"a value with quotes and braces", `{"token":"a\"},{\"b","n":1}`, `{"token":"[redacted]","n":1}`},
		{"JSON in a string", `{"body":"{\"password\":\"hunter2\",\"n\":1}"}`, `{"body":"{\"password\":\"[redacted]\",\"n\":1}"}`},
		{"JSON in a string, quotes as code points", `{"body":"{\u0022password\u0022:\u0022hunter2\u0022}"}`, `{"body":"{\"password\":\"[redacted]\"}"}`},
		{"JSON in JSON in a string", `{"body":"{\"in\":\"{\\\"password\\\":\\\"hunter2\\\"}\"}"}`, `{"body":"{\"in\":\"{\\\"password\\\":\\\"[redacted]\\\"}\"}"}`},
		{"other words", `{"discard":1,"cardinality":2,"wildcard":"*","compass":3,"pinned":4}`, `{"discard":1,"cardinality":2,"wildcard":"*","compass":3,"pinned":4}`},
		{"card words", `{"card":1,"cardNumber":2,"credit_card":3,"cvv2":4}`, `{"card":"[redacted]","cardNumber":"[redacted]","credit_card":"[redacted]","cvv2":"[redacted]"}`},
		{"a card number as text", `{"note":"paid with 4111 1111 1111 1111, thanks"}`, `{"note":"paid with [redacted], thanks"}`},
		{"with dashes, after other digits", `{"note":"order 17 4111-1111-1111-1111"}`, `{"note":"order 17 [redacted]"}`},
		{"a card number as number", `{"n":4111111111111111,"m":-378282246310005}`, `{"n":"[redacted]","m":"[redacted]"}`},
		{"a card number with an exponent", `{"n":4111111111111111e0}`, `{"n":"[redacted]"}`},
		{"other numbers", `{"at":1700000000123456789,"n":4111111111111112,"x":-1.5e3}`, `{"at":1700000000123456789,"n":4111111111111112,"x":-1.5e3}`},
		{"a bearer token", `{"cmd":"curl -H 'Authorization: Bearer abcdef0123456789' x"}`, `{"cmd":"curl -H 'Authorization: Bearer [redacted]' x"}`},
		{"a bearer of news", `{"note":"the bearer certificate, and begin"}`, `{"note":"the bearer certificate, and begin"}`},
		{"a short bearer", `{"note":"the bearer arrived"}`, `{"note":"the bearer arrived"}`},
		{"a JSON Web Token", `{"note":"got ` + jwt + ` today"}`, `{"note":"got [redacted] today"}`},
		{"not quite one", `{"note":"eyJhbGc and eyJ. and keyJ"}`, `{"note":"eyJhbGc and eyJ. and keyJ"}`},
		{"a private key", `{"pem":"a -----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY----- b"}`, `{"pem":"a [redacted] b"}`},
		{"a private key cut off", `{"pem":"-----BEGIN PRIVATE KEY-----\nMIIB"}`, `{"pem":"[redacted]"}`},
		{"and in its foot", `{"pem":"-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIV"}`, `{"pem":"[redacted]"}`},
		{"a public key", `{"pem":"-----BEGIN PUBLIC KEY-----\nMIIB"}`, `{"pem":"-----BEGIN PUBLIC KEY-----\nMIIB"}`},
		{"escapes around a secret stay text", `{"note":"a\\b\t\u0001 Bearer abcdef0123456789 \"q\""}`, `{"note":"a\\b\u0009\u0001 Bearer [redacted] \"q\""}`},
		{"escapes without a secret stay as they are", `{"note":"\u0041\t\ud83d\ude00","token":1}`, `{"note":"\u0041\t\ud83d\ude00","token":"[redacted]"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, Options{})
			if got := string(process(t, s, event.Event{Data: json.RawMessage(c.in)}).Data); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if redacted := s.Stats().Redacted; redacted != int64(strings.Count(c.want, Redacted)) {
				t.Errorf("counted %d", redacted)
			}
		})
	}
}

func TestUnknownFieldsToo(t *testing.T) {
	s := newStage(t, Options{})
	e := process(t, s, event.Event{Message: "m1", Cause: []string{"a", "b"}, Extra: map[string]json.RawMessage{
		"session_id": json.RawMessage(`"abc"`),
		"request":    json.RawMessage(`{"cookie":"abc","path":"/"}`),
		"tenant":     json.RawMessage(`[1,2]`),
	}})
	got := string(event.AppendLine(nil, &e))
	want := `{"stream":"g1","seq":1,"time":0,"kind":"log","message":"m1","cause":["a","b"],"request":{"cookie":"[redacted]","path":"/"},"session_id":"[redacted]","tenant":[1,2]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSettings(t *testing.T) {
	plain := `{"password":"x","n":4111111111111111,"note":"Bearer abcdef0123456789"}`
	none := newStage(t, Options{RedactKeys: []string{}, KeepValues: true})
	if got := string(process(t, none, event.Event{Data: json.RawMessage(plain)}).Data); got != plain {
		t.Error(got)
	}
	own := newStage(t, Options{RedactKeys: []string{"^n$"}, KeepValues: true})
	if got := string(process(t, own, event.Event{Data: json.RawMessage(plain)}).Data); got != strings.Replace(plain, "4111111111111111", `"[redacted]"`, 1) {
		t.Error(got)
	}
	for name, o := range map[string]Options{
		"string table":  {},
		"key pattern":   {Table: wire.NewTable(1), RedactKeys: []string{"("}},
		"from 256 to ":  {Table: wire.NewTable(1), DataBytesMax: 1},
		"to 16777216":   {Table: wire.NewTable(1), DataBytesMax: 1 << 30},
		"is 1073741824": {Table: wire.NewTable(1), DataBytesMax: 1 << 30},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLongPayloadsAreCutVisibly(t *testing.T) {
	s := newStage(t, Options{DataBytesMax: 400})
	long := strings.Repeat("ä\u2028b", 500)
	marshal := func(v any) json.RawMessage {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	t.Run("the small fields stay", func(t *testing.T) {
		data := marshal(map[string]any{"a": 1, "body": long, "user": "ann"})
		e := process(t, s, event.Event{Data: data})
		var got struct {
			A    int
			Body string
			User string
			Size int `json:"pastcone.size"`
		}
		if err := json.Unmarshal(e.Data, &got); err != nil {
			t.Fatal(err)
		}
		kept, mark, cut := strings.Cut(got.Body, "…")
		if got.A != 1 || got.User != "ann" || got.Size != len(data) || !cut || kept == "" || !strings.HasPrefix(long, kept) || !strings.HasSuffix(mark, " bytes)") {
			t.Errorf("%s", e.Data)
		}
		if len(e.Data) > 400 {
			t.Errorf("%d bytes", len(e.Data))
		}
	})
	t.Run("too many fields", func(t *testing.T) {
		many := map[string]string{}
		for i := range 100 {
			many[fmt.Sprintf("field \"%d\"", i)] = "v"
		}
		data := marshal(many)
		e := process(t, s, event.Event{Data: data})
		var got struct {
			Truncated string `json:"pastcone.truncated"`
			Size      int    `json:"pastcone.size"`
		}
		if err := json.Unmarshal(e.Data, &got); err != nil {
			t.Fatal(err)
		}
		if got.Size != len(data) || !strings.HasPrefix(string(data), got.Truncated) || len(got.Truncated) < 100 || len(e.Data) > 400 {
			t.Errorf("%s", e.Data)
		}
	})
	t.Run("a secret over the cut", func(t *testing.T) {
		for at := range 400 {
			data := marshal(map[string]any{"body": strings.Repeat("x", at) + " 4111111111111111 " + long})
			if e := process(t, s, event.Event{Data: data}); bytes.Contains(e.Data, []byte("4111")) {
				t.Fatalf("at %d: %s", at, e.Data)
			}
		}
	})
	t.Run("unknown fields", func(t *testing.T) {
		e := process(t, s, event.Event{Extra: map[string]json.RawMessage{"a": marshal(long), "b": json.RawMessage("1"), "c": marshal(long)}})
		size := 0
		for _, v := range e.Extra {
			size += len(v)
		}
		if size > 800 || string(e.Extra["b"]) != "1" || !strings.HasPrefix(string(e.Extra["a"]), `{"pastcone.truncated":"`) {
			t.Error(e.Extra)
		}
		names := map[string]json.RawMessage{}
		for i := range 300 {
			names[fmt.Sprintf("%s %d", FieldDropped, i)] = json.RawMessage("1")
		}
		names[FieldDropped] = json.RawMessage("7")
		e = process(t, s, event.Event{Extra: names})
		var dropped int
		if err := json.Unmarshal(e.Extra[FieldDropped], &dropped); err != nil || dropped+len(e.Extra) != 301 {
			t.Errorf("%d dropped, %d left of 301: %v", dropped, len(e.Extra), err)
		}
		delete(names, FieldDropped)
		e = process(t, s, event.Event{Extra: names})
		if err := json.Unmarshal(e.Extra[FieldDropped], &dropped); err != nil || dropped+len(e.Extra)-1 != 300 {
			t.Errorf("%d dropped, %d left of 300: %v", dropped, len(e.Extra), err)
		}
	})
	stats := s.Stats()
	if stats.Shortened != 2+400+3 || stats.CutBytes < 400*1000 {
		t.Errorf("%+v", stats)
	}
}

func TestCutsBetweenCharacters(t *testing.T) {
	content := []byte(`ab\n\"\u00e4ä\ud83d\ude00😀\ud83dx` + "\\")
	for limit := range len(content) + 1 {
		at := cutAt(content, limit)
		if at > limit || !utf8.Valid(content[:at]) || limit < len(content)-1 && !json.Valid(append(append([]byte{'"'}, content[:at]...), '"')) {
			t.Errorf("limit %d: %q", limit, content[:at])
		}
		if bytes.HasSuffix(content[:at], []byte(`\ud83d`)) && bytes.HasPrefix(content[at:], []byte(`\ud`)) {
			t.Errorf("limit %d: between the two of a pair", limit)
		}
	}
}

func TestMalformedBatchesAreRefused(t *testing.T) {
	table := wire.NewTable(1 << 20)
	s := newStage(t, Options{Table: table})
	name := func(text string) wire.Name {
		n, err := table.Name(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	g1 := name("g1")
	for _, c := range []struct {
		name  string
		spoil func(b *wire.Batch, r *wire.Record)
	}{
		{"kind", func(_ *wire.Batch, r *wire.Record) { r.Kind = 200 }},
		{"no kind", func(_ *wire.Batch, r *wire.Record) { r.Kind = 0 }},
		{"seq 0", func(_ *wire.Batch, r *wire.Record) { r.Seq = 0 }},
		{"seq beyond int64", func(_ *wire.Batch, r *wire.Record) { r.Seq = 1 << 63 }},
		{"ordinal", func(_ *wire.Batch, r *wire.Record) { r.Ordinal = 1 << 63 }},
		{"a result", func(_ *wire.Batch, r *wire.Record) { r.Flags |= wire.FlagBackground }},
		{"takes and not", func(_ *wire.Batch, r *wire.Record) { r.Flags |= wire.FlagTakes | wire.FlagTakesNot }},
		{"unknown text in key", func(_ *wire.Batch, r *wire.Record) { r.Key = wire.MakeName(99, 0) }},
		{"tail too large in peer", func(_ *wire.Batch, r *wire.Record) { r.Peer = wire.MakeName(1, 1e12+1) }},
		{"unknown child", func(_ *wire.Batch, r *wire.Record) { r.Child = wire.MakeName(99, 0) }},
		{"unknown site", func(_ *wire.Batch, r *wire.Record) { r.Site = 9 }},
		{"data beyond", func(_ *wire.Batch, r *wire.Record) { r.DataOff = 1 }},
		{"data far beyond", func(_ *wire.Batch, r *wire.Record) { r.DataOff, r.DataLen = 1<<32-1, 1<<32-1 }},
		{"ext beyond", func(_ *wire.Batch, r *wire.Record) { r.ExtOff, r.ExtLen = 7, 1 }},
		{"overlapping", func(_ *wire.Batch, r *wire.Record) { r.ExtOff, r.ExtLen = 0, 1 }},
		{"no object", func(b *wire.Batch, _ *wire.Record) { copy(b.Arena, "[") }},
		{"not closed", func(b *wire.Batch, _ *wire.Record) { b.Arena[len(b.Arena)-1] = ' ' }},
		{"no stream", func(b *wire.Batch, _ *wire.Record) { b.Runs[0].Stream = 0 }},
		{"unknown stream", func(b *wire.Batch, _ *wire.Record) { b.Runs[0].Stream = wire.MakeName(99, 1) }},
		{"empty run", func(b *wire.Batch, _ *wire.Record) { b.Runs = append(b.Runs, wire.Run{Stream: g1}) }},
		{"run too long", func(b *wire.Batch, _ *wire.Record) { b.Runs[0].Len = 1<<32 - 1 }},
		{"runs too short", func(b *wire.Batch, _ *wire.Record) { b.Runs = nil }},
		{"too many records", func(b *wire.Batch, _ *wire.Record) { b.Records = make([]wire.Record, RecordsMax+1) }},
		{"ext garbage", func(b *wire.Batch, r *wire.Record) { addExt(b, r, []byte{9, 9}) }},
		{"long message", func(b *wire.Batch, r *wire.Record) {
			addExt(b, r, wire.AppendExtension(nil, &wire.Extension{Message: make([]byte, 5000)}))
		}},
		{"many causes", func(b *wire.Batch, r *wire.Record) {
			addExt(b, r, wire.AppendExtension(nil, &wire.Extension{Causes: make([][]byte, 5000)}))
		}},
		{"long cause", func(b *wire.Batch, r *wire.Record) {
			addExt(b, r, wire.AppendExtension(nil, &wire.Extension{Causes: [][]byte{make([]byte, 5000)}}))
		}},
		{"field without value", func(b *wire.Batch, r *wire.Record) {
			addExt(b, r, wire.AppendExtension(nil, &wire.Extension{Extra: []wire.ExtraField{{Name: []byte("x")}}}))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b wire.Batch
			b.Add(g1, wire.Record{Seq: 1, Kind: event.KindLog}, []byte(`{"a":1}`), nil)
			if err := s.Process(&b); err != nil {
				t.Fatal("before:", err)
			}
			refused := s.Stats().Refused
			c.spoil(&b, &b.Records[0])
			if err := s.Process(&b); !errors.Is(err, ErrMalformed) {
				t.Error(err)
			}
			if s.Stats().Refused != refused+1 {
				t.Error("not counted")
			}
		})
	}
}

func addExt(b *wire.Batch, r *wire.Record, ext []byte) {
	r.ExtOff, r.ExtLen = uint32(len(b.Arena)), uint32(len(ext))
	b.Arena = append(b.Arena, ext...)
}

func TestCheckText(t *testing.T) {
	ext := func(e wire.Extension) []byte { return wire.AppendExtension(nil, &e) }
	extra := func(pairs ...string) []byte {
		var e wire.Extension
		for i := 0; i < len(pairs); i += 2 {
			e.Extra = append(e.Extra, wire.ExtraField{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
		}
		return ext(e)
	}
	for _, c := range []struct {
		name      string
		data, ext []byte
		ok        bool
	}{
		{"fine", []byte(`{"a":[1,{"b":null}]}`), extra("a", "1", "b", `"x"`), true},
		{"nothing", nil, nil, true},
		{"cut off", []byte(`{"a":1`), nil, false},
		{"two", []byte(`{}{}`), nil, false},
		{"a list", []byte(`[]`), nil, false},
		{"spaced", []byte(`{"a": 1}`), nil, false},
		{"not UTF-8", []byte("{\"a\":\"\xff\"}"), nil, false},
		{"field twice", nil, extra("a", "1", "a", "2"), false},
		{"fields out of order", nil, extra("b", "1", "a", "2"), false},
		{"a known field", nil, extra("seq", "1"), false},
		{"value no JSON", nil, extra("a", "x"), false},
		{"name not UTF-8", nil, extra("\xff", "1"), false},
		{"cause not UTF-8", nil, ext(wire.Extension{Causes: [][]byte{{0xff}}}), false},
		{"ref not UTF-8", nil, ext(wire.Extension{Ref: []byte{0xff}}), false},
		{"garbage", nil, []byte{77}, false},
	} {
		var b wire.Batch
		b.Add(1<<40, wire.Record{}, c.data, c.ext)
		if err := CheckText(&b); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	b := wire.Batch{Records: []wire.Record{{DataOff: 1, DataLen: 1}}}
	if err := CheckText(&b); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestRedactTextOfLinesThatCannotBeRead(t *testing.T) {
	s := newStage(t, Options{})
	for in, want := range map[string]string{
		`{"stream":"g1","data":{"password":"hunter2`: `{"stream":"g1","data":{"password":"[redacted]"`,
		`{"a:1,"password":"hunter2","b":2}`:          `{"a:1,"password":"[redacted]","b":2}`,
		`"token" : [1,2],"n":1`:                      `"token" : "[redacted]","n":1`,
		`{"body":"{\"token\":\"a,b\",\"n\":1}"`:      `{"body":"{\"token\":"[redacted]",\"n\":1}"`,
		`{"body":"{\"token\":\"a,b`:                  `{"body":"{\"token\":"[redacted]"`,
		`{"token":`:                                  `{"token":"[redacted]"`,
		`{"token":{"a":[1`:                           `{"token":"[redacted]"`,
		`Authorization: Bearer abcdef0123456789`:     `Authorization: Bearer [redacted]`,
		`pay 4111111111111111`:                       `pay [redacted]`,
		"nothing here":                               "nothing here",
		"":                                           "",
	} {
		if got := string(s.RedactText([]byte(in))); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", in, got, want)
		}
	}
}

// TestRunningText_SecretsBehindNames has what errors and logs say. What is left must say as much as it can.
func TestRunningText_SecretsBehindNames(t *testing.T) {
	s := newStage(t, Options{})
	for in, want := range map[string]string{
		`login failed: password=hunter2 for bob`:             `login failed: password=[redacted] for bob`,
		`login failed: password:hunter2, user:bob`:           `login failed: password:[redacted], user:bob`,
		`GET /login?user=bob&api_key=abc&n=1: 403`:           `GET /login?user=bob&api_key=[redacted]&n=1: 403`,
		`db_password = 'two words' refused`:                  `db_password = '[redacted]' refused`,
		`env SECRET="it's \"me\"" is bad`:                    `env SECRET="[redacted]" is bad`,
		`password: hunter2`:                                  `password: [redacted]`,
		`password: "hunter"`:                                 `password: "[redacted]"`,
		`{'token': 'abcdef', 'n': 1}`:                        `{'token': '[redacted]', 'n': 1}`,
		"Cookie: sid=abc; theme=dark\r\nHost: x":             "Cookie: [redacted]\r\nHost: x",
		`Set-Cookie: sid=abc; Path=/`:                        `Set-Cookie: [redacted]`,
		`authorization: Basic dXNlcjpwYXNz`:                  `authorization: Basic [redacted]`,
		`dial postgres://app:s3cr3t@db:5432/orders: refused`: `dial postgres://app:[redacted]@db:5432/orders: refused`,
		`token=`:                 `token=`,
		`token=[redacted] again`: `token=[redacted] again`,
		`check password: crypto/bcrypt: the hash is too short`:       `check password: crypto/bcrypt: the hash is too short`,
		`invalid token: unexpected end of input`:                     `invalid token: unexpected end of input`,
		`password: must not be empty`:                                `password: must not be empty`,
		`if token == nil || secret := find()`:                        `if token == nil || secret := find()`,
		`http://example.com:8080/a@b at 10:20:30, order=17, 3: fine`: `http://example.com:8080/a@b at 10:20:30, order=17, 3: fine`,
		`http://user@host/ and http://:@host`:                        `http://user@host/ and http://:@host`,
		`=:= : =`:                                                    `=:= : =`,
	} {
		if got := string(s.RedactText([]byte(in))); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", in, got, want)
		}
		// The same as the text of an error in a payload.
		message, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		wanted, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		for _, data := range []string{`{"error":%s}`, `{"n":1,"list":["a",%s,{"x":"y"}]}`} {
			b := new(wire.Batch)
			if err := b.AddEvent(s.table, &event.Event{Stream: "g1", Seq: 1, Kind: event.KindError, Data: fmt.Appendf(nil, data, message)}); err != nil {
				t.Fatal(err)
			}
			if err := s.Process(b); err != nil {
				t.Fatal(err)
			}
			var got, should any
			if json.Unmarshal(b.Data(&b.Records[0]), &got) != nil || json.Unmarshal(fmt.Appendf(nil, data, wanted), &should) != nil || !reflect.DeepEqual(got, should) {
				t.Errorf("%s\ngot  %s\nwant %s", in, b.Data(&b.Records[0]), fmt.Sprintf(data, wanted))
			}
		}
	}
	none := newStage(t, Options{RedactKeys: []string{}})
	if got := string(none.RedactText([]byte("password=hunter2"))); got != "password=hunter2" {
		t.Errorf("without patterns: %s", got)
	}
}

// plan is a made-up payload, with what must not, and what must come out.
type plan struct {
	t       *rapid.T
	n       int
	secrets []string
	kept    []string
}

func (p *plan) word() string {
	p.n++
	return fmt.Sprintf("w%dq%s", p.n, rapid.StringMatching(`[a-z]{4,9}`).Draw(p.t, "word"))
}

func (p *plan) secret() string {
	s := p.word()
	p.secrets = append(p.secrets, s)
	return s
}

func (p *plan) card() string {
	digits := []byte(rapid.SampledFrom([]string{"4", "51", "34", "6011", "2221", "3530", "62"}).Draw(p.t, "issuer"))
	n := 16
	if digits[0] == '3' && digits[1] == '4' {
		n = 15
	}
	for len(digits) < n-1 {
		digits = append(digits, byte('0'+rapid.IntRange(0, 9).Draw(p.t, "digit")))
	}
	for d := byte('0'); d <= '9'; d++ {
		plain := append(bytes.Clone(digits), d)
		values := make([]byte, len(plain))
		for i := range plain {
			values[i] = plain[i] - '0'
		}
		if cardNumber(values) {
			digits = plain
			break
		}
	}
	return string(digits)
}

// text gives a text with a secret that is told by its looks.
func (p *plan) text() string {
	before := rapid.SampledFrom([]string{"", "x ", "order 17 ", "a\"b ", "{", "ä\n", "1700000000123456789 "}).Draw(p.t, "before")
	after := rapid.SampledFrom([]string{"", " x", ", thanks", "\"", "\n", " 12"}).Draw(p.t, "after")
	var secret, written string
	switch rapid.IntRange(0, 4).Draw(p.t, "look") {
	case 0:
		secret = p.card()
		written = secret
	case 1:
		card := p.card()
		sep := rapid.SampledFrom([]string{" ", "-"}).Draw(p.t, "separator")
		secret = card[:4] + sep + card[4:8] + sep + card[8:12] + sep + card[12:]
		written = secret
	case 2:
		secret = p.word() + "ABC-123_xyz"
		written = rapid.SampledFrom([]string{"Bearer ", "bearer ", "BEARER "}).Draw(p.t, "bearer") + secret
	case 3:
		secret = "eyJ" + p.word() + "." + p.word() + "." + p.word()
		written = secret
	case 4:
		secret = p.word()
		written = "-----BEGIN EC PRIVATE KEY-----\n" + secret + "\n-----END EC PRIVATE KEY-----"
	}
	p.secrets = append(p.secrets, secret)
	return before + written + after
}

var secretKeys = []string{
	"password", "Passwd", "PASSPHRASE", "db_password", "secret", "clientSecret", "token", "access_token", "X-Auth-Token",
	"api_key", "apikey", "Api-Key", "Authorization", "cookie", "Set-Cookie", "card", "card_number", "private_key", "sessionId", "credentials",
}

func (p *plan) value(depth int) any {
	kinds := 7
	if depth == 0 {
		kinds = 4
	}
	switch rapid.IntRange(0, kinds).Draw(p.t, "value") {
	case 0:
		return rapid.Int().Draw(p.t, "int") % 1_000_000
	case 1:
		return p.text()
	case 2:
		w := p.word()
		p.kept = append(p.kept, w)
		return w
	case 3:
		return strings.Repeat(p.word()+" \"\\\u00e9", rapid.IntRange(0, 60).Draw(p.t, "repeat"))
	case 4:
		return json.Number(p.hiddenCard())
	case 5:
		list := make([]any, rapid.IntRange(0, 3).Draw(p.t, "length"))
		for i := range list {
			list[i] = p.value(depth - 1)
		}
		return list
	case 6:
		inner, err := json.Marshal(p.object(depth - 1))
		if err != nil {
			p.t.Fatal(err)
		}
		return string(inner)
	default:
		return p.object(depth - 1)
	}
}

func (p *plan) hiddenCard() string {
	card := p.card()
	p.secrets = append(p.secrets, card)
	return card
}

func (p *plan) object(depth int) map[string]any {
	object := map[string]any{}
	for range rapid.IntRange(0, 4).Draw(p.t, "fields") {
		if rapid.IntRange(0, 2).Draw(p.t, "secret") == 0 {
			key := rapid.SampledFrom(secretKeys).Draw(p.t, "key")
			if _, again := object[key]; !again {
				object[key] = rapid.SampledFrom([]any{p.secret(), []string{p.secret()}, map[string]string{"x": p.secret()}}).Draw(p.t, "what")
			}
			continue
		}
		object["k"+p.word()] = p.value(max(depth, 0))
	}
	return object
}

// No secret that was planted anywhere comes out, and everything else does, unless it was cut.
func TestNoSecretSurvives(t *testing.T) {
	table := wire.NewTable(1 << 20)
	rapid.Check(t, func(t *rapid.T) {
		s, err := New(Options{Table: table, DataBytesMax: rapid.SampledFrom([]int{256, 500, 1 << 20}).Draw(t, "bound")})
		if err != nil {
			t.Fatal(err)
		}
		var b wire.Batch
		p := &plan{t: t}
		encode := func(v any) json.RawMessage {
			var text bytes.Buffer
			enc := json.NewEncoder(&text)
			enc.SetEscapeHTML(rapid.Bool().Draw(t, "escape HTML"))
			if err := enc.Encode(v); err != nil {
				t.Fatal(err)
			}
			return bytes.TrimSpace(text.Bytes())
		}
		for i := range rapid.IntRange(1, 4).Draw(t, "events") {
			e := event.Event{Stream: "g1", Seq: uint64(i + 1), Kind: event.KindLog, Data: encode(p.object(4))}
			if rapid.Bool().Draw(t, "extra") {
				e.Extra = map[string]json.RawMessage{"x": encode(p.value(3)), "my_token": encode(p.secret()), "z": encode(p.value(1))}
			}
			if err := b.AddEvent(table, &e); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Process(&b); err != nil {
			t.Fatal(err)
		}
		if err := CheckText(&b); err != nil {
			t.Fatal(err)
		}
		for _, secret := range p.secrets {
			if bytes.Contains(b.Arena, []byte(secret)) {
				t.Fatalf("%q survives in %s", secret, b.Arena)
			}
		}
		if s.Stats().Shortened > 0 {
			return
		}
		for _, word := range p.kept {
			if !bytes.Contains(b.Arena, []byte(word)) {
				t.Fatalf("%q is lost in %s", word, b.Arena)
			}
		}
	})
}

// The scan over the whole payload never says that nothing is there when a record's rewriting finds something.
func TestScanNeverMisses(t *testing.T) {
	s := newStage(t, Options{})
	rapid.Check(t, func(t *rapid.T) {
		p := &plan{t: t}
		text, err := json.Marshal(p.object(4))
		if err != nil {
			t.Fatal(err)
		}
		w := &rewriter{stage: s}
		if _, changed := w.appendRedacted(nil, text, 0); changed && !s.suspicious(text) {
			t.Fatalf("missed in %s", text)
		}
		shifted := append(make([]byte, rapid.IntRange(0, 8).Draw(t, "shift")), text...)
		if s.suspicious(text) && !s.suspicious(shifted) {
			t.Fatalf("missed when shifted: %s", text)
		}
	})
}

func TestCleanBatchCostsNoMemory(t *testing.T) {
	table := wire.NewTable(1 << 20)
	s := newStage(t, Options{Table: table})
	b := benchBatch(t, table, payloads[1].data)
	if err := s.Process(b); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(20, func() { _ = s.Process(b) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWorkersShareAStage(t *testing.T) {
	table := wire.NewTable(1 << 20)
	s := newStage(t, Options{Table: table})
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 20 {
				b := new(wire.Batch)
				e := event.Event{Stream: "g1", Seq: 1, Kind: event.KindLog, Data: fmt.Appendf(nil, `{"k%d":1,"a long key of worker %d":2,"token":"s3cret"}`, i, worker)}
				if err := b.AddEvent(table, &e); err != nil {
					t.Error(err)
				}
				if err := s.Process(b); err != nil || bytes.Contains(b.Arena, []byte("s3cret")) {
					t.Errorf("%v: %s", err, b.Arena)
				}
			}
		})
	}
	all.Wait()
	if got := s.Stats(); got.Batches != 80 || got.Events != 80 || got.Redacted != 80 {
		t.Errorf("%+v", got)
	}
}

// FuzzProcess feeds any bytes as payload: it must not panic, and valid JSON must stay valid.
func FuzzProcess(f *testing.F) {
	f.Add([]byte(`{"password":"hunter2","n":[1,"4111 1111 1111 1111"]}`))
	f.Add([]byte(`{"body":"{\"token\":\"x\"}","c":4111111111111111}`))
	f.Add([]byte(`{"a":"\u0022token\u0022: \"","b\\":"-----BEGIN PRIVATE KEY-----`))
	f.Add([]byte("{\"token\":{[\"\\"))
	table := wire.NewTable(1 << 20)
	s := newStage(f, Options{Table: table, DataBytesMax: 256})
	f.Fuzz(func(t *testing.T, data []byte) {
		s.RedactText(data)
		b := new(wire.Batch)
		b.Add(1<<40, wire.Record{Seq: 1, Kind: event.KindLog}, data, nil)
		if len(data) > 0 {
			if _, err := table.Name("g1"); err != nil {
				t.Fatal(err)
			}
		}
		valid := CheckText(b) == nil
		if err := s.Process(b); err != nil {
			return
		}
		if err := CheckText(b); valid && err != nil {
			t.Fatalf("%v: %q became %q", err, data, b.Arena)
		}
	})
}
