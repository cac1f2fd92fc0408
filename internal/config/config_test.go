package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write docs/settings.md")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pastcone.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, from Sources) *Settings {
	t.Helper()
	s, err := Load(from)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// refused loads what can not be used, and gives the problems without the folder of the file.
func refused(t *testing.T, from Sources) []string {
	t.Helper()
	s, err := Load(from)
	if s != nil || !errors.Is(err, ErrSettings) {
		t.Fatalf("settings %v, error %v", s, err)
	}
	var ps Problems
	if !errors.As(err, &ps) {
		t.Fatalf("error %T", err)
	}
	var lines []string
	for _, p := range ps {
		lines = append(lines, strings.ReplaceAll(p.Error(), filepath.Dir(from.File)+"/", ""))
	}
	return lines
}

func expect(t *testing.T, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func flags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	BindFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return fs
}

func TestConfig_DefaultsAreValid(t *testing.T) {
	if err := Defaults().Validate(); err != nil {
		t.Error(err)
	}
	if s := load(t, Sources{}); !reflect.DeepEqual(s, Defaults()) {
		t.Errorf("nothing is set and the settings are %+v", s)
	}
}

// zeroIsDefault are the fields of which the default is none.
var zeroIsDefault = []string{".Retain.AgeMax", ".Retain.BytesMax", ".Server.HTTP", ".Server.Tokens", ".Server.TLSCert", ".Server.TLSKey",
	".Server.TLSClient", ".Server.ClientBytesMax", ".Memory.BytesMax"}

func TestConfig_EveryFieldIsInTheTableAndHasADefault(t *testing.T) {
	// Each entry sets one field of its own: filling all of them leaves no field of the structure at zero, but those
	// whose default is none.
	fields := 0
	var walk func(v reflect.Value, name string)
	walk = func(v reflect.Value, name string) {
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				walk(v.Field(i), name+"."+v.Type().Field(i).Name)
			}
			return
		}
		fields++
		if v.IsZero() && !slices.Contains(zeroIsDefault, name) {
			t.Errorf("%s has no default", name)
		}
	}
	walk(reflect.ValueOf(*Defaults()), "")
	if fields != len(table) {
		t.Errorf("%d fields, %d entries in the table", fields, len(table))
	}
}

func TestConfig_FileOverDefaults(t *testing.T) {
	s := load(t, Sources{File: file(t, `
# what we run in production
ring:
  overflow: drop-oldest
  capacity_events: 2_000_000
correlate:
  lateness: 250ms
store:
  segment_bytes_max: 64MiB
retain:
  age_max: 30d
  bytes_max: 500GB
server:
  listen: [ "127.0.0.1:9000", "unix:/run/pastcone.sock" ]
intake:
  redact_keys:
    - built-in
    - (?i)passwort{1,3}
query:
`)})
	want := Defaults()
	want.Ring = Ring{2_000_000, OverflowDropOldest}
	want.Correlate.Lateness = 250 * time.Millisecond
	want.Store.SegmentBytesMax = 64 * MiB
	want.Retain = Retain{30 * day, 500_000_000_000}
	want.Server.Listen = []string{"127.0.0.1:9000", "unix:/run/pastcone.sock"}
	want.Intake.RedactKeys = []string{"built-in", "(?i)passwort{1,3}"}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
}

func TestConfig_AFileThatSetsNothingIsFine(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "ring:\n"} {
		if s := load(t, Sources{File: file(t, text)}); !reflect.DeepEqual(s, Defaults()) {
			t.Errorf("%q sets something: %+v", text, s)
		}
	}
}

func TestConfig_EnvironmentOverFileAndFlagsOverAll(t *testing.T) {
	from := Sources{
		File:  file(t, "batch:\n  events_min: 1\n  events_max: 100\n"),
		Env:   []string{"PASTCONE_BATCH_EVENTS_MAX=200", "PASTCONE_DRAIN_DEADLINE=2ms", "HOME=/root"},
		Flags: flags(t, "--drain-deadline", "3ms"),
	}
	expect(t, load(t, from).Batch, Batch{1, 200})
	expect(t, load(t, from).Drain, Drain{3 * time.Millisecond})
}

