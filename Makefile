# Every target sets up what it needs: a virtual environment in .venv, from the package registry, once.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Its latencies count only where no other test runs.
ALONE := tests/serve/test_overload.py
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test lint check-types check-imports test-slow test-gpu test-network bench-gate fuzz demo-corpus clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.core ## Serve live streams on the embedded engine and show what becomes of them under load
	$(BIN)/auricle bench live --spawn "--engine fastconformer --threads 1 --admission off" --corpus demo-digits \
		--normaliser basic --concurrency 1,64,128,256,512 --seconds 20; \
		status=$$?; $(BIN)/auricle report; exit $$status

test: lint check-types check-imports ## Run the linter, the type checker, the import rules and the tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m "not slow and not gpu and not network" --ignore $(ALONE)
	$(BIN)/pytest $(ALONE)

lint: $(VENV)/.dev ## Check style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

check-types: $(VENV)/.dev ## Check types strictly
	$(BIN)/mypy

check-imports: $(VENV)/.dev ## Check that imports point one way
	$(BIN)/lint-imports

test-slow: $(VENV)/.dev ## Run the tests that take minutes, and search for counter-examples
	$(BIN)/pytest -m slow
	HYPOTHESIS_PROFILE=searching $(BIN)/pytest -m "not slow and not gpu and not network" -k "writers or buffer or stability"

test-gpu: $(VENV)/.dev ## Run the tests that need a CUDA device
	$(BIN)/pytest -m gpu

test-network: $(VENV)/.dev ## Run the tests that need the internet
	$(BIN)/pytest -m network

bench-gate: $(VENV)/.core ## Hold this build to a kept baseline: quality, time and memory; write the report
	AURICLE=$(BIN)/auricle bash bench/gate.sh

fuzz: $(VENV)/.dev ## Feed the audio decoder mutated files for five minutes
	$(BIN)/python tools/fuzz_audio.py --seconds 300

demo-corpus: $(VENV)/.dev ## Make the shipped demo corpus again (needs flite)
	$(BIN)/python tools/make_demo_corpus.py

clean: ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/python
	$(PIP) install --editable ".[torch]" torch==2.13.0
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) install --editable ".[sherpa,synth,dev]"
	@touch $@ $(VENV)/.core
