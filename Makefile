# Everything is set up by the targets themselves: a bare Debian with Python 3.11 and gcc is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NAME ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench format protos clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make the virtual environment and install everything

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) deploy/setup.py $(VENV)
	@touch $@

demo: $(STAMP) ## Run a three-region fleet on real traffic; report in out/demo
	$(BIN)/nervure simulate three-regions --out out/demo

test: $(STAMP) ## Run all tests
	$(BIN)/pytest

check: $(STAMP) ## Format, lint, types, import contracts, wire contract, wheel
	$(BIN)/python deploy/check.py

bench: $(STAMP) $(VENV)/.bench ## Run a benchmark: make bench NAME=edge (without a name: list them)
	$(BIN)/python -m benchmarks $(NAME)

$(VENV)/.bench: $(STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --group bench
	@touch $@

format: $(STAMP) ## Format and mend what the linter can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

protos: $(STAMP) ## Write the code of the wire contract anew
	$(BIN)/python protos/generate.py

clean: ## Remove the virtual environment and everything made
	rm -rf $(VENV) out dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
