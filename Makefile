# Two commands: `make app` runs the workbench, `make test` runs every gate. Both set up what they need.
# Needed beforehand: python3.11 with its venv module, and make.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help app test lint types bench train data clean

export PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 8501
ARGS ?=
# Not the scripts in .venv/bin: they hold the folder's name, and a moved folder would break them.
RUN := .venv/bin/python

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' Makefile

app: ## Serve the workbench, on this machine only (PORT=8501)
	@.ci/setup app
	@exec $(RUN) -m streamlit run app.py --server.address 127.0.0.1 --server.port $(PORT)

test: lint types ## Run every gate (ARGS="-m 'not slow'" goes to pytest)
	@.ci/chromium
	$(RUN) -m pytest $(ARGS)

lint: ## Check style and format
	@.ci/setup test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: ## Check types
	@.ci/setup test
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(RUN) -m pyright

bench: ## Measure speed beside a peer, in a browser too (ARGS="a b" takes some suites)
	@.ci/setup test
	$(RUN) -m benchmarks $(ARGS)

train: ## Train a model into runs/ (ARGS="twin --seed 2"; without, the bundled recipe)
	@.ci/setup app
	$(RUN) -m workbench train $(or $(ARGS),bundled)

data: ## Build sample_data/ again from WordNet (Debian's wordnet-base)
	@.ci/setup app
	$(RUN) -m sample_data.build $(ARGS)

clean: ## Remove the environment and the caches; runs and data stay
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './runs/*' -prune -exec rm -rf {} +
