// Package render writes answers: as text for people, and as lines of JSON for programs.
//
// The text is made for somebody who is in a hurry: what happened is in the first line, the reason is
// where the eye goes next, and the last lines are commands to go on with, ready to paste. It fits
// the width it is told, and has colour only when told. Whatever a recorded program wrote is shown
// with control characters replaced, so that no recording can steer a terminal.
//
// The lines of JSON hold one object each, with names that stay (docs/json.md). Events in them are
// event lines, as in event.AppendLine.
//
// In the plan's words this is how the QueryCoordinator's answers look.
package render
