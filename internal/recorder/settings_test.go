package recorder

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pastcone/pastcone/event"
	"github.com/pastcone/pastcone/internal/config"
	"github.com/pastcone/pastcone/internal/pipeline"
)

// ofTheCommand are the settings that commands look at themselves.
var ofTheCommand = []string{"drain.deadline"}

// otherValues gives a value for each setting that is not its default, and its bounds.
func otherValues(d config.Description) []string {
	switch d.Kind {
	case "list":
		return []string{"[]", `["unix:one"]`}
	case "number", "size", "duration":
		return []string{d.Min, d.Max}
	}
	return strings.Split(d.Kind, ", ")[1:] // words
}

// settingsWith gives the default settings with one that is not. What must not be beyond it moves along.
func settingsWith(t *testing.T, key, value string) *config.Settings {
	t.Helper()
	companions := map[string]string{}
	switch key {
	case "ring.capacity_events", "batch.events_max":
		companions["batch.events_min"] = "1"
		if key == "ring.capacity_events" {
			companions["batch.events_max"] = "1"
		}
	case "batch.events_min":
		companions["batch.events_max"] = "65536"
	case "intake.workers_min", "write.workers_min":
		companions[strings.Replace(key, "min", "max", 1)] = "256"
	case "retry.backoff_min":
		companions["retry.backoff_max"] = "10s"
	case "retry.backoff_max":
		companions["retry.backoff_min"] = "0"
	case "retain.bytes_max":
		companions["store.segment_bytes_max"] = "1MiB"
	}
	companions[key] = value
	var env []string
	for key, value := range companions {
		env = append(env, config.EnvPrefix+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))+"="+value)
	}
	s, err := config.Load(config.Sources{Env: env})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSettings_EachHasAnEffectAndItsBoundsAreThoseOfWhoUsesIt(t *testing.T) {
	for _, d := range config.Describe() {
		if strings.HasPrefix(d.Key, "server.") || strings.HasPrefix(d.Key, "log.") {
			continue // the command's and the server's: they have tests of their own
		}
		for _, value := range otherValues(d) {
			s := settingsWith(t, d.Key, value)
			o := FromSettings(s)
			differs := !reflect.DeepEqual(o, FromSettings(config.Defaults()))
			if differs == slices.Contains(ofTheCommand, d.Key) && value != d.Default {
				t.Errorf("%s: %s has an effect: %v", d.Key, value, differs)
			}
			if d.Key == "ring.capacity_events" && value == d.Max {
				continue // the ring would be gigabytes
			}
			if value == d.Max && strings.HasSuffix(d.Key, "_min") && d.Kind == "number" {
				continue // 256 goroutines more show nothing
			}
			r, err := Open(filepath.Join(t.TempDir(), "rec"), o)
			if err != nil {
				t.Errorf("%s is %s: %v", d.Key, value, err)
				continue
			}
			closeWell(t, r)
		}
	}
}

func TestSettings_WithoutLatenessNothingWaits(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "rec"), FromSettings(settingsWith(t, "correlate.lateness", "0")))
	if r.o.Lateness != time.Nanosecond {
		t.Errorf("no lateness became %s", r.o.Lateness)
	}
	closeWell(t, r)
}

func TestT5_SettingsThatMayChangeWhileItRunsDo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rec")
	live, err := config.NewLive(config.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, dir, FromSettings(live.Load()))
	in := input(t, r, "one", true)
	for _, part := range slices.Collect(slices.Chunk(handedOver(200, "jobs"), 50)) {
		push(t, in, part...)
	}
	if err := in.Close(within(t), true); err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		args, _ := json.Marshal(map[string]string{"query": "{} | count() by (func, line, stream)"})
		return answers{r}.Answer(within(t), "find", args, func([]byte) error { return nil })
	}
	if err := ask(); err != nil {
		t.Fatalf("with 256 MiB: %v", err)
	}

	next := *live.Load()
	next.Query.MemoryBytesMax = config.MiB
	next.Query.Deadline = 7 * time.Second
	next.Intake.WorkersMin, next.Intake.WorkersMax = 2, 2
	next.Write.WorkersMin, next.Write.WorkersMax = 3, 3
	next.Batch.EventsMin = 64
	next.Retry.Tries = 5
	if err := errors.Join(live.Store(&next), r.Use(live.Load())); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pools have their workers, sources are told the size", func() bool {
		s := r.Status()
		return s.Intake.Workers.Now == 2 && s.Write.Workers.Now == 3 && r.BatchEvents() >= 64
	})
	if got := r.ServerOptions().QueryTimeout(); got != 7*time.Second {
		t.Errorf("an answer may take %s", got)
	}
	if got := r.queryBytesMax.Load(); got != int64(config.MiB) {
		t.Errorf("an answer may hold %d bytes", got)
	}
	next.Intake.WorkersMin = 0
	if err := r.Use(&next); !errors.Is(err, pipeline.ErrSettings) {
		t.Errorf("settings out of bounds: %v", err)
	}
	closeWell(t, r)
}

func TestT5_PatternsOfTheSettingsAreTakenOut(t *testing.T) {
	for name, c := range map[string]struct {
		patterns     string
		gone, stands []string
	}{
		"those that are built in":  {`["built-in"]`, []string{"hunter2"}, []string{"R-1"}},
		"further ones":             {`["built-in", "^room$"]`, []string{"hunter2", "R-1"}, nil},
		"others in place of those": {`["^room$"]`, []string{"R-1"}, []string{"hunter2"}},
		"none":                     {`[]`, nil, []string{"hunter2", "R-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "rec")
			r := open(t, dir, FromSettings(settingsWith(t, "intake.redact_keys", c.patterns)))
			in := input(t, r, "one", true)
			push(t, in, event.Event{Stream: "g1", Seq: 1, Time: 1, Kind: event.KindLog, Data: []byte(`{"password":"hunter2","room":"R-1"}`)})
			if err := in.Close(within(t), true); err != nil {
				t.Fatal(err)
			}
			closeWell(t, r)
			data := string(readAll(t, dir)[0].Data)
			for _, text := range c.gone {
				if strings.Contains(data, text) {
					t.Errorf("%s is still in %s", text, data)
				}
			}
			for _, text := range c.stands {
				if !strings.Contains(data, text) {
					t.Errorf("%s is not in %s", text, data)
				}
			}
		})
	}
}
