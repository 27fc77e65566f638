# The project's commands. On a fresh machine `make demo` and `make test` do everything, the environment included.
.DEFAULT_GOAL := help
.PHONY: help install lock demo test test-ml test-matrix lint bench bench-server fuzz faults crash clean
PYTEST := .venv/bin/python -m pytest
MINUTES ?= 20

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/.installed ## make .venv with everything, at the versions of requirements.lock

.venv/.installed: pyproject.toml requirements.lock .ci/make-venv .ci/find-python
	python=$$(.ci/find-python) && .ci/make-venv .venv "$$python" -r requirements.lock -e .
	touch $@

lock: ## write requirements.lock anew, with the newest versions that resolve
	.ci/lock

demo: install ## write a few COGs, serve them, reference them, open them with plain zarr and xarray, compare
	.venv/bin/rasteret-refs demo

test: install ## all tests: two processes, then what measures time or memory, alone
	$(PYTEST) -q -n 2 --dist loadfile -m "not alone and not campaign"
	$(PYTEST) -q -m "alone and not campaign"

test-ml: .venv-ml/.installed ## what needs torch and torchgeo themselves, in an environment of its own
	.venv-ml/bin/python -m pytest -q -W default tests/ml_torch
	.venv-ml/bin/python -m pytest -q -W default tests/notebooks -k 03_

.venv-ml/.installed: pyproject.toml .ci/make-venv .ci/find-python
	python=$$(.ci/find-python) && .ci/make-venv .venv-ml "$$python" -e ".[ml,fast]" \
	  hypothesis jupyter nbclient ipykernel matplotlib psutil pytest pytest-asyncio pytest-timeout tifffile
	touch $@

test-matrix: ## the plain route and the codecs on CPython 3.12 and 3.13, pandas 2 and 3, lowest and newest zarr and numcodecs
	.ci/test-matrix

lint: install ## style, types, layers
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: install .venv-bench/.installed ## the measured comparisons, at their full sizes; on a machine that does nothing else
	RASTERET_REFS_PEERS_PYTHON=$${RASTERET_REFS_PEERS_PYTHON:-$(CURDIR)/.venv-bench/bin/python} .venv/bin/python -m tests.benchmarks

.venv-bench/.installed: tests/benchmarks/requirements-peers.txt .ci/make-venv .ci/find-python
	python=$$(.ci/find-python) && .ci/make-venv .venv-bench "$$python" -r tests/benchmarks/requirements-peers.txt
	touch $@

bench-server: ## nginx with its Lua module, which serves the benchmarks' files (Debian, Ubuntu; needs root)
	apt-get install -y --no-install-recommends nginx libnginx-mod-http-lua

fuzz: install ## mutated TIFFs (41 seeds × 500) and sets, then atheris over parser, codecs and set reader, MINUTES of processor time each
	RASTERET_REFS_SEEDS=41 RASTERET_REFS_MUTATIONS=500 RASTERET_REFS_SET_CASES=5000 $(PYTEST) -q -s --timeout 7200 \
	  tests/trust/test_mutations.py tests/trust/test_findings.py tests/trust/test_set_mutations.py
	$(MAKE) .venv-fuzz/.installed || { echo "NOT FUZZED: atheris cannot be installed here; only the mutations above ran" >&2; exit 1; }
	PYTHONPATH=.:codecs .venv-fuzz/bin/python -m tests.trust.fuzz parser codecs sets --minutes $(MINUTES)

.venv-fuzz/.installed: pyproject.toml requirements.lock .ci/make-venv .ci/find-python
	python=$$(.ci/find-python) && .ci/make-venv .venv-fuzz "$$python" -r requirements.lock -e . atheris
	.venv-fuzz/bin/python -c "import atheris"
	touch $@

faults: install ## 5,000 faulty responses, storms of 503 over 2,000 files and tiles, damaged, changed and hostile sets
	RASTERET_REFS_FAULTS=5000 RASTERET_REFS_STORM=2000 $(PYTEST) -q -s --timeout 7200 tests/trust/test_faults.py
	$(PYTEST) -q -s tests/trust/test_damage.py tests/trust/test_changed.py tests/trust/test_hostile_sets.py tests/trust/test_secrets.py \
	  tests/trust/test_attacks_*.py

crash: install ## kill -9 and resume at 200 points, 100 races of two writers, full disks, workers of every kind
	RASTERET_REFS_POINTS=200 RASTERET_REFS_RACES=100 $(PYTEST) -q -s --timeout 7200 tests/trust/test_crash.py tests/trust/test_workers.py

clean: ## remove environments, caches and the demo's output
	rm -rf .venv .venv-* demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
