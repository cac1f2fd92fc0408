package config

import (
	"fmt"
	"net"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"
)

// entry is one setting of the table. Its functions close over the field.
type entry struct {
	key      string
	kind     string // as it is documented
	help     string
	live     bool // may change while the recorder runs
	isList   bool
	optional bool   // 0 is allowed besides the bounds: none
	least    string // the bounds as text; empty if there are none
	most     string
	initial  string

	reset func(s *Settings)                        // to the default
	set   func(s *Settings, texts []string) error  // from text: one, or the elements of a list
	show  func(s *Settings) string                 // as it would be written
	check func(s *Settings) string                 // what is wrong; empty if nothing is
	order func(s *Settings) (value int64, ok bool) // for pairs; not ok: no bound
	equal func(a, b *Settings) bool
}

const (
	live  = true
	fixed = false

	listTextMax = 256 // characters of an element
)

// variable gives the name of the setting in the environment.
func (e *entry) variable() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(e.key, ".", "_"))
}

// flag gives the name of the setting on the command line.
func (e *entry) flag() string {
	return strings.NewReplacer(".", "-", "_", "-").Replace(e.key)
}

func one(texts []string) (string, error) {
	if len(texts) != 1 {
		return "", fmt.Errorf("it is one value, not a list of %d", len(texts))
	}
	return strings.TrimSpace(texts[0]), nil
}

type number interface{ ~int | ~int64 }

// ordered makes an entry of a value with bounds.
func ordered[T number](key, kind string, at func(*Settings) *T, initial, least, most T, live bool, help string,
	parse func(string) (T, error), format func(T) string) entry {
	e := entry{key: key, kind: kind, help: help, live: live, least: format(least), most: format(most), initial: format(initial)}
	e.reset = func(s *Settings) { *at(s) = initial }
	e.set = func(s *Settings, texts []string) error {
		text, err := one(texts)
		if err != nil {
			return err
		}
		v, err := parse(text)
		if err == nil {
			*at(s) = v
		}
		return err
	}
	e.show = func(s *Settings) string { return format(*at(s)) }
	e.check = func(s *Settings) string {
		if v := *at(s); v < least || v > most {
			return fmt.Sprintf("it must be from %s to %s", format(least), format(most))
		}
		return ""
	}
	e.order = func(s *Settings) (int64, bool) { return int64(*at(s)), true }
	e.equal = func(a, b *Settings) bool { return *at(a) == *at(b) }
	return e
}

func integer(key string, at func(*Settings) *int, initial, least, most int, live bool, help string) entry {
	return ordered(key, "number", at, initial, least, most, live, help, parseInteger, strconv.Itoa)
}

func parseInteger(text string) (int, error) {
	v, err := strconv.ParseInt(text, 0, 64) // 0: underscores are allowed, as 1_000_000
	if err != nil {
		return 0, fmt.Errorf("it is not a whole number, as 4096")
	}
	return int(v), nil
}

func size(key string, at func(*Settings) *Bytes, initial, least, most Bytes, live bool, help string) entry {
	return ordered(key, "size", at, initial, least, most, live, help, ParseBytes, Bytes.String)
}

func duration(key string, at func(*Settings) *time.Duration, initial, least, most time.Duration, live bool, help string) entry {
	return ordered(key, "duration", at, initial, least, most, live, help, ParseDuration, FormatDuration)
}

// optional allows 0 as well: no bound.
func optional(e entry) entry {
	check, order := e.check, e.order
	e.optional = true
	e.check = func(s *Settings) string {
		if v, _ := order(s); v == 0 {
			return ""
		}
		if wrong := check(s); wrong != "" {
			return wrong + ", or 0 for no bound"
		}
		return ""
	}
	e.order = func(s *Settings) (int64, bool) {
		v, _ := order(s)
		return v, v != 0
	}
	return e
}

