package main

// planRows are the rows that the map has to have, each in the first cell of one line: what the plan names (its components, the tests
// that it spells out, its counts, test points, fields, targets, commands), and of the system that it was written for the
// tests by topic and the faults.
var planRows = []string{
	"PipelineManager", "AsyncWriterPool", "EventCorrelator", "BackpressureManager", "QueryCoordinator",
	"RingBuffer", "DataAccess", "Ingestor", "Events", "Utils", "Config", "Application",

	"T1", "T2", "T3", "T4", "T5",

	"starts and manages worker pool lifecycle",
	"handles worker failures with restart strategies",
	"monitors ring buffer consumption rates",
	"reports pipeline health metrics",
	"scales workers dynamically based on load",
	"gracefully shuts down workers on termination",

	"processes events in batches efficiently",
	"maintains event ordering for correlated events",
	"handles batch processing failures gracefully",
	"reports worker performance metrics",
	"scales batch sizes based on throughput",
	"integrates with DataAccess for storage",

	"events flow from RingBuffer to DataAccess via async pipeline",
	"pipeline maintains data integrity under concurrent load",
	"pipeline handles backpressure gracefully",
	"pipeline processes different event types correctly",
	"pipeline maintains performance targets",

	"links function call/return events with parent_id",
	"correlates message send/receive across processes",
	"builds causality chains for complex interactions",
	"assigns correlation IDs to related event groups",
	"handles out-of-order event correlation",
	"maintains correlation indexes efficiently",

	"detects pipeline overload conditions",
	"implements adaptive sampling strategies",
	"coordinates load shedding across components",
	"maintains service quality under stress",
	"recovers from overload conditions",
	"reports load metrics accurately",

	"achieves 10k+ events/sec peak throughput",
	"maintains <10ms average processing latency",
	"bounds memory usage under sustained load",
	"scales efficiently with worker count",
	"handles correlation efficiently at scale",

	"queries events by correlation relationships",
	"reconstructs causality chains efficiently",
	"supports real-time event subscriptions",
	"provides correlation-aware search",
	"handles complex multi-dimensional queries",

	"complete pipeline handles real-world event patterns",
	"correlation accuracy meets production requirements",
	"performance targets achieved under realistic load",
	"fault tolerance handles production failure scenarios",
	"integration with Layer 1 maintains stability",

	"PipelineManager: 15 unit", "PipelineManager: 8 integration",
	"AsyncWriterPool: 20 unit", "AsyncWriterPool: 10 integration",
	"EventCorrelator: 25 functional", "EventCorrelator: 12 performance",
	"BackpressureManager: 18 load", "BackpressureManager: 8 stress",
	"QueryCoordinator: 15 query", "QueryCoordinator: 6 subscription",
	"Whole layer: 20 end to end",

	"Structure tests: serialization with correlation metadata",
	"Integration tests: correlation with storage and query",
	"Migration tests: events from before",

	"ring 24", "ingest 21", "async writer 13", "pool 14", "pipeline manager 8", "correlator 19", "temporal storage 19",
	"data access 32", "event store 13", "query engine 14", "config 25", "events 37", "utils 44",

	"correlation_id", "parent_event_id", "causality_chain", "correlation_type",
	"event id, monotonic time, wall time, node, pid",
	"function entry, exit", "process spawn, exit, link, unlink", "message send, receive", "state change, snapshot, callback reply, variable",
	"performance metric, garbage collection, scheduler, VM, node, table", "error, crash", "trace control",

	"fault 1", "fault 2", "fault 3", "fault 4", "fault 5", "fault 6", "fault 7", "fault 8", "fault 9", "fault 10",

	"1,000 events/s sustained (week 1)", "10,000 events/s sustained, 10+ minutes", "5,000+ events/s for 10+ minutes", "20,000 events/s in bursts of 30 s", "1,000 events/s a worker",
	"mean processing latency < 10 ms", "event processing time < 50 ms (week 1)", "worker startup < 100 ms", "correlation time < 5 ms an event", "correlation query < 10 ms",
	"subscription notified < 100 ms", "complex queries, result caching", "memory < 500 MB under normal load", "memory < 200 MB (week 1)", "bounded correlation index growth",
	"zero loss in normal operation", "event loss < 0.01 % (week 1)", "correlation accuracy > 99 %", "recovery from worker failure < 30 s", "availability 99.9 %",
	"graceful degradation, recovery from overload",
	"unit coverage > 95 %", "integration coverage > 90 %", "performance paths all tested", "failure modes and recovery all tested",

	"`mix test`", "`mix test --only layer2`", "`mix test test/elixir_scope/storage/`", "`./test_runner.sh --layer2`", "`mix test --only performance`", "`mix test --only load`",
}
