// Package monitor is the side of a server that operators see, over HTTP at an address of its own:
//
//	GET  /healthz            is the process worth keeping?            anybody
//	GET  /readyz             does it take events now? if not, why?    anybody; the reasons: read
//	GET  /metrics            Prometheus: ledger, latencies, store     read
//	POST /query              one question, answered in JSON lines     read
//	GET  /settings           what they are                            admin
//	POST /settings/reload    read them again, as SIGHUP does          admin
//	GET  /debug/pprof/…      profiles                                 admin, and never without authentication
//
// Who comes is judged by the same [server.Gate] as on the other line: `Authorization: Bearer TOKEN`, or a client certificate; a
// server without either listens on loopback only, and then takes no request that names another host, nor one that a
// web page of another origin has made: a browser on this machine is no way in.
//
// Every client is taken for careless or hostile: heads, bodies, connections, questions and all waiting are bounded, compressed
// bodies are not taken, and nothing may be shared with other origins.
//
// In the plan's words this belongs to the Application.
package monitor
