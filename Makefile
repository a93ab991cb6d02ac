# `make demo` and `make test` do everything themselves, starting from a Python and nothing else.
#
#   make test TESTARGS="tests/spec -k parsing"    some of the tests
#   make venv PYTHON=python3.13                   another interpreter (remove .venv first)

PYTHON ?= python3
VENV ?= .venv
OLDEST ?= .venv-oldest
WORKERS ?= 2
TESTARGS ?=
CASES ?= 10000
SECONDS ?= 60

# Hundreds of tests start a Python of their own: without bytecode files each compiles everything anew.
unexport PYTHONDONTWRITEBYTECODE

PY := $(VENV)/bin/python
READY := $(VENV)/.ready
UNPACKED := build/wheel

.DEFAULT_GOAL := help
.PHONY: help venv demo test golden test-all test-nightly test-random test-oldest coverage fuzz soak lint architecture format build docs pictures clean

help:  ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

venv: $(READY)  ## the environment, in .venv

# Dependency groups need a newer pip than the one that comes with most Pythons.
$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV): the first time downloads PyTorch and takes some minutes."
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(PY) -m pip install --progress-bar off --constraint constraints.txt --editable . --group dev
	@touch $@

demo: $(READY)  ## gate three tiny checkpoints, and see the biased one caught
	$(PY) examples/quickstart/demo.py

ifeq ($(strip $(TESTARGS)),)
test: $(READY)  ## the tests, but for the nightly ones
	$(PY) -m pytest --numprocesses $(WORKERS) --dist worksteal
else
test: $(READY)
	$(PY) -m pytest $(TESTARGS)
endif

golden: $(READY)  ## record the texts in tests/golden again; then read what changed
	GOLDEN=write $(PY) -m pytest -q tests/golden

test-all: $(READY)  ## all tests that need no network
	$(PY) -m pytest --numprocesses $(WORKERS) --dist worksteal -m "not network"

test-nightly: $(READY)  ## only the nightly ones: browser, object stores, Ray, fuzz
	$(PY) -m pytest --numprocesses $(WORKERS) --dist worksteal -m "nightly and not network"

test-random: $(READY)  ## the tests in another order (TESTARGS=--randomly-seed=1 for a certain one)
	$(PY) -m pytest --numprocesses $(WORKERS) --dist worksteal -p randomly $(TESTARGS)

test-oldest: $(OLDEST)/.ready  ## the tests with the oldest versions that pyproject.toml admits
	$(OLDEST)/bin/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(TESTARGS)

$(OLDEST)/.ready: pyproject.toml
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(OLDEST)/bin/uv pip install --python $(OLDEST)/bin/python --resolution lowest-direct \
		--editable . --group test
	@touch $@

coverage: $(READY)  ## all tests, and the lines and branches that none of them reaches
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest --numprocesses $(WORKERS) --dist worksteal
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

fuzz: $(READY)  ## ten thousand new cases for everything that reads a file (hours; CASES=500)
	VISUALBIAS_FUZZ=$(CASES) $(PY) -m pytest -m nightly tests/fuzz --numprocesses $(WORKERS) --dist worksteal

soak: $(READY)  ## kill runs and damage their cache: every result must be the clean one (SECONDS=60)
	$(PY) tests/soak/soak.py --seconds $(SECONDS)

lint: $(READY)  ## formatting, lint, types, import contracts and structure limits
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) .ci/architecture.py

architecture: $(READY)  ## the structure of the package beside its limits
	$(PY) .ci/architecture.py

format: $(READY)  ## format, and mend what can be mended
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

build: $(READY)  ## sdist and wheel, and a look at what the wheel holds and does
	rm -rf dist $(UNPACKED)
	$(PY) -m build --no-isolation
	$(PY) -m pip install --quiet --no-deps --target $(UNPACKED) dist/*.whl
	$(PY) .ci/check_wheel.py $(UNPACKED)

docs: $(READY)  ## the pages of docs/ as a site, in build/site; warnings are errors
	$(PY) -m pip install --quiet --constraint constraints.txt --group docs
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

pictures: $(READY)  ## make the pictures of the README again (the page needs Chromium)
	$(PY) docs/figures/pictures.py

clean:  ## remove what was made, except .venv
	rm -rf build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis
	find . -name __pycache__ -not -path "./$(VENV)/*" -prune -exec rm -rf {} +
