package jsontext

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

var texts = []string{
	`{}`, `[]`, `""`, `0`, `-0`, `12`, `-1.5e+30`, `1E5`, `1e-5`, `true`, `false`, `null`, `"a b"`, `"\"\\\/\b\f\n\r\t\u00e4\uD83D\uDE00"`, `"\ud83d"`,
	`{"a":1}`, `{"a":[1,2,{"b":null}],"c":{"d":[]}}`, "[ 1 ,\t2 , { \"a\" : [ ] , \"b\" : { } } ]", `"0123456789abcdef"`, `"01234567"`, `"äöü€😀"`, `[[[[]]]]`, `{"":""}`,

	``, ` `, `{`, `[`, `"`, `-`, `tru`, `nul`, `nulls`, `falsy`, `00`, `01`, `-01`, `1.`, `.5`, `1e`, `1e+`, `+1`, `0x1`, `NaN`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{1:1}`, `{"a" 1}`, `{"a":1 "b":2}`, `{,}`, `[,]`, `[1,]`, `[1 2]`, `{"a":1]`, `[1}`, `{"a":[1}`, `{"a":1`, `{"a":`, `{"a`, `{"a" `, `[1`, `[1,`, `[ `, `{ `, `}`, `]`, `"\x"`, `"\u12g4"`, `"\u123"`, `"\`, `"\u`, "\"a\x01\"", "\"01234567\x1f\"", "\"a\nb\"", `"0123456789`, `'a'`, "\x00",
}

// valid says whether text is one value without line feeds, by encoding/json.
func valid(text []byte) bool {
	return json.Valid(text) && bytes.IndexByte(text, '\n') < 0 && strings.TrimLeft(string(text), " \t\r") == string(text) && strings.TrimRight(string(text), " \t\r") == string(text)
}

func agree(t *testing.T, text []byte) {
	t.Helper()
	end, spaced, ok := ValueEnd(text, 0, DepthMax)
	whole := ok && end == len(text)
	if whole != valid(text) {
		t.Fatalf("%q: end %d, %v, but valid is %v", text, end, ok, valid(text))
	}
	if !whole {
		return
	}
	var want bytes.Buffer
	if err := json.Compact(&want, text); err != nil {
		t.Fatal(err)
	}
	if got := AppendCompact(nil, text); !bytes.Equal(got, want.Bytes()) {
		t.Fatalf("%q: compact is %q, want %q", text, got, want.Bytes())
	}
	if spaced != (want.Len() != len(text)) {
		t.Fatalf("%q: spaced is %v", text, spaced)
	}
	// What stands around it does not matter.
	around := append(append([]byte("\"x\","), text...), " ,7}"...)
	if at, _, ok := ValueEnd(around, 4, DepthMax); !ok || at != 4+len(text) {
		t.Fatalf("%q: within another text it ends at %d, %v", text, at, ok)
	}
	if text[0] != '"' || !utf8.Valid(text) {
		return
	}
	var plain string
	if err := json.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	at, escaped, ok := StringEnd(text, 1)
	if !ok || at != len(text)-1 || escaped != bytes.ContainsRune(text, '\\') {
		t.Fatalf("%q: ends at %d, escaped %v, %v", text, at, escaped, ok)
	}
	if got, _ := AppendUnescaped(nil, text[1:at]); string(got) != plain {
		t.Fatalf("%q: stands for %q, want %q", text, got, plain)
	}
}

func TestAgreesWithEncodingJSON(t *testing.T) {
	for _, text := range texts {
		agree(t, []byte(text))
		for cut := range text {
			agree(t, []byte(text[:cut]))
		}
	}
}

func TestAgreesOnAnyValue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		value := rapid.MapOfN(rapid.String(), rapid.SliceOfN(rapid.OneOf(
			rapid.Map(rapid.String(), func(s string) any { return s }),
			rapid.Map(rapid.Float64Range(-1e300, 1e300), func(f float64) any { return f }),
			rapid.Just[any](nil),
		), 0, 4), 0, 4).Draw(rt, "value")
		text, err := json.Marshal(value)
		if err != nil {
			rt.Fatal(err)
		}
		agree(t, text)
		indented, err := json.MarshalIndent(value, "", "\t")
		if err != nil {
			rt.Fatal(err)
		}
		agree(t, bytes.ReplaceAll(indented, []byte("\n"), []byte("\r ")))
		damaged := bytes.Clone(text)
		damaged[rapid.IntRange(0, len(damaged)-1).Draw(rt, "at")] = rapid.Byte().Draw(rt, "byte")
		agree(t, damaged)
	})
}

func TestDepthIsBounded(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	for _, c := range []struct {
		depth, most int
		ok          bool
	}{{3, 3, true}, {4, 3, false}, {DepthMax, 1000, true}, {DepthMax + 1, 1000, false}, {1, 0, false}} {
		if _, _, ok := ValueEnd(nested(c.depth), 0, c.most); ok != c.ok {
			t.Errorf("%d deep, at most %d: %v", c.depth, c.most, ok)
		}
	}
}

func TestHalfCharacters(t *testing.T) {
	for text, want := range map[string]string{
		`\ud83d\ude00`: "😀", `\ud83d`: "\ufffd", `\ud83dx`: "\ufffdx", `\ude00`: "\ufffd", `\ud83d\u0041`: "\ufffdA", `\ud83d\ud83d\ude00`: "\ufffd😀", `\ud83d\n`: "\ufffd\n",
		`a\`: `a\`, // no string ends so; it is taken as it is
	} {
		got, whole := AppendUnescaped(nil, []byte(text))
		if string(got) != want || whole == strings.Contains(want, "\ufffd") {
			t.Errorf("%s stands for %q, whole %v", text, got, whole)
		}
	}
}

func TestCompactingWhatIsNoJSONLosesNothing(t *testing.T) {
	if got := string(AppendCompact(nil, []byte(`{ "a`))); got != `{"a` {
		t.Error(got)
	}
}

func FuzzValueEnd(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) < DepthMax {
			agree(t, text)
		}
	})
}
