# What a developer runs. `make help` lists it; CONTRIBUTING.md says more.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build demo demo-down test unit fuzz e2e cluster programs bench crds

# Every build here names the target, so that unit tests, end-to-end tests and the programs they start share one cache,
# and links libc in, so that the programs run in an image without any library.
TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
VARIABLE := CARGO_TARGET_$(shell tr a-z- A-Z_ <<<'$(TARGET)')
export CARGO_BUILD_TARGET := $(TARGET)
export $(VARIABLE)_RUSTFLAGS := -C target-feature=+crt-static
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export CONTEXT

OUT := $(CARGO_TARGET_DIR)/$(TARGET)
STEP := e2e/step
DEMO := LESSOR_BINARY=$(OUT)/release/lessor LESSOR_AGENT_BINARY=$(OUT)/agent/lessor-agent
# The tests have a cluster of their own, so that they leave a running demo alone; all logs are at their most talkative,
# because the tests look for secrets in them.
TEST := LESSOR_CLUSTER=$${LESSOR_CLUSTER:-lessor-test} LESSOR_BINARY=$(OUT)/debug/lessor LESSOR_AGENT_BINARY=$(OUT)/agent/lessor-agent \
  LESSOR_LOG_LEVEL=debug
# They wait more than they work.
ON_CLUSTER := RUST_TEST_THREADS=$${RUST_TEST_THREADS:-3} $(VARIABLE)_RUNNER=$(CURDIR)/e2e/on-cluster env $$(e2e/compat/prepare) $$(e2e/logins/prepare)
E2E := cargo test --locked --workspace --test main
# Its users live hardly longer than two rollouts, which other tests beside it would slow down.
ALONE := rollouts::load::nobody_is_refused_while_users_change_under_a_slow_rollout
AGENT := cargo build --locked --profile agent --package lessor --no-default-features --features agent --bin lessor-agent

help: ## list these targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
	@echo '  CONTEXT=NAME       demo, demo-down, test and e2e on a cluster of your kubeconfig instead of one of their own'

build: ## the two programs as they are released, linked statically
	@$(STEP) 'building lessor (release)' cargo build --locked --release --package lessor --bin lessor
	@$(STEP) 'building lessor-agent' $(AGENT)
	@ls -lh $(OUT)/release/lessor $(OUT)/agent/lessor-agent | awk '{ print "  " $$NF ", " $$5 "B" }'

demo: build ## show the main job on a real cluster, from nothing; leaves the cluster running
	@$(DEMO) e2e/prepare-cluster
	@$(DEMO) e2e/demo

demo-down: ## remove what `make demo` made
	@e2e/demo down

test: unit e2e ## all tests: unit, API, drivers, end to end on a real cluster

unit: programs ## the tests that need nothing but cargo
	@$(STEP) 'unit tests' cargo test --locked --workspace --lib --bins

fuzz: ## libFuzzer on what people and clients write, 30 s for each target (LESSOR_FUZZ_SECONDS)
	@fuzz/run

e2e: programs ## the tests with real servers and a real cluster
	@$(STEP) 'building lessor-agent' $(AGENT)
	@$(STEP) 'the example applications (Python, Node, Go, Java)' bash -ec 'e2e/examples/prepare >/dev/null'
	@$(STEP) 'what people log in with: OpenLDAP, an OpenID provider' e2e/logins/prepare
	@$(STEP) 'clients of Vault: hvac, vault/api, node-vault, vaultrs' e2e/compat/prepare
	@$(STEP) 'PgBouncer' e2e/databases/pgbouncer
	@$(STEP) 'PostgreSQL 15 to 18' bash -ec 'for version in 15 16 17 18; do e2e/databases/postgres $$version; done'
	@$(TEST) e2e/prepare-cluster
	@[ -n "$$CONTEXT" ] || $(TEST) $(STEP) 'cluster: the images of the examples and of an agent with a shell' e2e/cluster/images examples toolbox
	@$(TEST) $(STEP) 'installing the chart' e2e/on-cluster e2e/install
	@$(TEST) $(ON_CLUSTER) $(STEP) 'end-to-end tests' $(E2E) -- $(if $(TESTS),$(TESTS),--skip $(ALONE))
	@[ -n "$(TESTS)" ] || $(TEST) $(ON_CLUSTER) $(STEP) 'rotation under load' $(E2E) -- --exact $(ALONE) --nocapture
	@[ -n "$$CONTEXT" ] || $(TEST) $(STEP) 'taking the cluster down' e2e/cluster/down

# Programs and tests in one go, and always of the whole workspace: cargo builds most dependencies a second time for another
# selection, because the packages switch different features of them on.
programs:
	@$(STEP) 'building the programs and the tests' cargo build --locked --workspace --all-targets

bench: build ## measure engine (beside pgbench and a PEER), agent, operator and webhook; writes bench/RESULTS.md
	@$(STEP) 'building the load generator' cargo build --locked --release --package lessor-e2e --bin bench
	@$(DEMO) bench/run $(OUT)/release/bench
	@$(DEMO) bench/on-cluster $(OUT)/release/bench

crds: programs ## write the generated CustomResourceDefinitions
	@e2e/generate
