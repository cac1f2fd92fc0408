package query

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/pastcone/pastcone/internal/wire"
)

// ValueType says what a [Value] holds.
type ValueType uint8

// The types of values. Values of different types are ordered by type, nothing first.
const (
	Nothing ValueType = iota
	Boolean
	Integer
	Float
	Duration
	Time
	Text
	JSON // an object or an array, as it is written
)

// Value is the value of a field, or of an aggregate.
type Value struct {
	Type  ValueType
	Whole int64 // of Boolean (0, 1), Integer, Duration, Time (ns)
	Float float64
	Text  string
}

// String gives the value for people.
func (v Value) String() string {
	switch v.Type {
	case Boolean:
		return strconv.FormatBool(v.Whole != 0)
	case Integer:
		return strconv.FormatInt(v.Whole, 10)
	case Float:
		return strconv.FormatFloat(v.Float, 'g', 6, 64)
	case Duration:
		return time.Duration(v.Whole).String()
	case Time:
		return time.Unix(0, v.Whole).UTC().Format(time.RFC3339Nano)
	case Text, JSON:
		return v.Text
	case Nothing:
	}
	return ""
}

// MarshalJSON gives the value for programs: durations and times in nanoseconds, nothing as null.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.Type {
	case Boolean:
		return strconv.AppendBool(nil, v.Whole != 0), nil
	case Integer, Duration, Time:
		return strconv.AppendInt(nil, v.Whole, 10), nil
	case Float:
		return json.Marshal(v.Float)
	case Text:
		return json.Marshal(v.Text)
	case JSON:
		return []byte(v.Text), nil
	case Nothing:
	}
	return []byte("null"), nil
}

func (v Value) numeric() bool {
	return v.Type == Integer || v.Type == Duration || v.Type == Time || v.Type == Float
}

func (v Value) number() float64 {
	if v.Type == Float {
		return v.Float
	}
	return float64(v.Whole)
}

// compareValues orders values: numbers among each other by size, else by type.
func compareValues(a, b Value) int {
	if a.numeric() && b.numeric() {
		if a.Type != Float && b.Type != Float {
			return cmp.Compare(a.Whole, b.Whole)
		}
		return cmp.Compare(a.number(), b.number())
	}
	if a.Type != b.Type {
		return cmp.Compare(a.Type, b.Type)
	}
	if c := cmp.Compare(a.Whole, b.Whole); c != 0 {
		return c
	}
	return cmp.Compare(a.Text, b.Text)
}

func textValue(s string) Value {
	if s == "" {
		return Value{}
	}
	return Value{Type: Text, Text: s}
}

func wholeValue(n uint64) Value {
	if n == 0 {
		return Value{}
	}
	return Value{Type: Integer, Whole: int64(n)} // #nosec G115 -- bounded by SeqMax and the number of events
}

func boolValue(b bool) Value {
	if b {
		return Value{Type: Boolean, Whole: 1}
	}
	return Value{Type: Boolean}
}

// jsonValue gives the value of a JSON text.
func jsonValue(raw []byte) Value {
	if s, _, ok := stringOf(raw, nil); ok {
		return Value{Type: Text, Text: string(s)}
	}
	if whole, f, isWhole, ok := numberOf(raw); ok {
		if isWhole {
			return Value{Type: Integer, Whole: whole}
		}
		return Value{Type: Float, Float: f}
	}
	switch string(raw) {
	case "", "null":
		return Value{}
	case "true", "false":
		return boolValue(raw[0] == 't')
	}
	return Value{Type: JSON, Text: string(raw)}
}

// getter takes the value of a field out of columns.
type getter struct {
	field field
	cols  wire.ColumnSet
	path  *dataPath
	table *wire.Table
	names map[wire.SourceID]string
}

func newGetter(f field, table *wire.Table, sources map[wire.SourceID]string) getter {
	g := getter{field: f, cols: f.cols, table: table, names: sources}
	if f.id == fieldData {
		g.path = newDataPath(f.path)
	}
	if f.id == fieldDuration {
		g.cols |= wire.ColParent
	}
	return g
}

