package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// EnvPrefix begins the name of each variable that sets something.
const EnvPrefix = "PASTCONE_"

// fileBytesMax bounds a settings file.
const fileBytesMax = 1 << 20

// Sources are where settings are read from, later ones over earlier ones. Each may be left out.
type Sources struct {
	File  string         // path of a YAML file
	Env   []string       // as os.Environ gives it; variables without EnvPrefix are not looked at
	Flags *pflag.FlagSet // that BindFlags has been called with; only flags that were given count

	// NoSettings are variables with EnvPrefix that are none of ours.
	NoSettings []string
}

// Load reads the settings. It fails with Problems that tell everything that is wrong, in all sources, at once.
func Load(from Sources) (*Settings, error) {
	l := loader{settings: Defaults(), where: map[string]string{}}
	if from.File != "" {
		if err := l.file(from.File); err != nil {
			return nil, err
		}
	}
	l.environment(from.Env, from.NoSettings)
	l.flags(from.Flags)
	for _, p := range l.settings.problems(l.where) {
		if !l.failed[p.Setting] {
			l.problems = append(l.problems, p)
		}
	}
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	return l.settings, nil
}

type loader struct {
	settings *Settings
	where    map[string]string // where each setting was set last
	problems Problems
	failed   map[string]bool
}

// set sets one setting from text.
func (l *loader) set(e *entry, texts []string, where string) {
	l.where[e.key] = where
	if err := e.set(l.settings, texts); err != nil {
		value := showList(texts)
		if len(texts) == 1 {
			value = brief(texts[0])
		}
		l.wrong(&Problem{Setting: e.key, Value: value, Where: where, Wrong: err.Error()})
	}
}

func (l *loader) wrong(p *Problem) {
	if l.failed == nil {
		l.failed = map[string]bool{}
	}
	l.failed[p.Setting] = true
	l.problems = append(l.problems, p)
}

// file reads a YAML file: sections of settings.
func (l *loader) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if len(text) > fileBytesMax {
		return fmt.Errorf("settings: %s is larger than %v", path, Bytes(fileBytesMax))
	}
	l.yaml(path, text)
	return nil
}

// yaml reads the nodes themselves: they know their lines, and nothing is expanded.
func (l *loader) yaml(path string, text []byte) {
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	var doc yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return // an empty file sets nothing
	} else if err != nil {
		l.wrong(&Problem{Setting: "the file", Where: path, Wrong: "it is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")})
		return
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		l.wrong(&Problem{Setting: "the file", Where: path, Wrong: "it holds more than one document"})
		return
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return // only comments
	}
	seen := map[string]int{}
	l.mapping(path, "", root, func(key string, value *yaml.Node) {
		section := key
		l.mapping(path, section, value, func(name string, value *yaml.Node) {
			l.yamlSetting(path, section+"."+name, value, seen)
		})
	})
}

// mapping walks over the keys of a section, or of the file.
func (l *loader) mapping(path, section string, node *yaml.Node, each func(key string, value *yaml.Node)) {
	at := fmt.Sprintf("%s:%d", path, node.Line)
	what := section
	if what == "" {
		what = "the file"
	}
	if node.Kind != yaml.MappingNode {
		if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
			return // an empty section
		}
		wrong := "it must be a section with settings in it"
		if section != "" && !isSection(section) {
			wrong = unknown("section", section, sections())
		}
		l.wrong(&Problem{Setting: what, Where: at, Wrong: wrong})
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if key := node.Content[i]; key.Kind == yaml.ScalarNode {
			each(key.Value, node.Content[i+1])
		} else {
			l.wrong(&Problem{Setting: what, Where: fmt.Sprintf("%s:%d", path, key.Line), Wrong: "a key must be a name"})
		}
	}
}

func (l *loader) yamlSetting(path, key string, value *yaml.Node, seen map[string]int) {
	at := fmt.Sprintf("%s:%d", path, value.Line)
	e := byKey[key]
	if e == nil {
		l.wrong(&Problem{Setting: key, Where: at, Wrong: unknown("setting", key, keys())})
		return
	}
	if line := seen[key]; line > 0 {
		l.wrong(&Problem{Setting: key, Where: at, Wrong: fmt.Sprintf("it is set in line %d as well", line)})
		return
	}
	seen[key] = value.Line
	switch {
	case value.Kind == yaml.ScalarNode && value.Tag != "!!null":
		l.set(e, []string{value.Value}, at)
	case value.Kind == yaml.SequenceNode && e.isList:
		texts := make([]string, 0, len(value.Content))
		for _, element := range value.Content {
			if element.Kind != yaml.ScalarNode {
				l.wrong(&Problem{Setting: key, Where: fmt.Sprintf("%s:%d", path, element.Line), Wrong: "its elements must be texts"})
				return
			}
			texts = append(texts, element.Value)
		}
		l.set(e, texts, at)
	default:
		l.wrong(&Problem{Setting: key, Where: at, Wrong: "it must be a value of the kind: " + e.kind})
	}
}

