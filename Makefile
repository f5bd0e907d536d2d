# make demo and make test need only a fresh clone, Python >= 3.11 and make: they set up .venv by themselves.
SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.labtui-installed
LAB ?= lab.db

# One thread per process: the tests and the workers bring their own parallelism.
export OMP_NUM_THREADS ?= 1
# A test may start ten processes: they should not compile all of labtui each, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-all test-faults test-ray bench snapshots lint format install

help:
	@echo "make demo         train the preset quick for real and show kappa (LAB=FILE, default lab.db)"
	@echo "make test         lint, types and all tests but the slow ones"
	@echo "make test-all     the slow tests too, and other random draws each time (SEED=N: the same again)"
	@echo "make test-faults  the whole kill matrix: real processes are killed at every state"
	@echo "make test-ray     the pool on a Ray cluster of this machine (installs the extra ray); FULL=1: 20 rounds"
	@echo "make bench        the CPU benchmarks, against eager PyTorch and JAX, about twelve minutes"
	@echo "make snapshots    take the pictures of the screens anew, where a change of looks is meant"
	@echo "make lint         ruff and mypy alone; make format rewrites"

install: $(STAMP)

# The first of python3, python3.13, ... that really runs, is new enough and can make a venv (a version
# manager's shim may exist and fail; a system's python may come without ensurepip).
$(STAMP): pyproject.toml constraints.txt
	@set -e; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		for p in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 python; do \
			if $$p -c 'import sys, venv, ensurepip, sqlite3; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
			then found=$$p; break; fi; \
		done; \
		if [ -z "$$found" ]; then echo "labtui needs Python >= 3.11 with venv; found none. Try: make PYTHON=/path/to/python3.11" >&2; exit 2; fi; \
		echo "setting up $(VENV) with $$($$found --version)"; \
		$$found -m venv --clear $(VENV); \
	fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,dev]'
	@touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/labtui demo --lab $(LAB)

# Tests at once: on two cores four of them, since every other one waits for processes that it started; whoever
# has done its own takes from the others.
AT_ONCE ?= 4
SPREAD = -n $(AT_ONCE) --dist worksteal

test: lint
	$(BIN)/python -m pytest $(SPREAD) -m "not slow and not ray"

# What is drawn at random differs from run to run: SEED=N repeats one.
ifndef SEED
SEED := $(shell date +%s)
endif
RANDOM_DRAWS = --hypothesis-profile=random --hypothesis-seed=$(SEED)

test-all: lint
	@echo "seed $(SEED)"
	$(BIN)/python -m pytest $(SPREAD) -m "not ray" $(RANDOM_DRAWS)

test-faults: $(STAMP)
	@echo "seed $(SEED)"
	$(BIN)/python -m pytest tests/faults -m "faults or not faults" $(RANDOM_DRAWS)

RAY_STAMP := $(VENV)/.labtui-ray-installed
$(RAY_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,dev,ray]'
	@touch $(RAY_STAMP)

# One process: a cluster of three nodes is a dozen processes by itself.
test-ray: $(RAY_STAMP)
	$(BIN)/python -m pytest tests/ray -m "ray $(if $(FULL),,and not slow)"

# Two cores, and what takes one has one: engine, and beside it its other models, search and speculation, by
# processor time, then data by the clock.
bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@out=$$(mktemp); trap 'rm -f "$$out"' EXIT; trap 'exit 130' INT TERM; \
	measure() { \
		echo "== python -m benchmarks.$$*"; began=$$(date +%s); $(BIN)/python -m benchmarks.$$* || return; \
		echo "   ($$(($$(date +%s) - began)) s)"; \
	}; \
	( measure engine --which others --core 1 --T 10 --jax quick --at-once 3 15 --turns 2 && \
		measure search && measure speculation && measure data ) > "$$out" 2>&1 & \
	measure engine --which sizes --T 10 --jax quick --at-once 3 15 --turns 2; bad=$$?; \
	wait $$! || bad=1; cat "$$out"; [ $$bad = 0 ] && \
	measure pipeline && measure store && measure tui --quick

snapshots: $(STAMP)
	$(BIN)/python -m pytest tests/tui/test_snapshots.py --snapshot-update

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
