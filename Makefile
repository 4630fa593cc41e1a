# `make demo` shows Forewarn at work; `make test` is all that a change must pass. `make help` lists the rest.

# Coverage, in per cent of lines and branches, that `make test` asks for: over all, and of the pure core.
COVERAGE ?= 90
COVERAGE_CORE ?= 100
CORE := src/forewarn/domain/*,src/forewarn/features/*,src/forewarn/decide/*,src/forewarn/act/*

# The Python that .venv is made with (3.11 or newer), passed on to `forewarn demo`, and whether
# `make test` may install system packages.
PYTHON ?= python3
ARGS ?=
TESTS ?= -m "not nightly"
LAB ?= 1

VENV := .venv
BIN := $(VENV)/bin
# Wheels by their hashes, and nothing that the lock does not name; modules are compiled when they are first imported.
LOCKED := --quiet --require-hashes --no-deps --only-binary :all: -r
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --no-compile
# The binding to libvirt comes as source: built with the .venv's Python where libvirt's headers are, else left out.
BINDING := $(if $(shell pkg-config --exists libvirt 2>/dev/null && echo found),$(VENV)/.libvirt)
QUICK := $(wildcard tests/house tests/unit tests/contract tests/scenarios tests/properties)
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal \
	--python-version 3.11 --fork-strategy fewest --generate-hashes --no-emit-index-url --no-emit-find-links

# Debian keeps what root runs in sbin, which a root by `su` or of a build has not on its path.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

.NOTPARALLEL:
.PHONY: help demo setup test nightly system tests check format lint types contracts bench docs lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /    make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

demo: $(VENV)/.demo  ## a simulated cluster, this machine among it, and the dashboard (ARGS="--once --json" ends by itself)
	@$(BIN)/forewarn demo $(ARGS)

setup: $(VENV)/.setup $(BINDING)  ## .venv with everything that a developer needs
	@$(if $(BINDING),:,echo "Without the libvirt driver: pkg-config finds no libvirt (on Debian: libvirt-dev)" >&2)

nightly: system  ## all that `make test` does, and the tests that are too slow for every change
	@$(MAKE) --no-print-directory lint types contracts tests TESTS=

test: system  ## everything: system packages (not with LAB=0), lint, types, contracts, all tests, coverage
	@$(MAKE) --no-print-directory lint types contracts tests

check: lint types contracts  ## the quick tier, under three minutes
	@$(BIN)/pytest -q -m "not slow and not nightly" $(QUICK)

system:
	@LAB=$(LAB) PYTHON=$(PYTHON) .ci/packages

tests: $(VENV)/.setup $(BINDING)
	@rm -f .coverage .coverage.*
	@$(BIN)/pytest $(TESTS) --cov --cov-report= --skipped-to=$(VENV)/skipped.txt
	@echo "Coverage of the core (domain, features, decide, act), at least $(COVERAGE_CORE) %:"
	@$(BIN)/coverage report --include='$(CORE)' --fail-under=$(COVERAGE_CORE)
	@echo "Coverage over all, at least $(COVERAGE) %:"
	@$(BIN)/coverage report --fail-under=$(COVERAGE)
	@echo; cat $(VENV)/skipped.txt

format: $(VENV)/.setup  ## write the code as the formatter does
	@$(BIN)/ruff check --fix --quiet .; $(BIN)/ruff format .

lint: $(VENV)/.setup  ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.setup  ## mypy, strict
	@$(BIN)/mypy

contracts: $(VENV)/.setup  ## which module may import which
	@$(BIN)/lint-imports

bench: $(VENV)/.setup $(BINDING)  ## every benchmark
	@set -e; for bench in $(wildcard benchmarks/*.py); do PYTHONPATH=. $(BIN)/python "$$bench"; done

docs: $(VENV)/.setup  ## the reference pages in docs/reference, from the code
	@$(BIN)/python docs/generate.py

lock: $(VENV)/.setup  ## new versions into requirements/, for whoever has read what changed
	@$(COMPILE) --upgrade --extra server --extra redfish --extra s3 --group dev pyproject.toml -o requirements/dev.txt
	@$(COMPILE) --constraint requirements/dev.txt --extra server --group build pyproject.toml \
		-o requirements/demo.txt
	@$(COMPILE) --constraint requirements/dev.txt --group bootstrap -o requirements/bootstrap.txt
	@$(COMPILE) --upgrade-package libvirt-python --constraint requirements/dev.txt --extra libvirt pyproject.toml \
		-o requirements/libvirt.txt

clean:  ## remove what the other targets made
	rm -rf $(VENV) build dist htmlcov test-results .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# Set-up speaks on the error channel: what `make demo ARGS="--once --json"` prints is one JSON object.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Forewarn needs Python 3.11 or newer; name one with PYTHON=" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >&2 || \
		{ echo "No virtual environment: install python3-venv, or name another Python with PYTHON=" >&2; exit 1; }
	@touch $@

$(VENV)/.demo: $(VENV)/.made requirements/demo.txt pyproject.toml
	@echo "Setting up $(VENV) from requirements/demo.txt (once; a minute or so)" >&2
	@$(PIP) $(LOCKED) requirements/demo.txt >&2
	@$(PIP) --quiet --no-deps --no-build-isolation --editable . >&2
	@touch $@

# uv takes a third of pip's time; pip knows the mirror and the certificates that a site has set for it.
$(VENV)/.setup: $(VENV)/.made requirements/bootstrap.txt requirements/dev.txt pyproject.toml
	@echo "Setting up $(VENV) from requirements/dev.txt (once; a minute or so)" >&2
	@$(PIP) $(LOCKED) requirements/bootstrap.txt >&2
	@$(BIN)/uv pip install --python $(BIN)/python $(LOCKED) requirements/dev.txt >&2 || \
		$(PIP) $(LOCKED) requirements/dev.txt >&2
	@$(PIP) --quiet --no-deps --no-build-isolation --editable . >&2
	@touch $@ $(VENV)/.demo

# Without a compiler, or without Python's headers, everything else still stands: it is said, and tried again next time.
$(VENV)/.libvirt: requirements/libvirt.txt | $(VENV)/.setup
	@echo "Building the binding to libvirt from requirements/libvirt.txt (once; ten seconds or so)" >&2
	@$(PIP) --no-build-isolation $(LOCKED) requirements/libvirt.txt --no-binary libvirt-python >&2 && touch $@ || \
		echo "Without the libvirt driver: its binding could not be built, see above" >&2