func TestConfig_ListsInEverySource(t *testing.T) {
	for _, c := range []struct {
		story string
		from  Sources
		want  []string
	}{
		{"file", Sources{File: file(t, "intake:\n  redact_keys: [a, 'b,c']\n")}, []string{"a", "b,c"}},
		{"file, one without brackets", Sources{File: file(t, "intake:\n  redact_keys: a\n")}, []string{"a"}},
		{"file, none", Sources{File: file(t, "intake:\n  redact_keys: []\n")}, []string{}},
		{"variable", Sources{Env: []string{"PASTCONE_INTAKE_REDACT_KEYS=a, b"}}, []string{"a", "b"}},
		{"variable, as JSON", Sources{Env: []string{`PASTCONE_INTAKE_REDACT_KEYS=["a", "b{1,2}"]`}}, []string{"a", "b{1,2}"}},
		{"variable that only begins like a list", Sources{Env: []string{`PASTCONE_INTAKE_REDACT_KEYS=[ab],c`}}, []string{"[ab]", "c"}},
		{"variable, none", Sources{Env: []string{"PASTCONE_INTAKE_REDACT_KEYS="}}, []string{}},
		{"flags", Sources{Flags: flags(t, "--intake-redact-keys", "a", "--intake-redact-keys=b,c")}, []string{"a", "b,c"}},
	} {
		t.Run(c.story, func(t *testing.T) { expect(t, load(t, c.from).Intake.RedactKeys, c.want) })
	}
}

func TestConfig_TellsAllThatIsWrongAtOnce(t *testing.T) {
	path := file(t, "ring:\n  capacity_events: many\n  overflow: explode\nwrite:\n  workers_min: 9\nretain:\n  age_max: 1s\n")
	got := refused(t, Sources{File: path, Env: []string{"PASTCONE_RETRY_TRIES=99", "PASTCONE_DRAIN_DEADLINE=30"}})
	expect(t, strings.Join(got, "\n"), strings.Join([]string{
		`pastcone.yaml:2: ring.capacity_events is "many": it is not a whole number, as 4096`,
		`environment PASTCONE_DRAIN_DEADLINE: drain.deadline is "30": it has no unit: write 30ms or 30s`,
		`pastcone.yaml:3: ring.overflow is explode: it must be one of block, drop-newest, drop-oldest`,
		`environment PASTCONE_RETRY_TRIES: retry.tries is 99: it must be from 1 to 20`,
		`pastcone.yaml:7: retain.age_max is 1s: it must be from 1m to 36500d, or 0 for no bound`,
		`pastcone.yaml:5: write.workers_min is 9: it must not be more than write.workers_max, which is 4`,
	}, "\n"))
}

func TestConfig_TheErrorIsReadable(t *testing.T) {
	_, err := Load(Sources{Env: []string{"PASTCONE_RETRY_TRIES=0", "PASTCONE_RETRY_BACKOFF_MIN=1m"}})
	expect(t, err, `the settings can not be used:
  environment PASTCONE_RETRY_TRIES: retry.tries is 0: it must be from 1 to 20
  environment PASTCONE_RETRY_BACKOFF_MIN: retry.backoff_min is 1m: it must be from 0 to 10s`)
}

