package main

import (
	"strings"

	"github.com/spf13/pflag"
)

// goBooleans are the flags of go build and go test that take no value; every other takes the next argument, unless it has
// an equals sign in it.
var goBooleans = map[string]bool{
	"a": true, "n": true, "race": true, "msan": true, "asan": true, "cover": true, "v": true, "work": true, "x": true,
	"trimpath": true, "linkshared": true, "modcacherw": true, "buildvcs": true, "json": true, "short": true,
	"failfast": true, "fullpath": true, "benchmem": true, "artifacts": true, "i": true, "c": true,
}

// splitArguments tells our flags, which have two dashes (or are short ones of ours), from those of the go command, which
// have one, and gives both their values. What is behind "--", or go test's -args, is the program's.
func splitArguments(flags *pflag.FlagSet, args []string) (ours, theirs, names, programs []string) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--" || arg == "-args":
			return ours, theirs, names, args[i+1:]
		case arg == "-help": // as the go command takes it
			ours = append(ours, "--help")
		case strings.HasPrefix(arg, "--"), isShort(flags, arg):
			ours = append(ours, arg)
			if name, _, valued := strings.Cut(strings.TrimLeft(arg, "-"), "="); !valued && i+1 < len(args) && takesValue(flags, name, len(arg) == 2) {
				i++
				ours = append(ours, args[i])
			}
		case len(arg) > 1 && arg[0] == '-':
			theirs = append(theirs, arg)
			if name, _, valued := strings.Cut(arg[1:], "="); !valued && !goBooleans[name] && i+1 < len(args) {
				i++
				theirs = append(theirs, args[i])
			}
		default:
			names = append(names, arg)
		}
	}
	return ours, theirs, names, nil
}

func isShort(flags *pflag.FlagSet, arg string) bool {
	return arg == "-h" || len(arg) == 2 && arg[0] == '-' && flags.ShorthandLookup(arg[1:]) != nil
}

func takesValue(flags *pflag.FlagSet, name string, short bool) bool {
	f := flags.Lookup(name)
	if short {
		f = flags.ShorthandLookup(name)
	}
	return f != nil && f.NoOptDefVal == ""
}