// environment reads the variables.
func (l *loader) environment(env, noSettings []string) {
	names := map[string]*entry{}
	var all []string
	for i := range table {
		names[table[i].variable()] = &table[i]
		all = append(all, table[i].variable())
	}
	others := map[string]bool{}
	for _, name := range noSettings {
		others[name] = true
	}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, EnvPrefix) || others[name] {
			continue
		}
		where := "environment"
		if e := names[name]; e != nil {
			texts := []string{value}
			if e.isList {
				texts = splitList(value)
			}
			l.set(e, texts, where+" "+name)
		} else {
			l.wrong(&Problem{Setting: name, Where: where, Wrong: unknown("setting", name, all)})
		}
	}
}

// splitList reads a list of a variable: elements with commas between, or a JSON list if they hold commas.
func splitList(text string) []string {
	var texts []string
	if json.Unmarshal([]byte(text), &texts) == nil {
		return texts
	}
	if strings.TrimSpace(text) == "" {
		return nil
	}
	texts = strings.Split(text, ",")
	for i := range texts {
		texts[i] = strings.TrimSpace(texts[i])
	}
	return texts
}

// BindFlags adds a flag for each of the named settings, or for all.
func BindFlags(flags *pflag.FlagSet, keys ...string) {
	for i := range table {
		e := &table[i]
		if len(keys) > 0 && !contains(keys, e.key) {
			continue
		}
		e.bind(flags, e.flag())
	}
}

// BindFlag adds a flag for one setting under a name of its own, for a command in which it is the point. It panics on a key that
// does not exist.
func BindFlag(flags *pflag.FlagSet, name, key string) {
	e := byKey[key]
	if e == nil {
		panic("config: no setting " + key)
	}
	e.bind(flags, name)
}

func (e *entry) bind(flags *pflag.FlagSet, name string) {
	// A word in backquotes would be taken for the name of the value.
	help := strings.ReplaceAll(strings.TrimSuffix(e.help, "."), "`", "")
	if e.isList {
		help += "; can be given several times"
	}
	flags.Var(&flagValue{e: e}, name, help)
}

func contains(keys []string, key string) bool {
	for _, k := range keys {
		if k == key {
			return true
		}
	}
	return false
}

// flagValue keeps what was given, to be set when all sources are read.
type flagValue struct {
	e     *entry
	texts []string
}

// String gives what was given, or the default.
func (v *flagValue) String() string {
	switch {
	case v.e == nil:
		return "" // the flag package asks an empty value
	case v.texts == nil:
		return v.e.initial
	case v.e.isList:
		return showList(v.texts)
	}
	return v.texts[0]
}

// Set takes what was given. It fails as Load would, so that the command line tells it.
func (v *flagValue) Set(text string) error {
	if v.e.isList {
		v.texts = append(v.texts, text)
	} else {
		v.texts = []string{text}
	}
	s := Defaults()
	if err := v.e.set(s, v.texts); err != nil {
		return err
	}
	if wrong := v.e.check(s); wrong != "" {
		return errors.New(wrong)
	}
	return nil
}

// Type names the kind of the value in the help.
func (v *flagValue) Type() string {
	switch v.e.kind {
	case "number", "size", "duration", "list", "text":
		return v.e.kind
	}
	return "word"
}

func (l *loader) flags(flags *pflag.FlagSet) {
	if flags == nil {
		return
	}
	flags.Visit(func(f *pflag.Flag) {
		if v, ours := f.Value.(*flagValue); ours {
			l.set(v.e, v.texts, "flag --"+f.Name)
		}
	})
}

func keys() []string {
	names := make([]string, len(table))
	for i := range table {
		names[i] = table[i].key
	}
	return names
}

func sections() (names []string) {
	for _, key := range keys() {
		section, _, _ := strings.Cut(key, ".")
		if len(names) == 0 || names[len(names)-1] != section {
			names = append(names, section)
		}
	}
	return names
}

func isSection(name string) bool { return contains(sections(), name) }
