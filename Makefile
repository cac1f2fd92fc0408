# Every target is one command that also works by hand; nothing is hidden here.
.PHONY: build demo test test-layer2 test-storage test-performance test-load accuracy bench mutation

build: ## bin/pastcone
	go build -o bin/pastcone ./cmd/pastcone

demo: ## record a real service under load and explain its error
	go run ./cmd/pastcone demo

test: ## everything that decides whether a change is good
	go run ./acceptance

accuracy: ## how often the correlator is right, and right to call itself exact, against the oracle
	go run ./bench/accuracy

mutation: ## break the rules of causality one by one: a test has to notice each
	go run ./bench/mutation

bench: ## every figure that the engine was promised to reach, in one table: minutes
	go run ./bench/engine

test-performance: ## the same with a tenth of the events, once
	go run ./bench/engine -quick
