// Package config holds the settings of the recorder: one typed structure, its defaults, its bounds, and where it is read
// from.
//
//	defaults ◄── file (YAML) ◄── environment (PASTCONE_…) ◄── flags
//
// One [table] names each setting, its bounds, its default, and whether it may change while the recorder runs. Everything
// else follows from it: the keys of the file, the names of the variables and flags, the validation, docs/settings.md, and
// the help. The setting `ring.capacity_events` is the key capacity_events in the section ring of the file, the variable
// PASTCONE_RING_CAPACITY_EVENTS and the flag --ring-capacity-events. Sizes are written with their unit, as 64MiB; so are
// durations, as 100ms or 30d.
//
// What is wrong is told at once and all together: which setting, where it was set, to what, and what it may be. A key that
// does not exist is refused, with the nearest one that does.
//
// A running recorder keeps its settings in a [Live]. They are read with one atomic load, and changed as a whole.
//
// In the plan's words this is Config.
package config