// choice makes an entry of one of several words; the first is the default.
func choice(key string, at func(*Settings) *string, words []string, live bool, help string) entry {
	return entry{
		key: key, kind: strings.Join(words, ", "), help: help, live: live, initial: words[0],
		reset: func(s *Settings) { *at(s) = words[0] },
		set: func(s *Settings, texts []string) error {
			text, err := one(texts)
			if err == nil {
				*at(s) = text
			}
			return err
		},
		show: func(s *Settings) string { return *at(s) },
		check: func(s *Settings) string {
			if !slices.Contains(words, *at(s)) {
				return "it must be one of " + strings.Join(words, ", ")
			}
			return ""
		},
		order: func(*Settings) (int64, bool) { return 0, false },
		equal: func(a, b *Settings) bool { return *at(a) == *at(b) },
	}
}

// text makes an entry of a text, such as a path; empty is none.
func text(key string, at func(*Settings) *string, live bool, help string) entry {
	return entry{
		key: key, kind: "text", help: help, live: live, initial: `""`,
		reset: func(s *Settings) { *at(s) = "" },
		set: func(s *Settings, texts []string) error {
			text, err := one(texts)
			if err == nil {
				*at(s) = text
			}
			return err
		},
		show: func(s *Settings) string { return strconv.Quote(*at(s)) },
		check: func(s *Settings) string {
			if len(*at(s)) > pathBytesMax || strings.ContainsRune(*at(s), 0) {
				return fmt.Sprintf("it must be at most %d characters, without NUL", pathBytesMax)
			}
			return ""
		},
		order: func(*Settings) (int64, bool) { return 0, false },
		equal: func(a, b *Settings) bool { return *at(a) == *at(b) },
	}
}

const pathBytesMax = 1024

// list makes an entry of several texts.
func list(key string, at func(*Settings) *[]string, initial []string, most int, live bool, checkOne func(string) string, help string) entry {
	return entry{
		key: key, kind: "list", help: help, live: live, isList: true, initial: showList(initial),
		least: "0 elements", most: fmt.Sprintf("%d elements", most),
		reset: func(s *Settings) { *at(s) = slices.Clone(initial) },
		set: func(s *Settings, texts []string) error {
			*at(s) = slices.Clone(texts)
			return nil
		},
		show: func(s *Settings) string { return showList(*at(s)) },
		check: func(s *Settings) string {
			if n := len(*at(s)); n > most {
				return fmt.Sprintf("it has %d elements, at most %d are allowed", n, most)
			}
			for i, text := range *at(s) {
				wrong := ""
				if len(text) > listTextMax {
					wrong = fmt.Sprintf("it has %d characters, at most %d are allowed", len(text), listTextMax)
				} else {
					wrong = checkOne(text)
				}
				if wrong != "" {
					return fmt.Sprintf("element %d (%s): %s", i+1, brief(text), wrong)
				}
			}
			return ""
		},
		order: func(*Settings) (int64, bool) { return 0, false },
		equal: func(a, b *Settings) bool { return slices.Equal(*at(a), *at(b)) },
	}
}

func showList(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = strconv.Quote(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// brief cuts what is quoted in an error.
func brief(text string) string {
	const most = 60
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strconv.Quote(text)
}

func checkPattern(text string) string {
	if text == "" {
		return "it would match every key"
	}
	if _, err := syntax.Parse(text, syntax.Perl); err != nil { // as regexp.Compile does, without making the program
		return err.Error()
	}
	return ""
}

func checkAddress(text string) string {
	if text == "" {
		return "it is empty"
	}
	if path, unix := strings.CutPrefix(text, "unix:"); unix {
		if path == "" {
			return "the path of the socket is missing"
		}
		return ""
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return "it is neither host:port nor unix:path"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "its port must be from 0 to 65535"
	}
	if host == "" {
		return "it has no host: write 127.0.0.1:" + port
	}
	return ""
}

func checkHTTPAddress(text string) string {
	if strings.HasPrefix(text, "unix:") {
		return "it must be host:port"
	}
	return checkAddress(text)
}
