package main

import "log/slog"

// descriptorsOwn is what the process needs besides connections: segments and index files of the recording, listeners, the log, and
// clients that are being told that there is no room for them.
const descriptorsOwn = 48

// connectionsFor gives how many connections each of so many lines may have, so that the recording keeps the file descriptors that it
// needs: at most wanted, and fewer where the system allows few.
func connectionsFor(wanted, lines int, log *slog.Logger) int {
	most, known := descriptorsMax()
	if !known || wanted <= (most-descriptorsOwn)/lines {
		return wanted
	}
	fit := max(1, (most-descriptorsOwn)/lines)
	log.Warn("fewer connections are taken than server.connections_max says: the system allows few file descriptors (ulimit -n)",
		"connections_max", wanted, "taken", fit, "descriptors", most)
	return fit
}