func TestConfig_UnknownNamesAreRefusedWithTheNearest(t *testing.T) {
	for _, c := range []struct {
		story string
		from  Sources
		want  string
	}{
		{"a misspelled key", Sources{File: file(t, "ring:\n  capacty_events: 1\n")},
			"pastcone.yaml:2: ring.capacty_events: there is no such setting; is ring.capacity_events meant?"},
		{"the right key in the wrong section", Sources{File: file(t, "write:\n  commit_interval: 1ms\n")},
			"pastcone.yaml:2: write.commit_interval: there is no such setting; is store.commit_interval meant?"},
		{"a misspelled section", Sources{File: file(t, "corelate:\n  lateness: 1s\n")},
			"pastcone.yaml:2: corelate.lateness: there is no such setting; is correlate.lateness meant?"},
		{"a section that is none", Sources{File: file(t, "rings: 7\n")},
			"pastcone.yaml:1: rings: there is no such section; is ring meant?"},
		{"a key like no other", Sources{File: file(t, "x:\n  y: 1\n")},
			"pastcone.yaml:2: x.y: there is no such setting; docs/settings.md lists all of them"},
		{"a variable", Sources{Env: []string{"PASTCONE_RETRY_TRYS=1"}},
			"environment: PASTCONE_RETRY_TRYS: there is no such setting; is PASTCONE_RETRY_TRIES meant?"},
	} {
		t.Run(c.story, func(t *testing.T) { expect(t, refused(t, c.from), "["+c.want+"]") })
	}
}

func TestConfig_VariablesThatAreNoSettingsCanBeNamed(t *testing.T) {
	env := []string{"PASTCONE_COVERDIR=/tmp"}
	load(t, Sources{Env: env, NoSettings: []string{"PASTCONE_COVERDIR"}})
	refused(t, Sources{Env: env})
}

