package ndjson

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pastcone/pastcone/internal/source"
)

func TestPiecesAreOneInput(t *testing.T) {
	lines := exampleLines(t)
	c := newCollector(t)
	l, err := NewLines("conn 7", Options{}, c)
	if err != nil {
		t.Fatal(err)
	}
	var sent int64
	add := func(piece string) {
		t.Helper()
		sent += int64(len(piece))
		if err := l.Add(t.Context(), []byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	for i, line := range lines {
		add(line + strings.Repeat("\n", i%2)) // with and without a line feed at the end
	}
	add("")
	at := sent
	add("\nbroken\n")
	if !slices.Equal(c.lines(), sorted(lines...)) {
		t.Error("other events than in the pieces")
	}
	if len(c.rejected) != 1 || c.rejected[0].Line != len(lines)+2 || c.rejected[0].Offset != at+1 || c.rejected[0].File != "conn 7" {
		t.Error(c.rejected)
	}
	if s := l.Stats(); s.Events != int64(len(lines)) || s.Rejected != 1 || s.Bytes != sent || s.InputBytes != sent {
		t.Errorf("%+v of %d bytes", s, sent)
	}
}

func TestPiecesFail(t *testing.T) {
	if _, err := NewLines("f", Options{LineBytesMax: -1}, newCollector(t)); err == nil {
		t.Error("took an option out of bounds")
	}
	c := newCollector(t)
	l, err := NewLines("f", Options{Strict: true}, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Add(t.Context(), make([]byte, ChunkBytesMax+1)); err == nil || !strings.Contains(err.Error(), "a piece of 16777217 bytes") {
		t.Error(err)
	}
	var r source.Rejected
	if err := l.Add(t.Context(), []byte("no")); !errors.As(err, &r) {
		t.Error(err)
	}
	c.pushErr = errors.New("full")
	if err := l.Add(t.Context(), []byte(exampleLines(t)[0])); !errors.Is(err, c.pushErr) {
		t.Error(err)
	}
}
