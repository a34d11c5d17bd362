# Everything from nothing but Python >= 3.11 and make: the first target that needs it builds .venv.
PYTHON ?= python3
UV := .venv/bin/uv
RUN := .venv/bin/

.PHONY: setup demo serve test check lint types layers tidy bench chaos build clean

setup: .venv/.synced

.venv/.synced: pyproject.toml uv.lock sdk/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Posthouse needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@test -x $(UV) || { $(PYTHON) -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check uv; }
	@UV_PROJECT_ENVIRONMENT=.venv $(UV) sync --frozen --inexact --quiet --compile-bytecode --python .venv/bin/python
	@touch $@

demo: setup ## the whole story in one command; KEEP=1 leaves it running
	$(RUN)posthouse demo $(if $(KEEP),--keep)

serve: setup ## a server on 127.0.0.1:8080 that accepts loopback targets
	$(RUN)posthouse serve --dev

test: setup ## every test
	$(RUN)python -m pytest

check: lint types layers tidy ## what a reviewer should not have to say

lint: setup
	$(RUN)ruff check .
	$(RUN)ruff format --check .

types: setup
	$(RUN)mypy

layers: setup
	$(RUN)lint-imports

tidy: setup
	$(RUN)python -m pytest -q tests/tidy

bench: setup ## one table of measured figures; BENCH_JSON=path writes them
	$(RUN)python -m bench $(if $(BENCH_JSON),--json $(BENCH_JSON))

chaos: setup ## kill -9, longer than in the default suite
	POSTHOUSE_CHAOS_KILLS=60 $(RUN)python -m pytest -q tests/chaos

build: setup
	$(UV) build

clean:
	rm -rf .venv dist .pytest_cache .mypy_cache .ruff_cache
