# The project's commands. On a fresh machine `make demo` and `make test` do everything, the environment included.
.DEFAULT_GOAL := help
.PHONY: help install lock demo test test-ml test-matrix lint bench fuzz clean
PYTEST := .venv/bin/python -m pytest

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
	python=$$(.ci/find-python) && .ci/make-venv .venv-ml "$$python" -e ".[ml]" \
	  hypothesis jupyter nbclient ipykernel matplotlib psutil pytest pytest-asyncio pytest-timeout tifffile
	touch $@

test-matrix: ## the plain route and the codecs on CPython 3.12 and 3.13, pandas 2 and 3, lowest and newest zarr and numcodecs
	.ci/test-matrix

lint: install ## style, types, layers
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: install ## the measured comparisons, at their full sizes
	.venv/bin/python -m tests.benchmarks

fuzz: install ## longer random campaigns over the parser and the codecs
	$(PYTEST) -q -m campaign tests

clean: ## remove environments, caches and the demo's output
	rm -rf .venv .venv-* demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
