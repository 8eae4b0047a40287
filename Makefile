# Veil. `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint fmt types contracts pytest test-matrix status soak vm faults bench fleet-bench schema lock clean

BIN := .venv/bin
# Sources may hold $ and quotes: they travel by the environment, unexpanded.
override export VEIL_DEMO_SOURCE := $(value SOURCE)
override export VEIL_DEMO_DURATION := $(value DURATION)
PYTEST_ARGS ?=
MATRIX_ARGS ?= tests -m "not slow"
# What these variables lengthen.
FAULT_TESTS ?= $(shell grep -rlE --include=test_*.py "VEIL_(FAULTS|BOXES|KILLS|MUTATIONS|HONEST|ROUNDS|HOSTILE)" tests)

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 16

setup:  ## system packages where that is allowed, and .venv from requirements.lock
	@.ci/setup

demo: setup  ## a camera, its anonymized stream and recordings; SOURCE=rtsp://… or /dev/video0, DURATION=20
	@exec $(BIN)/python -m veil.demo \
	    $${VEIL_DEMO_SOURCE:+--source "$$VEIL_DEMO_SOURCE"} $${VEIL_DEMO_DURATION:+--duration "$$VEIL_DEMO_DURATION"}

test: setup  ## set up and run everything, as CI does
	@$(MAKE) --no-print-directory check

check: lint types contracts pytest  ## everything, without setup

lint:  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:  ## mypy --strict
	$(BIN)/mypy

contracts:  ## which part may import which
	$(BIN)/lint-imports --no-cache

pytest:  ## the tests; PYTEST_ARGS="-k name" for some of them
	$(if $(PYTEST_ARGS),$(BIN)/python -m pytest -ra --durations=10 $(PYTEST_ARGS),.ci/tests)

fmt:  ## format and sort
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-matrix:  ## the quick tests on Python 3.11, 3.12 and 3.13
	@.ci/matrix $(MATRIX_ARGS)

status: setup  ## what the fleet manager says of boxes stays true: every case alone, and clocks that are set
	VEIL_STATUS=full $(BIN)/python -m pytest -ra -s --timeout=0 tests/status tests/fleet_whole/test_clock.py

soak: setup  ## the whole house with random kills of single processes; VEIL_SOAK_MINUTES=60
	VEIL_SOAK_MINUTES=$${VEIL_SOAK_MINUTES:-60} $(BIN)/python -m pytest -ra -s --timeout=0 tests/soak

# Root, QEMU and debootstrap: tests/appliance/README.md.
VM_FOLDER ?= build/vm
vm: setup  ## a Debian 12 in QEMU, Veil installed as docs/install.md says, a V4L2 camera of the kernel's; 30 minutes
	tests/appliance/build-image $(VM_FOLDER)
	VEIL_VM=$(VM_FOLDER) $(BIN)/python -m pytest -ra -s --timeout=0 tests/appliance

faults: setup  ## the long versions: 10,000 faults, 1,000 pairs of boxes, 200 kills, 100,000 mutations, 100,000 hostile payloads
	VEIL_FAULTS=10000 VEIL_BOXES=1000 VEIL_KILLS=200 VEIL_MUTATIONS=100000 VEIL_HONEST=1000 \
	    VEIL_ROUNDS=200 VEIL_HOSTILE=100000 $(BIN)/python -m pytest -ra --timeout=0 $(FAULT_TESTS)

bench: setup  ## speed and memory beside ffmpeg and deface; BENCH_ARGS=…
	@. .ci/lib.sh; fill_bench_environment .venv-bench $(BIN)/python bench/requirements.txt
	$(BIN)/python bench/run.py $(BENCH_ARGS)

fleet-bench: setup  ## 10,000 simulated boxes against one broker, collector, PostgreSQL; FLEET_ARGS="--boxes 100"
	PYTHONPATH=tests $(BIN)/python bench/fleet_load.py $(FLEET_ARGS)

schema:  ## edge-configs/ (schema.json, reference.toml) and docs/mqtt/ from the program
	$(BIN)/python -m veil.config_schema schema >edge-configs/schema.json.new
	$(BIN)/python -m veil.config_schema reference >edge-configs/reference.toml.new
	mv edge-configs/schema.json.new edge-configs/schema.json
	mv edge-configs/reference.toml.new edge-configs/reference.toml
	$(BIN)/python -m veil.messages.documents docs/mqtt

lock:  ## requirements.lock from pyproject.toml (needs uv: pip install uv)
	$(BIN)/uv pip compile --universal --python-version 3.11 --extra fleet --extra dev --generate-hashes --no-annotate --no-header \
	    pyproject.toml -o requirements.lock

clean:  ## what was made here, except recordings
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

-include models/models.mk
-include models/eval-video.mk
