// Package probehttp joins the requests of net/http across processes that record themselves with package probe: the client's
// event is the cause of the server's root.
//
//	client := &http.Client{Transport: probehttp.Transport(nil)}
//	server := &http.Server{Handler: probehttp.Handler(mux)}
//
// What goes along is the header traceparent of W3C Trace Context, so programs in between that know it, and other tracers,
// go on working. The events have method, host and path; never the query, headers or bodies, which may hold secrets.
//
// In a program that "pastcone run" has built net/http does all this by itself, and what this package sees is not recorded there a
// second time.
//
// It is apart from package probe so that a program without net/http stays so. In the plan's words it feeds the Ingestor, as probe
// does.
package probehttp
