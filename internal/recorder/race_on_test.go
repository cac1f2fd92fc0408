//go:build race

package recorder

// raceDetector says that the race detector is at work.
const raceDetector = true