func TestConfig_AFileOfTheWrongFormIsRefusedWithItsLine(t *testing.T) {
	for _, c := range []struct{ story, text, want string }{
		{"not YAML", "ring:\n\tx: 1\n", "pastcone.yaml: the file: it is not YAML"},
		{"a list", "- ring\n", "pastcone.yaml:1: the file: it must be a section"},
		{"a text", "ring\n", "pastcone.yaml:1: the file: it must be a section"},
		{"two documents", "ring:\n---\nring:\n", "pastcone.yaml: the file: it holds more than one document"},
		{"set twice", "retry:\n  tries: 1\n  tries: 2\n", "pastcone.yaml:3: retry.tries: it is set in line 2 as well"},
		{"a section with a value", "\nring: 1\n", "pastcone.yaml:2: ring: it must be a section"},
		{"a value with a section", "retry:\n  tries: {a: 1}\n", "pastcone.yaml:2: retry.tries: it must be a value of the kind: number"},
		{"a list for a number", "retry:\n  tries: [1, 2]\n", "pastcone.yaml:2: retry.tries: it must be a value of the kind: number"},
		{"no value", "retry:\n  tries:\n", "pastcone.yaml:2: retry.tries: it must be a value of the kind: number"},
		{"a list in a list", "server:\n  listen: [[a]]\n", "pastcone.yaml:2: server.listen: its elements must be texts"},
		{"a key that is a list", "retry:\n  [a]: 1\n", "pastcone.yaml:2: retry: a key must be a name"},
		{"an alias", "retry: &r\n  tries: 1\nwrite: *r\n", "pastcone.yaml:3: write: it must be a section"},
	} {
		t.Run(c.story, func(t *testing.T) {
			got := refused(t, Sources{File: file(t, c.text)})
			if len(got) != 1 || !strings.HasPrefix(got[0], c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestConfig_AFileThatCanNotBeReadIsSaid(t *testing.T) {
	if _, err := Load(Sources{File: filepath.Join(t.TempDir(), "missing")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := Load(Sources{File: t.TempDir()}); err == nil {
		t.Error("a folder was read")
	}
	if _, err := Load(Sources{File: file(t, strings.Repeat("#\n", fileBytesMax))}); err == nil || !strings.Contains(err.Error(), "larger than 1MiB") {
		t.Errorf("too large: %v", err)
	}
}

func TestConfig_FlagsFailWhereTheyAreGiven(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--ring-capacity-events=0", "it must be from 1 to 268435456"},
		{"--store-segment-bytes-max=64M", "write 64MiB or 64MB"},
		{"--ring-capacity=3", "unknown flag"},
	} {
		fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
		BindFlags(fs)
		if err := fs.Parse([]string{c.args}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
	}
}

func TestConfig_FlagsCanBeOfSomeSettingsAndShowTheirDefaults(t *testing.T) {
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	BindFlags(fs, "ring.overflow", "server.listen", "query.memory_bytes_max")
	usage := fs.FlagUsages()
	for _, want := range []string{"--ring-overflow word", "(default block)", "--server-listen list", `(default ["127.0.0.1:7071"])`, "--query-memory-bytes-max size", "(default 256MiB)"} {
		if !strings.Contains(usage, want) {
			t.Errorf("the help does not say %q:\n%s", want, usage)
		}
	}
	if strings.Contains(usage, "drain") {
		t.Errorf("more flags than asked for:\n%s", usage)
	}
	if err := fs.Parse([]string{"--ring-overflow", "drop-newest", "--server-listen", "127.0.0.1:1", "--server-listen", "127.0.0.1:2"}); err != nil {
		t.Fatal(err)
	}
	expect(t, fs.Lookup("ring-overflow").Value, "drop-newest")
	expect(t, fs.Lookup("server-listen").Value, `["127.0.0.1:1", "127.0.0.1:2"]`)
	fs = pflag.NewFlagSet("test", pflag.ContinueOnError)
	BindFlag(fs, "listen", "server.listen")
	if err := fs.Parse([]string{"--listen", "127.0.0.1:0"}); err != nil {
		t.Fatal(err)
	}
	expect(t, load(t, Sources{Flags: fs}).Server.Listen, []string{"127.0.0.1:0"})
	if new(flagValue).String() != "" {
		t.Error("an empty value says something")
	}
}

func TestConfig_ElementsOfListsAreChecked(t *testing.T) {
	for _, c := range []struct{ story, variable, want string }{
		{"a broken pattern", "PASTCONE_INTAKE_REDACT_KEYS=ok,(", `element 2 ("("): error parsing regexp: missing closing ): ` + "`(`"},
		{"a pattern that matches all", "PASTCONE_INTAKE_REDACT_KEYS=a,,b", `element 2 (""): it would match every key`},
		{"a long pattern", "PASTCONE_INTAKE_REDACT_KEYS=" + strings.Repeat("x", 2000), `it has 2000 characters, at most 256 are allowed`},
		{"many patterns", "PASTCONE_INTAKE_REDACT_KEYS=" + strings.Repeat("x,", 99) + "x", `it has 100 elements, at most 32 are allowed`},
		{"no address", "PASTCONE_SERVER_LISTEN=,", `element 1 (""): it is empty`},
		{"neither address nor path", "PASTCONE_SERVER_LISTEN=here", `it is neither host:port nor unix:path`},
		{"a path of nothing", "PASTCONE_SERVER_LISTEN=unix:", `the path of the socket is missing`},
		{"no port", "PASTCONE_SERVER_LISTEN=127.0.0.1:99999", `its port must be from 0 to 65535`},
		{"every interface", "PASTCONE_SERVER_LISTEN=:80", `it has no host: write 127.0.0.1:80`},
	} {
		t.Run(c.story, func(t *testing.T) {
			got := refused(t, Sources{Env: []string{c.variable}})
			if len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestConfig_WhatContradictsIsRefused(t *testing.T) {
	for _, c := range []struct {
		change func(*Settings)
		want   string
	}{
		{func(s *Settings) { s.Batch.EventsMin = 5000 }, "batch.events_min is 5000: it must not be more than batch.events_max, which is 512"},
		{func(s *Settings) { s.Ring.CapacityEvents = 100 }, "batch.events_max is 512: it must not be more than ring.capacity_events, which is 100"},
		{func(s *Settings) { s.Intake.WorkersMax, s.Intake.WorkersMin = 2, 3 }, "intake.workers_min is 3: it must not be more than intake.workers_max, which is 2"},
		{func(s *Settings) { s.Retry.BackoffMin = time.Second }, "retry.backoff_min is 1s: it must not be more than retry.backoff_max, which is 200ms"},
		{func(s *Settings) { s.Retain.BytesMax = 10 * MiB }, "store.segment_bytes_max is 256MiB: it must not be more than retain.bytes_max, which is 10MiB"},
		{func(s *Settings) { s.Retain.BytesMax = 0 }, ""}, // no bound
	} {
		s := Defaults()
		c.change(s)
		err := s.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestConfig_AContradictionIsToldWithTheSourceOfEither(t *testing.T) {
	got := refused(t, Sources{Env: []string{"PASTCONE_INTAKE_WORKERS_MIN=9"}})
	expect(t, got, "[environment PASTCONE_INTAKE_WORKERS_MIN: intake.workers_min is 9: it must not be more than intake.workers_max, which is 4]")
	got = refused(t, Sources{Env: []string{"PASTCONE_RING_CAPACITY_EVENTS=9"}})
	expect(t, got, "[environment PASTCONE_RING_CAPACITY_EVENTS: batch.events_max is 512: it must not be more than ring.capacity_events, which is 9]")
}

func TestConfig_OneValueIsNotAList(t *testing.T) {
	for i := range table {
		if e := &table[i]; !e.isList {
			if err := e.set(Defaults(), []string{"1", "2"}); err == nil {
				t.Errorf("%s takes a list", e.key)
			}
		}
	}
}

func TestConfig_Sizes(t *testing.T) {
	for text, want := range map[string]Bytes{
		"0": 0, "4096": 4096, "64MiB": 64 << 20, "64 MiB": 64 << 20, "64mib": 64 << 20, "1.5GiB": 3 << 29, "500GB": 500e9,
		"1kB": 1000, "1KiB": 1024, "7B": 7, "2TiB": 2 << 40, "3TB": 3e12, "0.5KiB": 512,
	} {
		if got, err := ParseBytes(text); got != want || err != nil {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"": "not a size", "MiB": "not a size", "64M": "write 64MiB or 64MB", "1k": "write 1KiB or 1KB", "-1": "not a size",
		"1.2.3MiB": "not a size", "64MiBs": "not a size", "1.5B": "not a whole number", "9999999TiB": "more than can be counted",
		"1e3": "not a size", "0x10": "not a size", strings.Repeat("9", 50): "not a size",
	} {
		if got, err := ParseBytes(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %d, %v, want %q", text, got, err, want)
		}
	}
}

func TestConfig_Durations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "100ms": 100 * time.Millisecond, "1h30m": 90 * time.Minute, "30d": 30 * day, "1d12h": 36 * time.Hour, "2us": 2000, "1.5s": 1500 * time.Millisecond,
	} {
		if got, err := ParseDuration(text); got != want || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"": "not a duration", "30": "write 30ms or 30s", "soon": "not a duration", "xd": "not a duration", "1dx": "not a duration",
		"99999999d": "not a duration", "65535d2562047h": "longer than can be counted",
	} {
		if got, err := ParseDuration(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", text, got, err, want)
		}
	}
}

func TestConfig_WhatIsShownReadsBackAsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Bytes(rapid.Int64Range(0, 1<<62).Draw(t, "bytes") >> rapid.IntRange(0, 62).Draw(t, "less") << rapid.IntRange(0, 20).Draw(t, "more"))
		if b >= 0 {
			if back, err := ParseBytes(b.String()); back != b || err != nil {
				t.Fatalf("%d is shown as %s, read as %d, %v", b, b, back, err)
			}
		}
		d := time.Duration(rapid.Int64Range(0, int64(36500*day)).Draw(t, "duration"))
		d -= d % rapid.SampledFrom([]time.Duration{1, time.Microsecond, time.Second, time.Minute, time.Hour, day}).Draw(t, "unit")
		if back, err := ParseDuration(FormatDuration(d)); back != d || err != nil {
			t.Fatalf("%d is shown as %s, read as %d, %v", d, FormatDuration(d), back, err)
		}
	})
	expect(t, FormatDuration(time.Hour), "1h")
	expect(t, FormatDuration(10*time.Minute), "10m")
	expect(t, FormatDuration(90*time.Second), "1m30s")
	expect(t, Bytes(-5), "-5B")
}

func TestConfig_AFileMadeOfSettingsSetsThem(t *testing.T) {
	s := Defaults()
	s.Ring.Overflow, s.Retain.AgeMax, s.Server.Listen = OverflowDropNewest, 36*time.Hour, []string{"a:1", `unix:/with "quotes", and \ more`}
	s.Intake.RedactKeys = nil
	got := load(t, Sources{File: file(t, s.YAML())})
	expect(t, got.Values(), s.Values())
}

func TestConfig_LiveIsChangedAsAWhole(t *testing.T) {
	next := Defaults()
	next.Batch.EventsMin, next.Batch.EventsMax = 1, 2
	l, err := NewLive(next)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if s := l.Load(); s.Batch.EventsMin*2 != s.Batch.EventsMax {
						t.Errorf("half of a change: %+v", s.Batch)
						return
					}
				}
			}
		})
	}
	for n := 1; n < 2000; n++ {
		next.Batch.EventsMin, next.Batch.EventsMax = n, 2*n
		if err := l.Store(next); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestConfig_LiveKeepsItsOwnCopy(t *testing.T) {
	mine := Defaults()
	l, err := NewLive(mine)
	if err != nil {
		t.Fatal(err)
	}
	mine.Retry.Tries, mine.Server.Listen[0] = 7, "changed:1"
	if s := l.Load(); s.Retry.Tries != 3 || s.Server.Listen[0] != "127.0.0.1:7071" {
		t.Errorf("changed from outside: %+v", s)
	}
}

func TestConfig_LiveRefusesWhatCanNotChangeWhileItRuns(t *testing.T) {
	l, err := NewLive(Defaults())
	if err != nil {
		t.Fatal(err)
	}
	next := Defaults()
	next.Ring.Overflow = OverflowDropOldest
	next.Server.Listen = nil
	next.Retry.Tries = 0
	next.Batch.EventsMin = 17
	err = l.Store(next)
	if !errors.Is(err, ErrSettings) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{
		"ring.overflow is drop-oldest: it can not change while the recorder runs, and is block",
		`server.listen is []: it can not change while the recorder runs, and is ["127.0.0.1:7071"]`,
		"retry.tries is 0: it must be from 1 to 20",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if l.Load().Batch.EventsMin != 16 {
		t.Error("a refused change was made in part")
	}
}

func TestConfig_LiveDoesNotBeginWithBrokenSettings(t *testing.T) {
	if _, err := NewLive(&Settings{}); !errors.Is(err, ErrSettings) {
		t.Errorf("error %v", err)
	}
}

func TestConfig_SubscribersAreToldBeforeAndAfter(t *testing.T) {
	l, err := NewLive(Defaults())
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	tell := func(who string) func(before, after *Settings) {
		return func(before, after *Settings) {
			told = append(told, fmt.Sprint(who, before.Retry.Tries, after.Retry.Tries, l.Load() == after))
		}
	}
	cancel := l.Subscribe(tell("a"))
	l.Subscribe(tell("b"))
	next := Defaults()
	next.Retry.Tries = 5
	if err := l.Store(next); err != nil {
		t.Fatal(err)
	}
	cancel()
	next.Retry.Tries = 6
	if err := l.Store(next); err != nil {
		t.Fatal(err)
	}
	next.Retry.Tries = 99
	if err := l.Store(next); err == nil {
		t.Error("99 tries")
	}
	expect(t, told, "[a3 5 true b3 5 true b5 6 true]")
}

func TestConfig_RedactionExpandsTheBuiltInPatterns(t *testing.T) {
	builtIn := []string{"secret", "token"}
	for _, c := range []struct{ keys, want []string }{
		{[]string{RedactBuiltIn}, builtIn},
		{[]string{"mine", RedactBuiltIn}, []string{"mine", "secret", "token"}},
		{[]string{"mine"}, []string{"mine"}},
		{nil, []string{}},
	} {
		if got := (Intake{RedactKeys: c.keys}).Redact(builtIn); got == nil || !slices.Equal(got, c.want) {
			t.Errorf("%v: %v", c.keys, got)
		}
	}
}

func TestConfig_TheRingHoldsAtLeastOneBatch(t *testing.T) {
	s := Defaults()
	expect(t, s.RingBatches(), 256)
	s.Ring.CapacityEvents = 10
	expect(t, s.RingBatches(), 1)
}

func TestConfig_NamesFollowFromTheKey(t *testing.T) {
	d := Describe()[0]
	expect(t, []string{d.Key, d.Variable, d.Flag}, "[ring.capacity_events PASTCONE_RING_CAPACITY_EVENTS --ring-capacity-events]")
	seen := map[string]bool{}
	for _, d := range Describe() {
		for _, name := range []string{d.Key, d.Variable, d.Flag} {
			if seen[name] {
				t.Errorf("%s is there twice", name)
			}
			seen[name] = true
		}
		if d.Help == "" || !strings.HasSuffix(d.Help, ".") || d.Kind == "" {
			t.Errorf("%s is not described: %q", d.Key, d.Help)
		}
	}
}

func TestConfig_TheDocumentIsThatOfTheTable(t *testing.T) {
	const path = "../../docs/settings.md"
	if *update {
		if err := os.WriteFile(path, []byte(Markdown()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != Markdown() {
		t.Error("docs/settings.md is outdated: go test ./internal/config -run Document -update")
	}
}

func TestConfig_ReadingDoesNotAllocate(t *testing.T) {
	l, err := NewLive(Defaults())
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	if n := testing.AllocsPerRun(100, func() { sum += l.Load().Batch.EventsMax }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzConfig_File(f *testing.F) {
	f.Add(Defaults().YAML())
	f.Add("ring: &a {capacity_events: 1}\nwrite: *a\n")
	f.Add("? [a]\n: {b: !!binary c}\n")
	f.Add("retry:\n  tries: 0x5\n  backoff_min: 1.5ms\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		l := loader{settings: Defaults(), where: map[string]string{}}
		l.yaml("f", []byte(text))
		_ = l.problems.Error()
		if ps := l.settings.problems(l.where); len(ps) == 0 && len(l.problems) == 0 {
			again := loader{settings: Defaults(), where: map[string]string{}}
			again.yaml("f", []byte(l.settings.YAML()))
			if fmt.Sprint(again.settings.Values()) != fmt.Sprint(l.settings.Values()) {
				t.Errorf("%v is written as %v", l.settings.Values(), again.settings.Values())
			}
		}
	})
}

func BenchmarkConfig_Read(b *testing.B) {
	l, err := NewLive(Defaults())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	sum := 0
	for b.Loop() {
		sum += l.Load().Batch.EventsMax
	}
}

func BenchmarkConfig_Validate(b *testing.B) {
	s := Defaults()
	s.Intake.RedactKeys = slices.Repeat([]string{`(?i)^(api[-_]?key|pass(word|wd)|secret|token)$`}, 32)
	for b.Loop() {
		if err := s.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkConfig_Load(b *testing.B) {
	path := filepath.Join(b.TempDir(), "f")
	if err := os.WriteFile(path, []byte(Defaults().YAML()), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Load(Sources{File: path, Env: os.Environ()}); err != nil {
			b.Fatal(err)
		}
	}
}
