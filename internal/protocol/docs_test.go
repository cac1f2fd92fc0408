package protocol

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/wire"
)

const document = "../../docs/protocol/README.md"

// examples are the frames that the document shows.
func examples(t *testing.T) map[string][]byte {
	t.Helper()
	table := wire.NewTable(1 << 16)
	b := &wire.Batch{}
	for _, e := range []event.Event{
		{Stream: "g17", Seq: 1, Time: 1000, Kind: event.KindCall, Func: "f", Root: true},
		{Stream: "g17", Seq: 2, Time: 1003, Kind: event.KindSend, Key: "jobs", Ordinal: 7, Data: []byte(`{}`)},
	} {
		if err := b.AddEvent(table, &e); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := wire.AppendBatch(BeginBatch(nil, KindBatch, 1), table, b)
	if err != nil {
		t.Fatal(err)
	}
	lines := append(BeginBatch(nil, KindLines, 2), `{"stream":"g1","seq":1,"time":5,"kind":"log"}`+"\n"...)
	return map[string][]byte{
		"hello":      (&Hello{Version, "billing", "ndjson", "session-of-this-run", true, ""}).Append(nil),
		"batch":      EndFrame(batch, 0),
		"lines":      EndFrame(lines, 0),
		"end":        AppendFrame(nil, KindEnd, nil),
		"query":      (&Query{9, 250, "why", []byte("{}  ")}).Append(nil),
		"cancel":     AppendCancel(nil, 9),
		"hurry":      AppendFrame(nil, KindHurry, nil),
		"welcome":    (&Welcome{Version, FrameBytesMax, 256, 5}).Append(nil),
		"ack":        (&Ack{6, 1}).Append(nil),
		"refused":    (&Refused{7, CodeMalformed, "reason"}).Append(nil),
		"ended":      (&Ended{300, 0, 2, []Reason{{"too late", 2}}}).Append(nil, Version),
		"answer":     AppendAnswer(nil, 9, []byte("{}")),
		"answer end": (&AnswerEnd{9, StatusDeadline, "too slow.."}).Append(nil),
	}
}

func TestDocument_FramesAreWhatTheCodeWrites(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string][]byte{}
	for _, m := range regexp.MustCompile("(?s)```frame ([a-z ]+)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		var digits strings.Builder
		for line := range strings.Lines(m[2]) {
			bytes, _, _ := strings.Cut(line, ";")
			digits.WriteString(strings.Join(strings.Fields(bytes), ""))
		}
		frame, err := hex.DecodeString(digits.String())
		if err != nil {
			t.Fatalf("frame %s: %v", m[1], err)
		}
		shown[m[1]] = frame
	}
	want := examples(t)
	for name, frame := range want {
		if !bytes.Equal(shown[name], frame) {
			t.Errorf("%s:\nthe document says %x\nthe code writes  %x", name, shown[name], frame)
		}
	}
	if len(shown) != len(want) || len(want) != len(kindNames) {
		t.Errorf("%d frames shown, %d made, %d kinds", len(shown), len(want), len(kindNames))
	}
	for k, name := range kindNames {
		if heading := fmt.Sprintf("### %d %s\n", k, name); !strings.Contains(string(text), heading) {
			t.Errorf("no section %q", heading)
		}
	}
}

func TestDocument_TablesAreThoseOfTheCode(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	var wanted []string
	for i, c := range Codes {
		if int(c.Code) != i+1 {
			t.Errorf("code %d stands at %d", c.Code, i)
		}
		later := map[bool]string{true: "yes", false: "no"}[c.Later]
		wanted = append(wanted, fmt.Sprintf("| %d | %s | %s | %s |\n", c.Code, c.Name, later, c.Means))
	}
	var kinds []string
	for _, k := range event.Kinds {
		if k.Kind != event.KindGap {
			kinds = append(kinds, fmt.Sprintf("%d %s", k.Kind, k.Name))
		}
	}
	wanted = append(wanted, "kind: "+strings.Join(kinds, ", ")+" |",
		fmt.Sprintf("flags: %d root, %d empty, %d closed, %d takes, %d takes not, %d inferred, %d unseen |", wire.FlagRoot, wire.FlagEmpty, wire.FlagClosed, wire.FlagTakes, wire.FlagTakesNot, wire.FlagInferred, wire.FlagUnseen),
		fmt.Sprintf("| a frame to a server | %d MiB", FrameBytesMax>>20),
		fmt.Sprintf("| a frame to a client | %d MiB", AnswerBytesMax>>20),
		fmt.Sprintf("| arguments of a query | %d MiB", ArgsBytesMax>>20),
		fmt.Sprintf("at least %d bytes long", SessionBytesMin),
		"| source, format, session, operation | 1,024 bytes each", "| reason | 4,096 bytes", "| records of a batch | 65,536",
		fmt.Sprintf("version of the encoding, %d |", 1), "# The protocol, version "+fmt.Sprint(Version), fmt.Sprintf("number flags: %d finite", helloFinite))
	for _, w := range wanted {
		if !strings.Contains(string(text), w) {
			t.Errorf("the document does not say %q", w)
		}
	}
	if TextBytesMax != 1024 || ReasonBytesMax != 4096 || wire.BatchRecordsMax != 65536 || event.TextBytesMax != 4096 {
		t.Error("the bounds in the document are old")
	}
}
