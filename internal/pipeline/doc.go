// Package pipeline runs the stages of the flow that pay in parallel, and keeps the books of all of them.
//
//	source ──► ring ──► pipeline ──► correlate ──► store ──► query
//
// It knows a [Stage], never a concrete one. A [Pool] takes batches from a queue and has its workers process them:
//
//	queue ──take──► worker ──process──► window ──deliver──► next stage
//	  ▲              ▲    │                (in the order of taking)
//	  │ size         │    └─ fails again and again ──► dead letters
//	sources       scaler
//
// What it promises:
//
//   - Supervision. A worker that panics is restarted, with restart intensity as in Erlang: when workers crash too often,
//     the supervisor waits before it restarts the next one. The batch in its hand is tried again with back-off, a bounded
//     number of times; then it goes to the dead-letter file with its error, is rejected in the ledger, and the rest goes on.
//   - Order. What is delivered is delivered one at a time, in the order in which it was taken from the queue, however
//     many workers there are: the correlator's high-water mark never runs ahead of a slow batch. A window bounds how far
//     the fast ones get ahead. A pool without a Deliver keeps no order and costs less.
//   - Scaling. The number of workers follows the measured backlog and the measured share of time at work, between a
//     minimum and a maximum, both ways, with hysteresis. See scale.go.
//   - Batch size. [Pool.BatchEvents] tells sources how many events to put in a batch: few when idle, for latency; many
//     under load, for throughput.
//   - Drain. The queue is closed, what was accepted is finished, then the workers stop. At the deadline what is left is
//     counted, shed in the ledger with the reason [ReasonNotDrained], and told in [Undrained].
//   - Figures. Rates, backlog, latencies and health are measured; what was not measured is not shown.
//
// The [Ledger] is one for the whole flow: accepted = stored + shed + rejected + in flight, for each source. A [Pipeline]
// starts the parts of a flow downstream first and drains them upstream first.
//
// The pressure on the whole flow is measured, decided on and told in one place, [Pressure]: four levels with hysteresis
// (pressure.go), and actions that are taken in order and taken back in the opposite one (pressure_actions.go). Two of them lose
// something, where that is allowed, and count it: a [Sampler] keeps a share of whole correlations behind the correlator
// (shed_sample.go), a [Shedder] takes out of a batch what is worth least (shed.go). What is gone stands in gap events, which say
// why.
//
// In the plan's words this is the PipelineManager ([Pipeline]), the AsyncWriterPool ([Pool]) and the BackpressureManager
// ([Pressure]), and the test points T2 and T3.
package pipeline
