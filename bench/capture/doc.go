// Command capture measures what it costs a Go program to be recorded, and prints a table of what was promised and what is.
//
//	operations   a call, a channel operation, …, of an ordinary program: as it is, with probes that are off, and recorded
//	nats         nats-server under benchmarks of its own: as it is, and recorded in several ways, with all that the recorder takes
//	builds       how long it takes to build a program to be recorded, against the plain build, from empty caches
//	demo         how long "pastcone demo" takes from a fresh clone with empty caches
//
// All that is compared is measured in the same run, in turns: one round of each, then the next round. A figure is the median
// of the rounds; of an operation's it is the quickest of seven in each round. Wall times mean something on a machine that does nothing else only; processor times are steadier, and stand beside
// them: what the program took and what the recorder took on its behalf, together, is how much longer a program takes that
// uses all cores.
//
// Programs run, as in "pastcone run", under a recorder in a process of its own: this command, started again.
//
// In the plan's words these are the performance tests of Layer 1.
package main