// value gives the field of row i of c, whose columns are g.cols at least. What is not there is Nothing.
func (g *getter) value(c *wire.Columns, i int) Value {
	switch g.field.id {
	case fieldEventID:
		return wholeValue(uint64(c.Base) + uint64(i)) // #nosec G115 -- an index
	case fieldTime:
		return Value{Type: Time, Whole: c.Time[i]}
	case fieldSeq:
		return wholeValue(c.Seq[i])
	case fieldStream:
		return textValue(g.table.NameOf(c.Stream[i]))
	case fieldSource:
		if name := g.names[c.Source[i]]; name != "" {
			return textValue(name)
		}
		return wholeValue(uint64(c.Source[i]))
	case fieldKind:
		return textValue(c.Kind[i].String())
	case fieldFunc:
		return textValue(g.table.FuncOf(c.Site[i]))
	case fieldFile:
		return textValue(g.table.TextOf(g.table.PlaceOf(c.Site[i]).File))
	case fieldLine:
		return wholeValue(uint64(g.table.PlaceOf(c.Site[i]).Line))
	case fieldKey:
		return textValue(g.table.NameOf(c.Key[i]))
	case fieldOrdinal:
		return wholeValue(c.Ordinal[i])
	case fieldPeer:
		return textValue(g.table.NameOf(c.Peer[i]))
	case fieldChild:
		return textValue(g.table.NameOf(c.Child[i]))
	case fieldMessage, fieldRef, fieldCause:
		return g.rare(c.ExtOf(i))
	case fieldRoot, fieldEmpty, fieldClosed, fieldBackground, fieldTakes, fieldInferred, fieldUnseen:
		return flagValue(g.field.id, c.Flags[i])
	case fieldParent:
		return wholeValue(uint64(c.Parent[i]))
	case fieldCorrelation:
		return wholeValue(uint64(c.Correlation[i]))
	case fieldPosition:
		return Value{Type: Integer, Whole: int64(c.Position[i])}
	case fieldDuration:
		if hasDuration(c, i) {
			return Value{Type: Duration, Whole: c.Duration[i]}
		}
	case fieldConfidence:
		return textValue(c.ParentConf[i].String())
	case fieldCorrConfidence:
		return textValue(c.CorrConf[i].String())
	case fieldData:
		return jsonValue(g.path.find(c.DataOf(i)))
	case fieldText, fieldNone:
	}
	return Value{}
}

// rare gives a field of the extension; one that cannot be read is Nothing (verify finds it).
func (g *getter) rare(ext []byte) Value {
	var x wire.Extension
	if x.Decode(ext) != nil {
		return Value{}
	}
	switch g.field.id {
	case fieldMessage:
		return textValue(string(x.Message))
	case fieldRef:
		return textValue(string(x.Ref))
	default:
		return textValue(string(bytes.Join(x.Causes, []byte(" "))))
	}
}

func flagValue(id fieldID, f wire.Flags) Value {
	switch id {
	case fieldRoot:
		return boolValue(f&wire.FlagRoot != 0)
	case fieldEmpty:
		return boolValue(f&wire.FlagEmpty != 0)
	case fieldClosed:
		return boolValue(f&wire.FlagClosed != 0)
	case fieldInferred:
		return boolValue(f&wire.FlagInferred != 0)
	case fieldUnseen:
		return boolValue(f&wire.FlagUnseen != 0)
	case fieldTakes:
		if f&(wire.FlagTakes|wire.FlagTakesNot) == 0 {
			return Value{}
		}
		return boolValue(f&wire.FlagTakes != 0)
	default:
		return boolValue(f&wire.FlagBackground != 0)
	}
}

// appendKey appends a form of the value in which equal values, and only they, are equal.
func (v Value) appendKey(dst []byte) []byte {
	dst = append(dst, byte(v.Type))
	switch v.Type {
	case Text, JSON:
		dst = binary.AppendUvarint(dst, uint64(len(v.Text)))
		return append(dst, v.Text...)
	case Float:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v.Float))
	case Boolean, Integer, Duration, Time:
		return binary.AppendVarint(dst, v.Whole)
	case Nothing:
	}
	return dst
}

// valuesFromKey is the way back from n appended keys.
func valuesFromKey(key string, n int) []Value {
	p := []byte(key)
	values := make([]Value, n)
	for i := range values {
		v := &values[i]
		v.Type = ValueType(p[0])
		p = p[1:]
		switch v.Type {
		case Text, JSON:
			length, w := binary.Uvarint(p)
			p = p[w:]
			v.Text, p = string(p[:length]), p[length:]
		case Float:
			v.Float = math.Float64frombits(binary.LittleEndian.Uint64(p))
			p = p[8:]
		case Boolean, Integer, Duration, Time:
			var w int
			v.Whole, w = binary.Varint(p)
			p = p[w:]
		case Nothing:
		}
	}
	return values
}
