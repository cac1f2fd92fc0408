// Command engine measures the recording engine: every figure that it was promised to reach, in one table, with one command.
//
//	go run ./bench/engine              20 M events, three runs, medians: some minutes
//	go run ./bench/engine -quick       2 M events, one run: does it still work, and roughly as fast
//	go run ./bench/engine -write       and keep the table in bench/results
//
// Each measurement is a function in a process of its own (see [measurements]), so that memory and processor time are its alone and the number of
// cores can be chosen. It gives named figures; over the runs they become medians; [rows] says which of them the table shows,
// what was promised, and what to compare with.
//
// Nothing is taken off: the events are made while they are recorded, on the same cores, and that is part of every figure. What
// making them costs is a row of its own.
//
// In the plan's words these are the performance tests of Layer 2.
package main
