package main

import (
	"errors"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pastcone/pastcone/internal/capture"
	"github.com/pastcone/pastcone/internal/config"
)

// notSettings are variables that begin as settings do and are none.
var notSettings = []string{
	"PASTCONE_COVERDIR", // where whole-program tests leave their counters
	recordTo,            // of a binary of "pastcone build"
	capture.EnvRing,     // where this program is recorded itself
}

// settings is where a command takes its settings from: the file of --config, the environment, and its flags.
type settings struct {
	file  string
	flags *pflag.FlagSet
}

// bind adds --config.
func (x *settings) bind(c *cobra.Command) {
	x.flags = c.Flags()
	x.flags.StringVar(&x.file, "config", "", "read settings from this `FILE` (docs/settings.md)")
}

// load reads all of it. What is wrong is wrong usage.
func (x *settings) load() (*config.Settings, error) {
	s, err := config.Load(config.Sources{File: x.file, Env: os.Environ(), Flags: x.flags, NoSettings: append(slices.Clone(notSettings), accessVariables...)})
	if errors.Is(err, config.ErrSettings) {
		return nil, usageError{err}
	}
	return s, err
}
