package recorder

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/source"
	"github.com/pastcone/pastcone/internal/store"
)

// filesOf gives everything that a recording has on the disk.
func filesOf(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files: %v", err)
	}
	var all strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// Whatever form a secret has: it goes through the whole flow, and nothing of it is on the disk; what stands around it is.
func TestT5_SecretsOfEveryFormAreGoneBeforeTheDisk(t *testing.T) {
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"
	cases := []struct {
		what, data, secret, stays string
	}{
		{"a key", `{"user":"ann-1","password":"hunter-1"}`, "hunter-1", "ann-1"},
		{"of any type", `{"secret":{"a":["hunter-2",2]},"token":[17,"hunter-2"],"ok":"ann-2"}`, "hunter-2", "ann-2"},
		{"and a plain one", `{"pin":20902,"cvv":true,"ok":"ann-3"}`, "20902", "ann-3"},
		{"of any spelling", `{"X-Api-Key":"hunter-4","pass\u0077ord":"hunter-4","ok":"ann-4"}`, "hunter-4", "ann-4"},
		{"deep down", `{"a":[{"b":{"authorization":"Basic hunter-5"}},{"c":"ann-5"}]}`, "hunter-5", "ann-5"},
		{"in a text that is JSON", `{"body":"{\"password\":\"hunter-6\",\"n\":\"ann-6\"}"}`, "hunter-6", "ann-6"},
		{"in a text in a text", `{"body":"{\"in\":\"{\\\"password\\\":\\\"hunter-7\\\",\\\"n\\\":\\\"ann-7\\\"}\"}"}`, "hunter-7", "ann-7"},
		{"behind escapes", `{"body":"{\u0022token\u0022:\u0022hunter-8\u0022}","ok":"ann-8"}`, "hunter-8", "ann-8"},
		{"a card in a text", `{"note":"ann-9 paid with 4111 1111 1111 1111, thanks"}`, "4111 1111 1111 1111", "ann-9"},
		{"with dashes", `{"note":"order 17 4111-1111-1111-1111 ann-10"}`, "4111-1111-1111-1111", "ann-10"},
		{"as a number", `{"n":4111111111111111,"m":-378282246310005,"k":"ann-11"}`, "378282246310005", "ann-11"},
		{"of another issuer", `{"n":"36227206271667 6011111111111117 3530111333300000 2223003122003222 ann-12"}`, "6011111111111117", "ann-12"},
		{"a bearer", `{"cmd":"curl -H 'Authorization: Bearer hunter-13-0123456789' ann-13"}`, "hunter-13-0123456789", "ann-13"},
		{"a JSON Web Token", `{"note":"got ` + jwt + ` from ann-14"}`, jwt, "ann-14"},
		{"a private key", `{"pem":"ann-15 -----BEGIN RSA PRIVATE KEY-----\nhunter-15\n-----END RSA PRIVATE KEY----- b"}`, "hunter-15", "ann-15"},
		{"one that is cut off", `{"ok":"ann-16","pem":"-----BEGIN PRIVATE KEY-----\nhunter-16"}`, "hunter-16", "ann-16"},
		{"in its foot", `{"ok":"ann-17","pem":"-----BEGIN PRIVATE KEY-----\nhunter-17\n-----END PRIV"}`, "hunter-17", "ann-17"},
		{"escapes around it", `{"note":"a\\b\t\u0001 Bearer hunter-18-0123456789 \"ann-18\""}`, "hunter-18", "ann-18"},
		{"a key that is long", `{"` + strings.Repeat("long ", 60) + `password":"hunter-19","ok":"ann-19"}`, "hunter-19", "ann-19"},
		{"nothing at all", `{"at":1700000000123456789,"n":4111111111111112,"x":-1.5e3,"discard":1,"note":"the bearer came, eyJ. and begin -----BEGIN PUBLIC KEY-----"}`, "[redacted]", "-1.5e3"},
	}
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{Store: store.Options{NoCompression: true}})
	in := input(t, r, "one", true)
	for i, c := range cases {
		// One batch each: what is suspicious in one must not uncover the others.
		e := event.Event{Stream: "g1", Seq: uint64(i + 1), Time: int64(i), Kind: event.KindLog, Data: []byte(c.data)} // #nosec G115 -- small
		if i%2 == 0 {
			e.Extra = map[string]json.RawMessage{"request": []byte(c.data), "session_id": []byte(`"hunter-id"`), "tenant": []byte(`[1,2]`)}
		}
		push(t, in, e)
	}
	// What could not be read is no JSON, and is looked through all the same.
	for _, raw := range []string{
		`{"stream":"g1","data":{"password":"hunter-20`, `{"body":"{\"token\":\"hunter-20,b\",\"n\":1}"`, `{"token":{"a":["hunter-20"`,
		`{"body":"{\"token\":\"hunter-20`, `{"token":`, `card 4111 1111 1111 1111 of ann-20`,
	} {
		if err := in.Reject(source.Rejected{File: "f", Line: 1, Raw: []byte(raw), Reason: "it ends too early"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	if r.clean.Stats().Redacted < int64(len(cases)) {
		t.Errorf("%+v", r.clean.Stats())
	}
	closeWell(t, r)
	disk := filesOf(t, dir)
	for i, e := range readAll(t, dir) {
		c := cases[i]
		for _, text := range []string{string(e.Data), string(e.Extra["request"])} {
			if text != "" && (!json.Valid([]byte(text)) || !strings.Contains(text, c.stays)) {
				t.Errorf("%s: %s", c.what, text)
			}
		}
		if c.secret != "[redacted]" && strings.Contains(disk, c.secret) {
			t.Errorf("%s: %s is on the disk", c.what, c.secret)
		}
		if c.secret == "[redacted]" && string(e.Data) != c.data {
			t.Errorf("%s became %s", c.data, e.Data)
		}
	}
	for _, secret := range []string{"hunter-20", "hunter-id", "4111 1111 1111 1111"} {
		if strings.Contains(disk, secret) {
			t.Errorf("%s is on the disk", secret)
		}
	}
	if !strings.Contains(disk, "ann-20") {
		t.Error("what stands around a secret in a line that could not be read is nowhere")
	}
}

// What is too long is cut so that one can see it, and how long it was.
func TestT5_LongPayloadsAreCutVisibly(t *testing.T) {
	const most = 512
	long := strings.Repeat("häßlich ", 400)
	dir := filepath.Join(t.TempDir(), "rec")
	r := open(t, dir, Options{DataBytesMax: most, Lateness: time.Millisecond})
	in := input(t, r, "one", true)
	many := map[string]json.RawMessage{}
	for i := range 100 {
		many[fmt.Sprintf("field%03d", i)] = []byte(`"1234567890"`)
	}
	text := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	events := []event.Event{
		{Data: text(map[string]any{"id": 17, "text": long})},
		{Data: text(map[string]any{"id": 17, "text": long, "password": "hunter2"})},
		{Data: []byte(`{"id":17,"text":"` + strings.Repeat(`\ud83d\ude00\n\\`, 200) + `"}`)},
		{Data: text(map[string]any{"numbers": make([]int, 2000)})},
		{Data: []byte(`{"id":17,"text":"` + strings.Repeat(`\"quoted\" and\u0009more `, 200) + `"}`)},
		{Extra: map[string]json.RawMessage{"a": text(long), "b": []byte("1")}},
		{Extra: many},
		{Data: []byte(`{"short":1}`), Extra: map[string]json.RawMessage{"b": []byte("1")}},
	}
	for i := range events {
		e := &events[i]
		e.Stream, e.Seq, e.Time, e.Kind = "g1", uint64(i+1), int64(i), event.KindLog // #nosec G115 -- small
	}
	push(t, in, events...)
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	if s := r.clean.Stats(); s.Shortened != int64(len(events)-1) || s.CutBytes == 0 {
		t.Errorf("%+v", s)
	}
	closeWell(t, r)
	all := readAll(t, dir)
	for i, e := range all {
		size := len(e.Data)
		for name, value := range e.Extra {
			size += len(name) + len(value)
			if !json.Valid(value) {
				t.Errorf("event %d: %s is %s", i, name, value)
			}
		}
		if size > most || e.Data != nil && !json.Valid(e.Data) {
			t.Errorf("event %d has %d bytes, %d are allowed: %s", i, size, most, e.Data)
		}
	}
	for i, want := range []string{"… (cut, ", "… (cut, ", "… (cut, ", `{"pastcone.truncated":"{\"numbers\":[0,0`, "… (cut, "} {
		if got := string(all[i].Data); !strings.Contains(got, want) || !strings.Contains(got, `"pastcone.size":`) {
			t.Errorf("event %d: %s", i, got)
		}
	}
	if strings.Contains(string(all[1].Data), "hunter2") {
		t.Error("a secret survives being cut")
	}
	if got := string(all[5].Extra["a"]); !strings.HasPrefix(got, `{"pastcone.truncated":"`) || string(all[5].Extra["b"]) != "1" {
		t.Errorf("unknown fields: %s", got)
	}
	if all[6].Extra["pastcone.dropped"] == nil || len(all[6].Extra) > 50 {
		t.Errorf("%d unknown fields are left", len(all[6].Extra))
	}
	if string(all[7].Data) != `{"short":1}` {
		t.Errorf("what is short: %s", all[7].Data)
	}
	if !slices.IsSortedFunc(all, func(a, b event.Event) int { return int(a.ID) - int(b.ID) }) { // #nosec G115 -- small
		t.Error("not in order")
	}
}
