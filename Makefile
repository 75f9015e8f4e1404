# Builds, runs and tests the service. `make help` lists the targets.
# Targets that need Python make .venv first, from the hash-locked requirements. They need
# Python 3.11 or newer and nothing else.

# The first Python that runs and is new enough. A name on the PATH may be a shim for a
# version that is not installed.
IS_SUPPORTED := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
VERSIONED := echo "$$PATH" | tr : '\n' | while read -r folder; do ls "$$folder" 2>/dev/null; done | \
	grep -E '^python3\.[0-9]+$$' | sort -u -t. -k2,2nr
PYTHON ?= $(shell for name in python3 $$($(VERSIONED)) python; do \
	$$name $(IS_SUPPORTED) 2>/dev/null && echo $$name && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
BROWSER_ARGS ?=
PEERS_ARGS ?=
TORTURE_ARGS ?=
FUZZ_EXAMPLES ?= 450
FUZZ_LEAST_CASES ?= 10000
NODE_MODULES := tests/dashboard/node_modules/.package-lock.json
KOTLIN_COMPILER := tests/clients/kotlin/node_modules/.package-lock.json
PEERS_VENV := .venv-peers
BACK_ENDS_VENV := .venv-back-ends
FUZZ_PACKAGES := .venv-fuzz
PEERS_NODE_MODULES := bench/peers/node/node_modules/.package-lock.json

.PHONY: run help test browser-test kotlin-test correlate-test fuzz attacks torture restarts lock-test coverage check format bench bench-batches bench-cluster bench-creation bench-durability bench-isolation \
	bench-latency bench-limits bench-memory bench-overload bench-peers bench-plan bench-process bench-scale bench-traces bench-validation reference screenshots lock dist clean
.DEFAULT_GOAL := run

run: $(VENV)/.runtime ## Start the service with an embedded, persistent Valkey (default)
	@exec $(BIN)/jay-tracking serve

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

test: $(VENV)/.dev ## Run the tests, TEST_ARGS="-n 2 tests/unit" for a part of them
	$(BIN)/pytest -m "not back_ends and not browser and not kotlin and not locks" $(TEST_ARGS)

browser-test: $(VENV)/.browser $(NODE_MODULES) ## Run the tests that need Chromium
	$(BIN)/pytest -m browser tests/browser $(BROWSER_ARGS)

kotlin-test: $(VENV)/.dev $(KOTLIN_COMPILER) ## Compile the Kotlin client and run its cases, needs Java and npm
	$(BIN)/pytest -m kotlin tests/clients $(TEST_ARGS)

# The requests differ each time, unless FUZZ_SEED is set.
fuzz: $(VENV)/.dev ## Send 10,000 or more generated requests, 2 to 4 minutes
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) FUZZ_LEAST_CASES=$(FUZZ_LEAST_CASES) $(BIN)/pytest -s tests/system/test_fuzz.py

torture: $(VENV)/.dev ## Break servers under load, 50 minutes. TORTURE_ARGS="kill-server --trials 10" for a part
	$(BIN)/python -m tests.torture $(TORTURE_ARGS)

restarts: $(VENV)/.dev ## Restart two instances behind nginx under load, 25 times each, 5 minutes
	RESTART_ROUNDS=25 $(BIN)/pytest -s tests/system/test_rolling_restart.py

# 1,400,000 inputs, of which three slow parsers reach a part within their 5 minutes.
attacks: $(VENV)/.dev $(FUZZ_PACKAGES)/.installed ## Attack the service for 40 minutes: the long runs of tests/attacks
	SLOW_CONNECTIONS=1000 FUZZ_EXAMPLES=5000 $(BIN)/pytest -v tests/attacks
	PYTHONPATH=$(FUZZ_PACKAGES) $(BIN)/python -m tests.attacks.fuzzing.coverage_guided 1400000

lock-test: $(VENV)/.dev ## Install each lock with each pip from the package index, 2 minutes
	$(BIN)/pytest -m locks tests/system/test_locks.py $(TEST_ARGS)

# CORRELATE_VISITS=1000 for the long run.
correlate-test: $(VENV)/.dev $(BACK_ENDS_VENV)/.installed ## Follow visits through nginx and two instrumented back ends
	BACK_ENDS_VENV=$(BACK_ENDS_VENV) $(BIN)/pytest -m back_ends tests/system/test_correlation.py $(TEST_ARGS)

coverage: $(VENV)/.dev ## Run the tests and list the lines that no test reaches
	$(BIN)/pytest -m "not back_ends and not browser and not kotlin and not locks" --cov --cov-report=term-missing:skip-covered $(TEST_ARGS)

check: $(VENV)/.dev ## Run the linter, the formatter's check and the type checker
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## Fix what the linter can fix, and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## Measure the CPU time of GET and POST
	$(BIN)/python -m bench.http

bench-batches: $(VENV)/.dev ## Measure how many batches should be in flight
	$(BIN)/python -m bench.batches

bench-cluster: $(VENV)/.dev ## Measure the time of Redis with a Cluster, 5 minutes
	$(BIN)/python -m bench.cluster

bench-creation: $(VENV)/.dev ## Measure the time of Redis for each new session
	$(BIN)/python -m bench.creation

bench-durability: $(VENV)/.dev ## Measure the price of redis.durability
	$(BIN)/python -m bench.durability

bench-isolation: $(VENV)/.dev ## Measure the longest call of each heavy request
	$(BIN)/python -m bench.isolation

bench-latency: $(VENV)/.dev ## Measure the latency of reads at a fixed rate
	$(BIN)/python -m bench.latency

bench-limits: $(VENV)/.dev ## Measure the cost of create_limit
	$(BIN)/python -m bench.limits

