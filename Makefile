# Every target is one command that also works by hand; nothing is hidden here.
.PHONY: build demo test test-layer2 test-storage test-performance test-load accuracy conformance bench bench-capture plan-long mutation fuzz

build: ## bin/pastcone
	go build -o bin/pastcone ./cmd/pastcone

demo: ## record a real service under load and explain its error
	go run ./cmd/pastcone demo

test: ## everything that decides whether a change is good
	go run ./acceptance

accuracy: ## how often the correlator is right, and right to call itself exact, against the oracle
	go run ./bench/accuracy

conformance: ## programs that are recorded do what they do otherwise, and what is recorded is what happened: the Go tree's, its library's tests, other people's; 10 M receives by value; kills
	go test -count=1 -timeout 30m -tags conformance ./internal/instrument/... ./internal/source/capture/symbols
	go run ./acceptance/conformance -write bench/results/conformance.txt

mutation: ## break the rules of causality one by one: a test has to notice each
	go run ./bench/mutation

bench: ## every figure that the engine was promised to reach, in one table: minutes
	go run ./bench/engine

bench-capture: ## what it costs a Go program to be recorded, in one table, with references in the same run: minutes
	go run ./bench/capture

plan-long: ## the plan's own rates for the plan's own times, 10,000/s for ten minutes and 20,000/s for 30 s; the report stays in bench/results
	go run ./bench/engine -strict -only plan-rates -runs 1 -sustained $(PLAN_SUSTAINED) -burst $(PLAN_BURST) > bench/results/plan-long.part; \
	status=$$?; test -s bench/results/plan-long.part && mv bench/results/plan-long.part bench/results/plan-long.md && cat bench/results/plan-long.md; \
	rm -f bench/results/plan-long.part; exit $$status
PLAN_SUSTAINED = 10m
PLAN_BURST = 30s

test-performance: ## the same with a tenth of the events, once
	go run ./bench/engine -quick

test-layer2: ## pipeline, correlator and its judge, queries, and the whole flow
	go test -count=1 ./internal/ring ./internal/pipeline ./internal/intake ./internal/correlate/... ./internal/oracle/... ./internal/query/... ./internal/recorder

test-storage: ## the recording on disk: crashes, damage, recovery, readers beside a writer
	go test -count=1 ./internal/store/... ./internal/wire

test-load: ## what loads the flow and what makes it fail, at T1 to T5, with the race detector
	go test -race -count=1 -run '^TestT[1-5]_|^TestSender_|^TestSource_|^TestServer_|Kill|Writers|Readers' ./internal/ring ./internal/pipeline ./internal/recorder ./internal/store ./internal/server ./client ./probe

fuzz: ## every decoder and the query parser for a share of two minutes
	go run ./acceptance -only fuzz
