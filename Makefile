# make demo: the main job on this machine's CPU, with the bundled weights and a sample scan.
# make test: the quick tests.   make test-all: everything.   make check: ruff and mypy.
PYTHON ?= python3
BIN := .venv/bin
DEMO := build/demo

.PHONY: demo test test-all check benchmarks image image-cpu clean

demo: .venv/demo
	$(BIN)/python -m examples.demo $(DEMO)

test: .venv/dev
	$(BIN)/python -m pytest -m "not slow and not docker and not gpu"

test-all: .venv/dev
	$(BIN)/python -m pytest

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The peers' own environment is made once (4 minutes); the rest takes a quarter of an hour.
benchmarks: .venv/dev
	test -x build/peers/.venv/bin/python || $(BIN)/python -m benchmarks.versus setup
	$(BIN)/python -m benchmarks.versus phantoms 300
	$(BIN)/python -m benchmarks.versus run --sizes 300 --model random --out build/versus/target.json
	$(BIN)/python -m benchmarks.stages --case build/versus/phantoms/phantom_300_0000.nii.gz --model random

image:
	docker build -t abdobox:latest .

image-cpu:
	docker build --target cpu -t abdobox:cpu .

.venv/pip:
	$(PYTHON) -m venv .venv
	touch $@

.venv/demo: .venv/pip requirements-demo.txt requirements-cpu.txt
	$(BIN)/pip install -q --disable-pip-version-check -r requirements-demo.txt
	touch $@

# torch first and by its exact version: what depends on it must not choose another.
.venv/dev: .venv/pip requirements-dev.txt requirements-cpu.txt requirements-oracles.txt
	$(BIN)/pip install -q --disable-pip-version-check -r requirements-dev.txt
	$(BIN)/pip install -q --disable-pip-version-check --no-deps -r requirements-oracles.txt
	touch $@

clean:
	rm -rf .venv build
