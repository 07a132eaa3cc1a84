# Recur's commands. `make help` lists them; each sets up what is missing first.
PYTHON ?= python3
BIN := .venv/bin
# Of the tests a worker, of which there is one a core.
ONE_THREAD := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1
# What a lock is made with; versions that it holds already stay, as long as they fit.
COMPILE := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links
.DEFAULT_GOAL := help
.PHONY: setup run test quick up check bench lint docs clean lock help

setup: ## the environment only, in .venv
	@command -v $(PYTHON) >/dev/null || { echo "setup: $(PYTHON) is not on PATH: install Python 3.11, 3.12 or 3.13" >&2; exit 1; }
	@$(PYTHON) pipeline/runtime/bootstrap.py

run: setup ## the main job on the bundled data: every night not yet done, then the report
	@$(BIN)/recur run

test: setup ## the tests; what is skipped is counted and named
	@$(ONE_THREAD) $(BIN)/python -m pytest -rs -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

quick: setup ## the tests that train nothing and start no service: within two minutes
	@$(ONE_THREAD) $(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 4 --dist loadfile

up: setup ## Airflow, the MLflow UI and the analysts' page on loopback, until Ctrl-C
	@$(BIN)/recur up

check: setup ## the long checks, or one of them: make check NAME=main_job
	@$(BIN)/python -m tests.checks $(NAME)

bench: setup ## the benchmarks, or one of them: make bench NAME=feature-build
	@$(BIN)/python -m benchmarks $(NAME)

lint: setup ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: setup ## the pages under docs/ that are written from the code
	@$(BIN)/python -m docs.generate

clean: ## remove what was set up and made, var/ with its predictions included
	rm -rf .venv var build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: ## write requirements.lock, and docker/requirements.lock without the tests' packages, from pyproject.toml
	@command -v uv >/dev/null || { echo "lock: uv is not on PATH: install it (pipx install uv)" >&2; exit 1; }
	@uv pip compile $(COMPILE) --extra dev --output-file requirements.lock pyproject.toml >/dev/null
	@uv pip compile $(COMPILE) --extra build --constraint requirements.lock --output-file docker/requirements.lock \
	pyproject.toml >/dev/null
	@for lock in requirements.lock docker/requirements.lock; do \
	{ echo "# Packages with their hashes; written by \`make lock\` from pyproject.toml."; grep -v '^# ' $$lock; } \
	> $$lock.new && mv $$lock.new $$lock; done

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