bench-memory: $(VENV)/.dev ## Measure the memory of a session in Redis
	$(BIN)/python -m bench.memory

bench-peers: $(VENV)/.dev $(PEERS_VENV)/.installed $(PEERS_NODE_MODULES) ## Measure the service beside others, 45 minutes
	$(BIN)/python -m bench.peers $(PEERS_ARGS)

bench-overload: $(VENV)/.dev ## Measure answers with more requests than a worker can serve, 3 minutes
	$(BIN)/python -m bench.overload

bench-plan: $(VENV)/.dev ## Measure the figures of the plan in docs/scaling.md, 4 minutes
	$(BIN)/python -m bench.plan

bench-process: $(VENV)/.dev ## Measure start-up, idle memory and answers during outages
	$(BIN)/python -m bench.process

bench-scale: $(VENV)/.dev ## Measure counts and users with 1,000,000 sessions
	$(BIN)/python -m bench.scale

bench-traces: $(VENV)/.dev ## Measure the cost of traces
	$(BIN)/python -m bench.traces

bench-validation: $(VENV)/.dev ## Measure the time that a validated session adds
	$(BIN)/python -m bench.validation

reference: $(VENV)/.dev ## Write lists of settings and metrics, and config.schema.json
	$(BIN)/python -m tools.reference

screenshots: $(VENV)/.browser ## Make the pictures in docs/images again, with Chromium
	$(BIN)/python -m tools.screenshots

# The locks name no download host. They are for every supported platform and Python.
COMPILE := $(BIN)/uv pip compile --system-certs --quiet --universal --generate-hashes --no-strip-extras --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --python-version 3.11
lock: $(VENV)/.dev ## Compile pyproject.toml into the locks in requirements/
	$(COMPILE) pyproject.toml --group build -o requirements/runtime.txt
	$(COMPILE) pyproject.toml --group build --extra otel -o requirements/otel.txt
	$(COMPILE) pyproject.toml --group dev --extra otel -o requirements/dev.txt
	$(COMPILE) pyproject.toml --group dev --extra otel --group browser -o requirements/browser.txt
	$(COMPILE) --constraint requirements/runtime.txt --group peers -o requirements/peers.txt
	$(COMPILE) --group fuzz -o requirements/fuzz.txt
	$(COMPILE) --group back-ends -o requirements/back-ends.txt

dist: $(VENV)/.dev ## Build the files of a release of the last commit into dist/
	rm -rf dist
	$(BIN)/python -m tools.dist

clean: ## Remove the virtual environments and all caches
	rm -rf tests/dashboard/node_modules tests/clients/kotlin/node_modules bench/peers/node/node_modules .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*

# Stamp files record what is installed. When a lock changes, make installs it again.
$(VENV)/.python:
	@test -n "$(PYTHON)" && "$(PYTHON)" $(IS_SUPPORTED) 2>/dev/null || { \
		echo "Python 3.11 or newer is needed: install it, or name one with 'make PYTHON=/path/to/python3 $(MAKECMDGOALS)'"; exit 1; }
	@rm -rf $(VENV)
	@"$(PYTHON)" -m venv $(VENV) || { echo "Python's venv module is missing: on Debian and Ubuntu install python3-venv"; exit 1; }
	@touch $@

# A lock is complete. With --no-deps pip resolves nothing, so a later release of a package
# changes nothing. Without it, pip before 24 takes the newest coverage for a requirement
# `coverage[toml]` that the lock pins as `coverage`.
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --no-deps
CHECK = report=$$($(PIP) check) || { echo "$$report"; exit 1; }

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml | $(VENV)/.python
	@echo "Installing into $(VENV) (once) ..."
	@$(INSTALL) --require-hashes -r requirements/runtime.txt
	@$(INSTALL) --no-build-isolation --editable .
	@$(CHECK)
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@$(CHECK)
	@touch $@

$(VENV)/.browser: requirements/browser.txt $(VENV)/.dev
	@$(INSTALL) --require-hashes -r requirements/browser.txt
	@$(CHECK)
	@touch $@

$(PEERS_VENV)/.installed: requirements/peers.txt | $(VENV)/.python
	@echo "Installing the peers into $(PEERS_VENV) (once) ..."
	@$(BIN)/python -m venv $(PEERS_VENV)
	@$(PEERS_VENV)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes -r requirements/peers.txt
	@touch $@

$(BACK_ENDS_VENV)/.installed: requirements/back-ends.txt | $(VENV)/.python
	@$(BIN)/python -m venv $(BACK_ENDS_VENV)
	@$(BACK_ENDS_VENV)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes -r $<
	@touch $@

$(FUZZ_PACKAGES)/.installed: requirements/fuzz.txt $(VENV)/.dev
	@$(INSTALL) --require-hashes --upgrade --target $(FUZZ_PACKAGES) -r requirements/fuzz.txt
	@touch $@

# Without npm, the comparison leaves out the Node servers and says so.
$(PEERS_NODE_MODULES): bench/peers/node/package-lock.json
	@if command -v npm >/dev/null; then cd bench/peers/node && npm ci --silent && touch ../../../$@; fi

# TypeScript checks the dashboard's JavaScript. Without npm, its test is skipped.
$(NODE_MODULES): tests/dashboard/package-lock.json
	@if command -v npm >/dev/null; then cd tests/dashboard && npm ci --silent && touch ../../$@; fi

# The Kotlin compiler has 90 MB. Without npm, the tests with it are skipped.
$(KOTLIN_COMPILER): tests/clients/kotlin/package-lock.json
	@if command -v npm >/dev/null; then cd tests/clients/kotlin && npm ci --silent && touch ../../../$@; fi
