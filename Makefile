# Everything from nothing but Python >= 3.11 and make: the first target that needs it builds .venv.
PYTHON ?= python3
UV := .venv/bin/uv
RUN := .venv/bin/

.PHONY: setup demo serve test test-databases test-browser check lint types layers tidy ui ui-packages ui-types check-ui reference docs pages bench chaos simulate mutants build clean

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

test: setup ## what works, in four processes; TEST_ARGS="-n 0 tests/unit" for some of it in one (how it is written is `make tidy`)
	@# They start hundreds of programs: what is compiled is kept, whatever the surroundings say, so that each starts sooner.
	PYTHONDONTWRITEBYTECODE= $(RUN)python -m pytest -n 4 --dist loadfile --ignore tests/tidy $(TEST_ARGS)

test-databases: ## installs MariaDB, Redis, nginx and PgBouncer where that is permitted; without them `make test` names what it skips
	sh tests/programs.sh servers

test-browser: ## installs Chromium, for the tests of the console, where that is permitted
	sh tests/programs.sh browser

check: lint types layers tidy pages ## what a reviewer should not have to say

lint: setup
	$(RUN)ruff check .
	$(RUN)ruff format --check .

types: setup
	$(RUN)mypy

layers: setup
	$(RUN)lint-imports

tidy: setup
	$(RUN)python -m pytest -q tests/tidy

# The console and the portal. Only those who change them need Node; what they build is committed, and the wheel has it.
NODE := $(shell command -v node 2>/dev/null)
CONSOLE := src/posthouse/console

ui/node_modules/.installed: ui/package.json ui/package-lock.json
	@test -n "$(NODE)" || { echo "the console is built with Node.js 20.19 or newer, and there is no \`node\` here" >&2; exit 1; }
	cd ui && npm ci --no-audit --no-fund --silent
	@touch $@

ui-packages: ui/node_modules/.installed

ui-types: setup ui-packages ## ui/src/api/schema.d.ts, from the API's own document
	@mkdir -p ui/src/api
	$(RUN)python -m ui.sources openapi > ui/src/api/openapi.tmp
	cd ui && npx --no-install openapi-typescript src/api/openapi.tmp -o src/api/schema.d.ts
	@rm -f ui/src/api/openapi.tmp

ui: ui-types ## the console and the portal into $(CONSOLE), with a hash of what it was built from; commit it
	cd ui && npx --no-install tsc --noEmit && npx --no-install vite build
	$(RUN)python -m ui.sources hash $(CONSOLE)

check-ui: ui-types ## are the pages that are committed those that their sources make?
	@built=$$(mktemp -d) && trap 'rm -rf "$$built"' EXIT && (cd ui && npx --no-install tsc --noEmit \
		&& npx --no-install vite build --logLevel warn --outDir "$$built" --emptyOutDir) \
		&& $(RUN)python -m ui.sources hash "$$built" && $(RUN)python -m ui.sources compare "$$built"

reference: setup ## docs/{en,zh}/reference from the code; after a change of settings, routes, commands, errors, metrics, limits
	$(RUN)python -m docs.generate

docs: reference pages ## both languages into docs/_build/{en,zh}

# A warning is an error: a link that leads nowhere, a page that no index names.
pages: setup
	@UV_PROJECT_ENVIRONMENT=.venv $(UV) sync --frozen --inexact --quiet --group docs --python .venv/bin/python
	DOCS_LANGUAGE=en $(RUN)sphinx-build -W --keep-going -q -c docs -d docs/_build/.doctrees/en docs/en docs/_build/en
	DOCS_LANGUAGE=zh $(RUN)sphinx-build -W --keep-going -q -c docs -d docs/_build/.doctrees/zh docs/zh docs/_build/zh

bench: setup ## all figures but the longest, in a quarter of an hour; BENCH_JSON=path, BENCH_CHART=path.svg, BENCH_ARGS=--quick or '--only backlog,stored,soak'
	@UV_PROJECT_ENVIRONMENT=.venv $(UV) sync --frozen --inexact --quiet --group bench --python .venv/bin/python
	$(RUN)python -m bench $(if $(BENCH_JSON),--json $(BENCH_JSON)) $(if $(BENCH_CHART),--chart $(BENCH_CHART)) $(BENCH_ARGS)

chaos: setup ## kill -9, stops past the lease, severed and stalled connections; POSTHOUSE_CHAOS_SECONDS=240, SEED=1 for that plan alone
	POSTHOUSE_CHAOS_KILLS=60 POSTHOUSE_CHAOS_SECONDS=$(or $(POSTHOUSE_CHAOS_SECONDS),240) SEED=$(SEED) \
		$(RUN)python -m pytest -q -s $(if $(SEED),tests/chaos/test_chaos.py,tests/chaos)

simulate: setup ## histories of the engine in virtual time; SEEDS=300 or 1000-2000, SEED=17 for one (TELL=1: all that happens), JOBS=2
	PYTHONHASHSEED=0 $(RUN)python -m tests.simulation $(if $(SEED),=$(SEED),$(or $(SEEDS),300)) --jobs $(if $(SEED),1,$(or $(JOBS),2)) $(if $(TELL),--tell)

mutants: setup ## is every bug of tests/simulation/mutations found? ONLY=name, SEEDS=300, JOBS=2
	PYTHONHASHSEED=0 $(RUN)python -m tests.simulation.mutants --only "$(ONLY)" --seeds $(or $(SEEDS),300) --jobs $(or $(JOBS),2)

build: setup
	$(UV) build

clean:
	rm -rf .venv dist docs/_build .pytest_cache .mypy_cache .ruff_cache
