package config

import (
	"fmt"
	"strings"
)

// Description is what there is to know of a setting.
type Description struct {
	Key      string `json:"key"`
	Variable string `json:"variable"`
	Flag     string `json:"flag"`
	Kind     string `json:"kind"`
	Default  string `json:"default"`
	Min      string `json:"min,omitempty"`
	Max      string `json:"max,omitempty"`
	Optional bool   `json:"optional,omitempty"` // 0 is no bound
	Live     bool   `json:"live"`               // may change while the recorder runs
	Help     string `json:"help"`
}

// Describe lists all settings, in the order of the document.
func Describe() []Description {
	all := make([]Description, len(table))
	for i := range table {
		e := &table[i]
		all[i] = Description{
			Key: e.key, Variable: e.variable(), Flag: "--" + e.flag(), Kind: e.kind, Default: e.initial,
			Min: e.least, Max: e.most, Optional: e.optional, Live: e.live, Help: e.help,
		}
	}
	return all
}

// Value is one setting and what it is.
type Value struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Values lists what all settings are, as they would be written.
func (s *Settings) Values() []Value {
	all := make([]Value, len(table))
	for i := range table {
		all[i] = Value{table[i].key, table[i].show(s)}
	}
	return all
}

// YAML gives the settings as a file that sets all of them.
func (s *Settings) YAML() string {
	var b strings.Builder
	last := ""
	for i := range table {
		section, name, _ := strings.Cut(table[i].key, ".")
		if section != last {
			last = section
			fmt.Fprintf(&b, "%s:\n", section)
		}
		fmt.Fprintf(&b, "  %s: %s\n", name, table[i].show(s))
	}
	return b.String()
}

// Markdown gives docs/settings.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Settings

<!-- Made from the table of internal/config: go test ./internal/config -run Document -update -->

Settings come from the defaults, a YAML file, the environment and flags; the later wins. The setting
` + "`ring.capacity_events`" + ` is the key ` + "`capacity_events`" + ` in the section ` + "`ring`" + ` of the file, the variable
` + "`PASTCONE_RING_CAPACITY_EVENTS`" + ` and, where a command has it, the flag ` + "`--ring-capacity-events`" + `.

Sizes are written as ` + "`64MiB`, `1.5GB` or `4096`" + `, durations as ` + "`100ms`, `1h30m` or `30d`" + `. A list is a YAML list in the file,
in a variable its elements with commas between (or a JSON list), and a flag for each element. What is out of
bounds, and a key that does not exist, is refused with all that is wrong.

"Live" says that the setting can change while the recorder runs.

| setting | what it is | default | from | to | live |
|---|---|---|---|---|---|
`)
	for _, d := range Describe() {
		least := d.Min
		if d.Optional {
			least = "0 (no bound), " + least
		}
		mark := ""
		if d.Live {
			mark = "yes"
		}
		help := d.Help
		if strings.Contains(d.Kind, ",") {
			help += " One of " + d.Kind + "."
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s | %s | %s |\n", d.Key, help, d.Default, least, d.Max, mark)
	}
	b.WriteString("\n## A file with the defaults\n\n```yaml\n" + Defaults().YAML() + "```\n")
	return b.String()
}
