# make demo: the main job on this machine's CPU, with the bundled weights and a sample scan.
# make test: the quick tests.   make test-all: everything.   make check: ruff and mypy.
PYTHON ?= python3
BIN := .venv/bin
DEMO := build/demo
# Python compiles what is imported when it is; all of torch would take a minute.
INSTALL := $(BIN)/pip install -q --disable-pip-version-check --no-compile
# Without npm the wheel and the images are made all the same, and cannot do --html.
VIEWER := $(if $(shell command -v npm),page-assets,no-viewer)

# One step after the other measures; in parallel they would measure each other.
.NOTPARALLEL:
.PHONY: demo test test-all check benchmarks benchmarks-scale benchmarks-flare benchmarks-ablation soak lock audit labels page-assets browser-page wheel benchmarks-node image image-cpu image-node no-viewer clean

demo: .venv/demo
	$(BIN)/python -m examples.demo $(DEMO)

test: .venv/dev
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal -m "not slow and not docker and not gpu"

test-all: .venv/dev .venv/fuzz
	$(BIN)/python -m pytest

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What RESULTS.md's sections 1, 3, 6 and 10 print, into build/; half an hour on two idle cores, and once
# 4 minutes for the peers' own environment.
TARGET := build/versus/phantoms/phantom_300_0000.nii.gz
benchmarks: .venv/dev
	test -x build/peers/.venv/bin/python || $(BIN)/python -m benchmarks.versus setup
	$(BIN)/python -m benchmarks.versus phantoms 300
	$(BIN)/python -m benchmarks.versus run --sizes 300 --model random --minutes 20 --out build/versus/target.json
	$(BIN)/python -m benchmarks.stages --case $(TARGET) --model random
	$(BIN)/python -m benchmarks.folder --case $(TARGET) --model random --scans 4
	$(BIN)/python -m benchmarks.nsd_speed
	$(BIN)/python -m benchmarks.compression build/versus/phantom_300/abdobox/phantom_300.nii.gz

# Section 2: hours.
benchmarks-scale: .venv/dev
	test -x build/peers/.venv/bin/python || $(BIN)/python -m benchmarks.versus setup
	$(BIN)/python -m benchmarks.versus run --tools abdobox monai nnunet --minutes 600 \
	    --sizes 55 100 150 215 334 448 499 554 --out build/versus/scale.json
	$(BIN)/python -m benchmarks.versus plot build/versus/scale.json

# Section 4: needs a Docker engine and the image.
benchmarks-flare: .venv/dev
	$(BIN)/python -m benchmarks.flare_harness --image abdobox:latest --simulate --out build/flare

# Section 11.
benchmarks-ablation: .venv/dev
	$(BIN)/python -m benchmarks.ablation tables
	$(BIN)/python -m benchmarks.ablation loss

# The node between real senders and a real Orthanc (Debian's orthanc and dcmtk): an hour.
benchmarks-node: .venv/dev
	$(BIN)/python -m benchmarks.node

# Half an hour of one process, on the machine as it is.
soak: .venv/dev
	$(BIN)/python -m benchmarks.soak --minutes 30

# The lock files that the images are installed from: every file of every pinned version, by SHA-256;
# and for which platforms these versions have wheels (tests/deploy/test_platforms.py).
lock: build/tools
	for name in requirements-cpu requirements requirements-node; do \
	    build/tools/bin/uv pip compile -q --no-header --generate-hashes --universal \
	        --python-version 3.11 $$name.txt -o $$name.lock && \
	    { echo "# Made by make lock from $$name.txt: every file of every pinned version, by SHA-256."; \
	        cat $$name.lock; } > build/$$name.lock && mv build/$$name.lock $$name.lock && \
	    build/tools/bin/uv pip compile -q --universal --python-version 3.11 --format pylock.toml \
	        $$name.lock -o build/pylock.$$name.toml || exit 1; \
	done
	build/tools/bin/python deploy/wheel_tags.py build/pylock.*.toml > build/wheels.json
	mv build/wheels.json deploy/wheels.json

# Known vulnerabilities of the locked versions, as PyPI's advisory service has them. Needs the network;
# --strict fails where a package could not be looked up.
audit: build/tools
	for name in requirements-cpu requirements requirements-node; do \
	    build/tools/bin/pip-audit --strict --disable-pip --require-hashes -r $$name.lock || exit 1; \
	done

build/tools:
	$(PYTHON) -m venv $@
	$@/bin/pip install -q --disable-pip-version-check uv==0.13.9 pip-audit==2.10.1

# dist/abdobox-*.whl, by the backend that requirements-dev.txt pins; needs no network once page-assets is made.
wheel: .venv/dev $(VIEWER)
	$(BIN)/pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w dist .

# NiiVue, which --html puts into its pages, as web/package-lock.json pins it, and the licences that it
# comes with. Needs npm and its registry, once.
page-assets: build/page/niivue.umd.js

build/page/niivue.umd.js: web/package.json web/package-lock.json web/gather.py web/LICENSE.niivue
	mkdir -p build/web && cp web/package.json web/package-lock.json build/web/
	cd build/web && npm ci --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error
	$(PYTHON) web/gather.py build/web/node_modules build/page

# build/browser/index.html: segments a scan that is dropped on it, without a server (docs/browser.md).
browser-page: .venv/dev page-assets
	mkdir -p build/web-browser && cp web/browser/package.json web/browser/package-lock.json build/web-browser/
	cd build/web-browser && npm ci --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error
	$(BIN)/python -m web.build_browser build/web-browser/node_modules build/browser

# ITK-SNAP's and 3D Slicer's files of labels/, after a change to inference/labels.py.
labels:
	$(BIN)/python -m inference.scan.label_tables labels

image: $(VIEWER)
	docker build -t abdobox:latest .

image-cpu: $(VIEWER)
	docker build --target cpu -t abdobox:cpu .

image-node: $(VIEWER)
	docker build --target node -t abdobox:node .

no-viewer:
	@test -f build/page/niivue.umd.js || echo "npm is missing: this is made without --html's viewer" >&2

.venv/pip:
	$(PYTHON) -m venv .venv
	touch $@

.venv/demo: .venv/pip requirements-demo.txt requirements-cpu.txt
	$(INSTALL) -r requirements-demo.txt
	touch $@

# torch first and by its exact version: what depends on it must not choose another.
.venv/dev: .venv/pip requirements-dev.txt requirements-cpu.txt requirements-node.txt requirements-oracles.txt
	$(INSTALL) -r requirements-dev.txt
	$(INSTALL) --no-deps -r requirements-oracles.txt
	touch $@

# There is not a wheel for every Python; the test that needs it says that it skips.
.venv/fuzz: .venv/dev requirements-fuzz.txt
	$(INSTALL) -r requirements-fuzz.txt || true
	touch $@

clean:
	rm -rf .venv build dist
